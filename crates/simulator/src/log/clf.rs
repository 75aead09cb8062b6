//! The Common and Combined Log Formats, and what nginx's cache status makes of them.
//!
//! A line is cut into words, `[...]` and `"..."`. The time is the first bracket that reads as one, the request the first
//! quotation after it that reads as one; status and bytes follow. The cache status is one of nginx's words (`HIT`, `MISS`,
//! `EXPIRED`, `STALE`, `UPDATING`, `REVALIDATED`, `BYPASS`), alone, quoted, or behind a name as in `cache=HIT` or
//! `cs:"HIT"`, and it is looked for
//!
//! - behind the user agent, among whatever else stands there: `... "agent" HIT`, `... "agent" "forwarded" 0.004 HIT`,
//! - between time and request: `... [time] "HIT" "GET / HTTP/1.1" ...`,
//! - before the time: `client - HIT [time] "GET / HTTP/1.1" ...`.
//!
//! Never in referer or user agent, which a client chooses. A word between time and request that is none of these is the
//! site (`$host` of nginx); a fourth word before the time is, in front, Apache's `%v:%p`.

use http::Method;
use larder_policy::{Scheme, TargetUri};

use super::text::{number, status, unescaped, unless_dash, url};
use super::{Entry, Outcome, moment};

/// Words of a line that are looked at; a line has a dozen.
const WORDS_MAX: usize = 64;

/// One word of a line, without what encloses it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word<'a> {
    Bare(&'a [u8]),
    Bracketed(&'a [u8]),
    /// With its escapes.
    Quoted(&'a [u8]),
}

impl<'a> Word<'a> {
    const fn text(self) -> &'a [u8] {
        match self {
            Self::Bare(text) | Self::Bracketed(text) | Self::Quoted(text) => text,
        }
    }

    fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Bracketed(_) => None,
            Self::Quoted(text) => outcome(text),
            Self::Bare(text) => {
                let value = match memchr::memchr2(b'=', b':', text) {
                    Some(place) => text.get(place + 1..).unwrap_or_default(),
                    None => text,
                };
                let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
                outcome(quoted.unwrap_or(value))
            }
        }
    }
}

/// The words of `$upstream_cache_status`.
fn outcome(word: &[u8]) -> Option<Outcome> {
    Some(match word {
        b"HIT" => Outcome::Hit,
        b"STALE" | b"UPDATING" => Outcome::Stale,
        b"REVALIDATED" => Outcome::Revalidated,
        b"EXPIRED" => Outcome::Expired,
        b"MISS" => Outcome::Miss,
        b"BYPASS" => Outcome::Bypass,
        _ => return None,
    })
}

/// What a line of the family is beyond the Common Log Format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    pub(super) has_agent: bool,
    pub(super) has_outcome: bool,
}

/// Reads a line.
pub(super) fn parse(line: &[u8]) -> Result<(Entry, Shape), &'static str> {
    let mut words: [Word<'_>; WORDS_MAX] = [Word::Bare(b""); WORDS_MAX];
    let count = split(line, &mut words);
    let words = words.get(..count).unwrap_or_default();
    let (at, time) = words
        .iter()
        .enumerate()
        .find_map(|(at, word)| match word {
            Word::Bracketed(text) => Some((at, moment::clf(text)?)),
            _ => None,
        })
        .ok_or("there is no [day/month/year:hour:minute:second zone]")?;
    let (before, after) = words.split_at(at);
    let after = after.get(1..).unwrap_or_default();
    let (at, (method, target)) = after
        .iter()
        .enumerate()
        .find_map(|(at, word)| match word {
            Word::Quoted(text) => Some((at, request(text)?)),
            _ => None,
        })
        .ok_or("there is no \"METHOD target HTTP/version\" after the time")?;
    let (between, rest) = after.split_at(at);
    let [_, status_word, bytes_word, tail @ ..] = rest else {
        return Err("status and bytes do not follow the request");
    };
    let status = status(status_word.text()).ok_or("what follows the request is no status")?;
    let bytes = match bytes_word.text() {
        b"-" => 0,
        digits => number(digits).ok_or("what follows the status is no number of bytes")?,
    };
    let (referer_and_agent, extra) = match tail {
        [Word::Quoted(_), Word::Quoted(_), extra @ ..] => (true, extra),
        extra => (false, extra),
    };
    let outcome = extra.iter().chain(between).chain(before).find_map(|word| word.outcome());
    let entry = Entry {
        time,
        duration: None,
        method,
        host: site(before, between).map(|host| url(host).to_ascii_lowercase()),
        url: target,
        status,
        bytes,
        counts_head: false,
        length: None,
        aborted: None,
        outcome,
        content_type: None,
        authorized: authorized(before),
        request: None,
        response: None,
    };
    Ok((entry, Shape { has_agent: referer_and_agent, has_outcome: outcome.is_some() }))
}

