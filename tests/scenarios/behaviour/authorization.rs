//! Section 14: requests with credentials (RFC 9111, 3.5).

use super::bench::stories;

#[test]
fn responses_to_credentials_are_relayed_and_not_shared() {
    stories(
        r#"
14.1 whatever their freshness
    GET | Authorization: Basic eA==
        -> Authorization: Basic eA==
        <- 200 | Cache-Control: max-age=60
    GET | Authorization: Basic eA==
        <- 200 | Expires: {+60}
    GET
        <- 200
14.1 hidden behind Connection
    GET | Authorization: Basic eA== | Connection: Authorization
        <- 200 | Cache-Control: max-age=60
    GET
        <- 200
14.1 what others may have is theirs too
    GET
        <- 200 | Cache-Control: max-age=60
    GET | Authorization: Basic eA==
        == hit
"#,
    );
}

#[test]
fn the_origin_may_allow_sharing_in_so_many_words() {
    let mut table = String::new();
    for word in ["max-age=60, public", "max-age=60, must-revalidate", "s-maxage=60"] {
        table.push_str(&format!(
            "14.1 {word}\n    GET | Authorization: Basic eA==\n        -> Authorization: Basic eA==\n        \
             <- 200 | Cache-Control: {word}\n    GET | Authorization: Basic eQ==\n        == hit\n    GET\n        == hit\n"
        ));
    }
    stories(&table);
}
