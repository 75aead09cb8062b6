//! The simulator says of each request of a log what the server does with it.
//!
//! A server writes a log of requests of many kinds; then that log is replayed through another server, with other rules, whose
//! origin answers as the log tells. Both times the simulation of the log must come to the same verdict as the server, request
//! by request.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use larder_policy::{
    Action, DeltaSeconds, Fields, HttpDate, Override, Overrides, PathPattern, PolicySettings, Timestamp,
    parse_http_date,
};
use larder_server::config::{AccessLogFormat, AccessLogSettings, AccessLogTarget};
use larder_simulator::http::{Answer, Assumptions, Cause, MemoryTier, Simulation, Tiers, Verdict, asked};
use larder_simulator::log::{self, Entry, Outcome};
use larder_storage::eviction::Algorithm;

use crate::support::proxy::START;
use crate::support::{Origin, Proxy, bytes, eventually};

/// Requests of the log.
const REQUESTS: u64 = 900;

/// What a server and a simulation are compared by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    Hit,
    Revalidated,
    Miss,
}

fn served(entry: &Entry) -> Seen {
    match entry.outcome {
        Some(Outcome::Hit) => Seen::Hit,
        Some(Outcome::Revalidated) => Seen::Revalidated,
        Some(Outcome::Miss | Outcome::Expired) => Seen::Miss,
        other => panic!("{other:?}: {entry:?}"),
    }
}

fn simulated(verdict: Verdict) -> Seen {
    match verdict {
        Verdict::Hit(_) => Seen::Hit,
        Verdict::Revalidated => Seen::Revalidated,
        Verdict::Miss(_) => Seen::Miss,
        other => panic!("{other:?}"),
    }
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// What the origin of the first log says of a path, which ends in a digit, at a second.
fn fields_of(path: &str, now: i64) -> (u16, Vec<String>) {
    let date = |secs: i64| HttpDate(Timestamp::from_secs(secs)).to_string();
    let kind = path.bytes().last().unwrap() - b'0';
    let mut fields = vec![format!("Date: {}", date(now))];
    let version = now / if kind == 6 { 97 } else { 1_000_000 };
    let tag = format!("ETag: \"{path}-{version}\"");
    let more: &[String] = &match kind {
        0 => vec!["Cache-Control: max-age=60".to_owned(), tag],
        1 => vec!["Cache-Control: public, max-age=300".to_owned()],
        2 => vec!["Cache-Control: no-store, max-age=60".to_owned(), tag],
        3 => vec!["Cache-Control: private, max-age=60".to_owned()],
        4 => vec!["Cache-Control: max-age=120".to_owned(), "Vary: Accept-Encoding".to_owned(), tag],
        5 => vec![format!("Last-Modified: {}", date(START - 2_000))],
        6 => vec!["Cache-Control: max-age=30, must-revalidate".to_owned(), tag],
        7 => vec![format!("Last-Modified: {}", date(START - 9_000)), "Set-Cookie: a=b".to_owned()],
        8 => vec!["Cache-Control: s-maxage=40".to_owned()],
        _ => vec![format!("Expires: {}", date(now + 45)), tag],
    };
    fields.extend(more.iter().cloned());
    (if kind == 8 { 404 } else { 200 }, fields)
}

/// Answers with these fields, honouring If-None-Match and If-Modified-Since.
fn answer(
    request: &crate::support::origin::Received,
    reply: &mut crate::support::origin::Reply<'_>,
    status: u16,
    fields: &[String],
    length: usize,
) -> crate::support::After {
    let lines: Vec<&str> = fields.iter().map(String::as_str).collect();
    let told = |name: &str| {
        fields
            .iter()
            .find_map(|line| line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name)))
    };
    let same_tag =
        request.field("if-none-match").map(|tags| told("etag").is_some_and(|(_, tag)| tags.contains(tag)));
    let unmodified = same_tag.unwrap_or_else(|| {
        let date = |text: &str| parse_http_date(text.as_bytes(), Timestamp::from_secs(START));
        let since = request.field("if-modified-since").and_then(date);
        since.is_some_and(|since| {
            told("last-modified").and_then(|(_, text)| date(text)).is_some_and(|at| at <= since)
        })
    });
    if unmodified && status == 200 {
        return reply.send(304, &lines, b"");
    }
    if request.method == "HEAD" {
        let head: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        reply.raw(format!("HTTP/1.1 {status} X\r\n{head}Content-Length: {length}\r\n\r\n"));
        return crate::support::After::Keep;
    }
    reply.send(status, &lines, &bytes(1, length))
}

