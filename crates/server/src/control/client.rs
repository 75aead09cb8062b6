//! The other end of the control socket, for the subcommands.
//!
//! It blocks and needs no runtime: a subcommand asks one thing and waits for the answer.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::explained::{Explain, Explained};
use super::leasing::{LeaseLine, Lend, Release, Released};
use super::messages::{Failure, List, Listed, Removed, Selection, Verify, VerifyLine};
use super::socket;
use crate::http1::{BodyDecoder, Decoded, Framing};
use crate::metrics::Figures;

/// The longest answer that is read: larder's own are a thousandth of it.
const ANSWER_BYTES: u64 = 16 * 1024 * 1024;

/// How long reading something may take. A change takes as long as it takes.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest silence of a lease's lines, of which there is one each second, if an empty one.
const LEASE_SILENCE: Duration = Duration::from_secs(10);

/// How long the answer to a release may take: it does not wait for the end of the lease.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a proxy could not be asked, or refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Something is there, but cannot be connected to.
    #[error("cannot connect to the proxy at {}", path.display())]
    Connect {
        /// The control socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the proxy at {} did not answer", path.display())]
    Broken {
        /// The control socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The proxy refused.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the proxy said.
        message: String,
    },
    /// The answer was none of larder's.
    #[error("the proxy at {} sent something that is not an answer: {reason}", path.display())]
    Nonsense {
        /// The control socket.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A proxy that owns a cache directory, by way of its control socket.
#[derive(Debug, Clone)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// The proxy that owns this cache directory; none when no process does.
    ///
    /// # Errors
    ///
    /// There is a socket, but this user may not use it, or the system refuses otherwise.
    pub fn connect(cache_dir: &Path) -> Result<Option<Self>, ClientError> {
        let path = socket::socket_path(cache_dir);
        match socket::connect(&path) {
            Ok(_) => Ok(Some(Self { path })),
            Err(error) if is_nobody(&error) => Ok(None),
            Err(source) => Err(ClientError::Connect { path, source }),
        }
    }

    /// The figures.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get).
    pub fn stats(&self) -> Result<Figures, ClientError> {
        self.get("/stats")
    }

    /// Asks how a request would be answered, and why.
    ///
    /// # Errors
    ///
    /// See [`post`](Self::post).
    pub fn explain(&self, question: &Explain) -> Result<Explained, ClientError> {
        let body = serde_json::to_vec(question).map_err(|error| self.nonsense(error))?;
        self.ask("POST", "/explain", &body, Some(READ_TIMEOUT))
    }

    /// Lists what is stored, one response at a time, until `each` says false.
    ///
    /// # Errors
    ///
    /// The proxy is gone, refuses, or sends something else.
    pub fn list(&self, list: &List, mut each: impl FnMut(Listed) -> bool) -> Result<(), ClientError> {
        self.lines("/list", list, None, |line| Ok(each(serde_json::from_slice(line)?)))
    }

    /// Removes stored responses.
    ///
    /// # Errors
    ///
    /// See [`post`](Self::post).
    pub fn purge(&self, what: &Selection) -> Result<Removed, ClientError> {
        self.post("/purge", what)
    }

    /// Compares every stored body with its digest, and tells each line. Takes as long as reading the whole store.
    ///
    /// # Errors
    ///
    /// The proxy is gone, refuses, or sends something else.
    pub fn verify(&self, how: Verify, mut each: impl FnMut(VerifyLine)) -> Result<(), ClientError> {
        self.lines("/verify", &how, None, |line| {
            each(serde_json::from_slice(line)?);
            Ok(true)
        })
    }

    /// Leases a listener, and tells each line of what becomes of it until its end, or until `each` says false. The lease
    /// lasts no longer than this call.
    ///
    /// # Errors
    ///
    /// The proxy is gone, hangs, refuses, or sends something else.
    pub fn lend(&self, terms: &Lend, mut each: impl FnMut(LeaseLine) -> bool) -> Result<(), ClientError> {
        self.lines("/lend", terms, Some(LEASE_SILENCE), |line| Ok(each(serde_json::from_slice(line)?)))
    }

    /// Asks for the end of a lease: its lines come to theirs.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get).
    pub fn release(&self, lease: u64) -> Result<Released, ClientError> {
        let body = serde_json::to_vec(&Release { lease }).map_err(|error| self.nonsense(error))?;
        self.ask("POST", "/release", &body, Some(RELEASE_TIMEOUT))
    }

    /// Reads something.
    ///
    /// # Errors
    ///
    /// The proxy is gone, refuses, or sends something else than `T`.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask("GET", path, &[], Some(READ_TIMEOUT))
    }

    /// Asks for a change, and waits for its end.
    ///
    /// # Errors
    ///
    /// The proxy is gone, refuses, or sends something else than `T`.
    pub fn post<T: DeserializeOwned>(&self, path: &str, message: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(message).map_err(|error| self.nonsense(error))?;
        self.ask("POST", path, &body, None)
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
        timeout: Option<Duration>,
    ) -> Result<T, ClientError> {
        let answer = self
            .exchange(method, path, body, timeout)
            .map_err(|source| ClientError::Broken { path: self.path.clone(), source })?;
        let (status, content) = parse(&answer).map_err(|reason| self.nonsense(reason))?;
        if status != 200 {
            return Err(refused(status, content));
        }
        serde_json::from_slice(content).map_err(|error| self.nonsense(error))
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
        timeout: Option<Duration>,
    ) -> io::Result<Vec<u8>> {
        let stream = self.send(method, path, body, timeout)?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
        Ok(answer)
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
        timeout: Option<Duration>,
    ) -> io::Result<UnixStream> {
        let mut stream = socket::connect(&self.path)?;
        stream.set_read_timeout(timeout)?;
        stream.set_write_timeout(Some(READ_TIMEOUT))?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        if method == "POST" {
            // Writing to a `String` cannot fail.
            let _ = write!(head, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        stream.write_all(&[head.as_bytes(), body].concat())?;
        Ok(stream)
    }

    /// Asks for lines, and hands on each that is not empty until told to stop. A longer silence than that is an error.
    fn lines(
        &self,
        path: &str,
        message: &impl Serialize,
        silence: Option<Duration>,
        each: impl FnMut(&[u8]) -> serde_json::Result<bool>,
    ) -> Result<(), ClientError> {
        let body = serde_json::to_vec(message).map_err(|error| self.nonsense(error))?;
        let broken = |source| ClientError::Broken { path: self.path.clone(), source };
        let mut stream = self.send("POST", path, &body, silence).map_err(broken)?;
        match read_lines(&mut stream, each) {
            Ok(()) => Ok(()),
            Err(LinesError::Broken(source)) => Err(broken(source)),
            Err(LinesError::Nonsense(reason)) => Err(self.nonsense(reason)),
            Err(LinesError::Told(message)) => Err(ClientError::Refused { status: 500, message }),
            Err(LinesError::NoLines(answer)) => {
                let (status, content) = parse(&answer).map_err(|reason| self.nonsense(reason))?;
                Err(refused(status, content))
            }
        }
    }

    fn nonsense(&self, reason: impl ToString) -> ClientError {
        ClientError::Nonsense { path: self.path.clone(), reason: reason.to_string() }
    }
}

fn refused(status: u16, content: &[u8]) -> ClientError {
    let message = match serde_json::from_slice::<Failure>(content) {
        Ok(failure) => failure.error,
        Err(_) => format!("the proxy refused with status {status}"),
    };
    ClientError::Refused { status, message }
}

/// Why there are no more lines.
#[derive(Debug)]
enum LinesError {
    Broken(io::Error),
    Nonsense(String),
    /// The proxy said what went wrong in the midst of it.
    Told(String),
    /// The answer, whole, is not one of lines.
    NoLines(Vec<u8>),
}

/// Reads an answer of chunked lines, which must come to its end.
fn read_lines(
    stream: &mut impl Read,
    mut each: impl FnMut(&[u8]) -> serde_json::Result<bool>,
) -> Result<(), LinesError> {
    let mut answer = BytesMut::new();
    let length = loop {
        let read = read_more(stream, &mut answer)?;
        match head_of(&answer).map_err(LinesError::Nonsense)? {
            Some((200, length, true)) => break length,
            Some(_) if read == 0 || answer.len() as u64 > ANSWER_BYTES => {
                return Err(LinesError::NoLines(answer.to_vec()));
            }
            None if read == 0 => return Err(LinesError::Nonsense("it ends within its head".to_owned())),
            Some(_) | None => {}
        }
    };
    answer.advance(length);
    let mut body = BodyDecoder::new(Framing::Chunked);
    let mut rest = Vec::new();
    loop {
        match body.decode(&mut answer).map_err(|error| LinesError::Nonsense(error.to_string()))? {
            Decoded::Data(data) => rest.extend_from_slice(&data),
            Decoded::End if rest.is_empty() => return Ok(()),
            Decoded::End => return Err(LinesError::Nonsense("its last line has no end".to_owned())),
            Decoded::NeedMore if read_more(stream, &mut answer)? == 0 => {
                return Err(LinesError::Nonsense("it ends early".to_owned()));
            }
            Decoded::NeedMore => continue,
        }
        if rest.len() as u64 > ANSWER_BYTES {
            return Err(LinesError::Nonsense("it has a line without end".to_owned()));
        }
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let after = rest.split_off(whole);
        for line in rest.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if let Some(Failure { error }) = failure(line) {
                return Err(LinesError::Told(error));
            }
            if !each(line).map_err(|error| LinesError::Nonsense(error.to_string()))? {
                return Ok(());
            }
        }
        rest = after;
    }
}

/// A line that says that the rest cannot be told.
fn failure(line: &[u8]) -> Option<Failure> {
    line.starts_with(br#"{"error":"#).then(|| serde_json::from_slice(line).ok())?
}

fn read_more(stream: &mut impl Read, buffer: &mut BytesMut) -> Result<usize, LinesError> {
    let mut piece = [0; 16 * 1024];
    loop {
        match stream.read(&mut piece) {
            Ok(read) => {
                buffer.extend_from_slice(piece.get(..read).unwrap_or_default());
                return Ok(read);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(LinesError::Broken(error)),
        }
    }
}

/// Status, length and whether the content is chunked, of a head that has come whole.
fn head_of(answer: &[u8]) -> Result<Option<(u16, usize, bool)>, String> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(answer).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let chunked = head.headers.iter().any(|field| {
        field.name.eq_ignore_ascii_case("transfer-encoding") && field.value.eq_ignore_ascii_case(b"chunked")
    });
    Ok(Some((head.code.unwrap_or_default(), length, chunked)))
}

/// Whether the error says that no process listens.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Status and content of an answer, which must be whole.
fn parse(answer: &[u8]) -> Result<(u16, &[u8]), String> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(answer).map_err(|error| error.to_string())? else {
        return Err("it ends within its head".to_owned());
    };
    let content = answer.get(length..).unwrap_or_default();
    let announced = head
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .and_then(|field| std::str::from_utf8(field.value).ok()?.parse::<usize>().ok());
    if announced != Some(content.len()) {
        return Err("it ends early".to_owned());
    }
    Ok((head.code.unwrap_or_default(), content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_listens_where_there_is_no_socket_or_a_dead_one() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Client::connect(&dir.path().join("missing")).unwrap().is_none());
        assert!(Client::connect(dir.path()).unwrap().is_none());
        let (listener, _file) = socket::bind(&socket::socket_path(dir.path())).unwrap();
        assert!(Client::connect(dir.path()).unwrap().is_some());
        drop(listener);
        assert!(Client::connect(dir.path()).unwrap().is_none());
    }

    #[test]
    fn a_proxy_that_hangs_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        // Its connections wait to be accepted for ever.
        let (_listener, _file) = socket::bind(&socket::socket_path(dir.path())).unwrap();
        let client = Client::connect(dir.path()).unwrap().unwrap();
        let lent = client.lend(&Lend::default(), |_| true);
        assert!(matches!(lent, Err(ClientError::Broken { .. })), "{lent:?}");
    }

    #[test]
    fn an_answer_that_was_cut_is_not_taken_for_a_whole_one() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"removed\":1}";
        assert_eq!(parse(whole), Ok((200, &b"{\"removed\":1}"[..])));
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(parse(b"SSH-2.0-OpenSSH\r\n").is_err());
    }

    #[test]
    fn lines_are_handed_on_one_by_one_and_must_come_to_their_end() {
        let whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n1\n2\r\n4\r\n2\n\n3\r\n1\r\n\n\r\n0\r\n\r\n";
        let read = |mut bytes: &[u8], most: usize| {
            let mut lines = Vec::new();
            let end = read_lines(&mut bytes, |line| {
                lines.push(serde_json::from_slice::<u32>(line)?);
                Ok(lines.len() < most)
            });
            (lines, end)
        };
        let (lines, end) = read(whole, 9);
        assert!(end.is_ok() && lines == [1, 22, 3], "{lines:?} {end:?}");
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut], 9).1.is_err(), "{cut}");
        }
        let (lines, end) = read(whole, 2);
        assert!(end.is_ok() && lines == [1, 22]);
        let told = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{\"error\": \"why\"}\r\n";
        assert!(matches!(read(told, 9).1, Err(LinesError::Nonsense(_))), "no end of line yet");
    }
}
