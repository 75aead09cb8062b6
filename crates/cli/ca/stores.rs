//! The stores of trusted certificates on this machine: the system's, and the databases of this user's browsers (NSS).
//!
//! The programs that keep them are run by one function, and all paths lie below one prefix, so that tests have a machine of
//! their own.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::settings::Machine;

/// A system's store: files in a directory, and a program that makes the system's lists from them.
#[derive(Debug)]
pub(super) struct SystemStore {
    /// Below the prefix.
    pub(super) dir: &'static str,
    pub(super) suffix: &'static str,
    pub(super) program: &'static str,
    pub(super) arguments: &'static [&'static str],
}

/// The first one whose directory is there is the system's.
const SYSTEM_STORES: [SystemStore; 4] = [
    // Debian, Ubuntu, Alpine. Without `--fresh` what was removed stays in some of the lists.
    SystemStore {
        dir: "usr/local/share/ca-certificates",
        suffix: "crt",
        program: "update-ca-certificates",
        arguments: &["--fresh"],
    },
    // Fedora, RHEL, Amazon.
    SystemStore {
        dir: "etc/pki/ca-trust/source/anchors",
        suffix: "pem",
        program: "update-ca-trust",
        arguments: &["extract"],
    },
    // openSUSE.
    SystemStore {
        dir: "etc/pki/trust/anchors",
        suffix: "pem",
        program: "update-ca-certificates",
        arguments: &[],
    },
    // Arch.
    SystemStore {
        dir: "etc/ca-certificates/trust-source/anchors",
        suffix: "crt",
        program: "update-ca-trust",
        arguments: &[],
    },
];

/// Where browsers keep profiles, below the home directory.
const PROFILES: [&str; 3] =
    [".mozilla/firefox", "snap/firefox/common/.mozilla/firefox", ".config/mozilla/firefox"];

/// A program to be run: its name, its arguments, what it reads.
pub(super) struct Call {
    pub(super) program: &'static str,
    pub(super) arguments: Vec<OsString>,
    pub(super) input: String,
}

impl Call {
    pub(super) fn new<A: Into<OsString>>(
        program: &'static str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self { program, arguments: arguments.into_iter().map(Into::into).collect(), input: String::new() }
    }

    /// As a person would type it.
    pub(super) fn line(&self) -> String {
        self.arguments.iter().fold(self.program.to_owned(), |line, argument| {
            let argument = argument.to_string_lossy();
            if argument.contains(' ') { format!("{line} '{argument}'") } else { format!("{line} {argument}") }
        })
    }

    fn run(&self) -> io::Result<Output> {
        let mut child = Command::new(self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // What it reads is shorter than a pipe is long, and it may choose not to read it.
        if let Some(mut input) = child.stdin.take() {
            let _ = input.write_all(self.input.as_bytes());
        }
        child.wait_with_output()
    }
}

/// Runs a program to its end.
type Runner = Box<dyn FnMut(&Call) -> io::Result<Output>>;

/// The machine whose stores these are.
pub(super) struct System {
    pub(super) prefix: PathBuf,
    pub(super) home: Option<PathBuf>,
    pub(super) root: bool,
    pub(super) dry_run: bool,
    pub(super) run: Runner,
    /// What was done, or would be, line by line.
    pub(super) said: String,
}

impl System {
    /// The one this process runs on.
    pub(super) fn this(dry_run: bool) -> Self {
        let Machine { home, root, .. } = Machine::this();
        Self { prefix: "/".into(), home, root, dry_run, run: Box::new(Call::run), said: String::new() }
    }

    pub(super) fn say(&mut self, line: &str) {
        self.said.push_str(line);
        self.said.push('\n');
    }

    /// The system's store and its directory, where it is one that is known here.
    pub(super) fn store(&self) -> Option<(&'static SystemStore, PathBuf)> {
        SYSTEM_STORES.iter().map(|store| (store, self.prefix.join(store.dir))).find(|(_, dir)| dir.is_dir())
    }

    /// The NSS databases in the home directory.
    pub(super) fn databases(&self) -> Vec<PathBuf> {
        let Some(home) = &self.home else { return Vec::new() };
        let profiles = PROFILES.iter().filter_map(|dir| std::fs::read_dir(home.join(dir)).ok());
        let mut found: Vec<_> = profiles.flatten().flatten().map(|entry| entry.path()).collect();
        found.push(home.join(".pki/nssdb"));
        found.retain(|dir| dir.join("cert9.db").is_file());
        found.sort();
        found
    }

    /// Runs a program, or says that it would be.
    ///
    /// # Errors
    ///
    /// It is not there, or it failed.
    pub(super) fn change(&mut self, call: &Call) -> anyhow::Result<()> {
        if !self.dry_run {
            succeeded(call, (self.run)(call))?;
        }
        let line = call.line();
        self.say(&if self.dry_run { format!("would run: {line}") } else { format!("ran: {line}") });
        Ok(())
    }

    /// Writes a file that everybody may read, or says that it would be.
    pub(super) fn write(&mut self, path: &Path, text: &str) -> anyhow::Result<()> {
        if !self.dry_run {
            std::fs::write(path, text)
                .map_err(|error| anyhow::anyhow!("cannot write {}: {error}", path.display()))?;
        }
        self.say(&format!("{} {}", if self.dry_run { "would write" } else { "wrote" }, path.display()));
        Ok(())
    }

    /// Removes a file, or says that it would be.
    pub(super) fn remove(&mut self, path: &Path) -> anyhow::Result<()> {
        if !self.dry_run {
            std::fs::remove_file(path)
                .map_err(|error| anyhow::anyhow!("cannot remove {}: {error}", path.display()))?;
        }
        self.say(&format!("{} {}", if self.dry_run { "would remove" } else { "removed" }, path.display()));
        Ok(())
    }
}

/// The output of a program that did what it was asked to.
pub(super) fn succeeded(call: &Call, output: io::Result<Output>) -> anyhow::Result<Output> {
    let output = output.map_err(|error| anyhow::anyhow!("cannot run {}: {error}", call.program))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(anyhow::anyhow!("`{}` failed: {}", call.line(), crate::terminal::escaped(said.trim())))
}
