//! A closed loop of requests that checks every answer: for large bodies, tunnels and new connections.
//!
//! Bodies are thrown away in the kernel, unread (`MSG_TRUNC`), so that the client is faster than any server; what a head
//! says is looked at each time, and so is the beginning of each body, which names its URL.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use rustls::ClientConfig;

use crate::report::Report;
use crate::stream::{self, Stream};

const BUFFER: usize = 1 << 20;
/// So much is read of one connection before the next one's turn.
const PIECES: usize = 4;
/// New connections come from so many addresses of the loopback network in turn, for each has a limited number of ports.
const SOURCES: u32 = 64;

/// What to ask for, of whom and how.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The server or proxy
    #[arg(long)]
    to: SocketAddr,
    /// The path to ask for
    #[arg(long)]
    path: String,
    /// The Host field
    #[arg(long)]
    host: String,
    /// Bytes that each body has to have
    #[arg(long)]
    bytes: u64,
    /// How many connections at a time
    #[arg(long)]
    connections: u64,
    /// How long it goes on
    #[arg(long)]
    seconds: u64,
    /// Ask for a tunnel to this HOST:PORT first, on each connection
    #[arg(long)]
    tunnel: Option<String>,
    /// A new connection for each request
    #[arg(long)]
    fresh: bool,
    /// Speak TLS 1.3, with a whole handshake on each connection
    #[arg(long)]
    tls: bool,
    /// Ask once on each of so many connections, opened a few at a time, and keep them all open until standard input ends
    #[arg(long)]
    hold: Option<u64>,
    /// The bodies do not begin with the path
    #[arg(long)]
    unmarked: bool,
}

#[derive(Clone, Copy)]
enum Phase {
    Connecting,
    /// CONNECT has been sent.
    Opening,
    /// The request has been sent.
    Head,
    Body {
        left: u64,
    },
}

struct Connection {
    stream: Stream,
    phase: Phase,
    /// What came of a head.
    head: Vec<u8>,
    began: Instant,
}

struct Client<'options> {
    options: &'options Options,
    epoll: OwnedFd,
    request: Vec<u8>,
    opening: Option<Vec<u8>>,
    tls: Option<Arc<ClientConfig>>,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    opened: u32,
    report: Report,
}

/// Asks until the time is over, and prints what came of it.
///
/// # Errors
/// A connection fails, or an answer is not a 200 with the right length and body.
pub(crate) fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    let mut client = Client::new(options)?;
    for slot in 0..options.connections {
        let connection = client.connect(slot)?;
        client.connections.push(connection);
    }
    client.go_on()?;
    client.report.print(out)?;
    if options.hold.is_some() {
        out.flush()?;
        std::io::stdin().read_to_end(&mut Vec::new())?;
    }
    Ok(())
}

impl<'options> Client<'options> {
    fn new(options: &'options Options) -> Result<Self> {
        let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", options.path, options.host);
        let opening =
            options.tunnel.as_ref().map(|to| format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"));
        Ok(Self {
            options,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            request: request.into_bytes(),
            opening: opening.map(String::into_bytes),
            tls: options.tls.then(stream::tls_config).transpose()?,
            connections: Vec::new(),
            buffer: vec![0; BUFFER],
            opened: 0,
            report: Report::begin(),
        })
    }

    /// Begins a connection, which becomes writable when it stands.
    fn connect(&mut self, slot: u64) -> Result<Connection> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        if self.options.fresh && self.options.to.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
            let source = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + self.opened % SOURCES);
            sockopt::set_socket_reuseaddr(&socket, true)?;
            net::bind(&socket, &SocketAddrV4::new(source, 0))?;
        }
        self.opened = self.opened.wrapping_add(1);
        match net::connect(&socket, &self.options.to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error).context("cannot connect"),
        }
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(slot), epoll::EventFlags::OUT)?;
        let socket = TcpStream::from(socket);
        let stream = match &self.tls {
            Some(config) => Stream::Tls(socket, Box::new(stream::tls(config, &self.options.host)?)),
            None => Stream::Plain(socket),
        };
        Ok(Connection { stream, phase: Phase::Connecting, head: Vec::new(), began: Instant::now() })
    }

    fn go_on(&mut self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(self.options.seconds);
        let mut events = Vec::with_capacity(256);
        loop {
            let now = Instant::now();
            if now >= end || self.options.hold == Some(self.report.answers()) {
                self.report.end(now);
                return Ok(());
            }
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&(end - now).try_into()?)) {
                Err(Errno::INTR) => continue,
                result => result?,
            };
            for event in events.drain(..) {
                self.proceed(event.data.u64())?;
            }
        }
    }

    fn proceed(&mut self, slot: u64) -> Result<()> {
        let Some(connection) = usize::try_from(slot).ok().and_then(|slot| self.connections.get_mut(slot))
        else {
            bail!("an event for no connection");
        };
        if let Phase::Connecting = connection.phase {
            sockopt::socket_error(connection.stream.socket())?.context("cannot connect")?;
            let (first, phase) = match &self.opening {
                Some(opening) => (opening, Phase::Opening),
                None => (&self.request, Phase::Head),
            };
            connection.send(first, phase)?;
            epoll::modify(
                &self.epoll,
                connection.stream.socket(),
                epoll::EventData::new_u64(slot),
                epoll::EventFlags::IN,
            )?;
            return Ok(());
        }
        for _ in 0..PIECES {
            let Some(came) = connection.receive(&mut self.buffer)? else {
                return Ok(());
            };
            match connection.phase {
                Phase::Connecting => {}
                Phase::Opening => {
                    if connection.take_head(self.buffer.get(..came).unwrap_or_default())?.is_some() {
                        connection.send(&self.request, Phase::Head)?;
                    }
                }
                Phase::Head => {
                    if let Some(head) = connection.take_head(self.buffer.get(..came).unwrap_or_default())? {
                        check_length(&head, self.options.bytes)?;
                        let begin = connection.head.len() as u64;
                        ensure!(begin <= self.options.bytes, "more came than the body should have");
                        if !self.options.unmarked {
                            check_mark(&connection.head, &self.options.path)?;
                        }
                        self.report.bytes += begin;
                        connection.head.clear();
                        connection.phase = Phase::Body { left: self.options.bytes - begin };
                    }
                }
                Phase::Body { left } => {
                    self.report.bytes += came as u64;
                    connection.phase = Phase::Body { left: left - came as u64 };
                }
            }
            if let Phase::Body { left: 0 } = connection.phase {
                self.report.answered(connection.began.elapsed());
                if let Some(most) = self.options.hold {
                    return self.add(most);
                }
                if self.options.fresh {
                    connection.stream.close()?;
                    return self.renew(slot);
                }
                connection.began = Instant::now();
                connection.send(&self.request, Phase::Head)?;
            }
        }
        Ok(())
    }

    /// One more connection, unless there are as many as are to be held.
    fn add(&mut self, most: u64) -> Result<()> {
        let slot = self.connections.len() as u64;
        if slot < most {
            let connection = self.connect(slot)?;
            self.connections.push(connection);
        }
        Ok(())
    }

    /// Another connection in the place of one that has done its work.
    fn renew(&mut self, slot: u64) -> Result<()> {
        let connection = self.connect(slot)?;
        if let Some(place) = self.connections.get_mut(usize::try_from(slot)?) {
            *place = connection;
        }
        Ok(())
    }
}

