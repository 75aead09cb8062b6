//! What the client asks for: one reading of target, `Host`, loops and expectations, or a refusal.
//!
//! The effective authority is that of an absolute-form target, else `Host`; key, access, connection, `Host` sent and log
//! all use that one value (RFC 9112, 3.2 and 3.3). Bodies are framed elsewhere; nothing here looks at them.

use std::borrow::Cow;
use std::net::IpAddr;

use http::{Method, StatusCode};
use larder_policy::{Fields, HostPort, RequestFacts, Scheme, TargetUri, list_members, remove_hop_by_hop};

use crate::access::canonical;
use crate::http1::{ErrorKind, ParseError, RequestHead, Version};
use crate::origin::ClientFailed;
use crate::pages;
use crate::upgrade;

/// A request that has one meaning.
#[derive(Debug)]
pub(crate) struct ProxyRequest {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) version: Version,
    /// End-to-end fields, `Host` first among equals: one line, with the effective authority.
    pub(crate) fields: Fields,
    /// What the caching rules need to know of the fields, taken before hop-by-hop fields were removed: a client
    /// cannot hide `Authorization` from the cache by naming it in `Connection`.
    pub(crate) facts: RequestFacts,
    /// Whether the client waits for `100 (Continue)` before it sends its content.
    pub(crate) expects_continue: bool,
    /// Whether the client takes trailer fields (RFC 9110, 10.1.4).
    pub(crate) takes_trailers: bool,
    /// The protocols that the client asks to switch to.
    pub(crate) upgrade: Option<Vec<u8>>,
}

/// Where a request leads.
#[derive(Debug)]
pub(crate) enum Target {
    /// To a resource of an origin.
    Uri(TargetUri),
    /// To an origin as a whole: `OPTIONS *` there. The URI's path means nothing.
    Server(TargetUri),
    /// Through a tunnel (CONNECT).
    Tunnel(HostPort),
    /// To the proxy itself: the path that was asked for.
    Own(String),
}

/// How the requests of a connection name what they are for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way<'a> {
    /// By whole URIs; CONNECT asks for tunnels.
    Forward,
    /// By paths, before this origin.
    Reverse(&'a TargetUri),
    /// By paths, inside a tunnel that was asked for under this name and opened.
    Inside(&'a HostPort),
}

/// What is known of a request before it is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) way: Way<'a>,
    pub(crate) client: IpAddr,
    /// Whether it came over TLS.
    pub(crate) secure: bool,
}

/// A request that is not carried out: the status and what the client did wrong, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) status: StatusCode,
    pub(crate) reason: Cow<'static, str>,
}

impl Rejection {
    fn new(status: StatusCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { status, reason: reason.into() }
    }

    fn bad(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }
}

impl Rejection {
    /// The content of a request ended before its end, and no answer has begun. None where there is nobody to tell.
    pub(crate) fn of_content(failed: ClientFailed) -> Option<Self> {
        match failed {
            ClientFailed::Malformed(error) => Some(error.into()),
            ClientFailed::Slow => {
                Some(Self::new(StatusCode::REQUEST_TIMEOUT, "the content of the request took too long"))
            }
            ClientFailed::Gone => None,
        }
    }
}

impl From<ParseError> for Rejection {
    fn from(error: ParseError) -> Self {
        let status = match error.kind() {
            ErrorKind::BadRequest => StatusCode::BAD_REQUEST,
            ErrorKind::UriTooLong => StatusCode::URI_TOO_LONG,
            ErrorKind::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            ErrorKind::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        };
        Self::new(status, error.to_string())
    }
}

