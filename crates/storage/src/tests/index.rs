//! The index below the store, when it lies, panics, hangs or is of another time.

use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::*;
use crate::directory::Fingerprint;
use crate::index::{Change, Entry, Index, Opener, Watermark};
use crate::stats::IndexState;
use crate::store::Ground;

/// What a bad database does when it is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manner {
    Panics,
    Hangs,
}

/// Which call it does it at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Call {
    Open,
    Get,
    Apply,
    Watermark,
    Scan,
    Flush,
    Drop,
}

const CALLS: [Call; 7] =
    [Call::Open, Call::Get, Call::Apply, Call::Watermark, Call::Scan, Call::Flush, Call::Drop];

/// A database that is right until it is called in one way.
struct Bad {
    at: Call,
    manner: Manner,
    /// Whether this call was made.
    reached: Arc<AtomicBool>,
    /// Never sends, but ends with the test, so that no thread is left behind for ever.
    never: Mutex<Receiver<()>>,
}

impl Bad {
    fn call<T>(&self, call: Call, right: T) -> io::Result<T> {
        if call == self.at {
            self.reached.store(true, Ordering::SeqCst);
            match self.manner {
                Manner::Panics => panic!("a bad database"),
                Manner::Hangs => {
                    let _ = self.never.lock().unwrap().recv();
                }
            }
        }
        Ok(right)
    }
}

impl Index for Bad {
    fn get(&self, _: Fingerprint) -> io::Result<Vec<Entry>> {
        self.call(Call::Get, Vec::new())
    }

    fn apply(&self, _: &[Change], _: Option<Watermark>) -> io::Result<()> {
        self.call(Call::Apply, ())
    }

    fn watermark(&self) -> io::Result<Option<Watermark>> {
        // Right, so that it is loaded.
        self.call(Call::Watermark, Some(Watermark { segment: 0, offset: 0 }))
    }

    fn scan(&self, _: &mut dyn FnMut(Fingerprint, Entry) -> bool) -> io::Result<()> {
        self.call(Call::Scan, ())
    }

    fn flush(&self) -> io::Result<()> {
        self.call(Call::Flush, ())
    }
}

impl Drop for Bad {
    fn drop(&mut self) {
        let _ = self.call(Call::Drop, ());
    }
}

fn bad(at: Call, manner: Manner) -> (Opener, Arc<AtomicBool>, Sender<()>) {
    let (ends, never) = channel();
    let never = Mutex::new(Some(never));
    let reached = Arc::new(AtomicBool::new(false));
    let seen = reached.clone();
    let open = move |_: &Path, _| {
        let never = never.lock().unwrap().take().ok_or(io::ErrorKind::NotFound)?;
        let bad = Bad { at, manner, reached: seen.clone(), never: Mutex::new(never) };
        bad.call(Call::Open, ())?;
        Ok(Arc::new(bad) as Arc<dyn Index>)
    };
    // Long enough for what does return on a busy machine is not needed: nothing here is asked of a good database.
    let patience = Duration::from_millis(100);
    (Opener { open: Arc::new(open), patience, open_patience: patience }, reached, ends)
}

#[tokio::test]
async fn a_database_that_panics_or_hangs_loses_the_index_and_nothing_else() {
    for at in CALLS {
        for manner in [Manner::Panics, Manner::Hangs] {
            let why = format!("{at:?} {manner:?}");
            let mut bench = Bench::new(|_| {});
            for n in 0..4 {
                put(bench.store(), &key(n), &body(n, 1000)).await.unwrap();
            }
            bench.close().await;
            let (opener, reached, _ends) = bad(at, manner);
            let ground = Ground { index: opener, ..Ground::default() };
            let store = Store::open_on(bench.options.clone(), ground).unwrap();
            // Before everything is known, lookups and removals ask the database.
            let _ = store.lookup(&key("unknown")).await;
            store.remove(&key(3)).await;
            store.ready().await;
            for n in 0..3 {
                assert_eq!(get(&store, &key(n)).await.expect(&why).unwrap(), body(n, 1000), "{why}");
            }
            assert!(store.lookup(&key(3)).await.is_empty(), "{why}");
            put(&store, &key(4), &body(4, 1000)).await.expect(&why);
            store.close().await;
            // A `get` is only made while the load goes on, which may be over too soon.
            assert!(at == Call::Get || reached.load(Ordering::SeqCst), "{why}");
            bench.reopen().await;
            for n in [0, 1, 2, 4] {
                assert_eq!(get(bench.store(), &key(n)).await.expect(&why).unwrap(), body(n, 1000), "{why}");
            }
            assert!(bench.store().lookup(&key(3)).await.is_empty(), "{why}");
            // The older index may have nominated what was removed, until it was looked at.
            until(bench.store(), |stats| stats.objects == 4).await;
        }
    }
}

