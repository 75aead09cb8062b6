use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::tools::{host, removed, tag};
use super::*;
use crate::{Filter, Tier};

/// Every size at which something changes.
const SIZES: [usize; 11] =
    [0, 1, 1000, 65_535, 65_536, 65_537, 262_143, 262_144, 262_145, 400_000, 1_500_000];

#[tokio::test]
async fn what_was_put_is_got_from_memory_and_from_disk() {
    let bench = Bench::new(|options| options.memory_limit = 0);
    let store = bench.store();
    for (n, size) in SIZES.into_iter().enumerate() {
        let body = body(n as u64, size);
        let stored = put(store, &key(n), &body).await.unwrap();
        assert_eq!(stored.body_len(), size as u64);
        assert_eq!(read(stored.body(0..u64::MAX)).await.unwrap(), body);
        assert!(store.cached(&key(n)).is_none());
        let variants = store.lookup(&key(n)).await;
        assert_eq!(variants.len(), 1);
        assert_eq!(variants[0].tier(), Tier::Disk);
        assert_eq!(variants[0].response(), &response());
        assert_eq!(read(variants[0].body(0..u64::MAX)).await.unwrap(), body, "size {size}");
    }
    let stats = store.stats();
    assert_eq!((stats.objects, stats.stored, stats.disk_hits), (11, 11, 11));
    assert!(store.lookup(&key("other")).await.is_empty());
    assert_eq!(store.stats().misses, 1);
}

#[tokio::test]
async fn a_second_lookup_is_answered_from_memory() {
    let mut bench = Bench::small();
    put(bench.store(), &key(1), &body(1, 3000)).await.unwrap();
    put(bench.store(), &key(2), &body(2, 500_000)).await.unwrap();
    bench.reopen().await;
    let store = bench.store();
    for n in [1, 2] {
        assert!(store.cached(&key(n)).is_none());
        assert_eq!(store.lookup(&key(n)).await[0].tier(), Tier::Disk);
        let again = store.cached(&key(n)).unwrap();
        assert_eq!(again[0].tier(), Tier::Memory);
        assert_eq!(again[0].inline_body().is_some(), n == 1);
    }
    assert_eq!(store.stats().memory_hits, 2);
    assert_eq!(get(store, &key(2)).await.unwrap().unwrap(), body(2, 500_000));
}

#[tokio::test]
async fn every_range_of_a_large_body_is_right() {
    let bench = Bench::small();
    let whole = body(7, 1_000_003);
    let stored = put(bench.store(), &key(1), &whole).await.unwrap();
    for (start, end) in [
        (0, 1),
        (65_535, 65_537),
        (999_999, u64::MAX),
        (100_000, 900_000),
        (500, 500),
        (2_000_000, 3_000_000),
    ] {
        let expected = &whole[(start as usize).min(whole.len())..(end as usize).min(whole.len())];
        assert_eq!(read(stored.body(start..end)).await.unwrap(), expected, "{start}..{end}");
    }
}

#[tokio::test]
async fn two_keys_with_one_body_share_a_blob_until_the_last_is_removed() {
    let mut bench = Bench::small();
    let body = body(1, 300_000);
    put(bench.store(), &key(1), &body).await.unwrap();
    put(bench.store(), &key(2), &body).await.unwrap();
    assert_eq!(bench.blobs().len(), 1);
    let once = bench.store().stats().blob_bytes;
    bench.reopen().await;
    let store = bench.store();
    assert_eq!(store.remove(&key(1)).await, 1);
    assert_eq!(bench.blobs().len(), 1);
    assert_eq!(get(store, &key(2)).await.unwrap().unwrap(), body);
    assert!(once < 400_000);
    assert_eq!(store.remove(&key(2)).await, 1);
    assert_eq!(bench.blobs().len(), 0);
    assert_eq!(files(&bench.dir().join("blobs")).len(), 0);
}

