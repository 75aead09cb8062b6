//! Single values as people write them: addresses, networks, destinations, URLs, formats.
//!
//! One function each, used alike for a flag, a variable and a key of the file, so that all three accept the same
//! text and refuse it in the same words: what is wrong, and what to write instead. Nothing here looks at two
//! settings at once.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use larder_policy::packages::RuleId;
use larder_policy::{Fields, HostPattern, Scheme, TargetUri};
use larder_server::config::{AccessLogFormat, AccessLogTarget, Credentials, Destination, Parent};
use larder_server::control::Sort;
use larder_storage::Verify;
use larder_storage::eviction::Policy;

/// The names of the access log's formats, as flags and the file spell them.
pub(crate) const LOG_FORMATS: [&str; 4] = ["squid", "common", "combined", "json"];

/// When bodies on disk are proved, as the file spells it.
const VERIFY: [&str; 3] = ["first-read", "always", "scrub-only"];

/// The levels of the program's own log, the terse first.
pub(crate) const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// More worker threads than this are a slip of the pen.
pub(crate) const MOST_WORKERS: usize = 1024;

/// An address to listen on: an IP address and a port.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let remedy = if let Ok(ip) = text.parse::<IpAddr>() {
        format!("it has no port; write `{}`", SocketAddr::new(ip, 3128))
    } else if let Some(port) =
        text.strip_prefix(':').or(Some(text)).filter(|port| port.parse::<u16>().is_ok())
    {
        format!(
            "it has no address; write `127.0.0.1:{port}` for this machine alone or `0.0.0.0:{port}` for the network"
        )
    } else if let Some(port) = text.strip_prefix("localhost:") {
        format!("write `127.0.0.1:{port}`")
    } else if let Some(rest) = text.strip_prefix("http://") {
        format!("it is a URL; write `{}`", rest.trim_end_matches('/'))
    } else {
        "write an IP address and a port, like `127.0.0.1:3128` or `[::1]:3128`".to_owned()
    };
    Err(format!("`{text}` is not an address to listen on; {remedy}"))
}

/// A network, or one address.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(network) = text.parse::<IpNet>() {
        return Ok(network.trunc());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    Err(format!("`{text}` is not a network; write one like `192.168.0.0/16`, `fd00::/8` or `10.0.0.7`"))
}

/// A network, or a host by its name or address with or without a port.
pub(crate) fn destination(text: &str) -> Result<Destination, String> {
    if let Ok(network) = network(text) {
        return Ok(Destination::Network(network));
    }
    let fault = |why: &str| {
        Err(format!(
            "`{text}` is not a destination: {why}; write a network like `10.1.0.0/16` or a host like `localhost`, \
             `wiki.example.com:8443` or `[::1]:8080`"
        ))
    };
    if text.contains('/') {
        return fault("it is neither a network nor a host");
    }
    let bracketed_end = text.rfind(']').map_or(0, |end| end + 1);
    let colon = text.get(bracketed_end..).and_then(|tail| tail.find(':')).map(|at| at + bracketed_end);
    let (host, port) = match colon.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))) {
        Some((host, port)) => match port.parse::<u16>() {
            Ok(port @ 1..) => (host, Some(port)),
            _ => return fault("the port must be a number from 1 to 65535"),
        },
        None => (text, None),
    };
    let host = host.to_ascii_lowercase();
    let literal = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let sound = match literal {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        }
    };
    if !sound {
        return fault("the host is not a name or an address");
    }
    Ok(Destination::Host { host, port })
}

/// A port that CONNECT may reach.
pub(crate) fn port(text: &str) -> Result<u16, String> {
    match text.trim().parse() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(format!("`{text}` is not a port; write a number from 1 to 65535")),
    }
}

