//! Who may do what over TCP.
//!
//! The control socket needs no guard: its file's mode is one. A TCP port can be reached by every user of
//! the machine, and by every web page that one of them opens. So:
//!
//! - The request must be for an address literal or `localhost`, not for a name: a page whose name was
//!   made to resolve to this port (DNS rebinding) cannot read an answer. A client with the token may use
//!   any name.
//! - Whatever changes state, or shows what clients asked for, needs the token, in `Authorization: Bearer`.
//!   Without a configured token nothing of the kind can be done over TCP.
//! - Such a request that comes from a web page, which its `Origin` tells, is refused whatever else it has.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Request, Version};

use super::api::Refusal;

/// The rules of the TCP listener.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    token: Option<Vec<u8>>,
}

impl Guard {
    /// An empty token is none.
    pub(super) fn new(token: Option<&str>) -> Self {
        Self { token: token.filter(|token| !token.is_empty()).map(|token| token.as_bytes().to_vec()) }
    }

    /// Whether the request may be looked at.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = hosts.next().map(|host| Authority::try_from(host.as_bytes()));
        if hosts.next().is_some() || (host.is_none() && request.version() != Version::HTTP_10) {
            return Err(Refusal::bad_request("a request has one Host field"));
        }
        let Ok(host) = host.transpose() else {
            return Err(Refusal::bad_request("the Host field is malformed"));
        };
        let by_address = host.iter().chain(request.uri().authority()).all(is_address_or_localhost);
        if by_address || self.holds_token(request.headers()) {
            return Ok(());
        }
        Err(Refusal::misdirected("use this API by its address or as localhost, or send its token"))
    }

    /// Whether the request, which needs more trust than a look at the figures, has it.
    pub(super) fn admit_trusted<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        if request.headers().contains_key(ORIGIN) {
            return Err(Refusal::forbidden("web pages may not do this"));
        }
        if self.token.is_none() {
            return Err(Refusal::forbidden(
                "no token is configured, so this cannot be done over TCP: set `token` under `[admin]` in the \
                 configuration file, or use the control socket in the cache directory",
            ));
        }
        if !self.holds_token(request.headers()) {
            return Err(Refusal::unauthorized(
                "send the token of the admin API as `Authorization: Bearer TOKEN`",
            ));
        }
        Ok(())
    }

    fn holds_token(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return false };
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return false };
        let Some((scheme, credentials)) = line.as_bytes().split_at_checked(b"bearer ".len()) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"bearer ") && is_same(token, credentials.trim_ascii())
    }
}

fn is_address_or_localhost(authority: &Authority) -> bool {
    // What stands before `@` would be taken for the host by a careless reader.
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => host.eq_ignore_ascii_case("localhost") || host.parse::<Ipv4Addr>().is_ok(),
    }
}

/// Takes as long for a wrong guess as for a right one: the time depends on the guess's length alone.
fn is_same(token: &[u8], guess: &[u8]) -> bool {
    let differences = guess
        .iter()
        .zip(token.iter().cycle())
        .fold(u8::from(token.len() != guess.len()), |differences, (given, expected)| {
            black_box(differences | (given ^ expected))
        });
    differences == 0
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn request(fields: &[(&str, &str)]) -> Request<()> {
        fields
            .iter()
            .fold(Request::post("/purge"), |request, (name, value)| request.header(*name, *value))
            .body(())
            .unwrap()
    }

    fn status(result: Result<(), Refusal>) -> u16 {
        result.map_or_else(|refusal| refusal.status.as_u16(), |()| StatusCode::OK.as_u16())
    }

    #[test]
    fn names_are_refused_unless_the_token_is_sent() {
        let guard = Guard::new(Some("s3cret"));
        for (host, expected) in [
            ("127.0.0.1:9090", 200),
            ("192.0.2.1", 200),
            ("[::1]:9090", 200),
            ("LocalHost", 200),
            ("localhost.example", 421),
            ("rebound.example:9090", 421),
            ("127.0.0.1.example", 421),
            ("127.0.0.1@rebound.example", 421),
            ("", 400),
            ("a b", 400),
        ] {
            assert_eq!(status(guard.admit(&request(&[("host", host)]))), expected, "{host}");
        }
        let named = request(&[("host", "proxy.example"), ("authorization", "Bearer s3cret")]);
        assert_eq!(status(guard.admit(&named)), 200);
        assert_eq!(status(Guard::new(None).admit(&named)), 421);
    }

    #[test]
    fn a_request_has_one_host() {
        let guard = Guard::new(None);
        assert_eq!(status(guard.admit(&request(&[]))), 400);
        assert_eq!(status(guard.admit(&request(&[("host", "127.0.0.1"), ("host", "127.0.0.1")]))), 400);
        let mut old = request(&[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(status(guard.admit(&old)), 200, "health checks of load balancers know no Host");
        let mut absolute = request(&[("host", "127.0.0.1")]);
        *absolute.uri_mut() = "http://rebound.example/purge".parse().unwrap();
        assert_eq!(status(guard.admit(&absolute)), 421);
    }

    #[test]
    fn changes_need_the_right_token_and_no_web_page() {
        let guard = Guard::new(Some("s3cret"));
        for (fields, expected) in [
            (&[("authorization", "Bearer s3cret")][..], 200),
            (&[("authorization", "bearer  s3cret")], 200),
            (&[], 401),
            (&[("authorization", "Bearer s3cre")], 401),
            (&[("authorization", "Bearer s3crets3cret")], 401),
            (&[("authorization", "Bearer ")], 401),
            (&[("authorization", "Basic s3cret")], 401),
            (&[("authorization", "Bearer s3cret"), ("authorization", "Bearer s3cret")], 401),
            (&[("authorization", "Bearer s3cret"), ("origin", "http://127.0.0.1")], 403),
            (&[("authorization", "Bearer s3cret"), ("origin", "null")], 403),
        ] {
            assert_eq!(status(guard.admit_trusted(&request(fields))), expected, "{fields:?}");
        }
    }

    #[test]
    fn without_a_configured_token_nothing_can_be_changed() {
        for guard in [Guard::new(None), Guard::new(Some(""))] {
            for fields in [&[][..], &[("authorization", "Bearer ")], &[("authorization", "Bearer x")]] {
                let refusal = guard.admit_trusted(&request(fields)).unwrap_err();
                assert_eq!(refusal.status, StatusCode::FORBIDDEN);
                assert!(refusal.message.contains("set `token` under `[admin]`"), "{}", refusal.message);
            }
        }
    }
}
