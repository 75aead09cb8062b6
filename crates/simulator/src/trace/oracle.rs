//! libCacheSim's `oracleGeneral`:
//!
//! ```text
//! offset  bytes  what (little-endian, no header)
//!      0      4  time in seconds
//!      4      8  object
//!     12      4  size in bytes
//!     16      8  number of the record in which the object comes next; -1 or the largest number when never again
//! ```
//!
//! The last is not used: where the future counts, it is worked out from the requests themselves.

use std::io::{self, BufRead};

use super::{Request, Unreadable};
use crate::error::TraceError;

const RECORD: usize = 24;
/// Records that are looked at to recognise the format.
const SNIFFED: usize = 64;
/// No trace has so many records.
const RECORDS_MAX: i64 = 1 << 48;

/// Records from uncompressed bytes.
#[derive(Debug)]
pub(super) struct OracleGeneral<R> {
    bytes: R,
    record: u64,
    unreadable: Unreadable,
}

/// Whether these are the first bytes of such records.
pub(super) fn sniff(first: &[u8]) -> bool {
    let (records, rest) = first.as_chunks::<RECORD>();
    !records.is_empty()
        && records.iter().take(SNIFFED).all(|record| decode(record).is_ok())
        && (records.len() >= SNIFFED || rest.is_empty() || records.len() > 1)
}

impl<R: BufRead> OracleGeneral<R> {
    pub(super) const fn new(bytes: R) -> Self {
        Self { bytes, record: 0, unreadable: Unreadable { count: 0, first: None } }
    }

    pub(super) const fn unreadable(&self) -> &Unreadable {
        &self.unreadable
    }

    pub(super) const fn source(&self) -> &R {
        &self.bytes
    }

    /// The records of what the reader has at hand.
    pub(super) fn read_batch(&mut self, batch: &mut Vec<Request>) -> Result<bool, TraceError> {
        let record = self.record + 1;
        let failed = |source| TraceError::Read { record, source };
        let bytes = fill(&mut self.bytes).map_err(failed)?;
        if bytes.is_empty() {
            return Ok(false);
        }
        let (records, _) = bytes.as_chunks::<RECORD>();
        if records.is_empty() {
            return self.read_across(batch);
        }
        batch.reserve(records.len());
        for bytes in records {
            self.record += 1;
            match decode(bytes) {
                Ok(request) => batch.push(request),
                Err(what) => self.unreadable.note(self.record, || what),
            }
        }
        let read = records.len() * RECORD;
        self.bytes.consume(read);
        Ok(true)
    }

    /// One record whose bytes the reader has not in one piece.
    fn read_across(&mut self, batch: &mut Vec<Request>) -> Result<bool, TraceError> {
        self.record += 1;
        let record = self.record;
        let mut bytes = [0; RECORD];
        let mut found = 0;
        while let Some(rest) = bytes.get_mut(found..).filter(|rest| !rest.is_empty()) {
            match self.bytes.read(rest) {
                Ok(0) => {
                    self.unreadable
                        .note(record, || format!("it is cut: {found} of its {RECORD} bytes are there"));
                    return Ok(false);
                }
                Ok(read) => found += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(TraceError::Read { record, source }),
            }
        }
        match decode(&bytes) {
            Ok(request) => batch.push(request),
            Err(what) => self.unreadable.note(record, || what),
        }
        Ok(true)
    }
}

