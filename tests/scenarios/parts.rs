//! Partial (206) answers: stored, combined, completed.

use std::thread;

use crate::support::{After, Client, Gate, Origin, Proxy, bytes};

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
        let get = request.method == "GET" && holds;
        let Some((from, to)) =
            request.field("range").filter(|_| get).and_then(|range| parse(range, body.len()))
        else {
            if request.method == "HEAD" {
                let length = format!("Content-Length: {}", body.len());
                reply.raw(format!("HTTP/1.1 200 OK\r\n{}\r\n{length}\r\n\r\n", fields.join("\r\n")));
                return After::Keep;
            }
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
    if from.is_empty() {
        return Some((length - to.parse::<usize>().ok()?, length));
    }
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

/// What the origin was asked for, one `RANGE if IF-RANGE` for each request; `-` where a field was not sent.
fn asked(origin: &Origin) -> Vec<String> {
    let field = |value: Option<&str>| value.unwrap_or("-").to_owned();
    let received = origin.received();
    received
        .iter()
        .map(|one| format!("{} if {}", field(one.field("range")), field(one.field("if-range"))))
        .collect()
}

#[test]
fn distant_parts_are_kept_together_and_only_gaps_are_asked_for() {
    let body = bytes(46, 3_000_000);
    let origin = ranges_of(body.clone(), true, |_| "\"v\"".to_owned());
    let mut proxy = Proxy::start();
    let url = origin.url("/");
    let ask = |proxy: &Proxy, range: &str| proxy.get_with(&url, &[&format!("Range: bytes={range}")]);
    for range in ["2000000-2499999", "100000-199999", "1000000-1000009"] {
        assert!(ask(&proxy, range).cache_status().ends_with("; stored"));
    }
    for restarted in [false, true] {
        if restarted {
            proxy = proxy.restart();
        }
        for (range, from, to) in
            [("2000100-2499999", 2_000_100, 2_500_000), ("100000-100000", 100_000, 100_001)]
        {
            let part = ask(&proxy, range);
            assert!(
                part.is_hit() && part.status == 206 && part.body == body[from..to],
                "{}",
                part.cache_status()
            );
        }
    }
    // Over two gaps, with what is there between and behind them.
    let across = ask(&proxy, "50000-2200000");
    assert!(across.status == 206 && across.complete && across.body == body[50_000..2_200_001]);
    assert_eq!(across.field("content-range"), Some("bytes 50000-2200000/3000000"));
    assert_eq!(asked(&origin)[3..], ["bytes=50000-99999 if \"v\"", "bytes=200000-1999999 if \"v\""]);
    let again = ask(&proxy, "50000-2499999");
    assert!(again.is_hit() && again.body == body[50_000..2_500_000]);
    let whole = proxy.get(&url);
    assert!(whole.status == 200 && whole.complete && whole.body == body);
    assert_eq!(whole.cache_status(), "larder; fwd=partial; fwd-status=206; stored");
    assert_eq!(asked(&origin)[5..], ["bytes=0-49999 if \"v\"", "bytes=2500000- if \"v\""]);
    let hit = proxy.get(&url);
    assert!(hit.is_hit() && hit.status == 200 && hit.body == body && hit.field("content-range").is_none());
    let proxy = proxy.restart();
    let last = ask(&proxy, "-5");
    assert!(last.is_hit() && last.body == body[2_999_995..]);
    assert_eq!(origin.count(), 7);
}

/// A slow answer for a range that was asked for first must not take the place of the whole.
#[test]
fn a_part_that_ends_late_does_not_displace_the_whole() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |request, reply| {
        let fields = ["Cache-Control: max-age=600", "ETag: \"v\"", "Content-Range: bytes 0-4/10"];
        if request.field("range").is_none() {
            return reply.send(200, &fields[..2], b"0123456789");
        }
        reply.raw(format!("HTTP/1.1 206 Part\r\n{}\r\nContent-Length: 5\r\n\r\n01", fields.join("\r\n")));
        held.wait();
        reply.raw("234");
        After::Keep
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    let mut slow = proxy.connect();
    slow.request("GET", &url, &["Range: bytes=0-4"]);
    origin.wait_for(1);
    assert_eq!(proxy.get(&url).text(), "0123456789");
    gate.open();
    assert_eq!(slow.response("GET").text(), "01234");
    assert!(proxy.get(&url).is_hit());
}

/// uv looks at the end of a wheel before it fetches all of it.
#[test]
fn a_wheel_is_fetched_as_uv_does_and_no_byte_twice() {
    let body = bytes(47, 800_000);
    let origin = ranges_of(body.clone(), true, |_| "\"v\"".to_owned());
    let proxy = Proxy::start();
    let url = origin.url("/a-1.0-py3-none-any.whl");
    let mut uv = proxy.connect();
    assert_eq!(uv.call("HEAD", &url, &[], b"").status, 200);
    let tail = uv.get(&url, &["Range: bytes=-16384"]);
    assert!(tail.status == 206 && tail.body == body[800_000 - 16_384..]);
    let more = uv.get(&url, &["Range: bytes=700000-783615"]);
    assert!(more.status == 206 && more.body == body[700_000..783_616]);
    let whole = uv.get(&url, &[]);
    assert!(whole.status == 200 && whole.body == body);
    // The next machine.
    let mut uv = proxy.connect();
    assert!(uv.call("HEAD", &url, &[], b"").is_hit());
    let tail = uv.get(&url, &["Range: bytes=-16384"]);
    assert!(tail.is_hit() && tail.body == body[800_000 - 16_384..]);
    assert!(uv.get(&url, &[]).is_hit());
    assert_eq!(
        asked(&origin),
        ["- if -", "bytes=-16384 if -", "bytes=700000-783615 if -", "bytes=0-699999 if \"v\""]
    );
}

/// An origin that breaks the first answer off after so many bytes, and then answers ranges.
fn breaks_off(body: Vec<u8>, after: usize, more: &'static str) -> Origin {
    let count = std::sync::atomic::AtomicUsize::new(0);
    Origin::start(move |request, reply| {
        let first = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        let mut fields = vec!["Cache-Control: max-age=600", more];
        if first {
            let length = body.len();
            reply.raw(format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n{more}\r\nContent-Length: {length}\r\n\r\n"
            ));
            reply.raw(&body[..after]);
            return After::Close;
        }
        let Some((from, to)) = request.field("range").and_then(|range| parse(range, body.len())) else {
            return reply.send(200, &fields, &body);
        };
        let range = format!("Content-Range: bytes {from}-{}/{}", to - 1, body.len());
        fields.push(&range);
        reply.send(206, &fields, &body[from..to])
    })
}

