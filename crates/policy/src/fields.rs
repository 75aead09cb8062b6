//! Field sections: the lines of a head in the order and letter case in which they came.
//!
//! [`Fields`] keeps the wire text itself, so that a stored head is written to a client, or to disk, by one
//! copy. No line in it can hold a CR, LF or NUL inside its value nor anything but a token as its name,
//! whatever was received or read back; that is the invariant which keeps one field from becoming two. What a
//! field means is not known here, except which fields belong to one connection only.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// Why a line cannot be part of a field section.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidField {
    /// The name is empty or holds a byte that no token may (RFC 9110, 5.6.2).
    #[error("field name is not a token")]
    Name,
    /// The value holds CR, LF or NUL (RFC 9110, 5.5).
    #[error("field value holds CR, LF or NUL")]
    Value,
    /// Stored wire text is not a sequence of `Name: value` lines, each ended by CRLF.
    #[error("field section is not a sequence of field lines")]
    Syntax,
    /// The section would grow past 4 GiB.
    #[error("field section is too long")]
    TooLong,
}

/// A field section: name-value lines in the order and letter case received.
///
/// Names are looked up without regard to letter case. Equality is that of the wire text.
#[derive(Clone, Default)]
pub struct Fields {
    /// `Name: value CRLF`, repeated: one space after the colon, no whitespace around the value.
    wire: Vec<u8>,
    lines: Vec<Span>,
}

/// Where one line lies in the wire text.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    name_length: u32,
    value_length: u32,
}

impl Span {
    const fn name(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.name_length as usize
    }

    const fn value(self) -> Range<usize> {
        let start = self.name().end + SEPARATOR.len();
        start..start + self.value_length as usize
    }

    /// The whole line with its CRLF.
    const fn line(self) -> Range<usize> {
        self.start as usize..self.value().end + CRLF.len()
    }
}

const SEPARATOR: &[u8] = b": ";
const CRLF: &[u8] = b"\r\n";

impl Fields {
    /// An empty section.
    pub const fn new() -> Self {
        Self { wire: Vec::new(), lines: Vec::new() }
    }

    /// An empty section with room for `lines` lines and `bytes` bytes of wire text.
    pub fn with_capacity(lines: usize, bytes: usize) -> Self {
        Self { wire: Vec::with_capacity(bytes), lines: Vec::with_capacity(lines) }
    }

