//! Bodies of which only some ranges are here: how they grow.

mod accounts;
mod damage;
mod ends;

use std::ops::Range;
use std::os::unix::fs::MetadataExt;

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

/// Accounted as allocated blocks, not as length.
fn assert_accounted(bench: &Bench) {
    let allocated: u64 = partials(bench).iter().map(|path| fs::metadata(path).unwrap().blocks() * 512).sum();
    let accounted = bench.store().stats().blob_bytes;
    // A file system rounds in its own way.
    assert!(allocated.abs_diff(accounted) <= 64 * 1024, "{allocated} on disk, {accounted} accounted");
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
