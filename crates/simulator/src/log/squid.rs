//! Squid's native log: `time.ms duration client code/status bytes method URL user hierarchy/peer type`.
//!
//! The time is that of the end. The bytes are those sent, head included. With `log_mime_hdrs on` two more words follow,
//! `[...]` each: the fields of request and reply, percent-encoded. They tell all that a cache goes by.

use std::time::Duration;

use http::Method;
use larder_policy::{Fields, Timestamp};

use super::text::{number, percent_decoded, status, unless_dash, url};
use super::{Entry, Outcome, moment};

/// Reads a line.
pub(super) fn parse(line: &[u8]) -> Result<Entry, &'static str> {
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let mut next = || words.next().ok_or("there are fewer words than a line of Squid's has");
    let ended =
        std::str::from_utf8(next()?).ok().and_then(moment::epoch).ok_or("the first word is no time")?;
    let duration = next()?;
    // Squid writes -1 for a transaction of which it has lost the start.
    let duration =
        number(duration.strip_prefix(b"-").unwrap_or(duration)).ok_or("the second word is no duration")?;
    let duration = Duration::from_millis(duration.min(u64::from(u32::MAX)));
    let _client = next()?;
    let result = next()?;
    let slash = memchr::memrchr(b'/', result).ok_or("the fourth word is not code/status")?;
    let (code, sent) = result.split_at_checked(slash).ok_or("the fourth word is not code/status")?;
    let status =
        status(sent.strip_prefix(b"/").unwrap_or(sent)).ok_or("the fourth word is not code/status")?;
    let bytes = next()?;
    let bytes =
        number(bytes.strip_prefix(b"-").unwrap_or(bytes)).ok_or("the fifth word is no number of bytes")?;
    let method = Method::from_bytes(next()?).map_err(|_| "the sixth word is no method")?;
    let target = url(next()?);
    let user = next()?;
    let _hierarchy = next()?;
    let content_type = words.next().and_then(unless_dash).map(url);
    let (request, response) = heads(line);
    Ok(Entry {
        time: Timestamp::from_millis(
            ended.as_millis().saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        ),
        duration: Some(duration),
        method,
        url: target,
        host: None,
        status,
        bytes,
        counts_head: true,
        length: response.as_ref().and_then(|fields| number(fields.first("content-length")?)),
        aborted: Some(code.ends_with(b"_ABORTED") || code.ends_with(b"_TIMEDOUT")),
        outcome: outcome(code),
        content_type,
        authorized: match &request {
            Some(request) => Some(request.contains("authorization")),
            // The user is the proxy's own, which says nothing of the origin.
            None => unless_dash(user).and(None),
        },
        request,
        response,
    })
}

/// What a result code says, whatever its suffixes.
fn outcome(code: &[u8]) -> Option<Outcome> {
    let has = |part: &[u8]| memchr::memmem::find(code, part).is_some();
    Some(
        if has(b"DENIED")
            || has(b"TUNNEL")
            || has(b"REDIRECT")
            || code.starts_with(b"NONE")
            || code.starts_with(b"UDP_")
        {
            Outcome::Aside
        } else if has(b"REFRESH_UNMODIFIED") || has(b"REFRESH_HIT") {
            Outcome::Revalidated
        } else if has(b"CLIENT_REFRESH") {
            Outcome::Miss
        } else if has(b"REFRESH_MODIFIED")
            || has(b"REFRESH_MISS")
            || has(b"REFRESH_FAIL_ERR")
            || has(b"REF_FAIL_ERR")
        {
            Outcome::Expired
        } else if has(b"REFRESH_FAIL") || has(b"REF_FAIL_HIT") || has(b"STALE_HIT") || has(b"OFFLINE_HIT") {
            Outcome::Stale
        } else if has(b"MISS") {
            Outcome::Miss
        } else if has(b"HIT") {
            Outcome::Hit
        } else {
            return None;
        },
    )
}

/// The two heads of `log_mime_hdrs on`, from the end: a URL may have brackets of its own.
fn heads(line: &[u8]) -> (Option<Fields>, Option<Fields>) {
    let Some(inner) = line.trim_ascii_end().strip_suffix(b"]") else { return (None, None) };
    let Some(between) = memchr::memmem::rfind(inner, b"] [") else { return (None, None) };
    let (request, reply) = (inner.get(..between), inner.get(between + 3..));
    let start = request.and_then(|request| memchr::memmem::rfind(request, b" ["));
    let request = request.zip(start).and_then(|(request, start)| request.get(start + 2..));
    match (request, reply) {
        (Some(request), Some(reply)) => (Some(fields(request)), Some(fields(reply))),
        _ => (None, None),
    }
}

