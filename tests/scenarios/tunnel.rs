//! CONNECT.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::support::{Proxy, bytes};

fn tunnelling() -> Proxy {
    Proxy::with(|config, _| config.access.connect_ports = (1..=u16::MAX).collect())
}

#[test]
fn bytes_go_both_ways_and_each_direction_ends_by_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let (up, down) = (bytes(12, 3_000_000), bytes(13, 2_000_000));
    let (expected, answer) = (up.clone(), down.clone());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        assert!(received == expected);
        // The client has ended its direction; ours still works.
        stream.write_all(&answer).unwrap();
    });
    let proxy = tunnelling();
    let mut client = proxy.connect();
    // What follows the head at once belongs to the tunnel.
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    client.send(&up[..10]);
    let established = client.response("CONNECT");
    assert_eq!(established.status, 200);
    assert_eq!((established.field("content-length"), established.field("transfer-encoding")), (None, None));
    client.send(&up[10..]);
    client.finish_sending();
    assert!(client.rest() == down);
    server.join().unwrap();
}

#[test]
fn a_server_that_speaks_first_is_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 hello\r\n").unwrap();
    });
    let proxy = tunnelling();
    let mut client = proxy.connect();
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    assert_eq!(client.response("CONNECT").status, 200);
    assert_eq!(client.rest(), b"220 hello\r\n");
}

#[test]
fn a_refused_connection_is_502() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = closed.local_addr().unwrap();
    drop(closed);
    let proxy = tunnelling();
    let mut client = proxy.connect();
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    let refused = client.response("GET");
    assert_eq!(
        (refused.status, refused.field("proxy-status")),
        (502, Some("larder; error=connection_refused"))
    );
}
