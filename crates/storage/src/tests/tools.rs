//! Listing, removing by filter, and checking: beside use, compaction and damage, and before all is known.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use larder_policy::{HostPattern, UrlPattern};

use super::*;
use crate::{Checked, Fault, FaultKind, Filter, Repair, VerifyReport};

pub(super) fn host(name: &str) -> Filter {
    Filter { host: Some(HostPattern::parse(name).unwrap()), ..Filter::default() }
}

pub(super) fn tag(name: &str) -> Filter {
    Filter { tag: Some(name.to_owned()), ..Filter::default() }
}

fn url(pattern: &str) -> Filter {
    Filter { url: Some(UrlPattern::parse(pattern).unwrap()), ..Filter::default() }
}

pub(super) async fn removed(store: &Store, filter: Filter) -> u64 {
    store.remove_where(filter).await.unwrap().responses
}

/// The keys that a list has, sorted.
async fn listed(store: &Store, filter: Filter) -> Vec<String> {
    let entries = store.entries(filter).await.unwrap();
    let list = move || entries.map(|entry| entry.unwrap().key.to_string()).collect::<Vec<_>>();
    let mut keys = tokio::task::spawn_blocking(list).await.unwrap();
    keys.sort();
    keys
}

fn at(url: &str) -> CacheKey {
    CacheKey::of(&TargetUri::parse(url.as_bytes()).unwrap())
}

/// Five responses that differ in all that a filter looks at, two of them variants.
async fn assorted(bench: &Bench) {
    let store = bench.store();
    let received = |response: StoredResponse, secs: i64| {
        let mut parts = response.into_parts();
        parts.response_time = Timestamp::from_secs(secs);
        StoredResponse::from_parts(parts)
    };
    let vary = |language| {
        response_to(
            &[("Accept-Language", language)],
            &[("Vary", "Accept-Language"), ("Surrogate-Key", "news all")],
        )
    };
    put_response(
        store,
        &at("http://a.example/img/1.png"),
        received(response_to(&[], &[("Cache-Tag", "img")]), 100),
        &body(1, 10),
    )
    .await
    .unwrap();
    put_response(store, &at("http://b.a.example/img/2.png?v=2"), received(response(), 200), &body(2, 1000))
        .await
        .unwrap();
    put_response(store, &at("http://b.example/news"), received(vary("de"), 300), &body(3, 300_000))
        .await
        .unwrap();
    put_response(store, &at("http://b.example/news"), received(vary("en"), 300), &body(4, 500))
        .await
        .unwrap();
    put_response(store, &at("https://b.example:8443/x"), received(response(), 400), &body(5, 90_000))
        .await
        .unwrap();
}

