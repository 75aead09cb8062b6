use std::os::unix::fs::MetadataExt;

use super::*;
use crate::eviction::Algorithm;

/// Allocated bytes of everything in the directory; what vanishes meanwhile is left out.
fn allocated(path: &Path) -> u64 {
    let Ok(found) = fs::symlink_metadata(path) else { return 0 };
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    found.blocks() * 512 + entries.map(|entry| allocated(&entry.path())).sum::<u64>()
}

#[tokio::test]
async fn the_disk_limit_holds_under_churn() {
    let limit = 16 * MIB;
    let mut bench = Bench::new(|options| options.disk_limit = limit);
    let mut random = 1_u64;
    for n in 0..1500_u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let size = match random >> 60 {
            0..=11 => (random >> 40) as usize % 40_000,
            12..=14 => (random >> 40) as usize % 300_000,
            _ => (random >> 40) as usize % 2_000_000,
        };
        assert!(put(bench.store(), &key(n % 1000), &body(n, size)).await.is_some(), "{n}");
        let stats = bench.store().stats();
        assert!(stats.disk_bytes <= limit, "{stats:?}");
        if n % 100 == 0 {
            // The writer goes on making room while this looks, so it may take a few looks.
            let agree = (0..100).any(|_| {
                let found = allocated(bench.dir());
                assert!(found <= limit, "{found} allocated");
                found.abs_diff(bench.store().stats().disk_bytes) <= 256 * 1024
            });
            assert!(agree, "{} allocated, {:?}", allocated(bench.dir()), bench.store().stats());
        }
    }
    let stats = bench.store().stats();
    assert!(stats.evicted > 0 && stats.compacted > 0, "{stats:?}");
    assert!(stats.dead_bytes * 4 <= stats.segment_bytes.max(4 * MIB), "{stats:?}");
    assert_eq!(get(bench.store(), &key(1499 % 1000)).await.map(|found| found.is_ok()), Some(true));
    bench.reopen().await;
    let again = bench.store().stats();
    assert!(again.objects.abs_diff(stats.objects) <= 2, "{again:?} {stats:?}");
    assert!(again.disk_bytes <= limit);
}

#[tokio::test]
async fn the_longest_unused_leaves_first() {
    let bench = Bench::new(|options| {
        options.disk_limit = 8 * MIB;
        options.eviction = Algorithm::Lru;
    });
    let store = bench.store();
    for n in 0..5 {
        put(store, &key(n), &body(n, 1_000_000)).await.unwrap();
    }
    // As if it had been asked for some seconds later.
    let (print, variant) = store.shared().keys.tags(&key(0), response().nominated());
    store.shared().blobs.hint(crate::blob::Hint::Touch(print, variant));
    for n in 5..9 {
        put(store, &key(n), &body(n, 1_000_000)).await.unwrap();
    }
    assert!(!store.lookup(&key(0)).await.is_empty(), "was touched");
    assert!(store.lookup(&key(1)).await.is_empty(), "was the oldest");
    assert!(!store.lookup(&key(8)).await.is_empty());
    assert!(store.stats().evicted >= 1);
}

#[tokio::test]
async fn compaction_keeps_the_live_records() {
    let mut bench = Bench::new(|options| {
        options.disk_limit = 64 * MIB;
        options.segment_bytes = MIB / 4;
        options.memory_limit = 0;
    });
    for round in 0..6 {
        for n in 0..300 {
            // A third stays from the first round, the rest is replaced again and again.
            if round == 0 || n % 3 != 0 {
                put(bench.store(), &key(n), &body(n + round * 1000, 5000)).await.unwrap();
            }
        }
    }
    for reopened in [false, true] {
        for n in 0..300 {
            let round = if n % 3 == 0 { 0 } else { 5 };
            assert_eq!(
                get(bench.store(), &key(n)).await.unwrap().unwrap(),
                body(n + round * 1000, 5000),
                "{n}"
            );
        }
        assert!(reopened || bench.store().stats().compacted > 0);
        assert_eq!(bench.store().stats().objects, 300);
        until(bench.store(), |stats| stats.dead_bytes * 4 <= stats.segment_bytes).await;
        bench.reopen().await;
    }
}

#[tokio::test]
async fn lookups_find_records_while_they_are_copied() {
    let bench = Bench::new(|options| {
        options.disk_limit = 32 * MIB;
        options.segment_bytes = MIB / 4;
        options.memory_limit = 0;
    });
    for n in 0..50 {
        put(bench.store(), &key(format_args!("keep/{n}")), &body(n, 3000)).await.unwrap();
        put(bench.store(), &key(format_args!("churn/{n}")), &body(n, 20_000)).await.unwrap();
    }
    let churn = async {
        for round in 0..10 {
            for n in 0..50 {
                put(bench.store(), &key(format_args!("churn/{n}")), &body(n + round, 20_000)).await.unwrap();
            }
        }
    };
    let look = async {
        for _ in 0..40 {
            for n in 0..50 {
                let found = get(bench.store(), &key(format_args!("keep/{n}"))).await;
                assert_eq!(found.unwrap().unwrap(), body(n, 3000));
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(churn, look);
    assert!(bench.store().stats().compacted > 0);
    assert_eq!(bench.store().stats().damaged, 0);
}

#[tokio::test]
async fn the_memory_tier_stays_within_its_limit() {
    let bench = Bench::new(|options| {
        options.disk_limit = 60 * MIB;
        options.memory_limit = MIB;
    });
    for n in 0..300 {
        put(bench.store(), &key(n), &body(n, 10_000)).await.unwrap();
        assert!(bench.store().stats().memory_bytes <= MIB);
    }
    assert!(bench.store().stats().memory_objects > 50);
    assert!(bench.store().cached(&key(299)).is_some());
    assert!(bench.store().cached(&key(0)).is_none());
    assert!(!bench.store().lookup(&key(0)).await.is_empty());
}

#[tokio::test]
async fn what_cannot_fit_is_relayed() {
    let bench = Bench::new(|options| options.disk_limit = 4 * MIB);
    let fill = bench.store().begin(key(1), response(), Some(5 * MIB), None);
    assert!(!fill.is_storing());
}

#[tokio::test]
async fn both_tiers_keep_their_limits_with_any_algorithm() {
    for algorithm in Algorithm::ALL {
        let bench = Bench::new(|options| {
            (options.disk_limit, options.memory_limit) = (8 * MIB, MIB / 4);
            (options.eviction, options.memory_eviction) = (algorithm, algorithm);
        });
        let store = bench.store();
        for n in 0..300_u64 {
            let size = if n % 5 == 0 { 300_000 } else { 3_000 + n as usize * 37 };
            assert!(put(store, &key(n), &body(n, size)).await.is_some(), "{algorithm}: {n}");
            // Asked for often enough that it is worth keeping, whatever the measure.
            let _ = get(store, &key(n % 7)).await;
            let stats = store.stats();
            assert!(stats.disk_bytes <= stats.disk_limit, "{algorithm}: {stats:?}");
            assert!(stats.memory_bytes <= stats.memory_limit, "{algorithm}: {stats:?}");
        }
        let stats = store.stats();
        assert!(stats.evicted > 0 && stats.memory_objects > 5 && stats.memory_hits > 0, "{stats:?}");
        assert_eq!((stats.eviction, stats.memory_eviction), (algorithm, algorithm));
        for n in 0..300 {
            if let Some(found) = get(store, &key(n)).await {
                let size = if n % 5 == 0 { 300_000 } else { 3_000 + n as usize * 37 };
                assert_eq!(found.unwrap(), body(n, size), "{algorithm}: {n}");
            }
        }
    }
}
