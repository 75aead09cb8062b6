//! Where parts of the store meet that are right each by itself: what lands in one batch, and what is told late.

use std::sync::mpsc::channel;

use larder_policy::packages::ExpectedDigest;
use larder_policy::{Held, Runs};
use tokio::sync::oneshot;

use super::parts::{begin, fill, write};
use super::*;
use crate::command::Command;
use crate::purge::barrier;

const LEN: usize = 1_900_000;

/// The writer does nothing until `then` has queued its commands: it stops at a look at the file system.
async fn in_one_batch(store: &Store, then: impl AsyncFnOnce()) {
    let shared = store.shared().clone();
    let (locked, is_locked) = channel();
    let (release, released) = channel::<()>();
    let holder = std::thread::spawn(move || {
        let _held = shared.layout.pretended_space.lock().unwrap();
        locked.send(()).unwrap();
        let _ = released.recv();
    });
    is_locked.recv().unwrap();
    let (reply, _nobody) = oneshot::channel();
    store.sender().send(Command::Reserve(16 << 20, reply)).await.unwrap();
    queued(store, 0).await;
    then().await;
    drop(release);
    holder.join().unwrap();
}

async fn queued(store: &Store, commands: usize) {
    let all = store.sender().max_capacity();
    eventually(|| store.sender().capacity() == all - commands, || format!("not {commands} are queued")).await;
}

#[tokio::test]
async fn a_part_that_is_freshened_while_it_becomes_whole_does_not_take_the_whole_along() {
    let bench = Bench::small();
    let (store, key, body) = (bench.store(), key("wheel"), body(1, LEN));
    fill(store, &key, &body, 0..1_000_000).await.unwrap();
    let stored = store.lookup(&key).await[0].clone();
    let mut rest = begin(store, &key, &(1_000_000..LEN), LEN).await;
    write(&mut rest, &body[1_000_000..]).await;
    let mut tasks = None;
    in_one_batch(store, async || {
        let whole = tokio::spawn(rest.finish());
        queued(store, 1).await;
        let other = store.clone();
        let fresh = tokio::spawn(async move {
            let again = stored.response().clone();
            other.freshen(&stored, again).await;
        });
        queued(store, 2).await;
        tasks = Some((whole, fresh));
    })
    .await;
    let (whole, fresh) = tasks.unwrap();
    assert!(whole.await.unwrap().is_some());
    fresh.await.unwrap();
    assert_eq!(get(store, &key).await.unwrap().unwrap(), body);
    barrier(store.sender()).await.unwrap();
    assert_eq!((bench.blobs().len(), files(&bench.dir().join("partials")).len()), (1, 0));
}

#[tokio::test]
async fn a_part_that_becomes_whole_twice_at_once_leaves_nothing_behind() {
    let bench = Bench::small();
    let (store, key, body) = (bench.store(), key("wheel"), body(1, LEN));
    fill(store, &key, &body, 0..1_000_000).await.unwrap();
    let mut one = begin(store, &key, &(1_000_000..LEN), LEN).await;
    let mut two = begin(store, &key, &(1_000_000..LEN), LEN).await;
    write(&mut one, &body[1_000_000..]).await;
    write(&mut two, &body[1_000_000..]).await;
    let mut tasks = None;
    in_one_batch(store, async || {
        tasks = Some((tokio::spawn(one.finish()), tokio::spawn(two.finish())));
        queued(store, 2).await;
    })
    .await;
    let (one, two) = tasks.unwrap();
    assert!(one.await.unwrap().is_some() | two.await.unwrap().is_some());
    assert_eq!(get(store, &key).await.unwrap().unwrap(), body);
    assert_eq!(files(&bench.dir().join("temp")), Vec::<PathBuf>::new());
    store.remove(&key).await;
    assert_eq!((bench.blobs().len(), files(&bench.dir().join("partials")).len()), (0, 0));
}

#[tokio::test]
async fn a_late_report_of_damage_does_not_take_what_was_fetched_anew_along() {
    let bench = Bench::small();
    let (store, key, body) = (bench.store(), key(1), body(1, 600_000));
    put(store, &key, &body).await.unwrap();
    let stored = store.lookup(&key).await[0].clone();
    let (mut early, mut late) = (stored.body(0..u64::MAX), stored.body(0..u64::MAX));
    early.next().await.unwrap();
    late.next().await.unwrap();
    flip(&bench.blobs()[0], 599_000);
    assert!(read(early).await.is_err());
    until(store, |stats| stats.objects == 0).await;
    put(store, &key, &body).await.unwrap();
    assert!(read(late).await.is_err());
    barrier(store.sender()).await.unwrap();
    barrier(store.sender()).await.unwrap();
    assert_eq!(get(store, &key).await.unwrap().unwrap(), body);
    assert_eq!((store.stats().objects, store.stats().quarantined), (1, 1));
}

#[tokio::test]
async fn a_part_whose_whole_is_not_what_its_url_says_is_not_served() {
    let bench = Bench::small();
    let (store, key, body) = (bench.store(), key("wheel"), body(1, LEN));
    fill(store, &key, &body, 0..1_000_000).await.unwrap();
    let stored = store.lookup(&key).await[0].clone();
    assert!(matches!(stored.held(), Held::Runs(_)));
    let whole = stored.response().holding(&Runs::of(0..LEN as u64), Some(LEN as u64)).unwrap();
    let expected = Some(ExpectedDigest::Sha256([7; 32]));
    let mut rest =
        store.begin_into(&stored, whole, 1_000_000..LEN as u64, Some(LEN as u64), expected).unwrap();
    write(&mut rest, &body[1_000_000..]).await;
    assert!(rest.finish().await.is_none());
    until(store, |stats| stats.objects == 0).await;
    assert!(store.lookup(&key).await.is_empty());
    barrier(store.sender()).await.unwrap();
    assert_eq!(files(&bench.dir().join("partials")).len(), 0);
}

#[tokio::test]
async fn what_a_check_found_damaged_is_proved_again_at_the_next_read() {
    let bench = Bench::new(|options| {
        options.disk_limit = 32 * MIB;
        options.memory_limit = 0;
    });
    let (store, key, body) = (bench.store(), key(1), body(1, 600_000));
    put(store, &key, &body).await.unwrap();
    assert_eq!(get(store, &key).await.unwrap().unwrap(), body);
    flip(&bench.blobs()[0], 300_000);
    let report = store.verify(crate::Repair::No, |_| true).await.unwrap();
    assert_eq!(report.damaged_bodies, 1);
    assert!(get(store, &key).await.unwrap().is_err(), "proved before, but no longer");
    until(store, |stats| stats.objects == 0).await;
}

#[tokio::test]
async fn a_repair_sets_a_damaged_blob_aside() {
    let bench = Bench::small();
    let (store, key, body) = (bench.store(), key(1), body(1, 600_000));
    put(store, &key, &body).await.unwrap();
    flip(&bench.blobs()[0], 300_000);
    let report = store.verify(crate::Repair::Yes, |_| true).await.unwrap();
    assert_eq!((report.damaged_bodies, report.dropped), (1, 1));
    let stats = store.stats();
    assert_eq!((stats.objects, stats.quarantined, stats.damaged), (0, 1, 1));
    assert_eq!(files(&bench.dir().join("quarantine")).len(), 1);
}