#[tokio::test]
async fn each_filter_lists_what_it_then_removes() {
    let all = Filter::default();
    let secs = |secs| Some(Timestamp::from_secs(secs));
    for (filter, expected) in [
        (all.clone(), 5),
        (host("a.example"), 1),
        (host("*.a.example"), 1),
        (host("b.example"), 3),
        (url("**.png"), 2),
        (url("/img/*"), 2),
        (url("http://b.example/**"), 2),
        (tag("img"), 1),
        (tag("news"), 2),
        (tag("new"), 0),
        (Filter { until: secs(200), ..all.clone() }, 2),
        (Filter { since: secs(200), ..all.clone() }, 3),
        (Filter { at_least_bytes: Some(1000), ..all.clone() }, 3),
        (Filter { below_bytes: Some(1000), ..all.clone() }, 2),
        (
            Filter { keys: Some(vec![at("http://b.example/news"), at("http://no.example/")]), ..all.clone() },
            2,
        ),
        (Filter { keys: Some(vec![at("http://b.example/news")]), below_bytes: Some(1000), ..all.clone() }, 1),
        (Filter { target: Some(at("http://a.example/img/1.png").target().clone()), ..all.clone() }, 1),
        (Filter { since: secs(100), ..url("/img/*") }, 1),
        (Filter { tag: Some("all".to_owned()), at_least_bytes: Some(1000), ..host("b.example") }, 1),
        (Filter { tag: Some("img".to_owned()), ..host("b.example") }, 0),
    ] {
        let mut bench = Bench::small();
        assorted(&bench).await;
        let before = listed(bench.store(), all.clone()).await;
        let doomed = listed(bench.store(), filter.clone()).await;
        assert_eq!((before.len(), doomed.len()), (5, expected), "{filter:?}");
        let bytes: u64 =
            bench.store().entries(filter.clone()).await.unwrap().map(|entry| entry.unwrap().body_len).sum();
        let removal = bench.store().remove_where(filter.clone()).await.unwrap();
        assert_eq!((removal.responses, removal.bytes), (expected as u64, bytes), "{filter:?}");
        // From memory and from disk, and after a restart.
        for reopened in [false, true] {
            if reopened {
                bench.reopen().await;
            }
            let mut rest = listed(bench.store(), all.clone()).await;
            let mut served = 0;
            for key in [
                "http://a.example/img/1.png",
                "http://b.a.example/img/2.png?v=2",
                "http://b.example/news",
                "https://b.example:8443/x",
            ] {
                served += bench.store().lookup(&at(key)).await.len();
            }
            assert_eq!(served, 5 - expected, "{filter:?} {reopened}");
            rest.extend(doomed.clone());
            rest.sort();
            assert_eq!(rest, before, "{filter:?} {reopened}");
        }
    }
}

#[tokio::test]
async fn an_entry_tells_what_a_list_shows() {
    let bench = Bench::small();
    assorted(&bench).await;
    let entries: Vec<_> = bench.store().entries(tag("news")).await.unwrap().map(Result::unwrap).collect();
    assert_eq!(
        entries.iter().map(|entry| (entry.body_len, entry.file.is_some())).collect::<Vec<_>>(),
        [(300_000, true), (500, false)]
    );
    let languages: Vec<_> = entries.iter().flat_map(|entry| entry.response.nominated().values()).collect();
    assert_eq!(
        languages,
        [("accept-language", Some("de".to_owned())), ("accept-language", Some("en".to_owned()))]
    );
    assert_eq!(entries[0].tags().collect::<Vec<_>>(), [&b"news"[..], b"all"]);
    assert_eq!(entries[0].digest, crate::BlobDigest::of(&body(3, 300_000)));
}

/// Responses that stay, while others are stored, replaced and removed so fast that segments are compacted all the time.
async fn churned(bench: &Bench, stay: u64, done: &AtomicBool) -> u64 {
    let store = bench.store();
    for n in 0..stay {
        let (stays, goes) = (key(format!("stay/{n}")), key(format!("churn/{}", n % 7)));
        put(store, &stays, &body(n, 3000)).await.unwrap();
        put(store, &goes, &body(n, 3000)).await.unwrap();
    }
    let mut n = stay;
    while !done.load(Ordering::Relaxed) {
        let goes = key(format!("churn/{}", n % 50));
        put(store, &goes, &body(n, 9000)).await;
        n += 1;
        tokio::task::yield_now().await;
    }
    n
}

