//! Bytes of a line as text: what a server escaped, undone, and what no URL may hold, escaped.

use std::borrow::Cow;
use std::fmt::Write;

/// Undoes `\"`, `\\` and `\xHH`, as Apache and nginx write them between quotation marks.
pub(super) fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'\\', [b'x' | b'X', high, low, tail @ ..]) if let Some(byte) = hex(*high, *low) => {
                out.push(byte);
                rest = tail;
            }
            (b'\\', [byte @ (b'"' | b'\\'), tail @ ..]) => {
                out.push(*byte);
                rest = tail;
            }
            _ => out.push(*first),
        }
    }
    Cow::Owned(out)
}

/// Undoes `%HH`.
pub(super) fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'%', [high, low, tail @ ..]) if let Some(byte) = hex(*high, *low) => {
                out.push(byte);
                rest = tail;
            }
            _ => out.push(*first),
        }
    }
    out
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// A URL in visible ASCII: other bytes are percent-encoded, so that two that differ stay two.
pub(super) fn url(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_graphic() {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Text that is nothing when it is a dash.
pub(super) fn unless_dash(text: &[u8]) -> Option<&[u8]> {
    (!text.is_empty() && text != b"-").then_some(text)
}

/// The largest number of bytes that is believed: a line that claims more is damaged or a lie, and sums must not overflow.
pub(super) const BYTES_MAX: u64 = 1 << 40;

/// A whole number of any length; one that is too large is [`BYTES_MAX`].
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |sum: u64, byte: &u8| sum.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    Some(digits.iter().fold(0, digit).min(BYTES_MAX))
}

/// A status of three digits; zero where none was sent.
pub(super) fn status(text: &[u8]) -> Option<u16> {
    if text == b"-" {
        return Some(0);
    }
    let status = number(text).filter(|status| text.len() == 3 && (*status == 0 || *status >= 100))?;
    u16::try_from(status).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_broken_ones_stay() {
        assert_eq!(&*unescaped(br#"a\"b\\c\x41\xff\x4"#), b"a\"b\\cA\xff\\x4");
        assert_eq!(&*unescaped(b"plain"), b"plain");
        assert_eq!(percent_decoded(b"a%0D%0a%zz%4"), b"a\r\n%zz%4");
        assert_eq!(url(b"/a b\xc3\xa9\0"), "/a%20b%C3%A9%00");
    }

    #[test]
    fn numbers_saturate() {
        assert_eq!(number(b"99999999999999999999999"), Some(BYTES_MAX));
        assert_eq!(number(b"-1"), None);
        assert_eq!(
            (status(b"200"), status(b"-"), status(b"20"), status(b"099")),
            (Some(200), Some(0), None, None)
        );
    }
}
