use super::*;
use crate::directory::VariantTag;
use crate::record::{BodyFacts, EncodedFront};
use crate::{Filter, IndexState, OpenError};

async fn filled(count: u64) -> Bench {
    let bench = Bench::new(|_| {});
    for n in 0..count {
        put(bench.store(), &key(n), &body(n, size(n))).await.unwrap();
    }
    bench
}

fn size(n: u64) -> usize {
    match n % 10 {
        0 => 90_000,
        5 => 400_000,
        _ => 2000,
    }
}

async fn assert_all(store: &Store, count: u64) {
    for n in 0..count {
        assert_eq!(get(store, &key(n)).await.expect("found").unwrap(), body(n, size(n)), "object {n}");
    }
}

#[tokio::test]
async fn closed_and_opened_everything_is_there() {
    let mut bench = filled(60).await;
    bench.reopen().await;
    let stats = bench.store().stats();
    assert_eq!((stats.objects, stats.index), (60, IndexState::Ready));
    assert_all(bench.store(), 60).await;
    assert_eq!(stats.damaged, 0);
}

#[tokio::test]
async fn lookups_are_answered_before_the_directory_is_loaded() {
    let mut bench = filled(60).await;
    bench.close().await;
    let store = Store::open(bench.options.clone()).unwrap();
    // No `ready`: this waits for the index at most, not for the load.
    assert_all(&store, 60).await;
    store.close().await;
}

#[tokio::test]
async fn a_crash_image_taken_at_any_time_has_what_was_finished() {
    let bench = Bench::new(|_| {});
    for n in 0..80 {
        put(bench.store(), &key(n), &body(n, size(n))).await.unwrap();
        if n % 16 == 3 {
            let mut unfinished = bench.store().begin(key("unfinished"), response(), None, None);
            unfinished.write(body(n, 600_000)).await.unwrap();
            let mut image = bench.crash_image().await;
            drop(unfinished);
            image.store().ready().await;
            assert_all(image.store(), n + 1).await;
            assert!(image.store().lookup(&key("unfinished")).await.is_empty());
            assert_eq!(files(&image.dir().join("temp")).len(), 0);
            assert_eq!(image.store().stats().objects, n + 1, "{n} {:?}", image.store().stats());
            image.close().await;
        }
    }
}

#[tokio::test]
async fn dropped_without_close_nothing_is_lost() {
    let mut bench = filled(30).await;
    drop(bench.store.take());
    bench.reopen().await;
    assert_all(bench.store(), 30).await;
}

#[tokio::test]
async fn removals_and_replacements_survive_a_crash() {
    let bench = filled(20).await;
    bench.store().remove(&key(1)).await;
    bench.store().remove(&key(5)).await;
    put(bench.store(), &key(2), &body(222, 3000)).await.unwrap();
    for lose_index in [false, true] {
        let mut image = bench.crash_image().await;
        if lose_index {
            image.close().await;
            fs::remove_dir_all(image.dir().join("index")).unwrap();
            image.reopen().await;
        }
        image.store().ready().await;
        for n in [1, 5] {
            assert!(
                image.store().lookup(&key(n)).await.is_empty(),
                "{n} came back, index lost: {lose_index}"
            );
        }
        assert_eq!(get(image.store(), &key(2)).await.unwrap().unwrap(), body(222, 3000));
        assert_eq!(get(image.store(), &key(15)).await.unwrap().unwrap(), body(15, size(15)));
        image.close().await;
    }
}

#[tokio::test]
async fn a_lost_index_is_rebuilt_from_the_segments() {
    let mut bench = filled(60).await;
    bench.close().await;
    fs::remove_dir_all(bench.dir().join("index")).unwrap();
    bench.reopen().await;
    assert_all(bench.store(), 60).await;
    // The next start has it again.
    bench.close().await;
    let store = Store::open(bench.options.clone()).unwrap();
    let mut state = store.shared().state.subscribe();
    let opened = *state.wait_for(|state| *state != IndexState::Opening).await.unwrap();
    assert_ne!(opened, IndexState::Rebuilding);
    store.close().await;
}