#[tokio::test]
async fn a_slow_list_misses_and_repeats_nothing_while_segments_are_compacted() {
    const STAY: u64 = 400;
    let bench = Arc::new(Bench::new(|options| options.disk_limit = 12 * MIB));
    let done = Arc::new(AtomicBool::new(false));
    let churn = tokio::spawn({
        let (bench, done) = (bench.clone(), done.clone());
        async move { churned(&bench, STAY, &done).await }
    });
    let store = bench.store();
    until(store, |stats| stats.stored >= 2 * STAY).await;
    for round in 0..3 {
        let mut times: HashMap<String, u32> = HashMap::new();
        let mut entries = store.entries(Filter::default()).await.unwrap();
        loop {
            let (back, entry) = tokio::task::spawn_blocking(move || {
                let entry = entries.next().transpose().unwrap();
                (entries, entry)
            })
            .await
            .unwrap();
            entries = back;
            let Some(entry) = entry else { break };
            *times.entry(entry.key.to_string()).or_default() += 1;
            if times.len() == 100 {
                // The reader pauses until segments have gone.
                let before = store.stats().compacted;
                until(store, |stats| stats.compacted >= before + 2).await;
            }
        }
        for n in 0..STAY {
            let stay = key(format_args!("stay/{n}")).to_string();
            assert_eq!(times.get(&stay), Some(&1), "{stay} in round {round}, {:?}", store.stats());
        }
    }
    // Removing beside all that removes all, and nothing else.
    assert_eq!(removed(store, url("/stay/**")).await, STAY);
    assert_eq!(listed(store, url("/stay/**")).await, Vec::<String>::new());
    assert!(store.lookup(&key("stay/7")).await.is_empty());
    done.store(true, Ordering::Relaxed);
    churn.await.unwrap();
    assert!(!listed(store, url("/churn/*")).await.is_empty());
}

#[tokio::test]
async fn a_list_under_way_keeps_no_segment() {
    let bench = Bench::small();
    for n in 0..300 {
        put(bench.store(), &key(n), &body(n, 9000)).await.unwrap();
    }
    let mut entries = bench.store().entries(Filter::default()).await.unwrap();
    entries.next().unwrap().unwrap();
    let first = bench.segments()[0].clone();
    removed(bench.store(), Filter { below_bytes: Some(10_000), ..Filter::default() }).await;
    // What is stored next makes the store look for room.
    for n in 0..300 {
        put(bench.store(), &key(n), &body(n, 9000)).await.unwrap();
    }
    eventually(|| !first.exists(), || "the first segment stays".to_owned()).await;
    entries.for_each(|entry| drop(entry.unwrap()));
}

#[tokio::test]
async fn before_all_is_known_lists_and_removals_wait() {
    let mut bench = Bench::new(|_| ());
    for n in 0..50 {
        put(bench.store(), &key(n), &body(n, 100)).await.unwrap();
    }
    for lost in [false, true] {
        bench.close().await;
        if lost {
            fs::remove_dir_all(bench.dir().join("index")).unwrap();
        }
        // Just opened: nothing may be known yet.
        bench.store = Some(Store::open(bench.options.clone()).unwrap());
        let left = if lost { 49 } else { 50 };
        assert_eq!(listed(bench.store(), Filter::default()).await.len(), left);
        bench.close().await;
        bench.store = Some(Store::open(bench.options.clone()).unwrap());
        let first = if lost { "/2" } else { "/1" };
        assert_eq!(removed(bench.store(), url(first)).await, 1);
    }
}

/// What a check tells, and its report.
async fn check(store: &Store, repair: Repair) -> (Vec<Fault>, VerifyReport) {
    let (sender, faults) = std::sync::mpsc::channel();
    let tell = move |checked| {
        if let Checked::Fault(fault) = checked {
            sender.send(fault).unwrap();
        }
        true
    };
    let report = store.verify(repair, tell).await.unwrap();
    (faults.into_iter().collect(), report)
}

/// A store with an index on disk, one small response and two blobs.
async fn three() -> Bench {
    let bench = Bench::new(|_| ());
    // From now on the index is complete.
    bench.store().ready().await;
    for size in [1000, 100_000, 600_000] {
        put(bench.store(), &key(size), &body(size as u64, size)).await.unwrap();
    }
    bench
}

/// Where these bytes lie in a file.
fn find(path: &Path, bytes: &[u8]) -> u64 {
    fs::read(path).unwrap().windows(bytes.len()).position(|window| window == bytes).unwrap() as u64
}

