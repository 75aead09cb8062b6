//! Heads of requests and responses: the first line and the fields (RFC 9112, 2 to 5).
//!
//! Line folding is an error in responses too: of the two ways that RFC 9112, 5.2 leaves a proxy, a bad gateway and
//! putting spaces in its place, the first has one reading.

use std::mem::MaybeUninit;

use http::{Method, StatusCode};
use httparse::{Header, Status};
use larder_policy::Fields;

use super::error::ParseError;
use super::scan::{Found, Scan, Section};
use super::strict;

/// Field lines that are parsed without an allocation for their places.
const FIELDS_ON_STACK: usize = 100;

/// Bounds on a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeadLimits {
    /// Bytes, from the first line to the empty one. Default: 64 KiB.
    pub(crate) bytes: usize,
    /// Field lines. Default: 100.
    pub(crate) fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { bytes: 64 * 1024, fields: 100 }
    }
}

/// The protocol version of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2: never on a wire of this room's, but requests that came so are of this version.
    Http2,
}

impl Version {
    /// As it stands in a message.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }

    fn from_minor(minor: Option<u8>) -> Option<Self> {
        match minor {
            Some(0) => Some(Self::Http10),
            Some(1) => Some(Self::Http11),
            _ => None,
        }
    }
}

/// The head of a request as received; its target and `Host` are not judged yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RequestHead {
    /// The method, in the letter case received.
    pub(crate) method: Method,
    /// The request target as received: one or more bytes of `%x21-7E`.
    pub(crate) target: Vec<u8>,
    /// The version.
    pub(crate) version: Version,
    /// The field lines in the order received.
    pub(crate) fields: Fields,
}

/// The head of a response, interim or final.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ResponseHead {
    /// The version.
    pub(crate) version: Version,
    /// 100 to 999; those from 600 on have no meaning but are seen in the wild.
    pub(crate) status: StatusCode,
    /// The reason phrase as received, often empty.
    pub(crate) reason: Vec<u8>,
    /// The field lines in the order received.
    pub(crate) fields: Fields,
}

/// [`request`] over bytes of which there will be no more.
pub(crate) fn parse_request(
    buf: &[u8],
    limits: &HeadLimits,
) -> Result<Option<(RequestHead, usize)>, ParseError> {
    request(buf, limits, &mut Scan::default())
}

/// [`response`] over bytes of which there will be no more.
#[cfg(any(test, fuzzing))]
pub(crate) fn parse_response(
    buf: &[u8],
    limits: &HeadLimits,
) -> Result<Option<(ResponseHead, usize)>, ParseError> {
    response(buf, limits, &mut Scan::default())
}

/// The head of a request where it lies in the buffer; its target and `Host` are not judged yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestInPlace<'b, 'h> {
    /// The method, in the letter case received: a token.
    pub(crate) method: &'b str,
    /// The request target as received: one or more bytes of `%x21-7E`.
    pub(crate) target: &'b str,
    /// The version.
    pub(crate) version: Version,
    /// The field lines in the order received.
    pub(crate) fields: &'h [Header<'b>],
}

/// Reads the head of a request from the start of `buf`; with it comes the number of bytes it took. `None`: not whole yet,
/// in which case the next call, with more of the same bytes, goes on where this one stopped.
///
/// At most two empty lines before the request line are skipped (RFC 9112, 2.2).
///
/// # Errors
/// Whatever makes it no request head of one reading, or one over the limits.
pub(super) fn request(
    buf: &[u8],
    limits: &HeadLimits,
    scan: &mut Scan,
) -> Result<Option<(RequestHead, usize)>, ParseError> {
    request_in_place(buf, limits, scan, |head| {
        Ok(RequestHead {
            method: Method::from_bytes(head.method.as_bytes()).map_err(|_| ParseError::Method)?,
            target: head.target.as_bytes().to_vec(),
            version: head.version,
            fields: fields(head.fields, buf.len())?,
        })
    })
}

/// [`request`], but what is made of the head is the caller's to say.
///
/// # Errors
/// As [`request`], and the caller's.
pub(super) fn request_in_place<T>(
    buf: &[u8],
    limits: &HeadLimits,
    scan: &mut Scan,
    make: impl FnOnce(RequestInPlace<'_, '_>) -> Result<T, ParseError>,
) -> Result<Option<(T, usize)>, ParseError> {
    let Some((found, text)) = locate(buf, limits, scan, Section::Request)? else { return Ok(None) };
    let made = with_places(found.lines, |places| {
        let mut parsed = httparse::Request::new(&mut []);
        let complete = matches!(parsed.parse_with_uninit_headers(text, places), Ok(Status::Complete(end)) if end == text.len());
        let (Some(method), Some(target), Some(version), true) =
            (parsed.method, parsed.path, Version::from_minor(parsed.version), complete)
        else {
            return Err(fault(text, Section::Request));
        };
        if !target.is_ascii() {
            return Err(ParseError::Target);
        }
        make(RequestInPlace { method, target, version, fields: parsed.headers })
    })?;
    Ok(Some((made, found.bytes.end)))
}

