use std::future::Future;
use std::task::{Context, Poll, Waker};

use larder_policy::packages::ExpectedDigest;
use sha2::{Digest, Sha256, Sha512};

use super::*;
use crate::{Fill, FillError};

fn begin(bench: &Bench, length: Option<u64>) -> Fill {
    bench.store().begin(key("fill"), response(), length, None)
}

/// Polls once.
fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Notes are written there, too, and are gone at once.
async fn no_temp_files(bench: &Bench) {
    let none = || files(&bench.dir().join("temp")).is_empty();
    eventually(none, || "temporary files stay".to_owned()).await;
}

#[tokio::test]
async fn readers_follow_from_any_offset_at_their_own_pace() {
    let bench = Bench::small();
    let whole = body(1, 1_300_000);
    let mut fill = begin(&bench, None);
    let filling = fill.filling();
    let offsets = [0_u64, 1, 65_536, 700_001, 1_299_999];
    let followers: Vec<_> = offsets
        .into_iter()
        .map(|offset| {
            let reader = filling.reader(offset..u64::MAX).unwrap();
            tokio::spawn(read(reader))
        })
        .collect();
    let mut slow = filling.reader(0..u64::MAX).unwrap();
    let mut rest = whole.clone();
    while !rest.is_empty() {
        fill.write(rest.split_to(rest.len().min(33_333))).await.unwrap();
    }
    let late = filling.reader(5..100_005).unwrap();
    let stored = fill.finish().await.unwrap();
    for (offset, follower) in offsets.into_iter().zip(followers) {
        assert_eq!(follower.await.unwrap().unwrap(), whole[offset as usize..], "from {offset}");
    }
    assert_eq!(read(late).await.unwrap(), whole[5..100_005]);
    assert_eq!(slow.next().await.unwrap().unwrap()[..], whole[..262_144]);
    assert_eq!(read(slow).await.unwrap(), whole[262_144..]);
    assert_eq!(read(stored.body(0..u64::MAX)).await.unwrap(), whole);
    no_temp_files(&bench).await;
    assert_eq!(bench.store().stats().temp_bytes, 0);
}

#[tokio::test]
async fn a_follower_gets_bytes_before_the_end_but_the_last_ones_only_when_stored() {
    let bench = Bench::small();
    let mut fill = begin(&bench, Some(10));
    let filling = fill.filling();
    let mut reader = filling.reader(0..u64::MAX).unwrap();
    fill.write(Bytes::from_static(b"01234")).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), "01234");
    fill.write(Bytes::from_static(b"56789")).await.unwrap();
    {
        let mut next = std::pin::pin!(reader.next());
        assert!(poll(next.as_mut()).is_pending(), "the response is not stored yet");
    }
    let stored = fill.finish().await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), "56789");
    assert_eq!(reader.next().await.unwrap(), None);
    assert_eq!(stored.inline_body().unwrap(), "0123456789");
}

#[tokio::test]
async fn without_a_length_the_end_is_told_only_when_stored() {
    let bench = Bench::small();
    let mut fill = begin(&bench, None);
    let mut reader = fill.filling().reader(0..u64::MAX).unwrap();
    fill.write(Bytes::from_static(b"abc")).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), "abc");
    assert!(poll(std::pin::pin!(reader.next()).as_mut()).is_pending());
    fill.finish().await.unwrap();
    assert_eq!(reader.next().await.unwrap(), None);
    assert!(!bench.store().lookup(&key("fill")).await.is_empty());
}