#[tokio::test]
async fn a_damaged_body_is_named_and_dropped_by_repair() {
    for reopened in [true, false] {
        let mut bench = three().await;
        let segment = bench.segments()[0].clone();
        flip(&segment, find(&segment, &body(1000, 1000)[500..564]));
        let blob =
            bench.blobs().into_iter().find(|path| fs::metadata(path).unwrap().len() == 600_000).unwrap();
        flip(&blob, 300_000);
        if reopened {
            bench.reopen().await;
        }
        let (faults, report) = check(bench.store(), Repair::No).await;
        assert_eq!((report.records, report.damaged_bodies, report.dropped), (3, 2, 0));
        assert!(!report.is_sound());
        let told: Vec<_> = faults
            .iter()
            .map(|fault| {
                (fault.kind, fault.key.clone().unwrap(), fault.bytes, fault.file.is_some(), fault.dropped)
            })
            .collect();
        assert_eq!(
            told,
            [
                (FaultKind::DamagedBody, key(1000), 1000, false, false),
                (FaultKind::DamagedBody, key(600_000), 600_000, true, false)
            ]
        );
        let (faults, report) = check(bench.store(), Repair::Yes).await;
        assert!(faults.iter().all(|fault| fault.dropped), "{faults:?}");
        assert_eq!((faults.len(), report.dropped), (2, 2));
        assert_eq!(
            check(bench.store(), Repair::No).await.1,
            VerifyReport { records: 1, body_bytes: 100_000, ..VerifyReport::default() }
        );
        bench.reopen().await;
        assert!(bench.store().lookup(&key(1000)).await.is_empty());
        assert_eq!(listed(bench.store(), Filter::default()).await, [key(100_000).to_string()]);
    }
}

#[tokio::test]
async fn a_damaged_record_is_found_and_its_segment_copied_by_repair() {
    for reopened in [true, false] {
        let mut bench = three().await;
        let segment = bench.segments()[0].clone();
        // In the key of the first record.
        flip(&segment, find(&segment, b"/1000"));
        if reopened {
            bench.reopen().await;
        }
        let (faults, report) = check(bench.store(), Repair::No).await;
        let kinds: Vec<_> = faults.iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds, [FaultKind::DamagedSegment, FaultKind::LostRecord]);
        assert_eq!((report.records, report.damaged_stretches, report.lost_records), (3, 1, 1));
        let (_, report) = check(bench.store(), Repair::Yes).await;
        assert_eq!((report.damaged_stretches, report.lost_records, report.dropped), (1, 1, 1));
        assert!(!segment.exists(), "the damage has gone with its segment");
        assert_eq!(
            check(bench.store(), Repair::No).await.1,
            VerifyReport { records: 2, body_bytes: 700_000, ..VerifyReport::default() }
        );
        bench.reopen().await;
        for size in [100_000, 600_000] {
            assert_eq!(get(bench.store(), &key(size)).await.unwrap().unwrap(), body(size as u64, size));
        }
    }
}

#[tokio::test]
async fn a_torn_end_is_told_as_one_and_goes_by_repair() {
    let mut bench = three().await;
    bench.close().await;
    let segment = bench.segments()[0].clone();
    let len = fs::metadata(&segment).unwrap().len();
    fs::OpenOptions::new().write(true).open(&segment).unwrap().set_len(len - 20).unwrap();
    bench.reopen().await;
    let (faults, report) = check(bench.store(), Repair::No).await;
    assert_eq!(faults.iter().map(|fault| fault.kind).collect::<Vec<_>>(), [FaultKind::TornEnd]);
    assert_eq!((report.records, report.torn_ends, report.damaged_stretches), (2, 1, 1));
    assert_eq!((faults[0].missing, report.missing_bytes), (20, 20), "the head of the record tells");
    check(bench.store(), Repair::Yes).await;
    assert!(check(bench.store(), Repair::No).await.1.is_sound());
    assert_eq!(listed(bench.store(), Filter::default()).await.len(), 2);
}

