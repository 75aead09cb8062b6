//! What is sent: heads, and the framing around content. No I/O, and content is never copied here.

use http::{Method, StatusCode};
use larder_policy::Fields;

use super::error::EncodeError;
use super::framing::Framing;
use super::head::Version;
use super::strict;

/// Appends the head of a request.
///
/// # Errors
/// [`EncodeError::Target`] when the target is not one or more bytes of `%x21-7E`; nothing is appended.
pub(super) fn write_request_head(
    out: &mut Vec<u8>,
    method: &Method,
    target: &[u8],
    version: Version,
    fields: &Fields,
) -> Result<(), EncodeError> {
    if !strict::is_target(target) {
        return Err(EncodeError::Target);
    }
    out.reserve(method.as_str().len() + target.len() + fields.as_wire().len() + 14);
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target);
    out.push(b' ');
    out.extend_from_slice(version.as_str().as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(fields.as_wire());
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Appends the head of a response. A reason phrase with a control byte in it is left out.
pub(super) fn write_response_head(
    out: &mut Vec<u8>,
    version: Version,
    status: StatusCode,
    reason: &[u8],
    fields: &Fields,
) {
    out.reserve(reason.len() + fields.as_wire().len() + 17);
    out.extend_from_slice(version.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    if strict::is_field_content(reason) {
        out.extend_from_slice(reason);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(fields.as_wire());
    out.extend_from_slice(b"\r\n");
}

/// The head of a response with the usual reason phrase.
pub(crate) fn response_head(status: StatusCode, fields: &Fields) -> Vec<u8> {
    let mut out = Vec::new();
    let reason = status.canonical_reason().unwrap_or_default();
    write_response_head(&mut out, Version::Http11, status, reason.as_bytes(), fields);
    out
}

/// Frames one body and holds it to what its head announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyEncoder {
    /// There is no body.
    None,
    /// A body of known length.
    Length {
        /// Content bytes still to come.
        remaining: u64,
    },
    /// The chunked coding.
    Chunked,
    /// The end of the connection ends the body; closing is the caller's.
    UntilClose,
    /// The body was ended.
    Ended,
}

impl From<Framing> for BodyEncoder {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::None,
            Framing::Length(remaining) => Self::Length { remaining },
            Framing::Chunked => Self::Chunked,
            Framing::UntilClose => Self::UntilClose,
        }
    }
}

impl BodyEncoder {
    /// Frames `length` bytes of content: appends to `out` what goes before them and returns what goes behind.
    /// No content frames to nothing, as an empty chunk would be the last.
    ///
    /// # Errors
    /// More content than announced, or content after the end; nothing is appended, and nothing may be sent.
    pub(crate) fn frame(&mut self, length: usize, out: &mut Vec<u8>) -> Result<&'static [u8], EncodeError> {
        if length == 0 {
            return Ok(b"");
        }
        match self {
            Self::None => Err(EncodeError::TooMuch),
            Self::Ended => Err(EncodeError::Ended),
            Self::UntilClose => Ok(b""),
            Self::Length { remaining } => {
                *remaining = remaining.checked_sub(length as u64).ok_or(EncodeError::TooMuch)?;
                Ok(b"")
            }
            Self::Chunked => {
                append_hexadecimal(out, length);
                out.extend_from_slice(b"\r\n");
                Ok(b"\r\n")
            }
        }
    }

    /// Ends the body: appends the last chunk and `trailers` to `out` when it is chunked. Trailers have no place in other
    /// framings and are left out there.
    ///
    /// # Errors
    /// Content is missing, or the body was ended before; nothing is appended, and the transfer must be cut.
    pub(crate) fn end(&mut self, trailers: Option<&Fields>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match *self {
            Self::Ended => return Err(EncodeError::Ended),
            Self::Length { remaining: missing @ 1.. } => return Err(EncodeError::TooLittle { missing }),
            Self::None | Self::UntilClose | Self::Length { remaining: 0 } => {}
            Self::Chunked => {
                out.extend_from_slice(b"0\r\n");
                out.extend_from_slice(trailers.map(Fields::as_wire).unwrap_or_default());
                out.extend_from_slice(b"\r\n");
            }
        }
        *self = Self::Ended;
        Ok(())
    }
}

fn append_hexadecimal(out: &mut Vec<u8>, value: usize) {
    let digits = (usize::BITS - value.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let digit = (value >> (place * 4)) as u32 & 0xf;
        out.extend(char::from_digit(digit, 16).map(|digit| digit as u8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_never_exceeded_nor_undercut() {
        let mut out = Vec::new();
        let mut encoder = BodyEncoder::from(Framing::Length(5));
        assert_eq!(encoder.frame(3, &mut out), Ok(&b""[..]));
        assert_eq!(encoder.frame(3, &mut out), Err(EncodeError::TooMuch));
        assert_eq!(encoder.end(None, &mut out), Err(EncodeError::TooLittle { missing: 2 }));
        assert_eq!(encoder.frame(2, &mut out), Ok(&b""[..]));
        assert_eq!(encoder.end(None, &mut out), Ok(()));
        assert_eq!(encoder.end(None, &mut out), Err(EncodeError::Ended));
        assert_eq!(encoder.frame(1, &mut out), Err(EncodeError::Ended));
        assert!(out.is_empty());
    }

    #[test]
    fn no_content_where_none_may_be() {
        assert_eq!(BodyEncoder::None.frame(1, &mut Vec::new()), Err(EncodeError::TooMuch));
        assert_eq!(BodyEncoder::None.end(None, &mut Vec::new()), Ok(()));
    }

    #[test]
    fn an_empty_chunk_is_not_sent_as_the_last_one() {
        let mut out = Vec::new();
        assert_eq!(BodyEncoder::Chunked.frame(0, &mut out), Ok(&b""[..]));
        assert!(out.is_empty());
    }

    #[test]
    fn chunk_sizes_are_plain_hexadecimal() {
        for size in [1, 9, 10, 15, 16, 255, 256, 4096, 65535, 65536, usize::MAX] {
            let mut out = Vec::new();
            append_hexadecimal(&mut out, size);
            assert_eq!(out, format!("{size:x}").into_bytes());
        }
    }

    #[test]
    fn a_reason_phrase_cannot_carry_a_second_line() {
        let mut out = Vec::new();
        write_response_head(
            &mut out,
            Version::Http11,
            StatusCode::OK,
            b"OK\r\nSet-Cookie: a",
            &Fields::new(),
        );
        assert_eq!(out, b"HTTP/1.1 200 \r\n\r\n");
    }

    #[test]
    fn a_target_cannot_carry_a_second_request() {
        let mut out = Vec::new();
        for target in [&b"/ HTTP/1.1\r\nHost: a\r\n\r\nGET /"[..], b"", b"/a b", b"/\x80"] {
            let written = write_request_head(&mut out, &Method::GET, target, Version::Http11, &Fields::new());
            assert_eq!(written, Err(EncodeError::Target));
            assert!(out.is_empty());
        }
    }
}
