//! Requests to switch protocols: WebSocket and others.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::message::Head;
use crate::support::tls::authority;
use crate::support::tls_origin::{HandshakeOrigin, plain_server, trusting};
use crate::support::{Client, Gate, Origin, Proxy, bytes, eventually};

const ASKED: [&str; 4] = [
    "Connection: Upgrade, X-Hop",
    "X-Hop: 1",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nContent-Length: 5\r\n\r\n";

/// An origin that answers each connection's first request by `handler`, which has the connection.
fn origin(handler: impl Fn(Head, BufReader<TcpStream>) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handler = Arc::new(handler);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handler = Arc::clone(&handler);
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                if let Ok(Some(head)) = Head::read(&mut reader) {
                    handler(head, reader);
                }
            });
        }
    });
    address
}

/// One that switches, says hello in the same breath, and then sends back what comes, until the end.
fn echo() -> SocketAddr {
    origin(|head, mut reader| {
        assert_eq!(head.all("upgrade"), ["websocket"]);
        assert_eq!(head.all("connection"), ["upgrade"]);
        assert!(head.field("x-hop").is_none() && head.field("sec-websocket-key").is_some());
        assert!(head.field("via").unwrap().starts_with("1.1 larder-"));
        reader.get_mut().write_all(format!("{SWITCHING}hello").as_bytes()).unwrap();
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = reader.read(&mut buffer).unwrap();
            if read == 0 {
                return;
            }
            reader.get_mut().write_all(&buffer[..read]).unwrap();
        }
    })
}

/// Reads exactly so many bytes.
fn take(client: &mut Client, length: usize) -> Vec<u8> {
    let mut taken = vec![0; length];
    client.reader.read_exact(&mut taken).unwrap();
    taken
}

fn check_switch(head: &Head) {
    assert!(head.line.starts_with("HTTP/1.1 101 "), "{}", head.line);
    assert_eq!((head.all("connection"), head.all("upgrade")), (vec!["upgrade"], vec!["websocket"]));
    assert!(head.field("sec-websocket-accept").is_some() && head.field("content-length").is_none());
}

fn check_echo(client: &mut Client) {
    check_switch(&Head::read(&mut client.reader).unwrap().unwrap());
    assert_eq!(take(client, 5), b"hello");
    let body = bytes(41, 300_000);
    let sending = client.reader.get_ref().try_clone().unwrap();
    let sent = body.clone();
    let sender = std::thread::spawn(move || (&sending).write_all(&sent).unwrap());
    assert!(take(client, body.len()) == body);
    sender.join().unwrap();
    // Each direction ends by itself.
    client.send("last");
    client.finish_sending();
    assert_eq!(client.rest(), b"last");
}

#[test]
fn a_websocket_passes_through_a_forward_proxy() {
    let address = echo();
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.request("GET", &format!("http://{address}/chat"), &ASKED);
    check_echo(&mut client);
}

#[test]
fn a_websocket_passes_through_a_reverse_proxy() {
    let address = echo();
    let proxy = Proxy::before(&format!("http://{address}/"));
    let mut client = proxy.connect();
    client.send(format!("GET /chat HTTP/1.1\r\nHost: www.example\r\n{}\r\n\r\n", ASKED.join("\r\n")));
    check_echo(&mut client);
}

#[test]
fn a_websocket_to_an_https_origin_is_asked_for_over_http1() {
    let authority = authority();
    let mut config = plain_server(&authority);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let origin = HandshakeOrigin::start(config, |_, stream| {
        stream.get_mut().write_all(SWITCHING.as_bytes()).unwrap();
        let mut said = [0; 5];
        stream.read_exact(&mut said).unwrap();
        stream.get_mut().write_all(&said).unwrap();
        false
    });
    let proxy = trusting(&authority);
    let mut client = proxy.connect();
    client.request("GET", &origin.url("/chat"), &ASKED);
    check_switch(&Head::read(&mut client.reader).unwrap().unwrap());
    client.send("hello");
    assert_eq!(take(&mut client, 5), b"hello");
    assert_eq!(*origin.protocols.lock().unwrap(), ["http/1.1"]);
}

#[test]
fn a_websocket_passes_through_a_tunnel_as_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let head = Head::read(&mut reader).unwrap().unwrap();
        assert_eq!(head.field("connection"), Some("Upgrade, X-Hop"));
        assert!(head.field("via").is_none());
        reader.get_mut().write_all(b"HTTP/1.1 101 As It Is\r\n\r\n").unwrap();
    });
    let proxy = Proxy::with(|config, _| config.access.connect_ports = (1..=u16::MAX).collect());
    let mut client = proxy.connect();
    client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert_eq!(client.response("CONNECT").status, 200);
    client.request("GET", "/chat", &ASKED);
    assert_eq!(client.rest(), b"HTTP/1.1 101 As It Is\r\n\r\n");
}