    /// Appends a line. Whitespace around the value is dropped; bytes above 0x7f are kept as they are.
    ///
    /// # Errors
    /// [`InvalidField`] when the name is not a token or the value holds CR, LF or NUL; nothing is appended.
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: &[u8]) -> Result<(), InvalidField> {
        let name = name.as_ref();
        let value = trim_ows(value);
        check(name, value)?;
        let span = Span {
            start: u32::try_from(self.wire.len()).map_err(|_| InvalidField::TooLong)?,
            name_length: u32::try_from(name.len()).map_err(|_| InvalidField::TooLong)?,
            value_length: u32::try_from(value.len()).map_err(|_| InvalidField::TooLong)?,
        };
        self.wire.reserve(name.len() + value.len() + SEPARATOR.len() + CRLF.len());
        self.wire.extend_from_slice(name);
        self.wire.extend_from_slice(SEPARATOR);
        self.wire.extend_from_slice(value);
        self.wire.extend_from_slice(CRLF);
        self.lines.push(span);
        Ok(())
    }

    /// All lines in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        // A name is a token and therefore ASCII: the default never shows.
        self.raw().map(|(name, value)| (std::str::from_utf8(name).unwrap_or_default(), value))
    }

    /// All lines in order, names as bytes.
    pub(crate) fn raw(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|span| (self.slice(span.name()), self.slice(span.value())))
    }

    /// The values of all lines called `name`, in order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.raw().filter(move |(line, _)| line.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The value of the first line called `name`. For a field that is a list, ask for [`Fields::all`].
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// Whether any line is called `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// Removes all lines called `name`; returns how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        let before = self.len();
        self.retain(|line, _| !line.eq_ignore_ascii_case(name));
        before - self.len()
    }

    /// Makes `value` the only value of `name`: in place of the first such line, or as a new last line.
    ///
    /// # Errors
    /// [`InvalidField`] as [`Fields::push`]; the section is then unchanged.
    pub fn set(&mut self, name: &str, value: &[u8]) -> Result<(), InvalidField> {
        check(name.as_bytes(), trim_ows(value))?;
        let is_so = {
            let mut lines = self.all(name);
            lines.next() == Some(trim_ows(value)) && lines.next().is_none()
        };
        if is_so {
            return Ok(());
        }
        let mut replaced =
            Self::with_capacity(self.len() + 1, self.wire.len() + name.len() + value.len() + 4);
        let mut done = false;
        for (line, old) in self.raw() {
            if !line.eq_ignore_ascii_case(name.as_bytes()) {
                replaced.push(line, old)?;
            } else if !done {
                replaced.push(line, value)?;
                done = true;
            }
        }
        if !done {
            replaced.push(name, value)?;
        }
        *self = replaced;
        Ok(())
    }

    /// Keeps the lines for which `keep` is true, in their order.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &[u8]) -> bool) {
        let mut end = 0;
        let wire = &mut self.wire;
        self.lines.retain_mut(|span| {
            let name = wire.get(span.name()).and_then(|name| std::str::from_utf8(name).ok());
            let value = wire.get(span.value());
            let keep = keep(name.unwrap_or_default(), value.unwrap_or_default());
            if keep {
                let line = span.line();
                let length = line.len();
                if line.start != end {
                    wire.copy_within(line, end);
                    span.start = end as u32;
                }
                end += length;
            }
            keep
        });
        self.wire.truncate(end);
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The values of all lines called `name`, joined by `, ` (RFC 9110, 5.3); `None` when there is none.
    pub fn combined(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut lines = self.all(name);
        let first = lines.next()?;
        let mut combined = Cow::Borrowed(first);
        for line in lines {
            let joined = combined.to_mut();
            joined.extend_from_slice(b", ");
            joined.extend_from_slice(line);
        }
        Some(combined)
    }

    /// The section as it goes on the wire, each line ended by CRLF, without the empty line that ends a head.
    pub fn as_wire(&self) -> &[u8] {
        &self.wire
    }

    /// Reads back what [`Fields::as_wire`] gave; accepts nothing else.
    ///
    /// # Errors
    /// [`InvalidField`] when the text is not a sequence of lines that [`Fields::push`] would have written.
    pub fn from_wire(wire: &[u8]) -> Result<Self, InvalidField> {
        let mut fields = Self::with_capacity(wire.iter().filter(|byte| **byte == b'\n').count(), wire.len());
        let mut rest = wire;
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').ok_or(InvalidField::Syntax)?;
            let (line, after) = rest.split_at_checked(end + 1).ok_or(InvalidField::Syntax)?;
            let line = line.strip_suffix(CRLF).ok_or(InvalidField::Syntax)?;
            let colon = line.iter().position(|byte| *byte == b':').ok_or(InvalidField::Syntax)?;
            let (name, value) = line.split_at_checked(colon).ok_or(InvalidField::Syntax)?;
            let value = value.strip_prefix(SEPARATOR).ok_or(InvalidField::Syntax)?;
            if trim_ows(value).len() != value.len() {
                return Err(InvalidField::Syntax);
            }
            fields.push(name, value)?;
            rest = after;
        }
        Ok(fields)
    }

    fn slice(&self, range: Range<usize>) -> &[u8] {
        self.wire.get(range).unwrap_or_default()
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.wire == other.wire
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.iter().map(|(name, value)| (name, String::from_utf8_lossy(value)));
        f.debug_map().entries(lines).finish()
    }
}

fn check(name: &[u8], value: &[u8]) -> Result<(), InvalidField> {
    if !is_token(name) {
        return Err(InvalidField::Name);
    }
    if memchr::memchr3(b'\r', b'\n', 0, value).is_some() {
        return Err(InvalidField::Value);
    }
    Ok(())
}

