//! Ranges of stored bodies.

use crate::support::{Origin, Proxy, bytes};

#[test]
fn ranges_of_a_stored_body_are_exact() {
    for length in [1_000, 100_000, 1_500_000] {
        let body = bytes(10, length);
        let sent = body.clone();
        let origin = Origin::start(move |_, reply| {
            reply.send(200, &["Cache-Control: max-age=60", "ETag: \"t\""], &sent)
        });
        let proxy = Proxy::start();
        let url = origin.url("/");
        proxy.get(&url);
        for (range, from, to) in [
            ("0-0".to_owned(), 0, 1),
            ("100-199".to_owned(), 100, 200),
            (format!("{}-", length - 10), length - 10, length),
            ("-7".to_owned(), length - 7, length),
            (format!("10-{}", length * 2), 10, length),
            (format!("{}-{}", length / 2 - 5, length / 2 + 70), length / 2 - 5, length / 2 + 71),
        ] {
            let to = to.min(length);
            let part = proxy.get_with(&url, &[&format!("Range: bytes={range}")]);
            assert_eq!(part.status, 206, "{range}");
            assert!(part.is_hit() && part.complete && part.body == body[from..to], "{range}");
            assert_eq!(
                part.field("content-range"),
                Some(format!("bytes {from}-{}/{length}", to - 1).as_str())
            );
            assert_eq!(part.field("etag"), Some("\"t\""));
        }
        let beyond = proxy.get_with(&url, &[&format!("Range: bytes={length}-")]);
        assert_eq!(
            (beyond.status, beyond.field("content-range")),
            (416, Some(format!("bytes */{length}").as_str()))
        );
        assert_eq!(origin.count(), 1);
    }
}

#[test]
fn several_ranges_come_as_parts() {
    let body = bytes(11, 10_000);
    let sent = body.clone();
    let origin = Origin::start(move |_, reply| reply.fresh(&sent));
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get(&url);
    let answer = proxy.get_with(&url, &["Range: bytes=0-9,100-104,-3"]);
    assert_eq!(answer.status, 206);
    let boundary = answer.field("content-type").unwrap().split("boundary=").nth(1).unwrap().to_owned();
    let mut expected = Vec::new();
    for (from, to) in [(0, 10), (100, 105), (9_997, 10_000)] {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {from}-{}/10000\r\n\r\n",
            to - 1
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&body[from..to]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(answer.complete && answer.body == expected);
}

#[test]
fn if_range_guards_a_resumed_download() {
    let origin = Origin::start(|_, reply| {
        reply.send(200, &["Cache-Control: max-age=60", "ETag: \"now\""], b"0123456789")
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get(&url);
    let ask = |tag: &str| proxy.get_with(&url, &["Range: bytes=5-", &format!("If-Range: {tag}")]);
    assert_eq!((ask("\"now\"").status, ask("\"now\"").text().as_str()), (206, "56789"));
    assert_eq!((ask("\"then\"").status, ask("\"then\"").text().as_str()), (200, "0123456789"));
}

#[test]
fn a_range_of_something_unknown_is_the_origins_to_answer() {
    let origin = Origin::start(|request, reply| {
        assert_eq!(request.field("range"), Some("bytes=2-3"));
        reply.send(206, &["Content-Range: bytes 2-3/10", "Cache-Control: max-age=60"], b"23")
    });
    let proxy = Proxy::start();
    let answer = proxy.get_with(&origin.url("/"), &["Range: bytes=2-3"]);
    assert_eq!(
        (answer.status, answer.text().as_str(), answer.field("content-range")),
        (206, "23", Some("bytes 2-3/10"))
    );
}
