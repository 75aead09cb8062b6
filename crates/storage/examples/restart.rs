//! How long a store takes to its first hit after a restart: fills one with small responses, opens it again and
//! says what that cost. `restart [objects] [body bytes] [directory]`; without a directory, a temporary one. A
//! directory that was filled before is only opened, so that the memory of filling does not count.
//!
//! Run with `--release`, else the figures mean little.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use larder_policy::{
    CacheKey, Exchange, Fields, PolicySettings, RequestFacts, StoredResponse, TargetUri, Timestamp,
    storability,
};
use larder_storage::{Options, Store};
use tokio::task::JoinSet;

type Outcome<T> = Result<T, Box<dyn Error>>;

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
    reopened("after a clean close", &options, objects).await?;
    std::fs::remove_dir_all(dir.join("index"))?;
    reopened("with the index lost", &options, objects).await?;
    reopened("with it rebuilt", &options, objects).await
}

async fn fill(objects: u64, bytes: usize, options: &Options) -> Outcome<()> {
    let began = Instant::now();
    let store = Store::open(options.clone())?;
    store.ready().await;
    let mut puts = JoinSet::new();
    for n in 0..objects {
        let store = store.clone();
        puts.spawn(async move { put(&store, n, bytes).await.map_err(|error| error.to_string()) });
        if puts.len() >= 64 {
            puts.join_next().await.ok_or("no task")???;
        }
    }
    while let Some(put) = puts.join_next().await {
        put??;
    }
    let filled = began.elapsed();
    let stats = store.stats();
    println!("{objects} objects of {bytes} bytes stored in {filled:.1?}, {:.0}/s", rate(objects, filled));
    println!("disk: segments {} MiB, index {} MiB", stats.segment_bytes >> 20, stats.index_bytes >> 20);
    println!("directory: {:.1} bytes per object", stats.directory_bytes as f64 / objects as f64);
    let began = Instant::now();
    store.close().await;
    println!("closed in {:.0?}", began.elapsed());
    Ok(())
}

async fn reopened(what: &str, options: &Options, objects: u64) -> Outcome<()> {
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
    let state = store.stats().index;
    store.ready().await;
    let ready = began.elapsed();
    let sample = Instant::now();
    let looked = 20_000.min(objects);
    for n in 0..looked {
        let at = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % objects;
        if store.lookup(&key(at)?).await.is_empty() {
            return Err(format!("object {at} is lost").into());
        }
    }
    let each = sample.elapsed() / u32::try_from(looked.max(1))?;
    println!(
        "{what}: open returned in {opened:.1?}, first hit after {first:.1?} ({tries} tries, index {state:?}), \
         all known after {ready:.1?}; then {each:.1?} per lookup on disk; resident {} MiB",
        resident_mib()
    );
    store.close().await;
    Ok(())
}

async fn put(store: &Store, n: u64, bytes: usize) -> Outcome<()> {
    let mut fill = store.begin(key(n)?, response()?, Some(bytes as u64), None);
    let mut body = vec![0; bytes];
    for (byte, seed) in body.iter_mut().zip(n.to_le_bytes().into_iter().cycle()) {
        *byte = seed;
    }
    fill.write(Bytes::from(body)).await?;
    fill.finish().await.ok_or("not stored")?;
    Ok(())
}

fn key(n: u64) -> Outcome<CacheKey> {
    let url = format!("http://packages.example.com/pool/main/l/larder/larder_{n}_amd64.deb");
    Ok(CacheKey::of(&TargetUri::parse(url.as_bytes())?))
}

fn response() -> Outcome<StoredResponse> {
    let mut fields = Fields::new();
    for (name, value) in [
        ("Date", "Mon, 23 Nov 2026 12:00:00 GMT"),
        ("Server", "example"),
        ("Last-Modified", "Sun, 22 Nov 2026 12:00:00 GMT"),
        ("ETag", "\"0123456789abcdef\""),
        ("Cache-Control", "max-age=86400"),
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", "1024"),
    ] {
        fields.push(name, value.as_bytes())?;
    }
    let target = TargetUri::parse(b"http://packages.example.com/")?;
    let request = Fields::new();
    let exchange = Exchange {
        facts: &RequestFacts::of(&Method::GET, &request),
        target: &target,
        request: &request,
        status: StatusCode::OK,
        response: &fields,
        request_time: Timestamp::from_secs(1_795_435_200),
        response_time: Timestamp::from_secs(1_795_435_201),
        framing_sound: true,
    };
    storability(&PolicySettings::default(), &exchange, None).map_err(|why| why.to_string().into())
}

fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// Resident memory of this process.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
