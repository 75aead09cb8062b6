//! Section 10: invalidation.

use larder_policy::{TargetUri, invalidates};

use crate::kit::{message, method, status, target};

fn invalidated(request: &str, response: &str) -> Vec<String> {
    let response = message(response);
    let code = status(response.first.parse().unwrap());
    invalidates(&method(&message(request)), code, &target(), &response.fields)
        .iter()
        .map(|key| key.as_str().to_owned())
        .collect()
}

#[test]
fn success_of_an_unsafe_method_invalidates_the_target() {
    for request in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "FOO"] {
        for response in ["200", "204", "299", "303", "399"] {
            assert_eq!(
                invalidated(request, response),
                ["http://example.com/a/b?c"],
                "10.1: {request} {response}"
            );
        }
        for response in ["400", "404", "500", "503"] {
            assert!(invalidated(request, response).is_empty(), "10.1: {request} {response}");
        }
    }
    for request in ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND"] {
        assert!(invalidated(request, "200").is_empty(), "10.1: {request}");
    }
}

#[test]
fn location_and_content_location_of_the_same_origin_are_invalidated() {
    let both = invalidated("POST", "201 | Location: x | Content-Location: http://EXAMPLE.com:80/y?z#f");
    assert_eq!(both, ["http://example.com/a/b?c", "http://example.com/a/x", "http://example.com/y?z"]);
    for elsewhere in
        ["https://example.com/x", "http://example.com:81/x", "http://example.org/x", "//u@example.com/"]
    {
        assert_eq!(invalidated("POST", &format!("201 | Location: {elsewhere}")).len(), 1, "{elsewhere}");
    }
    assert_eq!(invalidated("POST", "201 | Location: /a/b?c | Content-Location: b?c").len(), 1);
    assert!(TargetUri::parse(b"http://example.com/a/b?c").is_ok());
}
