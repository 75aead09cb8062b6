//! Lines that could not be read: how many, and the first few.

use std::fmt;

/// How many are shown.
const EXAMPLES_MAX: usize = 5;

/// How much of one is shown.
const EXCERPT_BYTES: usize = 100;

/// What could not be read.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Skipped {
    /// How many lines.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<Example>,
}

/// One line that could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Example {
    /// Its number in the file, counted from one.
    pub line: u64,
    /// What is wrong with it.
    pub why: &'static str,
    /// Its beginning, in printable ASCII.
    pub excerpt: String,
}

impl Skipped {
    pub(super) fn add(&mut self, line: u64, why: &'static str, bytes: &[u8]) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            let beginning = bytes.get(..EXCERPT_BYTES).unwrap_or(bytes);
            let mut excerpt = beginning.escape_ascii().to_string();
            if bytes.len() > EXCERPT_BYTES {
                excerpt.push_str("...");
            }
            self.examples.push(Example { line, why, excerpt });
        }
    }
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.why, self.excerpt)
    }
}
