//! Bodies of which only some ranges are here.

use std::ops::Range;
use std::os::unix::fs::MetadataExt;

use larder_policy::packages::ExpectedDigest;
use larder_policy::{Held, Runs};

use super::*;
use crate::{Fill, Filter, Repair};

const GROUP: usize = 65_536;

/// The head of a 206 with a strong validator.
fn part_of(range: &Range<usize>, complete: usize) -> StoredResponse {
    tagged(range, complete, "\"a\"")
}

fn tagged(range: &Range<usize>, complete: usize, tag: &str) -> StoredResponse {
    let whole = response_to(&[], &[("ETag", tag)]);
    whole.holding(&Runs::of(range.start as u64..range.end as u64), Some(complete as u64)).unwrap()
}

/// A fill of these bytes: into what is there, or into a new part.
pub(super) async fn begin(store: &Store, key: &CacheKey, range: &Range<usize>, complete: usize) -> Fill {
    let variants = store.lookup(key).await;
    let wanted = range.start as u64..range.end as u64;
    if let Some(stored) = variants.first()
        && let Held::Runs(runs) = stored.held()
    {
        let mut union = Arc::unwrap_or_clone(runs);
        union.insert(wanted.clone());
        let response = stored.response().holding(&union, Some(complete as u64)).unwrap();
        return store.begin_into(stored, response, wanted, Some(complete as u64), None).unwrap();
    }
    store.begin(key.clone(), part_of(range, complete), Some(range.len() as u64), None)
}