#[tokio::test]
async fn a_damaged_index_is_set_aside_and_rebuilt() {
    for damage in 0..4 {
        let mut bench = filled(40).await;
        bench.close().await;
        let index = bench.dir().join("index");
        match damage {
            0 => {
                for file in files(&index) {
                    let mut bytes = fs::read(&file).unwrap();
                    for at in (0..bytes.len()).step_by(97) {
                        bytes[at] ^= 0x5a;
                    }
                    fs::write(&file, bytes).unwrap();
                }
            }
            1 => {
                for file in files(&index) {
                    let bytes = fs::read(&file).unwrap();
                    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
                }
            }
            2 => fs::write(index.join("conf"), b"0123456789").unwrap(),
            _ => {
                fs::remove_dir_all(&index).unwrap();
                fs::write(&index, b"not a directory").unwrap();
            }
        }
        bench.reopen().await;
        assert_all(bench.store(), 40).await;
        assert_eq!(bench.store().stats().objects, 40);
    }
}

#[tokio::test]
async fn an_index_that_is_older_than_the_segments_is_brought_up_to_date() {
    let mut bench = filled(20).await;
    bench.close().await;
    let old = tempfile::tempdir().unwrap();
    copy_dir(&bench.dir().join("index"), old.path());
    bench.reopen().await;
    for n in 20..40 {
        put(bench.store(), &key(n), &body(n, size(n))).await.unwrap();
    }
    put(bench.store(), &key(3), &body(333, 1234)).await.unwrap();
    bench.store().remove(&key(4)).await;
    bench.close().await;
    fs::remove_dir_all(bench.dir().join("index")).unwrap();
    copy_dir(old.path(), &bench.dir().join("index"));
    bench.reopen().await;
    assert_eq!(get(bench.store(), &key(3)).await.unwrap().unwrap(), body(333, 1234));
    assert!(bench.store().lookup(&key(4)).await.is_empty());
    for n in 20..40 {
        assert_eq!(get(bench.store(), &key(n)).await.unwrap().unwrap(), body(n, size(n)));
    }
}

#[tokio::test]
async fn what_is_removed_before_it_is_found_again_stays_removed() {
    let mut bench = filled(40).await;
    bench.close().await;
    fs::remove_dir_all(bench.dir().join("index")).unwrap();
    let store = Store::open(bench.options.clone()).unwrap();
    for n in 0..10 {
        store.remove(&key(n)).await;
        assert!(store.lookup(&key(n)).await.is_empty());
    }
    put(&store, &key(10), &body(1010, 100)).await.unwrap();
    store.ready().await;
    for n in 0..10 {
        assert!(store.lookup(&key(n)).await.is_empty(), "{n}");
    }
    assert_eq!(get(&store, &key(10)).await.unwrap().unwrap(), body(1010, 100));
    assert_eq!(get(&store, &key(11)).await.unwrap().unwrap(), body(11, size(11)));
    assert_eq!(store.stats().objects, 30);
    store.close().await;
}

#[tokio::test]
async fn what_is_removed_before_it_is_found_again_stays_removed_after_a_kill() {
    let mut bench = filled(40).await;
    let mut image = bench.crash_image().await;
    image.close().await;
    bench.close().await;
    // The second start dies before it has found anything: its writer takes the removal and nothing else.
    for dir in [bench.dir(), image.dir()] {
        fs::remove_dir_all(dir.join("index")).unwrap();
    }
    let store = Store::open(bench.options.clone()).unwrap();
    store.remove(&key(5)).await;
    store.remove(&key(6)).await;
    put(&store, &key(6), &body(606, 100)).await.unwrap();
    // Only what was noted and stored then reaches the other directory: its old records are not marked.
    let noted = fs::read(bench.dir().join("removals"));
    store.ready().await;
    let newest = bench.segments().pop().unwrap();
    fs::copy(&newest, image.dir().join("segments").join(newest.file_name().unwrap())).unwrap();
    store.close().await;
    // All may have been found before the note could be read: then there is nothing to show.
    if let Ok(noted) = noted {
        fs::write(image.dir().join("removals"), noted).unwrap();
        image.reopen().await;
        assert!(image.store().lookup(&key(5)).await.is_empty());
        assert_eq!(get(image.store(), &key(6)).await.unwrap().unwrap(), body(606, 100));
        assert_eq!(image.store().stats().objects, 39);
        assert!(!image.dir().join("removals").exists());
    }
}

