//! Traces as text, a request a line: CSV as libCacheSim reads it, webcachesim's lines, and Tragen's.
//!
//! Values are separated by commas (or semicolons, or tabs), or by blanks. Without a header they are time, object and
//! size, and more that is not looked at. A header names its columns, in any order; where it names the unit of sizes
//! (`size_kb`, `object_size (Kb)`) that holds. An object that is no number is known by a hash of its name.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, Read};

use super::{Format, Request, Unreadable};
use crate::error::TraceError;

/// Longer lines are counted as unreadable, and not kept.
const LINE_MAX: u64 = 64 << 10;
/// Lines of a batch.
const BATCH: usize = 4096;
const KIB: u64 = 1024;
/// Nothing is as large as a terabyte: so it is in the eviction code, too.
const SIZE_MAX: u64 = (1 << 40) - 1;

const TIME_NAMES: [&str; 8] =
    ["time", "timestamp", "ts", "clock_time", "clock-time", "real_time", "time_s", "timestamp_s"];
const OBJECT_NAMES: [&str; 10] =
    ["obj_id", "object_id", "obj-id", "object-id", "id", "obj", "object", "key", "lbn", "objid"];
const SIZE_NAMES: [&str; 9] =
    ["size", "obj_size", "object_size", "obj-size", "object-size", "req_size", "objsize", "bytes", "length"];

/// Where a line has what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Columns {
    time: Option<usize>,
    object: usize,
    size: usize,
    /// Bytes that a size counts, if that is said.
    unit: Option<u64>,
    /// Thousandths of a second count as time.
    millis: bool,
}

const PLAIN: Columns = Columns { time: Some(0), object: 1, size: 2, unit: None, millis: false };

/// The format of a text, by its first line; `None` when it is none of these.
pub(super) fn sniff(first: &[u8]) -> Option<Format> {
    // A line that the buffer cuts is as good, as long as there is enough of it.
    let line = first.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line.get(..line.len().min(1024))?).ok()?;
    if line.chars().any(|char| char.is_control() && char != '\t' && char != '\r') {
        return None;
    }
    if let Some(columns) = header(line) {
        return Some(match columns.unit {
            Some(KIB) => Format::Tragen,
            _ if separator(line) == ' ' => Format::Webcachesim,
            _ => Format::Csv,
        });
    }
    parse(line, PLAIN, 1).ok()?;
    Some(if separator(line) == ' ' { Format::Webcachesim } else { Format::Csv })
}

/// Lines from uncompressed bytes.
#[derive(Debug)]
pub(super) struct Lines<R> {
    bytes: R,
    columns: Columns,
    unit: u64,
    line: Vec<u8>,
    number: u64,
    unreadable: Unreadable,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(bytes: R, format: Format, unit: Option<u64>) -> Self {
        let unit = unit.unwrap_or(if format == Format::Tragen { KIB } else { 1 });
        Self { bytes, columns: PLAIN, unit, line: Vec::new(), number: 0, unreadable: Unreadable::default() }
    }

    pub(super) const fn unreadable(&self) -> &Unreadable {
        &self.unreadable
    }

    pub(super) const fn source(&self) -> &R {
        &self.bytes
    }

    pub(super) fn read_batch(&mut self, batch: &mut Vec<Request>) -> Result<bool, TraceError> {
        for _ in 0..BATCH {
            self.number += 1;
            let number = self.number;
            self.line.clear();
            let read = (&mut self.bytes).take(LINE_MAX).read_until(b'\n', &mut self.line);
            if read.map_err(|source| TraceError::Read { record: number, source })? == 0 {
                return Ok(false);
            }
            if self.line.len() as u64 == LINE_MAX && self.line.last() != Some(&b'\n') {
                skip_line(&mut self.bytes).map_err(|source| TraceError::Read { record: number, source })?;
                self.unreadable.note(number, || format!("it is longer than {} KiB", LINE_MAX >> 10));
                continue;
            }
            let Ok(line) = std::str::from_utf8(&self.line) else {
                self.unreadable.note(number, || "it is not UTF-8".to_owned());
                continue;
            };
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            // Lines of figures are most of a trace, and no headers.
            if !line.starts_with(|char: char| char.is_ascii_digit())
                && let Some(columns) = header(line)
            {
                self.columns = columns;
                self.unit = columns.unit.unwrap_or(self.unit);
                continue;
            }
            if line.starts_with('#') {
                continue;
            }
            match parse(line, self.columns, self.unit) {
                Ok(request) => batch.push(request),
                Err(what) => self.unreadable.note(number, || what),
            }
        }
        Ok(true)
    }
}

fn skip_line(bytes: &mut impl BufRead) -> io::Result<()> {
    loop {
        let (ended, used) = match bytes.fill_buf()? {
            [] => return Ok(()),
            rest => match rest.iter().position(|byte| *byte == b'\n') {
                Some(at) => (true, at + 1),
                None => (false, rest.len()),
            },
        };
        bytes.consume(used);
        if ended {
            return Ok(());
        }
    }
}

/// What separates the values of a line: a blank stands for any number of them.
fn separator(line: &str) -> char {
    [',', ';', '\t'].into_iter().find(|char| line.contains(*char)).unwrap_or(' ')
}

fn values(line: &str) -> impl Iterator<Item = &str> {
    let separator = separator(line);
    line.split(separator).map(str::trim).filter(move |value| separator != ' ' || !value.is_empty())
}