#[test]
fn bytes_before_the_101_wait_for_it() {
    let (gate, seen) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let (held, count) = (gate.clone(), Arc::clone(&seen));
    let address = origin(move |_, mut reader| {
        // All that has come until the gate opens is here, or in the socket.
        held.wait();
        reader.get_ref().set_nonblocking(true).unwrap();
        let mut early = [0; 64];
        let read = reader.read(&mut early).unwrap_or(0);
        count.store(read + 1, Ordering::SeqCst);
        reader.get_ref().set_nonblocking(false).unwrap();
        reader.get_mut().write_all(SWITCHING.as_bytes()).unwrap();
        let mut said = [0; 5];
        reader.read_exact(&mut said).unwrap();
        reader.get_mut().write_all(&said).unwrap();
    });
    let proxy = Proxy::with(|config, _| config.workers = 1);
    let mut client = proxy.connect();
    client.request("GET", &format!("http://{address}/"), &ASKED);
    client.send("early");
    // Another request of the same worker is through: it has had the time to send what it must not.
    let other = Origin::start(|_, reply| reply.send(200, &[], b"x"));
    for number in 0..5 {
        assert_eq!(proxy.get(&other.url(&format!("/{number}"))).status, 200);
    }
    gate.open();
    check_switch(&Head::read(&mut client.reader).unwrap().unwrap());
    assert_eq!(take(&mut client, 5), b"early");
    assert_eq!(seen.load(Ordering::SeqCst), 1, "nothing had come before the 101");
}

#[test]
fn any_other_answer_is_ordinary_and_never_stored() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let origin = Origin::start(move |request, reply| {
        counted.fetch_add(1, Ordering::SeqCst);
        assert_eq!(request.field("upgrade"), Some("websocket"));
        reply.fresh("no")
    });
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    for _ in 0..2 {
        let answer = client.request("GET", &origin.url("/"), &ASKED).response("GET");
        assert_eq!((answer.status, answer.text().as_str()), (200, "no"));
        assert!(answer.cache_status().starts_with("larder; fwd=bypass; fwd-status=200"));
    }
    // What a client sends behind such a request is its next one.
    client.request("GET", &origin.url("/"), &ASKED);
    client.request("GET", &origin.url("/"), &ASKED);
    assert_eq!((client.response("GET").status, client.response("GET").status), (200, 200));
    assert_eq!(count.load(Ordering::SeqCst), 4);
}

#[test]
fn what_is_stored_does_not_answer_a_request_to_switch() {
    let origin = Origin::start(|request, reply| {
        let text = request.field("upgrade").unwrap_or("none").to_owned();
        reply.fresh(text)
    });
    let proxy = Proxy::start();
    assert_eq!(proxy.get(&origin.url("/")).text(), "none");
    assert_eq!(proxy.get_with(&origin.url("/"), &ASKED).text(), "websocket");
    let hit = proxy.get(&origin.url("/"));
    assert!(hit.is_hit() && hit.text() == "none");
}

#[test]
fn a_switch_to_what_was_not_asked_for_is_502() {
    for (named, reason) in [("Upgrade: other\r\n", "http_protocol_error"), ("", "http_protocol_error")] {
        let address = origin(move |_, mut reader| {
            let answer = format!("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\n{named}\r\nbytes");
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            let _ = reader.read(&mut [0]);
        });
        let proxy = Proxy::start();
        let answer = proxy.get_with(&format!("http://{address}/"), &ASKED);
        let status = answer.field("proxy-status").unwrap();
        assert_eq!((answer.status, status), (502, format!("larder; error={reason}").as_str()));
    }
}

#[test]
fn http2_in_the_clear_is_never_asked_for() {
    let origin = Origin::start(|_, reply| reply.send(200, &["Cache-Control: no-store"], b"x"));
    let proxy = Proxy::start();
    for fields in [
        &["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"][..],
        // Not named in Connection: still nothing that goes on.
        &["Connection: Upgrade", "Upgrade: H2C", "HTTP2-Settings: AAMAAABk"],
        &["Connection: Upgrade", "Upgrade: h2c, websocket", "HTTP2-Settings: AAMAAABk"],
        &["Connection: Upgrade", "Upgrade: HTTP/2.0"],
        &["Upgrade: websocket"],
    ] {
        assert_eq!(proxy.get_with(&origin.url("/"), fields).status, 200);
    }
    let post = proxy.connect().call("POST", &origin.url("/"), &ASKED, b"content");
    assert_eq!(post.status, 200);
    let received = origin.received();
    let upgrades: Vec<Option<&str>> = received.iter().map(|request| request.field("upgrade")).collect();
    assert_eq!(upgrades, [None, None, Some("websocket"), None, None, None]);
    assert!(received.iter().all(|request| request.field("http2-settings").is_none()));
}

#[test]
fn a_switched_connection_is_logged_and_counted_like_a_tunnel() {
    let address = echo();
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    let target = larder_server::config::AccessLogTarget::File(log.clone());
    let proxy = Proxy::with(move |config, _| {
        config.access_log = Some(larder_server::config::AccessLogSettings {
            target: target.clone(),
            format: larder_server::config::AccessLogFormat::Json,
        });
    });
    let url = format!("http://{address}/chat");
    let mut client = proxy.connect();
    client.request("GET", &url, &ASKED);
    check_switch(&Head::read(&mut client.reader).unwrap().unwrap());
    assert_eq!(take(&mut client, 5), b"hello");
    client.send("1234567");
    client.finish_sending();
    assert_eq!(client.rest(), b"1234567");
    eventually("the line is there", || std::fs::read_to_string(&log).is_ok_and(|text| text.ends_with('\n')));
    let line: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!((&line["status"], &line["outcome"]), (&101.into(), &"tunnel".into()), "{line}");
    assert!(line.to_string().contains(&url), "{line}");
}

#[test]
fn a_silent_switched_connection_ends_after_the_idle_limit() {
    let address = echo();
    let proxy =
        Proxy::with(|config, _| config.limits.tunnel_idle_timeout = std::time::Duration::from_millis(200));
    let mut client = proxy.connect();
    client.request("GET", &format!("http://{address}/"), &ASKED);
    check_switch(&Head::read(&mut client.reader).unwrap().unwrap());
    assert_eq!(client.rest(), b"hello");
}
