//! Lines of bounded length.

use std::io::{self, BufRead, ErrorKind};

/// The longest line that is read. A line of a log is a URL and a few fields, which servers bound far below this.
pub const LINE_LIMIT_BYTES: usize = 256 << 10;

/// What a reading of one line gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Read {
    /// A line is in the buffer, without its end.
    Line,
    /// It was longer than [`LINE_LIMIT_BYTES`]: its beginning is in the buffer.
    TooLong,
    /// There are no more.
    End,
}

/// Reads the next line into `line`. The last one needs no line feed.
pub(super) fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Read> {
    line.clear();
    let (mut any, mut long) = (false, false);
    loop {
        let bytes = match from.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if bytes.is_empty() {
            break;
        }
        any = true;
        let end = memchr::memchr(b'\n', bytes);
        let piece = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        let room = LINE_LIMIT_BYTES - line.len();
        long |= piece.len() > room;
        line.extend_from_slice(piece.get(..room).unwrap_or(piece));
        let used = piece.len() + usize::from(end.is_some());
        from.consume(used);
        if end.is_some() {
            break;
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(match (any, long) {
        (false, _) => Read::End,
        (true, true) => Read::TooLong,
        (true, false) => Read::Line,
    })
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn lines_end_with_or_without_carriage_return_and_at_the_end() {
        let mut from = BufReader::with_capacity(3, &b"one\r\n\ntwo\0\xff\nlast"[..]);
        let mut line = Vec::new();
        for expected in [&b"one"[..], b"", b"two\0\xff", b"last"] {
            assert_eq!(read_line(&mut from, &mut line).unwrap(), Read::Line);
            assert_eq!(line, expected);
        }
        assert_eq!(read_line(&mut from, &mut line).unwrap(), Read::End);
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let mut bytes = vec![b'x'; 3 * LINE_LIMIT_BYTES];
        bytes.extend_from_slice(b"\nnext\n");
        let mut from = BufReader::new(&*bytes);
        let mut line = Vec::new();
        assert_eq!(read_line(&mut from, &mut line).unwrap(), Read::TooLong);
        assert_eq!(line.len(), LINE_LIMIT_BYTES);
        assert_eq!(read_line(&mut from, &mut line).unwrap(), Read::Line);
        assert_eq!(line, b"next");
    }
}
