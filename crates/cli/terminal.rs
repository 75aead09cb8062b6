//! What a terminal needs: its width, and nothing but text.

use std::io::{self, IsTerminal};

/// Columns of the terminal that standard output is, if it is one.
pub(crate) fn width() -> Option<usize> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let columns = rustix::termios::tcgetwinsize(&out).map_or(0, |size| size.ws_col);
    // One that does not know its width is not told to be narrow.
    (columns > 0).then_some(usize::from(columns))
}

/// Whether standard error is a terminal: the place for what is overwritten.
pub(crate) fn shows_progress() -> bool {
    io::stderr().is_terminal()
}

/// Runs of a part with holes that are shown.
const RUNS: usize = 3;

/// Which bytes a part holds: as Content-Range has it, or run by run where there are holes.
pub(crate) fn held(part: &str, runs: &[(u64, u64)]) -> String {
    if runs.len() < 2 {
        return part.to_owned();
    }
    let shown: Vec<_> = runs.iter().take(RUNS).map(|(first, last)| format!("{first}-{last}")).collect();
    let more = match runs.len().saturating_sub(RUNS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let complete = part.rsplit_once('/').map_or("*", |(_, complete)| complete);
    let complete = if complete == "*" { String::new() } else { format!(" of {complete}") };
    format!("bytes {}{more}{complete}", shown.join(", "))
}

/// A text from elsewhere, of visible ASCII and blanks alone: control characters, and all that could pass for other
/// characters, stand as `\x1b` or `\u{202e}`.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            ' '..='~' => shown.push(char),
            '\0'..='\u{7f}' => shown.push_str(&format!("\\x{:02x}", u32::from(char))),
            _ => shown.extend(char.escape_unicode()),
        }
    }
    shown
}

/// A value as one line of JSON in visible ASCII alone.
pub(crate) fn ascii_json(value: &impl serde::Serialize) -> String {
    // Only maps with keys that are no text could fail, and there are none.
    let text = serde_json::to_string(value).unwrap_or_default();
    let mut line = String::with_capacity(text.len() + 1);
    for char in text.chars() {
        match char {
            ' '..='~' => line.push(char),
            // Within a string, as all that is not ASCII.
            _ => {
                let units = char
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}"))
                    .collect::<String>();
                line.push_str(&units);
            }
        }
    }
    line.push('\n');
    line
}

/// A line of visible ASCII, cut where it does not fit into a width.
pub(crate) fn fitted(line: &str, width: Option<usize>) -> &str {
    width.and_then(|width| line.get(..width)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_visible_ascii_is_shown() {
        assert_eq!(escaped("a b~"), "a b~");
        assert_eq!(escaped("\x1b[2J\r\n\x7f"), "\\x1b[2J\\x0d\\x0a\\x7f");
        assert_eq!(escaped("\u{9b}x\u{202e}\u{fffd}"), "\\u{9b}x\\u{202e}\\u{fffd}");
    }

    #[test]
    fn json_is_ascii_and_reads_back() {
        let text = "a\x1b\x7f\u{9b}\u{202e}\u{1f600}";
        let line = ascii_json(&text);
        assert_eq!(line, "\"a\\u001b\\u007f\\u009b\\u202e\\ud83d\\ude00\"\n");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }

    #[test]
    fn a_line_is_cut_to_a_known_width() {
        assert_eq!(fitted("abcdef", Some(3)), "abc");
        assert_eq!(fitted("abc", Some(3)), "abc");
        assert_eq!(fitted("abcdef", None), "abcdef");
    }
}
