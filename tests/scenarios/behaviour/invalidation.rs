//! Section 10: what an unsafe request invalidates (RFC 9111, 4.4).

use super::bench::{Bench, stories};
use super::story;

#[test]
fn success_of_an_unsafe_method_invalidates() {
    let mut table = String::new();
    for method in ["POST", "PUT", "DELETE", "PATCH", "FROB", "M-SEARCH", "get"] {
        for status in [200, 201, 204, 299, 302, 303] {
            table.push_str(&told(method, status, "<- 200"));
        }
    }
    Bench::start().tell(&story::stories(&table));
}

#[test]
fn failure_and_safe_methods_invalidate_nothing() {
    let mut table = String::new();
    for method in ["POST", "PUT", "DELETE", "FROB"] {
        for status in [400, 404, 410, 500, 503] {
            table.push_str(&told(method, status, "== hit | body answer 1 | status 200"));
        }
    }
    for method in ["OPTIONS", "PROPFIND", "SEARCH"] {
        table.push_str(&told(method, 200, "== hit | body answer 1 | status 200"));
    }
    Bench::start().tell(&story::stories(&table));
}

fn told(method: &str, status: u16, then: &str) -> String {
    format!(
        "10.1 {method} {status}\n    GET\n        <- 200 | Cache-Control: max-age=60\n    GET\n        == hit\n    \
         {method} | body x\n        <- {status}\n    GET\n        {then}\n"
    )
}

#[test]
fn all_variants_and_named_resources_of_the_origin_go() {
    stories(
        r#"
10.1 all variants
    GET | Foo: 1
        <- 200 | Cache-Control: max-age=60 | Vary: Foo
    GET | Foo: 2
        <- 200 | Cache-Control: max-age=60 | Vary: Foo
    PUT | Foo: 3
        <- 200
    GET | Foo: 1
        <- 200
    GET | Foo: 2
        <- 200
10.1 another query is another resource
    GET ?a
        <- 200 | Cache-Control: max-age=60
    POST ?b
        <- 200
    GET ?a
        == hit | body answer 1
10.1 Location
    GET /a
        <- 200 | Cache-Control: max-age=60
    POST
        <- 201 | Location: {path}/a
    GET /a
        <- 200
10.1 Location as a whole URL, Content-Location as a relative reference
    GET /a
        <- 200 | Cache-Control: max-age=60
    GET /b?c
        <- 200 | Cache-Control: max-age=60
    POST /x
        <- 200 | Location: {url}/a | Content-Location: b?c
    GET /a
        <- 200
    GET /b?c
        <- 200
10.1 nothing at another origin
    GET /a
        <- 200 | Cache-Control: max-age=60
    POST
        <- 201 | Location: http://elsewhere.example{path}/a
    GET /a
        == hit | body answer 1 | status 200
10.1 nothing after an error
    GET /a
        <- 200 | Cache-Control: max-age=60
    POST
        <- 409 | Location: {path}/a
    GET /a
        == hit | body answer 1 | status 200
"#,
    );
}
