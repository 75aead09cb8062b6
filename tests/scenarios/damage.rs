//! Bodies that do not end as announced, and files that are not what was written.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::caching::files_under;
use crate::support::{After, Origin, Proxy, bytes, eventually};

/// The first answer is broken off by `after`; the later ones are whole.
fn breaking(head: &'static str, part: &'static str, after: After) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::start(move |_, reply| {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            reply.raw(format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n{head}\r\n{part}"));
            return after;
        }
        reply.fresh("whole")
    })
}

#[test]
fn a_truncated_body_is_cut_visibly_and_never_stored_as_complete() {
    for (head, part, after) in [
        ("Content-Length: 100\r\n", "only this", After::Close),
        ("Content-Length: 100\r\n", "only this", After::Reset),
        ("Transfer-Encoding: chunked\r\n", "5\r\nonly \r\n", After::Close),
        ("Transfer-Encoding: chunked\r\n", "5\r\nonly \r\n", After::Reset),
        ("Transfer-Encoding: chunked\r\n", "5\r\nonly \r\n0\r\n", After::Close),
        ("Transfer-Encoding: chunked\r\n", "5\r\nonly \r\nzz\r\n", After::Keep),
    ] {
        let origin = breaking(head, part, after);
        let proxy = Proxy::start();
        let url = origin.url("/");
        let cut = proxy.get(&url);
        assert!(!cut.complete, "{head:?} {after:?}: {:?}", cut.text());
        let proxy = proxy.restart();
        let whole = proxy.get(&url);
        assert!(whole.complete && !whole.is_hit(), "{head:?} {after:?}");
        assert_eq!(whole.text(), "whole");
    }
}

#[test]
fn a_truncated_large_body_leaves_nothing_behind() {
    let part = bytes(6, 500_000);
    let origin = Origin::start(move |_, reply| {
        reply.raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 1000000\r\n\r\n");
        reply.raw(&part);
        After::Close
    });
    let proxy = Proxy::start();
    assert!(!proxy.get(&origin.url("/")).complete);
    let temporary = proxy.cache_dir().join("tmp");
    eventually("temporary files are gone", || files_under(&temporary).is_empty());
    assert!(files_under(&proxy.cache_dir().join("blobs")).is_empty());
}

#[test]
fn an_http_1_0_client_sees_a_cut_body_as_a_reset() {
    let origin = breaking("Transfer-Encoding: chunked\r\n", "5\r\nonly \r\n", After::Close);
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(format!("GET {} HTTP/1.0\r\n\r\n", origin.url("/")));
    let mut all = Vec::new();
    let end = std::io::Read::read_to_end(&mut client.reader, &mut all);
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_body_that_ends_with_the_connection_is_passed_on_but_not_stored() {
    let origin = Origin::start(|_, reply| {
        reply.raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n\r\nuntil the end");
        After::Close
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    for _ in 0..2 {
        let response = proxy.get(&url);
        assert!(response.complete && !response.is_hit());
        assert_eq!(response.text(), "until the end");
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_flipped_byte_in_the_store_never_reaches_a_client() {
    for length in [2_000, 200_000, 2_000_000] {
        let body = bytes(7, length);
        let sent = body.clone();
        let origin = Origin::start(move |_, reply| reply.fresh(&sent));
        let proxy = Proxy::with(|_, options| options.memory_limit = 0);
        let url = origin.url("/");
        assert!(proxy.get(&url).body == body);
        let probe = &body[length / 2..length / 2 + 64];
        let mut flipped = 0;
        for path in files_under(&proxy.cache_dir()) {
            let mut content = std::fs::read(&path).unwrap();
            if let Some(place) = content.windows(64).position(|window| window == probe) {
                content[place + 7] ^= 1;
                std::fs::write(&path, content).unwrap();
                flipped += 1;
            }
        }
        assert_eq!(flipped, 1, "the body lies in one place");
        let again = proxy.get(&url);
        assert!(!again.complete || again.body == body, "{length}: a wrong byte was served");
        // What was found damaged is dropped behind the reader's back.
        eventually("it is fetched anew", || {
            let healed = proxy.get(&url);
            assert!(!healed.complete || healed.body == body, "{length}: a wrong byte was served");
            healed.complete
        });
        assert!(origin.count() >= 2, "{length}");
    }
}

#[test]
fn a_wiped_cache_directory_is_only_a_miss() {
    let origin = Origin::start(|_, reply| reply.fresh(bytes(8, 300_000)));
    let proxy = Proxy::with(|_, options| options.memory_limit = 0);
    let url = origin.url("/");
    proxy.get(&url);
    let blobs = proxy.cache_dir().join("blobs");
    std::fs::remove_dir_all(&blobs).unwrap();
    for _ in 0..3 {
        let response = proxy.get(&url);
        assert!(response.complete && response.body == bytes(8, 300_000));
    }
}
