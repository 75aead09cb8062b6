//! Section 4: Age (RFC 9111, 4.2.3 and 5.1).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use larder_server::Clock;

use super::bench::{lines, stories};
use crate::support::{Origin, Proxy};

#[test]
fn a_received_age_counts() {
    lines(
        r#"
4.1 Cache-Control: max-age=100 | Age: 90 => +9 hit 99
4.1 Cache-Control: max-age=100 | Age: 90 => +10 fetched
4.1 Cache-Control: max-age=3600 | Age: 7200 | ETag: "a" => validated
4.1 Expires: {+3600} | Age: 7200 | ETag: "a" => validated
4.1 Expires: {+600} | Date: {-3000} | Age: 7200 | ETag: "a" => validated
4.1 Expires: {+6600} | Date: {+3000} | Age: 7200 | ETag: "a" => validated
4.1 Cache-Control: max-age=100 | Age: 50 | Date: {-20} => hit 50
"#,
    );
}

#[test]
fn the_first_member_of_age_counts() {
    lines(
        r#"
4.2 Cache-Control: max-age=3600 | Age: 7200, 0 | ETag: "a" => validated
4.2 Cache-Control: max-age=3600 | Age: 0, 7200 => hit 0
4.2 Cache-Control: max-age=3600 | Age: 7200 | Age: 0 | ETag: "a" => validated
4.2 Cache-Control: max-age=3600 | Age: 0 | Age: 7200 => hit 0
4.2 Cache-Control: max-age=3600 | Age: 30 | Age: 30 => +1 hit 31
"#,
    );
}

#[test]
fn unreadable_ages_are_ignored_and_huge_ones_are_not() {
    lines(
        r#"
4.3 Cache-Control: max-age=3600 | Age: abc => hit 0
4.3 Cache-Control: max-age=3600 | Age: -7200 => hit 0
4.3 Cache-Control: max-age=3600 | Age: 7200.0 => hit 0
4.3 Cache-Control: max-age=3600 | Age: 7200;foo=bar => hit 0
4.4 Cache-Control: max-age=3600 | Age: 2147483647 | ETag: "a" => validated
4.4 Cache-Control: max-age=3600 | Age: 2147483648 | ETag: "a" => validated
4.4 Cache-Control: max-age=3600 | Age: 2147483649 | ETag: "a" => validated
4.4 Cache-Control: max-age=3600 | Age: 99999999999999999999 | ETag: "a" => validated
"#,
    );
}

#[test]
fn a_hit_has_one_age_in_whole_seconds() {
    lines(
        r#"
4.5 Cache-Control: max-age=3600 | Age: 30 => +3 hit 33
4.5 Cache-Control: max-age=3600 | Age: 30 => +3.999 hit 33
4.5 Cache-Control: max-age=3600 => +0.999 hit 0
4.5 Cache-Control: max-age=3600 | age: 30 | AGE: 40 => +3 hit 33
4.7 Cache-Control: max-age=3600 | Date: {-7200} | ETag: "a" => validated
4.7 Cache-Control: max-age=3600 | Date: {-100} => +1 hit 101
4.7 Cache-Control: max-age=3600 | Date: {+100} => +1 hit 1
"#,
    );
}

#[test]
fn date_and_expires_are_sent_as_stored() {
    stories(
        r#"
4.6 neither is renewed on a hit
    GET
        <- 200 | Date: {-5} | Expires: {+600}
        == Date: {-5} | Expires: {+600} | !Age
    +60 GET
        == hit 65 | Date: {-5} | Expires: {+600}
    +60 HEAD
        == hit 125 | Date: {-5} | Expires: {+600}
4.6 nor where the form of the date is an old one
    GET
        <- 200 | Date: Thursday, 01-Jan-26 00:00:00 GMT | Expires: Wednesday, 01-Jan-31 12:05:00 GMT
    GET
        == hit | Date: Thursday, 01-Jan-26 00:00:00 GMT | Expires: Wednesday, 01-Jan-31 12:05:00 GMT
"#,
    );
}

/// 4.1: the time between request and response counts as age, on top of the age received.
#[test]
fn the_response_delay_is_age() {
    let clock = Arc::<OnceLock<Clock>>::default();
    let ticking = Arc::clone(&clock);
    let origin = Origin::start(move |request, reply| {
        ticking.get().unwrap().advance(Duration::from_secs(4));
        let age = request.target.trim_start_matches('/');
        reply.send(200, &["Cache-Control: max-age=60", &format!("Age: {age}")], b"slow")
    });
    let proxy = Proxy::start();
    clock.set(proxy.clock.clone()).unwrap();
    for (received, age) in [(0, 5), (30, 35)] {
        let url = origin.url(&format!("/{received}"));
        assert_eq!(proxy.get(&url).age(), Some(received), "a miss says what the origin said");
        proxy.pass(1);
        let hit = proxy.get(&url);
        assert!(hit.is_hit());
        assert_eq!(hit.age(), Some(age));
    }
}