/// The columns that a header names; `None` when the line is no header.
fn header(line: &str) -> Option<Columns> {
    let line = line.trim_start_matches(['#', ' ']).to_ascii_lowercase();
    let names: Vec<_> = values(&line).map(|name| name.trim_matches('"')).collect();
    let find = |known: &[&str]| names.iter().position(|name| known.contains(name));
    let object = find(&OBJECT_NAMES)?;
    let in_kib = |name: &&str| {
        let bare = name.replace(['(', ')', '_', '-', ' '], "");
        SIZE_NAMES.iter().any(|size| bare == format!("{}kb", size.replace(['_', '-'], "")))
    };
    let millis = names.iter().position(|name| matches!(*name, "time_ms" | "timestamp_ms" | "ts_ms"));
    let (size, unit) = match find(&SIZE_NAMES) {
        Some(size) => (size, None),
        None => (names.iter().position(in_kib)?, Some(KIB)),
    };
    Some(Columns { time: millis.or_else(|| find(&TIME_NAMES)), object, size, unit, millis: millis.is_some() })
}

fn parse(line: &str, columns: Columns, unit: u64) -> Result<Request, String> {
    let last = columns.object.max(columns.size).max(columns.time.unwrap_or(0));
    let (mut time, mut object, mut size) = (0, None, None);
    let mut count = 0;
    for (at, value) in values(line).take(last + 1).enumerate() {
        count = at + 1;
        if columns.time == Some(at) {
            time = number(value).ok_or_else(|| format!("`{}` is no time", shown(value)))?;
        } else if at == columns.object {
            object = Some(value.parse().unwrap_or_else(|_| hashed(value)));
        } else if at == columns.size {
            let bytes =
                number(value).and_then(|size| size.checked_mul(unit)).filter(|size| *size <= SIZE_MAX);
            size = Some(bytes.ok_or_else(|| format!("`{}` is no size", shown(value)))?);
        }
    }
    let (Some(object), Some(size)) = (object, size) else {
        return Err(format!("it has {count} values where {} are needed", last + 1));
    };
    Ok(Request { time: if columns.millis { time / 1000 } else { time }, object, size })
}

/// A whole number, or the whole part of one: times come with fractions.
fn number(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    fraction.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    whole.parse().ok()
}

fn hashed(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// The beginning of a value, to be shown.
fn shown(value: &str) -> String {
    value.chars().take(40).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Trace;

    fn read(text: &str) -> (Format, Vec<(u64, u64, u64)>, Unreadable) {
        let format = Format::sniff(text.as_bytes()).unwrap();
        let (requests, unreadable) = Trace::new(text.as_bytes(), format, None).read_all().unwrap();
        (format, requests.iter().map(|one| (one.time, one.object, one.size)).collect(), unreadable)
    }

    #[test]
    fn each_format_is_recognised_by_its_content() {
        let expected = vec![(1, 70, 100), (2, 71, 200)];
        for (text, format) in [
            ("1,70,100\n2,71,200\n", Format::Csv),
            ("1.5, 70, 100, -1\r\n2.25, 71, 200, -1", Format::Csv),
            ("obj_size;time;obj_id\n100;1;70\n200;2;71\n", Format::Csv),
            ("# time, object, size\n1,70,100\n\n# more\n2,71,200\n", Format::Csv),
            ("size\ttimestamp_ms\tid\n100\t1999\t70\n200\t2000\t71\n", Format::Csv),
            ("1 70 100\n2  71 200 3.5 x\n", Format::Webcachesim),
        ] {
            let (found, requests, unreadable) = read(text);
            assert_eq!((found, &requests, unreadable.count), (format, &expected, 0), "{text}");
        }
        let tragen = "timestamp, object_id, object_size (Kb)\n1532702631,0,26624\n";
        assert_eq!(read(tragen).0, Format::Tragen);
        assert_eq!(read(tragen).1, [(1_532_702_631, 0, 26_624 << 10)]);
    }

    #[test]
    fn a_unit_that_is_given_counts_where_no_header_has_one() {
        let requests =
            |text: &str| Trace::new(text.as_bytes(), Format::Csv, Some(1024)).read_all().unwrap().0;
        assert_eq!(requests("1,2,3\n").first().unwrap().size, 3 << 10);
        assert_eq!(requests("time,id,size_kb\n1,2,3\n").first().unwrap().size, 3 << 10);
    }

    #[test]
    fn names_are_objects_too_and_stay_the_same() {
        let (_, requests, _) = read("1,/index.html,5\n2,/other,5\n3,/index.html,5\n");
        assert!(requests[0].1 == requests[2].1 && requests[0].1 != requests[1].1, "{requests:?}");
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_the_first_is_kept() {
        let long = "9".repeat(70_000);
        let text = format!("1,70,100\n2,71\nx,1,1\n3,72,-5\n3,72,1099511627776\n{long}\n4,73,300\n");
        let (_, requests, unreadable) = read(&text);
        assert_eq!(requests, [(1, 70, 100), (4, 73, 300)]);
        let first = Some((2, "it has 2 values where 3 are needed".to_owned()));
        assert_eq!(unreadable, Unreadable { count: 5, first });
        let mut bytes = b"1,70,100\n\xff\xfe\n4,73,300".to_vec();
        let (requests, unreadable) = Trace::new(&*bytes, Format::Csv, None).read_all().unwrap();
        assert_eq!((requests.len(), unreadable.count), (2, 1));
        bytes.truncate(0);
        assert_eq!(Trace::new(&*bytes, Format::Csv, None).read_all().unwrap().0, []);
    }

    #[test]
    fn other_texts_are_no_traces() {
        for text in [
            "",
            "hello world",
            "<html>",
            "10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 7",
            "{}",
        ] {
            assert_eq!(Format::sniff(text.as_bytes()), None, "{text}");
        }
        // A Squid log begins with a time and a number, too.
        let squid =
            "1700000000.123    45 10.0.0.1 TCP_HIT/200 512 GET http://a.example/ - HIER_NONE/- text/html";
        assert_eq!(Format::sniff(squid.as_bytes()), None);
    }
}