/// A database that keeps nothing but what it was told, in batches.
#[derive(Default)]
struct Told(Mutex<Vec<(Vec<Change>, Option<Watermark>)>>);

impl Index for Arc<Told> {
    fn get(&self, _: Fingerprint) -> io::Result<Vec<Entry>> {
        Ok(Vec::new())
    }

    fn apply(&self, changes: &[Change], watermark: Option<Watermark>) -> io::Result<()> {
        self.0.lock().unwrap().push((changes.to_vec(), watermark));
        Ok(())
    }

    fn watermark(&self) -> io::Result<Option<Watermark>> {
        Ok(None)
    }

    fn scan(&self, _: &mut dyn FnMut(Fingerprint, Entry) -> bool) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A process that was killed after such a batch lost what stood behind it in the same write.
#[tokio::test]
async fn a_watermark_never_passes_a_record_that_the_index_was_not_told_of() {
    let told = Arc::new(Told::default());
    let index = told.clone();
    let open = move |_: &Path, _| Ok(Arc::new(index.clone()) as Arc<dyn Index>);
    let index = Opener { open: Arc::new(open), ..Opener::default() };
    let bench = Bench::new(|_| {});
    let mut options = bench.options.clone();
    let root = tempfile::tempdir().unwrap();
    options.dir = root.path().to_owned();
    let store = Store::open_on(options, Ground { index, ..Ground::default() }).unwrap();
    store.ready().await;
    // Many at once, so that many are written together; twice, so that each has an old one to replace.
    for round in 0..2 {
        let puts = (0..200).map(|n| {
            let store = store.clone();
            tokio::spawn(async move { put(&store, &key(n), &body(n + round, 100)).await.unwrap() })
        });
        for put in puts.collect::<Vec<_>>() {
            put.await.unwrap();
        }
    }
    store.close().await;
    let told = told.0.lock().unwrap();
    let added =
        |(changes, _): &(Vec<Change>, _)| changes.iter().filter_map(|change| change.add).collect::<Vec<_>>();
    assert_eq!(told.iter().flat_map(added).count(), 400);
    for (at, (_, watermark)) in told.iter().enumerate() {
        let Some(watermark) = watermark else { continue };
        for late in told[at + 1..].iter().flat_map(added) {
            let begin = Watermark { segment: late.place.segment, offset: late.place.offset };
            assert!(begin >= *watermark, "{:?} was told after {watermark:?}", late.place);
        }
    }
}

/// A database with what another one has, that lets nobody scan it before the gate is gone.
struct Slow {
    of: Arc<dyn Index>,
    gate: Mutex<Receiver<()>>,
}

impl Index for Slow {
    fn get(&self, fingerprint: Fingerprint) -> io::Result<Vec<Entry>> {
        self.of.get(fingerprint)
    }

    fn apply(&self, changes: &[Change], watermark: Option<Watermark>) -> io::Result<()> {
        self.of.apply(changes, watermark)
    }

    fn watermark(&self) -> io::Result<Option<Watermark>> {
        self.of.watermark()
    }

