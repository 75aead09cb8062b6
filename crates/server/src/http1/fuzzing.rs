//! The properties that hold for whatever bytes a peer sends; asserted by the fuzz targets and by random tests.
//!
//! One reading: a message is read the same whole and in pieces, by httparse and by the grammar spelled out, as it
//! came and as it is sent on.

use bytes::{Buf, BytesMut};
use http::Method;
use larder_policy::Fields;

use super::decoder::{BodyDecoder, Decoded};
use super::encoder::{BodyEncoder, write_request_head, write_response_head};
use super::error::ParseError;
use super::framing::{Framing, request_framing, response_framing};
use super::head::{self, HeadLimits, parse_request, parse_response};
use super::scan::Scan;
use super::strict;

/// Small limits, so that random bytes reach them.
const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 20 };

/// Asserts the properties of a request head, and of the body behind it.
///
/// # Panics
/// When one does not hold.
pub fn request_head(data: &[u8]) {
    let whole = parse_request(data, &LIMITS);
    let mut scan = Scan::default();
    assert_eq!(first_answer(data, |part| head::request(part, &LIMITS, &mut scan)), whole);
    let Ok(Some((head, length))) = whole else { return };
    let text = data.get(..length).expect("a head is no longer than what it was read from");
    let start = text.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or_default();
    assert_eq!(strict::first_fault(text.get(start..).unwrap_or_default(), strict::request_line), Ok(()));

    let mut out = Vec::new();
    write_request_head(&mut out, &head.method, &head.target, head.version, &head.fields)
        .expect("the target was read");
    one_head_only(&out);
    let again = parse_request(&out, &HeadLimits::default());
    let (again, again_length) = again.expect("what was written is read").expect("it is whole");
    assert_eq!(again_length, out.len());
    assert_eq!(again, head);
    let framing = request_framing(&head);
    assert_eq!(request_framing(&again), framing);
    assert_ne!(framing, Ok(Framing::UntilClose));
    if let Ok(framing) = framing {
        body(framing, data.get(length..).unwrap_or_default());
    }
}

/// Asserts the properties of a response head, and of the body behind it. The first byte stands for the method.
///
/// # Panics
/// When one does not hold.
pub fn response_head(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let method = match first % 8 {
        0 => Method::HEAD,
        1 => Method::CONNECT,
        _ => Method::GET,
    };
    let whole = parse_response(data, &LIMITS);
    let mut scan = Scan::default();
    assert_eq!(first_answer(data, |part| head::response(part, &LIMITS, &mut scan)), whole);
    let Ok(Some((head, length))) = whole else { return };
    let text = data.get(..length).expect("a head is no longer than what it was read from");
    assert_eq!(strict::first_fault(text, strict::status_line), Ok(()));

    let mut out = Vec::new();
    write_response_head(&mut out, head.version, head.status, &head.reason, &head.fields);
    one_head_only(&out);
    let again = parse_response(&out, &HeadLimits::default());
    let (again, again_length) = again.expect("what was written is read").expect("it is whole");
    assert_eq!(again_length, out.len());
    assert_eq!(again, head);
    let framing = response_framing(&method, &head);
    assert_eq!(response_framing(&method, &again), framing);
    if let Ok(framing) = framing {
        body(framing, data.get(length..).unwrap_or_default());
    }
}

/// Asserts the properties of a chunked body.
///
/// # Panics
/// When one does not hold.
pub fn chunked(data: &[u8]) {
    body(Framing::Chunked, data);
}

/// What became of a body in the end.
#[derive(Debug, PartialEq)]
struct Reading {
    content: Vec<u8>,
    trailers: Option<Fields>,
    /// Bytes taken when it ended; an error when it did not end well.
    end: Result<usize, ParseError>,
}

fn body(framing: Framing, data: &[u8]) {
    let whole = read_body(framing, data, data.len().max(1));
    for step in [1, 2, 3, 7, 64] {
        assert_eq!(read_body(framing, data, step), whole, "in pieces of {step}");
    }
    if framing == Framing::Chunked {
        let plain = plain_chunked(data);
        assert_eq!(plain.is_some(), whole.end.is_ok(), "decoder and grammar disagree: {whole:?}");
        if let Some((content, length)) = plain {
            assert_eq!((content, Ok(length)), (whole.content.clone(), whole.end));
        }
    }
    if whole.end.is_err() {
        return;
    }

    let mut out = Vec::new();
    let mut encoder = BodyEncoder::from(framing);
    for piece in whole.content.chunks(300) {
        let suffix = encoder.frame(piece.len(), &mut out).expect("no more than was announced");
        out.extend_from_slice(piece);
        out.extend_from_slice(suffix);
    }
    encoder.end(whole.trailers.as_ref(), &mut out).expect("no less than was announced");
    let length = out.len();
    assert_eq!(read_body(framing, &out, 5), Reading { end: Ok(length), ..whole });
}