#[test]
fn what_came_of_a_broken_download_is_not_lost() {
    for restarted in [false, true] {
        let body = bytes(48, 4_000_000);
        let origin = breaks_off(body.clone(), 2_500_000, "ETag: \"v\"");
        let mut proxy = Proxy::start();
        let url = origin.url("/");
        let cut = proxy.get(&url);
        assert!(!cut.complete && cut.body == body[..cut.body.len()]);
        if restarted {
            proxy = proxy.restart();
        }
        let start = proxy.get_with(&url, &["Range: bytes=0-99999"]);
        assert!(start.is_hit() && start.body == body[..100_000], "{}", start.cache_status());
        let whole = proxy.get(&url);
        assert!(whole.status == 200 && whole.complete && whole.body == body);
        assert_eq!(asked(&origin), ["- if -", "bytes=2500000- if \"v\""]);
        assert!(proxy.get(&url).is_hit());
    }
}

#[test]
fn what_is_too_little_or_has_no_strong_validator_is_fetched_again() {
    for (after, field) in [(900_000, "ETag: \"v\""), (2_000_000, "ETag: W/\"v\""), (2_000_000, "X: y")] {
        let body = bytes(49, 3_000_000);
        let origin = breaks_off(body.clone(), after, field);
        let proxy = Proxy::start();
        let url = origin.url("/");
        assert!(!proxy.get(&url).complete);
        let whole = proxy.get(&url);
        assert!(whole.status == 200 && whole.body == body);
        assert_eq!(asked(&origin), ["- if -", "- if -"], "{field}");
    }
    // From which size on is a setting.
    let origin = breaks_off(bytes(49, 900_000), 800_000, "ETag: \"v\"");
    let proxy = Proxy::with(|config, _| config.limits.partial_bytes = 500_000);
    assert!(!proxy.get(&origin.url("/")).complete);
    assert!(proxy.get(&origin.url("/")).complete);
    assert_eq!(asked(&origin), ["- if -", "bytes=800000- if \"v\""]);
}

