//! Target URIs (RFC 9110, 4.2; RFC 9112, 3.2; RFC 3986).
//!
//! A target is one string in one spelling: scheme and host in lower case, no default port, path and query
//! byte for byte as the client sent them. Routing, access rules, the cache key and the Host that is sent
//! onwards all come from this one value, so they cannot disagree. Percent-encodings and dot segments are
//! never rewritten in what a client asks for, because origins are free to tell the spellings apart.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::Ipv6Addr;
use std::sync::Arc;

/// Why a request target, or a reference, is refused. The client is at fault: 400.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Neither `http` nor `https`, or no scheme where one is due.
    #[error("target scheme is not http or https")]
    Scheme,
    /// `user@` before the host, which is a deprecated way to mislead (RFC 9110, 4.2.4).
    #[error("target has user information")]
    UserInfo,
    /// No host, or one that no name or address can be.
    #[error("target host is not valid")]
    Host,
    /// A port that is not 1 to 65535, or none where one is due.
    #[error("target port is not 1 to 65535")]
    Port,
    /// The path or query does not begin like one, or holds a byte outside visible ASCII.
    #[error("target path is not valid")]
    Path,
    /// `#` and what follows, which no request carries (RFC 9110, 4.2.5).
    #[error("target has a fragment")]
    Fragment,
    /// A stored target is not in the spelling that this crate gives it, or is longer than 4 GiB.
    #[error("target is not in canonical form")]
    NotCanonical,
}

/// `http` or `https`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    /// `http`, port 80.
    Http,
    /// `https`, port 443.
    Https,
}

impl Scheme {
    /// The scheme in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that stands for no port (RFC 9110, 4.2.1 and 4.2.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|scheme| text.eq_ignore_ascii_case(scheme.as_str().as_bytes()))
    }
}

/// The target URI of a request: scheme, host, port, exact path, exact query.
///
/// Prints as the canonical URI; two targets are equal when those are. Cloning shares the text.
#[derive(Clone)]
pub struct TargetUri {
    text: Arc<str>,
    scheme: Scheme,
    port: u16,
    /// Where the host ends in `text`; it begins after `scheme://`.
    host_end: u32,
    /// Where the path begins in `text`.
    path_start: u32,
}

impl TargetUri {
    /// Parses an absolute URI, the absolute-form of a request target (RFC 9112, 3.2.2).
    ///
    /// # Errors
    /// [`TargetError`] for another scheme, user information, a bad host, port or path, or a fragment.
    pub fn parse(uri: &[u8]) -> Result<Self, TargetError> {
        let colon = uri.iter().position(|byte| *byte == b':').ok_or(TargetError::Scheme)?;
        let (scheme, rest) = uri.split_at_checked(colon).ok_or(TargetError::Scheme)?;
        let scheme = Scheme::parse(scheme).ok_or(TargetError::Scheme)?;
        let rest = rest.strip_prefix(b"://").ok_or(TargetError::Scheme)?;
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at_checked(end).ok_or(TargetError::Path)?;
        Self::from_parts(scheme, authority, path_and_query)
    }

    /// Puts a target together from a scheme that the listener knows, the authority of the Host field, and the
    /// origin-form (RFC 9112, 3.2.1 and 3.3). An empty path becomes `/`.
    ///
    /// # Errors
    /// [`TargetError`] for user information, a bad host, port or path, or a fragment.
    pub fn from_parts(scheme: Scheme, authority: &[u8], path_and_query: &[u8]) -> Result<Self, TargetError> {
        let (host, port) = split_authority(authority)?;
        let port = port.unwrap_or(scheme.default_port());
        if path_and_query.contains(&b'#') {
            return Err(TargetError::Fragment);
        }
        let slash = match path_and_query.first() {
            Some(b'/') => "",
            None | Some(b'?') => "/",
            Some(_) => return Err(TargetError::Path),
        };
        if !path_and_query.iter().all(u8::is_ascii_graphic) {
            return Err(TargetError::Path);
        }
        let path_and_query = std::str::from_utf8(path_and_query).map_err(|_| TargetError::Path)?;

        let mut text = String::with_capacity(scheme.as_str().len() + host.len() + path_and_query.len() + 10);
        text.push_str(scheme.as_str());
        text.push_str("://");
        text.push_str(host);
        text.make_ascii_lowercase();
        let host_end = text.len();
        if port != scheme.default_port() {
            text.push(':');
            text.push_str(&port.to_string());
        }
        let path_start = text.len();
        text.push_str(slash);
        text.push_str(path_and_query);
        u32::try_from(text.len()).map_err(|_| TargetError::NotCanonical)?;
        Ok(Self { text: text.into(), scheme, port, host_end: host_end as u32, path_start: path_start as u32 })
    }

