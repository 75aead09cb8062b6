//! What the examples share: keys, responses, bodies, and the figures of this process.

use std::error::Error;

use bytes::Bytes;
use http::{Method, StatusCode};
use larder_policy::{
    CacheKey, Exchange, Fields, PolicySettings, RequestFacts, StoredResponse, TargetUri, Timestamp,
    storability,
};
use larder_storage::Store;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Chunks as an origin's connection would bring them.
const CHUNK: usize = 64 * 1024;

/// Stores object `n` with a body of so many bytes. False when it was passed on and not stored, as when room for it is not made yet.
pub(crate) async fn put(store: &Store, n: u64, bytes: usize) -> Outcome<bool> {
    let mut fill = store.begin(key(n)?, response(bytes)?, Some(bytes as u64), None);
    let mut body = vec![0; bytes];
    for (byte, seed) in body.iter_mut().zip(n.to_le_bytes().into_iter().cycle()) {
        *byte = seed;
    }
    let mut body = Bytes::from(body);
    while !body.is_empty() {
        fill.write(body.split_to(body.len().min(CHUNK))).await?;
    }
    Ok(fill.finish().await.is_some())
}

/// The key of object `n`.
pub(crate) fn key(n: u64) -> Outcome<CacheKey> {
    let url = format!("http://packages.example.com/pool/main/l/larder/larder_{n}_amd64.deb");
    Ok(CacheKey::of(&TargetUri::parse(url.as_bytes())?))
}

fn response(bytes: usize) -> Outcome<StoredResponse> {
    let length = bytes.to_string();
    let mut fields = Fields::new();
    for (name, value) in [
        ("Date", "Mon, 23 Nov 2026 12:00:00 GMT"),
        ("Server", "example"),
        ("Last-Modified", "Sun, 22 Nov 2026 12:00:00 GMT"),
        ("ETag", "\"0123456789abcdef\""),
        ("Cache-Control", "max-age=86400"),
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", &length),
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

/// A number that `/proc` tells of this process, such as `VmRSS:` of `status`, in the unit that it has there.
pub(crate) fn of_process(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// Numbers that look random, the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}
