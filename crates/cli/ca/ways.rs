//! How each system and tool comes to trust a CA, as a terminal shows it.

use std::path::Path;

use larder_server::tls::{TRUST_VARIABLES, TRUST_WAYS};

/// All ways, for this file.
pub(super) fn text(file: &Path, name: &str) -> String {
    let shown = quoted(file);
    let dir = file.parent().map(quoted).unwrap_or_default();
    let mut text = "How it comes to be trusted\n".to_owned();
    for (who, lines) in TRUST_WAYS {
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
    for (who, variable) in TRUST_VARIABLES {
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
