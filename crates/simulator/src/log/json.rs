//! larder's own JSON log. Its fields are described where it is written, in `larder_server`; unknown ones are ignored.

use std::borrow::Cow;
use std::time::Duration;

use http::Method;
use larder_policy::Fields;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::text::{BYTES_MAX, number, url};
use super::{Entry, Outcome, moment};

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(default)]
    duration_ms: Option<f64>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    status: u16,
    #[serde(default)]
    body_bytes: u64,
    #[serde(borrow, default)]
    outcome: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    aborted: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    request_fields: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response_fields: Option<&'a RawValue>,
}

/// Reads a line.
pub(super) fn parse(line: &[u8]) -> Result<Entry, &'static str> {
    let read: Line<'_> =
        serde_json::from_slice(line).map_err(|_| "it is no JSON object with time, method, url and status")?;
    let duration = read.duration_ms.filter(|millis| (0.0..1e12).contains(millis));
    let request = read.request_fields.map(fields).transpose()?;
    let response = read.response_fields.map(fields).transpose()?;
    let length = response.as_ref().and_then(whole_length);
    Ok(Entry {
        time: moment::rfc3339(&read.time).ok_or("time is not as RFC 3339 has it")?,
        duration: duration.map(|millis| Duration::from_micros((millis * 1000.0) as u64)),
        method: Method::from_bytes(read.method.as_bytes()).map_err(|_| "method is none")?,
        url: url(read.url.as_bytes()),
        host: None,
        status: read.status,
        bytes: read.body_bytes.min(BYTES_MAX),
        counts_head: false,
        length,
        aborted: Some(read.aborted.is_some()),
        outcome: read.outcome.as_deref().and_then(outcome),
        content_type: read.content_type.map(Cow::into_owned),
        authorized: request.as_ref().map(|request| request.contains("authorization")),
        request,
        response,
    })
}

/// The length of the representation: the last number of Content-Range, or Content-Length.
fn whole_length(response: &Fields) -> Option<u64> {
    match response.first("content-range") {
        Some(range) => number(range.get(memchr::memrchr(b'/', range)? + 1..)?),
        None => number(response.first("content-length")?),
    }
}

/// An object of names and values, as a field section.
fn fields(raw: &RawValue) -> Result<Fields, &'static str> {
    let values: Vec<(Cow<'_, str>, Cow<'_, str>)> =
        serde_json::from_str::<Pairs<'_>>(raw.get()).map_err(|_| "its fields are no names and texts")?.0;
    let mut fields = Fields::new();
    for (name, value) in values {
        fields.push(name.as_bytes(), value.as_bytes()).map_err(|_| "its fields are none of HTTP")?;
    }
    Ok(fields)
}

/// A JSON object in its own order.
struct Pairs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(Text(name)) = map.next_key()? {
                    let Text(value) = map.next_value()?;
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// A text that is borrowed where it can be.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The words of larder's outcomes.
fn outcome(word: &str) -> Option<Outcome> {
    Some(match word {
        "hit" | "memory-hit" | "not-modified-hit" | "collapsed" => Outcome::Hit,
        "stale-hit" | "stale-on-error" => Outcome::Stale,
        "refresh-unmodified" => Outcome::Revalidated,
        "refresh-modified" => Outcome::Expired,
        "miss" | "client-refresh" | "only-if-cached" | "upstream-failure" => Outcome::Miss,
        "tunnel" | "opened" | "denied" | "local" | "invalid" => Outcome::Aside,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_version_are_read() {
        let old = concat!(
            r#"{"time":"2026-11-23T16:00:00.123Z","duration_ms":0.3,"client":"192.0.2.33","client_port":50000,"#,
            r#""method":"GET","url":"http://origin.example/pool/a.deb?x=1","version":"HTTP/1.1","status":200,"#,
            r#""bytes":1250,"body_bytes":1000,"outcome":"memory-hit","squid":"TCP_MEM_HIT","aborted":null,"#,
            r#""content_type":"text/html; charset=utf-8"}"#
        );
        let entry = parse(old.as_bytes()).unwrap();
        assert_eq!((entry.time.as_millis(), entry.status, entry.bytes), (1_795_449_600_123, 200, 1000));
        assert_eq!((entry.outcome, entry.aborted), (Some(Outcome::Hit), Some(false)));
        assert!(entry.request.is_none() && entry.response.is_none());
        let new = old.replace(
            r#""aborted":null"#,
            r##""aborted":"client","request_fields":{"range":"bytes=0-9","authorization":""},"response_fields":{"vary":"Cookie","content-range":"bytes 0-9/70"}"##,
        );
        let entry = parse(new.as_bytes()).unwrap();
        assert_eq!((entry.aborted, entry.length, entry.authorized), (Some(true), Some(70), Some(true)));
        assert_eq!(entry.response.unwrap().first("Vary"), Some(&b"Cookie"[..]));
    }

    #[test]
    fn what_is_no_line_is_refused() {
        let line = |time: &str, method: &str, more: &str| {
            format!(r#"{{"time":"{time}","method":"{method}","url":"http://a/","status":200{more}}}"#)
        };
        let time = "2026-11-23T16:00:00Z";
        assert!(parse(line(time, "GET", "").as_bytes()).is_ok());
        for wrong in [
            line("yesterday", "GET", ""),
            line(time, "G T", ""),
            line(time, "GET", r#","request_fields":[]"#),
            line(time, "GET", r#","request_fields":{"a b":"c"}"#),
            line(time, "GET", r#","response_fields":{"a":"b\r\nc"}"#),
            line(time, "GET", r#","response_fields":{"a":1}"#),
            line(time, "GET", r#","status":99999"#),
            "{}".to_owned(),
            "[".repeat(200_000),
        ] {
            assert!(parse(wrong.as_bytes()).is_err(), "{}", &wrong[..wrong.len().min(200)]);
        }
    }
}
