//! Many clients, one fetch.

use std::thread;

use crate::support::{After, Client, Gate, Origin, Proxy, bytes};

#[test]
fn fifty_clients_make_one_request_and_read_along_from_the_first_byte() {
    let body = bytes(4, 4_000_000);
    let (half, gate) = (body.len() / 2, Gate::default());
    let (sent, held) = (body.clone(), gate.clone());
    let origin = Origin::start(move |_, reply| {
        reply.raw(format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\n\r\n",
            sent.len()
        ));
        reply.raw(&sent[..half]);
        held.wait();
        reply.raw(&sent[half..]);
        After::Keep
    });
    let proxy = Proxy::start();
    let url = origin.url("/big");
    let address = proxy.address();
    let (first_bytes, seen) = std::sync::mpsc::channel();
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let (url, first_bytes) = (url.clone(), first_bytes.clone());
            thread::spawn(move || {
                let mut client = Client::connect(address);
                client.request("GET", &url, &[]);
                // The head and some of the content are here before the origin has sent its last byte.
                let start = std::io::BufRead::fill_buf(&mut client.reader).unwrap();
                assert!(!start.is_empty());
                first_bytes.send(()).unwrap();
                client.response("GET")
            })
        })
        .collect();
    for _ in 0..50 {
        seen.recv_timeout(crate::support::PATIENCE).unwrap();
    }
    gate.open();
    let mut collapsed = 0;
    for client in clients {
        let response = client.join().unwrap();
        assert!(response.complete && response.body == body, "{}", response.cache_status());
        collapsed += usize::from(response.cache_status().contains("collapsed"));
    }
    assert_eq!((origin.count(), collapsed), (1, 49));
}

#[test]
fn an_answer_that_cannot_be_shared_sends_each_on_by_itself() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, reply| {
        held.wait();
        reply.send(200, &["Cache-Control: no-store"], b"mine")
    });
    let proxy = Proxy::start();
    let (url, address) = (origin.url("/"), proxy.address());
    let mut first = Client::connect(address);
    first.request("GET", &url, &[]);
    origin.wait_for(1);
    let mut others: Vec<Client> = (0..9).map(|_| Client::connect(address)).collect();
    for other in &mut others {
        other.request("GET", &url, &[]);
    }
    gate.open();
    for client in others.iter_mut().chain([&mut first]) {
        let answer = client.response("GET");
        assert_eq!((answer.status, answer.text().as_str()), (200, "mine"));
    }
    assert_eq!(origin.count(), 10);
}

#[test]
fn a_leader_that_leaves_does_not_end_the_download() {
    let body = bytes(5, 1_000_000);
    let gate = Gate::default();
    let (sent, held) = (body.clone(), gate.clone());
    let origin = Origin::start(move |_, reply| {
        reply.raw(format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\n\r\n",
            sent.len()
        ));
        reply.raw(&sent[..1000]);
        held.wait();
        reply.raw(&sent[1000..]);
        After::Keep
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    let mut leader = proxy.connect();
    leader.request("GET", &url, &[]);
    assert!(!std::io::BufRead::fill_buf(&mut leader.reader).unwrap().is_empty());
    let mut follower = proxy.connect();
    follower.request("GET", &url, &[]);
    assert!(!std::io::BufRead::fill_buf(&mut follower.reader).unwrap().is_empty());
    drop(leader);
    gate.open();
    let response = follower.response("GET");
    assert!(response.complete && response.body == body);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_cut_answer_is_cut_for_all_and_the_next_request_fetches_anew() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let origin = Origin::start(move |_, reply| {
        let first = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        reply.raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n01234");
        if first {
            return After::Close;
        }
        reply.raw("56789");
        After::Keep
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    let cut = proxy.get(&url);
    assert!(!cut.complete, "{:?}", cut.text());
    let whole = proxy.get(&url);
    assert!(whole.complete && whole.text() == "0123456789");
    assert_eq!(origin.count(), 2);
}

#[test]
fn variants_do_not_follow_each_other() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |request, reply| {
        held.wait();
        let coding = request.field("accept-encoding").unwrap_or("none").to_owned();
        reply.send(200, &["Cache-Control: max-age=60", "Vary: Accept-Encoding"], coding.as_bytes())
    });
    let proxy = Proxy::start();
    let (url, address) = (origin.url("/"), proxy.address());
    let mut clients: Vec<(Client, String)> = (0..8)
        .map(|number| {
            let coding = if number % 2 == 0 { "gzip" } else { "br" };
            let mut client = Client::connect(address);
            client.request("GET", &url, &[&format!("Accept-Encoding: {coding}")]);
            (client, coding.to_owned())
        })
        .collect();
    origin.wait_for(1);
    gate.open();
    for (client, coding) in &mut clients {
        assert_eq!(client.response("GET").text(), *coding);
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn what_was_invalidated_while_it_was_fetched_is_not_kept() {
    let (gate, started) = (Gate::default(), std::sync::atomic::AtomicBool::new(false));
    let held = gate.clone();
    let origin = Origin::start(move |request, reply| match request.method.as_str() {
        "GET" if !started.swap(true, std::sync::atomic::Ordering::SeqCst) => {
            reply.raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 6\r\n\r\nold");
            held.wait();
            reply.raw("old");
            After::Keep
        }
        "GET" => reply.fresh("new"),
        _ => reply.send(204, &[], b""),
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    let mut slow = proxy.connect();
    slow.request("GET", &url, &[]);
    assert!(!std::io::BufRead::fill_buf(&mut slow.reader).unwrap().is_empty());
    assert_eq!(proxy.connect().call("PUT", &url, &[], b"new").status, 204);
    assert_eq!(proxy.get(&url).text(), "new", "nobody joins the old fetch");
    gate.open();
    assert_eq!(slow.response("GET").text(), "oldold");
    assert_eq!(proxy.get(&url).text(), "new", "nor is it stored");
}
