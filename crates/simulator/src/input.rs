//! What is to be replayed: one file or several, one after another as one trace, each recognised by its content.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use crate::error::TraceError;
use crate::log::{self, Log, LogFile, ObjectRequests};
use crate::numbers::{Numbered, Numbers};
use crate::trace::{Format, Request, Source, Trace, Unreadable};

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Content {
    /// Requests for objects.
    Objects(Format),
    /// An access log.
    Log(log::Format),
}

impl Content {
    /// What uncompressed bytes are, by the first of them.
    #[must_use]
    pub fn recognise(first: &[u8]) -> Option<Self> {
        log::sniff(first).map(Self::Log).or_else(|| Format::sniff(first).map(Self::Objects))
    }

    /// Its name, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Objects(format) => format.name(),
            Self::Log(format) => format.name(),
        }
    }
}

/// Files that are read as one trace, as often as need be.
#[derive(Clone, Debug)]
pub struct Inputs {
    files: Vec<(PathBuf, Content)>,
    unit: Option<u64>,
    bytes: u64,
}

impl Inputs {
    /// Looks at each file. `unit` is how many bytes a size counts, where a trace does not say.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or is none of what is known.
    pub fn open(paths: &[PathBuf], unit: Option<u64>) -> Result<Self, TraceError> {
        let mut files = Vec::new();
        let mut bytes = 0;
        for path in paths {
            let failed = |source| TraceError::Open { path: path.clone(), source };
            let mut source = Source::open(path)?;
            let content = Content::recognise(source.fill_buf().map_err(failed)?);
            let content = content.ok_or_else(|| TraceError::Unknown { path: path.clone() })?;
            bytes += std::fs::metadata(path).map_err(failed)?.len();
            files.push((path.clone(), content));
        }
        Ok(Self { files, unit, bytes })
    }

    /// The files and what they are.
    pub fn files(&self) -> impl Iterator<Item = (&Path, Content)> {
        self.files.iter().map(|(path, content)| (path.as_path(), *content))
    }

    /// Bytes of all files, as they lie on disk.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Begins to read.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader { inputs: self, at: 0, trace: None, read: 0, unreadable: Vec::new(), requests: Vec::new() }
    }
}

/// What of a file could not be read.
#[derive(Clone, Debug)]
pub struct UnreadableIn {
    /// Which file.
    pub path: PathBuf,
    /// How much, and the first of it.
    pub unreadable: Unreadable,
}

/// A file that is being read.
#[derive(Debug)]
enum Open {
    Objects(Trace<Source>),
    Log(ObjectRequests<LogFile>),
}

impl Open {
    fn new(path: &Path, content: Content, unit: Option<u64>) -> Result<Self, TraceError> {
        let source = Source::open(path)?;
        Ok(match content {
            Content::Objects(format) => Self::Objects(Trace::new(source, format, unit)),
            Content::Log(format) => Self::Log(ObjectRequests::new(Log::of_source(source, format))),
        })
    }

    fn read_batch(&mut self, batch: &mut Vec<Request>) -> Result<bool, TraceError> {
        match self {
            Self::Objects(trace) => trace.read_batch(batch),
            Self::Log(requests) => requests.read_batch(batch),
        }
    }

    fn unreadable(&self) -> Unreadable {
        match self {
            Self::Objects(trace) => trace.unreadable().clone(),
            Self::Log(requests) => requests.unreadable(),
        }
    }

    fn read_bytes(&self) -> u64 {
        match self {
            Self::Objects(trace) => trace.read_bytes(),
            Self::Log(requests) => requests.log().read_bytes(),
        }
    }
}

/// One reading of the inputs.
#[derive(Debug)]
pub struct Reader<'a> {
    inputs: &'a Inputs,
    at: usize,
    trace: Option<Open>,
    /// Bytes of the files that are done with.
    read: u64,
    unreadable: Vec<UnreadableIn>,
    requests: Vec<Request>,
}

impl Reader<'_> {
    /// Appends the next requests, numbered. False when there are no more.
    ///
    /// # Errors
    ///
    /// A file cannot be read on, or there are too many objects.
    pub fn read_batch(
        &mut self,
        numbers: &mut Numbers,
        batch: &mut Vec<Numbered>,
    ) -> Result<bool, TraceError> {
        let Some((path, content)) = self.inputs.files.get(self.at) else { return Ok(false) };
        let trace = match &mut self.trace {
            Some(trace) => trace,
            closed => closed.insert(Open::new(path, *content, self.inputs.unit)?),
        };
        self.requests.clear();
        let more = trace.read_batch(&mut self.requests)?;
        if !numbers.number_all(&self.requests, batch) {
            return Err(TraceError::TooMany);
        }
        if !more {
            let unreadable = trace.unreadable();
            if unreadable.count > 0 {
                self.unreadable.push(UnreadableIn { path: path.clone(), unreadable });
            }
            self.read += trace.read_bytes();
            self.trace = None;
            self.at += 1;
        }
        Ok(self.at < self.inputs.files.len())
    }

    /// Bytes of the files that were read so far, as they lie on disk.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.read + self.trace.as_ref().map_or(0, Open::read_bytes)
    }

    /// What could not be read so far, file by file.
    #[must_use]
    pub fn unreadable(&self) -> &[UnreadableIn] {
        &self.unreadable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn files_are_read_as_one_trace_and_their_faults_kept_apart() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("text");
        std::fs::write(&text, "1,7,100\n2,8\n3,7,100\n").unwrap();
        let paths = [text.clone(), fixtures().join("scan.oracleGeneral"), text.clone()];
        let inputs = Inputs::open(&paths, None).unwrap();
        let names: Vec<_> = inputs.files().map(|(_, content)| content.name()).collect();
        assert_eq!(names, ["CSV", "libCacheSim oracleGeneral", "CSV"]);
        let (mut numbers, mut batch) = (Numbers::default(), Vec::new());
        let mut reader = inputs.reader();
        while reader.read_batch(&mut numbers, &mut batch).unwrap() {}
        assert_eq!((batch.len(), reader.read_bytes()), (404, inputs.bytes()));
        assert_eq!(batch.first().unwrap().number, batch.last().unwrap().number);
        let counts: Vec<_> = reader.unreadable().iter().map(|file| file.unreadable.count).collect();
        assert_eq!(counts, [1, 1]);
    }

    #[test]
    fn what_is_no_trace_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("letter.txt");
        std::fs::write(&path, "Dear Sir or Madam,\n").unwrap();
        let error = Inputs::open(&[path], None).unwrap_err().to_string();
        assert!(error.ends_with("letter.txt is no trace of a known format"), "{error}");
    }
}
