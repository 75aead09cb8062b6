//! The proxy's own pages: what this is, how to point a client at it, and how to trust its CA.
//!
//! They are at `/` of the proxy's own address, and under [`OWN_NAME`] for whoever comes through the proxy: by that name a
//! browser finds out whether it does, and by the script over https whether it trusts the CA. Nothing here shows a key, and nothing of
//! a request is echoed.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::entrance::Entrance;
use crate::request::ProxyRequest;
use crate::respond::{Answer, add};
use crate::tls::{CaCertificate, TRUST_VARIABLES, TRUST_WAYS, trusted_as};
use crate::transaction::Outcome;

/// The name that the proxy answers itself. `.internal` is nobody's on the public internet.
pub(crate) const OWN_NAME: &str = "larder.internal";

/// Loaded over https by the landing page: that it runs shows that the browser trusts the CA.
const TRUST_SCRIPT: &str = "document.documentElement.dataset.trust = 'yes';\n";

/// What the pages may load: their own style, and the one script.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src https://larder.internal/trust.js; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers a request for the proxy itself.
pub(crate) fn answer(entrance: &Entrance, request: &ProxyRequest, path: &str) -> Answer {
    let proxy = entrance.proxy();
    let now = proxy.clock.now();
    let own = &proxy.own;
    if request.method == Method::OPTIONS {
        let mut answer = own.text(StatusCode::OK, Outcome::Local, now, "");
        add(&mut answer.fields, "Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH, CONNECT");
        return answer;
    }
    // Where nothing is opened there is nothing to trust.
    let opens = proxy.interception.as_ref().filter(|_| entrance.listener.intercept);
    let authorities = opens.map(|interception| &interception.authorities);
    let signing = authorities.map(|authorities| authorities.signing(now).certificate());
    let page = |kind, body: Bytes| own.page(StatusCode::OK, Outcome::Local, now, kind, body);
    let path = path.split('?').next().unwrap_or(path);
    let found = match (&request.method, path, signing) {
        (&Method::GET | &Method::HEAD, "/", _) => {
            let certificates = authorities.map(|authorities| authorities.trusted().collect::<Vec<_>>());
            let named = request.fields.first("host").is_some_and(|host| host == OWN_NAME.as_bytes());
            let came = if named { Came::Through } else { Came::Straight };
            let html = landing(
                &base(entrance),
                entrance.own_address(),
                came,
                certificates.as_deref().unwrap_or_default(),
            );
            Some(page("text/html; charset=utf-8", html.into()))
        }
        (&Method::GET | &Method::HEAD, "/ca.pem", Some(_)) => {
            let bundle = authorities.map(|authorities| authorities.bundle_pem()).unwrap_or_default();
            Some(page("application/x-pem-file", bundle.into()))
        }
        (&Method::GET | &Method::HEAD, "/ca.der" | "/ca.crt", Some(ca)) => {
            Some(page("application/x-x509-ca-cert", ca.der().to_vec().into()))
        }
        (&Method::GET | &Method::HEAD, "/trust.js", Some(_)) => {
            Some(page("text/javascript; charset=utf-8", TRUST_SCRIPT.into()))
        }
        _ => None,
    };
    let mut answer = found.unwrap_or_else(|| {
        let base = base(entrance);
        let text = format!(
            "larder: this is a proxy, and there is nothing at {path} of its own. Ask it for a whole URL (curl -x {base} URL), or see {base}/."
        );
        own.text(StatusCode::NOT_FOUND, Outcome::Local, now, &text)
    });
    add(&mut answer.fields, "Content-Security-Policy", POLICY);
    answer
}

/// How the reader of a page got to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// By the proxy's own name, which only a client of the proxy can reach.
    Through,
    /// By its address.
    Straight,
}

/// How the proxy is written as a proxy.
fn base(entrance: &Entrance) -> String {
    let scheme = if entrance.listener.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}", entrance.own_address())
}

