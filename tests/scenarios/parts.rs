//! Partial (206) answers: stored, combined, completed.

use crate::support::{After, Origin, Proxy, bytes};

/// An origin that answers ranges of `body`, in the name of the entity tag that `tag` gives for the n-th request, and says the
/// complete length or `*`.
fn ranges_of(body: Vec<u8>, total: bool, tag: impl Fn(usize) -> String + Send + Sync + 'static) -> Origin {
    let count = std::sync::atomic::AtomicUsize::new(0);
    Origin::start(move |request, reply| {
        let tag = tag(count.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
        let fields = [
            "Cache-Control: max-age=600".to_owned(),
            format!("ETag: {tag}"),
            "Content-Type: text/plain".to_owned(),
        ];
        let mut fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let holds = request.field("if-range").is_none_or(|wanted| wanted == tag);
        let Some((from, to)) =
            request.field("range").filter(|_| holds).and_then(|range| parse(range, body.len()))
        else {
            return reply.send(200, &fields, &body);
        };
        let complete = if total { body.len().to_string() } else { "*".to_owned() };
        let range = format!("Content-Range: bytes {from}-{}/{complete}", to - 1);
        fields.push(&range);
        reply.send(206, &fields, &body[from..to])
    })
}

fn parse(range: &str, length: usize) -> Option<(usize, usize)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let from = from.parse().ok()?;
    Some((from, if to.is_empty() { length } else { to.parse::<usize>().ok()? + 1 }))
}

#[test]
fn a_part_answers_what_it_holds_and_nothing_else() {
    for (length, total) in [(1_000, true), (1_000, false), (900_000, true)] {
        let body = bytes(40, length);
        let origin = ranges_of(body.clone(), total, |_| "\"v\"".to_owned());
        let proxy = Proxy::start();
        let url = origin.url("/");
        let ask = |range: &str| proxy.get_with(&url, &[&format!("Range: bytes={range}")]);
        let middle = format!("{}-{}", length / 10, length / 2 - 1);
        let first = ask(&middle);
        assert_eq!((first.status, first.body == body[length / 10..length / 2]), (206, true));
        assert!(first.cache_status().ends_with("; stored"), "{}", first.cache_status());
        let proxy_hit = ask(&middle);
        assert!(proxy_hit.is_hit() && proxy_hit.status == 206 && proxy_hit.body == first.body);
        let smaller = ask(&format!("{}-{}", length / 10 + 5, length / 2 - 7));
        assert!(smaller.is_hit() && smaller.body == body[length / 10 + 5..length / 2 - 6]);
        let complete = if total { length.to_string() } else { "*".to_owned() };
        let range = format!("bytes {}-{}/{complete}", length / 10 + 5, length / 2 - 7);
        assert_eq!(smaller.field("content-range"), Some(range.as_str()));
        assert_eq!(origin.count(), 1);
        let beyond = ask(&format!("{}-{}", length - 10, length - 1));
        assert!(!beyond.is_hit() && beyond.body == body[length - 10..]);
    }
}

#[test]
fn a_full_request_asks_only_for_what_is_missing() {
    for length in [1_000, 900_000] {
        let body = bytes(41, length);
        let origin = ranges_of(body.clone(), true, |_| "\"v\"".to_owned());
        let proxy = Proxy::start();
        let url = origin.url("/");
        let half = length / 2;
        proxy.get_with(&url, &[&format!("Range: bytes=0-{}", half - 1)]);
        let whole = proxy.get(&url);
        assert_eq!(
            (whole.status, whole.complete, whole.body == body),
            (200, true, true),
            "{}",
            whole.cache_status()
        );
        assert_eq!(whole.cache_status(), "larder; fwd=partial; fwd-status=206; stored");
        let asked = &origin.received()[1];
        assert_eq!(
            (asked.field("range"), asked.field("if-range")),
            (Some(format!("bytes={half}-").as_str()), Some("\"v\""))
        );
        let hit = proxy.get(&url);
        assert!(
            hit.is_hit() && hit.status == 200 && hit.body == body && hit.field("content-range").is_none()
        );
        let proxy = proxy.restart();
        assert!(proxy.get(&url).is_hit());
        assert_eq!(origin.count(), 2);
    }
}

