//! Golden files: what a person is shown, kept in `fixtures/config/` and reviewed as text.
//!
//! A test that differs fails; with `LARDER_BLESS` set it writes the file anew instead, and the diff is reviewed.

use std::path::PathBuf;

/// The directory of the golden files and of their inputs.
pub(crate) fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/config")
}

/// Compares a text with a golden file.
pub(crate) fn compare(name: &str, text: &str) {
    let path = directory().join(name);
    // Trailing blanks are an accident of layout, and editors remove them.
    let text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    if std::env::var_os("LARDER_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{name} differs from what is shown now (LARDER_BLESS=1 writes it anew):\n{text}");
}