/// The origin behind a reverse proxy: scheme, host and port, no path.
pub(crate) fn reverse_origin(text: &str) -> Result<TargetUri, String> {
    let uri = match TargetUri::parse(text.as_bytes()) {
        Ok(uri) => uri,
        Err(_) if !text.contains("://") => {
            return Err(format!("`{text}` is not an origin: it has no scheme; write `http://{text}`"));
        }
        Err(error) => {
            return Err(format!(
                "`{text}` is not an origin: {error}; write one like `http://127.0.0.1:8080`"
            ));
        }
    };
    if uri.path_and_query() != "/" {
        let root = text.find("://").map(|at| at + 3).and_then(|start| {
            let end = text.get(start..)?.find(['/', '?'])? + start;
            text.get(..end)
        });
        return Err(format!(
            "`{text}` is not an origin: its path must be `/`, since requests bring their own; write `{}`",
            root.unwrap_or(text)
        ));
    }
    Ok(uri)
}

/// A parent proxy: `http://host:port`, or `http://user:password@host:port`.
pub(crate) fn parent(text: &str) -> Result<Parent, String> {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    // The user's part is not repeated, as it may hold a password.
    let separator = if scheme.is_empty() { "" } else { "://" };
    let text = format!("{scheme}{separator}{host}{path}");
    let fault = |why: String| Err(format!("`{text}` is not a parent proxy: {why}"));
    let Ok(uri) = TargetUri::parse(text.as_bytes()) else {
        let remedy = if text.contains("://") {
            "http://proxy.example.com:3128".to_owned()
        } else {
            format!("http://{text}")
        };
        return fault(format!("write one like `{remedy}`"));
    };
    if uri.scheme() != Scheme::Http {
        return fault("it is spoken to in plain HTTP; write `http://host:port`".to_owned());
    }
    if uri.path_and_query() != "/" {
        return fault("it has no path; write `http://host:port`".to_owned());
    }
    // The parsed form does not tell `http://host` from `http://host:80`, and proxies are seldom at port 80.
    if host.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
        return fault(format!("it has no port; write `http://{}:3128`", uri.host()));
    }
    let credentials = match user.map(credentials) {
        Some(None) => {
            return fault("user and password are not text once their %XX are read".to_owned());
        }
        known => known.flatten(),
    };
    Ok(Parent { host: uri.host().to_owned(), port: uri.port(), credentials })
}

/// `user:password`, each percent-encoded (RFC 3986, 3.2.1).
fn credentials(text: &str) -> Option<Credentials> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Some(Credentials::basic(&decoded(user)?, &decoded(password)?))
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Where the access log goes: a file, or `-` for standard output.
pub(crate) fn access_log(text: &str) -> Result<AccessLogTarget, String> {
    match text {
        "" => Err("an access log needs a file; write its path, or `-` for standard output".to_owned()),
        "-" => Ok(AccessLogTarget::Stdout),
        path => Ok(AccessLogTarget::File(PathBuf::from(path))),
    }
}

/// How lines of the access log look.
pub(crate) fn log_format(text: &str) -> Result<AccessLogFormat, String> {
    match text {
        "squid" => Ok(AccessLogFormat::Squid),
        "common" => Ok(AccessLogFormat::Common),
        "combined" => Ok(AccessLogFormat::Combined),
        "json" => Ok(AccessLogFormat::Json),
        _ => Err(format!("`{text}` is not a format of the access log; {}", one_of(text, &LOG_FORMATS))),
    }
}

/// The orders of a list.
pub(crate) const SORTS: [&str; 3] = ["url", "size", "age"];

/// One of [`SORTS`].
pub(crate) fn sort(text: &str) -> Result<Sort, String> {
    match text {
        "url" => Ok(Sort::Url),
        "size" => Ok(Sort::Size),
        "age" => Ok(Sort::Age),
        _ => Err(one_of(text, &SORTS)),
    }
}

/// How a tier chooses what leaves.
pub(crate) fn eviction(text: &str) -> Result<Policy, String> {
    Policy::from_name(text).ok_or_else(|| {
        let known: Vec<_> = Policy::all().map(Policy::name).collect();
        format!("`{text}` is not a way to evict; {}", one_of(text, &known))
    })
}