/// The page at `/`.
fn landing(proxy: &str, address: SocketAddr, came: Came, authorities: &[&CaCertificate]) -> String {
    let came = match came {
        Came::Through => "<p class=\"yes\">This browser is coming through the proxy.</p>".to_owned(),
        Came::Straight => format!(
            "<p>This browser came here directly. Whether it uses the proxy shows at <a href=\"http://{OWN_NAME}/\">http://{OWN_NAME}/</a>.</p>"
        ),
    };
    let trust = if authorities.is_empty() { String::new() } else { trust(authorities) };
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>larder, a caching proxy</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }}
pre {{ padding: .75rem 1rem; overflow-x: auto; border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: .4rem; }}
code {{ overflow-wrap: anywhere; }}
.yes::before {{ content: "\2713\00a0"; }}
[data-trust] .untrusted, :root:not([data-trust]) .trusted {{ display: none; }}
</style>
</head>
<body>
<h1>This is larder, a caching HTTP proxy</h1>
<p>It is well. It is a proxy, not a web site: point a client at it, and what the client fetches is kept and served from disk the next time.</p>
{came}
<h2>Most command-line tools</h2>
<pre>export http_proxy={proxy} https_proxy={proxy}
export HTTP_PROXY={proxy} HTTPS_PROXY={proxy}</pre>
<h2>curl</h2>
<pre>curl -x {proxy} http://example.com/</pre>
<h2>apt</h2>
<pre>echo 'Acquire::http::Proxy "{proxy}";' | sudo tee /etc/apt/apt.conf.d/30larder</pre>
<h2>Browsers</h2>
<p>In the network settings choose a manual proxy: host <code>{host}</code>, port <code>{port}</code>, for HTTP and HTTPS.</p>
{trust}
<p>larder {version}</p>
</body>
</html>
"#,
        host = address.ip(),
        port = address.port(),
        version = env!("CARGO_PKG_VERSION"),
    )
}

/// What is to be known of the CA, and how each kind of client is told of it.
fn trust(authorities: &[&CaCertificate]) -> String {
    let certificates: String = authorities
        .iter()
        .map(|ca| {
            format!(
                "<li>{}, SHA-256 fingerprint <code>{}</code></li>\n",
                escaped(ca.common_name()),
                ca.fingerprint()
            )
        })
        .collect();
    let name = authorities.first().map(|ca| trusted_as(ca)).unwrap_or_default();
    // The reader has the file, and not the proxy's directory.
    let at_hand = TRUST_WAYS.iter().filter(|(_, lines)| !lines.iter().any(|line| line.contains("{dir}")));
    let ways: String = at_hand
        .map(|(who, lines)| {
            let lines = lines.join("\n").replace("{ca}", "ca.pem").replace("{name}", &name);
            format!("<h3>{}</h3>\n<pre>{}</pre>\n", escaped(who), escaped(&lines))
        })
        .collect();
    let variables: String = TRUST_VARIABLES
        .iter()
        .map(|(who, variable)| format!("export {variable}=$PWD/roots.pem   # {}\n", escaped(who)))
        .collect();
    format!(
        r#"<h2>HTTPS</h2>
<script src="https://{OWN_NAME}/trust.js"></script>
<p class="trusted yes">This browser trusts the certificates that this proxy makes.</p>
<p class="untrusted">This browser does not trust the certificates that this proxy makes, or has not come through it.</p>
<p>This proxy opens HTTPS connections, so that what they carry can be cached. Clients must trust its CA for that:</p>
<ul>
{certificates}</ul>
<p>Compare the fingerprint with what your administrator says (<code>larder ca show</code>), then download <a href="/ca.pem">ca.pem</a> (PEM) or <a href="/ca.crt">ca.crt</a> (DER).</p>
{ways}<h3>Tools with roots of their own</h3>
<p>A variable names a file that replaces all roots; so put both into one (the first path is Debian's):</p>
<pre>cat /etc/ssl/certs/ca-certificates.crt ca.pem &gt; roots.pem
{variables}</pre>
<p><code>larder run -- COMMAND</code> sets all of these for one command.</p>"#
    )
}

/// Text within HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