impl Connection {
    fn send(&mut self, request: &[u8], phase: Phase) -> Result<()> {
        self.stream.send(request).context("cannot send")?;
        self.phase = phase;
        Ok(())
    }

    /// How many bytes came; nothing when there are none yet. Those of a body are thrown away.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        let received = match self.phase {
            Phase::Body { left } => {
                let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.stream.receive(buffer.get_mut(..most).unwrap_or_default(), true)
            }
            _ => self.stream.receive(buffer, false),
        };
        match received {
            Ok(0) => bail!("the server closed the connection"),
            Ok(came) => Ok(Some(came)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("a connection broke"),
        }
    }

    /// The head, once it is here whole; what came behind it stays in `self.head`.
    fn take_head(&mut self, came: &[u8]) -> Result<Option<Vec<u8>>> {
        self.head.extend_from_slice(came);
        let Some(end) = memmem::find(&self.head, b"\r\n\r\n") else {
            return Ok(None);
        };
        let head: Vec<u8> = self.head.drain(..end + 4).collect();
        let status = head.get(8..13);
        ensure!(status == Some(b" 200 "), "not a 200: {}", String::from_utf8_lossy(&head));
        Ok(Some(head))
    }
}

fn check_length(head: &[u8], bytes: u64) -> Result<()> {
    let head = str::from_utf8(head)?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok());
    ensure!(length == Some(bytes), "not {bytes} bytes: {head}");
    Ok(())
}

/// Looks at as much of the mark as came with the head.
fn check_mark(body: &[u8], path: &str) -> Result<()> {
    let common = body.len().min(path.len());
    ensure!(body.get(..common) == path.as_bytes().get(..common), "the body of another URL");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What a client says that got `answer` from a server, whatever it asked for.
    fn outcome(answer: &'static [u8]) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = Options {
            to: listener.local_addr().unwrap(),
            path: "/store/4/one".into(),
            host: "a".into(),
            bytes: 4,
            connections: 1,
            seconds: 60,
            tunnel: None,
            fresh: false,
            tls: false,
            hold: Some(1),
            unmarked: false,
        };
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let read = socket.read(&mut request).unwrap();
            socket.write_all(answer).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let mut client = Client::new(&options).unwrap();
        let connection = client.connect(0).unwrap();
        client.connections.push(connection);
        let outcome = client.go_on().map_err(|error| format!("{error:#}"));
        assert_eq!(server.join().unwrap(), "GET /store/4/one HTTP/1.1\r\nHost: a\r\n\r\n");
        outcome.map(|()| client.report.answers().to_string())
    }

    #[test]
    fn a_right_answer_counts() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n/sto";
        assert_eq!(outcome(answer), Ok("1".into()));
    }

    #[test]
    fn another_status_is_an_error() {
        let error = outcome(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\n/sto").unwrap_err();
        assert!(error.starts_with("not a 200: HTTP/1.1 502"), "{error}");
    }

    #[test]
    fn another_length_is_an_error() {
        let error = outcome(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n/stor").unwrap_err();
        assert!(error.starts_with("not 4 bytes"), "{error}");
    }

    #[test]
    fn the_body_of_another_url_is_an_error() {
        let error = outcome(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n/pas").unwrap_err();
        assert_eq!(error, "the body of another URL");
    }

    #[test]
    fn a_connection_that_ends_too_early_is_an_error() {
        let error = outcome(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n/s").unwrap_err();
        assert_eq!(error, "the server closed the connection");
    }
}