/// Reads the head of a response from the start of `buf`, as [`request`] does a request's.
///
/// # Errors
/// Whatever makes it no response head of one reading, or one over the limits.
pub(super) fn response(
    buf: &[u8],
    limits: &HeadLimits,
    scan: &mut Scan,
) -> Result<Option<(ResponseHead, usize)>, ParseError> {
    let Some((found, text)) = locate(buf, limits, scan, Section::Response)? else { return Ok(None) };
    // httparse drops a reason phrase that has obs-text in it, so the phrase is taken from the line itself.
    let reason = scan.first_line(buf).and_then(|line| line.get("HTTP/1.1 200 ".len()..)).unwrap_or_default();
    let head = with_places(found.lines, |places| {
        let mut parsed = httparse::Response::new(&mut []);
        let complete = matches!(
            httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, text, places),
            Ok(Status::Complete(end)) if end == text.len()
        );
        let (Some(code), Some(version), true) = (parsed.code, Version::from_minor(parsed.version), complete)
        else {
            return Err(fault(text, Section::Response));
        };
        Ok(ResponseHead {
            version,
            status: StatusCode::from_u16(code).map_err(|_| ParseError::StatusLine)?,
            reason: reason.to_vec(),
            fields: fields(parsed.headers, text.len())?,
        })
    })?;
    Ok(Some((head, found.bytes.end)))
}

/// Copies parsed fields out of the buffer.
pub(super) fn fields(headers: &[Header<'_>], bytes: usize) -> Result<Fields, ParseError> {
    let mut fields = Fields::with_capacity(headers.len(), bytes);
    for header in headers {
        fields.push(header.name, header.value).map_err(|_| ParseError::FieldValue)?;
    }
    Ok(fields)
}

/// Finds the end of the head. A fault in the first line is told as soon as the line is whole, and before any other.
fn locate<'a>(
    buf: &'a [u8],
    limits: &HeadLimits,
    scan: &mut Scan,
    section: Section,
) -> Result<Option<(Found, &'a [u8])>, ParseError> {
    let found = scan.advance(buf, section, limits.bytes, limits.fields.saturating_add(1));
    if let Ok(Some(found)) = found {
        let text = buf.get(found.bytes.clone()).unwrap_or_default();
        return Ok(Some((found, text)));
    }
    if found.is_ok() && scan.first_line_is_old() {
        return Ok(None);
    }
    plausible_start(scan.rest(buf), section)?;
    if let Some(line) = scan.first_line(buf) {
        first_line_rule(section)(line)?;
    }
    found?;
    Ok(None)
}

/// Refuses at once what is no HTTP at all, such as a TLS handshake.
fn plausible_start(text: &[u8], section: Section) -> Result<(), ParseError> {
    match (section, text) {
        (_, []) | (Section::Request, [b'\r'] | [b'\r', b'\n', ..] | [b'\n', ..]) => Ok(()),
        (Section::Request, [b'\r', ..]) => Err(ParseError::BareCr),
        (Section::Request, [0, ..]) => Err(ParseError::Nul),
        (Section::Request, [first, ..]) if strict::is_tchar(*first) => Ok(()),
        (Section::Request, _) => Err(ParseError::RequestLine),
        _ if text.iter().zip(b"HTTP/").all(|(got, expected)| got == expected) => Ok(()),
        _ => Err(ParseError::StatusLine),
    }
}

/// Names the fault in a head that httparse refused.
fn fault(text: &[u8], section: Section) -> ParseError {
    let found =
        plausible_start(text, section).and_then(|()| strict::first_fault(text, first_line_rule(section)));
    found.err().unwrap_or(ParseError::RequestLine)
}

fn first_line_rule(section: Section) -> fn(&[u8]) -> Result<(), ParseError> {
    if section == Section::Response { strict::status_line } else { strict::request_line }
}

/// Lends places for the fields of a head with `lines` lines.
fn with_places<'b, T>(lines: usize, parse: impl FnOnce(&mut [MaybeUninit<Header<'b>>]) -> T) -> T {
    if lines <= FIELDS_ON_STACK + 1 {
        parse(&mut [const { MaybeUninit::uninit() }; FIELDS_ON_STACK])
    } else {
        parse(&mut vec![MaybeUninit::uninit(); lines])
    }
}