    fn scan(&self, visit: &mut dyn FnMut(Fingerprint, Entry) -> bool) -> io::Result<()> {
        // What was found in batches before it was removed must not come back by them either.
        let mut found = Vec::new();
        self.of.scan(&mut |fingerprint, entry| {
            found.push((fingerprint, entry));
            true
        })?;
        let _ = self.gate.lock().unwrap().recv();
        found.into_iter().all(|(fingerprint, entry)| visit(fingerprint, entry));
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.of.flush()
    }
}

#[tokio::test]
async fn what_is_found_damaged_while_only_the_index_knows_it_is_not_given_again() {
    let mut bench = Bench::new(|options| options.memory_limit = 0);
    let good = body(1, 600_000);
    for n in 0..2 {
        put(bench.store(), &key(n), &good).await.unwrap();
    }
    put(bench.store(), &key(2), &body(2, 1000)).await.unwrap();
    bench.close().await;
    let blobs = bench.blobs();
    flip(blobs.first().unwrap(), 500_000);
    let (gate, closed) = channel();
    let (closed, sled) = (Mutex::new(Some(closed)), Opener::default().open);
    let open = move |path: &Path, bytes| {
        let gate = closed.lock().unwrap().take().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Slow { of: sled(path, bytes)?, gate: Mutex::new(gate) }) as Arc<dyn Index>)
    };
    // The scan hangs until the test has looked, however long that takes: an index that is given up is rebuilt.
    let patience = Duration::from_secs(3600);
    let index = Opener { open: Arc::new(open), patience, open_patience: patience };
    let store = Store::open_on(bench.options.clone(), Ground { index, ..Ground::default() }).unwrap();
    let cut = get(&store, &key(0)).await.expect("the index knows it");
    assert!(matches!(cut, Err(ReadError::Damaged { .. })));
    // At once, and when the writer has heard of it.
    assert!(get(&store, &key(0)).await.is_none());
    until(&store, |stats| stats.quarantined == 1).await;
    crate::purge::barrier(store.sender()).await.unwrap();
    assert!(get(&store, &key(0)).await.is_none());
    assert!(get(&store, &key(1)).await.is_none());
    assert_eq!(store.stats().index, IndexState::Loading);
    drop(gate);
    store.ready().await;
    until(&store, |stats| stats.objects == 1).await;
    assert!(put(&store, &key(0), &good).await.is_some());
    assert_eq!(get(&store, &key(0)).await.unwrap().unwrap(), good);
    store.close().await;
}

/// What a power cut may leave: the index has what was flushed last, the segments went on.
#[tokio::test]
async fn an_older_index_beside_newer_segments_tells_no_lies() {
    let seed = seed();
    let mut random = Random(seed);
    for round in 0..long(2, 40) {
        let why = format!("seed {seed}, round {round}");
        let mut bench = Bench::new(|options| {
            options.disk_limit = 64 * MIB;
            options.segment_bytes = MIB / 4;
        });
        let mut model = std::collections::HashMap::new();
        let old = tempfile::tempdir().unwrap();
        let steps = 40 + random.below(150);
        let copied_at = random.below(steps);
        for step in 0..steps {
            let name = random.below(12);
            match random.below(10) {
                0 | 1 => {
                    bench.store().remove(&key(name)).await;
                    model.remove(&name);
                }
                2 if random.below(4) == 0 => bench.reopen().await,
                more => {
                    let len = if more == 3 { 90_000 } else { random.below(60_000) as usize };
                    put(bench.store(), &key(name), &body(step, len)).await.unwrap();
                    model.insert(name, body(step, len));
                }
            }
            if step == copied_at {
                bench.reopen().await;
                bench.close().await;
                copy_dir(&bench.dir().join("index"), &old.path().join("index"));
                bench.reopen().await;
            }
        }
        bench.close().await;
        fs::remove_dir_all(bench.dir().join("index")).unwrap();
        copy_dir(&old.path().join("index"), &bench.dir().join("index"));
        if random.below(2) == 0 {
            // Segment numbers are used again now, if nothing else prevents it.
            fs::remove_file(bench.dir().join("totals")).unwrap();
        }
        // Twice: what the first start leaves is another index, and one that is written on.
        for again in 0..2 {
            bench.reopen().await;
            for name in 0..12 {
                let found = get(bench.store(), &key(name)).await.map(Result::unwrap);
                let right = model.get(&name).map(|body: &Bytes| body.to_vec());
                assert!(found == right, "{why}, again {again}, {name}");
            }
            until(bench.store(), |stats| stats.objects == model.len() as u64).await;
            assert_eq!(bench.store().stats().damaged, 0, "{why}");
            for name in 0..3 {
                put(bench.store(), &key(name), &body(name + again, 5000)).await.unwrap();
                model.insert(name, body(name + again, 5000));
            }
            if again == 0 {
                // Killed.
                let image = bench.crash_image().await;
                bench.close().await;
                bench = image;
            }
        }
    }
}