#[test]
fn neighbouring_parts_grow_together() {
    let body = bytes(42, 3_000);
    let origin = ranges_of(body.clone(), true, |_| "\"v\"".to_owned());
    let proxy = Proxy::start();
    let url = origin.url("/");
    let ask = |range: &str| proxy.get_with(&url, &[&format!("Range: bytes={range}")]);
    ask("1000-1999");
    let grown = ask("1500-2499");
    assert!(grown.status == 206 && grown.body == body[1_500..2_500], "{}", grown.cache_status());
    let across = ask("1000-2499");
    assert!(across.is_hit() && across.body == body[1_000..2_500], "{}", across.cache_status());
}

#[test]
fn parts_of_different_representations_are_never_joined() {
    let body = bytes(43, 1_000);
    let origin =
        ranges_of(body.clone(), true, |number| if number == 0 { "\"old\"" } else { "\"new\"" }.to_owned());
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get_with(&url, &["Range: bytes=0-499"]);
    let whole = proxy.get(&url);
    assert!(whole.status == 200 && whole.complete && whole.body == body);
    // The origin, asked with If-Range, gave all of the new one.
    assert_eq!(origin.received()[1].field("if-range"), Some("\"old\""));
    assert!(proxy.get(&url).is_hit());
}

#[test]
fn without_a_strong_validator_all_is_fetched_again() {
    let body = bytes(44, 1_000);
    let origin = ranges_of(body.clone(), true, |_| "W/\"weak\"".to_owned());
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get_with(&url, &["Range: bytes=0-499"]);
    let whole = proxy.get(&url);
    assert!(whole.status == 200 && whole.complete && whole.body == body);
    assert_eq!(origin.received().last().unwrap().field("range"), None);
}

#[test]
fn a_completion_that_breaks_off_is_never_taken_for_whole() {
    let origin = Origin::start(|request, reply| match request.field("range") {
        Some("bytes=0-4") => reply.send(
            206,
            &["Cache-Control: max-age=60", "ETag: \"v\"", "Content-Range: bytes 0-4/10"],
            b"01234",
        ),
        Some(_) => {
            reply.raw("HTTP/1.1 206 Partial\r\nETag: \"v\"\r\nCache-Control: max-age=60\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n56");
            After::Close
        }
        None => reply.send(200, &["Cache-Control: max-age=60", "ETag: \"v\""], b"0123456789"),
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get_with(&url, &["Range: bytes=0-4"]);
    // Where the break is seen before an answer has begun, all of it is fetched instead.
    let answer = proxy.get(&url);
    assert!(!answer.complete || answer.text() == "0123456789", "{}", answer.text());
    assert!(!proxy.get(&url).is_hit() || answer.complete);
}

#[test]
fn a_part_does_not_displace_the_whole() {
    let body = bytes(45, 1_000);
    let origin = ranges_of(body.clone(), true, |_| "\"v\"".to_owned());
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get(&url);
    proxy.get_with(&url, &["Range: bytes=0-9", "Cache-Control: no-cache"]);
    let whole = proxy.get(&url);
    assert!(whole.is_hit() && whole.status == 200 && whole.body == body);
}

#[test]
fn a_part_is_never_the_answer_to_a_whole_request() {
    let origin = Origin::start(|request, reply| match request.field("range") {
        Some(_) => reply.send(206, &["Cache-Control: max-age=60", "Content-Range: bytes 0-3/8"], b"part"),
        None => reply.fresh("complete"),
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    assert_eq!(proxy.get_with(&url, &["Range: bytes=0-3"]).text(), "part");
    assert_eq!(proxy.connect().call("HEAD", &url, &[], b"").status, 200);
    assert_eq!(proxy.get(&url).text(), "complete");
}