/// When bodies on disk are proved.
pub(crate) fn verify(text: &str) -> Result<Verify, String> {
    match text {
        "first-read" => Ok(Verify::FirstRead),
        "always" => Ok(Verify::Always),
        "scrub-only" => Ok(Verify::ScrubOnly),
        _ => Err(format!("`{text}` does not say when bodies are proved; {}", one_of(text, &VERIFY))),
    }
}

/// The name of a format, as it is written.
pub(crate) fn log_format_name(format: AccessLogFormat) -> &'static str {
    match format {
        AccessLogFormat::Squid => "squid",
        AccessLogFormat::Common => "common",
        AccessLogFormat::Combined => "combined",
        AccessLogFormat::Json => "json",
    }
}

/// A level for larder's own messages, or a filter: `info`, `warn,larder_server=debug`.
pub(crate) fn log_level(text: &str) -> Result<String, String> {
    // The subscriber's parser takes a misspelt level for the name of a module, so levels are checked here.
    let level_known = |level: &str| LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level));
    for directive in text.split(',') {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level).trim();
        if !level_known(level) {
            return Err(format!("`{level}` is not a log level; {}", one_of(level, &LEVELS)));
        }
    }
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_ascii_lowercase()),
        Err(error) => {
            Err(format!("`{text}` is not a log filter: {error}; write one like `info,larder_server=debug`"))
        }
    }
}

/// A bearer token: what an `Authorization` field can carry (RFC 6750, 2.1).
pub(crate) fn token(text: &str) -> Result<String, String> {
    let core = text.trim_end_matches('=');
    let sound = core.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b));
    if core.is_empty() || !sound {
        // The value is a secret; it is not repeated.
        return Err("the admin token may hold letters, digits and `-._~+/` alone; make one with `openssl rand -hex 32`"
            .to_owned());
    }
    Ok(text.to_owned())
}

/// The proxy's name in `Via` and `Cache-Status`: a token that begins with a letter (RFC 9110, 7.6.3; RFC 9211, 2).
pub(crate) fn name(text: &str) -> Result<String, String> {
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    if begins && text.bytes().all(is_token_byte) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is not a name for `Via`; begin with a letter and use letters, digits, `-`, `.` and `_`, like `cache-1.example.com`"
    ))
}

/// The number of worker threads.
pub(crate) fn workers(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(workers @ 1..=MOST_WORKERS) => Ok(workers),
        _ => Err(format!("`{text}` is not a number of workers; write one from 1 to {MOST_WORKERS}")),
    }
}

/// The URL of a request, in the spelling that keys have.
pub(crate) fn target(text: &str) -> Result<TargetUri, String> {
    TargetUri::parse(text.as_bytes()).map_err(|error| {
        if text.contains("://") {
            format!("`{text}` is not a URL that can be stored: {error}")
        } else {
            format!("`{text}` is not a URL; write `http://{text}`")
        }
    })
}

/// A line of a field section: `Name: value`.
pub(crate) fn field_line(text: &str) -> Result<String, String> {
    let remedy = match text.split_once(':') {
        Some((name, value)) => {
            if Fields::new().push(name, value.trim().as_bytes()).is_ok() {
                return Ok(text.to_owned());
            }
            "its name or value holds what no field does; write one like `Accept-Language: de`".to_owned()
        }
        None => match text.split_once(['=', ' ']) {
            Some((name, value)) if field_name(name).is_ok() => format!("write `{name}: {value}`"),
            _ => "write one like `Accept-Language: de`".to_owned(),
        },
    };
    Err(format!("`{text}` is not a field; {remedy}"))
}

/// A field's name (RFC 9110, 5.1).
pub(crate) fn field_name(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(is_token_byte) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not a field name; write one like `CDN-Cache-Control`"))
}

