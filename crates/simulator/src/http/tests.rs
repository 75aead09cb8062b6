//! What becomes of the lines of a log, one rule each.

use std::time::Duration;

use larder_policy::PolicySettings;
use larder_storage::eviction::Algorithm;
use proptest::prelude::*;

use super::*;
use crate::log::{Format, Log};

/// A cache of so many bytes, LRU, without memory tier.
fn disk(bytes: u64) -> Tiers {
    Tiers::new(Algorithm::Lru.in_memory(bytes), None)
}

fn simulation(bytes: u64) -> Simulation {
    Simulation::new(PolicySettings::default(), Assumptions::default(), disk(bytes))
}

/// A line of larder's log: second, method, path, status, bytes, fields of request and response.
fn line(second: u32, request: &str, status: u16, bytes: u64, asked: &str, told: &str) -> String {
    let (method, path) = request.split_once(' ').unwrap();
    format!(
        r#"{{"time":"2026-01-01T00:{:02}:{:02}Z","method":"{method}","url":"http://o.example{path}","status":{status},"body_bytes":{bytes},"outcome":"miss","request_fields":{{{asked}}},"response_fields":{{{told}}}}}"#,
        second / 60,
        second % 60
    )
}

fn verdicts(simulation: &mut Simulation, lines: &[String]) -> Vec<Verdict> {
    let text = lines.join("\n");
    let mut log = Log::new(text.as_bytes(), Format::Json);
    let verdicts = log.by_ref().map(|entry| simulation.request(&entry.unwrap())).collect();
    assert_eq!(log.skipped().count, 0, "{:?}", log.skipped());
    verdicts
}

const FRESH: &str = r#""cache-control":"max-age=60","etag":"\"1\"""#;
const HIT: Verdict = Verdict::Hit(Tier::Disk);
const COLD: Verdict = Verdict::Miss(Cause::Cold);

