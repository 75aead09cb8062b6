//! What a request pays for before anything is looked up or sent: reading its head, its facts and its target, and the decision.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench: criterion's macros make undocumented functions"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{Method, StatusCode};
use larder_policy::{
    CacheKey, Exchange, Fields, PolicySettings, RequestFacts, StoredResponse, TargetUri, Timestamp, reuse,
    storability,
};

const HEAD: &str = "GET http://example.com/assets/app.js?v=42 HTTP/1.1\r\nHost: example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nReferer: http://example.com/\r\nConnection: keep-alive\r\nSec-Fetch-Dest: script\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Site: same-origin\r\n\r\n";

fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.push(name, value.as_bytes()).unwrap();
    }
    fields
}

fn stored(target: &TargetUri, request: &Fields, now: Timestamp) -> StoredResponse {
    let response = fields(&[
        ("Date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("Content-Type", "text/javascript"),
        ("Cache-Control", "public, max-age=86400"),
        ("ETag", "\"5f3a-9c1\""),
        ("Vary", "Accept-Encoding"),
        ("Content-Length", "20000"),
    ]);
    let exchange = Exchange {
        facts: &RequestFacts::of(&Method::GET, request),
        target,
        request,
        status: StatusCode::OK,
        response: &response,
        request_time: now,
        response_time: now,
        framing_sound: true,
    };
    storability(&PolicySettings::default(), &exchange, None).unwrap()
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Bytes(HEAD.len() as u64));
    group.bench_function("request head", |bencher| {
        bencher.iter(|| larder_server::probe::request_head(black_box(HEAD.as_bytes())))
    });
    group.finish();
    let mut group = criterion.benchmark_group("read");
    let request = fields(&HEAD.lines().skip(1).filter_map(|line| line.split_once(": ")).collect::<Vec<_>>());
    group.bench_function("request facts", |bencher| {
        bencher.iter(|| RequestFacts::of(&Method::GET, black_box(&request)))
    });
    group.bench_function("target and key", |bencher| {
        bencher.iter(|| {
            CacheKey::of(&TargetUri::parse(black_box(b"http://example.com/assets/app.js?v=42")).unwrap())
        });
    });
    group.finish();
}

fn decide(criterion: &mut Criterion) {
    let now = Timestamp::from_secs(1_767_225_600);
    let target = TargetUri::parse(b"http://example.com/assets/app.js?v=42").unwrap();
    let request = fields(&[("Host", "example.com"), ("Accept-Encoding", "gzip, deflate, br, zstd")]);
    let response = stored(&target, &request, now);
    let facts = RequestFacts::of(&Method::GET, &request);
    let mut group = criterion.benchmark_group("decide");
    group.bench_function("hit, one variant", |bencher| {
        bencher.iter(|| reuse(black_box(&facts), black_box(&request), [black_box(&response)], now));
    });
    group.finish();
}

criterion_group!(benches, parse, decide);
criterion_main!(benches);
