//! Sections 1 to 3: freshness lifetimes, the grammar of Cache-Control, dates.

use larder_policy::PolicySettings;

use crate::kit::{Row, run};

const LIFETIMES: &[Row] = &[
    Row("0.1", "GET", "200", 0.0, "GET", "not stored no-freshness"),
    Row("0.1", "GET", "200 | ETag: \"a\"", 0.0, "GET", "validate stale"),
    Row("1.1", "GET", "200 | Cache-Control: max-age=10 | Expires: {+100}", 20.0, "GET", "forward stale"),
    Row("1.1", "GET", "200 | Cache-Control: max-age=100 | Last-Modified: {-9}", 20.0, "GET", "hit"),
    Row("1.2", "GET", "200 | Cache-Control: s-maxage=5, max-age=100", 6.0, "GET", "forward stale"),
    Row("1.2", "GET", "200 | Cache-Control: max-age=100, s-maxage=5", 6.0, "GET", "forward stale"),
    Row(
        "1.2",
        "GET",
        "200 | Cache-Control: max-age=100 | Cache-Control: s-maxage=5",
        6.0,
        "GET",
        "forward stale",
    ),
    Row(
        "1.2",
        "GET",
        "200 | Cache-Control: s-maxage=5 | Cache-Control: max-age=100",
        6.0,
        "GET",
        "forward stale",
    ),
    Row("1.2", "GET", "200 | Cache-Control: s-maxage=100, max-age=5", 6.0, "GET", "hit 6"),
    Row("1.2", "GET", "200 | Cache-Control: s-maxage=100, max-age=0 | Expires: {-9}", 6.0, "GET", "hit 6"),
    Row("1.3", "GET", "200 | Cache-Control: s-maxage=100", 6.0, "GET", "hit 6"),
    Row(
        "1.3",
        "GET",
        "200 | Cache-Control: max-age=0 | Expires: {+100}",
        0.0,
        "GET",
        "not stored no-freshness",
    ),
    Row(
        "1.3",
        "GET",
        "200 | Cache-Control: max-age=0 | Expires: {+9} | ETag: \"a\"",
        0.0,
        "GET",
        "validate stale",
    ),
    Row("1.4", "GET", "200 | Cache-Control: max-age=100 | Expires: {-9}", 6.0, "GET", "hit"),
    Row("1.4", "GET", "200 | Cache-Control: max-age=100 | Expires: 0", 6.0, "GET", "hit"),
    Row("1.5", "GET", "200 | Expires: {+0} | ETag: \"a\"", 0.0, "GET", "validate stale"),
    Row("1.5", "GET", "200 | Cache-Control: max-age=5", 4.999, "GET", "hit 4"),
    Row("1.5", "GET", "200 | Cache-Control: max-age=5", 5.0, "GET", "forward stale"),
    Row("1.6", "GET", "200 | Cache-Control: max-age=2147483647", 9.0, "GET", "hit"),
    Row("1.6", "GET", "200 | Cache-Control: max-age=2147483648", 9.0, "GET", "hit"),
    Row("1.6", "GET", "200 | Cache-Control: max-age=2147483649", 9.0, "GET", "hit"),
    Row("1.6", "GET", "200 | Cache-Control: max-age=99999999999", 9.0, "GET", "hit"),
    Row("1.6", "GET", "200 | Cache-Control: max-age=99999999999999999999999", 9.0, "GET", "hit"),
];

#[test]
fn freshness_lifetime() {
    run(&PolicySettings::default(), LIFETIMES);
}

const GRAMMAR: &[Row] = &[
    Row("2.1", "GET", "200 | Cache-Control: foo=\"max-age=1\", max-age=100", 6.0, "GET", "hit"),
    Row("2.1", "GET", "200 | Cache-Control: max-age=100, foo=\"a, max-age=1\"", 6.0, "GET", "hit"),
    Row("2.1", "GET", "200 | Cache-Control: foo=\"max-age=100\"", 6.0, "GET", "not stored no-freshness"),
    Row("2.1", "GET", "200 | Cache-Control: public | Cache-Control: max-age=100", 6.0, "GET", "hit"),
    Row(
        "2.1",
        "GET",
        "200 | Cache-Control: max-age=100 | Cache-Control: no-store",
        6.0,
        "GET",
        "not stored no-store",
    ),
    Row("2.2", "GET", "200 | Cache-Control: max-age=100, No-StOrE", 6.0, "GET", "not stored no-store"),
    Row(
        "2.2",
        "GET",
        "200 | ETag: \"a\" | Cache-Control: max-age=100, No-CaChE",
        6.0,
        "GET",
        "validate stale",
    ),
    Row("2.2", "GET", "200 | Cache-Control: MaX-aGe=100", 6.0, "GET", "hit"),
    Row("2.2", "GET", "200 | Cache-Control: foo, bar=baz, max-age=100, x=\"y\"", 6.0, "GET", "hit"),
    Row("2.3", "GET", "200 | Cache-Control: max-age=003600", 6.0, "GET", "hit"),
    Row("2.3", "GET", "200 | ETag: \"a\" | Cache-Control: max-age=-3600", 0.0, "GET", "validate stale"),
    Row("2.3", "GET", "200 | ETag: \"a\" | Cache-Control: max-age='3600'", 0.0, "GET", "validate stale"),
    Row("2.4", "GET", "200 | Cache-Control: max-age=\"3600\"", 6.0, "GET", "hit"),
    Row("2.4", "GET", "200 | ETag: \"a\" | Cache-Control: max-age=3600.0", 0.0, "GET", "validate stale"),
    Row("2.4", "GET", "200 | ETag: \"a\" | Cache-Control: max-age=a3600", 0.0, "GET", "validate stale"),
    Row("2.4", "GET", "200 | ETag: \"a\" | Cache-Control: max-age=3600a", 0.0, "GET", "validate stale"),
    Row("2.4", "GET", "200 | ETag: \"a\" | Cache-Control: max-age =3600", 0.0, "GET", "validate stale"),
    Row("2.4", "GET", "200 | ETag: \"a\" | Cache-Control: max-age= 3600", 0.0, "GET", "validate stale"),
    Row(
        "2.4",
        "GET",
        "200 | ETag: \"a\" | Cache-Control: max-age=3600, max-age=5",
        6.0,
        "GET",
        "validate stale",
    ),
    Row(
        "2.4",
        "GET",
        "200 | ETag: \"a\" | Cache-Control: max-age=5, max-age=3600",
        6.0,
        "GET",
        "validate stale",
    ),
];

