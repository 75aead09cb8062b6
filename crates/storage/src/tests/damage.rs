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
async fn a_tree_that_is_damaged_or_missing_is_made_anew_from_a_sound_body() {
    for at in [Some(0), Some(9), Some(40), Some(100), None] {
        for by_scrub in [false, true] {
            let mut bench = three().await;
            let tree = files(&bench.dir().join("blobs"))
                .into_iter()
                .find(|path| path.extension().is_some())
                .unwrap();
            let sound = fs::read(&tree).unwrap();
            match at {
                Some(at) => flip(&tree, at),
                None => fs::remove_file(&tree).unwrap(),
            }
            bench.reopen().await;
            if by_scrub {
                crate::scrub::pass(bench.store().shared());
            } else {
                let found = get(bench.store(), &key(600_000)).await;
                assert_eq!(found.unwrap().unwrap(), body(600_000, 600_000));
            }
            eventually(|| fs::read(&tree).is_ok_and(|now| now == sound), || "no new tree".to_owned()).await;
            let stats = bench.store().stats();
            assert_eq!((stats.objects, stats.mended, stats.damaged), (3, 1, 0));
        }
    }
}

#[tokio::test]
async fn a_damaged_tree_beside_a_damaged_body_costs_the_body() {
    let mut bench = three().await;
    for path in files(&bench.dir().join("blobs")) {
        flip(&path, 40);
    }
    bench.reopen().await;
    assert!(bench.store().lookup(&key(600_000)).await.is_empty());
    until(bench.store(), |stats| stats.objects == 2).await;
    assert_eq!(bench.store().stats().mended, 0);
}

/// What lies in the quarantine.
fn kept(bench: &Bench) -> Vec<PathBuf> {
    let dir = bench.dir().join("quarantine");
    if dir.exists() { files(&dir) } else { Vec::new() }
}

#[tokio::test]
async fn a_damaged_blob_is_set_aside_and_all_records_that_name_it_go() {
    for size in [100_000, 600_000] {
        let mut bench = three().await;
        bench.reopen().await;
        let good = body(size as u64, size);
        for n in 0..3 {
            put(bench.store(), &key(n), &good).await.unwrap();
        }
        bench.reopen().await;
        assert_eq!(bench.store().stats().objects, 6);
        let path =
            bench.blobs().into_iter().find(|path| fs::metadata(path).unwrap().len() == size as u64).unwrap();
        flip(&path, 77);
        let bad = fs::read(&path).unwrap();
        assert!(get(bench.store(), &key(1)).await.is_none_or(|found| found.is_err()));
        until(bench.store(), |stats| stats.objects == 2 && stats.removed == 4).await;
        let stats = bench.store().stats();
        assert_eq!((stats.damaged, stats.quarantined), (1, 1), "counted once");
        assert_eq!(stats.quarantine_bytes, (size as u64).next_multiple_of(4096));
        let kept = kept(&bench);
        assert_eq!(kept.len(), 1);
        assert_eq!(fs::read(&kept[0]).unwrap(), bad, "for somebody to look at");
        assert!(put(bench.store(), &key(1), &good).await.is_some());
        assert_eq!(get(bench.store(), &key(1)).await.unwrap().unwrap(), good);
        // The accounts are right: what is removed frees what it took.
        let before = bench.store().stats().blob_bytes;
        assert_eq!(bench.store().remove(&key(1)).await, 1);
        assert!(!path.exists());
        assert!(bench.store().stats().blob_bytes < before);
        // But for the directories, which are counted again by the sweep after a start.
        let counted = bench.store().stats().blob_bytes;
        bench.reopen().await;
        assert!(bench.store().stats().blob_bytes.abs_diff(counted) <= 4 * 4096);
        assert_eq!(bench.store().stats().quarantine_bytes, (size as u64).next_multiple_of(4096));
    }
}

#[tokio::test]
async fn a_blob_that_comes_back_while_records_name_it_is_owned_by_all_of_them() {
    let mut bench = three().await;
    bench.reopen().await;
    let good = body(1, 300_000);
    for n in 0..3 {
        put(bench.store(), &key(n), &good).await.unwrap();
    }
    let path = bench.blobs().into_iter().find(|path| fs::metadata(path).unwrap().len() == 300_000).unwrap();
    let stored = bench.store().lookup(&key(0)).await[0].clone();
    flip(&path, 5);
    assert!(read(stored.body(0..u64::MAX)).await.is_err());
    put(bench.store(), &key(9), &good).await.unwrap();
    until(bench.store(), |stats| stats.damaged == 1).await;
    // However the search for the others went: each key has the right body or none, and the last one takes the blob along.
    for n in [1, 2, 9] {
        if let Some(found) = get(bench.store(), &key(n)).await {
            assert_eq!(found.unwrap(), good);
        }
    }
    for n in 0..10 {
        bench.store().remove(&key(n)).await;
    }
    until(bench.store(), |stats| stats.objects == 3).await;
    eventually(|| !path.exists(), || "the blob stays".to_owned()).await;
}

