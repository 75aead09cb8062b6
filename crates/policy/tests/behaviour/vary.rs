//! Section 8: Vary.

use larder_policy::{PolicySettings, RequestFacts, StoredResponse, reuse};

use crate::kit::{Row, at, decide, message, method, run, store};

const VARY: &[Row] = &[
    Row("8.1", "GET | Foo: 1", "200 | Cache-Control: max-age=9 | Vary: Foo", 1.0, "GET | foo: 1", "hit"),
    Row(
        "8.1",
        "GET | Foo: 1",
        "200 | Cache-Control: max-age=9 | Vary: Foo",
        1.0,
        "GET | foo: 2",
        "forward vary-miss",
    ),
    Row("8.1", "GET | Foo: 1", "200 | Cache-Control: max-age=9 | Vary: foo", 1.0, "GET", "forward vary-miss"),
    Row("8.1", "GET", "200 | Cache-Control: max-age=9 | Vary: foo", 1.0, "GET | Foo: 1", "forward vary-miss"),
    Row(
        "8.1",
        "GET | A: 1 | B: 2",
        "200 | Cache-Control: max-age=9 | Vary: a, b",
        1.0,
        "GET | B: 2 | A: 1",
        "hit",
    ),
    Row(
        "8.1",
        "GET | A: 1 | B: 2",
        "200 | Cache-Control: max-age=9 | Vary: a | Vary: b",
        1.0,
        "GET | A: 1 | B: 3",
        "forward vary-miss",
    ),
    Row("8.1", "GET", "200 | Cache-Control: max-age=9 | Vary: a, b", 1.0, "GET", "hit"),
    Row(
        "8.1",
        "GET | A: 1 | C: 2",
        "200 | Cache-Control: max-age=9 | Vary: a",
        1.0,
        "GET | A: 1 | C: 3",
        "hit",
    ),
    Row("8.2", "GET", "200 | Cache-Control: max-age=9 | Vary: *", 0.0, "GET", "not stored vary-star"),
    Row("8.2", "GET", "200 | Cache-Control: max-age=9 | Vary: *, *", 0.0, "GET", "not stored vary-star"),
    Row(
        "8.2",
        "GET",
        "200 | Cache-Control: max-age=9 | Vary: * | Vary: *",
        0.0,
        "GET",
        "not stored vary-star",
    ),
    Row("8.2", "GET", "200 | Cache-Control: max-age=9 | Vary: , *", 0.0, "GET", "not stored vary-star"),
    Row("8.2", "GET", "200 | Cache-Control: max-age=9 | Vary: | Vary: *", 0.0, "GET", "not stored vary-star"),
    Row("8.2", "GET", "200 | Cache-Control: max-age=9 | Vary: *, Foo", 0.0, "GET", "not stored vary-star"),
    Row("8.2", "GET", "200 | Cache-Control: max-age=9 | Vary: Foo, *", 0.0, "GET", "not stored vary-star"),
    Row(
        "8.4",
        "GET | Foo: 1,2",
        "200 | Cache-Control: max-age=9 | Vary: foo",
        1.0,
        "GET | Foo: 1 | Foo: 2",
        "hit",
    ),
    Row(
        "8.4",
        "GET | Foo: 1,2",
        "200 | Cache-Control: max-age=9 | Vary: foo",
        1.0,
        "GET | Foo:  1, 2",
        "hit",
    ),
    Row(
        "8.4",
        "GET | Foo: 1,2",
        "200 | Cache-Control: max-age=9 | Vary: foo",
        1.0,
        "GET | Foo: 2,1",
        "forward vary-miss",
    ),
    Row(
        "8.5",
        "GET | Accept-Language: en, de",
        "200 | Cache-Control: max-age=9 | Vary: Accept-Language",
        1.0,
        "GET | Accept-Language: DE,en",
        "hit",
    ),
    Row(
        "8.5",
        "GET | Accept-Language: en, de;q=0.5",
        "200 | Cache-Control: max-age=9 | Vary: Accept-Language",
        1.0,
        "GET | Accept-Language: de, en;q=0.5",
        "forward vary-miss",
    ),
    Row(
        "8.5",
        "GET | Accept-Language: en, de",
        "200 | Cache-Control: max-age=9 | Vary: Accept-Language | Content-Language: de",
        1.0,
        "GET | Accept-Language: fr;q=0.5, de;q=1.0",
        "hit",
    ),
    Row(
        "8.5",
        "GET | Accept-Language: en, de",
        "200 | Cache-Control: max-age=9 | Vary: Accept-Language | Content-Language: de",
        1.0,
        "GET | Accept-Language: fr, de",
        "forward vary-miss",
    ),
];

#[test]
fn nominated_fields_select() {
    run(&PolicySettings::default(), VARY);
}

fn variant(request: &str, response: &str) -> StoredResponse {
    store(&PolicySettings::default(), request, &format!("200 | Cache-Control: max-age=60 | {response}"), None)
        .unwrap()
}

fn selected(candidates: &[StoredResponse], request: &str) -> Option<usize> {
    let request = message(request);
    let facts = RequestFacts::of(&method(&request), &request.fields);
    reuse(&facts, &request.fields, candidates, at(1000)).index
}

/// 8.3, and RFC 9111, 4: among several that match, the most recent Date.
#[test]
fn among_variants_the_matching_one_with_the_latest_date_is_selected() {
    let candidates = [
        variant("GET | Foo: 1", "Vary: Foo | Date: {-9}"),
        variant("GET | Foo: 2", "Vary: Foo | Date: {-5}"),
        variant("GET | Foo: 1", "Vary: Foo | Date: {-3}"),
        variant("GET | Bar: 1", "Vary: Bar | Date: {-6}"),
    ];
    assert_eq!(selected(&candidates, "GET | Foo: 1"), Some(2));
    assert_eq!(selected(&candidates, "GET | Foo: 2"), Some(1));
    assert_eq!(selected(&candidates, "GET | Foo: 3 | Bar: 1"), Some(3));
    assert_eq!(selected(&candidates, "GET | Foo: 3"), None);
    assert_eq!(selected(&candidates, "POST | Foo: 1"), None);
}

/// 8.5: a variant made for the very same Accept-Language goes before one in the preferred language.
#[test]
fn an_exact_variant_goes_before_one_in_the_preferred_language() {
    let candidates = [
        variant("GET | Accept-Language: de, en", "Vary: Accept-Language | Content-Language: de | Date: {-9}"),
        variant("GET | Accept-Language: de", "Vary: Accept-Language | Content-Language: de | Date: {-9}"),
        variant("GET | Accept-Language: fr", "Vary: Accept-Language | Content-Language: de | Date: {-3}"),
    ];
    assert_eq!(selected(&candidates, "GET | Accept-Language: de"), Some(1));
    assert_eq!(selected(&candidates, "GET | Accept-Language: de, fr;q=0.1"), Some(2));
}

#[test]
fn nothing_stored_is_a_uri_miss() {
    assert_eq!(decide(&[], "GET", at(0)), "forward uri-miss");
    assert_eq!(decide(&[], "GET | Cache-Control: only-if-cached", at(0)), "504");
}
