//! The variables by which clients find a proxy and the certificates to trust: pure, from those that are set to those to set.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// What must not go through the proxy: this machine, and the metadata service of clouds, which answers for the machine.
const DIRECT: [&str; 4] = ["localhost", "127.0.0.1", "::1", "169.254.169.254"];

/// Where clients look for a proxy. Both cases: curl reads `http_proxy` alone, others the upper case alone. npm's own, since a
/// file of its settings would win over the general ones.
const PROXY: [&str; 11] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "CARGO_HTTP_PROXY",
    "npm_config_proxy",
    "npm_config_https_proxy",
    "YARN_HTTP_PROXY",
    "YARN_HTTPS_PROXY",
];

/// By this one Node's own fetch reads the others at all, since version 24.
const NODE: &str = "NODE_USE_ENV_PROXY";

/// Where clients look for what is to go without.
const NO_PROXY: [&str; 3] = ["no_proxy", "NO_PROXY", "npm_config_noproxy"];

/// Where clients look for a file of trusted certificates in PEM form.
pub(crate) const CERTIFICATES: [&str; 21] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "npm_config_cafile",
    "YARN_HTTPS_CA_FILE_PATH",
    "DENO_CERT",
    "AWS_CA_BUNDLE",
    "NIX_SSL_CERT_FILE",
    "CONDA_SSL_VERIFY",
    "BUNDLE_SSL_CA_CERT",
    "COMPOSER_CAFILE",
    "HEX_CACERTS_PATH",
    "HTTPLIB2_CA_CERTS",
    "JULIA_SSL_CA_ROOTS_PATH",
    "PERL_LWP_SSL_CA_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
];

/// Java reads no variable but this one; it says so on standard error at each start.
const JAVA: &str = "JAVA_TOOL_OPTIONS";

/// The password of Java's own trust store, which is no secret.
pub(crate) const STORE_PASSWORD: &str = "changeit";

/// The variables that are set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings(BTreeMap<OsString, OsString>);