#[tokio::test]
async fn the_quarantine_is_bounded() {
    for (limit, files, most) in [(0, 3, 0), (300_000, 5, 2), (u64::MAX, 20, 16)] {
        let mut bench = Bench::new(|options| {
            options.disk_limit = 60 * MIB;
            options.quarantine_limit = limit;
            options.memory_limit = 0;
        });
        for n in 0..files {
            put(bench.store(), &key(n), &body(n, 110_000)).await.unwrap();
        }
        for path in bench.blobs() {
            flip(&path, 9);
        }
        bench.reopen().await;
        for n in 0..files {
            assert!(bench.store().lookup(&key(n)).await.is_empty());
        }
        until(bench.store(), |stats| stats.objects == 0).await;
        let stats = bench.store().stats();
        assert_eq!((stats.damaged, kept(&bench).len() as u64), (files, most));
        assert_eq!(stats.quarantine_bytes, most * 110_592);
        bench.reopen().await;
        assert_eq!(bench.store().stats().quarantine_bytes, most * 110_592);
    }
}

/// Where the small body lies in its segment.
fn small_body(segment: &Path) -> u64 {
    let bytes = fs::read(segment).unwrap();
    let small = body(1000, 1000);
    bytes.windows(64).position(|window| window == &small[500..564]).unwrap() as u64
}

#[tokio::test]
async fn always_proves_what_was_proved_before() {
    for size in [100_000, 600_000] {
        let mut bench = three().await;
        bench.options.verify = crate::Verify::Always;
        bench.options.memory_limit = 0;
        bench.reopen().await;
        let stored = bench.store().lookup(&key(size)).await[0].clone();
        assert_eq!(read(stored.body(0..u64::MAX)).await.unwrap(), body(size as u64, size));
        let path =
            bench.blobs().into_iter().find(|path| fs::metadata(path).unwrap().len() == size as u64).unwrap();
        flip(&path, 50_000);
        let again = bench.store().lookup(&key(size)).await;
        match again.first() {
            Some(stored) => assert!(read(stored.body(0..u64::MAX)).await.is_err()),
            None => assert_eq!(size, 100_000, "a small one is proved when it is looked up"),
        }
        until(bench.store(), |stats| stats.damaged == 1).await;
    }
}

#[tokio::test]
async fn scrub_only_leaves_the_proof_to_the_scrub() {
    let mut bench = three().await;
    let segment = bench.segments()[0].clone();
    flip(&segment, small_body(&segment));
    for path in bench.blobs() {
        flip(&path, 50_000);
    }
    bench.options.verify = crate::Verify::ScrubOnly;
    bench.reopen().await;
    for size in [1000, 100_000, 600_000] {
        let found = get(bench.store(), &key(size)).await.unwrap().unwrap();
        assert!(found.len() == size && found != body(size as u64, size), "given up, and so it is told");
    }
    crate::scrub::pass(bench.store().shared());
    until(bench.store(), |stats| stats.objects == 0).await;
    assert_eq!(bench.store().stats().damaged, 3);
}

#[tokio::test]
async fn a_scrub_of_a_sound_store_finds_nothing() {
    let mut bench = three().await;
    bench.reopen().await;
    crate::scrub::pass(bench.store().shared());
    let stats = bench.store().stats();
    assert_eq!((stats.objects, stats.scrub_passes, stats.scrub_damaged, stats.damaged), (3, 1, 0, 0));
    assert!(stats.scrubbed_bytes >= 701_000 && stats.scrub_pass_bytes == 0, "{stats:?}");
}

