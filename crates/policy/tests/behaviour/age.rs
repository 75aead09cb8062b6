//! Section 4: Age.

use larder_policy::{PolicySettings, Timestamp};

use crate::kit::{Row, T0, at, decide, lines, run, store, stored};

const AGES: &[Row] = &[
    Row("4.1", "GET", "200 | Age: 90 | Cache-Control: max-age=100", 9.0, "GET", "hit 99"),
    Row("4.1", "GET", "200 | Age: 90 | Cache-Control: max-age=100", 10.0, "GET", "forward stale"),
    Row(
        "4.1",
        "GET",
        "200 | ETag: \"a\" | Age: 7200 | Cache-Control: max-age=3600",
        0.0,
        "GET",
        "validate stale",
    ),
    Row("4.1", "GET", "200 | ETag: \"a\" | Age: 7200 | Expires: {+3600}", 0.0, "GET", "validate stale"),
    Row(
        "4.1",
        "GET",
        "200 | ETag: \"a\" | Age: 7200 | Expires: {+600} | Date: {-3000}",
        0.0,
        "GET",
        "validate stale",
    ),
    Row(
        "4.1",
        "GET",
        "200 | ETag: \"a\" | Age: 7200 | Expires: {+6600} | Date: {+3000}",
        0.0,
        "GET",
        "validate stale",
    ),
    Row(
        "4.2",
        "GET",
        "200 | ETag: \"a\" | Age: 7200, 0 | Cache-Control: max-age=3600",
        0.0,
        "GET",
        "validate stale",
    ),
    Row("4.2", "GET", "200 | Age: 0, 7200 | Cache-Control: max-age=3600", 0.0, "GET", "hit 0"),
    Row(
        "4.2",
        "GET",
        "200 | ETag: \"a\" | Age: 7200 | Age: 0 | Cache-Control: max-age=3600",
        0.0,
        "GET",
        "validate stale",
    ),
    Row("4.2", "GET", "200 | Age: 0 | Age: 7200 | Cache-Control: max-age=3600", 0.0, "GET", "hit 0"),
    Row("4.2", "GET", "200 | Age: 30, 30 | Cache-Control: max-age=3600", 0.0, "GET", "hit 30"),
    Row("4.3", "GET", "200 | Age: abc | Cache-Control: max-age=3600", 0.0, "GET", "hit 0"),
    Row("4.3", "GET", "200 | Age: -7200 | Cache-Control: max-age=3600", 0.0, "GET", "hit 0"),
    Row("4.3", "GET", "200 | Age: 7200.0 | Cache-Control: max-age=3600", 0.0, "GET", "hit 0"),
    Row("4.3", "GET", "200 | Age: 7200;foo=bar | Cache-Control: max-age=3600", 0.0, "GET", "hit 0"),
    Row(
        "4.4",
        "GET",
        "200 | ETag: \"a\" | Age: 2147483647 | Cache-Control: max-age=3600",
        0.0,
        "GET",
        "validate stale",
    ),
    Row(
        "4.4",
        "GET",
        "200 | ETag: \"a\" | Age: 2147483648 | Cache-Control: max-age=3600",
        0.0,
        "GET",
        "validate stale",
    ),
    Row(
        "4.4",
        "GET",
        "200 | ETag: \"a\" | Age: 2147483649 | Cache-Control: max-age=3600",
        0.0,
        "GET",
        "validate stale",
    ),
    Row(
        "4.4",
        "GET",
        "200 | ETag: \"a\" | Age: 99999999999999999999 | Cache-Control: max-age=9",
        0.0,
        "GET",
        "validate stale",
    ),
    Row("4.5", "GET", "200 | Age: 30 | Cache-Control: max-age=3600", 3.0, "GET", "hit 33"),
    Row("4.5", "GET", "200 | Age: 30 | Cache-Control: max-age=3600", 3.999, "GET", "hit 33"),
    Row(
        "4.7",
        "GET",
        "200 | ETag: \"a\" | Date: {-7200} | Cache-Control: max-age=3600",
        0.0,
        "GET",
        "validate stale",
    ),
    Row("4.7", "GET", "200 | Date: {-100} | Cache-Control: max-age=3600", 1.0, "GET", "hit 101"),
    Row("4.7", "GET", "200 | Date: {+100} | Cache-Control: max-age=3600", 1.0, "GET", "hit 1"),
];

#[test]
fn current_age() {
    run(&PolicySettings::default(), AGES);
}

/// 4.5, 4.6: a hit adds the one Age; Date and Expires stay as the origin sent them.
#[test]
fn age_leaves_the_stored_fields_and_date_and_expires_stay() {
    let response = stored("200 | Age: 30 | Date: {-5} | Expires: {+600} | age: 7");
    assert_eq!(lines(response.fields(), "age"), "-");
    assert_eq!(lines(response.fields(), "date"), "Sun, 01 Jun 2025 11:59:55 GMT");
    assert_eq!(lines(response.fields(), "expires"), "Sun, 01 Jun 2025 12:10:00 GMT");
}

/// 3.2, RFC 9110, 6.6.1: the stored response carries the time of receipt where it had no valid Date.
#[test]
fn a_missing_or_invalid_date_becomes_the_time_of_receipt() {
    for date in ["none", "whenever"] {
        let response = store(
            &PolicySettings::default(),
            "GET",
            &format!("200 | Date: {date} | Cache-Control: max-age=9"),
            None,
        );
        assert_eq!(lines(response.unwrap().fields(), "date"), "Sun, 01 Jun 2025 12:00:00 GMT");
    }
}

/// A clock that is set back gives no negative age, and no response that is fresh until the clock has caught
/// up.
#[test]
fn a_response_from_the_future_is_not_fresh() {
    let response = stored("200 | Age: 30 | Cache-Control: max-age=3600 | ETag: \"a\"");
    let candidates = [response];
    assert_eq!(decide(&candidates, "GET", at(-2000)), "hit 30", "a small step");
    assert_eq!(decide(&candidates, "GET", at(-86_400_000)), "validate stale");
    assert_eq!(candidates[0].current_age(Timestamp::from_millis(i64::MIN)).as_secs(), 30);
    assert_eq!(candidates[0].current_age(Timestamp::from_millis(i64::MAX)).as_secs(), 1 << 31);
    assert_eq!(candidates[0].current_age(T0).to_string(), "30");
}