fn logging(config: &mut larder_server::Config, path: &Path) {
    let target = AccessLogTarget::File(path.to_owned());
    config.access_log = Some(AccessLogSettings { target, format: AccessLogFormat::Json });
}

/// All lines of a log, once so many are there.
fn entries(path: &Path, count: u64) -> Vec<Entry> {
    let lines = || std::fs::read_to_string(path).unwrap_or_default().lines().count() as u64;
    eventually("the log has a line for each request", || lines() >= count);
    let mut log = log::open(path).unwrap().unwrap();
    assert_eq!(log.format(), log::Format::Json);
    let entries: Vec<_> = log.by_ref().map(Result::unwrap).collect();
    assert_eq!((entries.len() as u64, log.skipped().count), (count, 0));
    entries
}

/// A log of requests of many kinds, written by a server with the default settings.
fn first_log(path: &Path) -> Vec<Entry> {
    let now = Arc::new(AtomicI64::new(START));
    let clock = Arc::clone(&now);
    let origin = Origin::start(move |request, reply| {
        if request.method == "PUT" {
            return reply.send(204, &[], b"");
        }
        let (status, fields) = fields_of(&request.target, clock.load(Ordering::SeqCst));
        answer(request, reply, status, &fields, 200 + request.target.len() * 100)
    });
    let log = path.to_owned();
    let proxy = Proxy::with(move |config, _| logging(config, &log));
    let mut client = proxy.connect();
    let mut random = Random(7);
    for _ in 0..REQUESTS {
        let pause = random.below(9);
        proxy.pass(pause);
        now.fetch_add(pause as i64, Ordering::SeqCst);
        let target = format!("/{}", random.below(30));
        let url = origin.url(&target);
        let encoding = ["Accept-Encoding: gzip", "Accept-Encoding: br"][random.below(2) as usize];
        match random.below(20) {
            0 => client.request("HEAD", &url, &[encoding]).response("HEAD"),
            1 => client.call("PUT", &url, &[], b"new"),
            2 => client.get(&url, &[encoding, "Cache-Control: no-cache"]),
            3 => client.get(&url, &[encoding, "Cache-Control: max-age=10"]),
            4 => client.get(&url, &[encoding, "Authorization: Basic eA=="]),
            5 => {
                let condition =
                    format!("If-None-Match: \"{target}-{}\"", now.load(Ordering::SeqCst) / 1_000_000);
                client.get(&url, &[encoding, &condition])
            }
            6 => client.get(&url, &[encoding, "Cache-Control: no-store"]),
            _ => client.get(&url, &[encoding]),
        };
    }
    entries(path, REQUESTS)
}

fn simulation(policy: PolicySettings) -> Simulation {
    let memory = MemoryTier { eviction: Algorithm::Gdsf.in_memory(256 << 20), object_max: 256 << 10 };
    let tiers = Tiers::new(Algorithm::S3Fifo.in_memory(10 << 30), Some(memory));
    Simulation::new(policy, Assumptions::default(), tiers)
}

/// Simulates a log, and compares with what a server did with each of its requests.
fn compare(log: &[Entry], server: &[Entry], policy: PolicySettings) -> Vec<Verdict> {
    let mut simulation = simulation(policy);
    let verdicts: Vec<_> = log.iter().map(|entry| simulation.request(entry)).collect();
    for (number, (verdict, entry)) in verdicts.iter().zip(server).enumerate() {
        assert_eq!(simulated(*verdict), served(entry), "request {number}: {verdict:?}, {entry:?}");
    }
    verdicts
}

fn count(verdicts: &[Verdict], wanted: impl Fn(&Verdict) -> bool) -> usize {
    verdicts.iter().filter(|verdict| wanted(verdict)).count()
}