pub(super) async fn write(fill: &mut Fill, bytes: &[u8]) {
    for piece in bytes.chunks(30_000) {
        fill.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
}

pub(super) async fn fill(
    store: &Store,
    key: &CacheKey,
    body: &[u8],
    range: Range<usize>,
) -> Option<Arc<Stored>> {
    let mut fill = begin(store, key, &range, body.len()).await;
    write(&mut fill, &body[range]).await;
    fill.finish().await
}

/// What is held, after every byte of it was read and compared.
async fn held(store: &Store, key: &CacheKey, body: &[u8]) -> Option<Vec<Range<u64>>> {
    let variants = store.lookup(key).await;
    let stored = variants.first()?;
    let Held::Runs(runs) = stored.held() else {
        let found = read(stored.body(0..u64::MAX)).await.unwrap();
        assert!(found == body, "the whole");
        return Some(Vec::new());
    };
    for run in runs.iter() {
        let found = read(stored.body(run.clone())).await.unwrap();
        assert!(found == body[run.start as usize..run.end as usize], "{run:?}");
    }
    Some(runs.iter().collect())
}

fn partials(bench: &Bench) -> Vec<PathBuf> {
    files(&bench.dir().join("partials"))
}

fn one(range: Range<u64>) -> Option<Vec<Range<u64>>> {
    Some(Runs::of(range).iter().collect())
}

#[tokio::test]
async fn distant_ranges_are_kept_together_and_survive_a_restart() {
    let mut bench = Bench::new(|_| {});
    let (key, body) = (key("wheel"), body(1, 3_000_000));
    fill(bench.store(), &key, &body, 2_900_000..3_000_000).await.unwrap();
    fill(bench.store(), &key, &body, 10..20).await.unwrap();
    fill(bench.store(), &key, &body, 500_000..1_200_000).await.unwrap();
    let expected = Some(vec![10..20, 500_000..1_200_000, 2_900_000..3_000_000]);
    assert_eq!(held(bench.store(), &key, &body).await, expected);
    bench.reopen().await;
    assert_eq!(held(bench.store(), &key, &body).await, expected);
    assert_eq!((partials(&bench).len(), bench.blobs().len(), bench.store().stats().objects), (2, 0, 1));
    let variants = bench.store().lookup(&key).await;
    assert_eq!(variants[0].body_len(), 800_010);
    // What is not here cannot be read, which is no damage.
    for range in [0..5, 20..30, 15..25, 1_199_999..1_200_001] {
        assert!(matches!(read(variants[0].body(range)).await, Err(ReadError::Aborted)));
    }
    crate::purge::barrier(bench.store().sender()).await.unwrap();
    assert_eq!(held(bench.store(), &key, &body).await, expected);
    assert_eq!(bench.store().stats().damaged, 0);
}

#[tokio::test]
async fn a_part_that_becomes_whole_is_a_blob_with_its_digest() {
    for len in [3_000_000, 16 * GROUP, 300_000, 200_000, 50_000, 10] {
        let mut bench = Bench::new(|_| {});
        let (key, body) = (key("wheel"), body(2, len));
        fill(bench.store(), &key, &body, len / 2..len).await.unwrap();
        assert_eq!(partials(&bench).len(), 2);
        // Over what is there, and in three steps.
        fill(bench.store(), &key, &body, len / 3..len / 2 + 3).await.unwrap();
        let whole = fill(bench.store(), &key, &body, 0..len / 3).await.unwrap();
        assert_eq!(whole.digest(), crate::BlobDigest::of(&body), "{len}");
        assert_eq!((whole.response().status(), whole.body_len()), (StatusCode::OK, len as u64));
        crate::purge::barrier(bench.store().sender()).await.unwrap();
        assert_eq!(partials(&bench).len(), 0, "{len}");
        for _ in 0..2 {
            assert_eq!(get(bench.store(), &key).await.unwrap().unwrap(), body);
            assert_eq!(bench.blobs().len(), usize::from(len > 65_536));
            assert!(bench.store().verify(Repair::No, |_| true).await.unwrap().is_sound());
            bench.reopen().await;
        }
        assert_eq!(bench.store().stats().objects, 1);
        assert_eq!(bench.store().stats().temp_bytes, 0);
    }
}

#[tokio::test]
async fn clients_read_gaps_and_what_is_there_in_order() {
    let bench = Bench::new(|_| {});
    let (key, body) = (key("wheel"), body(3, 2_000_000));
    for range in [100_000..400_000, 1_000_000..1_500_000] {
        fill(bench.store(), &key, &body, range).await.unwrap();
    }
    let mut fill = begin(bench.store(), &key, &(0..2_000_000), 2_000_000).await;
    let filling = fill.filling();
    let mut readers = Vec::new();
    for range in [0..u64::MAX, 50..1_700_000, 100_005..u64::MAX] {
        let reader = filling.reader(range.clone()).unwrap();
        let wanted = body[range.start as usize..range.end.min(2_000_000) as usize].to_vec();
        readers
            .push(tokio::spawn(async move { assert!(read(reader).await.unwrap() == wanted, "{range:?}") }));
    }
    write(&mut fill, &body[..100_000]).await;
    fill.skip(400_000).await;
    write(&mut fill, &body[400_000..1_000_000]).await;
    fill.skip(1_500_000).await;
    write(&mut fill, &body[1_500_000..]).await;
    assert_eq!(fill.finish().await.unwrap().digest(), crate::BlobDigest::of(&body));
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn two_fills_at_once_write_no_byte_twice_and_both_are_right() {
    let bench = Bench::new(|_| {});
    let (key, body) = (key("wheel"), body(4, 1_500_000));
    fill(bench.store(), &key, &body, 700_000..700_010).await.unwrap();
    let mut one = begin(bench.store(), &key, &(0..1_000_000), body.len()).await;
    let mut two = begin(bench.store(), &key, &(300_000..1_500_000), body.len()).await;
    let readers = [one.filling(), two.filling()].map(|filling| filling.reader(0..u64::MAX).unwrap());
    for at in (0..600_000).step_by(100_000) {
        write(&mut one, &body[at..at + 100_000]).await;
        write(&mut two, &body[300_000 + at..400_000 + at]).await;
    }
    write(&mut two, &body[900_000..]).await;
    // With what the other has written this is all of it.
    let whole = two.finish().await.unwrap();
    assert_eq!(whole.digest(), crate::BlobDigest::of(&body));
    write(&mut one, &body[600_000..1_000_000]).await;
    assert!(one.finish().await.is_none(), "there is no part any more");
    let [one, two] = readers;
    assert!(read(one).await.unwrap() == body[..1_000_000]);
    assert!(read(two).await.unwrap() == body[300_000..]);
    assert_eq!(get(bench.store(), &key).await.unwrap().unwrap(), body);
}

#[tokio::test]
async fn the_beginning_of_what_broke_off_is_kept_and_gone_on_with() {
    let mut bench = Bench::new(|_| {});
    let body = body(5, 3_000_000);
    let whole = || response_to(&[], &[("ETag", "\"a\""), ("Content-Length", "3000000")]);
    for (name, came) in [("groups", 16 * GROUP), ("ragged", 1_234_567), ("little", 100_000), ("none", 5)] {
        let key = key(name);
        let mut fill = bench.store().begin(key.clone(), whole(), Some(3_000_000), None);
        let reader = fill.filling().reader(0..u64::MAX).unwrap();
        write(&mut fill, &body[..came]).await;
        let kept = fill.keep(MIB / 16).await;
        assert_eq!(kept.is_some(), came >= 65_536, "{name}");
        assert!(matches!(read(reader).await, Err(ReadError::Aborted)), "it never looks whole");
        let expected = if kept.is_some() { one(0..came as u64) } else { None };
        assert_eq!(held(bench.store(), &key, &body).await, expected, "{name}");
    }
    // No room is taken for what did not come.
    crate::purge::barrier(bench.store().sender()).await.unwrap();
    assert_eq!(bench.store().stats().temp_bytes, 0);
    assert_accounted(&bench);
    bench.reopen().await;
    let key = key("ragged");
    assert_eq!(held(bench.store(), &key, &body).await, one(0..1_234_567));
    let stored = fill(bench.store(), &key, &body, 1_234_567..3_000_000).await.unwrap();
    assert_eq!(stored.digest(), crate::BlobDigest::of(&body));
}

#[tokio::test]
async fn what_cannot_be_gone_on_with_is_not_kept() {
    let bench = Bench::small();
    let body = body(6, 1_000_000);
    for (tag, length) in [("W/\"a\"", Some(1_000_000)), ("\"a\"", None)] {
        let response = response_to(&[], &[("ETag", tag)]);
        let mut fill = bench.store().begin(key("x"), response, length, None);
        write(&mut fill, &body[..500_000]).await;
        assert!(fill.keep(1).await.is_none());
        assert!(bench.store().lookup(&key("x")).await.is_empty());
    }
}

/// Accounted as allocated blocks, not as length.
fn assert_accounted(bench: &Bench) {
    let allocated: u64 = partials(bench).iter().map(|path| fs::metadata(path).unwrap().blocks() * 512).sum();
    let accounted = bench.store().stats().blob_bytes;
    // A file system rounds in its own way.
    assert!(allocated.abs_diff(accounted) <= 64 * 1024, "{allocated} on disk, {accounted} accounted");
}

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
    }
    let stats = bench.store().stats();
    assert!(stats.evicted > 0 && stats.objects > 1 && stats.temp_bytes == 0, "{stats:?}");
    // What is taken off is what was counted.
    for n in 0..12 {
        bench.store().remove(&key(n)).await;
    }
    assert_eq!((bench.store().stats().blob_bytes, partials(&bench).len()), (0, 0));
}

