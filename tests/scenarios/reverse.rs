//! A reverse proxy before one origin.

use crate::support::{Origin, Proxy};

#[test]
fn origin_form_requests_are_forwarded_under_the_clients_host_and_cached() {
    let origin = Origin::start(|request, reply| reply.fresh(request.field("host").unwrap()));
    let proxy = Proxy::before(&origin.url("/"));
    let mut client = proxy.connect();
    for (round, hit) in [(0, false), (1, true)] {
        client.send("GET /page?x HTTP/1.1\r\nHost: www.example\r\n\r\n");
        let answer = client.response("GET");
        assert_eq!((answer.text().as_str(), answer.is_hit()), ("www.example", hit), "{round}");
    }
    client.send("GET /page?x HTTP/1.1\r\nHost: other.example\r\n\r\n");
    assert_eq!(client.response("GET").text(), "other.example", "hosts do not share");
    assert_eq!(origin.received()[0].target, "/page?x");
}

#[test]
fn it_opens_no_tunnels() {
    let origin = Origin::start(|_, reply| reply.fresh("x"));
    let proxy = Proxy::before(&origin.url("/"));
    let mut client = proxy.connect();
    client.send("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n");
    assert_eq!(client.response("GET").status, 405);
}

#[test]
fn an_absolute_form_request_leads_to_the_origin_nowhere_else() {
    let origin = Origin::start(|request, reply| reply.fresh(&request.target));
    let proxy = Proxy::before(&origin.url("/"));
    let answer = proxy.get("http://elsewhere.example/path");
    assert_eq!(answer.text(), "/path");
    assert_eq!(origin.received()[0].field("host"), Some("elsewhere.example"));
}