/// `1*tchar` (RFC 9110, 5.6.2).
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| TCHAR.get(usize::from(*byte)) == Some(&true))
}

/// Every name of every message is checked: a table answers faster than comparisons.
#[allow(clippy::indexing_slicing, reason = "a byte is always within 256 entries, and `get_mut` is not const")]
const TCHAR: [bool; 256] = {
    let mut table = [false; 256];
    let mut rest: &[u8] = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    while let [byte, after @ ..] = rest {
        table[*byte as usize] = true;
        rest = after;
    }
    table
};

/// The value without spaces and tabs at its ends (RFC 9110, 5.6.3).
pub(crate) fn trim_ows(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The members of a list field (RFC 9110, 5.6.1): split at commas outside quoted strings, without whitespace
/// around them, empty ones dropped. All lines of a field form one list.
pub fn list_members<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    lines.flat_map(split_list).filter(|member| !member.is_empty())
}

/// One line split at its commas outside quoted strings; members are trimmed and may be empty.
///
/// A double quote that is never closed is an ordinary byte, so that no directive can hide behind it.
pub(crate) fn split_list(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    let mut quotes = true;
    std::iter::from_fn(move || {
        let text = rest?;
        let mut at = 0;
        let mut comma = None;
        while let Some(byte) = text.get(at) {
            match byte {
                b',' => {
                    comma = Some(at);
                    break;
                }
                b'"' if quotes => match quoted_string_length(text.get(at..).unwrap_or_default()) {
                    Some(length) => at += length,
                    None => {
                        // Nothing later closes either: remembering it keeps the scan linear.
                        quotes = false;
                        at += 1;
                    }
                },
                _ => at += 1,
            }
        }
        let member = match comma.and_then(|comma| text.split_at_checked(comma)) {
            Some((member, after)) => {
                rest = after.split_first().map(|(_, after)| after);
                member
            }
            None => {
                rest = None;
                text
            }
        };
        Some(trim_ows(member))
    })
}

/// The length of the quoted string that `text` begins with, both quotes included (RFC 9110, 5.6.4).
fn quoted_string_length(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    let end = text.iter().skip(1).position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    })?;
    Some(end + 2)
}

