//! A log from its first line to its last.

use std::io::{self, BufRead, Read as _};
use std::path::Path;

use super::lines::{Read, read_line};
use super::skipped::Skipped;
use super::{Entry, Format, clf, json, squid};
use crate::error::TraceError;
use crate::trace::Source;

/// How much of a file is looked at to recognise it.
pub const SNIFF_BYTES: usize = 64 << 10;

/// A log file's uncompressed bytes: those that were looked at, and the rest.
pub type LogFile = io::Chain<io::Cursor<Vec<u8>>, Source>;

/// The entries of a log, in its order. Ends after the first error of reading; lines that cannot be read are skipped.
#[derive(Debug)]
pub struct Log<R> {
    from: R,
    format: Format,
    line: Vec<u8>,
    number: u64,
    skipped: Skipped,
    ended: bool,
}

/// Recognises a log by the beginning of its uncompressed bytes: the format that reads the most of its whole lines, and at
/// least half of them. `None` when there is none.
#[must_use]
pub fn sniff(beginning: &[u8]) -> Option<Format> {
    let beginning = beginning.get(..SNIFF_BYTES).unwrap_or(beginning);
    let mut lines: Vec<&[u8]> = beginning.split(|byte| *byte == b'\n').collect();
    // The last one may be cut, unless it is the only one.
    if lines.len() > 1 {
        lines.pop();
    }
    lines.retain(|line| !is_blank(line));
    let mut counts = [0_usize; Format::ALL.len()];
    for line in &lines {
        for (format, count) in Format::ALL.into_iter().zip(&mut counts) {
            *count += usize::from(reads_as(format, line));
        }
    }
    // Of formats that read as many lines, the first tells the most.
    let best = Format::ALL.into_iter().zip(counts).rev().max_by_key(|(_, count)| *count);
    best.filter(|(_, count)| *count > 0 && count * 2 >= lines.len()).map(|(format, _)| format)
}

fn reads_as(format: Format, line: &[u8]) -> bool {
    match format {
        Format::Json => line.first() == Some(&b'{') && json::parse(line).is_ok(),
        Format::Squid => squid::parse(line).is_ok(),
        Format::NginxCache | Format::Combined | Format::Common => match clf::parse(line) {
            Ok((_, shape)) => match format {
                Format::NginxCache => shape.has_outcome,
                Format::Combined => shape.has_agent,
                _ => true,
            },
            Err(_) => false,
        },
    }
}

fn is_blank(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.is_empty() || line.first() == Some(&b'#')
}

/// Opens a log, compressed or not. `None` when it is none.
///
/// # Errors
///
/// The file cannot be opened or read, or its first bytes are those of a compressed file that is damaged.
pub fn open(path: &Path) -> Result<Option<Log<LogFile>>, TraceError> {
    read(Source::open(path)?).map_err(|source| TraceError::Open { path: path.to_owned(), source })
}

/// Reads a log. `None` when it is none.
///
/// # Errors
///
/// It cannot be read.
pub fn read(mut source: Source) -> io::Result<Option<Log<LogFile>>> {
    let mut beginning = Vec::new();
    (&mut source).take(SNIFF_BYTES as u64).read_to_end(&mut beginning)?;
    let Some(format) = sniff(&beginning) else { return Ok(None) };
    Ok(Some(Log::new(io::Cursor::new(beginning).chain(source), format)))
}

impl Log<LogFile> {
    /// Reads a file of one format from its beginning.
    #[must_use]
    pub fn of_source(source: Source, format: Format) -> Self {
        Self::new(io::Cursor::new(Vec::new()).chain(source), format)
    }

    /// Bytes of the file that were read so far, as they lie on disk.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.from.get_ref().1.read_bytes()
    }
}

impl<R: BufRead> Log<R> {
    /// Reads uncompressed lines of one format.
    pub fn new(from: R, format: Format) -> Self {
        Self { from, format, line: Vec::new(), number: 0, skipped: Skipped::default(), ended: false }
    }

    /// The format.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The lines that could not be read so far.
    #[must_use]
    pub const fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// The number of the line that was read last, counted from one.
    #[must_use]
    pub const fn line_number(&self) -> u64 {
        self.number
    }

    fn parse(&self) -> Result<Entry, &'static str> {
        match self.format {
            Format::Squid => squid::parse(&self.line),
            Format::Json => json::parse(&self.line),
            Format::Common | Format::Combined | Format::NginxCache => {
                clf::parse(&self.line).map(|(entry, _)| entry)
            }
        }
    }
}

