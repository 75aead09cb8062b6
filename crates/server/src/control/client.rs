//! The other end of the control socket, for the subcommands.
//!
//! It blocks and needs no runtime: a subcommand asks one thing and waits for the answer.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::explained::{Explain, Explained};
use super::messages::{Failure, Purge, Removed, Verified, Verify};
use super::socket;
use crate::metrics::Figures;

/// The longest answer that is read: larder's own are a thousandth of it.
const ANSWER_BYTES: u64 = 16 * 1024 * 1024;

/// How long reading something may take. A change takes as long as it takes.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

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
#[derive(Debug)]
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

    /// Removes stored responses.
    ///
    /// # Errors
    ///
    /// See [`post`](Self::post).
    pub fn purge(&self, what: &Purge) -> Result<Removed, ClientError> {
        self.post("/purge", what)
    }

    /// Compares every stored body with its digest. Takes as long as reading the whole store.
    ///
    /// # Errors
    ///
    /// See [`post`](Self::post).
    pub fn verify(&self, how: Verify) -> Result<Verified, ClientError> {
        self.post("/verify", &how)
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
            let message = match serde_json::from_slice::<Failure>(content) {
                Ok(failure) => failure.error,
                Err(_) => format!("the proxy refused with status {status}"),
            };
            return Err(ClientError::Refused { status, message });
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
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
        Ok(answer)
    }

    fn nonsense(&self, reason: impl ToString) -> ClientError {
        ClientError::Nonsense { path: self.path.clone(), reason: reason.to_string() }
    }
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
    fn an_answer_that_was_cut_is_not_taken_for_a_whole_one() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"removed\":1}";
        assert_eq!(parse(whole), Ok((200, &b"{\"removed\":1}"[..])));
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(parse(b"SSH-2.0-OpenSSH\r\n").is_err());
    }
}