impl ProxyRequest {
    /// Reads a head. `pseudonym` is the proxy's own name in `Via`.
    ///
    /// # Errors
    ///
    /// 400 for a target or `Host` that is missing, doubled or malformed; 405 for TRACE, and for CONNECT where there are no
    /// tunnels; 417 for an unknown expectation; 421 inside a tunnel for another authority than the tunnel's; 508 for a request
    /// that has been here before.
    pub(crate) fn read(head: RequestHead, arrival: Arrival<'_>, pseudonym: &str) -> Result<Self, Rejection> {
        let RequestHead { method, target, version, mut fields } = head;
        if method == Method::TRACE {
            return Err(Rejection::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "TRACE is not carried out, as it would show what others added",
            ));
        }
        let host = single_host(&fields, version)?;
        let host = host.as_deref();
        let target = match arrival.way {
            Way::Forward => forward_target(&method, &target, host)?,
            Way::Reverse(origin) => reverse_target(&method, &target, host, origin)?,
            Way::Inside(authority) => inside_target(&method, &target, host, authority)?,
        };
        if has_passed(&fields, pseudonym) {
            return Err(Rejection::new(
                StatusCode::LOOP_DETECTED,
                "this request has come through this proxy already",
            ));
        }
        let expects_continue = expectation(&fields, version)?;
        let facts = RequestFacts::of(&method, &fields);
        let takes_trailers =
            list_members(fields.all("te")).any(|member| member.eq_ignore_ascii_case(b"trailers"));
        let upgrade = upgrade::asked_for(&method, version, &fields);
        remove_hop_by_hop(&mut fields);
        // It means something beside `Upgrade: h2c` alone, which is not passed on.
        fields.remove("http2-settings");
        if matches!(arrival.way, Way::Reverse(_)) {
            say_who_asks(&mut fields, arrival);
        }
        fields.remove("expect");
        fields.remove("content-length");
        let target = spend_forward(&method, &mut fields, target)?;
        let authority = match &target {
            Target::Uri(uri) | Target::Server(uri) => Some(uri.authority()),
            Target::Tunnel(_) | Target::Own(_) => None,
        };
        if let Some(authority) = authority {
            // Printed from a parsed authority, which holds nothing that a field value may not.
            fields
                .set("Host", authority.as_bytes())
                .map_err(|_| Rejection::bad("the host cannot be sent on"))?;
        }
        Ok(Self { method, target, version, fields, facts, expects_continue, takes_trailers, upgrade })
    }
}

/// The one `Host` line. HTTP/1.1 requires it whatever the form of the target (RFC 9112, 3.2).
fn single_host(fields: &Fields, version: Version) -> Result<Option<Vec<u8>>, Rejection> {
    let mut hosts = fields.all("host");
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Err(Rejection::bad("there is more than one Host field")),
        (None, _) if version >= Version::Http11 => Err(Rejection::bad("there is no Host field")),
        (Some(host), None) if host.contains(&b',') => {
            Err(Rejection::bad("there is more than one host in the Host field"))
        }
        (host, _) => Ok(host.map(<[u8]>::to_vec)),
    }
}

fn forward_target(method: &Method, target: &[u8], host: Option<&[u8]>) -> Result<Target, Rejection> {
    if *method == Method::CONNECT {
        legal_host(host)?;
        let authority = HostPort::parse(target).map_err(|error| {
            Rejection::bad(format!("CONNECT needs a target of the form host:port: {error}"))
        })?;
        return Ok(Target::Tunnel(authority));
    }
    if target == b"*" || target.starts_with(b"/") {
        if target == b"*" && *method != Method::OPTIONS {
            return Err(Rejection::bad("only OPTIONS can have the target *"));
        }
        legal_host(host)?;
        return Ok(Target::Own(String::from_utf8_lossy(target).into_owned()));
    }
    legal_host(host)?;
    Ok(own(absolute(method, target)?))
}

/// The proxy's own name leads to itself.
fn own(target: Target) -> Target {
    match target {
        Target::Uri(uri) if uri.host() == pages::OWN_NAME => Target::Own(uri.path_and_query().to_owned()),
        Target::Server(uri) if uri.host() == pages::OWN_NAME => Target::Own("*".to_owned()),
        other => other,
    }
}

/// Inside a tunnel, what is asked for must be of the authority that the tunnel was asked for: the certificate was made for its
/// name, and access was judged by it (RFC 9110, 7.4).
fn inside_target(
    method: &Method,
    target: &[u8],
    host: Option<&[u8]>,
    authority: &HostPort,
) -> Result<Target, Rejection> {
    if *method == Method::CONNECT {
        return Err(Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "there are no tunnels inside a tunnel"));
    }
    let malformed = |error| Rejection::bad(format!("the target or the Host field is malformed: {error}"));
    let tunnel = authority.to_string();
    let named = host.filter(|host| !host.is_empty()).unwrap_or(tunnel.as_bytes());
    let of_host = |path: &[u8]| TargetUri::from_parts(Scheme::Https, named, path).map_err(malformed);
    let asked = if target == b"*" {
        if *method != Method::OPTIONS {
            return Err(Rejection::bad("only OPTIONS can have the target *"));
        }
        Target::Server(of_host(b"/")?)
    } else if target.starts_with(b"/") {
        Target::Uri(of_host(target)?)
    } else {
        legal_host(host)?;
        absolute(method, target)?
    };
    let (Target::Uri(uri) | Target::Server(uri)) = &asked else { return Ok(asked) };
    let meant = (uri.scheme(), uri.host(), uri.port()) == (Scheme::Https, authority.host(), authority.port());
    if !meant {
        let reason = format!("this tunnel leads to {authority}, and the request is for {}", uri.authority());
        return Err(Rejection::new(StatusCode::MISDIRECTED_REQUEST, reason));
    }
    Ok(own(asked))
}