#[test]
fn fresh_is_a_hit_stale_is_validated_and_changed_is_fetched() {
    let mut simulation = simulation(1 << 20);
    let changed = FRESH.replace("\\\"1", "\\\"2");
    let lines = [
        line(0, "GET /a", 200, 100, "", FRESH),
        line(59, "GET /a", 200, 100, "", FRESH),
        line(60, "GET /a", 200, 100, "", FRESH),
        line(119, "GET /a", 304, 0, r#""if-none-match":"\"1\"""#, FRESH),
        line(120, "GET /a", 200, 200, "", &changed),
        line(121, "GET /a", 200, 200, "", &changed),
    ];
    let expired = Verdict::Miss(Cause::Expired);
    assert_eq!(verdicts(&mut simulation, &lines), [COLD, HIT, Verdict::Revalidated, HIT, expired, HIT]);
    let report = simulation.report();
    assert_eq!((report.origin_requests, report.origin_bytes, report.written_bytes), (3, 300, 300));
    assert_eq!((report.hits().requests, report.hits().bytes, report.untold), (4, 400, 0));
}

#[test]
fn what_may_not_be_stored_is_a_miss_with_its_reason() {
    let mut simulation = simulation(1 << 20);
    let lines = [
        line(0, "GET /a", 200, 10, "", r#""cache-control":"no-store""#),
        line(1, "GET /b", 200, 10, "", r#""cache-control":"private, max-age=60""#),
        line(2, "GET /c", 200, 10, r#""authorization":"""#, FRESH),
        line(3, "GET /d", 200, 10, "", ""),
        line(4, "GET /e", 200, 10, "", r#""cache-control":"max-age=60","vary":"*""#),
        line(5, "GET /f", 200, 10, r#""cache-control":"no-store""#, FRESH),
        line(6, "GET /g", 200, 10, "", r#""last-modified":"Wed, 31 Dec 2025 00:00:00 GMT","set-cookie":"""#),
        line(7, "POST /h", 200, 10, "", FRESH),
    ];
    let words: Vec<_> = verdicts(&mut simulation, &lines)
        .into_iter()
        .map(|verdict| match verdict {
            Verdict::Miss(Cause::Uncacheable(why)) => why.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        words,
        [
            "no-store",
            "private",
            "authorization",
            "no-freshness",
            "vary-star",
            "request-no-store",
            "set-cookie",
            "method"
        ]
    );
    assert_eq!(simulation.report().uncacheable.values().map(|count| count.requests).sum::<u64>(), 8);
}

#[test]
fn variants_are_told_apart_by_what_vary_nominates() {
    let mut simulation = simulation(1 << 20);
    let told = r#""cache-control":"max-age=600","vary":"Accept-Encoding""#;
    let ask = |second, encoding: &str| {
        line(second, "GET /a", 200, 100, &format!(r#""accept-encoding":"{encoding}""#), told)
    };
    let lines = [ask(0, "gzip"), ask(1, "br"), ask(2, "gzip"), ask(3, "br")];
    assert_eq!(verdicts(&mut simulation, &lines), [COLD, COLD, HIT, HIT]);
}

#[test]
fn clients_that_want_the_origin_get_it() {
    let mut simulation = simulation(1 << 20);
    let lines = [
        line(0, "GET /a", 200, 100, "", FRESH),
        line(1, "GET /a", 200, 100, r#""cache-control":"no-cache""#, FRESH),
        line(2, "GET /a", 200, 100, r#""if-match":"\"1\"""#, FRESH),
        line(3, "GET /b", 504, 0, r#""cache-control":"only-if-cached""#, ""),
    ];
    let request = Verdict::Miss(Cause::Request);
    assert_eq!(verdicts(&mut simulation, &lines), [COLD, Verdict::Revalidated, request, request]);
    assert_eq!(simulation.report().origin_requests, 3);
}

#[test]
fn unsafe_methods_remove_what_they_change() {
    let mut simulation = simulation(1 << 20);
    let lines = [
        line(0, "GET /a", 200, 100, "", FRESH),
        line(1, "PUT /a", 500, 0, "", ""),
        line(2, "GET /a", 200, 100, "", FRESH),
        line(3, "PUT /a", 204, 0, "", ""),
        line(4, "GET /a", 200, 100, "", FRESH),
    ];
    let verdicts = verdicts(&mut simulation, &lines);
    assert_eq!((verdicts[2], verdicts[4]), (HIT, Verdict::Miss(Cause::Invalidated)));
    assert_eq!(simulation.report().invalidated, 1);
}

#[test]
fn head_is_answered_by_a_stored_get_and_a_part_by_a_whole() {
    let mut simulation = simulation(1 << 20);
    let part = r#""cache-control":"max-age=60","etag":"\"1\"","content-range":"bytes 0-9/100""#;
    let lines = [
        line(0, "GET /a", 206, 10, r#""range":"bytes=0-9""#, part),
        line(1, "GET /a", 200, 100, "", FRESH),
        line(2, "HEAD /a", 200, 0, "", FRESH),
        line(3, "GET /a", 206, 10, r#""range":"bytes=0-9""#, part),
    ];
    let partial = Verdict::Miss(Cause::Uncacheable(NotStored::Partial));
    assert_eq!(verdicts(&mut simulation, &lines), [partial, COLD, HIT, HIT]);
    assert_eq!((simulation.report().parts, simulation.report().hits().bytes), (2, 10));
}

#[test]
fn stale_answers_are_served_where_the_response_lets_them() {
    let mut simulation = simulation(1 << 20);
    let told =
        r#""cache-control":"max-age=10, stale-while-revalidate=30, stale-if-error=600","etag":"\"1\"""#;
    let lines = [
        line(0, "GET /a", 200, 100, "", told),
        line(20, "GET /a", 200, 100, "", told),
        // The refresh behind the back of the one before has made it fresh.
        line(21, "GET /a", 200, 100, "", told),
        line(120, "GET /a", 503, 5, "", ""),
    ];
    assert_eq!(verdicts(&mut simulation, &lines), [COLD, Verdict::Stale, HIT, Verdict::Stale]);
    assert_eq!(simulation.report().origin_requests, 3);
}

#[test]
fn what_leaves_what_is_too_large_and_what_is_not_worth_it_are_told_apart() {
    let fresh = r#""cache-control":"max-age=3000""#;
    let ask = |second, path: &str, bytes| line(second, path, 200, bytes, "", fresh);
    let mut simulation = simulation(2 * (1000 + DISK_OVERHEAD_BYTES));
    let lines = [
        ask(0, "GET /a", 1000),
        ask(1, "GET /b", 1000),
        ask(2, "GET /c", 1000),
        ask(3, "GET /a", 1000),
        ask(4, "GET /c", 1000),
        ask(5, "GET /d", 1 << 20),
        ask(6, "GET /d", 1 << 20),
    ];
    let (capacity, large) = (Verdict::Miss(Cause::Capacity), Verdict::Miss(Cause::TooLarge));
    assert_eq!(verdicts(&mut simulation, &lines), [COLD, COLD, COLD, capacity, HIT, large, large]);

    // GDSF weighs the newcomer with all others: what is large and new is its own victim.
    let gdsf = Tiers::new(Algorithm::Gdsf.in_memory(4_000), None);
    let mut simulation = Simulation::new(PolicySettings::default(), Assumptions::default(), gdsf);
    let small = (0..20).map(|second| ask(second, "GET /small", 10));
    let lines: Vec<_> = small.chain([ask(30, "GET /large", 3_400), ask(31, "GET /large", 3_400)]).collect();
    let verdicts = verdicts(&mut simulation, &lines);
    assert_eq!(verdicts[20..], [COLD, Verdict::Miss(Cause::NotAdmitted)]);
}

#[test]
fn small_bodies_are_answered_from_memory() {
    let memory = MemoryTier { eviction: Algorithm::Lru.in_memory(10_000), object_max: 1_000 };
    let tiers = Tiers::new(Algorithm::Lru.in_memory(1 << 20), Some(memory));
    let mut simulation = Simulation::new(PolicySettings::default(), Assumptions::default(), tiers);
    let lines = [
        line(0, "GET /a", 200, 1_000, "", FRESH),
        line(1, "GET /b", 200, 1_001, "", FRESH),
        line(2, "GET /a", 200, 1_000, "", FRESH),
        line(3, "GET /b", 200, 1_001, "", FRESH),
    ];
    assert_eq!(verdicts(&mut simulation, &lines), [COLD, COLD, Verdict::Hit(Tier::Memory), HIT]);
}

#[test]
fn what_a_log_does_not_tell_is_assumed_and_counted() {
    let squid = |second: u32, status: u16, code: &str| {
        format!(
            "{}.000 0 c {code}/{status} 500 GET http://o.example/a - HIER_DIRECT/- text/html",
            1_700_000_000 + second
        )
    };
    let run = |lifetime: u64, validator| {
        let assumptions =
            Assumptions { lifetime: Duration::from_secs(lifetime), validator, ..Assumptions::default() };
        let mut simulation = Simulation::new(PolicySettings::default(), assumptions, disk(1 << 20));
        let text = [
            squid(0, 200, "TCP_MISS"),
            squid(99, 200, "TCP_MISS"),
            squid(200, 200, "TCP_HIT"),
            squid(201, 200, "TCP_DENIED"),
        ]
        .join("\n");
        let verdicts: Vec<_> = Log::new(text.as_bytes(), Format::Squid)
            .map(|entry| simulation.request(&entry.unwrap()))
            .collect();
        (verdicts, simulation.report().untold)
    };
    let (expired, reload) = (Verdict::Miss(Cause::Expired), Verdict::Revalidated);
    assert_eq!(run(100, true), (vec![COLD, HIT, reload, Verdict::Aside], 2));
    assert_eq!(run(1_000, true), (vec![COLD, HIT, HIT, Verdict::Aside], 1));
    assert_eq!(run(0, true), (vec![COLD, reload, reload, Verdict::Aside], 3));
    let none = Verdict::Miss(Cause::Uncacheable(NotStored::NoFreshness));
    assert_eq!(run(0, false), (vec![none, none, none, Verdict::Aside], 3));
    // The Last-Modified from which the lifetime comes is made up anew each time, and so is no validator.
    assert_eq!(run(100, false).0[2], expired);
}

#[test]
fn the_memory_stated_for_a_response_is_what_it_takes() {
    let mut simulation = simulation(u64::MAX);
    let text: Vec<_> = (0..5_000).map(|n| line(0, &format!("GET /{n}"), 200, 100, "", FRESH)).collect();
    verdicts(&mut simulation, &text);
    let each = simulation.memory_bytes() / 5_000;
    // Tables and lists have up to as much room again to spare.
    assert!(each <= 2 * BYTES_PER_RESPONSE, "{each} of {BYTES_PER_RESPONSE}");
    const { assert!(BYTES_PER_RESPONSE <= 320) };
}

#[test]
fn logs_are_run_through_many_caches_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..2)
        .map(|part| {
            let path = dir.path().join(format!("{part}.json"));
            let lines: Vec<_> = (0..3_000)
                .map(|n| line(part * 1_500 + n / 2, &format!("GET /{}", n * n % 97), 200, 1_000, "", FRESH))
                .collect();
            std::fs::write(&path, lines.join("\n")).unwrap();
            path
        })
        .collect();
    let survey = survey(&paths, &mut |_| {}).unwrap();
    assert_eq!((survey.entries, survey.objects, survey.footprint), (6_000, 49, 49_000));
    let caches = || (1..=5).map(|tenth| simulation(tenth * 8_000)).collect();
    let alone = run(&paths, caches(), 1_000, 1, &mut |_| {}).unwrap();
    assert_eq!(run(&paths, caches(), 1_000, 3, &mut |_| {}).unwrap(), alone);
    assert!(alone.iter().all(|report| report.all().requests == 5_000));
    let ratios: Vec<_> = alone.iter().map(Report::hit_ratio).collect();
    assert!(ratios.is_sorted() && ratios[0] < ratios[4], "{ratios:?}");
}

proptest! {
    #[test]
    fn no_lines_panic(
        lines in prop::collection::vec((0u64..4_000_000_000, 0u8..6, 0u16..700, any::<u64>(), "[a-z0-9/?&%:. ]{0,12}"), 0..40),
    ) {
        let mut simulation = simulation(1 << 20);
        let text: String = lines
            .iter()
            .map(|(time, method, status, bytes, path)| {
                let method = ["GET", "HEAD", "POST", "PUT", "CONNECT", "X"][usize::from(*method)];
                format!("{time}.5 7 c TCP_MISS/{status:03} {bytes} {method} http://o.example/{path} - - -\n")
            })
            .collect();
        let mut log = Log::new(text.as_bytes(), Format::Squid);
        let mut read = 0;
        for entry in log.by_ref() {
            simulation.request(&entry.unwrap());
            read += 1;
        }
        let report = simulation.report();
        prop_assert_eq!(report.all().requests + report.aside.requests, read);
        prop_assert!(report.hits().requests + report.origin_requests >= report.all().requests);
    }
}