/// The site that a log of several names.
fn site<'a>(before: &[Word<'a>], between: &[Word<'a>]) -> Option<&'a [u8]> {
    let named = between.iter().find_map(|word| match word {
        Word::Bare(text) if word.outcome().is_none() => unless_dash(text).filter(|text| is_host(text)),
        _ => None,
    });
    named.or_else(|| match before {
        [Word::Bare(host), Word::Bare(_), Word::Bare(_), Word::Bare(_)] => {
            Some(*host).filter(|host| is_host(host))
        }
        _ => None,
    })
}

fn is_host(text: &[u8]) -> bool {
    TargetUri::from_parts(Scheme::Http, text, b"/").is_ok()
        && text.iter().any(u8::is_ascii_alphanumeric)
        && !text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

/// The user that the origin's own authentication has found: a dash for none. `None` where the place holds something else.
fn authorized(before: &[Word<'_>]) -> Option<bool> {
    let [.., _, user] = before else { return None };
    match user {
        Word::Bare(text) if user.outcome().is_none() => Some(unless_dash(text).is_some()),
        _ => None,
    }
}

/// `GET /path HTTP/1.1`: the method and the target, in which a careless client may have put spaces.
fn request(text: &[u8]) -> Option<(Method, String)> {
    let text = unescaped(text);
    let (method, rest) = text.split_at_checked(memchr::memchr(b' ', &text)?)?;
    let method = Method::from_bytes(method).ok().filter(|_| method.iter().all(u8::is_ascii_uppercase))?;
    let rest = rest.trim_ascii();
    let target = match memchr::memrchr(b' ', rest).and_then(|place| rest.split_at_checked(place)) {
        Some((target, version)) if version.trim_ascii().starts_with(b"HTTP/") => target.trim_ascii(),
        // HTTP/0.9 and its like have no version.
        _ => rest,
    };
    (!target.is_empty()).then(|| (method, url(target)))
}

/// Cuts a line into words, and says how many there are.
fn split<'a>(line: &'a [u8], into: &mut [Word<'a>; WORDS_MAX]) -> usize {
    let mut rest = line;
    let mut count = 0;
    for slot in into {
        rest = rest.trim_ascii_start();
        let Some((first, after)) = rest.split_first() else { break };
        let (word, tail) = match first {
            b'[' => enclosed(after, memchr::memchr(b']', after), Word::Bracketed),
            b'"' => enclosed(after, closing_quote(after), Word::Quoted),
            _ => {
                let end = memchr::memchr2(b' ', b'\t', rest).unwrap_or(rest.len());
                let (word, tail) = rest.split_at_checked(end).unwrap_or((rest, b""));
                (Word::Bare(word), tail)
            }
        };
        *slot = word;
        rest = tail;
        count += 1;
    }
    count
}

/// What stands before its closing sign, or all of it where that is missing.
fn enclosed<'a>(
    text: &'a [u8],
    end: Option<usize>,
    word: impl Fn(&'a [u8]) -> Word<'a>,
) -> (Word<'a>, &'a [u8]) {
    let end = end.unwrap_or(text.len());
    (word(text.get(..end).unwrap_or(text)), text.get(end + 1..).unwrap_or_default())
}

/// The first quotation mark that no backslash escapes. Apache before 2.0.46 and some appliances do not escape: then a mark
/// within the text is not followed by a space.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let place = from + memchr::memchr2(b'"', b'\\', text.get(from..)?)?;
        let next = text.get(place + 1);
        match text.get(place) {
            Some(b'\\') => from = place + 2,
            _ if next.is_none_or(|byte| byte.is_ascii_whitespace()) => return Some(place),
            _ => from = place + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (Entry, Shape) {
        parse(line.as_bytes()).unwrap_or_else(|why| panic!("{line}: {why}"))
    }

    #[test]
    fn common_and_combined_lines_are_told_apart() {
        let common = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a?b=c HTTP/1.1" 200 203023"#;
        let (entry, shape) = read(common);
        assert_eq!(
            (entry.method.as_str(), &*entry.url, entry.status, entry.bytes),
            ("GET", "/a?b=c", 200, 203_023)
        );
        assert_eq!((entry.time.as_secs(), entry.authorized, entry.host), (1_431_857_103, Some(false), None));
        assert_eq!(shape, Shape { has_agent: false, has_outcome: false });
        let (entry, shape) = read(&format!(r#"{common} "http://x/\"HIT\"" "Mozilla (\"HIT\") HIT""#));
        assert_eq!((entry.outcome, shape), (None, Shape { has_agent: true, has_outcome: false }));
    }

    #[test]
    fn the_cache_status_is_found_where_people_put_it() {
        let front = "192.0.2.1 - - [17/May/2015:10:05:03 +0000]";
        let request = r#""GET / HTTP/1.1" 200 5"#;
        let agents = r#""-" "curl/8""#;
        for (line, expected) in [
            (format!("{front} {request} {agents} HIT"), Outcome::Hit),
            (format!("{front} {request} {agents} \"MISS\""), Outcome::Miss),
            (format!("{front} {request} {agents} \"192.0.2.7\" 0.004 EXPIRED"), Outcome::Expired),
            (format!("{front} {request} {agents} rt=0.004 cs=REVALIDATED"), Outcome::Revalidated),
            (format!("{front} {request} {agents} cache:\"UPDATING\""), Outcome::Stale),
            (format!("{front} \"BYPASS\" {request} {agents}"), Outcome::Bypass),
            (format!("192.0.2.1 - STALE [17/May/2015:10:05:03 +0000] {request} {agents}"), Outcome::Stale),
            (
                format!(
                    "192.0.2.1 0.120 HIT [17/May/2015:10:05:03 +0000] www.example.com {request} {agents}"
                ),
                Outcome::Hit,
            ),
        ] {
            let (entry, shape) = read(&line);
            assert_eq!((entry.outcome, shape.has_outcome), (Some(expected), true), "{line}");
        }
        let (entry, shape) = read(&format!("{front} {request} {agents} -"));
        assert_eq!((entry.outcome, shape.has_outcome), (None, false));
    }

    #[test]
    fn the_site_is_taken_from_where_logs_of_several_have_it() {
        let rest = r#"- bob [17/May/2015:10:05:03 +0000] "GET /x HTTP/1.1" 200 5"#;
        let (entry, _) = read(&format!("WWW.example.com:443 192.0.2.1 {rest}"));
        assert_eq!((entry.host.as_deref(), entry.authorized), (Some("www.example.com:443"), Some(true)));
        assert_eq!(entry.target("other").unwrap().as_str(), "http://www.example.com:443/x");
        let (entry, _) =
            read(r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] example.net "GET /x HTTP/1.1" 200 5"#);
        assert_eq!(entry.target("other").unwrap().as_str(), "http://example.net/x");
        let (entry, _) = read(&format!("192.0.2.1 {rest}"));
        assert_eq!(entry.target("other").unwrap().as_str(), "http://other/x");
    }

    #[test]
    fn odd_requests_are_read_and_what_is_none_is_refused() {
        let line = |request: &str| format!("h - - [17/May/2015:10:05:03 +0000] \"{request}\" 200 -");
        for (request, method, url) in [
            ("GET /a b HTTP/1.1", "GET", "/a%20b"),
            ("GET /", "GET", "/"),
            (r"GET /\xc3\xa9\x00 HTTP/1.0", "GET", "/%C3%A9%00"),
            (r#"GET /\"x\" HTTP/1.1"#, "GET", "/\"x\""),
            (r#"GET /"x"y HTTP/1.1"#, "GET", "/\"x\"y"),
            ("PURGE http://h.example/x HTTP/1.1", "PURGE", "http://h.example/x"),
        ] {
            let (entry, _) = read(&line(request));
            assert_eq!((entry.method.as_str(), &*entry.url, entry.bytes), (method, url, 0), "{request}");
        }
        for request in ["-", "", r"\x16\x03\x01", "get / HTTP/1.1", "GET"] {
            assert!(parse(line(request).as_bytes()).is_err(), "{request}");
        }
        assert!(parse(b"h - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" abc 5").is_err());
        assert!(parse(b"h - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200").is_err());
        assert!(parse(b"h - - [not a time] \"GET / HTTP/1.1\" 200 5").is_err());
    }
}
