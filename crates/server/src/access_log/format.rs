//! A transaction as a line of the access log.
//!
//! A line is printable ASCII: whatever a client or an origin wrote into a URL or a field is
//! escaped, so that nobody can forge a line, a field of a line, or a terminal's command.
//!
//! # Squid's native format
//!
//! `%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt`: the time at which the transaction
//! ended, its duration in milliseconds, client, result code and status (`000` when none was sent),
//! bytes sent, method, URL, user (always `-`), hierarchy code and next hop, media type. The URL keeps
//! its query.
//!
//! | outcome | result code | |
//! | --- | --- | --- |
//! | hit | `TCP_HIT` | |
//! | memory hit | `TCP_MEM_HIT` | |
//! | not modified hit | `TCP_IMS_HIT` | also for `If-None-Match`: `TCP_INM_HIT` is newer than many a reader of logs |
//! | collapsed | `TCP_CF_HIT` | no content was fetched for this request |
//! | stale hit | `TCP_STALE_HIT` | |
//! | stale on error | `TCP_REFRESH_FAIL_OLD` | |
//! | miss | `TCP_MISS` | |
//! | refresh, unmodified | `TCP_REFRESH_UNMODIFIED` | |
//! | refresh, modified | `TCP_REFRESH_MODIFIED` | |
//! | client refresh | `TCP_CLIENT_REFRESH_MISS` | |
//! | tunnel | `TCP_TUNNEL` | |
//! | denied | `TCP_DENIED` | |
//! | only if cached | `TCP_MISS` | with 504 and no next hop, as Squid does |
//! | local, invalid | `NONE_NONE` | |
//! | upstream failure | `TCP_MISS`, `TCP_REFRESH_FAIL_ERR` | the latter when something stale was stored |
//!
//! `_ABORTED` follows when the transfer broke off on either side. The next hop is `HIER_NONE/-`,
//! `HIER_DIRECT/address` or `FIRSTUP_PARENT/address`. Not used: `TCP_SWAPFAIL_MISS` (a stored response
//! that cannot be read is a miss here, and the store counts it), `TCP_OFFLINE_HIT`, `TCP_NEGATIVE_HIT`,
//! `TCP_REDIRECT`, `TCP_DENIED_REPLY`.
//!
//! # Common and Combined
//!
//! `%h - - [%t] "%r" %>s %b`, and `"%{Referer}i" "%{User-Agent}i"` after it for Combined, as Apache has
//! them: the time at which the request began, in UTC; content bytes without heads, `-` for none; `"` and `\`
//! after a backslash, other bytes outside printable ASCII as `\xHH`.
//!
//! # JSON
//!
//! See [`json`].

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use larder_policy::ForwardReason;

use super::json;
use super::moment::Clf;
use crate::config::AccessLogFormat;
use crate::transaction::{Ending, NextHop, Outcome, Transaction};

/// Appends the transaction's line, its line feed included. Writing to a `String` cannot fail, so results of
/// `write!` are dropped.
pub(super) fn append_line(line: &mut String, format: AccessLogFormat, transaction: &Transaction<'_>) {
    match format {
        AccessLogFormat::Squid => append_squid(line, transaction),
        AccessLogFormat::Common => append_common(line, transaction),
        AccessLogFormat::Combined => {
            append_common(line, transaction);
            for field in [&transaction.referer, &transaction.user_agent] {
                line.push_str(" \"");
                push_quoted(line, or_dash(field.as_deref().unwrap_or_default()));
                line.push('"');
            }
        }
        AccessLogFormat::Json => json::append(line, transaction),
    }
    line.push('\n');
}

fn append_squid(line: &mut String, transaction: &Transaction<'_>) {
    let ended = transaction.started.saturating_add(transaction.duration).as_millis();
    let _ = write!(
        line,
        "{}.{:03} {:6} {} {}/{:03} {} ",
        ended.div_euclid(1000),
        ended.rem_euclid(1000),
        transaction.duration.as_millis(),
        address(transaction.client),
        ResultCode(transaction),
        transaction.status,
        transaction.bytes_sent,
    );
    push_word(line, &transaction.method);
    line.push(' ');
    push_word(line, &transaction.target);
    let _ = match transaction.next_hop {
        NextHop::None => write!(line, " - HIER_NONE/- "),
        NextHop::Origin(origin) => write!(line, " - HIER_DIRECT/{} ", address(origin)),
        NextHop::Parent(parent) => write!(line, " - FIRSTUP_PARENT/{} ", address(parent)),
    };
    let media_type = transaction.content_type.as_deref().unwrap_or_default();
    push_word(line, media_type.split([';', ' ', '\t']).next().unwrap_or_default());
}

/// Squid's result code, shown with its suffix.
pub(super) struct ResultCode<'a>(pub(super) &'a Transaction<'a>);

impl fmt::Display for ResultCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(result_code(self.0))?;
        match self.0.ending {
            Ending::Complete => Ok(()),
            Ending::ClientAborted | Ending::OriginAborted => f.write_str("_ABORTED"),
        }
    }
}

