//! What one small hit costs, counted and not timed: allocations here, instructions under valgrind by `benches/counts`.
//!
//! One client asks one worker for the same response again and again over one connection, so that every request is alike. The
//! client's own cost, which is small and the same for each, counts in.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench"
)]
#![allow(unsafe_code, reason = "an allocator that counts is an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use larder_policy::Timestamp;
use larder_server::config::{Destination, Listener};
use larder_server::{Clock, Config, Server};
use larder_storage::{Options, Store};

/// More allocations than this, and one for each hundred hits, are a fault: hits need none, and what goes on beside them few.
const ALLOCATIONS_BESIDE: u64 = 1000;
/// Requests before the first that counts: by then all buffers have their size.
const WARM_UP: usize = 100;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is the system's allocator's doing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller says.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller says.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller says.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Answers one request.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        assert!(stream.read(&mut head).unwrap() > 0);
        let body = "x".repeat(1024);
        let answer = format!(
            "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 16:00:00 GMT\r\nContent-Type: text/plain\r\nETag: \"a\"\r\n\
             Cache-Control: max-age=86400\r\nContent-Length: 1024\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).unwrap();
        // Open until the other side has had enough.
        let _ = stream.read(&mut head);
    });
    address
}

fn proxy(directory: &std::path::Path) -> Server {
    let mut config = Config {
        listeners: vec![Listener { address: "127.0.0.1:0".parse().unwrap(), ..Listener::default() }],
        workers: 1,
        ..Config::default()
    };
    config.access.allow_destinations = vec![Destination::Network("127.0.0.0/8".parse().unwrap())];
    let mut options = Options::new(directory);
    // The index then lives in memory, and its thread does nothing meanwhile.
    options.disk_limit = 32 << 20;
    // A clock that stands: the answers are of one length.
    let clock = Clock::manual(Timestamp::from_secs(1_795_449_600));
    Server::start(config, Store::open(options).unwrap(), clock).unwrap()
}

/// One request, and its answer of this many bytes.
fn get(stream: &mut TcpStream, request: &[u8], answer: &mut [u8]) {
    stream.write_all(request).unwrap();
    stream.read_exact(answer).unwrap();
}

/// One request, and the length of its answer.
fn measure(stream: &mut TcpStream, request: &[u8]) -> usize {
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    loop {
        let mut buffer = [0; 8192];
        let read = stream.read(&mut buffer).unwrap();
        answer.extend_from_slice(&buffer[..read]);
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
        if head.is_some_and(|head| answer.len() == head + 4 + 1024) {
            return answer.len();
        }
    }
}

fn main() {
    let hits: usize = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(20_000);
    let directory = tempfile::tempdir().unwrap();
    let server = proxy(&directory.path().join("cache"));
    let origin = origin();
    let request = format!(
        "GET http://{origin}/a HTTP/1.1\r\nHost: {origin}\r\nUser-Agent: counts/1\r\nAccept: */*\r\n\r\n"
    );
    let mut stream = TcpStream::connect(server.addresses()[0]).unwrap();
    stream.set_nodelay(true).unwrap();
    // The first one is stored, the second one is a hit.
    measure(&mut stream, request.as_bytes());
    let mut answer = vec![0; measure(&mut stream, request.as_bytes())];
    for _ in 0..WARM_UP {
        get(&mut stream, request.as_bytes(), &mut answer);
    }
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("Cache-Status: larder; hit\r\n"), "no hit: {text}");
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..hits {
        get(&mut stream, request.as_bytes(), &mut answer);
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    println!("{hits} hits of 1 KiB: {:.3} allocations each", allocations as f64 / hits as f64);
    server.stop();
    assert!(allocations <= ALLOCATIONS_BESIDE + hits as u64 / 100, "{allocations} allocations are too many");
}
