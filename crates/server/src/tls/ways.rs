//! How each system and tool comes to trust a CA: text for people, in a terminal and on the landing page.

use super::certificate::CaCertificate;

/// One system or tool, and what to do there; `{ca}` stands for the certificate's file, `{dir}` for its directory, `{name}` for what tells it from others.
pub const TRUST_WAYS: [(&str, &[&str]); 9] = [
    ("Debian, Ubuntu, Alpine, Fedora, RHEL, openSUSE, Arch", &["sudo larder ca trust --ca-dir {dir}"]),
    (
        "or by hand, Debian-like",
        &["sudo cp {ca} /usr/local/share/ca-certificates/{name}.crt && sudo update-ca-certificates"],
    ),
    (
        "or by hand, Fedora-like",
        &["sudo cp {ca} /etc/pki/ca-trust/source/anchors/{name}.pem && sudo update-ca-trust"],
    ),
    ("macOS", &["sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {ca}"]),
    ("Windows, as administrator, with a copy of the file", &["certutil -addstore -f Root ca.pem"]),
    (
        "Chromium and Firefox on Linux (NSS)",
        &[
            "larder ca trust, as the user whose browser it is; needs certutil (libnss3-tools, nss-tools)",
            "Firefox anywhere: Settings, Certificates, View Certificates, Authorities, Import",
        ],
    ),
    ("Java", &["keytool -importcert -cacerts -storepass changeit -noprompt -alias {name} -file {ca}"]),
    ("Node: npm, pnpm, yarn", &["export NODE_EXTRA_CA_CERTS={ca}"]),
    (
        "Docker",
        &[
            "the daemon: the system's store, then restart it; for one registry /etc/docker/certs.d/HOST/ca.crt",
            "in an image of Debian's kind: COPY ca.pem /usr/local/share/ca-certificates/larder.crt",
            "                              RUN update-ca-certificates",
        ],
    ),
];

/// Tools, and the variables that replace the roots that they trust: these need the system's roots too.
pub const TRUST_VARIABLES: [(&str, &str); 6] = [
    ("curl", "CURL_CA_BUNDLE"),
    ("git", "GIT_SSL_CAINFO"),
    ("cargo", "CARGO_HTTP_CAINFO"),
    ("Python: pip", "PIP_CERT"),
    ("Python: requests", "REQUESTS_CA_BUNDLE"),
    ("OpenSSL, Go, uv, Ruby", "SSL_CERT_FILE"),
];

/// What tells a CA from others where it is trusted: `larder-5f3a9c1d02b4`.
#[must_use]
pub fn trusted_as(certificate: &CaCertificate) -> String {
    let digits = certificate.fingerprint().replace(':', "").to_ascii_lowercase();
    format!("larder-{}", digits.get(..12).unwrap_or(&digits))
}
