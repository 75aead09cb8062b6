//! Section 2: Cache-Control as it is written (RFC 9111, 5.2; RFC 9110, 5.6.1).

use super::bench::lines;

#[test]
fn all_lines_are_one_list_split_outside_quotes() {
    lines(
        r#"
2.1 Cache-Control: foo="max-age=1", max-age=100 => +6 hit 6
2.1 Cache-Control: max-age=100, foo="max-age=1" => +6 hit 6
2.1 Cache-Control: foo="a, max-age=1", max-age=100 => +6 hit 6
2.1 Cache-Control: max-age=100, foo="a, max-age=1, no-store" => +6 hit 6
2.1 Cache-Control: foo="max-age=100" => fetched
2.1 Cache-Control: foo="a\", max-age=1", max-age=100 => +6 hit 6
2.1 Cache-Control: public | Cache-Control: max-age=100 => +6 hit 6
2.1 Cache-Control: max-age=100 | Cache-Control: no-store => fetched
2.1 Cache-Control: ,, max-age=100 ,, => +6 hit 6
"#,
    );
}

#[test]
fn names_are_case_insensitive_and_unknown_ones_ignored() {
    lines(
        r#"
2.2 Cache-Control: max-age=100, No-StOrE => fetched
2.2 Cache-Control: max-age=100, No-CaChE | ETag: "a" => validated
2.2 Cache-Control: max-age=100, PRIVATE => fetched
2.2 Cache-Control: MaX-aGe=100 => +6 hit 6
2.2 cache-control: S-MAXAGE=100 => +6 hit 6
2.2 Cache-Control: foo, bar=baz, max-age=100, x="y" => +6 hit 6
2.2 Cache-Control: xmax-age=1, max-age=100, max-agex=1 => +6 hit 6
"#,
    );
}

#[test]
fn a_lifetime_that_cannot_be_read_is_stale() {
    lines(
        r#"
2.3 Cache-Control: max-age=003600 => +6 hit 6
2.3 Cache-Control: max-age=-3600 | ETag: "a" => validated
2.3 Cache-Control: max-age='3600' | ETag: "a" => validated
2.3 Cache-Control: max-age=-3600 => fetched
2.4 Cache-Control: max-age="3600" => +6 hit 6
2.4 Cache-Control: max-age=3600.0 | ETag: "a" => validated
2.4 Cache-Control: max-age=a3600 | ETag: "a" => validated
2.4 Cache-Control: max-age=3600a | ETag: "a" => validated
2.4 Cache-Control: max-age =3600 | ETag: "a" => validated
2.4 Cache-Control: max-age= 3600 | ETag: "a" => validated
2.4 Cache-Control: max-age=, foo=1 | ETag: "a" => validated
2.4 Cache-Control: max-age | ETag: "a" => validated
2.4 Cache-Control: max-age=3600, max-age=5 | ETag: "a" => +6 validated
2.4 Cache-Control: max-age=5, max-age=3600 | ETag: "a" => +6 validated
2.4 Cache-Control: max-age=5, max-age=3600 => +4 hit 4
"#,
    );
}
