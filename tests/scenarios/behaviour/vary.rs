//! Section 8: Vary (RFC 9111, 4.1; RFC 9110, 12.5.5).

use super::bench::{lines, stories};

#[test]
fn each_nominated_field_must_match() {
    stories(
        r#"
8.1 the same value
    GET | Foo: 1
        <- 200 | Cache-Control: max-age=60 | Vary: Foo
    GET | fOO: 1
        == hit
8.1 another value
    GET | Foo: 1
        <- 200 | Cache-Control: max-age=60 | Vary: Foo
    GET | Foo: 2
        <- 200
8.1 absent, where it was there
    GET | Foo: 1
        <- 200 | Cache-Control: max-age=60 | Vary: foo
    GET
        <- 200
8.1 there, where it was absent
    GET
        <- 200 | Cache-Control: max-age=60 | Vary: foo
    GET | Foo: 1
        <- 200
8.1 several, in any order of the request's fields
    GET | A: 1 | B: 2
        <- 200 | Cache-Control: max-age=60 | Vary: a, b
    GET | B: 2 | A: 1
        == hit
8.1 all of several lines
    GET | A: 1 | B: 2
        <- 200 | Cache-Control: max-age=60 | Vary: a | Vary: b
    GET | A: 1 | B: 3
        <- 200
8.1 one of three differs by its absence
    GET | A: 1 | B: 2 | C: 3
        <- 200 | Cache-Control: max-age=60 | Vary: A, B, C
    GET | A: 1 | B: 2
        <- 200
8.1 absent on both sides
    GET
        <- 200 | Cache-Control: max-age=60 | Vary: a, b
    GET
        == hit
8.1 others do not count
    GET | A: 1 | C: 2
        <- 200 | Cache-Control: max-age=60 | Vary: a
    GET | A: 1 | C: 3 | D: 4
        == hit
"#,
    );
}

#[test]
fn a_star_anywhere_never_matches() {
    lines(
        r#"
8.2 Cache-Control: max-age=60 | Vary: * => fetched
8.2 Cache-Control: max-age=60 | Vary: *, * => fetched
8.2 Cache-Control: max-age=60 | Vary: * | Vary: * => fetched
8.2 Cache-Control: max-age=60 | Vary: , * => fetched
8.2 Cache-Control: max-age=60 | Vary: | Vary: * => fetched
8.2 Cache-Control: max-age=60 | Vary: *, Foo => fetched
8.2 Cache-Control: max-age=60 | Vary: Foo, * => fetched
8.2 Cache-Control: max-age=60 | Vary: Foo | Vary: * => fetched
"#,
    );
}

#[test]
fn variants_stand_beside_each_other() {
    stories(
        r#"
8.3 a new one does not displace another
    GET | Foo: 1
        <- 200 | Cache-Control: max-age=60 | Vary: Foo
    GET | Foo: 2
        <- 200 | Cache-Control: max-age=60 | Vary: Foo
    GET
        <- 200 | Cache-Control: max-age=60 | Vary: Foo
    GET | Foo: 1
        == hit | body answer 1
    GET | Foo: 2
        == hit | body answer 2
    GET
        == hit | body answer 3
8.3 one is validated without touching the other
    GET | Foo: 1
        <- 200 | Cache-Control: max-age=60 | Vary: Foo | ETag: "1"
    GET | Foo: 2
        <- 200 | Cache-Control: max-age=10 | Vary: Foo | ETag: "2"
    +11 GET | Foo: 2
        -> If-None-Match: "2" | Foo: 2
        <- 304
    GET | Foo: 1
        == hit 11 | body answer 1
    GET | Foo: 2
        == hit 0 | body answer 2
"#,
    );
}

#[test]
fn values_are_compared_without_lines_and_whitespace() {
    stories(
        r#"
8.4 lines are one list
    GET | Foo: 1, 2
        <- 200 | Cache-Control: max-age=60 | Vary: Foo
    GET | Foo: 1 | Foo: 2
        == hit
8.4 whitespace around commas
    GET | Foo: 1,2
        <- 200 | Cache-Control: max-age=60 | Vary: Foo
    GET | Foo:   1 ,  2
        == hit
8.4 the order counts
    GET | Foo: 1,2
        <- 200 | Cache-Control: max-age=60 | Vary: Foo
    GET | Foo: 2,1
        <- 200
8.4 and so does whitespace elsewhere
    GET | Foo: a b
        <- 200 | Cache-Control: max-age=60 | Vary: Foo
    GET | Foo: a  b
        <- 200
"#,
    );
}

#[test]
fn languages_are_compared_by_what_they_mean() {
    stories(
        r#"
8.5 whitespace, letter case, and order where the weight is the same
    GET | Accept-Language: en, de
        <- 200 | Cache-Control: max-age=60 | Vary: Accept-Language
    GET | Accept-Language: DE,en
        == hit
    GET | Accept-Language: en;q=1.0 , de
        == hit
8.5 other weights
    GET | Accept-Language: en, de;q=0.5
        <- 200 | Cache-Control: max-age=60 | Vary: Accept-Language
    GET | Accept-Language: de, en;q=0.5
        <- 200
8.5 what is stored is in the language that is wanted most
    GET | Accept-Language: en, de
        <- 200 | Cache-Control: max-age=60 | Vary: Accept-Language | Content-Language: de
    GET | Accept-Language: fr;q=0.5, de
        == hit
8.5 but not where another is wanted as much
    GET | Accept-Language: en, de
        <- 200 | Cache-Control: max-age=60 | Vary: Accept-Language | Content-Language: de
    GET | Accept-Language: fr, de
        <- 200
"#,
    );
}