#[tokio::test]
async fn what_a_killed_fill_has_written_is_counted_at_the_next_start() {
    let mut bench = Bench::new(|_| {});
    let (key, body) = (key("wheel"), body(1, 6 << 20));
    fill(bench.store(), &key, &body, 0..1000).await.unwrap();
    let mut unfinished = begin(bench.store(), &key, &(1000..body.len()), body.len()).await;
    write(&mut unfinished, &body[1000..5_500_000]).await;
    bench.close().await;
    // Nobody hears of its end.
    drop(unfinished);
    for _ in 0..2 {
        bench.reopen().await;
        until(bench.store(), |stats| stats.blob_bytes > 4 << 20).await;
        assert_accounted(&bench);
    }
    // A record that follows says the same, and nothing is counted twice.
    fill(bench.store(), &key, &body, 2000..3000).await.unwrap();
    crate::purge::barrier(bench.store().sender()).await.unwrap();
    assert_accounted(&bench);
    assert_eq!(bench.store().remove(&key).await, 1);
    assert_eq!((bench.store().stats().blob_bytes, partials(&bench).len()), (0, 0));
}

#[tokio::test]
async fn a_reader_goes_on_while_its_part_is_removed_replaced_or_completed() {
    let bench = Bench::new(|_| {});
    let body = body(8, 2_000_000);
    for how in ["remove", "replace", "complete"] {
        let key = key(how);
        fill(bench.store(), &key, &body, 0..1_500_000).await.unwrap();
        let variants = bench.store().lookup(&key).await;
        let mut reader = variants[0].body(0..1_500_000);
        let mut begun = reader.next().await.unwrap().unwrap().to_vec();
        match how {
            "remove" => assert_eq!(bench.store().remove(&key).await, 1),
            "replace" => {
                put(bench.store(), &key, &super::body(9, 100_000)).await.unwrap();
            }
            _ => {
                fill(bench.store(), &key, &body, 1_500_000..2_000_000).await.unwrap();
            }
        }
        crate::purge::barrier(bench.store().sender()).await.unwrap();
        assert_eq!(partials(&bench).len(), 0, "{how}");
        begun.extend(read(reader).await.unwrap());
        assert!(begun == body[..1_500_000], "{how}");
    }
    assert_eq!(bench.store().stats().damaged, 0);
}

