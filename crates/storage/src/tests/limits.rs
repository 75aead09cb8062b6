use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::*;
use crate::eviction::{Algorithm, Policy};
use crate::files::Files;
use crate::files::seam::Faults;
use crate::index::{Index, Opener};
use crate::store::Ground;

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
async fn the_disk_limit_holds_while_records_are_being_found() {
    let limit = 64 * MIB;
    let mut bench = Bench::new(|options| options.disk_limit = limit);
    for n in 0..6 {
        put(bench.store(), &key(n), &body(n, 4 << 20)).await.unwrap();
    }
    bench.close().await;
    let (ends, never) = channel::<()>();
    let never = Mutex::new(never);
    let open = move |_: &Path, _| -> std::io::Result<Arc<dyn Index>> {
        let _ = never.lock().unwrap().recv();
        Err(std::io::ErrorKind::NotFound.into())
    };
    let patience = Duration::from_secs(600);
    let opener = Opener { open: Arc::new(open), patience, open_patience: patience };
    let ground = Ground { index: opener, ..Ground::default() };
    let store = Store::open_on(bench.options.clone(), ground).unwrap();
    let mut stored = 0;
    for n in 100..120 {
        stored += u32::from(put(&store, &key(n), &body(n, 4 << 20)).await.is_some());
        let found = allocated(bench.dir());
        assert!(found <= limit, "{found} allocated, {:?}", store.stats());
    }
    assert!((1..20).contains(&stored), "{stored}");
    drop(ends);
    store.ready().await;
    until(&store, |stats| stats.disk_bytes.abs_diff(allocated(bench.dir())) <= MIB).await;
    store.close().await;
}