fn result_code(transaction: &Transaction<'_>) -> &'static str {
    match transaction.outcome {
        Outcome::Hit => "TCP_HIT",
        Outcome::MemoryHit => "TCP_MEM_HIT",
        Outcome::NotModifiedHit => "TCP_IMS_HIT",
        Outcome::Collapsed => "TCP_CF_HIT",
        Outcome::StaleHit => "TCP_STALE_HIT",
        Outcome::StaleOnError => "TCP_REFRESH_FAIL_OLD",
        Outcome::Miss | Outcome::OnlyIfCached => "TCP_MISS",
        Outcome::RefreshUnmodified => "TCP_REFRESH_UNMODIFIED",
        Outcome::RefreshModified => "TCP_REFRESH_MODIFIED",
        Outcome::ClientRefresh => "TCP_CLIENT_REFRESH_MISS",
        Outcome::Tunnel => "TCP_TUNNEL",
        Outcome::Denied => "TCP_DENIED",
        Outcome::Opened | Outcome::Local | Outcome::Invalid => "NONE_NONE",
        Outcome::UpstreamFailure if transaction.forwarded == Some(ForwardReason::Stale) => {
            "TCP_REFRESH_FAIL_ERR"
        }
        Outcome::UpstreamFailure => "TCP_MISS",
    }
}

fn append_common(line: &mut String, transaction: &Transaction<'_>) {
    let _ = write!(line, "{} - - [{}] \"", address(transaction.client), Clf(transaction.started));
    push_quoted_word(line, &transaction.method);
    line.push(' ');
    push_quoted_word(line, &transaction.target);
    let _ = write!(line, " {}\" ", transaction.version);
    let _ = match transaction.status {
        0 => write!(line, "- "),
        status => write!(line, "{status:03} "),
    };
    let _ = match transaction.body_sent {
        0 => write!(line, "-"),
        bytes => write!(line, "{bytes}"),
    };
}

/// The address without port, an IPv4 client of an IPv6 socket as IPv4.
pub(super) fn address(socket: SocketAddr) -> IpAddr {
    socket.ip().to_canonical()
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// A word between spaces: what is not visible ASCII is percent-encoded.
fn push_word(line: &mut String, text: &str) {
    for byte in or_dash(text).bytes() {
        if byte.is_ascii_graphic() {
            line.push(char::from(byte));
        } else {
            let _ = write!(line, "%{byte:02X}");
        }
    }
}

/// A word of a request line between quotation marks.
fn push_quoted_word(line: &mut String, text: &str) {
    for byte in or_dash(text).bytes() {
        match byte {
            b'"' | b'\\' => line.extend(['\\', char::from(byte)]),
            _ if byte.is_ascii_graphic() => line.push(char::from(byte)),
            _ => _ = write!(line, "%{byte:02X}"),
        }
    }
}

/// Text between quotation marks.
fn push_quoted(line: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => line.extend(['\\', char::from(byte)]),
            b' '..=b'~' => line.push(char::from(byte)),
            _ => _ = write!(line, "\\x{byte:02x}"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::tests::{miss, transaction};

    pub(in crate::access_log) fn line(format: AccessLogFormat, transaction: &Transaction<'_>) -> String {
        let mut line = String::new();
        append_line(&mut line, format, transaction);
        line
    }

    /// Everything that a peer can choose is hostile.
    pub(in crate::access_log) fn hostile() -> Transaction<'static> {
        let text = "a\r\nGET / \"x\\y\" \u{1b}[31m\u{7f}\u{85}\u{2028}\u{202e}é";
        Transaction {
            method: "GE\tT\"".into(),
            target: format!("http://h.example/{text}").into(),
            detail: Some(text.into()),
            content_type: Some(text.into()),
            referer: Some(text.into()),
            user_agent: Some(text.into()),
            ..transaction()
        }
    }

    #[test]
    fn squid_lines_are_as_squid_writes_them() {
        let tunnel = Transaction {
            client: "[2001:db8::5]:50000".parse().unwrap(),
            method: "CONNECT".into(),
            target: "origin.example:443".into(),
            outcome: Outcome::Tunnel,
            duration: Duration::from_secs(3_600),
            next_hop: NextHop::Parent("[2001:db8::9]:3128".parse().unwrap()),
            content_type: None,
            ..transaction()
        };
        let invalid = Transaction {
            client: "[::ffff:192.0.2.33]:50000".parse().unwrap(),
            method: "NONE".into(),
            target: "error:invalid-request".into(),
            outcome: Outcome::Invalid,
            status: 400,
            ..transaction()
        };
        let aborted = Transaction {
            ending: Ending::ClientAborted,
            status: 0,
            bytes_sent: 0,
            content_type: None,
            ..miss()
        };
        for (transaction, expected) in [
            (
                transaction(),
                "1795449600.123      0 192.0.2.33 TCP_MEM_HIT/200 1250 GET http://origin.example/pool/a.deb?x=1 - HIER_NONE/- text/html\n",
            ),
            (
                miss(),
                "1795449600.143     20 192.0.2.33 TCP_MISS/200 3250 GET http://origin.example/pool/a.deb?x=1 - HIER_DIRECT/198.51.100.7 text/html\n",
            ),
            (
                tunnel,
                "1795453200.123 3600000 2001:db8::5 TCP_TUNNEL/200 1250 CONNECT origin.example:443 - FIRSTUP_PARENT/2001:db8::9 -\n",
            ),
            (
                invalid,
                "1795449600.123      0 192.0.2.33 NONE_NONE/400 1250 NONE error:invalid-request - HIER_NONE/- text/html\n",
            ),
            (
                aborted,
                "1795449600.143     20 192.0.2.33 TCP_MISS_ABORTED/000 0 GET http://origin.example/pool/a.deb?x=1 - HIER_DIRECT/198.51.100.7 -\n",
            ),
        ] {
            assert_eq!(line(AccessLogFormat::Squid, &transaction), expected);
        }
    }

    #[test]
    fn common_lines_are_as_apache_writes_them() {
        assert_eq!(
            line(AccessLogFormat::Common, &transaction()),
            "192.0.2.33 - - [23/Nov/2026:16:00:00 +0000] \"GET http://origin.example/pool/a.deb?x=1 HTTP/1.1\" 200 1000\n"
        );
        assert_eq!(
            line(AccessLogFormat::Common, &Transaction { status: 0, body_sent: 0, ..transaction() }),
            "192.0.2.33 - - [23/Nov/2026:16:00:00 +0000] \"GET http://origin.example/pool/a.deb?x=1 HTTP/1.1\" - -\n"
        );
    }

    #[test]
    fn combined_adds_referer_and_user_agent() {
        let transaction =
            Transaction { user_agent: Some("Debian APT-HTTP/1.3 (2.6.1)".into()), ..transaction() };
        assert_eq!(
            line(AccessLogFormat::Combined, &transaction),
            "192.0.2.33 - - [23/Nov/2026:16:00:00 +0000] \"GET http://origin.example/pool/a.deb?x=1 HTTP/1.1\" 200 1000 \"-\" \"Debian APT-HTTP/1.3 (2.6.1)\"\n"
        );
    }

    #[test]
    fn hostile_text_is_escaped_as_each_format_does() {
        let squid = line(AccessLogFormat::Squid, &hostile());
        assert_eq!(
            squid,
            "1795449600.123      0 192.0.2.33 TCP_MEM_HIT/200 1250 GE%09T\" http://h.example/a%0D%0AGET%20/%20\"x\\y\"%20%1B[31m%7F%C2%85%E2%80%A8%E2%80%AE%C3%A9 - HIER_NONE/- a%0D%0AGET\n"
        );
        assert_eq!(squid.split_whitespace().count(), 10);
        let combined = line(AccessLogFormat::Combined, &hostile());
        assert!(
            combined.contains("\"GE%09T\\\" http://h.example/a%0D%0AGET%20/%20\\\"x\\\\y\\\"%20%1B"),
            "{combined}"
        );
        assert!(combined.ends_with(
            " \"a\\x0d\\x0aGET / \\\"x\\\\y\\\" \\x1b[31m\\x7f\\xc2\\x85\\xe2\\x80\\xa8\\xe2\\x80\\xae\\xc3\\xa9\"\n"
        ));
    }

    #[test]
    fn no_peer_can_put_anything_but_printable_ascii_into_a_line() {
        for format in [
            AccessLogFormat::Squid,
            AccessLogFormat::Common,
            AccessLogFormat::Combined,
            AccessLogFormat::Json,
        ] {
            let line = line(format, &hostile());
            let (text, end) = line.split_at(line.len() - 1);
            assert_eq!(end, "\n");
            assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{format:?}: {text}");
        }
    }

    #[test]
    fn every_outcome_has_a_code_that_readers_of_squid_logs_know() {
        let transaction =
            |outcome| Transaction { outcome, forwarded: Some(ForwardReason::UriMiss), ..transaction() };
        for outcome in Outcome::ALL {
            let code = result_code(&transaction(outcome));
            assert!(code.starts_with("TCP_") || code == "NONE_NONE", "{code}");
            let counts_as_hit =
                code.ends_with("_HIT") || matches!(code, "TCP_REFRESH_UNMODIFIED" | "TCP_REFRESH_FAIL_OLD");
            assert_eq!(counts_as_hit, outcome.result() == crate::metrics::CacheResult::Hit, "{code}");
        }
        let failed =
            Transaction { forwarded: Some(ForwardReason::Stale), ..transaction(Outcome::UpstreamFailure) };
        assert_eq!(result_code(&failed), "TCP_REFRESH_FAIL_ERR");
    }
}