#[tokio::test]
async fn an_aborted_fill_is_an_error_for_its_readers_and_leaves_nothing() {
    let bench = Bench::small();
    for size in [100, 600_000] {
        let mut fill = begin(&bench, None);
        let filling = fill.filling();
        let mut reader = filling.reader(0..u64::MAX).unwrap();
        fill.write(body(1, size)).await.unwrap();
        assert!(reader.next().await.unwrap().is_some());
        drop(fill);
        assert!(read(reader).await.is_err());
        assert!(filling.reader(0..1).is_none());
        assert!(bench.store().lookup(&key("fill")).await.is_empty());
        no_temp_files(&bench).await;
        assert_eq!(bench.store().stats().temp_bytes, 0);
    }
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_not_stored() {
    let bench = Bench::small();
    let mut short = begin(&bench, Some(10));
    let reader = short.filling().reader(0..u64::MAX).unwrap();
    short.write(Bytes::from_static(b"012345678")).await.unwrap();
    assert!(short.finish().await.is_none());
    assert!(read(reader).await.is_err());
    let mut long = begin(&bench, Some(10));
    assert_eq!(long.write(Bytes::from_static(b"0123456789a")).await, Err(FillError::TooLong));
    assert!(long.finish().await.is_none());
    assert!(bench.store().lookup(&key("fill")).await.is_empty());
}

#[tokio::test]
async fn only_a_body_with_the_expected_digest_is_stored() {
    let bench = Bench::small();
    for size in [1000, 500_000] {
        let body = body(5, size);
        let right256 = ExpectedDigest::Sha256(Sha256::digest(&body).into());
        let right512 = ExpectedDigest::Sha512(Sha512::digest(&body).into());
        for (n, (expect, stores)) in
            [(right256, true), (right512, true), (ExpectedDigest::Sha256([7; 32]), false)]
                .into_iter()
                .enumerate()
        {
            let key = key(format_args!("{size}/{n}"));
            let mut fill = bench.store().begin(key.clone(), response(), Some(size as u64), Some(expect));
            let reader = fill.filling().reader(0..u64::MAX).unwrap();
            let mut rest = body.clone();
            while !rest.is_empty() {
                fill.write(rest.split_to(rest.len().min(100_000))).await.unwrap();
            }
            assert_eq!(fill.finish().await.is_some(), stores);
            assert_eq!(read(reader).await.unwrap(), body, "readers get what the origin sent");
            assert_eq!(!bench.store().lookup(&key).await.is_empty(), stores);
        }
    }
    assert_eq!(bench.store().stats().digest_mismatches, 2);
    no_temp_files(&bench).await;
}

#[tokio::test]
async fn a_relayed_body_goes_at_its_slowest_readers_pace() {
    let bench = Bench::new(|options| {
        options.disk_limit = 32 * MIB;
        options.largest_object = Some(1000);
    });
    let whole = body(2, 2_000_000);
    let mut fill = begin(&bench, Some(2_000_000));
    assert!(!fill.is_storing());
    let filling = fill.filling();
    let fast = tokio::spawn(read(filling.reader(0..u64::MAX).unwrap()));
    let mut slow = filling.reader(0..u64::MAX).unwrap();
    let mut rest = whole.clone();
    let writer = tokio::spawn(async move {
        while !rest.is_empty() {
            fill.write(rest.split_to(rest.len().min(50_000))).await.unwrap();
        }
        fill.finish().await.is_none()
    });
    let mut got = Vec::new();
    while let Some(bytes) = slow.next().await.unwrap() {
        got.extend_from_slice(&bytes);
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        assert!(filling.received() <= got.len() as u64 + 262_144 + 2 * 50_000, "runs away from its reader");
    }
    assert_eq!(got, whole);
    assert_eq!(fast.await.unwrap().unwrap(), whole);
    assert!(writer.await.unwrap());
    assert!(filling.reader(0..10).is_none(), "the start has gone by");
    assert!(bench.store().lookup(&key("fill")).await.is_empty());
    assert_eq!(bench.store().stats().relayed, 1);
}

#[tokio::test]
async fn a_relayed_body_without_readers_is_given_up() {
    let bench = Bench::new(|options| options.largest_object = Some(10));
    let mut fill = begin(&bench, Some(1_000_000));
    let reader = fill.filling().reader(0..u64::MAX).unwrap();
    fill.write(body(1, 1000)).await.unwrap();
    drop(reader);
    assert_eq!(fill.write(body(1, 1000)).await, Err(FillError::NoReaders));
}

#[tokio::test]
async fn a_body_that_outgrows_its_bound_is_relayed_to_the_readers_it_has() {
    let bench = Bench::new(|options| {
        options.disk_limit = 32 * MIB;
        options.largest_object = Some(700_000);
    });
    let whole = body(4, 3_000_000);
    let mut fill = begin(&bench, None);
    let filling = fill.filling();
    let reader = tokio::spawn(read(filling.reader(0..u64::MAX).unwrap()));
    let mut rest = whole.clone();
    while !rest.is_empty() {
        fill.write(rest.split_to(rest.len().min(70_000))).await.unwrap();
    }
    assert!(filling.reader(0..1).is_none());
    assert!(fill.finish().await.is_none());
    assert_eq!(reader.await.unwrap().unwrap(), whole);
    no_temp_files(&bench).await;
}

#[tokio::test]
async fn a_budget_for_unfinished_bodies_holds() {
    let bench = Bench::new(|options| {
        options.disk_limit = 32 * MIB;
        options.temp_limit = Some(2 * MIB);
    });
    let mut first = bench.store().begin(key(1), response(), Some(1_500_000), None);
    first.write(body(1, 400_000)).await.unwrap();
    assert!(bench.store().stats().temp_bytes >= 1_500_000);
    let mut second = bench.store().begin(key(2), response(), Some(1_500_000), None);
    let filling = second.filling();
    let reader = tokio::spawn(read(filling.reader(0..u64::MAX).unwrap()));
    second.write(body(2, 1_500_000)).await.unwrap();
    assert!(!second.is_storing());
    assert!(second.finish().await.is_none());
    assert_eq!(reader.await.unwrap().unwrap(), body(2, 1_500_000));
    first.write(body(1, 1_500_000).slice(400_000..)).await.unwrap();
    assert!(first.finish().await.is_some());
    assert_eq!(get(bench.store(), &key(1)).await.unwrap().unwrap(), body(1, 1_500_000));
}

#[tokio::test]
async fn tiny_chunks_take_little_memory_and_arrive_whole() {
    let bench = Bench::small();
    let whole = body(8, 5000);
    let mut fill = begin(&bench, None);
    let reader = fill.filling().reader(0..u64::MAX).unwrap();
    for at in 0..whole.len() {
        fill.write(whole.slice(at..=at)).await.unwrap();
    }
    let stored = fill.finish().await.unwrap();
    assert_eq!(read(reader).await.unwrap(), whole);
    assert_eq!(stored.inline_body().unwrap(), &whole);
}

#[tokio::test]
async fn a_thousand_readers_of_one_growing_body_all_get_it() {
    let bench = Bench::small();
    let whole = body(3, 4_000_000);
    let mut fill = begin(&bench, None);
    let filling = fill.filling();
    let readers: Vec<_> = (0..1000_u64)
        .map(|n| {
            let start = if n % 3 == 0 { 0 } else { n * 3777 };
            let mut reader = filling.reader(start..u64::MAX).unwrap();
            let whole = whole.clone();
            tokio::spawn(async move {
                let mut at = start as usize;
                while let Some(bytes) = reader.next().await.unwrap() {
                    assert_eq!(bytes, whole[at..at + bytes.len()], "reader {n} at {at}");
                    at += bytes.len();
                    if n % 10 == 1 {
                        // This one leaves.
                        return 0;
                    }
                    if n % 10 == 2 {
                        // This one is slow.
                        for _ in 0..20 {
                            tokio::task::yield_now().await;
                        }
                    }
                }
                assert_eq!(at, whole.len(), "reader {n}");
                1
            })
        })
        .collect();
    let mut rest = whole.clone();
    while !rest.is_empty() {
        fill.write(rest.split_to(rest.len().min(16_384))).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(fill.finish().await.is_some());
    let mut through = 0;
    for reader in readers {
        through += reader.await.unwrap();
    }
    assert_eq!(through, 900);
    assert_eq!(filling.readers(), 0);
    let stats = bench.store().stats();
    assert_eq!((stats.temp_bytes, stats.damaged), (0, 0));
}
