//! Several variants of a key, of which some cannot be given: the others in memory do not hide them.

use super::*;
use crate::stats::IndexState;

const SMALL: usize = 1000;
const BLOB: usize = 100_000;

fn variant(accept: &str) -> StoredResponse {
    response_to(&[("Accept", accept)], &[("Vary", "Accept")])
}

/// A store, just opened, with two variants of key 0: one in its segment, one that is a blob.
async fn two() -> Bench {
    let mut bench = Bench::small();
    for (accept, len) in [("text/plain", SMALL), ("image/png", BLOB)] {
        put_response(bench.store(), &key(0), variant(accept), &body(len as u64, len)).await.unwrap();
    }
    bench.reopen().await;
    bench
}

/// How many variants a look-up finds, and how many the memory tier has after it.
async fn found(bench: &Bench) -> (usize, Option<usize>) {
    let found = bench.store().lookup(&key(0)).await.len();
    (found, bench.store().cached(&key(0)).map(|variants| variants.len()))
}

#[tokio::test]
async fn a_variant_that_cannot_be_read_just_now_is_looked_for_again() {
    let bench = two().await;
    let blob = bench.blobs()[0].clone();
    let aside = bench.dir().join("aside");
    fs::rename(&blob, &aside).unwrap();
    // What leads to itself cannot be opened, and is there.
    std::os::unix::fs::symlink(&blob, &blob).unwrap();
    assert_eq!(found(&bench).await, (1, None));
    assert!(bench.store().stats().read_errors > 0);
    fs::rename(&aside, &blob).unwrap();
    assert_eq!(found(&bench).await, (2, Some(2)));
}

#[tokio::test]
async fn a_variant_without_its_body_is_looked_for_until_it_is_gone() {
    let bench = two().await;
    fs::remove_file(&bench.blobs()[0]).unwrap();
    assert_eq!(found(&bench).await, (1, None));
    until(bench.store(), |stats| stats.objects == 1).await;
    crate::purge::barrier(bench.store().sender()).await.unwrap();
    assert_eq!(found(&bench).await, (1, Some(1)));
}

#[tokio::test]
async fn while_records_are_being_found_no_variant_hides_the_others() {
    let bench = two().await;
    let state = &bench.store().shared().state;
    state.send_replace(IndexState::Rebuilding);
    assert_eq!(found(&bench).await, (2, None));
    state.send_replace(IndexState::Ready);
    assert_eq!(found(&bench).await, (2, Some(2)));
}