#[tokio::test]
async fn a_fill_whose_part_was_removed_serves_its_readers_and_leaves_nothing() {
    let bench = Bench::new(|_| {});
    let (key, body) = (key("gone"), body(10, 1_000_000));
    fill(bench.store(), &key, &body, 0..100_000).await.unwrap();
    let mut fill = begin(bench.store(), &key, &(100_000..1_000_000), body.len()).await;
    let reader = fill.filling().reader(0..u64::MAX).unwrap();
    write(&mut fill, &body[100_000..500_000]).await;
    bench.store().remove(&key).await;
    write(&mut fill, &body[500_000..]).await;
    assert!(fill.finish().await.is_none());
    assert!(read(reader).await.unwrap() == body[100_000..]);
    assert!(bench.store().lookup(&key).await.is_empty());
    assert_eq!((partials(&bench).len(), bench.blobs().len()), (0, 0));
    assert_eq!(bench.store().stats().write_errors, 0);
}

#[tokio::test]
async fn a_fill_without_storing_still_serves_what_is_there() {
    let bench = Bench::new(|_| {});
    let (key, body) = (key("full"), body(11, 1_000_000));
    fill(bench.store(), &key, &body, 300_000..600_000).await.unwrap();
    let mut fill = begin(bench.store(), &key, &(0..1_000_000), body.len()).await;
    let reader = fill.filling().reader(0..u64::MAX).unwrap();
    let read = tokio::spawn(read(reader));
    write(&mut fill, &body[..200_000]).await;
    fill.stop_storing();
    write(&mut fill, &body[200_000..300_000]).await;
    fill.skip(600_000).await;
    write(&mut fill, &body[600_000..]).await;
    assert!(fill.finish().await.is_none());
    assert!(read.await.unwrap().unwrap() == body[..]);
}