fn absolute(method: &Method, target: &[u8]) -> Result<Target, Rejection> {
    let uri = TargetUri::parse(target)
        .map_err(|error| Rejection::bad(format!("the target is not an http or https URI: {error}")))?;
    // RFC 9112, 3.2.4: without path and query, OPTIONS means the server as a whole.
    let bare = || {
        target
            .splitn(3, |byte| *byte == b'/')
            .nth(2)
            .is_none_or(|rest| !rest.contains(&b'/') && !rest.contains(&b'?'))
    };
    Ok(if *method == Method::OPTIONS && bare() { Target::Server(uri) } else { Target::Uri(uri) })
}

/// The host that is asked for must be legal even where it is not used.
fn legal_host(host: Option<&[u8]>) -> Result<(), Rejection> {
    match host {
        None | Some(b"") => Ok(()),
        Some(host) => TargetUri::from_parts(Scheme::Http, host, b"/")
            .map(|_| ())
            .map_err(|error| Rejection::bad(format!("the Host field is malformed: {error}"))),
    }
}

/// An https origin is asked under its own name, since its certificate is for that name; a plain one under the name that the client
/// used, so that links and cookies come out right.
fn reverse_target(
    method: &Method,
    target: &[u8],
    host: Option<&[u8]>,
    origin: &TargetUri,
) -> Result<Target, Rejection> {
    if *method == Method::CONNECT {
        return Err(Rejection::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this is a reverse proxy: it opens no tunnels",
        ));
    }
    let own = origin.authority();
    let asked = if target == b"*" {
        if *method != Method::OPTIONS {
            return Err(Rejection::bad("only OPTIONS can have the target *"));
        }
        return Ok(Target::Server(origin.clone()));
    } else if target.starts_with(b"/") {
        let authority = host.filter(|host| !host.is_empty()).unwrap_or(own.as_bytes());
        TargetUri::from_parts(Scheme::Http, authority, target)
            .map_err(|error| Rejection::bad(format!("the target or the Host field is malformed: {error}")))?
    } else {
        legal_host(host)?;
        match absolute(method, target)? {
            Target::Uri(uri) => uri,
            other => return Ok(other),
        }
    };
    let authority = match origin.scheme() {
        Scheme::Http => asked.authority(),
        Scheme::Https => own,
    };
    TargetUri::from_parts(origin.scheme(), authority.as_bytes(), asked.path_and_query().as_bytes())
        .map(Target::Uri)
        .map_err(|error| Rejection::bad(format!("the target is malformed: {error}")))
}

/// Fields by which applications let themselves be told another client, host, path or method than the request's own. They are no part
/// of the key, so that from a client they would choose what others get.
const TOLD_BY_PROXIES: [&str; 20] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-protocol",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-forwarded-prefix",
    "x-forwarded-path",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
    "x-host",
    "x-real-ip",
    "x-url-scheme",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// A reverse proxy passes none of these on, and says itself who asks.
fn say_who_asks(fields: &mut Fields, arrival: Arrival<'_>) {
    fields.retain(|name, _| !TOLD_BY_PROXIES.iter().any(|told| name.eq_ignore_ascii_case(told)));
    // Printed from an address and a constant, which are field values.
    let _ = fields.push("X-Forwarded-For", canonical(arrival.client).to_string().as_bytes());
    let _ = fields.push("X-Forwarded-Proto", if arrival.secure { b"https" } else { b"http" });
}

/// Whether `Via` names this proxy (RFC 9110, 7.6.3).
fn has_passed(fields: &Fields, pseudonym: &str) -> bool {
    list_members(fields.all("via")).any(|member| {
        let mut words = member.split(|byte| *byte == b' ' || *byte == b'\t').filter(|word| !word.is_empty());
        words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(pseudonym.as_bytes()))
    })
}

