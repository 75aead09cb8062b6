//! How a command can fail; `main` alone maps these to exit codes.

use crate::settings::Report;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration is wrong: exit code 78, as sysexits has it (`EX_CONFIG`).
    Configuration(Report),
    /// The command line makes no sense together: exit code 2. Single wrong flags are clap's affair.
    Usage(String),
    /// It was tried and failed: exit code 1.
    Failed(anyhow::Error),
    /// Nothing to add to what was already shown: exit code 1.
    Shown,
    /// A command was run for the user, and ended with this exit code.
    Command(u8),
    /// Whoever read the output has gone, and wants no more: not a failure to speak of.
    Unread,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}