impl Surroundings {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// The value of a variable that is set to something.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.to_str()
    }

    /// The proxy that is set for https, else for http, else for all; and the variable that says so.
    pub(crate) fn proxy(&self) -> Option<(&'static str, String)> {
        let names = ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
        names.into_iter().find_map(|name| Some((name, self.text(name)?.trim().to_owned())))
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Surroundings {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// What clients are to use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proxying<'a> {
    /// The proxy's address, `host:port`.
    pub(crate) proxy: &'a str,
    /// The file of certificates to trust; none leaves what is set.
    pub(crate) bundle: Option<&'a Path>,
    /// Whether there is a Java to tell.
    pub(crate) java: bool,
    /// Its trust store.
    pub(crate) trust_store: Option<&'a Path>,
}

/// The variables to set, in order.
pub(crate) fn variables(
    surroundings: &Surroundings,
    proxying: &Proxying<'_>,
) -> Vec<(&'static str, OsString)> {
    let url = OsString::from(format!("http://{}", proxying.proxy));
    let direct = direct(surroundings);
    let mut set: Vec<(&'static str, OsString)> = PROXY.iter().map(|name| (*name, url.clone())).collect();
    set.push((NODE, OsString::from("1")));
    set.extend(NO_PROXY.iter().map(|name| (*name, OsString::from(direct.join(",")))));
    if let Some(bundle) = proxying.bundle {
        set.extend(CERTIFICATES.iter().map(|name| (*name, bundle.as_os_str().to_owned())));
    }
    if proxying.java {
        set.push((JAVA, java(surroundings, proxying, &direct)));
    }
    set
}

/// Where clients look for how often to try again, which is to no purpose offline.
const RETRIES: [&str; 4] = ["npm_config_fetch_retries", "CARGO_NET_RETRY", "PIP_RETRIES", "UV_HTTP_RETRIES"];

/// What keeps clients from waiting for what is missing to come, unless they were told how long to wait.
pub(crate) fn impatience(surroundings: &Surroundings) -> Vec<(&'static str, OsString)> {
    let unset = RETRIES.into_iter().filter(|name| surroundings.get(name).is_none());
    unset.map(|name| (name, OsString::from("0"))).collect()
}

/// What was to go without a proxy before, and what must.
fn direct(surroundings: &Surroundings) -> Vec<String> {
    let mut direct: Vec<String> = Vec::new();
    let before = ["no_proxy", "NO_PROXY"].into_iter().filter_map(|name| surroundings.text(name));
    for host in before.flat_map(|list| list.split([',', ' '])).chain(DIRECT) {
        if !host.is_empty() && !direct.iter().any(|known| known.eq_ignore_ascii_case(host)) {
            direct.push(host.to_owned());
        }
    }
    direct
}

/// Java's options, after those that were set before.
fn java(surroundings: &Surroundings, proxying: &Proxying<'_>, direct: &[String]) -> OsString {
    let (host, port) = proxying.proxy.rsplit_once(':').unwrap_or((proxying.proxy, "80"));
    let mut options: Vec<OsString> = surroundings.get(JAVA).map(OsStr::to_owned).into_iter().collect();
    for scheme in ["http", "https"] {
        options.push(format!("-D{scheme}.proxyHost={host} -D{scheme}.proxyPort={port}").into());
    }
    // Java separates hosts by bars and has `*.example.com` for `.example.com`.
    let hosts: Vec<String> = direct
        .iter()
        .map(|host| match host.strip_prefix('.') {
            Some(domain) => format!("*.{domain}"),
            None if host.matches(':').count() > 1 && !host.starts_with('[') => format!("[{host}]"),
            None => host.clone(),
        })
        .collect();
    options.push(format!("-Dhttp.nonProxyHosts={}", hosts.join("|")).into());
    if let Some(store) = proxying.trust_store {
        let mut option = OsString::from("-Djavax.net.ssl.trustStore=");
        option.push(quoted(store));
        options.push(option);
        options.push(format!("-Djavax.net.ssl.trustStorePassword={STORE_PASSWORD}").into());
    }
    options.join(OsStr::new(" "))
}

/// A path as one word among Java's options. They are split at blanks; quotes keep them together, and nothing escapes a quote
/// but the other kind.
fn quoted(path: &Path) -> OsString {
    let bytes = path.as_os_str().as_bytes();
    if !bytes.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, b'\x0b' | b'\'' | b'"')) {
        return path.as_os_str().to_owned();
    }
    let mut quoted = Vec::with_capacity(bytes.len() + 2);
    for piece in bytes.split_inclusive(|byte| *byte == b'\'') {
        let (plain, single) = match piece.split_last() {
            Some((b'\'', plain)) => (plain, &b"\"'\""[..]),
            _ => (piece, &b""[..]),
        };
        if !plain.is_empty() {
            quoted.push(b'\'');
            quoted.extend_from_slice(plain);
            quoted.push(b'\'');
        }
        quoted.extend_from_slice(single);
    }
    OsString::from_vec(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(before: &[(&str, &str)], proxying: &Proxying<'_>) -> BTreeMap<&'static str, String> {
        let surroundings = before.iter().copied().collect();
        let set = variables(&surroundings, proxying);
        set.into_iter().map(|(name, value)| (name, value.into_string().unwrap())).collect()
    }

    const PROXYING: Proxying<'_> =
        Proxying { proxy: "127.0.0.1:4000", bundle: None, java: false, trust_store: None };

    /// The list is part of the interface: reviewed as text. `LARDER_BLESS=1` writes it anew.
    #[test]
    fn every_variable_is_set_as_it_was_reviewed() {
        let proxying = Proxying {
            bundle: Some(Path::new("/run/ca.pem")),
            java: true,
            trust_store: Some(Path::new("/run/ca.p12")),
            ..PROXYING
        };
        let surroundings =
            [("NO_PROXY", ".corp.example"), ("JAVA_TOOL_OPTIONS", "-Xmx1g")].into_iter().collect();
        let lines: String = variables(&surroundings, &proxying)
            .into_iter()
            .map(|(name, value)| format!("{name}={}\n", value.display()))
            .collect();
        crate::golden::compare("run-variables.txt", &lines);
    }

    #[test]
    fn the_page_names_every_variable() {
        let page = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/run.md");
        let page = std::fs::read_to_string(page).unwrap();
        for name in PROXY.iter().chain(&NO_PROXY).chain(&CERTIFICATES).chain([&JAVA]) {
            // Those of the first row stand there in one case.
            let named = format!("`{name}`");
            assert!(page.contains(&named) || page.contains(&named.to_ascii_lowercase()), "{name}");
        }
    }

    #[test]
    fn no_proxy_keeps_what_was_there_in_either_case_and_names_nothing_twice() {
        let set = set(
            &[("no_proxy", "a.example, .b.example"), ("NO_PROXY", "LOCALHOST,c.example,a.example")],
            &PROXYING,
        );
        let expected = "a.example,.b.example,LOCALHOST,c.example,127.0.0.1,::1,169.254.169.254";
        assert_eq!(set["no_proxy"], expected);
        assert_eq!(set["NO_PROXY"], expected);
    }

    #[test]
    fn java_takes_a_path_for_one_word() {
        let quoted = |path: &str| quoted(Path::new(path)).into_string().unwrap();
        assert_eq!(quoted("/home/ann/ca"), "/home/ann/ca");
        assert_eq!(quoted("/home/an na/c\"a"), "'/home/an na/c\"a'");
        assert_eq!(quoted("/it's mine"), "'/it'\"'\"'s mine'");
        assert_eq!(quoted("/''"), "'/'\"'\"\"'\"");
    }

    #[test]
    fn without_a_bundle_certificates_are_left_as_they_are() {
        let set = set(&[("SSL_CERT_FILE", "/etc/own.pem")], &PROXYING);
        assert!(!set.contains_key("SSL_CERT_FILE") && !set.contains_key("JAVA_TOOL_OPTIONS"));
    }

    #[test]
    fn the_proxy_for_https_goes_first() {
        let of = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Surroundings>().proxy();
        assert_eq!(
            of(&[("http_proxy", "http://a:1"), ("HTTPS_PROXY", "http://b:2")]),
            Some(("HTTPS_PROXY", "http://b:2".to_owned()))
        );
        assert_eq!(
            of(&[("https_proxy", ""), ("ALL_PROXY", "http://c:3")]),
            Some(("ALL_PROXY", "http://c:3".to_owned()))
        );
        assert_eq!(of(&[]), None);
    }
}
