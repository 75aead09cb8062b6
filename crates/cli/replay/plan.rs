//! What is asked of the proxy for each line of the log, and what the stub answers when it is asked on.
//!
//! Time runs faster than in the log, and so do lifetimes: seconds in Cache-Control and Age, and the distances of Expires and
//! Last-Modified from Date, are divided by the speed. A lifetime that there was does not become zero.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU8, Ordering};

use http::{Method, StatusCode};
use larder_policy::{Fields, HttpDate, PolicySettings, TargetUri, Timestamp, list_members, parse_http_date};
use larder_simulator::http::{Answer, Assumptions, ETag, asked};
use larder_simulator::log::{Entry, Outcome};

/// How far a request has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Reached {
    /// The origin has not heard of it.
    Nothing,
    /// The origin said 304.
    Validated,
    /// The origin sent its answer.
    Answered,
}

/// One request of the log.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) method: Method,
    pub(super) target: TargetUri,
    /// Of the request.
    pub(super) asked: Fields,
    /// What the origin answers: status, fields in the log's own time, version, whole size.
    pub(super) status: StatusCode,
    pub(super) told: Fields,
    pub(super) etag: Option<String>,
    pub(super) size: u64,
    /// What bodies are made from: target and version.
    pub(super) seed: u64,
    /// The log's time.
    pub(super) at: Timestamp,
    reached: AtomicU8,
}

impl Planned {
    /// The origin has heard of it.
    pub(super) fn reach(&self, reached: Reached) {
        self.reached.fetch_max(reached as u8, Ordering::Relaxed);
    }

    pub(super) fn reached(&self) -> Reached {
        match self.reached.load(Ordering::Relaxed) {
            0 => Reached::Nothing,
            1 => Reached::Validated,
            _ => Reached::Answered,
        }
    }
}

/// Makes plans, line by line. Remembers version and size of each representation, 48 bytes or so.
#[derive(Debug)]
pub(super) struct Planner {
    assumptions: Assumptions,
    policy: PolicySettings,
    known: HashMap<u64, (u64, u64)>,
}

impl Planner {
    pub(super) fn new(assumptions: Assumptions, policy: PolicySettings) -> Self {
        Self { assumptions, policy, known: HashMap::new() }
    }

    /// What to ask for a line; none for what is not asked again: tunnels, refusals, lines without an answer.
    pub(super) fn plan(&mut self, entry: &Entry, now: Timestamp) -> Option<Planned> {
        if entry.outcome == Some(Outcome::Aside)
            || StatusCode::from_u16(entry.status).is_err()
            || entry.status < 200
        {
            return None;
        }
        let target = entry.target(&self.assumptions.site)?;
        let answer = Answer::of(entry, &self.assumptions, &self.policy, now);
        let name = hash(target.as_str());
        let known = self.known.get(&name).copied();
        let version = answer.version.or(known.map(|(version, _)| version)).unwrap_or_default();
        let size = match known {
            Some((_, size)) if !answer.whole => size,
            _ => answer.size,
        };
        if answer.whole && matches!(entry.status, 200 | 203) {
            self.known.insert(name, (version, size));
        }
        let mut told = answer.fields;
        told.remove("etag");
        let etag = answer.etag.value(version);
        if let Some(etag) = &etag {
            let _ = told.push("ETag", etag.as_bytes());
        }
        let mut asked = asked(entry);
        fit_conditions(&mut asked, entry.status, answer.etag, &told);
        Some(Planned {
            method: entry.method.clone(),
            target,
            asked,
            status: answer.status,
            told,
            etag,
            size,
            seed: name ^ version,
            at: now,
            reached: AtomicU8::new(0),
        })
    }
}

/// Conditions that held in the log hold again, with the validators that the stub has.
fn fit_conditions(asked: &mut Fields, status: u16, etag: ETag, told: &Fields) {
    if status != 304 {
        return;
    }
    asked.retain(|name, _| {
        !(name.eq_ignore_ascii_case("if-none-match") || name.eq_ignore_ascii_case("if-modified-since"))
    });
    let condition = match (etag, told.first("etag"), told.first("last-modified")) {
        (ETag::Strong | ETag::Weak, Some(tag), _) => Some(("If-None-Match", tag)),
        (_, _, Some(modified)) => Some(("If-Modified-Since", modified)),
        _ => None,
    };
    if let Some((name, value)) = condition {
        let _ = asked.push(name, value);
    }
}

