//! Finds the end of a head or trailer section in bytes that arrive piecemeal, looking at each byte once.
//!
//! It knows lines only. What the lines say is for httparse, which is asked once the section is whole: a peer that
//! sends byte by byte costs no more than one that sends all at once.

use std::ops::Range;

use memchr::memchr_iter;

use super::error::ParseError;

/// Empty lines that may stand before a request line (RFC 9112, 2.2).
const LEADING_EMPTY_LINES: u8 = 2;

/// What is looked for, which decides what an empty line at the start means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// A request's head: some empty lines may precede it.
    Request,
    /// A response's head: nothing may precede it.
    Response,
    /// A trailer section, which may be the empty line alone.
    Trailers,
}

/// A section that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// From its first line to behind the empty line that ends it.
    pub(super) bytes: Range<usize>,
    /// Its lines, the empty one not counted.
    pub(super) lines: usize,
}

/// How far the search has come. The buffer may grow between calls, but must keep what it had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Where the section starts, behind empty lines that were skipped.
    start: usize,
    /// Where the line starts that is not yet whole.
    line: usize,
    /// Where to look on.
    next: usize,
    /// Whole lines so far.
    lines: usize,
    /// The end of the first line, without CRLF.
    first_end: Option<usize>,
    /// Whether the first line was whole in an earlier call.
    first_line_is_old: bool,
    /// Empty lines skipped.
    skipped: u8,
}

impl Scan {
    /// Looks on in `buf`, of which no more than `limit` bytes may belong to the section.
    ///
    /// # Errors
    /// A line that does not end in CRLF, more than `max_lines` lines, more than `limit` bytes.
    pub(super) fn advance(
        &mut self,
        buf: &[u8],
        section: Section,
        limit: usize,
        max_lines: usize,
    ) -> Result<Option<Found>, ParseError> {
        let window = buf.get(..limit).unwrap_or(buf);
        let from = self.next;
        self.first_line_is_old = self.first_end.is_some();
        for offset in memchr_iter(b'\n', window.get(from..).unwrap_or_default()) {
            let lf = from + offset;
            let cr = lf.checked_sub(1).filter(|&cr| cr >= self.line && window.get(cr) == Some(&b'\r'));
            let Some(cr) = cr else { return Err(ParseError::BareLf) };
            let empty = cr == self.line;
            self.line = lf + 1;
            if !empty {
                self.lines += 1;
                self.first_end.get_or_insert(cr);
                if self.lines > max_lines {
                    return Err(ParseError::TooManyFields);
                }
            } else if self.lines > 0 || section == Section::Trailers {
                return Ok(Some(Found { bytes: self.start..lf + 1, lines: self.lines }));
            } else if section == Section::Request && self.skipped < LEADING_EMPTY_LINES {
                self.skipped += 1;
                self.start = lf + 1;
            } else {
                return Err(if section == Section::Request {
                    ParseError::RequestLine
                } else {
                    ParseError::StatusLine
                });
            }
        }
        self.next = window.len();
        if buf.len() < limit {
            return Ok(None);
        }
        let in_request_line = section == Section::Request && self.lines == 0;
        Err(if in_request_line { ParseError::TargetTooLong } else { ParseError::HeadTooLarge })
    }

    /// The first line without its CRLF, when it is whole.
    pub(super) fn first_line<'a>(&self, buf: &'a [u8]) -> Option<&'a [u8]> {
        self.first_end.and_then(|end| buf.get(self.start..end))
    }

    /// Whether the first line was whole in the call before the last, so that it has been judged.
    pub(super) fn first_line_is_old(&self) -> bool {
        self.first_line_is_old
    }

    /// What there is of the section so far.
    pub(super) fn rest<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        buf.get(self.start..).unwrap_or_default()
    }

    /// Whether nothing but skipped empty lines (or the CR of one) has arrived.
    pub(super) fn is_blank(&self, buf: &[u8]) -> bool {
        matches!(self.rest(buf), b"" | b"\r")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_must_end_in_cr_lf() {
        for text in [
            "\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "a\r\n\n",
            "a\r\n\r\r\n\n",
        ] {
            assert_eq!(
                Scan::default().advance(text.as_bytes(), Section::Request, 100, 100),
                Err(ParseError::BareLf),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_section_of_exactly_the_limit_passes() {
        let text = b"GET / HTTP/1.1\r\n\r\n";
        let found = Scan::default().advance(text, Section::Request, text.len(), 1);
        assert_eq!(found, Ok(Some(Found { bytes: 0..text.len(), lines: 1 })));
        let less = Scan::default().advance(text, Section::Request, text.len() - 1, 1);
        assert_eq!(less, Err(ParseError::HeadTooLarge));
    }

    #[test]
    fn two_empty_lines_may_precede_a_request_and_none_a_response() {
        let found = Scan::default().advance(b"\r\n\r\nG\r\n\r\n", Section::Request, 100, 1);
        assert_eq!(found, Ok(Some(Found { bytes: 4..9, lines: 1 })));
        assert_eq!(
            Scan::default().advance(b"\r\n\r\n\r\nG", Section::Request, 100, 1),
            Err(ParseError::RequestLine)
        );
        assert_eq!(Scan::default().advance(b"\r\n", Section::Response, 100, 1), Err(ParseError::StatusLine));
    }
}
