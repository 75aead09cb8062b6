//! What parts are counted for.

use larder_policy::packages::ExpectedDigest;
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::*;
use crate::command::Command;
use crate::eviction::Algorithm;
use crate::files::Files;
use crate::files::seam::{Fault, Faults};
use crate::store::Ground;

#[tokio::test]
async fn disk_is_accounted_in_allocated_blocks() {
    let mut bench = Bench::new(|_| {});
    let (key, body) = (key("sparse"), body(7, 40_000_000));
    for at in [39_000_000, 1, 20_000_000, 20_500_000] {
        fill(bench.store(), &key, &body, at..at + 300_000).await.unwrap();
    }
    crate::purge::barrier(bench.store().sender()).await.unwrap();
    assert_accounted(&bench);
    assert!(bench.store().stats().blob_bytes < 1_400_000);
    bench.reopen().await;
    crate::purge::barrier(bench.store().sender()).await.unwrap();
    assert_accounted(&bench);
    assert_eq!(bench.store().remove(&key).await, 1);
    assert_eq!((bench.store().stats().blob_bytes, partials(&bench).len()), (0, 0));
}

#[tokio::test]
async fn what_is_written_and_not_recorded_counts() {
    let bench = Bench::small();
    let size = 6 << 20;
    let ends = ["stopped", "dropped", "short", "not as expected"];
    for n in 0..12 {
        let (key, body, how) = (key(n), body(n, size), ends[n as usize % ends.len()]);
        fill(bench.store(), &key, &body, 0..1000).await.unwrap();
        let stored = bench.store().lookup(&key).await[0].clone();
        let whole = stored.response().holding(&Runs::of(0..size as u64), Some(size as u64)).unwrap();
        let expect = (how == "not as expected").then_some(ExpectedDigest::Sha256([7; 32]));
        let range = 1000..size as u64;
        let mut fill = bench.store().begin_into(&stored, whole, range, Some(size as u64), expect).unwrap();
        let until = if how == "short" { size - 300_000 } else { size };
        write(&mut fill, &body[1000..until]).await;
        assert!(fill.is_storing(), "{n}");
        match how {
            "stopped" => fill.stop_storing(),
            "dropped" => drop(fill),
            _ => assert!(fill.finish().await.is_none(), "{how}"),
        }
        crate::purge::barrier(bench.store().sender()).await.unwrap();
        assert_accounted(&bench);
        let stats = bench.store().stats();
        assert!(stats.disk_bytes <= stats.disk_limit, "{n} {how}: {stats:?}");
        assert_eq!(bench.store().shared().counters.growing_bytes.get(), 0, "{n} {how}");
    }
    let stats = bench.store().stats();
    assert!(stats.evicted > 0 && stats.objects > 1 && stats.temp_bytes == 0, "{stats:?}");
    // What is taken off is what was counted.
    for n in 0..12 {
        bench.store().remove(&key(n)).await;
    }
    assert_eq!((bench.store().stats().blob_bytes, partials(&bench).len()), (0, 0));
}

/// A part of 1000 bytes, and some megabytes behind them from a fill that was killed.
async fn killed(change: impl FnOnce(&mut Options)) -> (Bench, CacheKey, Bytes) {
    let mut bench = Bench::new(change);
    let (key, body) = (key("wheel"), body(1, 6 << 20));
    fill(bench.store(), &key, &body, 0..1000).await.unwrap();
    let mut unfinished = begin(bench.store(), &key, &(1000..body.len()), body.len()).await;
    write(&mut unfinished, &body[1000..5_500_000]).await;
    bench.close().await;
    // Nobody hears of its end.
    drop(unfinished);
    (bench, key, body)
}

#[tokio::test]
async fn what_a_killed_fill_has_written_counts_as_soon_as_its_record_is_known() {
    for disk_limit in [1 << 30, 32 * MIB] {
        let (mut bench, key, body) = killed(|options| options.disk_limit = disk_limit).await;
        for _ in 0..2 {
            bench.reopen().await;
            assert_accounted(&bench);
            assert!(bench.store().stats().blob_bytes > 4 << 20);
        }
        // A record that follows says the same, and nothing is counted twice.
        fill(bench.store(), &key, &body, 2000..3000).await.unwrap();
        crate::purge::barrier(bench.store().sender()).await.unwrap();
        assert_accounted(&bench);
        assert_eq!(bench.store().remove(&key).await, 1);
        assert_eq!((bench.store().stats().blob_bytes, partials(&bench).len()), (0, 0));
    }
}

