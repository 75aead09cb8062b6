//! Places on connections, counted while connections come and go.

use std::net::SocketAddr;

use std::future::poll_fn;

use http::{Request, Response};
use larder_policy::Scheme;
use tokio::io::DuplexStream;

use super::super::http2::{self, Receiving, Sending};
use super::*;
use crate::http1::{Framing, HeadLimits};
use crate::metrics::Gauge;

fn to() -> Destination {
    Destination { scheme: Scheme::Https, host: "a.example".to_owned(), port: 443 }
}

fn peers() -> Arc<Peers> {
    Arc::new(Peers::new(&Limits::default()))
}

/// A place on a new connection, and the other side of it.
async fn connected(peers: &Arc<Peers>) -> (Place, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1024 * 1024);
    let hop = NextHop::Origin(SocketAddr::from(([192, 0, 2, 1], 443)));
    let open = Arc::new(Gauge::default()).enter();
    (peers.share(&to(), ours, hop, open).await.unwrap(), theirs)
}

#[tokio::test]
async fn a_place_that_outlives_its_destination_is_no_place_on_a_later_connection() {
    let peers = peers();
    let (old, _theirs) = connected(&peers).await;
    old.retire();
    // As `prune` does where too many destinations are known.
    peers.lock().clear();
    let (new, _theirs) = connected(&peers).await;
    let active = || peers.lock().get(&to()).unwrap().lines[0].active;
    assert_eq!(active(), 1);
    drop(old);
    assert_eq!(active(), 1);
    drop(new);
    assert_eq!(active(), 0);
}

fn ask(place: Place) -> (Sending, Receiving) {
    let request = Request::get("https://a.example/").body(()).unwrap();
    let limits = HeadLimits { bytes: 65_536, fields: 100 };
    http2::begin(place, request, Framing::None, limits, "a.example").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_comes_in_is_lost_and_gets_no_more_requests() {
    let peers = peers();
    let (place, _theirs) = connected(&peers).await;
    let began = tokio::time::Instant::now();
    let (_sending, mut receiving) = ask(place);
    let Err(error) = receiving.head("a.example").await else { panic!("it answered") };
    assert!(matches!(error, UpstreamError::Lost { .. }), "{error}");
    assert_eq!(began.elapsed().as_secs(), 15);
    assert!(matches!(peers.look(&to(), &mut None), Look::Open(_)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_late_on_a_connection_that_lives_is_waited_for() {
    let peers = peers();
    let (place, theirs) = connected(&peers).await;
    tokio::spawn(async move {
        let mut server = h2::server::handshake(theirs).await.unwrap();
        let (_request, mut respond) = server.accept().await.unwrap().unwrap();
        let late = async {
            tokio::time::sleep(Duration::from_secs(1000)).await;
            respond.send_response(Response::new(()), true).unwrap();
            std::future::pending::<()>().await;
        };
        // It answers PINGs while it is polled.
        tokio::select! {
            _ = server.accept() => {}
            () = late => {}
        }
    });
    let (_sending, mut receiving) = ask(place);
    assert_eq!(receiving.head("a.example").await.unwrap().status, 200);
    assert!(matches!(peers.look(&to(), &mut None), Look::Take(_)));
}

#[tokio::test]
async fn a_stream_brings_one_window_and_the_windows_of_all_fit_in_the_connection() {
    let limits = Limits { http2_window: 8 * 1024 * 1024, ..Limits::default() };
    let peers = Arc::new(Peers::new(&limits));
    let (place, theirs) = connected(&peers).await;
    let (brought, mut told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut server = h2::server::handshake(theirs).await.unwrap();
        while let Some(Ok((_, mut respond))) = server.accept().await {
            let brought = brought.clone();
            tokio::spawn(async move {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                let mut sent = 0;
                while sent < limits.http2_window as usize {
                    stream.reserve_capacity(65_536);
                    let room = poll_fn(|context| stream.poll_capacity(context)).await.unwrap().unwrap();
                    stream.send_data(Bytes::from(vec![0; room]), false).unwrap();
                    sent += room;
                }
                stream.reserve_capacity(1);
                let more = poll_fn(|context| Poll::Ready(stream.poll_capacity(context).is_ready()));
                brought.send((sent, more.await)).unwrap();
                std::future::pending::<()>().await;
            });
        }
    });
    // Nobody takes anything of the answers.
    let mut asked = vec![ask(place)];
    while let Look::Take(place) = peers.look(&to(), &mut None) {
        asked.push(ask(place));
    }
    assert_eq!(asked.len(), 4);
    for _ in &asked {
        assert_eq!(told.recv().await.unwrap(), (limits.http2_window as usize, false));
    }
}

#[test]
fn a_hundred_requests_share_a_connection_by_default() {
    assert_eq!(peers().streams, STREAMS);
}

#[tokio::test]
async fn those_counted_for_a_forgotten_destination_are_not_counted_for_the_next() {
    let peers = peers();
    let (mut held, mut sides) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        peers.lock().clear();
        let (place, theirs) = connected(&peers).await;
        place.retire();
        sides.push(theirs);
        // One handshake is under way, and one request waits for it.
        for _ in 0..2 {
            held.push(peers.look(&to(), &mut None));
        }
    }
    let counts = || peers.lock().get(&to()).map(|peer| (peer.connecting, peer.waiting)).unwrap();
    assert_eq!(counts(), (1, 1));
    held.drain(..2);
    assert_eq!(counts(), (1, 1));
    held.clear();
    assert_eq!(counts(), (0, 0));
}
