//! Who may ask, and where a request may lead.

use crate::support::{Origin, Proxy};

#[test]
fn loopback_and_own_addresses_are_out_of_reach_unless_allowed() {
    let origin = Origin::start(|_, reply| reply.fresh("internal"));
    let proxy = Proxy::with(|config, _| config.access.allow_destinations.clear());
    let port = origin.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "0.0.0.0",
    ] {
        let answer = proxy.get(&format!("http://{host}:{port}/"));
        assert_eq!(answer.status, 403, "{host}: {}", answer.text());
        assert_eq!(answer.field("proxy-status"), Some("larder; error=destination_ip_prohibited"), "{host}");
    }
    for target in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
        let mut client = proxy.connect();
        client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
        assert_eq!(client.response("CONNECT").status, 403, "{target}");
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn the_proxy_does_not_lead_to_itself_even_where_loopback_is_allowed() {
    let proxy = Proxy::start();
    let own = proxy.address();
    assert_eq!(proxy.get(&format!("http://{own}/")).status, 403);
    assert_eq!(proxy.get(&format!("http://localhost:{}/", own.port())).status, 403);
}

#[test]
fn private_ranges_follow_their_setting() {
    let proxy = Proxy::with(|config, _| config.access.private_destinations = false);
    assert_eq!(proxy.get("http://10.255.255.1/").status, 403);
    assert_eq!(proxy.get("http://[fc00::1]/").status, 403);
}

#[test]
fn connect_reaches_only_the_listed_ports() {
    let origin = Origin::start(|_, reply| reply.fresh("x"));
    let proxy = Proxy::start();
    let target = origin.address;
    let mut client = proxy.connect();
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\nGET / HTTP/1.1\r\n\r\n"));
    let refused = client.response("GET");
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("--connect-ports"));
    client.finish_sending();
    assert!(client.is_closed(), "what followed is not a request");
    assert_eq!(origin.count(), 0);
}

#[test]
fn an_open_proxy_is_refused_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let store = larder_storage::Store::open(larder_storage::Options::new(directory.path())).unwrap();
    let mut config = larder_server::Config::default();
    config.listeners[0].address = "0.0.0.0:0".parse().unwrap();
    let refused = larder_server::Server::start(config.clone(), store.clone(), larder_server::Clock::system());
    assert!(matches!(refused, Err(larder_server::StartError::OpenProxy { .. })));
    config.access.allow_clients = vec!["192.0.2.0/24".parse().unwrap()];
    let server = larder_server::Server::start(config, store, larder_server::Clock::system()).unwrap();
    server.drain();
}
