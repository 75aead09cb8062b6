//! Section 12: CDN-Cache-Control (RFC 9213).

use super::bench::{Bench, Mode};
use super::story;

/// Through both listeners, with the field switched on for both.
fn switched_on(table: &str) {
    Bench::with(|config| config.targeted_fields = Some(vec!["CDN-Cache-Control".to_owned()]))
        .tell(&story::lines(table));
}

#[test]
fn a_valid_targeted_field_stands_in_for_cache_control_and_expires() {
    switched_on(
        r#"
12.1 CDN-Cache-Control: max-age=10 | Cache-Control: no-store => +9 hit 9
12.1 CDN-Cache-Control: max-age=10 | Cache-Control: private => +9 hit 9
12.1 CDN-Cache-Control: max-age=10 => +9 hit 9
12.1 CDN-Cache-Control: max-age=10 => +10 fetched
12.1 CDN-Cache-Control: max-age=10 | Cache-Control: max-age=100 => +10 fetched
12.1 CDN-Cache-Control: max-age=10 | Cache-Control: s-maxage=100 => +10 fetched
12.1 CDN-Cache-Control: max-age=10 | Expires: {+100} => +10 fetched
12.1 CDN-Cache-Control: max-age=100 | Expires: {-100} => +10 hit 10
12.1 CDN-Cache-Control: max-age=0 | Expires: {+100} | ETag: "a" => validated
12.1 CDN-Cache-Control: max-age=10 | Age: 9 => hit 9
12.1 CDN-Cache-Control: max-age=10 | Age: 10 | ETag: "a" => validated
12.1 CDN-Cache-Control: private | Cache-Control: max-age=10 => fetched
12.1 CDN-Cache-Control: no-store | Cache-Control: max-age=10 => fetched
12.1 CDN-Cache-Control: no-cache | Cache-Control: max-age=10 | ETag: "a" => validated
12.1 CDN-Cache-Control: max-age=10, foo=bar, x;y=1, z=(a b) => +9 hit 9
12.1 CDN-Cache-Control: max-age=99999999999 => +9 hit 9
12.1 CDN-Cache-Control: max-age=10;foo=1 => +9 hit 9
12.1 CDN-Cache-Control: foo | Expires: {+100} => fetched
"#,
    );
}

#[test]
fn a_targeted_field_with_an_error_is_ignored_whole() {
    switched_on(
        r#"
12.2 CDN-Cache-Control: max-age=10000, &&&&& | Cache-Control: max-age=10 => +9 hit 9
12.2 CDN-Cache-Control: max-age=10000, &&&&& | Cache-Control: max-age=10 => +10 fetched
12.2 CDN-Cache-Control: max-age=10000, &&&&& | Cache-Control: no-store => fetched
12.2 CDN-Cache-Control: max-age="10000" | Cache-Control: no-store => fetched
12.2 CDN-Cache-Control: max-age="10000", no-store | Cache-Control: max-age=10 => +9 hit 9
12.2 CDN-Cache-Control: max-age =10000 | Cache-Control: max-age=10 => +10 fetched
12.2 CDN-Cache-Control: MaX-aGe=10000 | Cache-Control: max-age=10 => +10 fetched
12.2 CDN-Cache-Control: max-age=1.5 | Cache-Control: max-age=10 => +9 hit 9
12.2 CDN-Cache-Control: | Cache-Control: max-age=10 => +9 hit 9
12.2 CDN-Cache-Control: max-age=10, foo => hit | CDN-Cache-Control: max-age=10, foo
"#,
    );
}

#[test]
fn a_forward_listener_takes_it_for_any_other_field() {
    Bench::start().only(Mode::Forward).tell(&story::lines(
        r#"
12.1 CDN-Cache-Control: max-age=10 | Cache-Control: no-store => fetched
12.1 CDN-Cache-Control: no-store | Cache-Control: max-age=10 => +9 hit 9 | CDN-Cache-Control: no-store
"#,
    ));
}

#[test]
fn a_reverse_listener_obeys_it_by_default() {
    Bench::start().only(Mode::Reverse).tell(&story::lines(
        r#"
12.1 CDN-Cache-Control: max-age=10 | Cache-Control: no-store => +9 hit 9 | CDN-Cache-Control: max-age=10
12.1 CDN-Cache-Control: no-store | Cache-Control: max-age=10 => fetched
"#,
    ));
}