#[tokio::test]
async fn a_kill_loses_nothing_that_is_recorded_and_leaves_no_orphan() {
    let bench = Bench::new(|_| {});
    let body = body(12, 2_000_000);
    fill(bench.store(), &key("grown"), &body, 0..10_000).await.unwrap();
    let mut grown = begin(bench.store(), &key("grown"), &(10_000..2_000_000), body.len()).await;
    let mut fresh = begin(bench.store(), &key("fresh"), &(0..2_000_000), body.len()).await;
    let mut cut =
        bench.store().begin(key("cut"), response_to(&[], &[("ETag", "\"a\"")]), Some(2_000_000), None);
    for fill in [&mut grown, &mut fresh, &mut cut] {
        let at = if fill.filling().key() == &key("grown") { 10_000 } else { 0 };
        write(fill, &body[at..at + 700_000]).await;
    }
    let mut image = bench.crash_image().await;
    image.store().ready().await;
    // What the map names of a part that has a record is here, whether the record knows of it or not.
    let runs = held(image.store(), &key("grown"), &body).await.unwrap();
    assert_eq!((runs.len(), runs[0].start), (1, 0));
    assert!(runs[0].end > 400_000, "{runs:?}");
    for name in ["fresh", "cut"] {
        assert!(image.store().lookup(&key(name)).await.is_empty());
    }
    until(image.store(), |stats| stats.temp_bytes == 0).await;
    assert_eq!((partials(&image).len(), files(&image.dir().join("temp")).len()), (2, 0));
    image.reopen().await;
    let from = runs[0].end as usize;
    assert!(fill(image.store(), &key("grown"), &body, from..2_000_000).await.is_some());
    assert_eq!(get(image.store(), &key("grown")).await.unwrap().unwrap(), body);
}

#[tokio::test]
async fn orphans_are_swept_and_records_without_a_part_are_dropped() {
    let mut bench = Bench::new(|_| {});
    let body = body(13, 500_000);
    fill(bench.store(), &key("a"), &body, 0..100_000).await.unwrap();
    fill(bench.store(), &key("b"), &body, 0..100_000).await.unwrap();
    fill(bench.store(), &key("c"), &body, 0..100_000).await.unwrap();
    bench.close().await;
    let names = partials(&bench);
    let orphan = bench.dir().join("partials").join("ab".repeat(32));
    fs::copy(&names[0], &orphan).unwrap();
    fs::copy(&names[1], orphan.with_extension("map")).unwrap();
    fs::remove_file(&names[0]).unwrap();
    fs::remove_file(&names[3]).unwrap();
    bench.reopen().await;
    let mut left = 0;
    for name in ["a", "b", "c"] {
        match held(bench.store(), &key(name), &body).await {
            Some(runs) => {
                assert_eq!(Some(runs), one(0..100_000));
                left += 1;
            }
            None => assert!(bench.store().lookup(&key(name)).await.is_empty()),
        }
    }
    assert_eq!(left, 1);
    let gone = || partials(&bench).len() == 2;
    eventually(gone, || format!("{:?}", partials(&bench))).await;
    until(bench.store(), |stats| stats.objects == 1).await;
}

/// Whatever byte is wrong: what is served is right, or nothing is.
#[tokio::test]
async fn damage_of_any_byte_is_never_served() {
    let mut bench = Bench::new(|options| options.disk_limit = 32 * MIB);
    let body = body(14, 400_000);
    let ranges = [5..1_000, 65_536..200_000, 300_000..400_000];
    for range in ranges.clone() {
        fill(bench.store(), &key("x"), &body, range).await.unwrap();
    }
    bench.close().await;
    let sound: Vec<(PathBuf, Vec<u8>)> =
        partials(&bench).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    let segment = bench.segments()[0].clone();
    let segment = (segment.clone(), fs::read(segment).unwrap());
    let (map, data) = (sound[1].1.len(), [5, 500, 999, 65_536, 131_071, 131_072, 199_999, 300_000, 399_999]);
    let cases = (0..map).step_by(7).map(|at| (1, at)).chain(data.map(|at| (0, at)));
    for (file, at) in cases {
        for cut in [false, true] {
            let (path, bytes) = &sound[file];
            for (path, bytes) in sound.iter().chain([&segment]) {
                fs::write(path, bytes).unwrap();
            }
            if cut {
                fs::write(path, &bytes[..at]).unwrap();
            } else {
                flip(path, at as u64);
            }
            bench.store = Some(Store::open(bench.options.clone()).unwrap());
            bench.store().ready().await;
            let variants = bench.store().lookup(&key("x")).await;
            let mut damaged = variants.is_empty();
            for stored in variants.iter() {
                let Held::Runs(runs) = stored.held() else { panic!("it is a part") };
                for run in runs.iter() {
                    assert!(
                        ranges
                            .iter()
                            .any(|range| range.start as u64 <= run.start && run.end <= range.end as u64)
                    );
                    match read(stored.body(run.clone())).await {
                        Ok(found) => {
                            assert!(found == body[run.start as usize..run.end as usize], "{file} {at}")
                        }
                        Err(_) => damaged = true,
                    }
                }
                damaged |= runs.bytes() < 235_459;
            }
            assert!(damaged, "file {file}, byte {at}, cut {cut}: not noticed");
            if file == 0 {
                // It has left, so that the next request fetches anew.
                until(bench.store(), |stats| stats.objects == 0).await;
            }
            bench.close().await;
        }
    }
}