#[tokio::test]
async fn everything_can_be_removed_right_after_a_start() {
    let mut bench = filled(20).await;
    bench.close().await;
    let store = Store::open(bench.options.clone()).unwrap();
    assert_eq!(store.remove_where(Filter::default()).await.unwrap().responses, 20);
    store.close().await;
    assert!(bench.blobs().is_empty());
    bench.reopen().await;
    assert_eq!(bench.store().stats().objects, 0);
}

#[tokio::test]
async fn orphaned_blobs_are_swept() {
    let mut bench = filled(11).await;
    bench.close().await;
    let blobs = bench.blobs();
    let orphan = bench.dir().join(format!("blobs/ab/cd/abcd{}", "0".repeat(60)));
    fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    fs::write(&orphan, b"left behind").unwrap();
    bench.reopen().await;
    // Its directories are the last to go.
    eventually(|| !bench.dir().join("blobs/ab").exists(), || "not swept".to_owned()).await;
    assert_eq!(bench.blobs(), blobs);
    assert_all(bench.store(), 11).await;
}

#[tokio::test]
async fn a_damaged_segment_costs_only_what_it_held_there() {
    let mut bench = filled(40).await;
    bench.close().await;
    let segment = bench.segments()[0].clone();
    let bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(4).enumerate().filter(|(_, window)| window == b"LREC").nth(20).unwrap().0;
    flip(&segment, at as u64 + 75);
    fs::remove_dir_all(bench.dir().join("index")).unwrap();
    bench.reopen().await;
    assert_eq!(bench.store().stats().objects, 39);
    let mut missing = Vec::new();
    for n in 0..40 {
        if get(bench.store(), &key(n)).await.is_none() {
            missing.push(n);
        }
    }
    assert_eq!(missing, [20]);
}

#[tokio::test]
async fn a_directory_has_one_owner_at_a_time() {
    let bench = Bench::small();
    let refused = Store::open(bench.options.clone()).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { pid: Some(pid), .. } if pid == std::process::id()));
}

#[tokio::test]
async fn with_a_small_limit_there_is_no_index_on_disk() {
    let mut bench = Bench::small();
    put(bench.store(), &key(1), &body(1, 500)).await.unwrap();
    bench.reopen().await;
    assert!(!bench.dir().join("index").exists());
    assert_eq!(get(bench.store(), &key(1)).await.unwrap().unwrap(), body(1, 500));
}

#[tokio::test]
async fn many_restarts_do_not_leave_many_segments() {
    let mut bench = Bench::small();
    for n in 0..30 {
        put(bench.store(), &key(n), &body(n, 500)).await.unwrap();
        bench.reopen().await;
    }
    assert!(bench.segments().len() <= 12, "{}", bench.segments().len());
    for n in 0..30 {
        assert_eq!(get(bench.store(), &key(n)).await.unwrap().unwrap(), body(n, 500));
    }
}

/// An origin may send a body that looks like a record for another origin's URL. Damage before it makes a scan look
/// inside that body.
#[tokio::test]
async fn a_body_that_looks_like_a_record_is_none_when_the_record_around_it_is_damaged() {
    let mut bench = Bench::small();
    let forged = body(66, 50);
    let facts = BodyFacts { digest: crate::BlobDigest::of(&forged), len: 50, file: None };
    let victim = key("victim");
    let metadata = crate::metadata::encode(&response());
    let mut front = EncodedFront::new(victim.as_str(), &metadata, VariantTag(0), facts).unwrap();
    // Wherever the body lies, one of these begins where a record may begin.
    let mut sent = Vec::new();
    for shift in 0..8 {
        sent.resize(sent.len().next_multiple_of(8) + shift, 0);
        sent.extend_from_slice(front.seal(1 << 40));
        sent.extend_from_slice(&forged);
        sent.resize(sent.len().next_multiple_of(8), 0);
    }
    put(bench.store(), &key("attacker"), &sent.into()).await.unwrap();
    put(bench.store(), &key("behind"), &body(5, 500)).await.unwrap();
    bench.close().await;
    let segment = bench.segments()[0].clone();
    flip(&segment, 16);
    bench.reopen().await;
    assert!(bench.store().lookup(&victim).await.is_empty());
    assert_eq!(get(bench.store(), &key("behind")).await.unwrap().unwrap(), body(5, 500));
    assert_eq!(bench.store().stats().objects, 1);
}
