//! The trailer section behind the last chunk (RFC 9112, 7.1.2).
//!
//! Trailers never join the fields of the head. Those that would frame, route, authenticate or steer caching if
//! somebody further on merged them are dropped (RFC 9110, 6.5.1); the others are handed out apart.

use bytes::{Buf, BytesMut};
use httparse::Status;
use larder_policy::Fields;

use super::error::ParseError;
use super::head::fields;
use super::scan::{Scan, Section};
use super::strict;

/// Bytes in a trailer section.
const LIMIT_BYTES: usize = 8 * 1024;

/// Field lines in a trailer section.
const LIMIT_FIELDS: usize = 64;

/// Fields that may not be trailers, in lower case and sorted.
const FORBIDDEN: [&str; 52] = [
    "age",
    "authorization",
    "cache-control",
    "cdn-cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "retry-after",
    "set-cookie",
    "set-cookie2",
    "surrogate-control",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-http-method-override",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

/// Reads one trailer section.
#[derive(Debug, Default)]
pub(super) struct TrailerReader {
    scan: Scan,
    fields: Option<Fields>,
}

impl TrailerReader {
    /// Takes the section from the start of `buf` once it is there whole; says whether it was.
    pub(super) fn read(&mut self, buf: &mut BytesMut) -> Result<bool, ParseError> {
        let found = self.scan.advance(buf, Section::Trailers, LIMIT_BYTES, LIMIT_FIELDS).map_err(
            |error| match error {
                ParseError::TooManyFields | ParseError::HeadTooLarge => ParseError::TrailersTooLarge,
                other => other,
            },
        )?;
        let Some(found) = found else { return Ok(false) };
        if found.lines > 0 {
            let section = buf.get(found.bytes.clone()).unwrap_or_default();
            let fields = parse(section)?;
            self.fields = (!fields.is_empty()).then_some(fields);
        }
        buf.advance(found.bytes.end);
        Ok(true)
    }

    /// The fields that were left; `None` when there were none.
    pub(super) fn take(&mut self) -> Option<Fields> {
        self.fields.take()
    }
}

fn parse(section: &[u8]) -> Result<Fields, ParseError> {
    let mut places = [httparse::EMPTY_HEADER; LIMIT_FIELDS];
    let Ok(Status::Complete((_, headers))) = httparse::parse_headers(section, &mut places) else {
        return Err(strict::first_fault(section, strict::field_line).err().unwrap_or(ParseError::FieldName));
    };
    let mut fields = fields(headers, section.len())?;
    drop_forbidden(&mut fields);
    Ok(fields)
}

/// Drops the fields that may not be trailers.
pub(crate) fn drop_forbidden(fields: &mut Fields) {
    fields.retain(|name, _| FORBIDDEN.binary_search(&name.to_ascii_lowercase().as_str()).is_err());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_fields_are_sorted_for_the_search() {
        assert!(FORBIDDEN.is_sorted());
    }

    #[test]
    fn fields_that_frame_route_or_steer_caching_are_dropped() {
        let mut buf =
            BytesMut::from("Content-Length: 3\r\nHOST: a\r\nCache-Control: public\r\nX-Sum: 1\r\n\r\nnext");
        let mut reader = TrailerReader::default();
        assert_eq!(reader.read(&mut buf), Ok(true));
        assert_eq!(reader.take().unwrap().as_wire(), b"X-Sum: 1\r\n");
        assert_eq!(&buf[..], b"next");
    }
}