#[tokio::test]
async fn verify_proves_parts_and_repair_drops_them() {
    let mut bench = Bench::new(|_| {});
    let body = body(15, 400_000);
    fill(bench.store(), &key("x"), &body, 0..100_000).await.unwrap();
    fill(bench.store(), &key("y"), &body, 0..100_000).await.unwrap();
    let report = bench.store().verify(Repair::No, |_| true).await.unwrap();
    assert!(report.is_sound() && report.records == 2, "{report:?}");
    bench.close().await;
    flip(&partials(&bench)[0], 77_000);
    bench.reopen().await;
    let report = bench.store().verify(Repair::Yes, |_| true).await.unwrap();
    assert_eq!((report.damaged_bodies, report.dropped), (1, 1));
    assert!(bench.store().verify(Repair::No, |_| true).await.unwrap().is_sound());
    assert_eq!((bench.store().stats().objects, partials(&bench).len()), (1, 2));
}

#[tokio::test]
async fn a_scrub_paces_itself_within_a_part_and_ends_when_it_is_told_to() {
    let mut bench = Bench::small();
    let (key, body) = (key("wheel"), body(7, 1_000_000));
    fill(bench.store(), &key, &body, 0..900_000).await.unwrap();
    bench.close().await;
    (bench.options.scrub_rate, bench.options.scrub_after) = (1, std::time::Duration::ZERO);
    bench.reopen().await;
    until(bench.store(), |stats| stats.scrubbed_bytes > 0).await;
    // The first step is to be waited for longer than anybody would.
    assert_eq!(bench.store().stats().scrubbed_bytes, GROUP as u64);
    bench.close().await;
}

#[tokio::test]
async fn a_part_that_became_whole_while_the_scrub_came_to_it_is_no_damage() {
    let bench = Bench::small();
    let (key, body) = (key("wheel"), body(8, 300_000));
    fill(bench.store(), &key, &body, 0..200_000).await.unwrap();
    let shared = bench.store().shared();
    let fingerprint = shared.keys.fingerprint(key.as_str());
    let nominee = shared.directory.find(fingerprint)[0];
    let head = shared.segments.head(nominee.place).unwrap();
    let file = head.file().unwrap();
    let (variant, sequence) = (head.variant, head.sequence);
    let owner = crate::blob::Owner { key: key.clone(), fingerprint, variant, file, sequence };
    fill(bench.store(), &key, &body, 200_000..300_000).await.unwrap();
    crate::purge::barrier(bench.store().sender()).await.unwrap();
    assert!(
        partials(&bench).is_empty() && shared.directory.find_variant(fingerprint, head.variant).is_some()
    );
    crate::scrub::partial(shared, owner);
    assert_eq!(bench.store().stats().scrub_damaged, 0);
}