#[test]
fn a_completion_that_breaks_off_is_gone_on_with() {
    let body = bytes(50, 2_000_000);
    let (sent, count) = (body.clone(), std::sync::atomic::AtomicUsize::new(0));
    let origin = Origin::start(move |request, reply| {
        let (from, to) = parse(request.field("range").unwrap_or("bytes=0-"), sent.len()).unwrap();
        let second = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1;
        let range = format!("Content-Range: bytes {from}-{}/{}", to - 1, sent.len());
        let fields = ["Cache-Control: max-age=600", "ETag: \"v\"", &range];
        if !second {
            return reply.send(206, &fields, &sent[from..to]);
        }
        let length = to - from;
        let head = fields.join("\r\n");
        reply.raw(format!("HTTP/1.1 206 Part\r\n{head}\r\nContent-Length: {length}\r\n\r\n"));
        reply.raw(&sent[from..from + 700_000]);
        After::Close
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get_with(&url, &["Range: bytes=0-99999"]);
    let cut = proxy.get(&url);
    assert!(!cut.complete && cut.body == body[..cut.body.len()]);
    let whole = proxy.get(&url);
    assert!(whole.complete && whole.body == body);
    assert_eq!(asked(&origin)[1..], ["bytes=100000- if \"v\"", "bytes=800000- if \"v\""]);
}

/// The second gap brings another representation: what went out already cannot be taken back, so it is cut, and the old part goes.
#[test]
fn a_representation_that_changes_between_two_gaps_is_never_mixed() {
    let (old, new) = (bytes(51, 1_000_000), bytes(52, 1_000_000));
    let (first, second) = (old.clone(), new.clone());
    let origin = Origin::start(move |request, reply| {
        let changed = request.field("range").is_none_or(|range| range == "bytes=600000-");
        if changed {
            return reply.send(200, &["Cache-Control: max-age=600", "ETag: \"new\""], &second);
        }
        let (from, to) = parse(request.field("range").unwrap(), first.len()).unwrap();
        let range = format!("Content-Range: bytes {from}-{}/{}", to - 1, first.len());
        reply.send(206, &["Cache-Control: max-age=600", "ETag: \"old\"", &range], &first[from..to])
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get_with(&url, &["Range: bytes=500000-599999"]);
    let cut = proxy.get(&url);
    assert!(!cut.complete && cut.body == old[..cut.body.len()]);
    let whole = proxy.get(&url);
    assert!(whole.complete && whole.body == new, "{}", whole.cache_status());
    assert!(proxy.get(&url).is_hit());
}

#[test]
fn clients_of_different_ranges_at_once_each_get_their_own() {
    let body = bytes(53, 2_000_000);
    let origin = ranges_of(body.clone(), true, |_| "\"v\"".to_owned());
    let proxy = Proxy::start();
    let (url, address) = (origin.url("/"), proxy.address());
    let clients: Vec<_> = (0..16_usize)
        .map(|n| {
            let (url, body) = (url.clone(), body.clone());
            thread::spawn(move || {
                let (from, to) = (n * 117_000, (n * 117_000 + 400_000).min(body.len()));
                for _ in 0..3 {
                    let range = format!("Range: bytes={from}-{}", to - 1);
                    let part = Client::connect(address).get(&url, &[&range]);
                    assert!(part.status == 206 && part.complete && part.body == body[from..to]);
                    if n % 5 == 0 {
                        let whole = Client::connect(address).get(&url, &[]);
                        assert!(whole.status == 200 && whole.complete && whole.body == body);
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert!(proxy.get(&url).is_hit());
    assert_eq!(proxy.store().stats().damaged, 0);
}

#[test]
fn many_who_want_all_of_it_share_the_requests_for_what_is_missing() {
    let body = bytes(54, 2_000_000);
    let gate = Gate::default();
    let (sent, held) = (body.clone(), gate.clone());
    let origin = Origin::start(move |request, reply| {
        let (from, to) = parse(request.field("range").unwrap(), sent.len()).unwrap();
        if from == 0 {
            held.wait();
        }
        let range = format!("Content-Range: bytes {from}-{}/{}", to - 1, sent.len());
        reply.send(206, &["Cache-Control: max-age=600", "ETag: \"v\"", &range], &sent[from..to])
    });
    let proxy = Proxy::start();
    let (url, address) = (origin.url("/"), proxy.address());
    proxy.get_with(&url, &["Range: bytes=1000000-1499999"]);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let url = url.clone();
            thread::spawn(move || Client::connect(address).get(&url, &[]))
        })
        .collect();
    origin.wait_for(2);
    // The first to leave takes nothing from the others.
    drop({
        let mut leaving = Client::connect(address);
        leaving.request("GET", &url, &[]);
        leaving
    });
    gate.open();
    for client in clients {
        let whole = client.join().unwrap();
        assert!(whole.status == 200 && whole.complete && whole.body == body, "{}", whole.cache_status());
    }
    assert_eq!(asked(&origin)[1..], ["bytes=0-999999 if \"v\"", "bytes=1500000- if \"v\""]);
}
