//! Section 1, and what needs no freshness at all: where a lifetime comes from (RFC 9111, 4.2.1).

use super::bench::lines;

#[test]
fn no_lifetime_is_given_by_default() {
    lines(
        r#"
0.1 Content-Type: text/plain => fetched
0.1 404 | Content-Type: text/plain => fetched
0.1 Cache-Control: public => fetched
0.1 ETag: "a" => validated
0.1 204 | Content-Type: text/plain => fetched
"#,
    );
}

#[test]
fn sources_of_freshness_are_asked_in_order() {
    lines(
        r#"
1.1 Cache-Control: max-age=10, s-maxage=100 | Expires: {+10} => +50 hit 50
1.1 Cache-Control: max-age=100 | Expires: {+10} => +50 hit 50
1.1 Cache-Control: max-age=10 | Expires: {+100} => +50 fetched
1.1 Expires: {+100} | Last-Modified: {-50} => +50 hit 50
1.1 Expires: {+10} | Last-Modified: {-1000} => +50 validated
1.1 Last-Modified: {-1000} => +50 hit 50
"#,
    );
}

#[test]
fn s_maxage_beats_max_age_either_way() {
    lines(
        r#"
1.2 Cache-Control: s-maxage=5, max-age=100 => +6 fetched
1.2 Cache-Control: max-age=100, s-maxage=5 => +6 fetched
1.2 Cache-Control: max-age=100 | Cache-Control: s-maxage=5 => +6 fetched
1.2 Cache-Control: s-maxage=5 | Cache-Control: max-age=100 => +6 fetched
1.2 Cache-Control: s-maxage=100, max-age=5 => +6 hit 6
1.2 Cache-Control: max-age=5 | Cache-Control: s-maxage=100 => +6 hit 6
1.2 Cache-Control: max-age=0, s-maxage=100 | Expires: {-100} => +6 hit 6
"#,
    );
}

#[test]
fn explicit_lifetimes_count_alone_and_strictly() {
    lines(
        r#"
1.3 Cache-Control: s-maxage=100 => +6 hit 6
1.3 Cache-Control: max-age=0 | Expires: {+100} => fetched
1.3 Cache-Control: max-age=0 | Expires: {+100} | ETag: "a" => validated
1.3 Cache-Control: s-maxage=0 | Expires: {+100} | ETag: "a" => validated
1.4 Cache-Control: max-age=100 | Expires: {-100} => +6 hit 6
1.4 Cache-Control: max-age=100 | Expires: 0 => +6 hit 6
1.4 Cache-Control: max-age=100 | Expires: tomorrow => +6 hit 6
1.5 Expires: {+0} | ETag: "a" => validated
1.5 Cache-Control: max-age=5 => +4.999 hit 4
1.5 Cache-Control: max-age=5 => +5 fetched
1.5 Expires: {+5} => +4 hit 4
1.5 Expires: {+5} => +5 fetched
"#,
    );
}

#[test]
fn huge_lifetimes_are_long_not_wrong() {
    lines(
        r#"
1.6 Cache-Control: max-age=2147483647 => +9 hit 9
1.6 Cache-Control: max-age=2147483648 => +9 hit 9
1.6 Cache-Control: max-age=2147483649 => +9 hit 9
1.6 Cache-Control: max-age=99999999999 => +9 hit 9
1.6 Cache-Control: max-age=99999999999999999999999 => +9 hit 9
1.6 Cache-Control: s-maxage=99999999999 => +9 hit 9
"#,
    );
}
