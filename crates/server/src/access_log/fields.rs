//! The fields that a cache goes by, for the log: with them a log says why each request was what it was, and what it would
//! have been under other rules.
//!
//! Secrets stay out: credentials and cookies are there without their values, and of what else Vary nominates, unless it is
//! a preference that says nothing of a person, only a number that tells values apart.

use larder_policy::{Fields, list_members};

/// Of a request, those with which it asks something of a cache, and those by which package rules know their clients.
const OF_REQUEST: [&str; 13] = [
    "accept",
    "authorization",
    "cache-control",
    "cargo-protocol",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "npm-command",
    "pacote-req-type",
    "pragma",
    "range",
];

/// Of a response, those that say whether, how long and for whom it may be used, and which bytes it is.
const OF_RESPONSE: [&str; 15] = [
    "age",
    "cache-control",
    "cdn-cache-control",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "date",
    "etag",
    "expires",
    "last-modified",
    "location",
    "set-cookie",
    "vary",
];

/// Shown without their values.
const SECRET: [&str; 2] = ["authorization", "set-cookie"];

/// Shown as they are where Vary nominates them: the policy compares them by their meaning.
const PREFERENCES: [&str; 3] = ["accept", "accept-encoding", "accept-language"];

/// What the log shows of an exchange.
#[derive(Debug, Clone)]
pub(crate) struct ExchangeFields {
    /// Of the request.
    pub(crate) request: Fields,
    /// Of the response.
    pub(crate) response: Fields,
}

impl ExchangeFields {
    /// Picks them from all fields of a request and its response.
    pub(crate) fn of(request: &Fields, response: &Fields) -> Self {
        let mut asked = picked(request, &OF_REQUEST);
        for name in list_members(response.all("vary")) {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            if asked.contains(name) {
                continue;
            }
            if let Some(value) = request.combined(name) {
                let name = name.to_ascii_lowercase();
                let _ = if PREFERENCES.contains(&&*name) {
                    asked.push(&name, &value)
                } else {
                    asked.push(&name, format!("#{:016x}", number(&value)).as_bytes())
                };
            }
        }
        Self { request: asked, response: picked(response, &OF_RESPONSE) }
    }
}

/// The lines of a field as one, under its name in lower case. What was a field is a field.
fn picked(fields: &Fields, names: &[&str]) -> Fields {
    let mut picked = Fields::new();
    for name in names {
        if let Some(value) = fields.combined(name) {
            let value = if SECRET.contains(name) { &b""[..] } else { &value };
            let _ = picked.push(name, value);
        }
    }
    picked
}

/// FNV-1a of 64 bits: the same for the same value in every process, so that logs of two days can be compared.
fn number(value: &[u8]) -> u64 {
    value.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.push(name, value.as_bytes()).unwrap();
        }
        fields
    }

    #[test]
    fn only_what_a_cache_goes_by_is_shown_and_no_secret() {
        let request = fields(&[
            ("Host", "h.example"),
            ("Cookie", "session=1234"),
            ("Authorization", "Basic c2VjcmV0"),
            ("Accept-Encoding", "gzip"),
            ("Cache-Control", "no-cache"),
            ("Cache-Control", "max-age=0"),
        ]);
        let response = fields(&[
            ("Vary", "Accept-Encoding, cookie, X-None, Authorization"),
            ("Set-Cookie", "session=5678"),
            ("Server", "x"),
            ("ETag", "\"a\""),
        ]);
        let shown = ExchangeFields::of(&request, &response);
        assert_eq!(
            shown.request,
            fields(&[
                ("authorization", ""),
                ("cache-control", "no-cache, max-age=0"),
                ("accept-encoding", "gzip"),
                ("cookie", "#d4049ff7da3d527a"),
            ])
        );
        assert_eq!(
            shown.response,
            fields(&[
                ("etag", "\"a\""),
                ("set-cookie", ""),
                ("vary", "Accept-Encoding, cookie, X-None, Authorization"),
            ])
        );
    }
}
