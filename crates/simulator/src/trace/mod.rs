//! Reading object traces: one request after another, at constant memory, whatever the format.
//!
//! The format is told by the first bytes, after gzip or zstd has been undone. What cannot be read (a line without a
//! number where a size should be, a record that ends too early) is counted, the first of its kind is kept to be
//! shown, and reading goes on. Only a failing disk or damaged compression ends a trace early.

mod oracle;
mod source;
mod text;

use std::io::BufRead;
use std::path::Path;

pub use source::Source;

use crate::error::TraceError;
use oracle::OracleGeneral;
use text::Lines;

/// One request of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Request {
    /// Seconds, from an origin of the trace's own.
    pub time: u64,
    /// The object that was asked for.
    pub object: u64,
    /// Its size in bytes.
    pub size: u64,
}

/// How a trace is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Format {
    /// libCacheSim's binary records of 24 bytes.
    OracleGeneral,
    /// Values separated by commas, as libCacheSim reads them: time, object, size, unless a header says otherwise.
    Csv,
    /// webcachesim's lines: time, object, size and perhaps more, separated by blanks.
    Webcachesim,
    /// Tragen's values separated by commas: time, object, size in KiB.
    Tragen,
}

impl Format {
    /// Its name, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OracleGeneral => "libCacheSim oracleGeneral",
            Self::Csv => "CSV",
            Self::Webcachesim => "webcachesim",
            Self::Tragen => "Tragen",
        }
    }

    /// The format of uncompressed bytes, judged by the first of them; `None` when they are none of these.
    #[must_use]
    pub fn sniff(first: &[u8]) -> Option<Self> {
        text::sniff(first).or_else(|| oracle::sniff(first).then_some(Self::OracleGeneral))
    }
}

/// What of a trace could not be read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unreadable {
    /// How many records or lines.
    pub count: u64,
    /// The first of them: its number, counted from one, and what is wrong with it.
    pub first: Option<(u64, String)>,
}

impl Unreadable {
    fn note(&mut self, number: u64, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.is_none() {
            self.first = Some((number, what()));
        }
    }
}

/// The requests of a trace, in order.
#[derive(Debug)]
pub struct Trace<R> {
    format: Format,
    records: Records<R>,
}

#[derive(Debug)]
enum Records<R> {
    Oracle(OracleGeneral<R>),
    Lines(Lines<R>),
}

/// Opens a trace file, compressed or not.
///
/// # Errors
///
/// The file cannot be opened or read, is damaged, or is no trace.
pub fn open(path: &Path) -> Result<Trace<Source>, TraceError> {
    let mut source = Source::open(path)?;
    let failed = |source| TraceError::Open { path: path.to_owned(), source };
    match Format::sniff(source.fill_buf().map_err(failed)?) {
        Some(format) => Ok(Trace::new(source, format, None)),
        None => Err(TraceError::Unknown { path: path.to_owned() }),
    }
}

impl<R: BufRead> Trace<R> {
    /// Reads requests from uncompressed bytes. `unit` is how many bytes a size counts, where the format or its
    /// header does not say.
    pub fn new(bytes: R, format: Format, unit: Option<u64>) -> Self {
        let records = match format {
            Format::OracleGeneral => Records::Oracle(OracleGeneral::new(bytes)),
            text => Records::Lines(Lines::new(bytes, text, unit)),
        };
        Self { format, records }
    }

    /// How it is written.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Appends the next requests, as many as are worth a call. False when there are no more.
    ///
    /// # Errors
    ///
    /// Reading or decompressing failed: there is no going on.
    pub fn read_batch(&mut self, batch: &mut Vec<Request>) -> Result<bool, TraceError> {
        match &mut self.records {
            Records::Oracle(records) => records.read_batch(batch),
            Records::Lines(lines) => lines.read_batch(batch),
        }
    }

    /// What could not be read so far.
    pub const fn unreadable(&self) -> &Unreadable {
        match &self.records {
            Records::Oracle(records) => records.unreadable(),
            Records::Lines(lines) => lines.unreadable(),
        }
    }

    /// All requests that can be read, and what could not: for small traces.
    ///
    /// # Errors
    ///
    /// Reading or decompressing failed.
    pub fn read_all(mut self) -> Result<(Vec<Request>, Unreadable), TraceError> {
        let mut all = Vec::new();
        while self.read_batch(&mut all)? {}
        Ok((all, self.unreadable().clone()))
    }
}

/// The bytes where reads from this source stand, for a progress bar: compressed ones count as they lie in the file.
impl Trace<Source> {
    /// Bytes of the file that were read so far.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        match &self.records {
            Records::Oracle(records) => records.source().read_bytes(),
            Records::Lines(lines) => lines.source().read_bytes(),
        }
    }
}
