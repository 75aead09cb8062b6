//! The shadows of a store: what they hear, and what follows from it.

use std::sync::atomic::Ordering;

use super::*;
use crate::eviction::{Aim, Algorithm, Policy};
use crate::shadow::look;
use crate::{Shadow, Tier};

fn auto() -> Bench {
    Bench::new(|options| {
        options.disk_limit = 32 * MIB;
        (options.eviction, options.memory_eviction) = (Policy::Auto, Policy::Auto);
    })
}

fn shadows(store: &Store) -> [Shadow; 2] {
    look(store.shared());
    store.shadows()
}

async fn is_followed(store: &Store, algorithm: Algorithm) {
    eventually(|| store.shadows()[1].algorithm == algorithm, || "the algorithm".to_owned()).await;
    crate::purge::barrier(store.sender()).await.unwrap();
    crate::purge::barrier(store.sender()).await.unwrap();
}

#[tokio::test]
async fn hits_and_arrivals_are_heard_of_once_and_misses_of_what_is_not_stored_are_not() {
    let bench = Bench::small();
    let store = bench.store();
    for n in 0..20 {
        assert!(put(store, &key(n), &body(n, 1_000)).await.is_some());
    }
    for n in 0..30 {
        let _ = store.lookup(&key(n)).await;
    }
    let [memory, disk] = shadows(store);
    assert_eq!(
        (memory.tier, memory.aim, disk.tier, disk.aim),
        (Tier::Memory, Aim::Requests, Tier::Disk, Aim::Bytes)
    );
    assert_eq!((memory.requests, disk.requests, memory.lost, memory.one_in), (40, 40, 0, 1));
    assert_eq!((memory.limit, memory.tells), (4 * MIB, false));
    for estimate in memory.estimates.iter().chain(&disk.estimates) {
        // Twenty of forty requests were hits, of objects that all fit.
        assert!((estimate.request_hit_ratio - 0.5).abs() < 1e-9, "{estimate:?}");
        assert!((estimate.byte_hit_ratio - 0.5).abs() < 1e-9, "{estimate:?}");
    }
    assert_eq!(memory.estimates.len(), 25);
}

#[tokio::test]
async fn a_replacement_is_no_arrival() {
    let bench = Bench::small();
    let store = bench.store();
    for _ in 0..5 {
        assert!(put(store, &key(1), &body(1, 1_000)).await.is_some());
    }
    assert_eq!(shadows(store)[1].requests, 1);
}

#[tokio::test]
async fn more_than_a_buffer_holds_is_lost_and_counted() {
    let bench = Bench::small();
    let store = bench.store();
    assert!(put(store, &key(1), &body(1, 1_000)).await.is_some());
    store.ready().await;
    let _ = store.lookup(&key(1)).await;
    // Nothing takes them up meanwhile.
    let state = store.shared().shadows.hold();
    for _ in 0..3_000 {
        assert!(store.cached(&key(1)).is_some());
    }
    drop(state);
    let [memory, disk] = shadows(store);
    assert!(memory.lost > 2_000 && memory.lost == disk.lost, "{}", memory.lost);
    assert!(memory.requests <= 3_003 - memory.lost, "{memory:?}");
}

#[tokio::test]
async fn the_disk_goes_by_another_order_without_losing_anything_and_keeps_it_over_a_restart() {
    let mut bench = auto();
    let store = bench.store();
    store.ready().await;
    assert_eq!(store.shadows().map(|shadow| shadow.algorithm), [Algorithm::Gdsf, Algorithm::WTinyLfu]);
    assert_eq!(store.stats().eviction, Policy::Auto);
    for n in 0..300 {
        assert!(put(store, &key(n), &body(n, 2_000)).await.is_some());
    }
    eventually(|| store.shared().order_known.load(Ordering::Relaxed), || "the order".to_owned()).await;
    for algorithm in [Algorithm::Lru, Algorithm::Gdsf, Algorithm::Sieve] {
        store.shared().shadows.set_disk_algorithm(algorithm);
        store.shared().memory.follow(algorithm);
        is_followed(store, algorithm).await;
        for n in 0..300 {
            assert_eq!(get(store, &key(n)).await.unwrap().unwrap(), body(n, 2_000));
        }
    }
    assert_eq!((store.stats().objects, store.stats().evicted), (300, 0));
    bench.reopen().await;
    assert_eq!(bench.store().shadows()[1].algorithm, Algorithm::Sieve);
    assert_eq!(crate::order::written_by(&bench.store().shared().layout), Some(Algorithm::Sieve));
    for n in 0..300 {
        assert_eq!(get(bench.store(), &key(n)).await.unwrap().unwrap(), body(n, 2_000));
    }
}

#[tokio::test]
async fn what_a_fixed_policy_says_stays() {
    let bench = Bench::small();
    let store = bench.store();
    store.shared().memory.follow(Algorithm::Lru);
    assert_eq!(store.shadows().map(|shadow| shadow.algorithm), [Algorithm::Gdsf, Algorithm::S3Fifo]);
    assert_eq!(store.stats().memory_eviction, Policy::Fixed(Algorithm::Gdsf));
}
