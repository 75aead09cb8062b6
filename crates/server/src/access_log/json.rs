//! The access log's JSON: one object a line, always with the same fields, `null` where there is nothing.
//!
//! The names and their meaning are an interface: fields are added, never changed or removed.
//!
//! | field | |
//! | --- | --- |
//! | `time` | when the request's head had been read: RFC 3339, UTC, milliseconds |
//! | `duration_ms` | from then to the last byte sent, to the microsecond |
//! | `client`, `client_port` | address and port of the client |
//! | `method`, `url`, `version` | as sent; the URL is the target URI, `host:port` for CONNECT |
//! | `status` | the status sent; 0 when none was |
//! | `bytes`, `body_bytes` | sent to the client: all, and content alone |
//! | `request_bytes` | content received from the client |
//! | `origin_bytes` | content received from the next hop for this request |
//! | `outcome` | what became of the request: `memory-hit`, `miss`, ... |
//! | `squid` | the same as Squid's result code, suffix included |
//! | `forward_reason` | why it was forwarded, in the words of RFC 9211, 2.2 |
//! | `stored`, `detail` | whether the response went into the store, and why not or by which rule |
//! | `next_hop`, `next_hop_kind` | address and port; `origin` or `parent` |
//! | `aborted` | who broke off: `client` or `origin` |
//! | `content_type` | of the response, parameters included |
//! | `referer`, `user_agent` | of the request |
//! | `request_fields`, `response_fields` | the fields that a cache goes by, an object each: names in lower case, several lines of a field as one. Credentials and cookies without their value; what Vary nominates besides preferences as `#` and a number that tells values apart |

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use larder_policy::{Fields, ForwardReason};
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

use super::format::{ResultCode, address};
use super::moment::Rfc3339;
use crate::transaction::{Ending, NextHop, Transaction};

#[derive(Serialize)]
struct Line<'a> {
    time: Shown<Rfc3339>,
    duration_ms: f64,
    client: IpAddr,
    client_port: u16,
    method: &'a str,
    url: &'a str,
    version: &'a str,
    status: u16,
    bytes: u64,
    body_bytes: u64,
    request_bytes: u64,
    origin_bytes: u64,
    outcome: &'static str,
    squid: Shown<ResultCode<'a>>,
    forward_reason: Option<Shown<ForwardReason>>,
    stored: bool,
    detail: Option<&'a str>,
    next_hop: Option<SocketAddr>,
    next_hop_kind: Option<&'static str>,
    aborted: Option<&'static str>,
    content_type: Option<&'a str>,
    referer: Option<&'a str>,
    user_agent: Option<&'a str>,
    request_fields: Option<Section<'a>>,
    response_fields: Option<Section<'a>>,
}

/// A field section as an object.
struct Section<'a>(&'a Fields);

impl Serialize for Section<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, String::from_utf8_lossy(value))))
    }
}

/// Something that is in JSON as it is shown.
struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Appends the object, without a line feed.
pub(super) fn append(line: &mut String, transaction: &Transaction<'_>) {
    let (next_hop, next_hop_kind) = match transaction.next_hop {
        NextHop::None => (None, None),
        NextHop::Origin(origin) => (Some(origin), Some("origin")),
        NextHop::Parent(parent) => (Some(parent), Some("parent")),
    };
    let object = Line {
        time: Shown(Rfc3339(transaction.started)),
        duration_ms: transaction.duration.as_micros() as f64 / 1000.0,
        client: address(transaction.client),
        client_port: transaction.client.port(),
        method: &transaction.method,
        url: &transaction.target,
        version: transaction.version,
        status: transaction.status,
        bytes: transaction.bytes_sent,
        body_bytes: transaction.body_sent,
        request_bytes: transaction.body_received,
        origin_bytes: transaction.origin_received,
        outcome: transaction.outcome.word(),
        squid: Shown(ResultCode(transaction)),
        forward_reason: transaction.forwarded.map(Shown),
        stored: transaction.stored,
        detail: transaction.detail.as_deref(),
        next_hop,
        next_hop_kind,
        aborted: match transaction.ending {
            Ending::Complete => None,
            Ending::ClientAborted => Some("client"),
            Ending::OriginAborted => Some("origin"),
        },
        content_type: transaction.content_type.as_deref(),
        referer: transaction.referer.as_deref(),
        user_agent: transaction.user_agent.as_deref(),
        request_fields: transaction.fields.as_deref().map(|fields| Section(&fields.request)),
        response_fields: transaction.fields.as_deref().map(|fields| Section(&fields.response)),
    };
    let mut bytes = Vec::with_capacity(512);
    // Neither the object's types nor a vector can fail; a line lost here would show as an empty one.
    let _ = object.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Ascii));
    line.push_str(&String::from_utf8_lossy(&bytes));
}

