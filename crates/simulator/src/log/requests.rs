//! A log as an object trace: what was asked for, how large it is, and nothing of HTTP.
//!
//! Counted are GETs that were answered with content, or with 304 for content that the client had. Every URL is an object; what
//! Vary would tell apart is one. Its size is that of the largest whole answer so far, since transfers break off: of a 304, a part,
//! or a transfer that is known to be cut, only where a whole one came before.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::BufRead;

use http::Method;

use super::{Entry, Log};
use crate::error::TraceError;
use crate::trace::{Request, Unreadable};

/// Lines of a batch.
const BATCH: usize = 4096;

/// The requests for objects of a log, in order. About 40 bytes an object.
#[derive(Debug)]
pub struct ObjectRequests<R> {
    log: Log<R>,
    sizes: HashMap<u64, u64>,
    left_out: u64,
}

impl<R: BufRead> ObjectRequests<R> {
    /// Reads them from a log.
    pub fn new(log: Log<R>) -> Self {
        Self { log, sizes: HashMap::new(), left_out: 0 }
    }

    /// The log.
    pub const fn log(&self) -> &Log<R> {
        &self.log
    }

    /// Lines that were read and are no requests for an object: other methods and statuses, tunnels, refusals.
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Appends the next requests. False when there are no more.
    ///
    /// # Errors
    ///
    /// Reading or decompressing failed: there is no going on.
    pub fn read_batch(&mut self, batch: &mut Vec<Request>) -> Result<bool, TraceError> {
        for _ in 0..BATCH {
            let Some(entry) = self.log.next() else { return Ok(false) };
            match self.request(&entry?) {
                Some(request) => batch.push(request),
                None => self.left_out += 1,
            }
        }
        Ok(true)
    }

    /// What could not be read so far.
    pub fn unreadable(&self) -> Unreadable {
        let skipped = self.log.skipped();
        let first = skipped.examples.first();
        Unreadable {
            count: skipped.count,
            first: first.map(|example| (example.line, format!("{}: {}", example.why, example.excerpt))),
        }
    }

    fn request(&mut self, entry: &Entry) -> Option<Request> {
        let answered = matches!(entry.status, 200..=299 | 304);
        if entry.method != Method::GET || !answered || entry.outcome == Some(super::Outcome::Aside) {
            return None;
        }
        let object = object(entry)?;
        let known = self.sizes.entry(object).or_default();
        let whole = !matches!(entry.status, 204 | 206 | 304) && entry.aborted != Some(true);
        if let Some(size) = entry.length.or(whole.then_some(entry.bytes)) {
            *known = size.max(*known);
        }
        let size = if *known > 0 { *known } else { entry.bytes };
        Some(Request { time: u64::try_from(entry.time.as_secs()).unwrap_or(0), object, size })
    }
}

/// The same number for the same target in every run.
fn object(entry: &Entry) -> Option<u64> {
    let target = entry.target("site.invalid")?;
    let mut hasher = DefaultHasher::new();
    target.as_str().hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Format;

    #[test]
    fn sizes_are_those_of_the_largest_whole_answer() {
        let line = |request: &str, status: u16, bytes: u64| {
            format!("h - - [17/May/2015:10:05:03 +0000] \"{request} HTTP/1.1\" {status} {bytes}\n")
        };
        let text = [
            line("GET /a", 304, 0),
            line("GET /a", 200, 70),
            line("GET /a", 206, 10),
            line("GET /a", 200, 60),
            line("GET /a", 200, 90),
            line("GET http://site.invalid/a", 304, 0),
            line("HEAD /a", 200, 0),
            line("POST /a", 200, 5),
            line("GET /a", 500, 5),
            "nonsense\n".to_owned(),
            line("GET /b", 200, 1),
        ]
        .concat();
        let mut requests = ObjectRequests::new(Log::new(text.as_bytes(), Format::Common));
        let mut batch = Vec::new();
        assert!(!requests.read_batch(&mut batch).unwrap());
        let sizes: Vec<u64> = batch.iter().map(|request| request.size).collect();
        assert_eq!(sizes, [0, 70, 70, 70, 90, 90, 1]);
        assert_eq!((requests.left_out(), requests.unreadable().count), (3, 1));
        assert!(batch.iter().take(6).all(|request| request.object == batch[0].object));
    }
}
