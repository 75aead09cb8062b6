//! How each system and tool comes to trust a CA: text for people.

use std::path::Path;

/// Who, and what to do; `{ca}` stands for the certificate's file, `{dir}` for its directory, `{name}` for what tells it from others.
const WAYS: [(&str, &[&str]); 9] = [
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

/// Variables that replace the roots a tool trusts: these need the system's roots too.
const VARIABLES: [(&str, &str); 6] = [
    ("curl", "CURL_CA_BUNDLE"),
    ("git", "GIT_SSL_CAINFO"),
    ("cargo", "CARGO_HTTP_CAINFO"),
    ("Python: pip", "PIP_CERT"),
    ("Python: requests", "REQUESTS_CA_BUNDLE"),
    ("OpenSSL, Go, uv, Ruby", "SSL_CERT_FILE"),
];

/// All ways, for this file.
pub(super) fn text(file: &Path, name: &str) -> String {
    let shown = quoted(file);
    let dir = file.parent().map(quoted).unwrap_or_default();
    let mut text = "How it comes to be trusted\n".to_owned();
    for (who, lines) in WAYS {
        text.push_str(&format!("\n  {who}\n"));
        for line in lines {
            text.push_str(&format!(
                "    {}\n",
                line.replace("{dir}", &dir).replace("{ca}", &shown).replace("{name}", name)
            ));
        }
    }
    text.push_str(&format!(
        "\n  Tools that use the system's store need nothing more. For one that has roots of its own, or where the store is not to be\n  \
           changed, a variable names a file that replaces all roots; so put both into one (the first path is Debian's):\n    \
             cat /etc/ssl/certs/ca-certificates.crt {shown} > roots.pem\n"
    ));
    for (who, variable) in VARIABLES {
        text.push_str(&format!("    {:<44}{who}\n", format!("export {variable}=$PWD/roots.pem")));
    }
    text
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |char: char| char.is_ascii_alphanumeric() || "/._-+".contains(char);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_to_a_shell() {
        assert_eq!(quoted(Path::new("/etc/larder/ca/ca.pem")), "/etc/larder/ca/ca.pem");
        assert_eq!(
            quoted(Path::new("/Library/Application Support/it's")),
            r"'/Library/Application Support/it'\''s'"
        );
    }
}
