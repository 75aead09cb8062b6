//! A minimal HTTP responder: it finds the end of a head and writes an answer, and knows nothing else of HTTP.
//!
//! Clients have to wait for an answer before they ask again, as all do that talk to it: nothing here is pipelined.
//!
//! With [`Floor`] it is the least that any server could do for a request with the same system calls, which is what the
//! proxies are held against. With [`Origin`] it is what they fetch from. Both send the same fields.

use std::collections::HashMap;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use memchr::memmem;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

const LISTENER: u64 = 0;
const BACKLOG: i32 = 4096;
const HEAD_LIMIT: usize = 16 << 10;
/// Long bodies are written in pieces of this size.
const FILLER: usize = 1 << 20;

/// Decides what a head is answered with.
pub(crate) trait Respond {
    /// Fills in the answer to `head`, which ends in an empty line.
    fn respond(&mut self, head: &[u8], answer: &mut Answer);
}

/// An answer on its way: bytes of its own, then as many bytes of filler as are left.
#[derive(Default)]
pub(crate) struct Answer {
    lead: Vec<u8>,
    sent: usize,
    filler: u64,
}

/// Answers every head with the same bytes.
pub(crate) struct Floor {
    head: Vec<u8>,
    bytes: u64,
}

impl Floor {
    pub(crate) fn new(bytes: u64) -> Self {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let mut head = Vec::new();
        write_head(&mut head, &date, "max-age=86400", bytes);
        Self { head, bytes }
    }
}

impl Respond for Floor {
    fn respond(&mut self, _head: &[u8], answer: &mut Answer) {
        answer.lead.extend_from_slice(&self.head);
        answer.filler = self.bytes;
    }
}

/// Answers `/store/BYTES/NAME` and `/pass/BYTES/NAME` with a body of that size that begins with the path, so that no two
/// are alike and a wrong one is seen.
pub(crate) struct Origin {
    requests: u64,
    date: String,
    date_until: SystemTime,
}

impl Default for Origin {
    fn default() -> Self {
        Self { requests: 0, date: String::new(), date_until: SystemTime::UNIX_EPOCH }
    }
}

impl Origin {
    fn refresh_date(&mut self) {
        let now = SystemTime::now();
        if now >= self.date_until {
            self.date = httpdate::fmt_http_date(now);
            self.date_until = now + Duration::from_secs(1);
        }
    }
}

impl Respond for Origin {
    fn respond(&mut self, head: &[u8], answer: &mut Answer) {
        self.refresh_date();
        let path = path(head).unwrap_or_default();
        let mut parts = path.trim_start_matches('/').splitn(3, '/');
        let control = match parts.next() {
            Some("store") => "max-age=86400",
            Some("pass") => "no-store",
            Some("requests") => {
                let count = self.requests.to_string();
                write_head(&mut answer.lead, &self.date, "no-store", count.len() as u64);
                answer.lead.extend_from_slice(count.as_bytes());
                return;
            }
            _ => {
                answer.lead.extend_from_slice(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
                return;
            }
        };
        self.requests += 1;
        let bytes = parts.next().and_then(|bytes| bytes.parse().ok()).unwrap_or(0_u64);
        write_head(&mut answer.lead, &self.date, control, bytes);
        let mark = path.as_bytes();
        let mark = mark.get(..usize::try_from(bytes).unwrap_or(usize::MAX)).unwrap_or(mark);
        answer.lead.extend_from_slice(mark);
        answer.filler = bytes - mark.len() as u64;
    }
}

fn path(head: &[u8]) -> Option<&str> {
    let target = head.split(|byte| *byte == b' ').nth(1)?;
    str::from_utf8(target).ok()
}

fn write_head(into: &mut Vec<u8>, date: &str, control: &str, bytes: u64) {
    let head = format!(
        "HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Type: application/octet-stream\r\n\
         Last-Modified: Wed, 14 Oct 2026 17:21:01 GMT\r\nETag: \"4711\"\r\nCache-Control: {control}\r\n\
         Content-Length: {bytes}\r\n\r\n"
    );
    into.extend_from_slice(head.as_bytes());
}

struct Connection {
    socket: OwnedFd,
    /// What came of heads that are not answered yet.
    unread: Vec<u8>,
    answer: Answer,
    waits_to_write: bool,
}

enum Progress {
    Done,
    Blocked,
}

/// Serves until the process is ended.
///
/// # Errors
/// The address cannot be listened on, or epoll fails.
pub(crate) fn serve(address: SocketAddr, responder: &mut impl Respond) -> Result<()> {
    let listener = listen(address).with_context(|| format!("cannot listen on {address}"))?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let filler = vec![b'x'; FILLER];
    let mut buffer = vec![0; HEAD_LIMIT];
    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let mut next = LISTENER + 1;
    let mut events = Vec::with_capacity(256);
    loop {
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Err(Errno::INTR) => continue,
            result => result?,
        };
        for event in events.drain(..) {
            let token = event.data.u64();
            if token == LISTENER {
                while let Ok(socket) =
                    net::accept_with(&listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
                {
                    sockopt::set_tcp_nodelay(&socket, true)?;
                    epoll::add(&epoll, &socket, epoll::EventData::new_u64(next), epoll::EventFlags::IN)?;
                    let connection = Connection {
                        socket,
                        unread: Vec::new(),
                        answer: Answer::default(),
                        waits_to_write: false,
                    };
                    connections.insert(next, connection);
                    next += 1;
                }
            } else if let Some(connection) = connections.get_mut(&token) {
                if connection.proceed(responder, &filler, &mut buffer).is_some() {
                    connection.watch(&epoll, token)?;
                } else {
                    connections.remove(&token);
                }
            }
        }
    }
}

fn listen(address: SocketAddr) -> Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let listener = net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    net::bind(&listener, &address)?;
    net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

impl Connection {
    /// Writes and reads as far as both go without waiting; nothing when the connection is over.
    fn proceed(&mut self, responder: &mut impl Respond, filler: &[u8], buffer: &mut [u8]) -> Option<()> {
        if let Progress::Blocked = self.answer.write(&self.socket, filler)? {
            return Some(());
        }
        loop {
            let read = match rustix::io::read(&self.socket, &mut *buffer) {
                Ok(0) => return None,
                Ok(read) => read,
                Err(Errno::AGAIN) => return Some(()),
                Err(_) => return None,
            };
            let came = buffer.get(..read)?;
            let ended = if self.unread.is_empty() && came.ends_with(b"\r\n\r\n") {
                responder.respond(came, &mut self.answer);
                true
            } else {
                self.unread.extend_from_slice(came);
                self.respond_to_unread(responder)?
            };
            if ended {
                // A client that waits for its answer has sent nothing more: another read would find nothing.
                self.answer.write(&self.socket, filler)?;
                return Some(());
            }
        }
    }