#[tokio::test]
async fn the_longest_unused_leaves_first() {
    let bench = Bench::new(|options| {
        options.disk_limit = 8 * MIB;
        options.eviction = Algorithm::Lru.into();
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
async fn what_cannot_be_read_for_a_while_is_not_dropped_when_its_segment_is_to_be_copied() {
    let root = tempfile::tempdir().unwrap();
    let mut options = Options::new(root.path());
    options.disk_limit = 32 * MIB;
    options.segment_bytes = MIB / 4;
    options.memory_limit = 0;
    let faults = Faults::none();
    let ground = Ground { files: Files::behind(faults.clone()), ..Ground::default() };
    let store = Store::open_on(options, ground).unwrap();
    store.ready().await;
    for n in 0..10 {
        put(&store, &key(format_args!("keep/{n}")), &body(n, 3000)).await.unwrap();
    }
    faults.fail_reads(0..u64::MAX);
    for n in 0..40 {
        put(&store, &key("churn"), &body(n, 20_000)).await.unwrap();
    }
    until(&store, |stats| stats.read_errors > 0).await;
    assert_eq!((store.stats().objects, store.stats().compacted), (11, 0));
    faults.fail_reads(0..0);
    // When a while has passed they are copied after all.
    let shared = store.shared();
    until(&store, |stats| {
        shared.tick(shared.now() + 11);
        stats.compacted > 0
    })
    .await;
    for n in 0..10 {
        assert_eq!(get(&store, &key(format_args!("keep/{n}"))).await.unwrap().unwrap(), body(n, 3000));
    }
    assert_eq!(store.stats().damaged, 0);
    store.close().await;
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
async fn the_number_of_objects_holds() {
    let mut bench = Bench::new(|options| {
        options.disk_limit = 60 * MIB;
        options.max_objects = Some(50);
    });
    for n in 0..200 {
        assert!(put(bench.store(), &key(n), &body(n, 1000 + n as usize * 1000)).await.is_some());
        assert!(bench.store().stats().objects <= 50);
    }
    assert_eq!(bench.store().stats().objects, 50);
    assert!(!bench.store().lookup(&key(199)).await.is_empty());
    assert!(bench.store().lookup(&key(100)).await.is_empty());
    // A lower bound is reached in the background.
    bench.options.max_objects = Some(7);
    bench.reopen().await;
    until(bench.store(), |stats| stats.objects == 7).await;
    assert!(put(bench.store(), &key(500), &body(5, 10)).await.is_some());
    assert_eq!(bench.store().stats().objects, 7);
}

#[tokio::test]
async fn the_limit_gives_way_to_others_down_to_a_floor() {
    let mut bench = Bench::new(|options| {
        options.disk_limit = 40 * MIB;
        options.keep_free = Some(10 * MIB);
        options.memory_limit = 0;
    });
    let pretend = |bench: &Bench, free| {
        *bench.store().shared().layout.pretended_space.lock().unwrap() = Some((1 << 40, free));
    };
    for n in 0..30 {
        put(bench.store(), &key(n), &body(n, MIB as usize)).await.unwrap();
    }
    let full = bench.store().stats();
    assert!(full.storing && full.disk_limit_now == 40 * MIB && full.disk_bytes >= 30 * MIB, "{full:?}");
    // Others have left ten less than is to stay free.
    pretend(&bench, 0);
    until(bench.store(), |stats| stats.disk_bytes <= full.disk_bytes - 10 * MIB).await;
    pretend(&bench, 10 * MIB);
    let stats = bench.store().stats();
    assert!(stats.storing && stats.disk_limit_now < 40 * MIB, "{stats:?}");
    assert!(put(bench.store(), &key(100), &body(100, 100_000)).await.is_some());
    // All of it, and more.
    bench.options.keep_free = Some(1 << 39);
    bench.close().await;
    bench.store = Some(Store::open(bench.options.clone()).unwrap());
    pretend(&bench, 0);
    until(bench.store(), |stats| !stats.storing && stats.disk_bytes <= 4 * MIB).await;
    assert_eq!(bench.store().stats().disk_limit_now, 4 * MIB);
    assert!(bench.store().stats().objects > 0, "the floor stays");
    assert!(!bench.store().begin(key(7), response(), Some(5), None).is_storing());
    pretend(&bench, 1 << 40);
    until(bench.store(), |stats| stats.storing && stats.disk_limit_now == 40 * MIB).await;
    assert!(put(bench.store(), &key(101), &body(101, 100_000)).await.is_some());
}

#[tokio::test]
async fn readers_go_on_while_their_blob_is_evicted() {
    let bench = Bench::new(|options| {
        options.disk_limit = 16 * MIB;
        options.memory_limit = 0;
    });
    let store = bench.store();
    let whole = body(1, 3_000_000);
    put(store, &key(0), &whole).await.unwrap();
    let stored = store.lookup(&key(0)).await[0].clone();
    let mut reader = stored.body(0..u64::MAX);
    let mut got = reader.next().await.unwrap().unwrap().to_vec();
    for n in 1..20 {
        put(store, &key(n), &body(n, 1_500_000)).await.unwrap();
    }
    assert!(store.lookup(&key(0)).await.is_empty(), "evicted");
    got.extend(read(reader).await.unwrap());
    assert_eq!(got, whole);
    assert_eq!(store.stats().damaged, 0);
}

#[tokio::test]
async fn room_for_a_large_body_is_made_beside_small_ones() {
    let bench = Bench::new(|options| {
        options.disk_limit = 60 * MIB;
        options.memory_limit = 0;
    });
    let store = bench.store();
    for n in 0..2000 {
        put(store, &key(n), &body(n, 25_000)).await.unwrap();
    }
    let (large, name) = (body(1, 25 << 20), key("large"));
    let (stored, ()) = tokio::join!(put(store, &name, &large), async {
        for n in 3000..3300 {
            assert!(put(store, &key(n), &body(n, 1000)).await.is_some());
            assert!(store.stats().disk_bytes <= 60 * MIB);
        }
    });
    assert!(stored.is_some());
    assert_eq!(get(store, &name).await.unwrap().unwrap(), large);
    assert!(store.stats().disk_bytes <= 60 * MIB);
}

#[tokio::test]
async fn nobody_waits_for_room_that_cannot_be_made() {
    let bench = Bench::new(|options| options.disk_limit = 16 * MIB);
    let mut first = bench.store().begin(key(1), response(), Some(7 << 20), None);
    first.write(body(1, 300_000)).await.unwrap();
    let mut second = bench.store().begin(key(2), response(), Some(9 << 20), None);
    let reader = tokio::spawn(read(second.filling().reader(0..u64::MAX).unwrap()));
    second.write(body(2, 300_000)).await.unwrap();
    assert!(!second.is_storing() && first.is_storing());
    drop(second);
    assert!(reader.await.unwrap().is_err());
}

/// What issue reports are made of: a limit of four bodies, and a hundred at once.
#[tokio::test]
async fn a_hundred_bodies_at_once_never_pass_a_limit_of_four() {
    let limit = 4 * MIB;
    let bench = Bench::new(|options| {
        options.disk_limit = limit;
        options.memory_limit = MIB;
    });
    let dir = bench.dir().to_owned();
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let watch = std::thread::spawn({
        let done = done.clone();
        move || {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(allocated(&dir));
            }
            most
        }
    });
    let downloads = (0..100).map(|n| {
        let store = bench.store().clone();
        tokio::spawn(async move {
            let whole = body(n, MIB as usize);
            let mut fill = store.begin(key(n), response(), Some(MIB), None);
            let reader = tokio::spawn(read(fill.filling().reader(0..u64::MAX).unwrap()));
            for at in (0..whole.len()).step_by(16_384) {
                fill.write(whole.slice(at..at + 16_384)).await.unwrap();
            }
            let stored = fill.finish().await.is_some();
            assert_eq!(reader.await.unwrap().unwrap(), whole);
            stored
        })
    });
    let mut stored = 0;
    for download in downloads.collect::<Vec<_>>() {
        stored += u32::from(download.await.unwrap());
        assert!(bench.store().stats().disk_bytes <= limit);
    }
    done.store(true, Ordering::Relaxed);
    let most = watch.join().unwrap();
    assert!(most <= limit + MIB, "{most} allocated");
    assert!(stored > 0);
}

#[tokio::test]
async fn what_cannot_fit_is_relayed() {
    let bench = Bench::new(|options| options.disk_limit = 4 * MIB);
    let fill = bench.store().begin(key(1), response(), Some(5 * MIB), None);
    assert!(!fill.is_storing());
}

#[tokio::test]
async fn both_tiers_keep_their_limits_with_any_policy() {
    for policy in Policy::all() {
        let bench = Bench::new(|options| {
            (options.disk_limit, options.memory_limit) = (8 * MIB, MIB / 4);
            (options.eviction, options.memory_eviction) = (policy, policy);
        });
        let store = bench.store();
        for n in 0..300_u64 {
            let size = if n % 5 == 0 { 300_000 } else { 3_000 + n as usize * 37 };
            assert!(put(store, &key(n), &body(n, size)).await.is_some(), "{policy}: {n}");
            // Asked for often enough that it is worth keeping, whatever the measure.
            let _ = get(store, &key(n % 7)).await;
            let stats = store.stats();
            assert!(stats.disk_bytes <= stats.disk_limit, "{policy}: {stats:?}");
            assert!(stats.memory_bytes <= stats.memory_limit, "{policy}: {stats:?}");
        }
        let stats = store.stats();
        assert!(stats.evicted > 0 && stats.memory_objects > 5 && stats.memory_hits > 0, "{stats:?}");
        assert_eq!((stats.eviction, stats.memory_eviction), (policy, policy));
        for n in 0..300 {
            let size = if n % 5 == 0 { 300_000 } else { 3_000 + n as usize * 37 };
            match get(store, &key(n)).await {
                Some(Ok(found)) => assert_eq!(found, body(n, size), "{policy}: {n}"),
                // The writer goes on making room: a blob may leave between look-up and reading.
                Some(Err(error)) => assert!(
                    matches!(error, ReadError::Unreadable { kind: std::io::ErrorKind::NotFound, .. }),
                    "{policy}: {n}: {error}"
                ),
                None => {}
            }
        }
    }
}

/// As when the tools open a store without a proxy: they set no limit of their own.
#[tokio::test]
async fn a_limit_far_beyond_the_disk_evicts_nothing() {
    let mut bench = Bench::new(|options| options.disk_limit = 1 << 50);
    put(bench.store(), &key(1), &body(1, 100_000)).await.unwrap();
    bench.options.disk_limit = u64::MAX / 2;
    for _ in 0..3 {
        bench.reopen().await;
        crate::purge::barrier(bench.store().sender()).await.unwrap();
        let stats = bench.store().stats();
        assert_eq!((stats.objects, stats.evicted), (1, 0));
    }
}

#[tokio::test]
async fn directories_of_blobs_count_before_the_sweep_has_seen_them() {
    let mut bench = Bench::new(|_| {});
    bench.store().ready().await;
    for n in 0..40 {
        put(bench.store(), &key(n), &body(n, 70_000)).await.unwrap();
    }
    // The part is no blob, and lies in no directory of its own.
    parts::fill(bench.store(), &key("part"), &body(1, 200_000), 0..1000).await.unwrap();
    bench.reopen().await;
    let before_the_sweep = bench.store().stats().blob_bytes;
    let directories = before_the_sweep / 4096 - 40 * 18 - 2;
    let found = fs::read_dir(bench.dir().join("blobs")).unwrap().count() as u64 + 40;
    // Two of the blobs may share both levels.
    assert!((found - 1..=found).contains(&directories), "{directories} of {found}");
}
