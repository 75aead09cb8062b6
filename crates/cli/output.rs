//! Standard output: the only module that writes to it.
//!
//! A reader that leaves early (`larder stats | head -1`) is not an error.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;

use crate::failure::Failure;

/// Writes a text whole.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// Writes bytes that are no text.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    done(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Writes a text in place of the previous one, where standard output is a terminal.
pub(crate) fn redraw(text: &str) -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        // Cursor home, then erase to the end: less flicker than erasing first.
        let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
        print(&format!("\x1b[H{lines}\x1b[J"))
    } else {
        print(&format!("{text}\n"))
    }
}

/// Makes room for [`redraw`].
pub(crate) fn clear() -> Result<(), Failure> {
    if io::stdout().is_terminal() { print("\x1b[2J") } else { Ok(()) }
}

/// Standard output for many lines: gathered, until it is flushed.
pub(crate) struct Lines(io::BufWriter<io::StdoutLock<'static>>);

impl Lines {
    /// Takes standard output for itself.
    pub(crate) fn new() -> Self {
        Self(io::BufWriter::new(io::stdout().lock()))
    }

    /// Writes a text.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), Failure> {
        done(self.0.write_all(text.as_bytes()))
    }

    /// Shows what was written.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        done(self.0.flush())
    }
}

/// A broken pipe becomes [`Failure::Unread`].
pub(crate) fn done(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::Unread),
        other => other.context("cannot write to standard output").map_err(Failure::Failed),
    }
}

/// Tells something beside the result, on standard error. Nobody there to read it is no reason to fail.
pub(crate) fn note(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Standard output for bytes of whoever writes them; how that ended is for them to say.
pub(crate) struct Out(io::StdoutLock<'static>);

impl Out {
    /// Takes standard output for itself.
    pub(crate) fn new() -> Self {
        Self(io::stdout().lock())
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
