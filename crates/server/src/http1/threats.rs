//! The attacks that are known, as raw bytes and what becomes of them: ambiguous framing, heads that others read
//! in another way, games with chunks. Each row names what it tries.

use bytes::BytesMut;
use http::Method;

use super::decoder::Decoded;
use super::error::ParseError::{self, *};
use super::fuzzing;
use super::head::parse_response;
use super::*;

/// Reads a request's head and framing.
fn request(text: &[u8]) -> Result<Framing, ParseError> {
    fuzzing::request_head(text);
    let (head, _) = parse_request(text, &HeadLimits::default())?.expect("the rows are whole heads");
    request_framing(&head)
}

/// Reads the head and framing of a response to GET.
fn response(text: &[u8]) -> Result<Framing, ParseError> {
    response_to(&Method::GET, text)
}

fn response_to(method: &Method, text: &[u8]) -> Result<Framing, ParseError> {
    fuzzing::response_head(&[b"\x02", text].concat());
    let (head, _) = parse_response(text, &HeadLimits::default())?.expect("the rows are whole heads");
    response_framing(method, &head)
}

/// Reads a chunked body; content and what is left behind it.
fn chunks(text: &[u8]) -> Result<(Vec<u8>, Vec<u8>), ParseError> {
    fuzzing::chunked(text);
    let mut buf = BytesMut::from(text);
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let mut content = Vec::new();
    loop {
        match decoder.decode(&mut buf)? {
            Decoded::Data(data) => content.extend_from_slice(&data),
            Decoded::End => return Ok((content, buf.to_vec())),
            Decoded::NeedMore => decoder.at_eof()?,
        }
    }
}

#[track_caller]
fn check<T: PartialEq + std::fmt::Debug>(
    read: fn(&[u8]) -> Result<T, ParseError>,
    rows: impl IntoIterator<Item = (&'static str, &'static [u8], Result<T, ParseError>)>,
) {
    for (what, text, expected) in rows {
        assert_eq!(read(text), expected, "{what}: {}", text.escape_ascii());
    }
}

