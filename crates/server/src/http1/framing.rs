//! Where a body ends, and whether the connection can go on after it (RFC 9112, 6 and 9.3).
//!
//! A message whose end could be seen in two places is an error, never a guess.

use http::{Method, StatusCode};
use larder_policy::{Fields, list_members};

use super::error::ParseError;
use super::head::{RequestHead, ResponseHead, Version};
use super::strict::is_token;

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    None,
    /// This many bytes.
    Length(u64),
    /// The last chunk ends it.
    Chunked,
    /// The end of the connection ends it; only ever a response's.
    UntilClose,
}

/// Transfer codings with a registered meaning, which larder neither undoes nor passes on (RFC 9112, 7).
const KNOWN_CODINGS: [&str; 6] = ["chunked", "gzip", "x-gzip", "deflate", "compress", "x-compress"];

/// Where the body of a request ends (RFC 9112, 6.3). Without `Content-Length` and `Transfer-Encoding` there is none.
///
/// # Errors
/// `Transfer-Encoding` that is not exactly one line `chunked`, stands beside `Content-Length` or in HTTP/1.0; a
/// `Content-Length` as told at [`content_length`].
pub(crate) fn request_framing(head: &RequestHead) -> Result<Framing, ParseError> {
    let mut codings = head.fields.all("transfer-encoding");
    let Some(coding) = codings.next() else {
        return Ok(match content_length(&head.fields)? {
            None => Framing::None,
            Some(length) => Framing::Length(length),
        });
    };
    coding_may_stand(head.version, &head.fields)?;
    if codings.next().is_none() && coding.eq_ignore_ascii_case(b"chunked") {
        Ok(Framing::Chunked)
    } else {
        Err(ParseError::TransferCoding)
    }
}

/// Where the body of a response to a request with `method` ends (RFC 9112, 6.3).
///
/// 1xx, 204, 304, a response to HEAD and a 2xx to CONNECT have no body whatever their fields say, and their fields are
/// not judged; [`content_length`] does that for one that is to be passed on. A lone coding that is not known is
/// read until the connection closes.
///
/// # Errors
/// `Transfer-Encoding` beside `Content-Length`, in HTTP/1.0, empty, of several members, or a known coding that is
/// not one `chunked`; a `Content-Length` as told at [`content_length`].
pub(crate) fn response_framing(method: &Method, head: &ResponseHead) -> Result<Framing, ParseError> {
    let status = head.status;
    if status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || *method == Method::HEAD
        || (*method == Method::CONNECT && status.is_success())
    {
        return Ok(Framing::None);
    }
    let mut codings = head.fields.all("transfer-encoding");
    let Some(coding) = codings.next() else {
        return Ok(match content_length(&head.fields)? {
            None => Framing::UntilClose,
            Some(length) => Framing::Length(length),
        });
    };
    coding_may_stand(head.version, &head.fields)?;
    if codings.next().is_some() {
        return Err(ParseError::TransferCoding);
    }
    if coding.eq_ignore_ascii_case(b"chunked") {
        return Ok(Framing::Chunked);
    }
    let name = coding.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii_end();
    let known = KNOWN_CODINGS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    if is_token(name) && !known && !coding.contains(&b',') {
        Ok(Framing::UntilClose)
    } else {
        Err(ParseError::TransferCoding)
    }
}

/// The announced length. A list of equal values, on one line or several, counts as one (RFC 9110, 8.6).
///
/// # Errors
/// Any member that is not `1*DIGIT` (an empty one included) or exceeds 64 bits; members that differ.
pub(crate) fn content_length(fields: &Fields) -> Result<Option<u64>, ParseError> {
    let mut length = None;
    for line in fields.all("content-length") {
        for member in line.split(|&byte| byte == b',') {
            let member = decimal(trim_ows(member))?;
            if *length.get_or_insert(member) != member {
                return Err(ParseError::ContentLengthsDiffer);
            }
        }
    }
    Ok(length)
}

/// Whether the connection persists as far as this head is concerned (RFC 9112, 9.3): HTTP/1.1 unless `close` is said,
/// HTTP/1.0 only if `keep-alive` is said. A forward proxy must not honour the latter from a client (RFC 9112, C.2.2):
/// that is the caller's to know.
pub(crate) fn persists(version: Version, fields: &Fields) -> bool {
    let says = |option: &[u8]| {
        list_members(fields.all("connection")).any(|member| member.eq_ignore_ascii_case(option))
    };
    !says(b"close") && (version >= Version::Http11 || says(b"keep-alive"))
}

/// RFC 9112, 6.1: neither in HTTP/1.0 nor beside `Content-Length`.
fn coding_may_stand(version: Version, fields: &Fields) -> Result<(), ParseError> {
    if version == Version::Http10 {
        Err(ParseError::TransferCodingInHttp10)
    } else if fields.contains("content-length") {
        Err(ParseError::LengthAndCoding)
    } else {
        Ok(())
    }
}

fn decimal(text: &[u8]) -> Result<u64, ParseError> {
    if text.is_empty() {
        return Err(ParseError::ContentLength);
    }
    text.iter()
        .try_fold(0_u64, |value, &byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            value.checked_mul(10)?.checked_add(digit)
        })
        .ok_or(ParseError::ContentLength)
}

fn trim_ows(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