fn read_body(framing: Framing, data: &[u8], step: usize) -> Reading {
    let mut decoder = BodyDecoder::new(framing);
    let mut content = Vec::new();
    let mut buf = BytesMut::new();
    let mut fed = 0;
    let mut pieces = data.chunks(step);
    let end = loop {
        match decoder.decode(&mut buf) {
            Ok(Decoded::Data(piece)) => {
                assert!(!piece.is_empty());
                content.extend_from_slice(&piece);
            }
            Ok(Decoded::End) => break Ok(fed - buf.remaining()),
            Ok(Decoded::NeedMore) => match pieces.next() {
                Some(piece) => {
                    buf.extend_from_slice(piece);
                    fed += piece.len();
                }
                None => break decoder.at_eof().map(|()| fed),
            },
            Err(error) => {
                assert_eq!(decoder.decode(&mut buf), Err(error), "an error lasts");
                break Err(error);
            }
        }
    };
    assert_eq!(decoder.is_done(), end.is_ok());
    assert_eq!(decoder.received(), content.len() as u64);
    Reading { content, trailers: decoder.take_trailers(), end }
}

/// The grammar of RFC 9112, 7.1 over a whole body, limits aside: its content and its length.
fn plain_chunked(data: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut content = Vec::new();
    let mut rest = data;
    let mut extension_bytes = 0;
    loop {
        let (line, after) = plain_line(rest)?;
        let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
        let (digits, extension) = line.split_at_checked(digits)?;
        if digits.is_empty() || digits.len() > 16 || !plain_extension(extension) {
            return None;
        }
        extension_bytes += extension.len();
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        rest = after;
        if size == 0 {
            break;
        }
        let (piece, after) = rest.split_at_checked(size)?;
        content.extend_from_slice(piece);
        rest = after.strip_prefix(b"\r\n")?;
    }
    let (mut trailer_bytes, mut trailer_fields) = (2, 0);
    loop {
        let (line, after) = plain_line(rest)?;
        rest = after;
        if line.is_empty() {
            let within_limits = extension_bytes <= 16 * 1024 && trailer_bytes <= 8192 && trailer_fields <= 64;
            return within_limits.then_some((content, data.len() - rest.len()));
        }
        strict::field_line(line).ok()?;
        trailer_bytes += line.len() + 2;
        trailer_fields += 1;
    }
}

/// What stands before the first LF, which must have its CR, and what stands behind.
fn plain_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let lf = text.iter().position(|&byte| byte == b'\n')?;
    let (line, rest) = text.split_at_checked(lf)?;
    Some((line.strip_suffix(b"\r")?, rest.get(1..)?))
}

fn plain_extension(text: &[u8]) -> bool {
    let Some(first) = text.iter().find(|byte| !b" \t".contains(byte)) else { return text.is_empty() };
    let (mut quoted, mut escaped) = (false, false);
    for &byte in text {
        let allowed = byte == b'\t' || (b' '..=b'~').contains(&byte) || (quoted && byte >= 0x80);
        if !allowed {
            return false;
        }
        if byte == b'"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && byte == b'\\' && !escaped;
    }
    *first == b';' && !quoted
}

/// The first answer that is not "more", when `data` comes byte by byte.
fn first_answer<T>(
    data: &[u8],
    mut parse: impl FnMut(&[u8]) -> Result<Option<T>, ParseError>,
) -> Result<Option<T>, ParseError> {
    for end in 0..=data.len() {
        let answer = parse(data.get(..end).unwrap_or_default());
        if !matches!(answer, Ok(None)) {
            return answer;
        }
    }
    Ok(None)
}