#[test]
fn request_lines_have_one_shape() {
    check(
        request,
        [
            ("plain", b"GET / HTTP/1.1\r\n\r\n".as_slice(), Ok(Framing::None)),
            ("absolute form", b"GET http://a/b?c HTTP/1.1\r\n\r\n", Ok(Framing::None)),
            ("authority form", b"CONNECT a:443 HTTP/1.1\r\n\r\n", Ok(Framing::None)),
            ("unknown method", b"M-SEARCH * HTTP/1.1\r\n\r\n", Ok(Framing::None)),
            ("lower-case method is another method", b"get / HTTP/1.1\r\n\r\n", Ok(Framing::None)),
            ("HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n", Ok(Framing::None)),
            ("empty lines before", b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", Ok(Framing::None)),
            ("too many empty lines before", b"\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", Err(RequestLine)),
            ("bare LF before", b"\nGET / HTTP/1.1\r\n\r\n", Err(BareLf)),
            ("bare CR before", b"\rGET / HTTP/1.1\r\n\r\n", Err(BareCr)),
            ("space before", b" GET / HTTP/1.1\r\n\r\n", Err(RequestLine)),
            ("HTTP/0.9", b"GET /\r\n\r\n", Err(RequestLine)),
            ("two spaces before the target", b"GET  / HTTP/1.1\r\n\r\n", Err(RequestLine)),
            ("two spaces before the version", b"GET /  HTTP/1.1\r\n\r\n", Err(RequestLine)),
            ("space after the version", b"GET / HTTP/1.1 \r\n\r\n", Err(RequestLine)),
            ("space in the target", b"GET /a b HTTP/1.1\r\n\r\n", Err(RequestLine)),
            ("tab for space", b"GET\t/\tHTTP/1.1\r\n\r\n", Err(RequestLine)),
            ("tab in the target", b"GET /\ta HTTP/1.1\r\n\r\n", Err(Target)),
            ("no target", b"GET HTTP/1.1\r\n\r\n", Err(RequestLine)),
            ("no method", b"/ HTTP/1.1\r\n\r\n", Err(RequestLine)),
            ("method no token", b"G\"T / HTTP/1.1\r\n\r\n", Err(Method)),
            ("obs-text in the target", b"GET /\xc3\xbc HTTP/1.1\r\n\r\n", Err(Target)),
            ("no UTF-8 in the target", b"GET /\xff HTTP/1.1\r\n\r\n", Err(Target)),
            ("DEL in the target", b"GET /\x7f HTTP/1.1\r\n\r\n", Err(Target)),
            ("NUL in the target", b"GET /\0 HTTP/1.1\r\n\r\n", Err(Nul)),
            ("CR in the target", b"GET /\r HTTP/1.1\r\n\r\n", Err(BareCr)),
            ("bare LF ends the line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", Err(BareLf)),
            ("two CR end the line", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", Err(BareCr)),
            ("TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01", Err(RequestLine)),
        ],
    );
}

#[test]
fn versions_are_1_0_and_1_1() {
    check(
        request,
        [
            ("HTTP/1.32", b"GET / HTTP/1.32\r\n\r\n".as_slice(), Err(VersionSyntax)),
            ("HTTP/1.11", b"GET / HTTP/1.11\r\n\r\n", Err(VersionSyntax)),
            ("HTTP/01.1", b"GET / HTTP/01.1\r\n\r\n", Err(VersionSyntax)),
            ("HTTP/1.", b"GET / HTTP/1.\r\n\r\n", Err(VersionSyntax)),
            ("HTTP/1", b"GET / HTTP/1\r\n\r\n", Err(VersionSyntax)),
            ("HTTP /1.1", b"GET / HTTP /1.1\r\n\r\n", Err(RequestLine)),
            ("lower case", b"GET / http/1.1\r\n\r\n", Err(VersionSyntax)),
            ("another protocol", b"OPTIONS / RTSP/1.0\r\n\r\n", Err(VersionSyntax)),
            ("HTTP/1.2", b"GET / HTTP/1.2\r\n\r\n", Err(VersionUnsupported)),
            ("HTTP/2.0", b"GET / HTTP/2.0\r\n\r\n", Err(VersionUnsupported)),
            ("HTTP/0.9", b"GET / HTTP/0.9\r\n\r\n", Err(VersionUnsupported)),
            ("preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Err(Http2Preface)),
        ],
    );
}

#[test]
fn field_lines_have_one_shape() {
    check(
        request,
        [
            ("empty value", b"GET / HTTP/1.1\r\nX:\r\n\r\n".as_slice(), Ok(Framing::None)),
            ("obs-text in a value", b"GET / HTTP/1.1\r\nX: \xfc\r\n\r\n", Ok(Framing::None)),
            ("tab in a value", b"GET / HTTP/1.1\r\nX: a\tb\r\n\r\n", Ok(Framing::None)),
            ("colon in a value", b"GET / HTTP/1.1\r\nX:: a\r\n\r\n", Ok(Framing::None)),
            ("bare LF between", b"GET / HTTP/1.1\r\nX: a\nY: b\r\n\r\n", Err(BareLf)),
            ("bare LF at the end", b"GET / HTTP/1.1\r\nX: a\r\n\n", Err(BareLf)),
            ("bare CR in a value", b"GET / HTTP/1.1\r\nX: a\rContent-Length: 3\r\n\r\n", Err(BareCr)),
            ("bare CR in a name", b"GET / HTTP/1.1\r\nX\ra: a\r\n\r\n", Err(BareCr)),
            ("CR CR LF", b"GET / HTTP/1.1\r\nX: a\r\r\n\r\n", Err(BareCr)),
            ("NUL in a value", b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n", Err(Nul)),
            ("NUL in a name", b"GET / HTTP/1.1\r\nX\0: a\r\n\r\n", Err(Nul)),
            ("control byte in a value", b"GET / HTTP/1.1\r\nX: a\x01b\r\n\r\n", Err(FieldValue)),
            ("DEL in a value", b"GET / HTTP/1.1\r\nX: a\x7fb\r\n\r\n", Err(FieldValue)),
            (
                "vertical tab before the value",
                b"GET / HTTP/1.1\r\nTransfer-Encoding:\x0bchunked\r\n\r\n",
                Err(FieldValue),
            ),
            ("folded with a space", b"GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", Err(ObsFold)),
            ("folded with a tab", b"GET / HTTP/1.1\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n", Err(ObsFold)),
            ("space before the first field", b"GET / HTTP/1.1\r\n X: a\r\n\r\n", Err(ObsFold)),
            ("a line of one space", b"GET / HTTP/1.1\r\n \r\n\r\n", Err(ObsFold)),
            (
                "space before the colon",
                b"GET / HTTP/1.1\r\nContent-Length : 3\r\n\r\n",
                Err(SpaceBeforeColon),
            ),
            ("tab before the colon", b"GET / HTTP/1.1\r\nContent-Length\t: 3\r\n\r\n", Err(SpaceBeforeColon)),
            ("space in the name", b"GET / HTTP/1.1\r\nX Y: a\r\n\r\n", Err(FieldName)),
            ("empty name", b"GET / HTTP/1.1\r\n: a\r\n\r\n", Err(FieldName)),
            ("no colon", b"GET / HTTP/1.1\r\nHost\r\n\r\n", Err(FieldName)),
            ("obs-text in a name", b"GET / HTTP/1.1\r\nX\xfc: a\r\n\r\n", Err(FieldName)),
            ("bracket in a name", b"GET / HTTP/1.1\r\nX[]: a\r\n\r\n", Err(FieldName)),
            ("parenthesis in a name", b"GET / HTTP/1.1\r\n(X): a\r\n\r\n", Err(FieldName)),
        ],
    );
}

#[test]
fn a_request_has_one_length_or_one_chunked() {
    check(
        request,
        [
            ("length", b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n".as_slice(), Ok(Framing::Length(3))),
            ("length on GET", b"GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", Ok(Framing::Length(3))),
            ("length zero", b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", Ok(Framing::Length(0))),
            ("leading zeros", b"POST / HTTP/1.1\r\nContent-Length: 0003\r\n\r\n", Ok(Framing::Length(3))),
            ("equal list", b"POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\n", Ok(Framing::Length(3))),
            (
                "equal lines",
                b"POST / HTTP/1.1\r\nContent-Length: 3\r\ncontent-length:3\r\n\r\n",
                Ok(Framing::Length(3)),
            ),
            ("differing list", b"POST / HTTP/1.1\r\nContent-Length: 3, 4\r\n\r\n", Err(ContentLengthsDiffer)),
            (
                "differing lines",
                b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 0\r\n\r\n",
                Err(ContentLengthsDiffer),
            ),
            ("plus", b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\n", Err(ContentLength)),
            ("minus", b"POST / HTTP/1.1\r\nContent-Length: -3\r\n\r\n", Err(ContentLength)),
            ("minus zero", b"POST / HTTP/1.1\r\nContent-Length: -0\r\n\r\n", Err(ContentLength)),
            ("hexadecimal", b"POST / HTTP/1.1\r\nContent-Length: 0x3\r\n\r\n", Err(ContentLength)),
            ("underscore", b"POST / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n", Err(ContentLength)),
            ("decimal point", b"POST / HTTP/1.1\r\nContent-Length: 3.0\r\n\r\n", Err(ContentLength)),
            ("space inside", b"POST / HTTP/1.1\r\nContent-Length: 3 3\r\n\r\n", Err(ContentLength)),
            ("quoted", b"POST / HTTP/1.1\r\nContent-Length: \"3\"\r\n\r\n", Err(ContentLength)),
            ("empty", b"POST / HTTP/1.1\r\nContent-Length:\r\n\r\n", Err(ContentLength)),
            (
                "empty beside a sound one",
                b"POST / HTTP/1.1\r\nContent-Length:\r\nContent-Length: 3\r\n\r\n",
                Err(ContentLength),
            ),
            ("empty member", b"POST / HTTP/1.1\r\nContent-Length: 3,\r\n\r\n", Err(ContentLength)),
            ("comma alone", b"POST / HTTP/1.1\r\nContent-Length: ,\r\n\r\n", Err(ContentLength)),
            ("other digits", b"POST / HTTP/1.1\r\nContent-Length: \xd9\xa3\r\n\r\n", Err(ContentLength)),
            (
                "2^64 - 1",
                b"POST / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n",
                Ok(Framing::Length(u64::MAX)),
            ),
            ("2^64", b"POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n", Err(ContentLength)),
            (
                "2^64 + 3",
                b"POST / HTTP/1.1\r\nContent-Length: 18446744073709551619\r\n\r\n",
                Err(ContentLength),
            ),
            ("chunked", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", Ok(Framing::Chunked)),
            ("letter case", b"POST / HTTP/1.1\r\ntransfer-encoding:CHUNKED\r\n\r\n", Ok(Framing::Chunked)),
            (
                "CL.TE",
                b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
                Err(LengthAndCoding),
            ),
            (
                "TE.CL",
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
                Err(LengthAndCoding),
            ),
            (
                "TE and a bad length",
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n",
                Err(LengthAndCoding),
            ),
            (
                "TE.TE",
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n",
                Err(TransferCoding),
            ),
            (
                "TE.TE, other order",
                b"POST / HTTP/1.1\r\nTransfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n\r\n",
                Err(TransferCoding),
            ),
            (
                "second line empty",
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding:\r\n\r\n",
                Err(TransferCoding),
            ),
            (
                "chunked twice",
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
                Err(TransferCoding),
            ),
            (
                "chunked on two lines",
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                Err(TransferCoding),
            ),
            (
                "identity, chunked",
                b"POST / HTTP/1.1\r\nTransfer-Encoding: identity, chunked\r\n\r\n",
                Err(TransferCoding),
            ),
            (
                "gzip, chunked",
                b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                Err(TransferCoding),
            ),
            (
                "chunked, gzip",
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
                Err(TransferCoding),
            ),
            ("comma before", b"POST / HTTP/1.1\r\nTransfer-Encoding: ,chunked\r\n\r\n", Err(TransferCoding)),
            ("comma behind", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked,\r\n\r\n", Err(TransferCoding)),
            ("parameter", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked;a=b\r\n\r\n", Err(TransferCoding)),
            ("quoted", b"POST / HTTP/1.1\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", Err(TransferCoding)),
            ("longer", b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", Err(TransferCoding)),
            ("identity", b"POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n", Err(TransferCoding)),
            ("unknown", b"POST / HTTP/1.1\r\nTransfer-Encoding: cow\r\n\r\n", Err(TransferCoding)),
            ("empty coding", b"POST / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n", Err(TransferCoding)),
            (
                "HTTP/1.0",
                b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
                Err(TransferCodingInHttp10),
            ),
            (
                "HTTP/1.0, with a length",
                b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
                Err(TransferCodingInHttp10),
            ),
            (
                "no TE at all",
                b"POST / HTTP/1.1\r\nTransfer_Encoding: chunked\r\nX-Transfer-Encoding: chunked\r\n\r\n",
                Ok(Framing::None),
            ),
        ],
    );
}

#[test]
fn status_lines_have_one_shape() {
    check(
        response,
        [
            ("plain", b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), Ok(Framing::UntilClose)),
            ("empty reason", b"HTTP/1.1 200 \r\n\r\n", Ok(Framing::UntilClose)),
            ("no reason", b"HTTP/1.1 200\r\n\r\n", Ok(Framing::UntilClose)),
            ("obs-text in the reason", b"HTTP/1.1 404 nicht verf\xfcgbar\r\n\r\n", Ok(Framing::UntilClose)),
            ("unknown status", b"HTTP/1.1 599 ?\r\n\r\n", Ok(Framing::UntilClose)),
            ("status beyond the classes", b"HTTP/1.1 999 Denied\r\n\r\n", Ok(Framing::UntilClose)),
            ("two digits", b"HTTP/1.1 99 OK\r\n\r\n", Err(StatusLine)),
            ("four digits", b"HTTP/1.1 2000 OK\r\n\r\n", Err(StatusLine)),
            ("leading zero", b"HTTP/1.1 020 OK\r\n\r\n", Err(StatusLine)),
            ("plus", b"HTTP/1.1 +20 OK\r\n\r\n", Err(StatusLine)),
            ("letters", b"HTTP/1.1 abc OK\r\n\r\n", Err(StatusLine)),
            ("two spaces", b"HTTP/1.1  200 OK\r\n\r\n", Err(StatusLine)),
            ("tab", b"HTTP/1.1 200\tOK\r\n\r\n", Err(StatusLine)),
            ("no status", b"HTTP/1.1\r\n\r\n", Err(StatusLine)),
            ("NUL in the reason", b"HTTP/1.1 200 O\0K\r\n\r\n", Err(Nul)),
            ("CR in the reason", b"HTTP/1.1 200 OK\rSet-Cookie: a\r\n\r\n", Err(BareCr)),
            ("control byte in the reason", b"HTTP/1.1 200 O\x08K\r\n\r\n", Err(StatusLine)),
            ("bare LF", b"HTTP/1.1 200 OK\n\n", Err(BareLf)),
            ("empty line before", b"\r\nHTTP/1.1 200 OK\r\n\r\n", Err(StatusLine)),
            ("no HTTP", b"ICY 200 OK\r\n\r\n", Err(StatusLine)),
            ("HTTP/0.9", b"<html>\r\n\r\n", Err(StatusLine)),
            ("lower case", b"http/1.1 200 OK\r\n\r\n", Err(StatusLine)),
            ("HTTP/1.32", b"HTTP/1.32 200 OK\r\n\r\n", Err(VersionSyntax)),
            ("HTTP/2.0", b"HTTP/2.0 200 OK\r\n\r\n", Err(VersionUnsupported)),
            ("folded field", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", Err(ObsFold)),
            ("space before the colon", b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n", Err(SpaceBeforeColon)),
            ("CR in a value", b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n", Err(BareCr)),
            ("LF in a value", b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\n\r\n", Err(BareLf)),
            ("NUL in a value", b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", Err(Nul)),
            ("HTML for a field", b"HTTP/1.1 200 OK\r\n<html>\r\n\r\n", Err(FieldName)),
        ],
    );
}

#[test]
fn a_response_has_one_end() {
    check(
        response,
        [
            ("length", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n".as_slice(), Ok(Framing::Length(3))),
            (
                "equal lengths",
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
                Ok(Framing::Length(3)),
            ),
            (
                "differing lengths",
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
                Err(ContentLengthsDiffer),
            ),
            ("bad length", b"HTTP/1.1 200 OK\r\nContent-Length: 3 bytes\r\n\r\n", Err(ContentLength)),
            ("negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Err(ContentLength)),
            ("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", Ok(Framing::Chunked)),
            (
                "length and coding",
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
                Err(LengthAndCoding),
            ),
            (
                "length and unknown coding",
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: cow\r\n\r\n",
                Err(LengthAndCoding),
            ),
            (
                "coding in HTTP/1.0",
                b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                Err(TransferCodingInHttp10),
            ),
            ("unknown coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: cow\r\n\r\n", Ok(Framing::UntilClose)),
            (
                "unknown coding, parameter",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: cow; a=b\r\n\r\n",
                Ok(Framing::UntilClose),
            ),
            (
                "two unknown codings",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: cow, dog\r\n\r\n",
                Err(TransferCoding),
            ),
            (
                "two lines unknown",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: cow\r\nTransfer-Encoding: dog\r\n\r\n",
                Err(TransferCoding),
            ),
            (
                "unknown, chunked",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: cow, chunked\r\n\r\n",
                Err(TransferCoding),
            ),
            ("gzip alone", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Err(TransferCoding)),
            (
                "gzip, chunked",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                Err(TransferCoding),
            ),
            (
                "chunked, gzip",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
                Err(TransferCoding),
            ),
            (
                "chunked twice",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                Err(TransferCoding),
            ),
            (
                "chunked, parameter",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked ;a=b\r\n\r\n",
                Err(TransferCoding),
            ),
            ("empty", b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n", Err(TransferCoding)),
            ("no token", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", Err(TransferCoding)),
        ],
    );
}

#[test]
fn some_responses_have_no_body_whatever_they_say() {
    for status in
        ["100 Continue", "101 Switching Protocols", "103 Early Hints", "204 No Content", "304 Not Modified"]
    {
        for fields in
            ["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Content-Length: 5, 6\r\n"]
        {
            let text = format!("HTTP/1.1 {status}\r\n{fields}\r\n");
            assert_eq!(response(text.as_bytes()), Ok(Framing::None), "{text:?}");
        }
    }
    let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(response_to(&Method::HEAD, text), Ok(Framing::None));
    assert_eq!(response_to(&Method::CONNECT, text), Ok(Framing::None));
    assert_eq!(
        response_to(&Method::CONNECT, b"HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\n"),
        Ok(Framing::Length(5))
    );
}

#[test]
fn chunk_sizes_are_bare_hexadecimal() {
    let abc = |rest: &[u8]| Ok((b"abc".to_vec(), rest.to_vec()));
    check(
        chunks,
        [
            ("plain", b"3\r\nabc\r\n0\r\n\r\n".as_slice(), abc(b"")),
            ("what follows stays", b"3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n", abc(b"GET / HTTP/1.1\r\n")),
            ("leading zeros", b"0000000000000003\r\nabc\r\n000\r\n\r\n", abc(b"")),
            ("seventeen digits", b"00000000000000003\r\nabc\r\n0\r\n\r\n", Err(ChunkSize)),
            ("overflow to 3", b"10000000000000003\r\nabc\r\n0\r\n\r\n", Err(ChunkSize)),
            ("the largest", b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n", Err(Truncated)),
            ("0x", b"0x3\r\nabc\r\n0\r\n\r\n", Err(ChunkSize)),
            ("underscore", b"0_3\r\nabc\r\n0\r\n\r\n", Err(ChunkSize)),
            ("plus", b"+3\r\nabc\r\n0\r\n\r\n", Err(ChunkSize)),
            ("minus", b"-3\r\nabc\r\n0\r\n\r\n", Err(ChunkSize)),
            ("minus zero", b"3\r\nabc\r\n-0\r\n\r\n", Err(ChunkSize)),
            ("space before", b" 3\r\nabc\r\n0\r\n\r\n", Err(ChunkSize)),
            ("space behind", b"3 \r\nabc\r\n0\r\n\r\n", Err(ChunkSize)),
            ("empty", b"\r\nabc\r\n0\r\n\r\n", Err(ChunkSize)),
            ("extension alone", b";a\r\nabc\r\n0\r\n\r\n", Err(ChunkSize)),
            ("bare LF", b"3\nabc\r\n0\r\n\r\n", Err(ChunkSize)),
            ("bare CR", b"3\rabc\r\n0\r\n\r\n", Err(ChunkSize)),
            ("NUL", b"3\0\r\nabc\r\n0\r\n\r\n", Err(ChunkSize)),
            ("comma", b"3,3\r\nabc\r\n0\r\n\r\n", Err(ChunkSize)),
            ("other digits", b"\xef\xbc\x93\r\nabc\r\n0\r\n\r\n", Err(ChunkSize)),
        ],
    );
}

#[test]
fn a_chunk_ends_where_its_size_says() {
    check(
        chunks,
        [
            ("too short", b"4\r\nabc\r\n0\r\n\r\n".as_slice(), Err(ChunkEnd)),
            ("too long", b"2\r\nabc\r\n0\r\n\r\n", Err(ChunkEnd)),
            ("LF behind the data", b"3\r\nabc\n0\r\n\r\n", Err(ChunkEnd)),
            ("CR behind the data", b"3\r\nabc\r0\r\n\r\n", Err(ChunkEnd)),
            ("any two bytes behind the data", b"3\r\nabcXX0\r\n\r\n", Err(ChunkEnd)),
            ("nothing behind the data", b"3\r\nabc0\r\n\r\n", Err(ChunkEnd)),
            ("TERM.SPILL", b"3\r\nabcX\r\n0\r\n\r\n", Err(ChunkEnd)),
            ("cut in the size", b"3", Err(Truncated)),
            ("cut in the data", b"3\r\nab", Err(Truncated)),
            ("cut behind the data", b"3\r\nabc\r\n", Err(Truncated)),
            ("cut behind the last chunk", b"3\r\nabc\r\n0\r\n", Err(Truncated)),
            ("cut in the trailers", b"3\r\nabc\r\n0\r\nX: y\r\n", Err(Truncated)),
        ],
    );
}

#[test]
fn chunk_extensions_cannot_hide_a_line_end() {
    let abc = || Ok((b"abc".to_vec(), Vec::new()));
    check(
        chunks,
        [
            ("plain", b"3;a=b\r\nabc\r\n0;c\r\n\r\n".as_slice(), abc()),
            ("white space", b"3 \t; a = b\r\nabc\r\n0\r\n\r\n", abc()),
            ("quoted", b"3;a=\";\\\" \xfc\"\r\nabc\r\n0\r\n\r\n", abc()),
            ("TERM.EXT: LF ends the line for some", b"3;\nabc\r\n0\r\n\r\n", Err(ChunkExtension)),
            ("EXT.TERM: LF in the middle", b"3;a\nb\r\nabc\r\n0\r\n\r\n", Err(ChunkExtension)),
            ("LF before CRLF", b"3;a\n\r\nabc\r\n0\r\n\r\n", Err(ChunkExtension)),
            ("CR ends the line for some", b"3;\rabc\r\n0\r\n\r\n", Err(ChunkExtension)),
            ("CR in the middle", b"3;a\rb\r\nabc\r\n0\r\n\r\n", Err(ChunkExtension)),
            ("CR CR LF", b"3;a\r\r\nabc\r\n0\r\n\r\n", Err(ChunkExtension)),
            ("LF in quotes", b"3;a=\"\n\"\r\nabc\r\n0\r\n\r\n", Err(ChunkExtension)),
            ("CRLF in quotes", b"3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n", Err(ChunkExtension)),
            ("CRLF escaped in quotes", b"3;a=\"\\\r\n\"\r\nabc\r\n0\r\n\r\n", Err(ChunkExtension)),
            ("quote left open", b"3;a=\"b\r\nabc\r\n0\r\n\r\n", Err(ChunkExtension)),
            ("NUL", b"3;a\0\r\nabc\r\n0\r\n\r\n", Err(ChunkExtension)),
            ("obs-text outside quotes", b"3;\xfc\r\nabc\r\n0\r\n\r\n", Err(ChunkExtension)),
            (
                "two requests for those who end the line at LF",
                b"2;\n\r\n00\r\n\r\nGET /b HTTP/1.1\r\nHost: b\r\n\r\n0\r\n\r\n",
                Err(ChunkExtension),
            ),
        ],
    );
}

#[test]
fn trailers_are_fields_under_the_same_rules() {
    check(
        chunks,
        [
            ("plain", b"0\r\nX-Sum: 1\r\n\r\n".as_slice(), Ok((Vec::new(), Vec::new()))),
            ("bare LF ends the section", b"0\r\n\n", Err(BareLf)),
            ("bare LF in it", b"0\r\nX: a\nY: b\r\n\r\n", Err(BareLf)),
            ("bare CR", b"0\r\nX: a\rb\r\n\r\n", Err(BareCr)),
            ("CR for the empty line", b"0\r\n\rX\r\n\r\n", Err(BareCr)),
            ("folded", b"0\r\nX: a\r\n b\r\n\r\n", Err(ObsFold)),
            ("space before the colon", b"0\r\nX : a\r\n\r\n", Err(SpaceBeforeColon)),
            ("no field", b"0\r\nGET / HTTP/1.1\r\n\r\n", Err(FieldName)),
            ("NUL", b"0\r\nX: \0\r\n\r\n", Err(Nul)),
        ],
    );
}

#[test]
fn sizes_are_bounded() {
    let with_fields =
        |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count)).into_bytes();
    assert_eq!(request(&with_fields(20)), Ok(Framing::None));
    let limits = HeadLimits::default();
    assert!(parse_request(&with_fields(100), &limits).is_ok());
    assert_eq!(parse_request(&with_fields(101), &limits), Err(TooManyFields));
    assert_eq!(parse_request(&with_fields(5000), &limits), Err(TooManyFields));
    let wide = HeadLimits { fields: 1000, ..limits };
    assert!(
        matches!(parse_request(&with_fields(1000), &wide), Ok(Some((head, _))) if head.fields.len() == 1000)
    );

    let long_field = [b"GET / HTTP/1.1\r\nA: ", "b".repeat(70_000).as_bytes()].concat();
    assert_eq!(parse_request(&long_field, &limits), Err(HeadTooLarge));
    let long_target = [b"GET /", "b".repeat(70_000).as_bytes()].concat();
    assert_eq!(parse_request(&long_target, &limits), Err(TargetTooLong));
    let long_response = [b"HTTP/1.1 200 OK\r\nA: ", "b".repeat(70_000).as_bytes()].concat();
    assert_eq!(parse_response(&long_response, &limits), Err(HeadTooLarge));
    let long_reason = [b"HTTP/1.1 200 ", "b".repeat(70_000).as_bytes()].concat();
    assert_eq!(parse_response(&long_reason, &limits), Err(HeadTooLarge));

    let extension = |count: usize| format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(count)).into_bytes();
    assert!(chunks(&extension(16_000)).is_ok());
    assert_eq!(chunks(&extension(17_000)), Err(ChunkExtensionsTooLong));
    assert_eq!(chunks("1;aaaaaaaa\r\nx\r\n".repeat(3000).as_bytes()), Err(ChunkExtensionsTooLong));
    let trailers = |count: usize| format!("0\r\n{}\r\n", "A: b\r\n".repeat(count)).into_bytes();
    assert!(chunks(&trailers(64)).is_ok());
    assert_eq!(chunks(&trailers(65)), Err(TrailersTooLarge));
    assert_eq!(chunks(format!("0\r\nA: {}", "b".repeat(9000)).as_bytes()), Err(TrailersTooLarge));
}

#[test]
fn each_error_calls_for_its_answer() {
    assert_eq!(BareLf.kind(), ErrorKind::BadRequest);
    assert_eq!(LengthAndCoding.kind(), ErrorKind::BadRequest);
    assert_eq!(TargetTooLong.kind(), ErrorKind::UriTooLong);
    assert_eq!(HeadTooLarge.kind(), ErrorKind::TooLarge);
    assert_eq!(TooManyFields.kind(), ErrorKind::TooLarge);
    assert_eq!(Http2Preface.kind(), ErrorKind::Version);
    assert_eq!(VersionSyntax.kind(), ErrorKind::BadRequest);
}

#[test]
fn nothing_is_hidden_from_those_who_judge_the_fields() {
    let text = b"GET http://a/ HTTP/1.1\r\nHost: a\r\nhOsT:  b \r\nHost:\r\nConnection: close\r\n\r\n";
    let (head, _) = parse_request(text, &HeadLimits::default()).unwrap().unwrap();
    assert_eq!(head.fields.as_wire(), b"Host: a\r\nhOsT: b\r\nHost: \r\nConnection: close\r\n");
    assert_eq!(head.target, b"http://a/");
}

#[test]
fn a_connection_persists_only_as_both_versions_have_it() {
    for (text, expected) in [
        (&b"HTTP/1.1 200 OK\r\n\r\n"[..], true),
        (b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n", false),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", false),
        (b"HTTP/1.0 200 OK\r\n\r\n", false),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n", true),
    ] {
        let (head, _) = parse_response(text, &HeadLimits::default()).unwrap().unwrap();
        assert_eq!(persists(head.version, &head.fields), expected);
    }
}