impl<R: BufRead> Iterator for Log<R> {
    type Item = Result<Entry, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match read_line(&mut self.from, &mut self.line) {
                Ok(Read::End) => self.ended = true,
                Ok(Read::TooLong) => {
                    self.number += 1;
                    self.skipped.add(self.number, "it is longer than 256 KiB", &self.line);
                }
                Ok(Read::Line) => {
                    self.number += 1;
                    if is_blank(&self.line) {
                        continue;
                    }
                    match self.parse() {
                        Ok(entry) => return Some(Ok(entry)),
                        Err(why) => self.skipped.add(self.number, why, &self.line),
                    }
                }
                Err(source) => {
                    self.ended = true;
                    return Some(Err(TraceError::Read { record: self.number, source }));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures;

    const COMMON: &str = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 5"#;

    fn lines_of(format: Format) -> String {
        match format {
            Format::Common => COMMON.to_owned(),
            Format::Combined => format!(r#"{COMMON} "-" "curl/8""#),
            Format::NginxCache => format!(r#"{COMMON} "-" "curl/8" HIT"#),
            Format::Squid => {
                "1795449600.143 20 c TCP_MISS/200 3250 GET http://o.example/ - HIER_DIRECT/- -".to_owned()
            }
            Format::Json => {
                r#"{"time":"2026-11-23T16:00:00Z","method":"GET","url":"http://a/","status":200}"#.to_owned()
            }
        }
    }

    #[test]
    fn each_format_is_recognised_by_its_lines() {
        for format in Format::ALL {
            let line = lines_of(format);
            assert_eq!(sniff(line.as_bytes()), Some(format), "{line}");
            let text = format!("# a comment\n\n{line}\nnonsense\n{line}\n{line}\nhalf a li");
            assert_eq!(sniff(text.as_bytes()), Some(format), "{text}");
        }
        for other in ["", "\n\n", "a,b,c\n1,2,3\n", "\0\0\0\0", "{}\n{}\n"] {
            assert_eq!(sniff(other.as_bytes()), None, "{other}");
        }
        assert_eq!(sniff(format!("x\ny\n{COMMON}\n").as_bytes()), None, "two of three lines are none");
    }

    #[test]
    fn lines_that_cannot_be_read_are_counted_and_the_first_are_shown() {
        let mut text = format!("{COMMON}\n");
        (0..9).for_each(|_| text += "\x1b[31m nonsense\n");
        text += COMMON;
        let mut log = Log::new(text.as_bytes(), Format::Common);
        assert_eq!(log.by_ref().filter(Result::is_ok).count(), 2);
        assert_eq!((log.skipped().count, log.skipped().examples.len(), log.line_number()), (9, 5, 11));
        let first = log.skipped().examples[0].to_string();
        assert!(
            first.starts_with("line 2: there is no [day/") && first.ends_with("\\x1b[31m nonsense"),
            "{first}"
        );
    }

    #[test]
    fn compressed_logs_are_read_as_they_are() {
        let text = format!("{}\n", lines_of(Format::Squid)).repeat(3_000);
        let mut gzip = Vec::new();
        // Two members, as a rotation that appends makes them.
        for _ in 0..2 {
            let mut encoder = flate2::read::GzEncoder::new(text.as_bytes(), flate2::Compression::fast());
            io::Read::read_to_end(&mut encoder, &mut gzip).unwrap();
        }
        let log = read(Source::new(io::Cursor::new(gzip.clone())).unwrap()).unwrap().unwrap();
        assert_eq!((log.format(), log.filter(Result::is_ok).count()), (Format::Squid, 6_000));
        gzip.truncate(gzip.len() - 20);
        let entries: Vec<_> = read(Source::new(io::Cursor::new(gzip)).unwrap()).unwrap().unwrap().collect();
        assert!(matches!(entries.last(), Some(Err(TraceError::Read { .. }))));
        assert!(open(&fixtures().join("scan.oracleGeneral")).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = sniff(&bytes);
            for format in Format::ALL {
                let mut log = Log::new(&*bytes, format);
                let read = log.by_ref().count() as u64;
                prop_assert!(read + log.skipped().count <= log.line_number());
            }
        }

        #[test]
        fn a_line_with_any_damage_is_read_or_skipped(
            which in 0..Format::ALL.len(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            let format = Format::ALL[which];
            let mut line = lines_of(format).into_bytes();
            for (place, byte) in damage {
                let place = place.index(line.len());
                line[place] = byte;
            }
            for format in Format::ALL {
                for entry in Log::new(&*line, format) {
                    let entry = entry.unwrap();
                    let _ = entry.target("site.example");
                    prop_assert!(entry.url.bytes().all(|byte| byte.is_ascii_graphic()));
                    prop_assert!(entry.status == 0 || format == Format::Json || entry.status >= 100);
                }
            }
        }
    }
}
