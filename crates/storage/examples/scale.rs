//! A store of many small responses: what inserting, looking up, evicting and starting again cost, and how much memory and
//! disk each takes. `scale [objects] [body bytes] [directory]`; without a directory, a temporary one. A directory
//! that was filled before is only opened, so that the memory of filling does not count.
//!
//! Run with `--release`, else the figures mean little.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

mod kit;

use std::path::Path;
use std::time::{Duration, Instant};

use larder_storage::{Options, Stats, Store};
use tokio::task::JoinSet;

use kit::{Outcome, Random, key, of_process, put};

/// Bodies that are being stored at once.
const AT_ONCE: usize = 64;
/// Look-ups of one measurement.
const LOOKUPS: u64 = 20_000;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let objects: u64 = arguments.next().map_or(Ok(1_000_000), |n| n.parse())?;
    let bytes: usize = arguments.next().map_or(Ok(1024), |n| n.parse())?;
    let temporary = tempfile::tempdir()?;
    let dir = arguments.next().map_or_else(|| temporary.path().to_owned(), Into::into);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(objects, bytes, &dir))
}

async fn measure(objects: u64, bytes: usize, dir: &Path) -> Outcome<()> {
    let mut options = Options::new(dir);
    options.disk_limit = 200 << 30;
    options.memory_limit = 16 << 20;

    if !dir.join("format").exists() {
        fill(objects, bytes, &options).await?;
    }
    let used = reopened("after a clean close", &options, objects).await?;
    std::fs::remove_dir_all(dir.join("index"))?;
    reopened("with the index lost", &options, objects).await?;
    reopened("with it rebuilt", &options, objects).await?;
    options.disk_limit = used.disk_bytes;
    evicting(objects, bytes, &options).await
}

async fn fill(objects: u64, bytes: usize, options: &Options) -> Outcome<()> {
    let store = Store::open(options.clone())?;
    store.ready().await;
    let (took, stored) = put_all(&store, 0..objects, bytes).await?;
    if stored < objects {
        return Err(format!("only {stored} of {objects} were stored").into());
    }
    let stats = store.stats();
    let each = |bytes: u64| bytes as f64 / objects as f64;
    println!("{objects} objects of {bytes} bytes stored in {took:.1?}, {:.0}/s", rate(objects, took));
    println!(
        "disk: {:.0} bytes of segments and {:.0} of index for each",
        each(stats.segment_bytes),
        each(stats.index_bytes)
    );
    println!("directory: {:.1} bytes for each", each(stats.directory_bytes));
    let began = Instant::now();
    store.close().await;
    println!("closed in {:.0?}; resident {} MiB", began.elapsed(), resident_mib());
    Ok(())
}

/// How long it took, and how many were stored.
async fn put_all(store: &Store, which: std::ops::Range<u64>, bytes: usize) -> Outcome<(Duration, u64)> {
    let (began, mut stored) = (Instant::now(), 0);
    let mut puts = JoinSet::new();
    for n in which {
        let store = store.clone();
        puts.spawn(async move { put(&store, n, bytes).await.map_err(|error| error.to_string()) });
        if puts.len() >= AT_ONCE {
            stored += u64::from(puts.join_next().await.ok_or("no task")???);
        }
    }
    while let Some(put) = puts.join_next().await {
        stored += u64::from(put??);
    }
    Ok((began.elapsed(), stored))
}

async fn reopened(what: &str, options: &Options, objects: u64) -> Outcome<Stats> {
    let began = Instant::now();
    let store = Store::open(options.clone())?;
    let opened = began.elapsed();
    let mut first = None;
    let mut tries = 0;
    while first.is_none() && began.elapsed() < Duration::from_secs(120) {
        let found = !store.lookup(&key((objects / 2 + tries) % objects)?).await.is_empty();
        first = found.then(|| began.elapsed());
        tries += 1;
        tokio::task::yield_now().await;
    }
    let first = first.ok_or("nothing is found")?;
    let state = store.stats().index;
    store.ready().await;
    let ready = began.elapsed();
    let mut random = Random(9);
    let sample = Instant::now();
    for _ in 0..LOOKUPS {
        let at = random.below(objects);
        if store.lookup(&key(at)?).await.is_empty() {
            return Err(format!("object {at} is lost").into());
        }
    }
    let each = sample.elapsed() / LOOKUPS as u32;
    println!(
        "{what}: open returned in {opened:.1?}, first hit after {first:.1?} ({tries} tries, index {state:?}), all known \
         after {ready:.1?}; then {each:.1?} per lookup on disk; resident {} MiB",
        resident_mib()
    );
    let stats = store.stats();
    store.close().await;
    Ok(stats)
}

/// Stores more into a store that is full: each object that comes makes another leave.
async fn evicting(objects: u64, bytes: usize, options: &Options) -> Outcome<()> {
    let store = Store::open(options.clone())?;
    store.ready().await;
    let before = store.stats();
    let more = objects / 5;
    let (took, stored) = put_all(&store, objects..objects + more, bytes).await?;
    let stats = store.stats();
    println!(
        "full: {stored} of {more} more stored in {took:.1?}, {:.0}/s; {} evicted, {} segments compacted; disk {} of {} MiB",
        rate(more, took),
        stats.evicted - before.evicted,
        stats.compacted - before.compacted,
        stats.disk_bytes >> 20,
        stats.disk_limit >> 20
    );
    store.close().await;
    Ok(())
}

fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn resident_mib() -> u64 {
    of_process("status", "VmRSS:") / 1024
}