/// A byte of a token (RFC 9110, 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!#$%&'*+^`|".contains(&byte)
}

/// A package rule.
pub(crate) fn package_rule(text: &str) -> Result<RuleId, String> {
    RuleId::of_name(text).ok_or_else(|| {
        let known: Vec<_> = RuleId::ALL.iter().map(|rule| rule.name()).collect();
        format!("`{text}` is not a package rule; {}", one_of(text, &known))
    })
}

/// The nearest of the known words to a misspelt one, if any is near.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let word = plain(word);
    let (distance, best) = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &plain(candidate)), *candidate))
        .min()?;
    let longest = word.chars().count().max(best.chars().count());
    if distance * 3 <= longest {
        return Some(best);
    }
    // A word cut short, or drawn out: `mem` for `memory`, `directory` for `dir`.
    let stem = |candidate: &str| {
        word.len().min(candidate.len()) >= 3 && (candidate.starts_with(&word) || word.starts_with(candidate))
    };
    known.iter().copied().find(|candidate| stem(&plain(candidate)))
}

/// "did you mean `x`?" when one is near, else all of them.
fn one_of(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(best) => format!("did you mean `{best}`?"),
        None => format!("write one of {}", known.join(", ")),
    }
}

/// Yes or no, as a variable says it.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!("`{text}` is neither yes nor no; write `1` or `0`")),
    }
}

