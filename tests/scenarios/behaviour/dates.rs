//! Section 3: Expires, Date and the forms of dates (RFC 9111, 5.3; RFC 9110, 5.6.7). The clock begins with 2026.

use super::bench::lines;

#[test]
fn expires_counts_from_date() {
    lines(
        r#"
3.1 Expires: {+300} | Date: {+400} | ETag: "a" => validated
3.1 Expires: {+300} | Date: {+0} => +299 hit 299
3.1 Expires: {+300} | Date: {+100} => +199 hit 199
3.1 Expires: {+300} | Date: {+100} | ETag: "a" => +200 validated
3.2 Expires: {+300} | Date: yesterday => +299 hit 299
3.2 Expires: {+300} | Date: yesterday | ETag: "a" => +300 validated
3.2 Expires: {+300} | !Date => +299 hit 299
3.2 Cache-Control: max-age=300 | Date: Thu, 01 Jan 2015 => +299 hit 299
"#,
    );
}

#[test]
fn all_three_forms_of_dates_are_read() {
    lines(
        r#"
3.3 Expires: Wed, 01 Jan 2031 12:05:00 GMT => +299 hit 299
3.3 Expires: Wednesday, 01-Jan-31 12:05:00 GMT => +299 hit 299
3.3 Expires: Wed Jan  1 12:05:00 2031 => +299 hit 299
3.3 Expires: Wed Jan 15 12:05:00 2031 => +299 hit 299
3.3 Expires: wed, 01 jAN 2031 12:05:00 gmt => +299 hit 299
3.3 Expires: WEDNESDAY, 01-JAN-31 12:05:00 GMT => +299 hit 299
# The day of the week is not compared with the date.
3.3 Expires: Sun, 01 Jan 2031 12:05:00 GMT => +299 hit 299
3.3 Expires: Wed, 20 Jan 2038 12:05:00 GMT => +299 hit 299
3.3 Expires: Wed, 21 Nov 2286 12:05:00 GMT => +299 hit 299
3.3 Expires: Fri, 31 Dec 9999 23:59:59 GMT => +299 hit 299
# 2077 is more than fifty years ahead, so that 1977 is meant.
3.3 Expires: Friday, 01-Jan-77 12:05:00 GMT | ETag: "a" => validated
3.3 Last-Modified: Wed Dec 31 20:00:00 2025 => hit
"#,
    );
}

#[test]
fn what_is_no_date_is_in_the_past() {
    lines(
        r#"
3.4 Expires: 0 | ETag: "a" => validated
3.4 Expires: -1 | ETag: "a" => validated
3.4 Expires: | ETag: "a" => validated
3.4 Expires: Wed, 01 Jan 2031 12:05:00 UTC | ETag: "a" => validated
3.4 Expires: Wed, 01 Jan 2031 12:05:00 AEST | ETag: "a" => validated
3.4 Expires: Wed, 01 Jan 2031 12:05:00 +0000 | ETag: "a" => validated
3.4 Expires: Wed, 01 Jan 2031 12:05:00 | ETag: "a" => validated
3.4 Expires: Wed, 01 Jan 31 12:05:00 GMT | ETag: "a" => validated
3.4 Expires: Wed 01 Jan 2031 12:05:00 GMT | ETag: "a" => validated
3.4 Expires: Wed,  01 Jan 2031 12:05:00 GMT | ETag: "a" => validated
3.4 Expires: Wed, 01  Jan 2031 12:05:00 GMT | ETag: "a" => validated
3.4 Expires: Wed, 01-Jan-2031 12:05:00 GMT | ETag: "a" => validated
3.4 Expires: Wednesday, 01-Jan-2031 12:05:00 GMT | ETag: "a" => validated
3.4 Expires: Wed, 01 Jan 2031 12.05.00 GMT | ETag: "a" => validated
3.4 Expires: Wed, 01 Jan 2031 9:05:00 GMT | ETag: "a" => validated
3.4 Expires: Wed, 32 Jan 2031 12:05:00 GMT | ETag: "a" => validated
3.4 Expires: 02.01.31 | ETag: "a" => validated
3.4 Expires: 0 | Expires: {+300} | ETag: "a" => validated
3.4 Expires: {+300} | Expires: 0 | ETag: "a" => validated
"#,
    );
}

#[test]
fn unreadable_freshness_is_not_guessed_anew() {
    lines(
        r#"
3.5 Expires: 0 | Last-Modified: {-99999} => validated
3.5 Expires: soon | Last-Modified: {-99999} => validated
3.5 Cache-Control: max-age=x | Last-Modified: {-99999} => validated
3.5 Cache-Control: max-age=x | Expires: {+300} | ETag: "a" => validated
3.5 Cache-Control: s-maxage=x, max-age=100 | ETag: "a" => validated
"#,
    );
}
