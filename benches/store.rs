//! Writing to the store and reading back: from the memory tier, from segments and from blobs.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench: criterion's macros make undocumented functions"
)]

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http::{Method, StatusCode};
use larder_policy::{
    CacheKey, Exchange, Fields, PolicySettings, RequestFacts, StoredResponse, TargetUri, Timestamp,
    storability,
};
use larder_storage::{Options, Store};
use tokio::runtime::Runtime;

const SIZES: [usize; 4] = [1 << 10, 16 << 10, 256 << 10, 4 << 20];

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn response(target: &TargetUri, length: usize) -> StoredResponse {
    let now = Timestamp::from_secs(1_767_225_600);
    let mut fields = Fields::new();
    fields.push("Cache-Control", b"max-age=86400").unwrap();
    fields.push("Content-Type", b"application/octet-stream").unwrap();
    fields.push("Content-Length", length.to_string().as_bytes()).unwrap();
    let exchange = Exchange {
        facts: &RequestFacts::of(&Method::GET, &Fields::new()),
        target,
        request: &Fields::new(),
        status: StatusCode::OK,
        response: &fields,
        request_time: now,
        response_time: now,
        framing_sound: true,
    };
    storability(&PolicySettings::default(), &exchange, None).unwrap()
}

async fn write(store: &Store, number: u64, body: &Bytes) -> CacheKey {
    let target = TargetUri::parse(format!("http://example.com/{number}").as_bytes()).unwrap();
    let key = CacheKey::of(&target);
    let mut fill = store.begin(key.clone(), response(&target, body.len()), Some(body.len() as u64), None);
    let mut left = body.clone();
    while !left.is_empty() {
        let piece = left.split_to(left.len().min(64 << 10));
        fill.write(piece).await.unwrap();
    }
    fill.finish().await.unwrap();
    key
}

async fn read(store: &Store, key: &CacheKey) -> u64 {
    let variants = match store.cached(key) {
        Some(variants) => variants,
        None => store.lookup(key).await,
    };
    let mut body = variants.first().unwrap().body(0..u64::MAX);
    let mut length = 0;
    while let Some(bytes) = body.next().await.unwrap() {
        length += bytes.len() as u64;
    }
    length
}

fn bodies(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("store");
    for size in SIZES {
        // Bodies differ, so that none shares another's blob.
        let body = |number: u64| {
            let mut body = vec![0x5a_u8; size];
            body.iter_mut().zip(number.to_le_bytes()).for_each(|(place, byte)| *place = byte);
            Bytes::from(body)
        };
        group.throughput(Throughput::Bytes(size as u64));
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::new(directory.path().join("write"));
        options.disk_limit = 2 << 30;
        let store = runtime.block_on(async { Store::open(options).unwrap() });
        let mut number = 0;
        group.bench_function(BenchmarkId::new("write", size), |bencher| {
            bencher.iter(|| {
                number += 1;
                runtime.block_on(write(&store, number, &body(number)))
            });
        });
        for (name, memory) in [("read from memory", 256 << 20), ("read from disk", 0)] {
            let mut options = Options::new(directory.path().join(name));
            options.memory_limit = memory;
            let store = runtime.block_on(async { Store::open(options).unwrap() });
            let key = runtime.block_on(write(&store, 0, &body(0)));
            assert_eq!(runtime.block_on(read(&store, &key)), size as u64);
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| runtime.block_on(read(&store, &key)))
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bodies);
criterion_main!(benches);
