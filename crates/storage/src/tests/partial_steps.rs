//! Partials, stopped after every step, and with a disk that refuses any step.

use std::ops::Range;

use larder_policy::{Held, Runs};
use rustix::io::Errno;

use super::parts::{begin, write};
use super::*;
use crate::files::Files;
use crate::files::seam::{Fault, Faults};
use crate::store::Ground;

const LEN: usize = 200_000;

/// Everything that can be done to a partial: begun, grown, left, broken off, completed, freshened, removed. What was told to be
/// stored before a step is returned, by key.
async fn script(store: &Store, faults: &Faults) -> Vec<(CacheKey, Runs)> {
    let mut told = Vec::new();
    let mut tell = |name: &str, ranges: &[(u64, u64)]| {
        let mut runs = Runs::new();
        ranges.iter().for_each(|(start, end)| runs.insert(*start..*end));
        told.push((key(name), runs));
    };
    let (one, two) = (key("one"), key("two"));
    if fill(store, faults, &one, 70_000..140_000).await {
        tell("one", &[(70_000, 140_000)]);
    }
    if fill(store, faults, &one, 10..2_000).await {
        tell("one", &[(10, 2_000), (70_000, 140_000)]);
    }
    let whole = response_to(&[], &[("ETag", "\"a\""), ("Content-Length", "200000")]);
    let mut broken = store.begin(two.clone(), whole, Some(LEN as u64), None);
    write(&mut broken, &body(1, LEN)[..150_000]).await;
    if broken.keep(1).await.is_some() {
        tell("two", &[(0, 150_000)]);
    }
    if let Some(stored) = store.lookup(&two).await.first() {
        store.freshen(stored, stored.response().clone()).await;
    }
    let mut left = begin(store, &one, &(2_000..60_000), LEN).await;
    write(&mut left, &body(1, LEN)[2_000..30_000]).await;
    drop(left);
    if fill(store, faults, &two, 150_000..LEN).await {
        tell("two", &[(0, LEN as u64)]);
    }
    for range in [140_000..LEN, 0..10, 2_000..70_000] {
        fill(store, faults, &one, range).await;
    }
    tell("two", &[]);
    store.remove(&two).await;
    told
}

async fn fill(store: &Store, faults: &Faults, key: &CacheKey, range: Range<usize>) -> bool {
    // What is whole has no more to be filled.
    if store.lookup(key).await.first().is_some_and(|stored| matches!(stored.held(), Held::Body(_))) {
        return false;
    }
    let mut fill = begin(store, key, &range, LEN).await;
    let filling = fill.filling();
    let reader = tokio::spawn(read(filling.reader(0..u64::MAX).unwrap()));
    write(&mut fill, &body(1, LEN)[range.clone()]).await;
    let stored = fill.finish().await.is_some();
    // A disk that refuses fails no reader; only the end of the process does.
    match reader.await.unwrap() {
        Ok(found) => assert!(found == body(1, LEN)[range]),
        Err(error) => assert!(faults.is_stopped(), "{error}"),
    }
    stored
}

/// Whatever is found is right, has all that was told to be stored, and goes on to work.
async fn check(store: &Store, told: &[(CacheKey, Runs)], why: &str) {
    let body = body(1, LEN);
    for name in ["one", "two"] {
        let key = key(name);
        let variants = store.lookup(&key).await;
        let told = told.iter().rev().find(|(of, _)| *of == key).map(|(_, runs)| runs);
        let Some(stored) = variants.first() else {
            assert!(told.is_none_or(Runs::is_empty), "{why}: {name} is gone");
            continue;
        };
        let runs = match stored.held() {
            Held::Runs(runs) => Arc::unwrap_or_clone(runs),
            Held::Body(_) => Runs::of(0..LEN as u64),
        };
        for run in runs.iter() {
            let found = read(stored.body(run.clone())).await;
            let found = found.unwrap_or_else(|error| panic!("{why}: {name} {run:?}: {error}"));
            assert!(found == body[run.start as usize..run.end as usize], "{why}: {name}");
        }
        if let Some(told) = told {
            let lost = told.iter().find(|run| !runs.covers(run));
            assert_eq!(lost, None, "{why}: {name} lost what was stored: {runs:?}");
        }
        fill(store, &Faults::none(), &key, 0..LEN).await;
        let found = get(store, &key).await.expect("it is whole").unwrap();
        assert!(found == body, "{why}: {name}");
    }
    // A torn record stays in its segment until that is compacted.
    let report = store.verify(crate::Repair::No, |_| true).await.unwrap();
    assert_eq!((report.damaged_bodies, report.missing_bodies), (0, 0), "{why}");
}

async fn run(faults: Arc<Faults>) -> (Bench, Vec<(CacheKey, Runs)>) {
    let root = tempfile::tempdir().unwrap();
    let mut options = Options::new(root.path());
    options.disk_limit = 32 * MIB;
    let mut told = Vec::new();
    let ground = Ground { files: Files::behind(faults.clone()), ..Ground::default() };
    if let Ok(store) = Store::open_on(options.clone(), ground) {
        store.ready().await;
        told = script(&store, &faults).await;
        store.close().await;
    }
    (Bench { root, options, store: None }, told)
}

#[tokio::test]
async fn a_stop_after_any_step_serves_no_wrong_byte_and_leaves_no_orphan() {
    let faults = Faults::none();
    run(faults.clone()).await;
    let steps = faults.steps();
    for at in 0..=steps {
        for fault in [Fault::Stop, Fault::Tear(37)] {
            let why = format!("{fault:?} at {at} of {steps}");
            let (mut bench, told) = run(Faults::at(at, fault)).await;
            bench.reopen().await;
            let records = bench.store().stats().objects;
            let swept = || files(&bench.dir().join("partials")).len() as u64 <= 2 * records;
            eventually(swept, || format!("{why}: {:?}", files(&bench.dir().join("partials")))).await;
            check(bench.store(), &told, &why).await;
        }
    }
    println!("{steps} steps");
}

#[tokio::test]
async fn a_disk_that_refuses_any_step_fails_no_reader() {
    let faults = Faults::none();
    run(faults.clone()).await;
    let steps = faults.steps();
    // Making the directories is not what this is about.
    for at in 8..=steps {
        for error in [Errno::NOSPC, Errno::IO] {
            let why = format!("{error:?} at {at} of {steps}");
            let faults = Faults::at(at, Fault::Refuse { error, times: 1, landing: 500 });
            let (mut bench, _) = run(faults).await;
            bench.reopen().await;
            check(bench.store(), &[], &why).await;
        }
    }
}