/// Compact JSON in ASCII: serde_json alone lets DEL, C1 control characters and bidirectional overrides through.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        // Found as a byte: it is the first one of its letter, since those before it are ASCII.
        while let Some(place) = rest.bytes().position(|byte| byte >= 0x7f) {
            let (plain, special) = rest.split_at(place);
            writer.write_all(plain.as_bytes())?;
            let mut letters = special.chars();
            if let Some(letter) = letters.next() {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = letters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ExchangeFields;
    use super::super::format::tests::{hostile, line};
    use super::*;
    use crate::config::AccessLogFormat;
    use crate::metrics::tests::{miss, transaction};

    #[test]
    fn json_lines_have_every_field_in_order() {
        assert_eq!(
            line(AccessLogFormat::Json, &transaction()),
            concat!(
                r#"{"time":"2026-11-23T16:00:00.123Z","duration_ms":0.3,"client":"192.0.2.33","client_port":50000,"#,
                r#""method":"GET","url":"http://origin.example/pool/a.deb?x=1","version":"HTTP/1.1","status":200,"#,
                r#""bytes":1250,"body_bytes":1000,"request_bytes":0,"origin_bytes":0,"outcome":"memory-hit","#,
                r#""squid":"TCP_MEM_HIT","forward_reason":null,"stored":false,"detail":null,"next_hop":null,"#,
                r#""next_hop_kind":null,"aborted":null,"content_type":"text/html; charset=utf-8","referer":null,"#,
                r#""user_agent":null,"request_fields":null,"response_fields":null}"#,
                "\n"
            )
        );
        let mut shown = ExchangeFields { request: Fields::new(), response: Fields::new() };
        shown.request.push("range", b"bytes=0-").unwrap();
        shown.response.push("etag", b"\"\x9f\"").unwrap();
        shown.response.push("age", b"7").unwrap();
        let aborted = Transaction {
            ending: Ending::OriginAborted,
            detail: Some("apt-pool".into()),
            fields: Some(Box::new(shown)),
            ..miss()
        };
        assert_eq!(
            line(AccessLogFormat::Json, &aborted),
            concat!(
                r#"{"time":"2026-11-23T16:00:00.123Z","duration_ms":20.0,"client":"192.0.2.33","client_port":50000,"#,
                r#""method":"GET","url":"http://origin.example/pool/a.deb?x=1","version":"HTTP/1.1","status":200,"#,
                r#""bytes":3250,"body_bytes":3000,"request_bytes":0,"origin_bytes":3000,"outcome":"miss","#,
                r#""squid":"TCP_MISS_ABORTED","forward_reason":"uri-miss","stored":true,"detail":"apt-pool","#,
                r#""next_hop":"198.51.100.7:80","next_hop_kind":"origin","aborted":"origin","#,
                r#""content_type":"text/html; charset=utf-8","referer":null,"user_agent":null,"#,
                r#""request_fields":{"range":"bytes=0-"},"response_fields":{"etag":"\"\ufffd\"","age":"7"}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_reader_of_json_gets_back_what_the_peer_sent() {
        let transaction = Transaction { referer: Some("\u{1f980}".into()), ..hostile() };
        let value: serde_json::Value =
            serde_json::from_str(&line(AccessLogFormat::Json, &transaction)).unwrap();
        assert_eq!(value["user_agent"].as_str(), transaction.user_agent.as_deref());
        assert_eq!(value["referer"], "\u{1f980}");
        assert_eq!(value["method"], "GE\tT\"");
    }
}