#[tokio::test]
async fn what_a_killed_fill_has_written_is_assumed_before_its_record_is_known() {
    let (bench, ..) = killed(|options| options.disk_limit = 32 * MIB).await;
    let (layout, _lock) = crate::layout::Layout::open(bench.dir()).unwrap();
    let assumed = crate::recovery::read_totals(&layout).blob_blocks * 4096;
    assert!((5 << 20..16 << 20).contains(&assumed), "{assumed}");
}

#[tokio::test]
async fn bytes_that_the_map_does_not_name_count_also_after_a_record() {
    let (mut bench, key, body) = killed(|_| {}).await;
    let found = partials(&bench);
    let map = found.iter().find(|path| path.extension().is_some()).unwrap();
    // As if the map had not come to disk: nothing but its first entry.
    fs::OpenOptions::new().write(true).open(map).unwrap().set_len(100).unwrap();
    bench.reopen().await;
    assert_accounted(&bench);
    assert_eq!(held(bench.store(), &key, &body).await, one(0..1000));
    fill(bench.store(), &key, &body, 1000..2000).await.unwrap();
    crate::purge::barrier(bench.store().sender()).await.unwrap();
    assert_accounted(&bench);
}

#[tokio::test]
async fn a_partial_that_takes_less_than_was_counted_counts_for_less() {
    let (mut bench, key, _) = killed(|_| {}).await;
    bench.reopen().await;
    assert!(bench.store().stats().blob_bytes > 4 << 20);
    let data = partials(&bench).into_iter().find(|path| path.extension().is_none()).unwrap();
    fs::OpenOptions::new().write(true).open(&data).unwrap().set_len(1 << 20).unwrap();
    bench.reopen().await;
    assert_accounted(&bench);
    assert!(bench.store().stats().blob_bytes < 2 << 20);
    assert_eq!(bench.store().remove(&key).await, 1);
    assert_eq!(bench.store().stats().blob_bytes, 0);
}

#[tokio::test]
async fn a_part_that_grows_without_a_record_keeps_its_place_among_those_that_leave() {
    for algorithm in Algorithm::ALL {
        let bench = Bench::new(|options| {
            options.disk_limit = 32 * MIB;
            options.eviction = algorithm.into();
        });
        let body = body(17, 400_000);
        let oldest = fill(bench.store(), &key(0), &body, 0..1000).await.unwrap();
        for n in 1..4 {
            fill(bench.store(), &key(n), &body, 0..1000).await.unwrap();
        }
        let (whole, all) = (oldest.response().holding(&Runs::of(0..400_000), Some(400_000)), Some(400_000));
        let mut grows = bench.store().begin_into(&oldest, whole.unwrap(), 1000..400_000, all, None).unwrap();
        write(&mut grows, &body[1000..300_000]).await;
        grows.stop_storing();
        crate::purge::barrier(bench.store().sender()).await.unwrap();
        assert!(bench.store().stats().blob_bytes > 250_000, "{algorithm}");
        let (reply, done) = oneshot::channel();
        bench.store().sender().send(Command::RemoveOldest(1, reply)).await.unwrap();
        done.await.unwrap();
        assert!(bench.store().lookup(&key(0)).await.is_empty(), "{algorithm}: the oldest stayed");
        assert_eq!(bench.store().stats().objects, 3);
    }
}

#[tokio::test]
async fn a_partial_that_cannot_be_removed_goes_on_counting() {
    let faults = Faults::none();
    let root = tempfile::tempdir().unwrap();
    let mut options = Options::new(root.path());
    options.disk_limit = 32 * MIB;
    let ground = Ground { files: Files::behind(faults.clone()), ..Ground::default() };
    let store = Store::open_on(options.clone(), ground).unwrap();
    store.ready().await;
    fill(&store, &key("x"), &body(18, 900_000), 0..600_000).await.unwrap();
    let before = store.stats();
    faults.plan(faults.steps(), Fault::Refuse { error: Errno::PERM, times: 100, landing: 0 });
    assert_eq!(store.remove(&key("x")).await, 1);
    assert!(!files(&root.path().join("partials")).is_empty());
    let stats = store.stats();
    assert!(stats.disk_bytes >= before.blob_bytes, "{before:?} {stats:?}");
    assert_eq!(stats.blob_bytes, 0);
}