#[tokio::test]
async fn a_part_whose_file_is_gone_is_damage_to_the_scrub() {
    let mut bench = Bench::small();
    fill(bench.store(), &key("wheel"), &body(8, 300_000), 0..200_000).await.unwrap();
    bench.reopen().await;
    for path in partials(&bench) {
        fs::remove_file(path).unwrap();
    }
    crate::scrub::pass(bench.store().shared());
    assert_eq!(bench.store().stats().scrub_damaged, 1);
    until(bench.store(), |stats| stats.objects == 0).await;
}

#[tokio::test]
async fn parts_are_freshened_evicted_and_purged_as_all_else() {
    let bench = Bench::new(|options| {
        options.disk_limit = 32 * MIB;
        options.segment_bytes = MIB;
    });
    let body = body(16, 2_000_000);
    fill(bench.store(), &key("x"), &body, 0..1_000_000).await.unwrap();
    let variants = bench.store().lookup(&key("x")).await;
    let again = variants[0].response().clone();
    bench.store().freshen(&variants[0], again).await;
    assert_eq!(held(bench.store(), &key("x"), &body).await, one(0..1_000_000));
    for n in 0..40 {
        fill(bench.store(), &key(n), &body, 0..1_900_000).await.unwrap();
        let stats = bench.store().stats();
        assert!(stats.disk_bytes <= stats.disk_limit, "{stats:?}");
    }
    assert!(bench.store().stats().evicted > 20);
    let objects = bench.store().stats().objects;
    assert_eq!(bench.store().remove_where(Filter::default()).await.unwrap().responses, objects);
    assert_eq!((bench.store().stats().blob_bytes, partials(&bench).len()), (0, 0));
}

#[tokio::test]
async fn a_short_part_stays_as_it_came_and_grows_not() {
    let bench = Bench::small();
    let mut fill = bench.store().begin(key("x"), part_of(&(5..10), 10), None, None);
    fill.write(Bytes::from_static(b"567")).await.unwrap();
    let stored = fill.finish().await.unwrap();
    assert_eq!(stored.held(), Held::Body(3));
    assert!(bench.store().begin_into(&stored, stored.response().clone(), 0..5, Some(10), None).is_none());
    assert_eq!(read(stored.body(0..9)).await.unwrap(), b"567");
}

/// A part equals a set of bytes, whatever is done to it.
#[tokio::test]
async fn parts_equal_sets_of_bytes() {
    let seed = seed();
    let mut random = Random(seed);
    let mut bench = Bench::new(|_| {});
    for round in 0..12 {
        let len = [200, 70_000, 200_000, 700_000, 1_500_000][random.below(5) as usize];
        let (key, body) = (key(round), body(round, len));
        let mut model = Runs::new();
        for step in 0..30 {
            let start = random.below(len as u64) as usize;
            let range = start..(start + 1 + random.below(len as u64 / 3) as usize).min(len);
            let came = range.start..range.start + random.below(range.len() as u64 + 1) as usize;
            let mut fill = begin(bench.store(), &key, &range, len).await;
            let whole = random.below(3) > 0;
            write(&mut fill, &body[if whole { range.clone() } else { came.clone() }]).await;
            if whole {
                fill.finish().await.unwrap();
                model.insert(range.start as u64..range.end as u64);
            } else {
                fill.keep(1).await;
                model.insert(came.start as u64..came.end as u64);
            }
            match random.below(8) {
                0 => bench.reopen().await,
                1 => {
                    let image = bench.crash_image().await;
                    bench.close().await;
                    image.store().ready().await;
                    bench = image;
                }
                _ => {}
            }
            let whole = model.covers(&(0..len as u64));
            let expected = match model.is_empty() {
                true => None,
                false if whole => Some(Vec::new()),
                false => Some(model.iter().collect()),
            };
            assert_eq!(
                held(bench.store(), &key, &body).await,
                expected,
                "seed {seed} round {round} step {step}"
            );
            if whole {
                break;
            }
        }
    }
    assert!(bench.store().verify(Repair::No, |_| true).await.unwrap().is_sound(), "seed {seed}");
    assert_eq!(bench.store().stats().damaged, 0, "seed {seed}");
}