/// Fields that mean something on one connection only, besides `Connection` (RFC 9110, 7.6.1 and 11.7).
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Fields that `Connection` cannot take away: without them the message has another target, another length, or
/// hides the way it came.
const UNTOUCHABLE: [&str; 7] = [
    "host",
    "content-length",
    "via",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// Drops `Connection`, the fields it names, and the other fields that end at this connection (RFC 9110,
/// 7.6.1).
///
/// The same for both directions. `Host`, `Content-Length`, `Via`, `Forwarded` and `X-Forwarded-*` stay even
/// when `Connection` names them; members of `Connection` that are no field name are skipped. `Trailer` stays.
pub fn remove_hop_by_hop(fields: &mut Fields) {
    let named: Vec<Vec<u8>> = list_members(fields.all("connection"))
        .filter(|name| is_token(name))
        .filter(|name| {
            let known = |list: &[&str]| list.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
            // `close` is an option and no field; leaving it out keeps the usual case free of allocation.
            !known(&UNTOUCHABLE) && !known(&HOP_BY_HOP) && !name.eq_ignore_ascii_case(b"close")
        })
        .map(<[u8]>::to_vec)
        .collect();
    fields.retain(|name, _| {
        !HOP_BY_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop))
            && !named.iter().any(|named| name.as_bytes().eq_ignore_ascii_case(named))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.push(name, value.as_bytes()).unwrap();
        }
        fields
    }

    fn members(lines: &[&str]) -> Vec<String> {
        list_members(lines.iter().map(|line| line.as_bytes()))
            .map(|member| String::from_utf8_lossy(member).into_owned())
            .collect()
    }

    #[test]
    fn order_and_letter_case_are_kept() {
        let fields = fields(&[("X-b", " 1 "), ("A", "2"), ("x-B", "\t3")]);
        assert_eq!(fields.as_wire(), b"X-b: 1\r\nA: 2\r\nx-B: 3\r\n");
        assert_eq!(fields.all("x-b").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!(fields.combined("X-B").as_deref(), Some(&b"1, 3"[..]));
        assert_eq!(fields.combined("c"), None);
        assert_eq!(Fields::from_wire(fields.as_wire()).unwrap(), fields);
    }

    #[test]
    fn no_line_can_become_two() {
        let mut fields = Fields::new();
        for value in [&b"a\r\nb: c"[..], b"a\nb", b"a\0b", b"a\rb"] {
            assert_eq!(fields.push("a", value), Err(InvalidField::Value));
            assert_eq!(fields.set("a", value), Err(InvalidField::Value));
        }
        for name in ["", "a b", "a:", "ä", "a\r"] {
            assert_eq!(fields.push(name, b""), Err(InvalidField::Name), "{name:?}");
        }
        assert!(fields.is_empty());
        fields.push("obs", b"\xff\x80").unwrap();
        assert_eq!(fields.first("OBS"), Some(&b"\xff\x80"[..]));
    }

    #[test]
    fn set_replaces_the_first_line_and_drops_the_others() {
        let mut section = fields(&[("A", "1"), ("b", "2"), ("a", "3")]);
        section.set("a", b"9").unwrap();
        section.set("c", b"4").unwrap();
        assert_eq!(section.as_wire(), b"A: 9\r\nb: 2\r\nc: 4\r\n");
        assert_eq!(section.remove("A"), 1);
        assert_eq!(section.remove("A"), 0);
        assert_eq!(section.iter().collect::<Vec<_>>(), [("b", &b"2"[..]), ("c", b"4")]);
    }

    #[test]
    fn wire_text_is_read_back_strictly() {
        for wire in
            ["a: b", "a:b\r\n", "a: b\n", "a : b\r\n", "a:  b\r\n", "a: b \r\n", ": b\r\n", "\r\n", "a\r\n"]
        {
            assert!(Fields::from_wire(wire.as_bytes()).is_err(), "{wire:?}");
        }
        assert_eq!(Fields::from_wire(b"a: \r\n").unwrap().first("a"), Some(&b""[..]));
    }

    #[test]
    fn lists_split_outside_quoted_strings() {
        assert_eq!(members(&["a, b", " ,c,,", "d"]), ["a", "b", "c", "d"]);
        assert_eq!(members(&[r#"a="1, 2", b="\", 3""#]), [r#"a="1, 2""#, r#"b="\", 3""#]);
        assert_eq!(members(&[r#"a="open, no-store"#, "b"]), [r#"a="open"#, "no-store", "b"]);
        assert_eq!(members(&["", ","]), Vec::<String>::new());
    }

    #[test]
    fn an_unclosed_quote_costs_linear_time() {
        let line = "\"\\".repeat(200_000);
        assert_eq!(split_list(line.as_bytes()).count(), 1);
    }

    #[test]
    fn hop_by_hop_fields_and_what_connection_names_are_dropped() {
        let mut section = fields(&[
            ("Connection", "close, X-Hop , \"odd, Keep"),
            ("connection", "x-Two"),
            ("Keep-Alive", "nonsense ;;"),
            ("Proxy-Connection", "a"),
            ("Proxy-Authenticate", "a"),
            ("Proxy-Authentication-Info", "a"),
            ("Proxy-Authorization", "a"),
            ("TE", "a"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "a"),
            ("x-hop", "1"),
            ("X-TWO", "2"),
            ("X-Three", "3"),
            ("Trailer", "X-Sum"),
        ]);
        remove_hop_by_hop(&mut section);
        assert_eq!(section.as_wire(), b"X-Three: 3\r\nTrailer: X-Sum\r\n");
    }

    #[test]
    fn connection_cannot_take_target_framing_or_path_away() {
        let mut section = fields(&[
            ("Connection", "host, content-length, x-forwarded-for, via"),
            ("Host", "a"),
            ("Content-Length", "1"),
            ("X-Forwarded-For", "192.0.2.1"),
            ("Via", "1.1 a"),
        ]);
        remove_hop_by_hop(&mut section);
        assert_eq!(section.len(), 4);
    }
}