/// Nothing in a head that is sent can be taken for its end, or for a second line where there is one.
fn one_head_only(out: &[u8]) {
    let lines = out.strip_suffix(b"\r\n\r\n").expect("a head ends in an empty line");
    let lines: Vec<_> = lines.split(|&byte| byte == b'\n').collect();
    for (place, line) in lines.iter().enumerate() {
        let line = if place + 1 < lines.len() {
            line.strip_suffix(b"\r").expect("each LF has its CR")
        } else {
            line
        };
        assert!(!line.is_empty() && !line.contains(&b'\r') && !line.contains(&0));
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    const TOKENS: &[&str] = &[
        "GET",
        "POST",
        "PRI",
        " ",
        "  ",
        "/",
        "*",
        "http://a/b?c",
        "HTTP/1.1",
        "HTTP/1.0",
        "HTTP/2.0",
        "http/1.1",
        "200",
        "204",
        "304",
        "99",
        "OK",
        "\r\n",
        "\r\n",
        "\r\n",
        "\r\n\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        "\0",
        ":",
        ": ",
        " :",
        "\t",
        "Host: a",
        "Content-Length: 3",
        "Content-Length: 03, 3",
        "Content-Length: +3",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
        "X-Y: z",
        "X: \u{fc}",
        "3",
        "3\r\nabc\r\n",
        "0",
        "0\r\n\r\n",
        "a",
        "abc",
        "0x3",
        ";",
        ";a=b",
        ";a=\"b;\\\"c\"",
        "\"",
        "\\",
        "ffffffffffffffff",
        "\u{ff}",
        "\x7f",
        "Set-Cookie: a=b",
    ];

    fn pieces(most: usize) -> impl Strategy<Value = Vec<u8>> {
        let token = prop_oneof![
            9 => select(TOKENS).prop_map(|token| token.as_bytes().to_vec()),
            1 => vec(any::<u8>(), 0..4),
        ];
        vec(token, 0..most).prop_map(|tokens| tokens.concat())
    }

    fn fields() -> impl Strategy<Value = Vec<u8>> {
        let value = vec(prop_oneof![Just(b'\t'), b' '..=b'~', 0x80_u8..], 0..40);
        let line = ("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}:[ \t]{0,2}", value)
            .prop_map(|(name, value)| [name.as_bytes(), &value, b"\r\n"].concat());
        vec(line, 0..8).prop_map(|lines| lines.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_request_has_one_reading(text in pieces(24)) {
            super::request_head(&text);
        }

        #[test]
        fn a_request_with_a_sound_first_line_has_one_reading(text in pieces(24)) {
            super::request_head(&[b"POST / HTTP/1.1\r\n", &text[..]].concat());
        }

        #[test]
        fn a_response_has_one_reading(method in any::<u8>(), text in pieces(24)) {
            super::response_head(&[&[method], &text[..]].concat());
            super::response_head(&[&[method], &b"HTTP/1.1 200 OK\r\n"[..], &text[..]].concat());
        }

        #[test]
        fn a_chunked_body_has_one_reading(text in pieces(16)) {
            super::chunked(&text);
            super::chunked(&[b"3\r\nabc\r\n", &text[..]].concat());
        }

        #[test]
        fn what_the_grammar_allows_is_accepted_and_read_back(
            method in "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", target in "[!-~]{1,40}", lines in fields(),
        ) {
            let text = [method.as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\n", &lines[..], b"\r\n"].concat();
            super::request_head(&text);
            let (head, length) = super::parse_request(&text, &super::LIMITS).unwrap().unwrap();
            prop_assert_eq!((head.method.as_str(), &head.target[..], length), (&method[..], target.as_bytes(), text.len()));
            prop_assert_eq!(head.fields.len(), lines.iter().filter(|&&byte| byte == b'\n').count());
        }

        #[test]
        fn a_response_that_the_grammar_allows_is_accepted_and_read_back(
            status in 100_u16..=999, reason in vec(prop_oneof![Just(b'\t'), b' '..=b'~', 0x80_u8..], 0..30), lines in fields(),
        ) {
            let status = status.to_string();
            let text = [b"HTTP/1.1 ", status.as_bytes(), b" ", &reason[..], b"\r\n", &lines[..], b"\r\n"].concat();
            super::response_head(&[&b"\x02"[..], &text[..]].concat());
            let (head, length) = super::parse_response(&text, &super::LIMITS).unwrap().unwrap();
            prop_assert_eq!((head.status.as_str(), head.reason, length), (&status[..], reason, text.len()));
        }

        #[test]
        fn content_survives_the_chunked_coding(content in vec(any::<u8>(), 0..2000), sizes in vec(1_usize..700, 1..8)) {
            let mut out = Vec::new();
            let mut encoder = super::BodyEncoder::Chunked;
            let mut rest = &content[..];
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                let suffix = encoder.frame(piece.len(), &mut out).unwrap();
                out.extend_from_slice(piece);
                out.extend_from_slice(suffix);
                rest = after;
            }
            encoder.end(None, &mut out).unwrap();
            let reading = super::read_body(super::Framing::Chunked, &out, 11);
            prop_assert_eq!(reading.end, Ok(out.len()));
            prop_assert_eq!(reading.content, content);
        }
    }
}