/// A host, or `*.` and a host for all below it.
pub(crate) fn host_pattern(text: &str) -> Result<HostPattern, String> {
    HostPattern::parse(text).map_err(|_| {
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let bare = rest.split(['/', ':', '?']).next().unwrap_or_default();
        let remedy = match HostPattern::parse(bare) {
            Ok(_) if rest.starts_with(&format!("{bare}:")) => {
                format!("write the host alone, `{bare}`, which means every port")
            }
            Ok(_) => format!("write the host alone, `{bare}`"),
            Err(_) if text == "*" => "leave the list out to mean every host".to_owned(),
            Err(_) => "write one like `files.example`, or `*.example.com` for all hosts below it".to_owned(),
        };
        format!("`{text}` is not a host; {remedy}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_both_parts() {
        assert!(address("127.0.0.1:3128").is_ok() && address("[::1]:0").is_ok());
        for (text, remedy) in [
            ("127.0.0.1", "write `127.0.0.1:3128`"),
            ("::1", "write `[::1]:3128`"),
            ("3128", "write `127.0.0.1:3128` for this machine alone"),
            (":8080", "write `127.0.0.1:8080` for this machine alone"),
            ("localhost:3128", "write `127.0.0.1:3128`"),
            ("http://127.0.0.1:3128/", "write `127.0.0.1:3128`"),
            ("cache.example.com:3128", "write an IP address and a port"),
        ] {
            let error = address(text).unwrap_err();
            assert!(error.contains(remedy), "{error}");
        }
    }

    #[test]
    fn a_network_may_be_one_address() {
        assert_eq!(network("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(network("10.0.0.7").unwrap().to_string(), "10.0.0.7/32");
        assert_eq!(network("::1").unwrap().to_string(), "::1/128");
        assert!(network("10.0.0.0/33").unwrap_err().contains("is not a network; write one like"));
    }

    #[test]
    fn a_destination_is_a_network_or_a_host() {
        let host = |host: &str, port| Ok(Destination::Host { host: host.to_owned(), port });
        assert_eq!(destination("10.0.0.0/8"), Ok(Destination::Network("10.0.0.0/8".parse().unwrap())));
        assert_eq!(destination("::1"), Ok(Destination::Network("::1/128".parse().unwrap())));
        assert_eq!(destination("LocalHost"), host("localhost", None));
        assert_eq!(destination("wiki.example.com:8443"), host("wiki.example.com", Some(8443)));
        assert_eq!(destination("127.0.0.1:8080"), host("127.0.0.1", Some(8080)));
        assert_eq!(destination("[::1]:8080"), host("[::1]", Some(8080)));
        for text in
            ["", "a b", "host:0", "host:http", "http://host/", "10.0.0.0/99", "[::g]", "a:b:c", "host:"]
        {
            assert!(destination(text).unwrap_err().contains("is not a destination: "), "{text}");
        }
    }

    #[test]
    fn a_reverse_origin_has_no_path() {
        assert_eq!(reverse_origin("http://127.0.0.1:8080").unwrap().port(), 8080);
        assert!(reverse_origin("http://127.0.0.1:8080/").is_ok());
        assert!(reverse_origin("http://a.example/app?x").unwrap_err().ends_with("write `http://a.example`"));
        assert!(reverse_origin("127.0.0.1:8080").unwrap_err().ends_with("write `http://127.0.0.1:8080`"));
    }

    #[test]
    fn a_parent_is_plain_http_with_a_port() {
        let parsed = parent("http://Proxy.example.com:3128/").unwrap();
        assert_eq!((parsed.host.as_str(), parsed.port), ("proxy.example.com", 3128));
        assert_eq!(parent("http://[::1]:3128").unwrap().host, "[::1]");
        assert_eq!(parent("http://p.example:80").unwrap().port, 80);
        assert!(parent("http://p.example").unwrap_err().ends_with("write `http://p.example:3128`"));
        assert!(parent("http://[::1]").unwrap_err().ends_with("write `http://[::1]:3128`"));
        assert!(parent("https://p.example:3128").unwrap_err().contains("plain HTTP"));
        assert!(parent("http://p.example:3128/x").unwrap_err().contains("has no path"));
        let known = parent("http://ann:p%40ss%3a@p.example:3128").unwrap();
        assert_eq!(known.credentials, Some(Credentials::basic("ann", "p@ss:")));
        assert!(!format!("{known:?}").contains("YW5u"), "{known:?}");
        for wrong in
            ["http://ann:s3cret@p.example", "http://ann:s3cret%zz@p.example:1", "ann:s3cret@p.example:1"]
        {
            assert!(!parent(wrong).unwrap_err().contains("s3cret"), "{wrong}");
        }
        assert!(parent("p.example:3128").unwrap_err().ends_with("write one like `http://p.example:3128`"));
    }

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_module() {
        assert_eq!(log_level("info,larder_server=debug"), Ok("info,larder_server=debug".to_owned()));
        assert_eq!(log_level("DEBUG"), Ok("debug".to_owned()));
        assert_eq!(log_level("inof"), Err("`inof` is not a log level; did you mean `info`?".to_owned()));
        assert_eq!(
            log_level("larder_server=dbug"),
            Err("`dbug` is not a log level; did you mean `debug`?".to_owned())
        );
        assert!(log_level("").unwrap_err().contains("write one of off, error"));
    }

    #[test]
    fn a_bad_token_is_not_repeated() {
        assert_eq!(token("abc123=="), Ok("abc123==".to_owned()));
        let error = token("se cret").unwrap_err();
        assert!(!error.contains("cret`") && error.contains("openssl rand -hex 32"), "{error}");
        assert!(token("").is_err());
    }

    #[test]
    fn a_name_is_a_token_that_begins_with_a_letter() {
        assert!(name("cache-1.example.com").is_ok());
        for text in ["", "1cache", "my cache", "caché", "a\"b"] {
            assert!(name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_nearest_word_is_near_or_none() {
        assert_eq!(nearest("lisen", &["listen", "limits"]), Some("listen"));
        assert_eq!(nearest("connect-ports", &["connect_ports"]), Some("connect_ports"));
        assert_eq!(nearest("mem", &["disk", "memory"]), Some("memory"));
        assert_eq!(nearest("directory", &["disk", "dir"]), Some("dir"));
        assert_eq!(nearest("banana", &["memory", "disk"]), None);
    }
}
