//! The command: its start, the signals it is passed, its exit code.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};

/// Signals that are passed on.
const PASSED: [i32; 6] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2];

/// The command could not be started, or waited for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("cannot run {}: {source}", program.display())]
    Start { program: OsString, source: io::Error },
    #[error("cannot wait for the command: {0}")]
    Wait(#[source] io::Error),
}

impl Failed {
    /// As shells have it: 127 where there is no such command, 126 where it cannot be run.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Start { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Self::Start { .. } => 126,
            Self::Wait(_) => 1,
        }
    }
}

/// Runs the command to its end, and gives the exit code that a shell would.
pub(super) fn run(
    program: &OsStr,
    arguments: &[OsString],
    variables: &[(&'static str, OsString)],
) -> Result<u8, Failed> {
    // Before the command starts, so that no signal and no end of it is missed.
    let watched = PASSED.iter().copied().chain([SIGCHLD]);
    let mut signals = SignalsInfo::<WithOrigin>::new(watched).map_err(Failed::Wait)?;
    let variables = variables.iter().map(|(name, value)| (name, value));
    let mut child = Command::new(program)
        .args(arguments)
        .envs(variables)
        .spawn()
        .map_err(|source| Failed::Start { program: program.to_owned(), source })?;
    loop {
        if let Some(status) = child.try_wait().map_err(Failed::Wait)? {
            return Ok(code_of(status));
        }
        for origin in signals.wait() {
            if origin.signal != SIGCHLD && !is_of_terminal(&origin) {
                pass(&child, origin.signal);
            }
        }
    }
}

/// What the terminal sends goes to the whole group of processes in the foreground: the command has it already.
fn is_of_terminal(origin: &Origin) -> bool {
    !matches!(origin.cause, Cause::Sent(_))
}

/// The command has not been waited for yet, so that its number is its own.
fn pass(child: &Child, signal: i32) {
    let Some(signal) = Signal::from_named_raw(signal) else { return };
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended just now.
        let _ = kill_process(pid, signal);
    }
}

fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code & 0xff).ok()).unwrap_or(1)
}
