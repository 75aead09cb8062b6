use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::*;
use crate::blob::Hint;
use crate::command::Command;
use crate::eviction::Algorithm;
use crate::order::OrderReader;

const OBJECTS: u64 = 40;

/// A store without sled, with one algorithm for its disk.
fn with(algorithm: Algorithm) -> Bench {
    Bench::new(|options| {
        options.disk_limit = 32 * MIB;
        options.eviction = algorithm.into();
    })
}

/// Of every object another size.
async fn store_object(store: &Store, n: u64) {
    assert!(put(store, &key(n), &body(n, 1_000 + 137 * n as usize)).await.is_some());
}

/// As if the object had been asked for some seconds after it was asked for before.
async fn touch(store: &Store, n: u64) {
    let (print, variant) = store.shared().keys.tags(&key(n), response().nominated());
    store.shared().blobs.hint(Hint::Touch(print, variant));
    crate::purge::barrier(store.sender()).await.unwrap();
}

async fn fill(store: &Store) {
    known(store).await;
    for n in 0..OBJECTS {
        store_object(store, n).await;
        if n % 3 == 0 {
            touch(store, n / 2).await;
        }
    }
    for n in [5, 30, 5, 7, 31, 5, 12] {
        touch(store, n).await;
    }
}

async fn known(store: &Store) {
    store.ready().await;
    let shared = store.shared();
    eventually(|| shared.order_known.load(Ordering::Relaxed), || "the order".to_owned()).await;
}

/// Evicts one after another, and says which they were.
async fn drain(store: &Store) -> Vec<u64> {
    let stored =
        |n: &u64| !store.shared().directory.find(store.shared().keys.fingerprint(key(n).as_str())).is_empty();
    let mut left: Vec<u64> = (0..2 * OBJECTS).filter(stored).collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let (reply, done) = oneshot::channel();
        store.sender().send(Command::RemoveOldest(1, reply)).await.unwrap();
        assert_eq!(done.await.unwrap().responses, 1);
        order.extend(left.extract_if(.., |n| !stored(n)));
    }
    order
}

#[tokio::test]
async fn the_order_before_is_the_order_after_with_any_algorithm() {
    for algorithm in Algorithm::ALL {
        let mut bench = with(algorithm);
        fill(bench.store()).await;
        bench.reopen().await;
        known(bench.store()).await;
        // A twin with the same fingerprints, which was never closed.
        let root = tempfile::tempdir().unwrap();
        fs::copy(bench.dir().join("format"), root.path().join("format")).unwrap();
        let mut options = bench.options.clone();
        options.dir = root.path().to_owned();
        let twin = Store::open(options).unwrap();
        fill(&twin).await;
        let before = drain(&twin).await;
        assert_eq!(before.len() as u64, OBJECTS);
        assert_eq!(drain(bench.store()).await, before, "{algorithm}");
    }
}

#[tokio::test]
async fn after_a_kill_the_last_order_that_was_written_counts() {
    let mut bench = with(Algorithm::Lru);
    bench.options.order_interval = std::time::Duration::ZERO;
    bench.reopen().await;
    let store = bench.store();
    for n in 0..OBJECTS {
        store_object(store, n).await;
    }
    touch(store, 3).await;
    let layout = store.shared().layout.clone();
    let newest = store.shared().keys.fingerprint(key(3).as_str());
    let written = || {
        let mut reader = OrderReader::open(&layout, Algorithm::Lru)?;
        reader.next().filter(|all| all.len() as u64 == OBJECTS)?.first().map(|one| one.fingerprint)
    };
    eventually(|| written() == Some(newest), || "written".to_owned()).await;
    let image = bench.crash_image().await;
    known(image.store()).await;
    let expected: Vec<u64> = (0..OBJECTS).filter(|n| *n != 3).chain([3]).collect();
    assert_eq!(drain(image.store()).await, expected);
}

#[tokio::test]
async fn an_order_of_an_earlier_life_only_ranks_what_it_knows() {
    let mut bench = with(Algorithm::Lru);
    fill(bench.store()).await;
    bench.close().await;
    let order = fs::read(bench.dir().join("order")).unwrap();
    bench.reopen().await;
    known(bench.store()).await;
    for n in 0..10 {
        bench.store().remove(&key(n)).await;
        store_object(bench.store(), OBJECTS + n).await;
    }
    bench.close().await;
    fs::write(bench.dir().join("order"), order).unwrap();
    bench.reopen().await;
    known(bench.store()).await;
    let (old, mut new) = {
        let mut all = drain(bench.store()).await;
        let new = all.split_off((OBJECTS - 10) as usize);
        (all, new)
    };
    let untouched = |n: &u64| ![10, 12, 13, 15, 16, 18, 19, 30, 31].contains(n) && *n >= 10;
    assert!(old.iter().filter(|n| untouched(n)).is_sorted(), "{old:?}");
    assert_eq!(old.last(), Some(&12));
    new.sort_unstable();
    assert_eq!(new, (OBJECTS..OBJECTS + 10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_damaged_order_costs_nothing_but_the_order() {
    for damage in [0, 9, 17, 30, 200] {
        let mut bench = with(Algorithm::S3Fifo);
        fill(bench.store()).await;
        bench.close().await;
        flip(&bench.dir().join("order"), damage);
        bench.reopen().await;
        known(bench.store()).await;
        for n in 0..OBJECTS {
            assert!(get(bench.store(), &key(n)).await.unwrap().is_ok());
        }
        assert_eq!(drain(bench.store()).await.len() as u64, OBJECTS);
    }
}

#[tokio::test]
async fn what_was_asked_for_since_the_start_is_not_put_back() {
    let mut bench = with(Algorithm::Lru);
    known(bench.store()).await;
    for n in 0..OBJECTS {
        store_object(bench.store(), n).await;
    }
    bench.close().await;
    bench.store = Some(Store::open(bench.options.clone()).unwrap());
    // Before or after the order is taken up: the outcome is the same.
    assert!(get(bench.store(), &key(0)).await.unwrap().is_ok());
    known(bench.store()).await;
    crate::purge::barrier(bench.store().sender()).await.unwrap();
    assert_eq!(drain(bench.store()).await, (1..OBJECTS).chain([0]).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_store_that_nobody_used_writes_no_order() {
    let mut bench = with(Algorithm::Lru);
    bench.close().await;
    assert!(!bench.dir().join("order").exists());
    bench.reopen().await;
    fill(bench.store()).await;
    bench.close().await;
    let written = fs::metadata(bench.dir().join("order")).unwrap().modified().unwrap();
    bench.reopen().await;
    known(bench.store()).await;
    assert!(bench.store().stats().order_bytes > 0);
    bench.close().await;
    assert_eq!(fs::metadata(bench.dir().join("order")).unwrap().modified().unwrap(), written);
}
