//! Through another proxy.

use larder_server::config::Parent;

use crate::support::{Origin, Proxy};

fn child_of(parent: std::net::SocketAddr) -> Proxy {
    Proxy::with(move |config, _| {
        let (host, port) = (parent.ip().to_string(), parent.port());
        config.upstream.parent = Some(Parent { host, port, credentials: None });
        config.access.connect_ports = (1..=u16::MAX).collect();
    })
}

#[test]
fn requests_go_to_the_parent_in_absolute_form_and_are_cached_here() {
    let parent = Origin::start(|request, reply| reply.fresh(&request.target));
    let proxy = child_of(parent.address);
    let url = "http://far.example/path?q";
    assert_eq!(proxy.get(url).text(), url);
    assert!(proxy.get(url).is_hit());
    assert_eq!(parent.received()[0].field("host"), Some("far.example"));
    assert_eq!(parent.count(), 1);
}

#[test]
fn tunnels_go_through_the_parent() {
    let parent = Proxy::with(|config, _| config.access.connect_ports = (1..=u16::MAX).collect());
    let child = child_of(parent.address());
    let origin = Origin::start(|_, reply| reply.fresh("through two"));
    let target = origin.address;
    let mut client = child.connect();
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    assert_eq!(client.response("CONNECT").status, 200);
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.response("GET").text(), "through two");
}

#[test]
fn a_parent_that_refuses_is_named() {
    let parent = Origin::start(|_, reply| reply.send(407, &["Proxy-Authenticate: Basic"], b""));
    let child = child_of(parent.address);
    let mut client = child.connect();
    client.send("CONNECT far.example:443 HTTP/1.1\r\nHost: far.example:443\r\n\r\n");
    let refused = client.response("GET");
    assert_eq!(refused.status, 502);
    assert!(refused.text().contains("407"), "{}", refused.text());
}

#[test]
fn chained_proxies_are_no_loop() {
    let parent = Proxy::start();
    let origin = Origin::start(|_, reply| reply.fresh("chained"));
    let child = child_of(parent.address());
    let answer = child.get(&origin.url("/"));
    assert_eq!((answer.status, answer.text().as_str()), (200, "chained"));
    assert_eq!(answer.head.all("cache-status").len(), 2);
}