#[tokio::test]
async fn an_index_of_a_later_time_than_the_segments_is_made_anew() {
    let mut bench = Bench::new(|_| {});
    for n in 0..20 {
        put(bench.store(), &key(n), &body(n, 1000)).await.unwrap();
        if n % 5 == 0 {
            bench.reopen().await;
        }
    }
    bench.close().await;
    // Its segments are lost, and so is the note of how far the numbers went.
    for segment in bench.segments() {
        fs::remove_file(segment).unwrap();
    }
    fs::remove_file(bench.dir().join("totals")).unwrap();
    bench.reopen().await;
    for n in 0..20 {
        assert!(bench.store().lookup(&key(n)).await.is_empty());
        put(bench.store(), &key(n), &body(n + 100, 1500)).await.unwrap();
    }
    let image = bench.crash_image().await;
    image.store().ready().await;
    for n in 0..20 {
        assert_eq!(get(image.store(), &key(n)).await.unwrap().unwrap(), body(n + 100, 1500), "{n}");
    }
    assert_eq!(image.store().stats().objects, 20);
}

/// Damage of every kind to the database's own files.
#[tokio::test]
async fn a_damaged_index_never_keeps_the_store_from_starting() {
    let seed = seed();
    let mut random = Random(seed);
    let mut bench = Bench::new(|options| options.disk_limit = 64 * MIB);
    for n in 0..300 {
        put(bench.store(), &key(n), &body(n, 300)).await.unwrap();
    }
    bench.close().await;
    let whole = tempfile::tempdir().unwrap();
    copy_dir(bench.dir(), whole.path());
    for round in 0..long(12, 300) {
        let why = format!("seed {seed}, round {round}");
        fs::remove_dir_all(bench.dir()).unwrap();
        copy_dir(whole.path(), bench.dir());
        let all = files(&bench.dir().join("index"));
        let path = &all[random.below(all.len() as u64) as usize];
        let mut bytes = fs::read(path).unwrap();
        let at = random.below(bytes.len() as u64 + 1) as usize;
        match round % 6 {
            0 => (0..20).for_each(|_| {
                let at = random.below(bytes.len() as u64 + 1) as usize;
                for byte in bytes.iter_mut().skip(at).take(32) {
                    *byte = random.below(256) as u8;
                }
            }),
            1 => bytes.iter_mut().skip(at).take(4096).for_each(|byte| *byte = 0),
            2 => bytes.truncate(at),
            3 => {}
            4 => {
                fs::write(bench.dir().join("index/conf"), body(random.below(u64::MAX), at % 200)).unwrap();
            }
            _ => {
                let name = format!("snap.{:016x}.generating", random.below(100_000));
                fs::write(bench.dir().join("index").join(name), body(7, at % 5000)).unwrap();
            }
        }
        match round % 6 {
            3 => fs::remove_file(path).unwrap(),
            0..3 => fs::write(path, bytes).unwrap(),
            _ => {}
        }
        let store = Store::open(bench.options.clone()).unwrap();
        store.ready().await;
        for n in 0..300 {
            let found = get(&store, &key(n)).await;
            assert_eq!(found.expect(&why).unwrap(), body(n, 300), "{why}, {n}");
        }
        store.close().await;
    }
}
