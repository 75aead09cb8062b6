//! Traces and logs as files that other simulators read.
//!
//! Two readings: the first finds out when each object comes again, which takes eight bytes a request, the second writes.

use std::io::{self, Write};

use crate::error::TraceError;
use crate::input::Inputs;
use crate::numbers::Numbers;

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// libCacheSim's binary records of 24 bytes, with the record in which the object comes next.
    OracleGeneral,
    /// `time,obj_id,obj_size,next_access_vtime`, with a header.
    Csv,
    /// webcachesim's lines: time, object, size.
    Webcachesim,
}

impl Target {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OracleGeneral => "oracleGeneral",
            Self::Csv => "csv",
            Self::Webcachesim => "webcachesim",
        }
    }

    /// All of them.
    pub const ALL: [Self; 3] = [Self::OracleGeneral, Self::Csv, Self::Webcachesim];
}

/// What a conversion did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Converted {
    /// Requests that were written.
    pub requests: u64,
    /// Distinct objects among them.
    pub objects: u64,
    /// Sizes, or times, that are greater than four bytes hold and were written as the largest that they do.
    pub clipped: u64,
}

/// Why a conversion ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The input cannot be read.
    #[error(transparent)]
    Read(#[from] TraceError),
    /// The output cannot be written.
    #[error("cannot write")]
    Write(#[source] io::Error),
    /// The second reading gave other requests than the first.
    #[error("the input changed while it was read: convert a copy of it")]
    Changed,
}

/// Writes all requests of the inputs.
///
/// # Errors
///
/// The input cannot be read, or changes meanwhile; the output cannot be written.
pub fn convert(inputs: &Inputs, target: Target, out: impl Write) -> Result<Converted, ConvertError> {
    let next = next_accesses(inputs)?;
    let mut out = io::BufWriter::with_capacity(256 << 10, out);
    let mut converted = Converted::default();
    if target == Target::Csv {
        writeln!(out, "time,obj_id,obj_size,next_access_vtime").map_err(ConvertError::Write)?;
    }
    let mut reader = inputs.reader();
    let (mut numbers, mut batch, mut more) = (Numbers::default(), Vec::new(), true);
    while more {
        more = reader.read_batch(&mut numbers, &mut batch)?;
        for request in batch.drain(..) {
            let place = usize::try_from(converted.requests).ok();
            let next = *place.and_then(|place| next.get(place)).ok_or(ConvertError::Changed)?;
            converted.requests += 1;
            match target {
                Target::OracleGeneral => {
                    let mut clip = |value: u64| {
                        u32::try_from(value).unwrap_or_else(|_| {
                            converted.clipped += 1;
                            u32::MAX
                        })
                    };
                    let (time, size) = (clip(request.time), clip(request.size));
                    out.write_all(&time.to_le_bytes())
                        .and_then(|()| out.write_all(&u64::from(request.number).to_le_bytes()))
                        .and_then(|()| out.write_all(&size.to_le_bytes()))
                        .and_then(|()| out.write_all(&next.to_le_bytes()))
                }
                Target::Csv => writeln!(out, "{},{},{},{next}", request.time, request.number, request.size),
                Target::Webcachesim => writeln!(out, "{} {} {}", request.time, request.number, request.size),
            }
            .map_err(ConvertError::Write)?;
        }
    }
    converted.objects = numbers.len() as u64;
    if converted.requests != next.len() as u64 {
        return Err(ConvertError::Changed);
    }
    out.flush().map_err(ConvertError::Write)?;
    Ok(converted)
}

/// For each request the number of the next one for its object, counted from zero; -1 when there is none.
fn next_accesses(inputs: &Inputs) -> Result<Vec<i64>, TraceError> {
    let mut reader = inputs.reader();
    let (mut numbers, mut batch, mut more) = (Numbers::default(), Vec::new(), true);
    let (mut next, mut last): (Vec<i64>, Vec<usize>) = (Vec::new(), Vec::new());
    while more {
        more = reader.read_batch(&mut numbers, &mut batch)?;
        for request in batch.drain(..) {
            let place = next.len();
            match last.get_mut(request.number as usize) {
                Some(before) => {
                    if let Some(next) = next.get_mut(*before) {
                        *next = i64::try_from(place).unwrap_or(-1);
                    }
                    *before = place;
                }
                // Numbers are given in order of appearance.
                None => last.push(place),
            }
            next.push(-1);
        }
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn an_oracle_trace_comes_out_as_it_went_in_but_for_the_names_of_its_objects() {
        let inputs = Inputs::open(&[fixtures().join("scan.oracleGeneral")], None).unwrap();
        let mut out = Vec::new();
        let converted = convert(&inputs, Target::OracleGeneral, &mut out).unwrap();
        assert_eq!((converted.requests, converted.clipped), (400, 0));
        let original = std::fs::read(fixtures().join("scan.oracleGeneral")).unwrap();
        let without_objects = |bytes: &[u8]| -> Vec<Vec<u8>> {
            bytes.chunks(24).map(|record| [&record[..4], &record[12..]].concat()).collect()
        };
        assert_eq!(without_objects(&out), without_objects(&original));
    }

    #[test]
    fn text_comes_out_as_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace.csv");
        std::fs::write(&path, "1,x,100\n2,y,5000000000\n3,x,100\n").unwrap();
        let inputs = Inputs::open(&[path], None).unwrap();
        let text = |target| {
            let mut out = Vec::new();
            let converted = convert(&inputs, target, &mut out).unwrap();
            assert_eq!((converted.requests, converted.objects), (3, 2));
            (String::from_utf8_lossy(&out).into_owned(), converted.clipped)
        };
        assert_eq!(
            text(Target::Csv),
            (
                "time,obj_id,obj_size,next_access_vtime\n1,0,100,2\n2,1,5000000000,-1\n3,0,100,-1\n"
                    .to_owned(),
                0
            )
        );
        assert_eq!(text(Target::Webcachesim), ("1 0 100\n2 1 5000000000\n3 0 100\n".to_owned(), 0));
        assert_eq!(text(Target::OracleGeneral).1, 1);
    }
}