/// RFC 9110, 10.1.1: HTTP/1.0 knows no expectations.
fn expectation(fields: &Fields, version: Version) -> Result<bool, Rejection> {
    let mut expects = false;
    for member in list_members(fields.all("expect")) {
        if !member.eq_ignore_ascii_case(b"100-continue") {
            return Err(Rejection::new(StatusCode::EXPECTATION_FAILED, "only 100-continue can be expected"));
        }
        expects = version >= Version::Http11;
    }
    Ok(expects)
}

/// `Max-Forwards` ends an OPTIONS here, or is counted down (RFC 9110, 7.6.2).
fn spend_forward(method: &Method, fields: &mut Fields, target: Target) -> Result<Target, Rejection> {
    if *method != Method::OPTIONS {
        return Ok(target);
    }
    let Some(left) =
        fields.first("max-forwards").and_then(|value| std::str::from_utf8(value).ok()?.parse::<u32>().ok())
    else {
        return Ok(target);
    };
    let Some(left) = left.checked_sub(1) else { return Ok(Target::Own("*".to_owned())) };
    fields
        .set("Max-Forwards", left.to_string().as_bytes())
        .map_err(|_| Rejection::bad("Max-Forwards is malformed"))?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{HeadLimits, parse_request};

    fn read(way: Way<'_>, raw: &str) -> Result<ProxyRequest, Rejection> {
        let limits = HeadLimits { bytes: 65_536, fields: 100 };
        let (head, _) = parse_request(raw.as_bytes(), &limits).unwrap().unwrap();
        let arrival = Arrival { way, client: "192.0.2.9".parse().unwrap(), secure: false };
        ProxyRequest::read(head, arrival, "larder-1")
    }

    fn forward(raw: &str) -> Result<ProxyRequest, Rejection> {
        read(Way::Forward, raw)
    }

    fn status(result: Result<ProxyRequest, Rejection>) -> u16 {
        result.map_or_else(|rejection| rejection.status.as_u16(), |_| 0)
    }

    fn uri(request: ProxyRequest) -> String {
        match request.target {
            Target::Uri(uri) => uri.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_target_beats_host_and_is_sent_as_host() {
        let request =
            forward("GET http://A.example:80/x?y HTTP/1.1\r\nAccept: */*\r\nHost: evil.example\r\n\r\n")
                .unwrap();
        assert_eq!(request.fields.first("host"), Some(&b"a.example"[..]));
        assert_eq!(request.fields.iter().next().map(|(name, _)| name.to_owned()).as_deref(), Some("Accept"));
        assert_eq!(uri(request), "http://a.example/x?y");
    }

    #[test]
    fn host_must_be_one_and_legal() {
        for (raw, expected) in [
            ("GET http://a/ HTTP/1.1\r\n\r\n", 400),
            ("GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET http://a/ HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
            ("GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            ("GET http://a/ HTTP/1.1\r\nHost: u@h\r\n\r\n", 400),
            ("GET http://a/ HTTP/1.1\r\nHost: h/x\r\n\r\n", 400),
            ("GET http://a/ HTTP/1.1\r\nHost: h#x\r\n\r\n", 400),
            ("GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET http://a:0/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET http://a:65616/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET http://a/ HTTP/1.0\r\n\r\n", 0),
            ("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 0),
        ] {
            assert_eq!(status(forward(raw)), expected, "{raw:?}");
        }
    }

    #[test]
    fn loops_traces_and_odd_expectations_end_here() {
        for (raw, expected) in [
            ("GET http://a/ HTTP/1.1\r\nHost: a\r\nVia: 1.0 fred, 1.1 larder-1\r\n\r\n", 508),
            ("GET http://a/ HTTP/1.1\r\nHost: a\r\nVia: 1.1 larder-2\r\n\r\n", 0),
            ("TRACE http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            ("PUT http://a/ HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n", 417),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("CONNECT http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ] {
            assert_eq!(status(forward(raw)), expected, "{raw:?}");
        }
    }

    #[test]
    fn connect_options_and_own_targets_are_told_apart() {
        let tunnel = forward("CONNECT A.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n").unwrap();
        assert!(matches!(tunnel.target, Target::Tunnel(to) if to.host() == "a.example" && to.port() == 443));
        let own = forward("GET /about HTTP/1.1\r\nHost: proxy\r\n\r\n").unwrap();
        assert!(matches!(own.target, Target::Own(path) if path == "/about"));
        let whole = forward("OPTIONS http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
        assert!(matches!(whole.target, Target::Server(_)));
        let part =
            forward("OPTIONS http://a.example/ HTTP/1.1\r\nHost: a.example\r\nMax-Forwards: 3\r\n\r\n")
                .unwrap();
        assert_eq!(part.fields.first("max-forwards"), Some(&b"2"[..]));
        assert!(matches!(part.target, Target::Uri(_)));
        let spent =
            forward("OPTIONS http://a.example/ HTTP/1.1\r\nHost: a.example\r\nMax-Forwards: 0\r\n\r\n")
                .unwrap();
        assert!(matches!(spent.target, Target::Own(_)));
    }

    #[test]
    fn hop_by_hop_fields_stay_here_but_authorization_still_counts() {
        let request = forward(
            "GET http://a/ HTTP/1.1\r\nHost: a\r\nConnection: Authorization, X-Hop\r\nX-Hop: 1\r\nAuthorization: Basic eA==\r\nTE: trailers\r\nX-End: 2\r\n\r\n",
        )
        .unwrap();
        assert!(request.takes_trailers);
        assert!(
            !request.fields.contains("x-hop")
                && !request.fields.contains("te")
                && !request.fields.contains("connection")
        );
        assert!(request.fields.contains("x-end"));
        assert!(request.facts.authorized);
    }

    #[test]
    fn a_reverse_listener_asks_a_plain_origin_under_the_clients_name_and_a_tls_one_under_its_own() {
        let plain = TargetUri::parse(b"http://127.0.0.1:8080/").unwrap();
        let tls = TargetUri::parse(b"https://app.example/").unwrap();
        let (plain, tls) = (Way::Reverse(&plain), Way::Reverse(&tls));
        let raw = "GET /x HTTP/1.1\r\nHost: www.example\r\n\r\n";
        assert_eq!(uri(read(plain, raw).unwrap()), "http://www.example/x");
        assert_eq!(uri(read(tls, raw).unwrap()), "https://app.example/x");
        let told = "GET /x HTTP/1.1\r\nHost: www.example\r\nX-Forwarded-Host: evil\r\nx-original-url: /admin\r\nX-Forwarded-For: 1.1.1.1\r\nX-Mine: 1\r\n\r\n";
        let request = read(plain, told).unwrap();
        let lines: Vec<(&str, &[u8])> = request.fields.iter().skip(1).collect();
        let expected: [(&str, &[u8]); 3] =
            [("X-Mine", b"1"), ("X-Forwarded-For", b"192.0.2.9"), ("X-Forwarded-Proto", b"http")];
        assert_eq!(lines, expected);
        assert_eq!(status(read(plain, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")), 405);
    }

    #[test]
    fn inside_a_tunnel_everything_is_for_the_tunnels_authority() {
        let tunnel = HostPort::parse(b"a.example:443").unwrap();
        let inside = |raw: &str| read(Way::Inside(&tunnel), raw);
        let found = uri(inside("GET /x?y HTTP/1.1\r\nHost: A.example\r\n\r\n").unwrap());
        assert_eq!(found, "https://a.example/x?y");
        for (raw, expected) in [
            ("GET / HTTP/1.1\r\nHost: a.example:443\r\n\r\n", 0),
            ("GET / HTTP/1.0\r\n\r\n", 0),
            ("GET https://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", 0),
            ("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n", 0),
            ("GET / HTTP/1.1\r\nHost: b.example\r\n\r\n", 421),
            ("GET / HTTP/1.1\r\nHost: a.example:8443\r\n\r\n", 421),
            ("GET http://a.example:443/ HTTP/1.1\r\nHost: a.example\r\n\r\n", 421),
            ("OPTIONS * HTTP/1.1\r\nHost: b.example\r\n\r\n", 421),
            ("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n", 405),
            ("GET * HTTP/1.1\r\nHost: a.example\r\n\r\n", 400),
        ] {
            assert_eq!(status(inside(raw)), expected, "{raw:?}");
        }
    }

    #[test]
    fn the_proxys_own_name_leads_to_itself() {
        let own = forward("GET http://larder.internal/ca.pem HTTP/1.1\r\nHost: larder.internal\r\n\r\n");
        assert!(matches!(own.unwrap().target, Target::Own(path) if path == "/ca.pem"));
        let tunnel = HostPort::parse(b"larder.internal:443").unwrap();
        let raw = "GET /trust HTTP/1.1\r\nHost: larder.internal\r\n\r\n";
        let own = read(Way::Inside(&tunnel), raw).unwrap();
        assert!(matches!(own.target, Target::Own(path) if path == "/trust"));
    }
}
