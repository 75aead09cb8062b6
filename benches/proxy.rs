//! A whole hit and a whole miss over loopback, client and origin included: a round trip through real sockets.
//! Ratios between rows mean something, the times themselves are of one machine.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench: criterion's macros make undocumented functions"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use larder_server::config::{Destination, Listener};
use larder_server::{Clock, Config, Server};
use larder_storage::{Options, Store};

/// Answers every request head with the same bytes.
fn origin(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || {
                let mut buffer = [0_u8; 4096];
                while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                    if stream.write_all(&answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn answer(length: usize, control: &str) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: {control}\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + length, b'x');
    answer
}

fn proxy(directory: &std::path::Path) -> Server {
    let mut config = Config {
        listeners: vec![Listener { address: "127.0.0.1:0".parse().unwrap(), ..Listener::default() }],
        workers: 1,
        ..Config::default()
    };
    config.access.allow_destinations = vec![Destination::Network("127.0.0.0/8".parse().unwrap())];
    let mut options = Options::new(directory);
    options.disk_limit = 2 << 30;
    Server::start(config, Store::open(options).unwrap(), Clock::system()).unwrap()
}

struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![0; 1 << 20] }
    }

    /// One request; reads until the body has come.
    fn get(&mut self, url: &str, host: SocketAddr, length: usize) {
        let request = format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut total = 0;
        let mut head = None;
        loop {
            let at = if head.is_none() { total } else { 0 };
            let read = self.stream.read(&mut self.buffer[at..]).unwrap();
            assert!(read > 0);
            total += read;
            if head.is_none() {
                head = self.buffer[..total]
                    .windows(4)
                    .position(|window| window == b"\r\n\r\n")
                    .map(|end| end + 4);
            }
            if head.is_some_and(|head| total == head + length) {
                return;
            }
        }
    }
}

fn round_trips(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("proxy");
    for length in [1 << 10, 64 << 10] {
        let directory = tempfile::tempdir().unwrap();
        let server = proxy(&directory.path().join("cache"));
        let cacheable = origin(answer(length, "max-age=86400"));
        let uncacheable = origin(answer(length, "no-store"));
        let mut client = Client::connect(server.addresses()[0]);
        group.throughput(Throughput::Elements(1));
        let url = format!("http://{cacheable}/same");
        client.get(&url, cacheable, length);
        group.bench_function(BenchmarkId::new("hit", length), |bencher| {
            bencher.iter(|| client.get(&url, cacheable, length))
        });
        let mut number = 0_u64;
        group.bench_function(BenchmarkId::new("miss, stored", length), |bencher| {
            bencher.iter(|| {
                number += 1;
                client.get(&format!("http://{cacheable}/{number}"), cacheable, length);
            });
        });
        let url = format!("http://{uncacheable}/");
        group.bench_function(BenchmarkId::new("miss, passed", length), |bencher| {
            bencher.iter(|| client.get(&url, uncacheable, length));
        });
        server.drain();
    }
    group.finish();
}

criterion_group!(benches, round_trips);
criterion_main!(benches);
