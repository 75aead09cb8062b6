//! What is wrong with the configuration, where, and how a person is told.
//!
//! A fault points at what was typed: a place in the file, a flag or a variable. All faults of a run are collected
//! and shown together, in the order of the file; a warning is shown likewise and stops nothing.

use std::fmt;
use std::ops::Range;

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A stretch of the file.
    File(Position),
    /// A variable; the name is the flag's, without dashes.
    Variable(&'static str),
    /// A flag, without dashes.
    Flag(&'static str),
    /// Nothing was said.
    Default,
}

/// A stretch of one line. Line and column count from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// In characters, at least 1; a stretch over several lines ends with its first.
    pub(crate) length: usize,
}

impl Position {
    /// The place of a byte range in a text.
    pub(crate) fn of(source: &str, span: Range<usize>) -> Self {
        let before = source.get(..span.start).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let marked = source.get(span).unwrap_or("").lines().next().unwrap_or("").trim_end();
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or("").chars().count() + 1,
            length: marked.chars().count().max(1),
        }
    }
}

/// The variable that goes with a flag: `LARDER_CACHE_DIR` with `--cache-dir`.
pub(crate) fn variable(flag: &str) -> String {
    format!("LARDER_{}", flag.to_ascii_uppercase().replace('-', "_"))
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The program does not start.
    Error,
    /// The program starts, and says so.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    pub(crate) severity: Severity,
    pub(crate) text: String,
}

/// All that is wrong with a configuration, beside the file's text so that lines can be shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    file: String,
    source: String,
    faults: Vec<Fault>,
}

impl Report {
    /// For a file of this name and text.
    pub(crate) fn about(file: impl Into<String>, source: impl Into<String>) -> Self {
        Self { file: file.into(), source: source.into(), faults: Vec::new() }
    }

    /// The file's text.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Something that must be put right.
    pub(crate) fn error(&mut self, place: Place, text: impl Into<String>) {
        self.faults.push(Fault { place, severity: Severity::Error, text: text.into() });
    }

    /// Something to know.
    pub(crate) fn warn(&mut self, place: Place, text: impl Into<String>) {
        self.faults.push(Fault { place, severity: Severity::Warning, text: text.into() });
    }

    /// Adds faults that were collected elsewhere.
    pub(crate) fn extend(&mut self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.extend(faults);
    }

    /// How many errors there are; warnings do not count.
    pub(crate) fn errors(&self) -> usize {
        self.faults.iter().filter(|fault| fault.severity == Severity::Error).count()
    }

    /// How a place is called in a sentence about something else.
    pub(crate) fn name_of(&self, place: Place) -> String {
        match place {
            Place::File(position) => format!("line {}", position.line),
            Place::Variable(flag) => variable(flag),
            Place::Flag(flag) => format!("--{flag}"),
            Place::Default => "the default".to_owned(),
        }
    }

    fn sorted(&self) -> Vec<&Fault> {
        let mut faults: Vec<_> = self.faults.iter().collect();
        faults.sort_by_key(|fault| fault.place);
        faults
    }

    fn line(&self, number: usize) -> &str {
        self.source.lines().nth(number.saturating_sub(1)).unwrap_or("")
    }
}

impl fmt::Display for Report {
    /// A first line as compilers write it, `FILE:LINE:COLUMN: TEXT`, which editors can follow; then the line itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in self.sorted() {
            let kind = if fault.severity == Severity::Warning { "warning: " } else { "" };
            match fault.place {
                Place::File(Position { line, column, length }) => {
                    writeln!(f, "{}:{line}:{column}: {kind}{}", self.file, fault.text)?;
                    let text = self.line(line);
                    // The log that this may end up in is no place for a secret.
                    let secret = text.trim_start().starts_with("token");
                    if !text.trim().is_empty() && !secret {
                        let number = line.to_string();
                        // Tabs stay tabs, so that the mark stands under what it means.
                        let indent: String = text
                            .chars()
                            .take(column - 1)
                            .map(|c| if c == '\t' { '\t' } else { ' ' })
                            .collect();
                        let margin = " ".repeat(number.len());
                        writeln!(f, "  {number} | {}", text.trim_end())?;
                        writeln!(f, "  {margin} | {indent}{}", "^".repeat(length))?;
                    }
                }
                Place::Default => writeln!(f, "{kind}{}", fault.text)?,
                place => writeln!(f, "{}: {kind}{}", self.name_of(place), fault.text)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let source = "a = 1\nü = \"x\"\n";
        let at = source.find('"').unwrap();
        assert_eq!(Position::of(source, at..at + 3), Position { line: 2, column: 5, length: 3 });
        assert_eq!(Position::of(source, 0..1), Position { line: 1, column: 1, length: 1 });
        assert_eq!(Position::of(source, 900..901), Position { line: 3, column: 1, length: 1 });
    }

    #[test]
    fn faults_come_in_the_order_of_the_file_then_variables_then_flags() {
        let mut report = Report::about("f.toml", "a = 1\n\tb = 2\n");
        report.error(Place::Flag("disk"), "wrong flag");
        report.error(Place::Variable("cache-dir"), "wrong variable");
        report.error(Place::File(Position { line: 2, column: 2, length: 1 }), "wrong b");
        report.warn(Place::File(Position { line: 1, column: 5, length: 1 }), "odd a");
        assert_eq!(report.errors(), 3);
        assert_eq!(
            report.to_string(),
            "f.toml:1:5: warning: odd a\n  1 | a = 1\n    |     ^\n\
             f.toml:2:2: wrong b\n  2 | \tb = 2\n    | \t^\n\
             LARDER_CACHE_DIR: wrong variable\n--disk: wrong flag\n"
        );
    }
}
