use super::*;
use crate::{Repair, VerifyReport};

/// A store with one small response, one blob without and one with a tree, closed.
async fn three() -> Bench {
    let mut bench = Bench::small();
    for size in [1000, 100_000, 600_000] {
        put(bench.store(), &key(size), &body(size as u64, size)).await.unwrap();
    }
    bench.close().await;
    bench
}

#[tokio::test]
async fn a_flipped_byte_in_a_segment_is_never_served() {
    let len = fs::metadata(&three().await.segments()[0]).unwrap().len();
    for at in (16..len).step_by(23) {
        let mut bench = three().await;
        flip(&bench.segments()[0], at);
        bench.reopen().await;
        for size in [1000, 100_000, 600_000] {
            // A flipped bit in the unused end of a record, or in the mark of death, may leave it readable or dead.
            if let Some(found) = get(bench.store(), &key(size)).await {
                assert_eq!(found.unwrap(), body(size as u64, size), "byte {at}");
            }
        }
    }
}

#[tokio::test]
async fn a_flipped_byte_in_a_small_body_is_a_miss_and_the_record_goes() {
    let mut bench = three().await;
    let segment = bench.segments()[0].clone();
    let bytes = fs::read(&segment).unwrap();
    let small = body(1000, 1000);
    let at = bytes.windows(64).position(|window| window == &small[500..564]).unwrap();
    flip(&segment, at as u64);
    bench.reopen().await;
    assert!(bench.store().lookup(&key(1000)).await.is_empty());
    until(bench.store(), |stats| stats.objects == 2).await;
    assert_eq!(bench.store().stats().damaged, 1);
    bench.reopen().await;
    assert!(bench.store().lookup(&key(1000)).await.is_empty());
    assert!(put(bench.store(), &key(1000), &small).await.is_some());
    assert_eq!(get(bench.store(), &key(1000)).await.unwrap().unwrap(), small);
}

#[tokio::test]
async fn a_flipped_byte_in_a_blob_ends_the_body_before_it_leaves() {
    for (size, at) in [(100_000, 0), (100_000, 99_999), (600_000, 0), (600_000, 300_000), (600_000, 599_999)]
    {
        let mut bench = three().await;
        let digest = crate::BlobDigest::of(&body(size as u64, size)).to_string();
        let path = bench.blobs().into_iter().find(|path| path.ends_with(&digest)).unwrap();
        flip(&path, at);
        bench.reopen().await;
        let variants = bench.store().lookup(&key(size)).await;
        let good = body(size as u64, size);
        if let Some(stored) = variants.first() {
            let mut reader = stored.body(0..u64::MAX);
            let mut got = Vec::new();
            let end = loop {
                match reader.next().await {
                    Ok(Some(bytes)) => got.extend_from_slice(&bytes),
                    other => break other,
                }
            };
            assert!(end.is_err(), "size {size} byte {at}");
            assert!(reader.next().await.is_err(), "an error stays one");
            assert_eq!(got, good[..got.len()]);
            assert!(got.len() as u64 <= at);
        } else {
            assert_eq!(size, 100_000);
        }
        until(bench.store(), |stats| stats.objects == 2).await;
        assert_eq!(bench.store().stats().damaged, 1, "counted once");
        eventually(|| !path.exists(), || "the damaged file stays".to_owned()).await;
        assert!(bench.store().lookup(&key(size)).await.is_empty());
        assert!(put(bench.store(), &key(size), &good).await.is_some());
        assert_eq!(get(bench.store(), &key(size)).await.unwrap().unwrap(), good);
    }
}

#[tokio::test]
async fn damage_after_the_first_proof_of_another_block_is_found() {
    let mut bench = three().await;
    bench.reopen().await;
    let stored = bench.store().lookup(&key(600_000)).await[0].clone();
    assert_eq!(read(stored.body(0..1000)).await.unwrap(), body(600_000, 600_000)[..1000]);
    let path = bench.blobs().into_iter().find(|path| fs::metadata(path).unwrap().len() == 600_000).unwrap();
    flip(&path, 500_000);
    assert!(read(stored.body(400_000..600_000)).await.is_err());
}

