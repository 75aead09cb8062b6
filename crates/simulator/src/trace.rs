//! Reading traces: one request after another, at constant memory.
//!
//! The format is libCacheSim's `oracleGeneral`, plain or as a zstd file, which is told by its first bytes:
//!
//! ```text
//! offset  bytes  what (little-endian, no header)
//!      0      4  time in seconds
//!      4      8  object
//!     12      4  size in bytes
//!     16      8  number of the record in which the object comes next; -1 when never again
//! ```

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use ruzstd::decoding::StreamingDecoder;

use crate::error::TraceError;

const RECORD: usize = 24;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BUFFER: usize = 256 << 10;

/// One request of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Seconds, from an origin of the trace's own.
    pub time: u32,
    /// The object that was asked for.
    pub object: u64,
    /// Its size in bytes.
    pub size: u32,
}

/// The requests of a trace, in order. Ends after the first error.
pub struct OracleGeneral<R> {
    bytes: R,
    record: u64,
    ended: bool,
}

/// Opens a trace file, compressed or not.
///
/// # Errors
///
/// The file cannot be opened or read, or its first bytes are those of a zstd file that is damaged.
pub fn open(path: &Path) -> Result<OracleGeneral<Box<dyn Read>>, TraceError> {
    let failed = |source| TraceError::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    read(BufReader::with_capacity(BUFFER, file)).map_err(failed)
}

/// Reads a trace, compressed or not.
///
/// # Errors
///
/// It cannot be read, or its first bytes are those of a zstd file that is damaged.
pub fn read(mut bytes: impl BufRead + 'static) -> io::Result<OracleGeneral<Box<dyn Read>>> {
    let compressed = bytes.fill_buf()?.starts_with(&ZSTD_MAGIC);
    let bytes: Box<dyn Read> = if compressed {
        let decoder = StreamingDecoder::new(bytes).map_err(io::Error::other)?;
        Box::new(BufReader::with_capacity(BUFFER, decoder))
    } else {
        Box::new(bytes)
    };
    Ok(OracleGeneral::new(bytes))
}

impl<R: Read> OracleGeneral<R> {
    /// Reads records from uncompressed bytes, which should be buffered.
    pub const fn new(bytes: R) -> Self {
        Self { bytes, record: 0, ended: false }
    }

    fn read_record(&mut self) -> Result<Option<Request>, TraceError> {
        let record = self.record;
        let mut bytes = [0; RECORD];
        let mut found = 0;
        while let Some(rest) = bytes.get_mut(found..).filter(|rest| !rest.is_empty()) {
            match self.bytes.read(rest) {
                Ok(0) if found == 0 => return Ok(None),
                Ok(0) => return Err(TraceError::Cut { record, found, expected: RECORD }),
                Ok(read) => found += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(TraceError::Read { record, source }),
            }
        }
        self.record += 1;
        decode(&bytes).map(Some).map_err(|what| TraceError::Malformed { record, what })
    }
}

impl<R: Read> Iterator for OracleGeneral<R> {
    type Item = Result<Request, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.read_record().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

fn decode(bytes: &[u8; RECORD]) -> Result<Request, String> {
    let [t0, t1, t2, t3, o0, o1, o2, o3, o4, o5, o6, o7, s0, s1, s2, s3, next @ ..] = *bytes;
    let next = i64::from_le_bytes(next);
    if next < -1 {
        return Err(format!("the next request for its object cannot be in record {next}"));
    }
    Ok(Request {
        time: u32::from_le_bytes([t0, t1, t2, t3]),
        object: u64::from_le_bytes([o0, o1, o2, o3, o4, o5, o6, o7]),
        size: u32::from_le_bytes([s0, s1, s2, s3]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn record(time: u32, object: u64, size: u32, next: i64) -> Vec<u8> {
        let mut bytes = time.to_le_bytes().to_vec();
        bytes.extend_from_slice(&object.to_le_bytes());
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(&next.to_le_bytes());
        bytes
    }

    #[test]
    fn records_are_read_in_order() {
        let bytes = [record(1, u64::MAX, 3, 2), record(2, 5, u32::MAX, -1)].concat();
        let requests: Vec<_> = OracleGeneral::new(&*bytes).map(Result::unwrap).collect();
        let [one, two] = requests[..] else { panic!("{requests:?}") };
        assert_eq!(one, Request { time: 1, object: u64::MAX, size: 3 });
        assert_eq!(two, Request { time: 2, object: 5, size: u32::MAX });
    }

    #[test]
    fn a_cut_trace_says_at_which_record_and_ends() {
        let bytes = [record(1, 1, 1, -1), record(2, 2, 2, -1)].concat();
        for cut in 1..24 {
            let mut trace = OracleGeneral::new(&bytes[..24 + cut]);
            assert!(trace.next().unwrap().is_ok());
            let error = trace.next().unwrap().unwrap_err();
            assert_eq!(error.to_string(), format!("record 1 is cut: {cut} of its 24 bytes are there"));
            assert!(trace.next().is_none());
        }
    }

    #[test]
    fn a_malformed_record_is_named() {
        let bytes = [record(1, 1, 1, -1), record(2, 2, 2, -2)].concat();
        let error = OracleGeneral::new(&*bytes).nth(1).unwrap().unwrap_err();
        assert!(error.to_string().starts_with("record 1 is malformed: "), "{error}");
    }

    #[test]
    fn a_compressed_trace_is_recognised_and_its_damage_is_an_error() {
        let path = fixtures().join("drift.oracleGeneral.zst");
        assert_eq!(open(&path).unwrap().filter(|request| request.is_ok()).count(), 6_000);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(bytes.len() / 2);
        let outcome: Result<Vec<_>, _> = read(io::Cursor::new(bytes)).unwrap().collect();
        assert!(matches!(outcome, Err(TraceError::Read { .. } | TraceError::Cut { .. })), "{outcome:?}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = open(Path::new("/nowhere/a.oracleGeneral")).err().unwrap();
        assert_eq!(error.to_string(), "cannot open /nowhere/a.oracleGeneral");
    }
}