#[test]
fn cache_control_grammar() {
    run(&PolicySettings::default(), GRAMMAR);
}

const DATES: &[Row] = &[
    Row("3.1", "GET", "200 | ETag: \"a\" | Expires: {+300} | Date: {+400}", 0.0, "GET", "validate stale"),
    Row("3.1", "GET", "200 | Expires: {+300} | Date: {+0}", 299.0, "GET", "hit 299"),
    Row("3.2", "GET", "200 | Expires: {+300} | Date: yesterday", 299.0, "GET", "hit 299"),
    Row("3.2", "GET", "200 | Expires: {+300} | Date: none", 299.0, "GET", "hit 299"),
    Row("3.3", "GET", "200 | Expires: Sunday, 01-Jun-25 12:05:00 GMT", 299.0, "GET", "hit"),
    Row("3.3", "GET", "200 | Expires: Sun Jun  1 12:05:00 2025", 299.0, "GET", "hit"),
    Row("3.3", "GET", "200 | Expires: sun, 01 jUN 2025 12:05:00 gmt", 299.0, "GET", "hit"),
    Row("3.3", "GET", "200 | Expires: Wed, 01 Jun 2025 12:05:00 GMT", 299.0, "GET", "hit"),
    Row("3.3", "GET", "200 | Expires: Wed, 20 Jan 2038 12:05:00 GMT", 299.0, "GET", "hit"),
    Row("3.3", "GET", "200 | Expires: Wed, 21 Nov 2286 12:05:00 GMT", 299.0, "GET", "hit"),
    Row(
        "3.3",
        "GET",
        "200 | ETag: \"a\" | Expires: Sunday, 01-Jan-76 12:05:00 GMT",
        0.0,
        "GET",
        "validate stale",
    ),
    Row("3.4", "GET", "200 | ETag: \"a\" | Expires: 0", 0.0, "GET", "validate stale"),
    Row(
        "3.4",
        "GET",
        "200 | ETag: \"a\" | Expires: Sun, 01 Jun 2025 12:05:00 UTC",
        0.0,
        "GET",
        "validate stale",
    ),
    Row(
        "3.4",
        "GET",
        "200 | ETag: \"a\" | Expires: Sun, 01 Jun 2025 12:05:00 AEST",
        0.0,
        "GET",
        "validate stale",
    ),
    Row(
        "3.4",
        "GET",
        "200 | ETag: \"a\" | Expires: Sun, 01 Jun 25 12:05:00 GMT",
        0.0,
        "GET",
        "validate stale",
    ),
    Row(
        "3.4",
        "GET",
        "200 | ETag: \"a\" | Expires: Sun 01 Jun 2025 12:05:00 GMT",
        0.0,
        "GET",
        "validate stale",
    ),
    Row(
        "3.4",
        "GET",
        "200 | ETag: \"a\" | Expires: Sun,  01 Jun 2025 12:05:00 GMT",
        0.0,
        "GET",
        "validate stale",
    ),
    Row(
        "3.4",
        "GET",
        "200 | ETag: \"a\" | Expires: Sun, 01-Jun-2025 12:05:00 GMT",
        0.0,
        "GET",
        "validate stale",
    ),
    Row(
        "3.4",
        "GET",
        "200 | ETag: \"a\" | Expires: Sunday, 01-Jun-2025 12:05:00 GMT",
        0.0,
        "GET",
        "validate stale",
    ),
    Row(
        "3.4",
        "GET",
        "200 | ETag: \"a\" | Expires: Sun, 01 Jun 2025 12.05.00 GMT",
        0.0,
        "GET",
        "validate stale",
    ),
    Row(
        "3.4",
        "GET",
        "200 | ETag: \"a\" | Expires: Tue, 02 Jun 2026 9:05:00 GMT",
        0.0,
        "GET",
        "validate stale",
    ),
    Row("3.4", "GET", "200 | ETag: \"a\" | Expires: 0 | Expires: {+300}", 0.0, "GET", "validate stale"),
    Row("3.4", "GET", "200 | ETag: \"a\" | Expires: {+300} | Expires: 0", 0.0, "GET", "validate stale"),
    Row("3.5", "GET", "200 | Expires: 0 | Last-Modified: {-99999}", 0.0, "GET", "validate stale"),
    Row(
        "3.5",
        "GET",
        "200 | Cache-Control: max-age=x | Last-Modified: {-99999}",
        0.0,
        "GET",
        "validate stale",
    ),
    Row(
        "3.5",
        "GET",
        "200 | Cache-Control: s-maxage=x, max-age=100 | ETag: \"a\"",
        0.0,
        "GET",
        "validate stale",
    ),
];

#[test]
fn expires_and_dates() {
    run(&PolicySettings::default(), DATES);
}