#[tokio::test]
async fn a_scrub_finds_every_kind_of_damage() {
    for kind in 0..6 {
        let mut bench = three().await;
        let segment = bench.segments()[0].clone();
        let blob = |size| {
            let sized = |path: &PathBuf| fs::metadata(path).unwrap().len() == size;
            bench.blobs().into_iter().find(sized).unwrap()
        };
        match kind {
            0 => flip(&segment, small_body(&segment)),
            // The magic of the first record.
            1 => flip(&segment, 16),
            2 => flip(&blob(100_000), 99_999),
            3 => flip(&blob(600_000), 400_000),
            4 => fs::remove_file(blob(100_000)).unwrap(),
            _ => fs::write(blob(600_000), "short").unwrap(),
        }
        // With an index, so that what it names is known although the segment does not show it any more.
        bench.options.disk_limit = 1 << 30;
        bench.reopen().await;
        let lost = u64::from(kind == 1 && bench.store().stats().objects == 2);
        crate::scrub::pass(bench.store().shared());
        until(bench.store(), |stats| stats.objects == 2).await;
        assert_eq!(bench.store().stats().scrub_damaged + lost, 1, "kind {kind}");
        crate::scrub::pass(bench.store().shared());
        assert_eq!(bench.store().stats().scrub_damaged + lost, 1, "kind {kind}: found once");
    }
}

#[tokio::test]
async fn the_magic_of_a_record_that_is_known_is_found_damaged_by_the_scrub() {
    let mut bench = Bench::new(|_| {});
    put(bench.store(), &key(1), &body(1, 1000)).await.unwrap();
    bench.reopen().await;
    flip(&bench.segments()[0], 16);
    crate::scrub::pass(bench.store().shared());
    until(bench.store(), |stats| stats.objects == 0).await;
    assert_eq!((bench.store().stats().scrub_damaged, bench.store().stats().damaged), (1, 1));
}

#[tokio::test]
async fn a_record_that_was_half_written_when_the_pass_began_is_no_damage() {
    let bench = Bench::small();
    for n in 0..3 {
        put(bench.store(), &key(n), &body(n, 1000)).await.unwrap();
    }
    crate::purge::barrier(bench.store().sender()).await.unwrap();
    let (id, len) = crate::segment::list(&bench.store().shared().layout).unwrap()[0];
    for size in 16..len {
        crate::scrub::segment(bench.store().shared(), id, size);
        assert_eq!(bench.store().stats().scrub_damaged, 0, "{size} of {len}");
    }
    crate::purge::barrier(bench.store().sender()).await.unwrap();
    assert_eq!((bench.store().stats().objects, bench.store().stats().damaged), (3, 0));
}

#[tokio::test]
async fn a_scrub_goes_on_where_it_was_and_waits_when_it_is_through() {
    let mut bench = three().await;
    bench.options.scrub_after = std::time::Duration::ZERO;
    bench.reopen().await;
    until(bench.store(), |stats| stats.scrub_passes == 1).await;
    bench.reopen().await;
    // Not due for a week.
    assert_eq!(bench.store().stats().scrubbed_bytes, 0);
    bench.close().await;
    // As if it had been stopped behind all that is there now: there is nothing left to read.
    let number = 1000_u32.to_le_bytes();
    let note = [number, crc32c::crc32c(&number).to_le_bytes()].concat();
    fs::write(bench.dir().join("scrub"), note).unwrap();
    bench.reopen().await;
    until(bench.store(), |stats| stats.scrub_passes == 1).await;
    assert_eq!(bench.store().stats().scrubbed_bytes, 0);
}

#[tokio::test]
async fn copying_a_record_proves_it() {
    let bench = Bench::new(|options| {
        options.disk_limit = 32 * MIB;
        options.segment_bytes = MIB / 4;
        options.memory_limit = 0;
    });
    put(bench.store(), &key(1000), &body(1000, 1000)).await.unwrap();
    let segment = bench.segments()[0].clone();
    flip(&segment, small_body(&segment));
    for round in 0..20 {
        for n in 0..20 {
            put(bench.store(), &key(n), &body(n + round, 20_000)).await.unwrap();
        }
    }
    until(bench.store(), |stats| stats.damaged == 1).await;
    assert!(bench.store().lookup(&key(1000)).await.is_empty());
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

#[tokio::test]
async fn a_repair_makes_a_lost_tree_anew_and_keeps_the_body() {
    let mut bench = Bench::small();
    put(bench.store(), &key(1), &body(1, 400_000)).await.unwrap();
    bench.close().await;
    let tree = files(&bench.dir().join("blobs")).into_iter().find(|path| path.extension().is_some()).unwrap();
    fs::remove_file(&tree).unwrap();
    bench.reopen().await;
    let report = bench.store().verify(Repair::Yes, |_| true).await.unwrap();
    assert!(report.is_sound() && report.dropped == 0, "{report:?}");
    eventually(|| tree.exists(), || "no new tree".to_owned()).await;
    assert_eq!(get(bench.store(), &key(1)).await.unwrap().unwrap(), body(1, 400_000));
}