/// The lines of an encoded head; what is no field line is left out.
fn fields(encoded: &[u8]) -> Fields {
    let mut fields = Fields::new();
    for line in percent_decoded(encoded).split(|byte| matches!(byte, b'\r' | b'\n')) {
        if let Some((name, value)) = memchr::memchr(b':', line).and_then(|colon| line.split_at_checked(colon))
        {
            // Squid marks folded and odd lines in ways of its own: they are no fields.
            let _ = fields.push(name, value.strip_prefix(b":").unwrap_or(value));
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_squid_writes_them() {
        let entry = parse(
            b"1795449600.143     20 192.0.2.33 TCP_MISS/200 3250 GET http://origin.example/pool/a.deb?x=1 - HIER_DIRECT/198.51.100.7 text/html",
        )
        .unwrap();
        assert_eq!(
            (entry.time.as_millis(), entry.duration),
            (1_795_449_600_123, Some(Duration::from_millis(20)))
        );
        assert_eq!((entry.status, entry.bytes, entry.counts_head), (200, 3250, true));
        assert_eq!(
            (&*entry.url, entry.content_type.as_deref()),
            ("http://origin.example/pool/a.deb?x=1", Some("text/html"))
        );
        assert_eq!(
            (entry.outcome, entry.aborted, entry.authorized),
            (Some(Outcome::Miss), Some(false), None)
        );
        assert!(entry.request.is_none() && entry.response.is_none());
    }

    #[test]
    fn codes_of_old_and_new_versions_are_known() {
        for (code, expected) in [
            ("TCP_HIT", Some(Outcome::Hit)),
            ("TCP_MEM_HIT_ABORTED", Some(Outcome::Hit)),
            ("TCP_IMS_HIT", Some(Outcome::Hit)),
            ("TCP_CF_HIT", Some(Outcome::Hit)),
            ("TCP_REFRESH_UNMODIFIED", Some(Outcome::Revalidated)),
            ("TCP_CF_REFRESH_UNMODIFIED", Some(Outcome::Revalidated)),
            ("TCP_REFRESH_HIT", Some(Outcome::Revalidated)),
            ("TCP_REFRESH_MODIFIED", Some(Outcome::Expired)),
            ("TCP_REFRESH_FAIL_OLD", Some(Outcome::Stale)),
            ("TCP_REFRESH_FAIL_ERR", Some(Outcome::Expired)),
            ("TCP_STALE_HIT", Some(Outcome::Stale)),
            ("TCP_CLIENT_REFRESH_MISS", Some(Outcome::Miss)),
            ("TCP_SWAPFAIL_MISS", Some(Outcome::Miss)),
            ("TCP_TUNNEL", Some(Outcome::Aside)),
            ("TCP_DENIED", Some(Outcome::Aside)),
            ("NONE_NONE", Some(Outcome::Aside)),
            ("TCP_SOMETHING", None),
        ] {
            assert_eq!(outcome(code.as_bytes()), expected, "{code}");
        }
    }

    #[test]
    fn logged_heads_are_taken_apart() {
        let entry = parse(
            b"1795449600.143 20 c TCP_MISS/200 3250 GET http://o.example/x[1] [2] - HIER_DIRECT/- text/html [Host:%20o.example%0D%0AAuthorization:%20Basic%20eA==%0D%0A] [HTTP/1.1%20200%20OK%0D%0ACache-Control:%20max-age=60%0D%0AContent-Length:%203000%0D%0A%0D]",
        );
        // A URL never has a space: the line has a word too many, which is its own fault and not a panic.
        assert!(entry.is_ok());
        let entry = parse(
            b"1795449600.143 20 c TCP_MISS/200 3250 GET http://o.example/x[1] - HIER_DIRECT/- text/html [Host:%20o.example%0D%0AAuthorization:%20Basic%20eA==%0D%0A] [HTTP/1.1%20200%20OK%0D%0ACache-Control:%20max-age=60%0D%0AContent-Length:%203000%0D%0A%0D]",
        )
        .unwrap();
        let (request, response) = (entry.request.unwrap(), entry.response.unwrap());
        assert_eq!((request.first("host"), entry.authorized), (Some(&b"o.example"[..]), Some(true)));
        assert_eq!((response.first("cache-control"), entry.length), (Some(&b"max-age=60"[..]), Some(3000)));
    }

    #[test]
    fn what_is_no_line_of_squids_says_what_is_wrong() {
        for (line, why) in [
            ("", "there are fewer words than a line of Squid's has"),
            ("x 1 c TCP_HIT/200 1 GET / - - -", "the first word is no time"),
            ("1.0 x c TCP_HIT/200 1 GET / - - -", "the second word is no duration"),
            ("1.0 1 c TCP_HIT 1 GET / - - -", "the fourth word is not code/status"),
            ("1.0 1 c TCP_HIT/2 1 GET / - - -", "the fourth word is not code/status"),
            ("1.0 1 c TCP_HIT/200 x GET / - - -", "the fifth word is no number of bytes"),
            ("1.0 1 c TCP_HIT/200 1 G(T / - - -", "the sixth word is no method"),
        ] {
            assert_eq!(parse(line.as_bytes()).map(|_| ()), Err(why), "{line}");
        }
    }
}
