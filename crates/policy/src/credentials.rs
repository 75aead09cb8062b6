//! What a request showed to get its answer, and so whom a package rule may give it to.
//!
//! HTTP knows one field for credentials (RFC 9111, 3.5), and plain HTTP goes by that alone. Private registries also open to fields of
//! their own, of which HTTP says nothing; a rule goes beyond what HTTP allows, and so has to know them. They are told by the
//! words of their names. A field taken for one by mistake costs a longer lifetime, no more.

use http::StatusCode;

use crate::fields::Fields;
use crate::freshness::Freshness;
use crate::overrides::Override;
use crate::packages::Rule;
use crate::storability::{Exchange, NotStored};

/// What opened a response, as far as package rules go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opened {
    /// Nothing that another client could not show.
    ToAnybody,
    /// Credentials: no rule lengthens its lifetime.
    ByCredentials,
    /// Credentials or a signature, and the path has the digest of the body: each use needs the origin's word, which each
    /// client gets by its own credentials (RFC 9111, 3.5), and only the bytes, proved to be the same, are shared.
    Guarded,
}

impl Opened {
    /// What opened the response of an exchange, which `permitted` says may be stored or not.
    pub(crate) fn by(
        exchange: &Exchange<'_>,
        status: StatusCode,
        rule: Option<&Rule>,
        freshness: &Freshness,
        permitted: Result<(), NotStored>,
        applied: Option<&Override>,
    ) -> Self {
        let rule = rule.filter(|_| status == StatusCode::OK);
        if rule.is_some_and(|rule| rule.id.shares_by_proof_alone()) {
            return Self::Guarded;
        }
        // Who ignores Authorization says that all who ask get the same.
        let ignored = applied.is_some_and(|applied| applied.action.ignore_authorization);
        if ignored || !exchange.facts.authorized && !carries(exchange.request) {
            return Self::ToAnybody;
        }
        let proved = rule.is_some_and(|rule| rule.digest.is_some());
        let lent = permitted != Err(NotStored::Authorization)
            && freshness.source.is_explicit()
            && !freshness.lifetime.as_duration().is_zero();
        if proved && !lent { Self::Guarded } else { Self::ByCredentials }
    }
}

/// Words of names of fields that carry credentials: Private-Token, X-Api-Key, Cookie, CF-Access-Client-Secret.
const WORDS: [&str; 14] = [
    "auth",
    "authorization",
    "cookie",
    "cookie2",
    "token",
    "jwt",
    "key",
    "apikey",
    "accesskey",
    "secret",
    "password",
    "passwd",
    "credential",
    "credentials",
];

/// Whether a request carries credentials of any kind.
fn carries(request: &Fields) -> bool {
    request.iter().any(|(name, _)| is_credential(name))
}

fn is_credential(name: &str) -> bool {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    // npm says with every request how it would log in.
    !is("npm-auth-type")
        && (is("x-jfrog-art-api")
            || name.split(['-', '_']).any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_told_by_their_names() {
        for name in [
            "Authorization",
            "Cookie",
            "PRIVATE-TOKEN",
            "Job-Token",
            "Deploy-Token",
            "X-JFrog-Art-Api",
            "X-Api-Key",
            "X-NuGet-ApiKey",
            "X-Auth-Token",
            "X-Amz-Security-Token",
            "CF-Access-Client-Secret",
            "token",
            "x_api_key",
        ] {
            assert!(is_credential(name), "{name}");
        }
        // What package clients send with every request.
        for name in [
            "Host",
            "Accept",
            "User-Agent",
            "npm-auth-type",
            "npm-command",
            "npm-session",
            "npm-scope",
            "pacote-integrity",
            "pacote-req-type",
            "cargo-protocol",
            "X-Linked-Size",
            "Docker-Distribution-Api-Version",
            "Disable-Module-Fetch",
            "If-None-Match",
            "Range",
            "Cache-Control",
            "Via",
            "X-Forwarded-For",
        ] {
            assert!(!is_credential(name), "{name}");
        }
    }
}