    /// The scheme.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host in lower case; an IPv6 address has its brackets.
    pub fn host(&self) -> &str {
        self.text.get(self.scheme.as_str().len() + 3..self.host_end as usize).unwrap_or_default()
    }

    /// The port, the scheme's default when the target named none.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The path as received, at least `/`.
    pub fn path(&self) -> &str {
        let whole = self.path_and_query();
        whole.split_once('?').map_or(whole, |(path, _)| path)
    }

    /// What follows the first `?`, when there is one.
    pub fn query(&self) -> Option<&str> {
        self.path_and_query().split_once('?').map(|(_, query)| query)
    }

    /// Path and query as received: the origin-form.
    pub fn path_and_query(&self) -> &str {
        self.text.get(self.path_start as usize..).unwrap_or_default()
    }

    /// Host and port as the Host field carries them, without a default port (RFC 9110, 7.2).
    pub fn authority(&self) -> &str {
        self.text.get(self.scheme.as_str().len() + 3..self.path_start as usize).unwrap_or_default()
    }

    /// The canonical URI.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme and authority: the canonical URI up to its path.
    pub fn origin(&self) -> &str {
        self.text.get(..self.path_start as usize).unwrap_or_default()
    }

    /// Whether both have the same scheme, host and port (RFC 9110, 4.3.1).
    pub fn same_origin(&self, other: &Self) -> bool {
        self.origin() == other.origin()
    }

    /// Resolves a URI reference, such as the value of Location, against this target (RFC 3986, 5.2).
    ///
    /// A fragment is dropped. `None` when the result is not an acceptable target.
    pub fn resolve(&self, reference: &[u8]) -> Option<Self> {
        let reference = reference.split(|byte| *byte == b'#').next().unwrap_or_default();
        if has_scheme(reference) {
            return Self::parse(reference).ok()?.without_dot_segments();
        }
        if let Some(rest) = reference.strip_prefix(b"//") {
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
            let (authority, path_and_query) = rest.split_at_checked(end)?;
            return Self::from_parts(self.scheme, authority, path_and_query).ok()?.without_dot_segments();
        }
        let at = reference.iter().position(|byte| *byte == b'?').unwrap_or(reference.len());
        let (path, query) = reference.split_at_checked(at)?;
        let joined = match path.first() {
            None if query.is_empty() => return Some(self.clone()),
            None => [self.path().as_bytes(), query].concat(),
            Some(b'/') => [&remove_dot_segments(path)[..], query].concat(),
            Some(_) => {
                let base = self.path().as_bytes();
                let directory = base.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
                let merged = [base.get(..directory).unwrap_or_default(), path].concat();
                [&remove_dot_segments(&merged)[..], query].concat()
            }
        };
        Self::from_parts(self.scheme, self.authority().as_bytes(), &joined).ok()
    }

    fn without_dot_segments(self) -> Option<Self> {
        let (path, query) = self.path_and_query().split_at(self.path().len());
        let joined = [&remove_dot_segments(path.as_bytes())[..], query.as_bytes()].concat();
        Self::from_parts(self.scheme, self.authority().as_bytes(), &joined).ok()
    }
}

impl PartialEq for TargetUri {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TargetUri {}

impl Hash for TargetUri {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for TargetUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for TargetUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TargetUri({:?})", self.text)
    }
}