/// The fields of an answer now, of which the log has those at `then`, in a time that runs faster.
pub(super) fn in_real_time(told: &Fields, then: Timestamp, now: Timestamp, speed: f64) -> Fields {
    let mut out = told.clone();
    let date = told.first("date").and_then(|value| parse_http_date(value, then)).unwrap_or(then);
    let _ = out.set("Date", HttpDate(now).to_string().as_bytes());
    for (name, sign) in [("expires", 1), ("last-modified", -1)] {
        let Some(other) = told.first(name).and_then(|value| parse_http_date(value, then)) else { continue };
        let distance = (other.as_millis().saturating_sub(date.as_millis())) as f64 / 1000.0;
        let seconds = if distance * f64::from(sign) > 0.0 { scaled(distance.abs(), speed) } else { 0 };
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX).min(now.as_secs().max(0));
        let moved = Timestamp::from_secs(now.as_secs().saturating_add(i64::from(sign) * seconds));
        let _ = out.set(name, HttpDate(moved).to_string().as_bytes());
    }
    if let Some(age) = told.first("age").and_then(|age| std::str::from_utf8(age).ok()?.parse::<u32>().ok()) {
        // Ages round down: what is as good as new has none.
        let _ = out.set("Age", ((f64::from(age) / speed) as u64).to_string().as_bytes());
    }
    for name in ["cache-control", "cdn-cache-control"] {
        if told.contains(name) {
            let members: Vec<String> =
                list_members(told.all(name)).map(|member| directive(member, speed)).collect();
            let _ = out.set(name, members.join(", ").as_bytes());
        }
    }
    out
}

/// A directive whose argument is seconds, in faster ones.
fn directive(member: &[u8], speed: f64) -> String {
    let text = String::from_utf8_lossy(member).into_owned();
    let Some((name, value)) = text.split_once('=') else { return text };
    match value.trim_matches('"').parse::<u32>() {
        Ok(seconds) => format!("{name}={}", scaled(f64::from(seconds), speed)),
        Err(_) => text,
    }
}

/// Seconds at another speed: nearest, and not nothing where there was something.
fn scaled(seconds: f64, speed: f64) -> u64 {
    let faster = (seconds / speed).round() as u64;
    if seconds > 0.0 { faster.max(1) } else { 0 }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use larder_simulator::log::{Format, Log};

    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.push(name, value.as_bytes()).unwrap();
        }
        fields
    }

    #[test]
    fn lifetimes_shrink_with_the_speed_and_do_not_vanish() {
        let told = fields(&[
            ("Date", "Thu, 01 Jan 2015 00:00:00 GMT"),
            ("Expires", "Thu, 01 Jan 2015 01:00:00 GMT"),
            ("Last-Modified", "Wed, 31 Dec 2014 00:00:00 GMT"),
            ("Cache-Control", "public, max-age=3600, s-maxage=\"5\", no-cache=\"x\""),
            ("Age", "19"),
        ]);
        let then = Timestamp::from_secs(1_420_070_400);
        let now = Timestamp::from_secs(1_767_225_600);
        assert_eq!(
            in_real_time(&told, then, now, 10.0),
            fields(&[
                ("Date", "Thu, 01 Jan 2026 00:00:00 GMT"),
                ("Expires", "Thu, 01 Jan 2026 00:06:00 GMT"),
                ("Last-Modified", "Wed, 31 Dec 2025 21:36:00 GMT"),
                ("Cache-Control", "public, max-age=360, s-maxage=1, no-cache=\"x\""),
                ("Age", "1"),
            ])
        );
    }

    #[test]
    fn a_304_is_asked_for_with_the_validator_of_what_came_before() {
        let line = |status: u16, bytes: u64| {
            format!("h - - [17/May/2015:10:05:03 +0000] \"GET /a HTTP/1.1\" {status} {bytes}\n")
        };
        let text = [line(200, 70), line(304, 0), line(206, 7), line(500, 3)].concat();
        let mut planner = Planner::new(Assumptions::default(), PolicySettings::default());
        let plans: Vec<_> = Log::new(text.as_bytes(), Format::Common)
            .map(|entry| {
                let entry = entry.unwrap();
                planner.plan(&entry, entry.time).unwrap()
            })
            .collect();
        let [whole, unmodified, part, error] = &plans[..] else { panic!("{plans:?}") };
        assert_eq!((unmodified.size, unmodified.seed, &unmodified.etag), (70, whole.seed, &whole.etag));
        assert_eq!(unmodified.asked.first("if-none-match"), whole.etag.as_deref().map(str::as_bytes));
        assert_eq!((part.size, part.asked.first("range")), (70, Some(&b"bytes=0-6"[..])));
        assert_eq!((error.size, error.status.as_u16()), (3, 500));
    }
}
