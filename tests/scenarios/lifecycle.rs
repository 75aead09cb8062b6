//! Start, stop, and what survives.

use std::thread;

use crate::support::{After, Gate, Origin, Proxy, bytes};

#[test]
fn draining_finishes_what_is_under_way_and_takes_no_more() {
    let body = bytes(14, 600_000);
    let gate = Gate::default();
    let (sent, held) = (body.clone(), gate.clone());
    let origin = Origin::start(move |_, reply| {
        reply.raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len()));
        reply.raw(&sent[..1000]);
        held.wait();
        reply.raw(&sent[1000..]);
        After::Keep
    });
    let proxy = Proxy::start();
    let mut busy = proxy.connect();
    busy.request("GET", &origin.url("/"), &[]);
    assert!(!std::io::BufRead::fill_buf(&mut busy.reader).unwrap().is_empty());
    let mut idle = proxy.connect();
    let address = proxy.address();
    thread::scope(|scope| {
        let draining = scope.spawn(|| proxy.server().drain());
        assert!(idle.is_closed(), "idle connections close at once");
        crate::support::eventually("nothing is accepted any more", || {
            std::net::TcpStream::connect(address).is_err()
        });
        assert!(!draining.is_finished());
        gate.open();
        let response = busy.response("GET");
        assert!(response.complete && response.body == body);
        assert!(busy.is_closed());
        draining.join().unwrap();
    });
}

#[test]
fn draining_has_an_end() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, reply| {
        held.wait();
        reply.fresh("late")
    });
    let proxy = Proxy::with(|config, _| config.limits.drain_timeout = std::time::Duration::from_millis(50));
    let mut client = proxy.connect();
    client.request("GET", &origin.url("/"), &[]);
    origin.wait_for(1);
    proxy.server().drain();
    assert!(client.is_closed());
    gate.open();
}

#[test]
fn two_workers_serve_the_same_store() {
    let origin = Origin::start(|request, reply| reply.fresh(&request.target));
    let proxy = Proxy::with(|config, _| config.workers = 4);
    let url = origin.url("/shared");
    proxy.get(&url);
    for _ in 0..40 {
        assert!(proxy.get(&url).is_hit());
    }
    assert_eq!(origin.count(), 1);
}
