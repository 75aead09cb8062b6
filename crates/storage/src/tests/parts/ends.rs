//! Fills of parts that end otherwise than whole, and what they leave.

use super::*;

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
async fn a_short_part_stays_as_it_came_and_grows_not() {
    let bench = Bench::small();
    let mut fill = bench.store().begin(key("x"), part_of(&(5..10), 10), None, None);
    fill.write(Bytes::from_static(b"567")).await.unwrap();
    let stored = fill.finish().await.unwrap();
    assert_eq!(stored.held(), Held::Body(3));
    assert!(bench.store().begin_into(&stored, stored.response().clone(), 0..5, Some(10), None).is_none());
    assert_eq!(read(stored.body(0..9)).await.unwrap(), b"567");
}