/// What is buffered, or comes next.
fn fill<R: BufRead>(bytes: &mut R) -> io::Result<&[u8]> {
    loop {
        match bytes.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    bytes.fill_buf()
}

fn decode(bytes: &[u8; RECORD]) -> Result<Request, String> {
    let [t0, t1, t2, t3, o0, o1, o2, o3, o4, o5, o6, o7, s0, s1, s2, s3, next @ ..] = *bytes;
    let next = i64::from_le_bytes(next);
    if next < -1 || (next > RECORDS_MAX && next != i64::MAX) {
        return Err(format!("the next request for its object cannot be in record {next}"));
    }
    Ok(Request {
        time: u64::from(u32::from_le_bytes([t0, t1, t2, t3])),
        object: u64::from_le_bytes([o0, o1, o2, o3, o4, o5, o6, o7]),
        size: u64::from(u32::from_le_bytes([s0, s1, s2, s3])),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use crate::trace::{Format, Trace, open};

    fn record(time: u32, object: u64, size: u32, next: i64) -> Vec<u8> {
        let mut bytes = time.to_le_bytes().to_vec();
        bytes.extend_from_slice(&object.to_le_bytes());
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(&next.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8], buffer: usize) -> (Vec<Request>, Unreadable) {
        let bytes = io::BufReader::with_capacity(buffer, bytes);
        Trace::new(bytes, Format::OracleGeneral, None).read_all().unwrap()
    }

    #[test]
    fn records_are_read_in_order_however_the_reader_cuts_them() {
        let bytes =
            [record(1, u64::MAX, 3, 2), record(2, 5, u32::MAX, -1), record(3, 5, 7, i64::MAX)].concat();
        for buffer in [1, 5, 24, 25, 49, 4096] {
            let (requests, unreadable) = read(&bytes, buffer);
            let [one, two, three] = requests[..] else { panic!("{requests:?}") };
            assert_eq!(one, Request { time: 1, object: u64::MAX, size: 3 });
            assert_eq!(two, Request { time: 2, object: 5, size: u64::from(u32::MAX) });
            assert_eq!(three, Request { time: 3, object: 5, size: 7 });
            assert_eq!(unreadable, Unreadable::default());
        }
    }

    #[test]
    fn a_cut_record_is_counted() {
        let bytes = [record(1, 1, 1, -1), record(2, 2, 2, -1)].concat();
        for cut in 1..24 {
            let (requests, unreadable) = read(&bytes[..24 + cut], 4096);
            assert_eq!(requests.len(), 1);
            let what = format!("it is cut: {cut} of its 24 bytes are there");
            assert_eq!(unreadable, Unreadable { count: 1, first: Some((2, what)) });
        }
    }

    #[test]
    fn a_malformed_record_is_counted_and_passed_over() {
        let bytes = [record(1, 1, 1, -1), record(2, 2, 2, -2), record(3, 3, 3, -1)].concat();
        let (requests, unreadable) = read(&bytes, 4096);
        assert_eq!(requests.len(), 2);
        assert_eq!(unreadable.count, 1);
        assert!(unreadable.first.unwrap().1.contains("cannot be in record -2"));
    }

    #[test]
    fn a_compressed_trace_is_recognised_and_its_damage_is_an_error() {
        let path = fixtures().join("drift.oracleGeneral.zst");
        let trace = open(&path).unwrap();
        assert_eq!(trace.format(), Format::OracleGeneral);
        assert_eq!(trace.read_all().unwrap().0.len(), 6_000);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(bytes.len() / 2);
        let source = crate::trace::Source::new(io::Cursor::new(bytes)).unwrap();
        let outcome = Trace::new(source, Format::OracleGeneral, None).read_all();
        assert!(matches!(outcome, Err(TraceError::Read { .. })), "{outcome:?}");
    }

    #[test]
    fn other_bytes_are_not_taken_for_records() {
        assert!(!sniff(b""));
        assert!(!sniff(&[0; 23]));
        assert!(!sniff(&[0xff; 24].map(|byte: u8| byte ^ 0x80)));
        assert!(!sniff(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0\x80\x44\0\0\xff\xff\xff\xff\xff\xff\xff\x7e\0\0\0\0\0\0\0\xfe"));
        assert!(sniff(&record(1, 2, 3, -1)));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = open(std::path::Path::new("/nowhere/a.oracleGeneral")).err().unwrap();
        assert_eq!(error.to_string(), "cannot open /nowhere/a.oracleGeneral");
    }
}
