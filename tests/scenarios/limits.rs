//! Bounds on disk, memory, connections and time.

use std::time::Duration;

use super::caching::files_under;
use crate::support::{After, Gate, Origin, Proxy, bytes};

/// Bytes of all files, in allocated blocks.
fn allocated(directory: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    files_under(directory)
        .iter()
        .filter_map(|path| std::fs::metadata(path).ok())
        .map(|file| file.blocks() * 512)
        .sum()
}

#[test]
fn the_disk_limit_holds_while_far_more_is_fetched() {
    const LIMIT: u64 = 20 << 20;
    let origin = Origin::start(|request, reply| {
        let number: u64 = request.target.trim_start_matches('/').parse().unwrap();
        reply.fresh(bytes(number, [3_000, 70_000, 1_000_000][number as usize % 3]))
    });
    let proxy = Proxy::with(|_, options| options.disk_limit = LIMIT);
    let mut client = proxy.connect();
    for number in 1..150 {
        let response = client.get(&origin.url(&format!("/{number}")), &[]);
        assert!(
            response.complete
                && response.body == bytes(number, [3_000, 70_000, 1_000_000][number as usize % 3])
        );
        let used = allocated(&proxy.cache_dir());
        assert!(used <= LIMIT + (1 << 20), "{used} after {number}");
    }
    assert!(client.get(&origin.url("/149"), &[]).is_hit(), "the newest is still there");
}

#[test]
fn what_is_larger_than_the_store_passes_through() {
    let body = bytes(15, 6_000_000);
    let sent = body.clone();
    let origin = Origin::start(move |_, reply| reply.fresh(&sent));
    let proxy = Proxy::with(|_, options| options.disk_limit = 4 << 20);
    for _ in 0..2 {
        let response = proxy.get(&origin.url("/"));
        assert!(response.complete && response.body == body && !response.is_hit());
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_head_that_dawdles_is_408_and_an_idle_connection_just_closes() {
    let proxy = Proxy::with(|config, _| {
        config.limits.head_timeout = Duration::from_millis(50);
        config.limits.keep_alive_timeout = Duration::from_millis(50);
    });
    let mut slow = proxy.connect();
    slow.send("GET http://a/ HTTP/1.1\r\nHo");
    assert_eq!(slow.response("GET").status, 408);
    let mut idle = proxy.connect();
    assert!(idle.is_closed());
}

#[test]
fn a_silent_origin_is_504_in_time() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, _| {
        held.wait();
        After::Close
    });
    let proxy = Proxy::with(|config, _| config.limits.first_byte_timeout = Duration::from_millis(50));
    let answer = proxy.get(&origin.url("/"));
    assert_eq!(
        (answer.status, answer.field("proxy-status")),
        (504, Some("larder; error=http_response_timeout"))
    );
    gate.open();
}

#[test]
fn a_body_that_stalls_is_cut_in_time() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, reply| {
        reply.raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nCache-Control: max-age=60\r\n\r\nhalf");
        held.wait();
        After::Close
    });
    let proxy = Proxy::with(|config, _| config.limits.origin_body_timeout = Duration::from_millis(50));
    assert!(!proxy.get(&origin.url("/")).complete);
    gate.open();
}

#[test]
fn one_client_has_only_its_share_of_connections() {
    let proxy = Proxy::with(|config, _| config.limits.connections_per_client = 2);
    let page = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address());
    let mut kept: Vec<_> = (0..2).map(|_| proxy.connect()).collect();
    for client in &mut kept {
        client.send(&page);
        assert_eq!(client.response("GET").status, 200);
    }
    let mut third = proxy.connect();
    assert!(third.is_closed());
    drop(kept);
    crate::support::eventually("places are free again", || {
        let mut client = proxy.connect();
        let _ = std::io::Write::write_all(client.reader.get_mut(), page.as_bytes());
        crate::support::Response::read(&mut client.reader, "GET").is_ok()
    });
}

#[test]
fn content_that_drips_is_408() {
    let origin = Origin::start(|_, reply| reply.fresh("x"));
    let proxy = Proxy::with(|config, _| {
        config.limits.request_body_timeout = Duration::from_millis(300);
        config.limits.request_body_rate = u64::MAX;
    });
    let (url, host) = (origin.url("/"), origin.address);
    let mut client = proxy.connect();
    client.send(format!("POST {url} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100000000\r\n\r\n"));
    let mut sender = client.reader.get_ref().try_clone().unwrap();
    let dripping =
        std::thread::spawn(move || while std::io::Write::write_all(&mut sender, b"drip").is_ok() {});
    assert_eq!(client.response("POST").status, 408);
    drop(client);
    dripping.join().unwrap();
}