/// Host and port, the authority-form of CONNECT's target (RFC 9112, 3.2.3).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// Parses `host:port`; the port is required.
    ///
    /// # Errors
    /// [`TargetError`] for user information, a bad host, or a bad or missing port.
    pub fn parse(authority: &[u8]) -> Result<Self, TargetError> {
        let (host, port) = split_authority(authority)?;
        Ok(Self { host: host.to_ascii_lowercase(), port: port.ok_or(TargetError::Port)? })
    }

    /// The host in lower case; an IPv6 address has its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The host as written and the port, if one is named (`host:` names none; RFC 3986, 3.2.3).
fn split_authority(authority: &[u8]) -> Result<(&str, Option<u16>), TargetError> {
    if authority.contains(&b'@') {
        return Err(TargetError::UserInfo);
    }
    let host_length = if authority.starts_with(b"[") {
        authority.iter().position(|byte| *byte == b']').ok_or(TargetError::Host)? + 1
    } else {
        authority.iter().position(|byte| *byte == b':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at_checked(host_length).ok_or(TargetError::Host)?;
    let port = match rest.split_first() {
        None | Some((b':', [])) => None,
        Some((b':', digits)) => Some(parse_port(digits).ok_or(TargetError::Port)?),
        Some(_) => return Err(TargetError::Host),
    };
    Ok((check_host(host).ok_or(TargetError::Host)?, port))
}

/// Whether the parts of a target are spelt as [`TargetUri::from_parts`] spells them, so that they need not be parsed to be known.
/// Says no to what it does not look into, such as addresses in brackets.
pub(crate) fn are_canonical(scheme: Scheme, authority: &[u8], path_and_query: &[u8]) -> bool {
    let colon = authority.iter().position(|byte| *byte == b':');
    let (host, port) = authority.split_at(colon.unwrap_or(authority.len()));
    let named = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_' | b'~')
    };
    let port_is_canonical = match port {
        [] => true,
        [_, b'0', ..] | [_] => false,
        [_, digits @ ..] => parse_port(digits).is_some_and(|port| port != scheme.default_port()),
    };
    !host.is_empty()
        && host.iter().all(named)
        && port_is_canonical
        && path_and_query.first() == Some(&b'/')
        && path_and_query.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#')
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
///
/// Narrower than RFC 3986, 3.2.2, which also allows percent-encodings and sub-delimiters: no name that
/// resolves holds them, and they have been used to slip past rules that match on names.
fn check_host(host: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(host).ok()?;
    if let Some(address) = text.strip_prefix('[') {
        address.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?;
    } else {
        let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if text.is_empty() || !text.bytes().all(named) {
            return None;
        }
    }
    Some(text)
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let port = digits.iter().fold(0_u32, |port, digit| port * 10 + u32::from(digit - b'0'));
    u16::try_from(port).ok().filter(|port| *port != 0)
}

/// Whether a reference begins with a scheme (RFC 3986, 4.1 and 3.1).
fn has_scheme(reference: &[u8]) -> bool {
    let end = reference.iter().position(|byte| matches!(byte, b':' | b'/' | b'?')).unwrap_or(reference.len());
    reference.get(end) == Some(&b':')
}

/// RFC 3986, 5.2.4, for a path that begins with a slash.
fn remove_dot_segments(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = path.strip_prefix(b"/").unwrap_or(path).split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." if last => kept.push(b""),
            b"." => {}
            b".." => {
                kept.pop();
                if last {
                    kept.push(b"");
                }
            }
            _ => kept.push(segment),
        }
    }
    let mut path = Vec::with_capacity(path.len());
    for segment in kept {
        path.push(b'/');
        path.extend_from_slice(segment);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str) -> TargetUri {
        TargetUri::parse(uri.as_bytes()).unwrap()
    }

    #[test]
    fn one_spelling_for_scheme_host_and_port() {
        for (uri, canonical) in [
            ("HTTP://Example.COM:80", "http://example.com/"),
            ("http://example.com:", "http://example.com/"),
            ("https://example.com:443/a?b", "https://example.com/a?b"),
            ("https://example.com:80?q=/", "https://example.com:80/?q=/"),
            ("http://[2001:DB8::1]:8080/", "http://[2001:db8::1]:8080/"),
            ("http://example.com./%7Ea/../b//", "http://example.com./%7Ea/../b//"),
        ] {
            assert_eq!(target(uri).to_string(), canonical);
        }
    }

    #[test]
    fn parts_are_as_received() {
        let target = target("http://h:8080/a%2fb?c?d");
        assert_eq!((target.scheme(), target.host(), target.port()), (Scheme::Http, "h", 8080));
        assert_eq!((target.path(), target.query()), ("/a%2fb", Some("c?d")));
        assert_eq!((target.path_and_query(), target.authority()), ("/a%2fb?c?d", "h:8080"));
        assert_eq!(TargetUri::parse(b"http://h/a?").unwrap().query(), Some(""));
    }

    #[test]
    fn ambiguous_targets_are_refused() {
        for (uri, error) in [
            ("/a", TargetError::Scheme),
            ("ftp://h/", TargetError::Scheme),
            ("http:/h/", TargetError::Scheme),
            ("http://u@h/", TargetError::UserInfo),
            ("http://u:p@h/", TargetError::UserInfo),
            ("http:///a", TargetError::Host),
            ("http://:80/", TargetError::Host),
            ("http://a b/", TargetError::Host),
            ("http://a%41/", TargetError::Host),
            ("http://a,b/", TargetError::Host),
            ("http://[::1/", TargetError::Host),
            ("http://[::1]x/", TargetError::Host),
            ("http://[v1.a]/", TargetError::Host),
            ("http://[fe80::1%25eth0]/", TargetError::Host),
            ("http://h:0/", TargetError::Port),
            ("http://h:65536/", TargetError::Port),
            ("http://h:+80/", TargetError::Port),
            ("http://h:80:80/", TargetError::Port),
            ("http://h:000080/", TargetError::Port),
            ("http://h/a#b", TargetError::Fragment),
            ("http://h/a b", TargetError::Path),
            ("http://h/\u{e4}", TargetError::Path),
            ("http://h/\x7f", TargetError::Path),
        ] {
            assert_eq!(TargetUri::parse(uri.as_bytes()), Err(error), "{uri}");
        }
        assert_eq!(TargetUri::from_parts(Scheme::Http, b"h", b"*"), Err(TargetError::Path));
        assert_eq!(TargetUri::from_parts(Scheme::Http, b"h/x", b"/"), Err(TargetError::Host));
        assert_eq!(TargetUri::from_parts(Scheme::Http, b"h#x", b"/"), Err(TargetError::Host));
    }

    #[test]
    fn connect_needs_a_port() {
        let target = HostPort::parse(b"Example.com:443").unwrap();
        assert_eq!(
            (target.host(), target.port(), target.to_string()),
            ("example.com", 443, "example.com:443".into())
        );
        assert_eq!(HostPort::parse(b"[::1]:443").unwrap().host(), "[::1]");
        for authority in ["example.com", "example.com:", "http://h:1", "u@h:1", "h:1/", ":443"] {
            assert!(HostPort::parse(authority.as_bytes()).is_err(), "{authority}");
        }
    }

    /// RFC 3986, 5.4.
    #[test]
    fn references_resolve_as_the_rfc_shows() {
        let base = target("http://a/b/c/d;p?q");
        for (reference, resolved) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../..", "http://a/"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g..", "http://a/b/c/g.."),
            ("./g/.", "http://a/b/c/g/"),
            ("g/../h", "http://a/b/c/h"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("g?y#s/../x", "http://a/b/c/g?y"),
            ("http://h:81/x/../y", "http://h:81/y"),
        ] {
            assert_eq!(base.resolve(reference.as_bytes()), Some(target(resolved)), "{reference}");
        }
        for reference in ["mailto:a", "g:h", "//u@h/", "/a b", "http:g"] {
            assert_eq!(base.resolve(reference.as_bytes()), None, "{reference}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let base = target("http://h/a");
        assert!(base.same_origin(&target("http://H:80/b?c")));
        for other in ["https://h/a", "http://h:81/a", "http://hh/a"] {
            assert!(!base.same_origin(&target(other)), "{other}");
        }
    }
}