#[tokio::test]
async fn of_a_segment_that_was_cut_between_records_the_index_tells_what_is_missing() {
    let mut bench = three().await;
    let shared = bench.store().shared().clone();
    let place = |size: u64| shared.directory.find(shared.keys.fingerprint(key(size).as_str()))[0].place;
    let mut begins = [1000, 100_000, 600_000].map(|size| u64::from(place(size).offset));
    begins.sort_unstable();
    bench.close().await;
    let segment = bench.segments()[0].clone();
    let (len, first) = (fs::metadata(&segment).unwrap().len(), begins[1]);
    fs::OpenOptions::new().write(true).open(&segment).unwrap().set_len(first).unwrap();
    bench.reopen().await;
    let (faults, report) = check(bench.store(), Repair::No).await;
    assert_eq!(faults.iter().map(|fault| fault.kind).collect::<Vec<_>>(), [FaultKind::TornEnd]);
    assert_eq!((report.records, report.missing_bytes, report.damaged_bytes), (1, len - first, 0));
    assert_eq!((faults[0].offset, faults[0].missing), (first, len - first));
    assert!(!report.is_sound());
    check(bench.store(), Repair::Yes).await;
    assert!(check(bench.store(), Repair::No).await.1.is_sound());
}

#[tokio::test]
async fn repair_makes_a_new_index_whatever_became_of_the_old_one() {
    for harm in ["none", "removed", "garbage"] {
        let mut bench = three().await;
        let index = bench.dir().join("index");
        eventually(|| index.join("db").exists(), || "there is no index".to_owned()).await;
        match harm {
            "removed" => fs::remove_dir_all(&index).unwrap(),
            "garbage" => files(&index).iter().for_each(|path| fs::write(path, [0xa5; 5000]).unwrap()),
            _ => {}
        }
        let (faults, report) = check(bench.store(), Repair::Yes).await;
        assert!(faults.is_empty() && report.is_sound() && report.records == 3, "{harm}: {report:?}");
        put(bench.store(), &key("later"), &body(1, 100)).await.unwrap();
        bench.close().await;
        // The segments would bring all back: only the index may tell now.
        let set_aside = files(bench.dir()).iter().any(|path| path.to_string_lossy().contains("corrupt"));
        assert!(index.join("db").exists() && !set_aside, "{harm}");
        bench.store = Some(Store::open(bench.options.clone()).unwrap());
        let states = Mutex::new(Vec::new());
        let mut changes = bench.store().shared().state.subscribe();
        loop {
            let state = *changes.borrow_and_update();
            states.lock().unwrap().push(state);
            if state == crate::IndexState::Ready {
                break;
            }
            changes.changed().await.unwrap();
        }
        assert!(!states.into_inner().unwrap().contains(&crate::IndexState::Rebuilding), "{harm}");
        assert_eq!(listed(bench.store(), Filter::default()).await.len(), 4, "{harm}");
    }
}

#[tokio::test]
async fn a_check_that_nobody_waits_for_ends_but_not_a_repair() {
    let bench = three().await;
    let report = bench.store().verify(Repair::No, |_| false).await.unwrap();
    assert_eq!(report.records, 1);
    let report = bench.store().verify(Repair::Yes, |_| false).await.unwrap();
    assert_eq!(report.records, 3);
}

#[tokio::test]
async fn a_check_beside_use_finds_nothing_wrong() {
    let bench = Arc::new(Bench::new(|options| options.disk_limit = 12 * MIB));
    let done = Arc::new(AtomicBool::new(false));
    let churn = tokio::spawn({
        let (bench, done) = (bench.clone(), done.clone());
        async move { churned(&bench, 200, &done).await }
    });
    until(bench.store(), |stats| stats.stored >= 400).await;
    for repair in [Repair::No, Repair::Yes, Repair::No] {
        let (faults, report) = check(bench.store(), repair).await;
        assert!(faults.is_empty() && report.is_sound() && report.unindexed == 0, "{faults:?} {report:?}");
    }
    done.store(true, Ordering::Relaxed);
    churn.await.unwrap();
    assert_eq!(listed(bench.store(), url("/stay/**")).await.len(), 200);
}