/// The log, asked again of a server with this policy, whose origin answers as the log tells.
fn replay(log: &[Entry], path: &Path, policy: PolicySettings) -> Vec<Entry> {
    let answers: Vec<_> =
        log.iter().map(|entry| Answer::of(entry, &Assumptions::default(), &policy, entry.time)).collect();
    let origin = Origin::start(move |request, reply| {
        let number: usize = request.field("replay").unwrap().parse().unwrap();
        let answer_of = &answers[number];
        let fields: Vec<String> = lines(&answer_of.fields);
        let status = match answer_of.status.as_u16() {
            304 => 200,
            status => status,
        };
        if status == 204 {
            return reply.send(204, &[], b"");
        }
        answer(request, reply, status, &fields, answer_of.size as usize)
    });
    let log_path = path.to_owned();
    let proxy = Proxy::with(move |config, _| {
        logging(config, &log_path);
        config.policy = policy.clone();
    });
    let mut client = proxy.connect();
    for (number, entry) in log.iter().enumerate() {
        let now = proxy.clock.now();
        proxy.clock.advance(entry.time.saturating_since(now));
        let url = origin.url(entry.target("").unwrap().path_and_query());
        let mut fields = lines(&asked(entry));
        fields.push(format!("Replay: {number}"));
        // The tags of a replay are made from the versions.
        if entry.status == 304 {
            fields.retain(|line| !line.starts_with("if-none-match"));
            let tag = Answer::of(entry, &Assumptions::default(), &PolicySettings::default(), entry.time);
            fields.push(format!(
                "If-None-Match: {}",
                String::from_utf8_lossy(tag.fields.first("etag").unwrap())
            ));
        }
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let method = entry.method.as_str();
        client.request(method, &url, &fields).response(method);
    }
    entries(path, log.len() as u64)
}

fn lines(fields: &Fields) -> Vec<String> {
    let line = |(name, value): (&str, &[u8])| format!("{name}: {}", String::from_utf8_lossy(value));
    fields.iter().filter(|(name, _)| *name != "content-length").map(line).collect()
}

#[test]
fn simulated_hits_are_served_hits_request_by_request() {
    let dir = tempfile::tempdir().unwrap();
    let log = first_log(&dir.path().join("first.json"));
    let verdicts = compare(&log, &log, PolicySettings::default());
    // Each kind has happened often enough to count.
    let hits = count(&verdicts, |verdict| matches!(verdict, Verdict::Hit(_)));
    let revalidated = count(&verdicts, |verdict| *verdict == Verdict::Revalidated);
    let expired = count(&verdicts, |verdict| *verdict == Verdict::Miss(Cause::Expired));
    let cold = count(&verdicts, |verdict| *verdict == Verdict::Miss(Cause::Cold));
    let invalidated = count(&verdicts, |verdict| *verdict == Verdict::Miss(Cause::Invalidated));
    let uncacheable = count(&verdicts, |verdict| matches!(verdict, Verdict::Miss(Cause::Uncacheable(_))));
    let all = [hits, revalidated, expired, cold, invalidated, uncacheable];
    assert!(all.iter().all(|count| *count >= 5), "{all:?}");
}

#[test]
fn under_other_rules_the_simulation_of_the_log_is_what_a_server_does_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = first_log(&dir.path().join("first.json"));
    let rule = |name: &str, path: &str, action| Override {
        name: name.to_owned(),
        hosts: Vec::new(),
        paths: vec![PathPattern::parse(path).unwrap()],
        content_types: Vec::new(),
        action,
    };
    let minute = Some(DeltaSeconds::from_secs(60));
    let overrides = Overrides::new(vec![
        rule("stored", "/*2", Action { ignore_no_store: true, ..Action::default() }),
        rule("never", "/*0", Action { never_store: true, ..Action::default() }),
        rule("silent", "/*5", Action { fresh_for: minute, ..Action::default() }),
        rule("reload", "/*1", Action { ignore_client_reload: true, ..Action::default() }),
    ])
    .unwrap();
    let policy = PolicySettings { overrides, heuristic_percent: 20, ..PolicySettings::default() };
    let before = compare(&log, &log, PolicySettings::default());
    let served = replay(&log, &dir.path().join("second.json"), policy.clone());
    let after = compare(&log, &served, policy);
    let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert!(changed >= 50, "the rules made a difference to {changed} requests alone");
}