#[tokio::test]
async fn a_newer_response_replaces_the_older_one_of_its_variant() {
    let mut bench = Bench::small();
    // What is replaced before all is known goes with the sweep.
    bench.store().ready().await;
    for round in 0..3 {
        for size in [100, 70_000] {
            put(bench.store(), &key(size), &body(round, size)).await.unwrap();
        }
    }
    let latest = |size| body(2, size);
    for reopened in [false, true] {
        if reopened {
            bench.reopen().await;
        }
        assert_eq!(bench.store().stats().objects, 2);
        assert_eq!(bench.blobs().len(), 1);
        for size in [100, 70_000] {
            let variants = bench.store().lookup(&key(size)).await;
            assert_eq!(variants.len(), 1);
            assert_eq!(read(variants[0].body(0..u64::MAX)).await.unwrap(), latest(size));
        }
    }
}

#[tokio::test]
async fn variants_of_a_key_are_kept_apart_newest_first_and_bounded() {
    let mut bench = Bench::new(|options| {
        options.disk_limit = 32 * MIB;
        options.variants_per_key = 3;
    });
    let variant = |n: usize| response_to(&[("Accept", &format!("type/{n}"))], &[("Vary", "Accept")]);
    for n in 0..4 {
        put_response(bench.store(), &key(1), variant(n), &body(n as u64, 500)).await.unwrap();
    }
    for _ in 0..2 {
        let variants = bench.store().lookup(&key(1)).await;
        assert_eq!(variants.len(), 3);
        assert_eq!(variants[0].response(), &variant(3));
        for stored in variants.iter() {
            let n = (0..4).find(|n| stored.response() == &variant(*n)).unwrap();
            assert_eq!(read(stored.body(0..u64::MAX)).await.unwrap(), body(n as u64, 500));
        }
        bench.reopen().await;
    }
    assert_eq!(bench.store().remove(&key(1)).await, 3);
    assert!(bench.store().lookup(&key(1)).await.is_empty());
}

#[tokio::test]
async fn keys_with_one_fingerprint_are_told_apart() {
    let bench = Bench::small();
    bench.store().shared().keys.mask.store(1, Ordering::Relaxed);
    let store = bench.store();
    for n in 0..20 {
        put(store, &key(n), &body(n, 1000)).await.unwrap();
    }
    store.shared().memory.remove_where(|_| true);
    for n in 0..20 {
        let variants = store.lookup(&key(n)).await;
        assert_eq!(variants.len(), 1, "key {n}");
        assert_eq!(variants[0].key(), &key(n));
        assert_eq!(read(variants[0].body(0..u64::MAX)).await.unwrap(), body(n, 1000));
    }
    assert!(store.lookup(&key("none")).await.is_empty());
}

#[tokio::test]
async fn freshening_keeps_the_body_and_replaces_the_metadata() {
    let mut bench = Bench::small();
    for size in [500, 100_000, 400_000] {
        let body = body(9, size);
        let stored = put(bench.store(), &key(size), &body).await.unwrap();
        let newer = response_to(&[], &[("ETag", "\"new\"")]);
        let fresh = bench.store().freshen(&stored, newer.clone()).await;
        assert_eq!(fresh.response(), &newer);
        let variants = bench.store().lookup(&key(size)).await;
        assert_eq!(variants.len(), 1);
        assert_eq!(variants[0].response(), &newer);
        assert_eq!(read(variants[0].body(0..u64::MAX)).await.unwrap(), body);
    }
    bench.reopen().await;
    for size in [500, 100_000, 400_000] {
        assert_eq!(get(bench.store(), &key(size)).await.unwrap().unwrap(), body(9, size));
        assert_eq!(
            bench.store().lookup(&key(size)).await[0].response().fields().first("etag").unwrap(),
            b"\"new\""
        );
    }
    assert_eq!(bench.blobs().len(), 2);
}

#[tokio::test]
async fn removed_is_gone_from_memory_and_disk_also_after_a_restart() {
    let mut bench = Bench::new(|_| {});
    // Before the index has been loaded, blobs are left to the sweep.
    bench.store().ready().await;
    for size in [10, 100_000] {
        put(bench.store(), &key(size), &body(1, size)).await.unwrap();
        assert_eq!(bench.store().remove(&key(size)).await, 1);
        assert_eq!(bench.store().remove(&key(size)).await, 0);
        assert!(bench.store().cached(&key(size)).is_none());
        assert!(bench.store().lookup(&key(size)).await.is_empty());
    }
    bench.reopen().await;
    assert_eq!(bench.store().stats().objects, 0);
    assert!(bench.blobs().is_empty());
}

