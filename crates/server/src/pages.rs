//! The proxy's own pages: what this is, and how to point a client at it.

use std::net::SocketAddr;

/// The page at `/` of the proxy's own address.
pub(crate) fn landing(address: SocketAddr) -> String {
    let proxy = format!("http://{address}");
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
</style>
</head>
<body>
<h1>This is larder, a caching HTTP proxy</h1>
<p>It is well. It is a proxy, not a web site: point a client at it, and what the client fetches is kept and served from disk the next time.</p>
<h2>Most command-line tools</h2>
<pre>export http_proxy={proxy} https_proxy={proxy}
export HTTP_PROXY={proxy} HTTPS_PROXY={proxy}</pre>
<h2>curl</h2>
<pre>curl -x {proxy} http://example.com/</pre>
<h2>apt</h2>
<pre>echo 'Acquire::http::Proxy "{proxy}";' | sudo tee /etc/apt/apt.conf.d/30larder</pre>
<h2>Browsers</h2>
<p>In the network settings choose a manual proxy: host <code>{host}</code>, port <code>{port}</code>, for HTTP and HTTPS.</p>
<p>larder {version}</p>
</body>
</html>
"#,
        host = address.ip(),
        port = address.port(),
        version = env!("CARGO_PKG_VERSION"),
    )
}