#[tokio::test]
async fn a_damaged_tree_makes_a_miss() {
    for at in [0, 9, 40, 100] {
        let mut bench = three().await;
        let tree =
            files(&bench.dir().join("blobs")).into_iter().find(|path| path.extension().is_some()).unwrap();
        flip(&tree, at);
        bench.reopen().await;
        assert!(bench.store().lookup(&key(600_000)).await.is_empty());
        until(bench.store(), |stats| stats.objects == 2).await;
    }
}

#[tokio::test]
async fn swapped_cut_grown_empty_and_missing_blobs_are_misses() {
    for size in [100_000, 600_000] {
        for kind in 0..5 {
            let mut bench = three().await;
            let path =
                bench.blobs().into_iter().find(|path| fs::metadata(path).unwrap().len() == size).unwrap();
            let bytes = fs::read(&path).unwrap();
            match kind {
                0 => fs::write(&path, body(99, size as usize)).unwrap(),
                1 => fs::write(&path, &bytes[..bytes.len() - 1]).unwrap(),
                2 => fs::write(&path, [&bytes[..], b"x"].concat()).unwrap(),
                3 => fs::write(&path, b"").unwrap(),
                _ => fs::remove_file(&path).unwrap(),
            }
            bench.reopen().await;
            match get(bench.store(), &key(size)).await {
                None | Some(Err(_)) => {}
                Some(Ok(_)) => panic!("served, kind {kind}"),
            }
            until(bench.store(), |stats| stats.objects == 2).await;
        }
    }
}

#[tokio::test]
async fn a_wiped_directory_under_a_running_store_is_only_misses() {
    let mut bench = three().await;
    bench.reopen().await;
    for dir in ["segments", "blobs"] {
        fs::remove_dir_all(bench.dir().join(dir)).unwrap();
    }
    for size in [1000, 100_000, 600_000] {
        // What is still open may be served.
        if let Some(found) = get(bench.store(), &key(size)).await {
            assert_eq!(found.unwrap(), body(size as u64, size));
        }
    }
    // Storing fails and says so; forwarding goes on.
    let relayed = put(bench.store(), &key(1), &body(1, 10)).await;
    assert!(relayed.is_none());
    assert!(bench.store().stats().write_errors > 0);
    assert!(!bench.store().begin(key(2), response(), Some(5), None).is_storing(), "off for a while");
}

#[tokio::test]
async fn verify_finds_what_is_wrong_and_repair_drops_it() {
    let mut bench = three().await;
    bench.reopen().await;
    let sound = bench.store().verify(Repair::No, |_| true).await.unwrap();
    assert!(sound.is_sound());
    assert_eq!((sound.records, sound.body_bytes), (3, 701_000));
    bench.close().await;
    let large = bench.blobs().into_iter().find(|path| fs::metadata(path).unwrap().len() == 600_000).unwrap();
    flip(&large, 12_345);
    let other = bench.blobs().into_iter().find(|path| fs::metadata(path).unwrap().len() == 100_000).unwrap();
    fs::remove_file(other).unwrap();
    bench.reopen().await;
    let look =
        |report: VerifyReport| (report.records, report.damaged_bodies, report.missing_bodies, report.dropped);
    assert_eq!(look(bench.store().verify(Repair::No, |_| true).await.unwrap()), (3, 1, 1, 0));
    assert_eq!(look(bench.store().verify(Repair::Yes, |_| true).await.unwrap()), (3, 1, 1, 2));
    assert_eq!(look(bench.store().verify(Repair::No, |_| true).await.unwrap()), (1, 0, 0, 0));
    bench.reopen().await;
    assert_eq!(get(bench.store(), &key(1000)).await.unwrap().unwrap(), body(1000, 1000));
    assert!(bench.store().lookup(&key(600_000)).await.is_empty());
}