#[tokio::test]
async fn a_body_in_flight_stays_readable_while_its_blob_is_removed() {
    let bench = Bench::small();
    let whole = body(3, 2_000_000);
    bench.store().ready().await;
    let stored = put(bench.store(), &key(1), &whole).await.unwrap();
    let mut reader = stored.body(0..u64::MAX);
    let mut all = reader.next().await.unwrap().unwrap().to_vec();
    bench.store().remove(&key(1)).await;
    assert!(bench.blobs().is_empty());
    while let Some(bytes) = reader.next().await.unwrap() {
        all.extend_from_slice(&bytes);
    }
    assert_eq!(all, whole);
}

#[tokio::test]
async fn filters_remove_by_url_host_tag_and_all() {
    let bench = Bench::small();
    let store = bench.store();
    store.ready().await;
    let at = |url: &str| CacheKey::of(&TargetUri::parse(url.as_bytes()).unwrap());
    let urls = ["http://a.example/1", "http://a.example:81/2", "https://b.example/3", "https://b.example/4"];
    let tags = [
        ("Cache-Tag", "red, blue"),
        ("Surrogate-Key", "green blue"),
        ("xkey", "red"),
        ("Cache-Tag", "redder"),
    ];
    for (url, tag) in urls.iter().zip(tags) {
        put_response(store, &at(url), response_to(&[], &[tag]), &body(1, 100)).await.unwrap();
    }
    assert_eq!(removed(store, tag("blue")).await, 2);
    assert!(store.cached(&at(urls[0])).is_none() && store.cached(&at(urls[2])).is_some());
    assert_eq!(removed(store, host("A.example")).await, 0);
    assert_eq!(removed(store, Filter { keys: Some(vec![at(urls[3])]), ..Filter::default() }).await, 1);
    assert_eq!(removed(store, host("B.example")).await, 1);
    put(store, &at(urls[0]), &body(1, 100)).await.unwrap();
    put(store, &at(urls[1]), &body(2, 100_000)).await.unwrap();
    assert_eq!(removed(store, Filter::default()).await, 2);
    for url in urls {
        assert!(store.lookup(&at(url)).await.is_empty());
    }
    assert_eq!(store.stats().objects, 0);
}

#[test]
fn it_works_from_several_single_threaded_runtimes() {
    let bench = Bench::small();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let store = bench.store();
            scope.spawn(move || {
                runtime().block_on(async {
                    for n in 0..20 {
                        put(store, &key(format_args!("{thread}/{n}")), &body(n, 90_000)).await.unwrap();
                    }
                });
            });
        }
    });
    runtime().block_on(async {
        for thread in 0..3 {
            for n in 0..20 {
                let found = get(bench.store(), &key(format_args!("{thread}/{n}"))).await.unwrap();
                assert_eq!(found.unwrap(), body(n, 90_000));
            }
        }
    });
    assert_eq!(bench.blobs().len(), 20);
}

#[test]
fn futures_may_move_between_threads() {
    fn is_send<T: Send>(_: impl FnOnce(Store, CacheKey, Arc<Stored>) -> T) {}
    is_send(|store, key, _| async move { store.lookup(&key).await });
    is_send(|store, key, _| async move { store.remove(&key).await });
    is_send(|store, _, stored| async move { store.freshen(&stored, response()).await });
    is_send(|store, _, _| async move { store.remove_where(Filter::default()).await });
    is_send(|store, _, _| async move { store.verify(crate::Repair::No, |_| true).await });
    is_send(|store, _, _| async move { store.entries(Filter::default()).await });
    is_send(|store, _, _| store.close());
    is_send(|_, _, stored| async move { stored.body(0..1).next().await });
}

#[tokio::test]
async fn a_lookup_that_began_before_a_removal_does_not_bring_it_back() {
    let bench = Bench::small();
    let store = bench.store();
    put(store, &key(1), &body(1, 100)).await.unwrap();
    let found = store.lookup(&key(1)).await;
    let memory = &store.shared().memory;
    let before = memory.generation(&key(1));
    store.remove(&key(1)).await;
    memory.insert(&key(1), &[Arc::clone(&found[0].core)], before);
    assert!(store.cached(&key(1)).is_none());
}
