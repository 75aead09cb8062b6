//! Which bodies should share a file? Fills a store three times over with bodies of many sizes, once for each bound, and says
//! what that cost in space, writing and reading: medians of interleaved rounds. `segment_max [disk MiB] [rounds] [directory]`;
//! the default is 1024 and 3 in a temporary directory.
//!
//! Run with `--release` on the file system that is to be judged, else the figures mean little.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

mod kit;

use std::path::Path;
use std::time::{Duration, Instant};

use larder_storage::{Filter, Options, Store};
use tokio::task::JoinSet;

use kit::{Outcome, Random, key, of_process, put};

const KIB: u64 = 1024;
const BOUNDS: [u64; 5] = [4 * KIB, 16 * KIB, 64 * KIB, 128 * KIB, 256 * KIB];
/// Bodies that are being stored at once.
const AT_ONCE: usize = 16;
/// Bodies that are read back.
const READS: usize = 20_000;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let disk: u64 = arguments.next().map_or(Ok(1024), |n| n.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(3), |n| n.parse())?;
    let temporary = tempfile::tempdir()?;
    let dir = arguments.next().map_or_else(|| temporary.path().to_owned(), Into::into);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut rows = vec![Vec::new(); BOUNDS.len()];
    for round in 0..rounds {
        // Whoever comes first in a round does so only once.
        for turn in 0..BOUNDS.len() {
            let at = (turn + round) % BOUNDS.len();
            let (Some(bound), Some(rows)) = (BOUNDS.get(at), rows.get_mut(at)) else { continue };
            let dir = dir.join(format!("{bound}-{round}"));
            rows.push(runtime.block_on(measure(*bound, disk << 20, &dir))?);
            std::fs::remove_dir_all(&dir)?;
        }
    }
    println!("bound     stored/s  MiB/s  written/body  disk/body  files  read p50    p99");
    for (bound, rows) in BOUNDS.iter().zip(&rows) {
        let median = |of: fn(&Row) -> f64| {
            let mut all: Vec<f64> = rows.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or(0.0)
        };
        println!(
            "{:>4} KiB {:>9.0} {:>6.0} {:>13.2} {:>10.2} {:>6.0} {:>5.0} µs {:>3.0} µs",
            bound / KIB,
            median(|row| row.stored),
            median(|row| row.mib),
            median(|row| row.written),
            median(|row| row.disk),
            median(|row| row.files),
            median(|row| row.read_50),
            median(|row| row.read_99),
        );
    }
    Ok(())
}

/// What one filling cost: rates a second, bytes for each byte of body, and reading in microseconds.
#[derive(Clone)]
struct Row {
    stored: f64,
    mib: f64,
    written: f64,
    disk: f64,
    files: f64,
    read_50: f64,
    read_99: f64,
}

async fn measure(bound: u64, disk: u64, dir: &Path) -> Outcome<Row> {
    let mut options = Options::new(dir);
    options.disk_limit = disk;
    options.memory_limit = 0;
    options.segment_max = bound;
    let store = Store::open(options)?;
    store.ready().await;

    let mut random = Random(7);
    let mut sizes = Vec::new();
    let (mut bytes, began, written) = (0, Instant::now(), of_process("io", "wchar:"));
    let mut puts = JoinSet::new();
    while bytes < 3 * disk {
        let (n, size) = (sizes.len() as u64, body_size(&mut random));
        sizes.push(size);
        bytes += size as u64;
        let store = store.clone();
        puts.spawn(async move { put(&store, n, size).await.map_err(|error| error.to_string()) });
        if puts.len() >= AT_ONCE {
            puts.join_next().await.ok_or("no task")???;
        }
    }
    while let Some(put) = puts.join_next().await {
        put??;
    }
    let took = began.elapsed();
    let written = of_process("io", "wchar:") - written;

    let mut latencies = Vec::new();
    while latencies.len() < READS {
        let n = random.below(sizes.len() as u64);
        let sample = Instant::now();
        let variants = store.lookup(&key(n)?).await;
        let Some(stored) = variants.first() else { continue };
        let mut body = stored.body(0..u64::MAX);
        while body.next().await?.is_some() {}
        latencies.push(sample.elapsed());
    }
    latencies.sort_unstable();
    let share = |percent: usize| {
        latencies.get(READS * percent / 100).copied().unwrap_or(Duration::ZERO).as_secs_f64() * 1e6
    };

    let mut kept = 0;
    for entry in store.entries(Filter::default()).await? {
        kept += entry?.body_len;
    }
    let stats = store.stats();
    store.close().await;
    Ok(Row {
        stored: sizes.len() as f64 / took.as_secs_f64(),
        mib: bytes as f64 / took.as_secs_f64() / f64::from(1 << 20),
        written: written as f64 / bytes as f64,
        disk: stats.disk_bytes as f64 / kept as f64,
        files: files(dir)? as f64,
        read_50: share(50),
        read_99: share(99),
    })
}

/// From 256 bytes to 4 MiB, every doubling as likely as another: most bodies are small, most bytes are in large ones.
fn body_size(random: &mut Random) -> usize {
    let doubling = random.below(14);
    let base = 256_u64 << doubling;
    usize::try_from(base + random.below(base)).unwrap_or(256)
}

fn files(dir: &Path) -> Outcome<u64> {
    let mut count = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { files(&entry.path())? } else { 1 };
    }
    Ok(count)
}