    /// Whether there was a whole head; nothing when it is too long.
    fn respond_to_unread(&mut self, responder: &mut impl Respond) -> Option<bool> {
        let Some(end) = memmem::find(&self.unread, b"\r\n\r\n") else {
            return (self.unread.len() <= HEAD_LIMIT).then_some(false);
        };
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        responder.respond(&head, &mut self.answer);
        Some(true)
    }

    /// Watches for what the connection waits for now.
    fn watch(&mut self, epoll: &OwnedFd, token: u64) -> Result<()> {
        let waits_to_write = !self.answer.is_sent();
        if waits_to_write != self.waits_to_write {
            let flags = if waits_to_write { epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
            epoll::modify(epoll, &self.socket, epoll::EventData::new_u64(token), flags)?;
            self.waits_to_write = waits_to_write;
        }
        Ok(())
    }
}

impl Answer {
    fn is_sent(&self) -> bool {
        self.lead.is_empty() && self.filler == 0
    }

    /// Writes until all is written or the socket takes no more; nothing when it is broken.
    fn write(&mut self, socket: impl AsFd, filler: &[u8]) -> Option<Progress> {
        while !self.is_sent() {
            let lead = self.lead.get(self.sent..)?;
            let piece = filler.len().min(usize::try_from(self.filler).unwrap_or(usize::MAX));
            let slices = [IoSlice::new(lead), IoSlice::new(filler.get(..piece)?)];
            let written = match rustix::io::writev(&socket, &slices) {
                Ok(written) => written,
                Err(Errno::AGAIN) => return Some(Progress::Blocked),
                Err(_) => return None,
            };
            let of_lead = written.min(lead.len());
            self.sent += of_lead;
            self.filler -= (written - of_lead) as u64;
            if self.sent == self.lead.len() {
                self.lead.clear();
                self.sent = 0;
            }
        }
        Some(Progress::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(origin: &mut Origin, path: &str) -> (String, u64) {
        let mut answer = Answer::default();
        origin.respond(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), &mut answer);
        (String::from_utf8(answer.lead).unwrap(), answer.filler)
    }

    #[test]
    fn the_body_begins_with_the_path_and_has_the_length_asked_for() {
        let (lead, filler) = answer(&mut Origin::default(), "/store/1024/a/b");
        let (head, body) = lead.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Cache-Control: max-age=86400\r\nContent-Length: 1024"), "{head}");
        assert_eq!(body, "/store/1024/a/b");
        assert_eq!(filler, 1024 - 15);
    }

    #[test]
    fn a_body_shorter_than_its_path_is_the_beginning_of_it() {
        let (lead, filler) = answer(&mut Origin::default(), "/pass/3/name");
        assert!(lead.contains("Cache-Control: no-store"), "{lead}");
        assert!(lead.ends_with("\r\n\r\n/pa"), "{lead}");
        assert_eq!(filler, 0);
    }

    #[test]
    fn only_what_was_asked_for_is_counted() {
        let mut origin = Origin::default();
        answer(&mut origin, "/store/1/a");
        answer(&mut origin, "/nothing");
        answer(&mut origin, "/pass/1/a");
        answer(&mut origin, "/requests");
        assert!(answer(&mut origin, "/requests").0.ends_with("\r\n\r\n2"));
    }
}
