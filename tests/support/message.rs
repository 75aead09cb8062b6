//! Messages as the tests read them: a plain reader of its own, so that the proxy's codec does not check itself.

use std::io::{self, BufRead, BufReader, Read};

/// A head: its first line and its fields, in order and case as received.
#[derive(Debug, Clone)]
pub struct Head {
    pub line: String,
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The first value of a field, by name in any letter case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let matching = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        matching.map(|(_, value)| value.as_str()).collect()
    }

    /// Reads one head; none at a clean end.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut fields = Vec::new();
        loop {
            let mut text = Vec::new();
            if from.read_until(b'\n', &mut text)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let text = String::from_utf8_lossy(&text).trim_end_matches(['\r', '\n']).to_owned();
            if text.is_empty() {
                return Ok(Some(Self { line: line.trim_end().to_owned(), fields }));
            }
            let (name, value) = text.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }
}

/// A response as a client saw it.
#[derive(Debug, Clone)]
pub struct Response {
    pub head: Head,
    pub status: u16,
    pub body: Vec<u8>,
    /// Interim responses that came before.
    pub interim: Vec<Head>,
    /// Whether the end of the body was the end that its framing announced.
    pub complete: bool,
}

impl Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of `Cache-Status`.
    pub fn cache_status(&self) -> &str {
        self.field("cache-status").unwrap_or("")
    }

    /// Whether it says `larder; hit`.
    pub fn is_hit(&self) -> bool {
        self.cache_status().starts_with("larder; hit")
    }

    /// The value of `Age`, of which there must be at most one.
    pub fn age(&self) -> Option<u64> {
        let ages = self.head.all("age");
        assert!(ages.len() <= 1, "more than one Age: {ages:?}");
        ages.first().map(|age| age.parse().unwrap())
    }

    /// Reads one response. A cut body is told by `complete`, not by an error.
    pub fn read(from: &mut BufReader<impl Read>, method: &str) -> io::Result<Self> {
        let mut interim = Vec::new();
        loop {
            let head = Head::read(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let status: u16 = head
                .line
                .split(' ')
                .nth(1)
                .and_then(|code| code.parse().ok())
                .ok_or(io::ErrorKind::InvalidData)?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(head);
                continue;
            }
            let mut response = Self { head, status, body: Vec::new(), interim, complete: true };
            if method != "HEAD" && status != 204 && status != 304 && !(method == "CONNECT" && status == 200) {
                response.read_body(from);
            }
            return Ok(response);
        }
    }

    fn read_body(&mut self, from: &mut BufReader<impl Read>) {
        let chunked =
            self.field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        self.complete = if chunked {
            self.read_chunks(from).is_ok()
        } else if let Some(length) = self.field("content-length") {
            let length: u64 = length.parse().unwrap();
            let read = from.take(length).read_to_end(&mut self.body);
            read.is_ok() && self.body.len() as u64 == length
        } else {
            from.read_to_end(&mut self.body).is_ok()
        };
    }

    fn read_chunks(&mut self, from: &mut BufReader<impl Read>) -> io::Result<()> {
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            let size = line.trim_end().split(';').next().unwrap_or("");
            let size = u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            if size == 0 {
                break;
            }
            if from.take(size).read_to_end(&mut self.body)? as u64 != size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            from.read_line(&mut String::new())?;
        }
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.trim_end().is_empty() {
                return Ok(());
            }
            let (name, value) = line.trim_end().split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            self.head.fields.push((format!("trailer:{name}"), value.trim().to_owned()));
        }
    }
}
