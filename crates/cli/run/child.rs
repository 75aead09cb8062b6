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

use crate::sys;

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

/// The signals of this process, from the command's start to our own end.
pub(super) struct Signals(SignalsInfo<WithOrigin>);

impl Signals {
    /// To be called before the command starts, so that no signal and no end of it is missed. What this process was told to
    /// ignore, as by `nohup`, it goes on ignoring, and so does the command.
    pub(super) fn watch() -> io::Result<Self> {
        let watched = PASSED.into_iter().filter(|signal| !sys::is_ignored(*signal)).chain([SIGCHLD]);
        SignalsInfo::new(watched).map(Self)
    }

    /// Whether one has come that asks us to end, now that there is nobody to pass it on to.
    pub(super) fn have_come(&mut self) -> bool {
        // All are taken, so that none counts twice.
        self.0.pending().filter(|origin| origin.signal != SIGCHLD).count() > 0
    }
}

/// How the command ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended(ExitStatus);

impl Ended {
    /// The exit code that a shell would give.
    pub(super) fn exit_code(self) -> u8 {
        let code = self.0.code().or_else(|| self.0.signal().map(|signal| 128 + signal));
        code.and_then(|code| u8::try_from(code & 0xff).ok()).unwrap_or(1)
    }

    /// Whether an interrupt ended it.
    pub(super) fn interrupted(self) -> bool {
        self.0.signal() == Some(SIGINT)
    }
}

/// Runs the command to its end.
pub(super) fn run(
    program: &OsStr,
    arguments: &[OsString],
    variables: &[(&'static str, OsString)],
    signals: &mut Signals,
) -> Result<Ended, Failed> {
    let leader = sys::leads_session();
    let variables = variables.iter().map(|(name, value)| (name, value));
    let mut child = Command::new(program)
        .args(arguments)
        .envs(variables)
        .spawn()
        .map_err(|source| Failed::Start { program: program.to_owned(), source })?;
    loop {
        if let Some(status) = child.try_wait().map_err(Failed::Wait)? {
            // What came until now was for the command, too.
            signals.have_come();
            return Ok(Ended(status));
        }
        for origin in signals.0.wait() {
            if origin.signal != SIGCHLD && is_to_us_alone(&origin, leader) {
                pass(&child, origin.signal);
            }
        }
    }
}

/// What the terminal sends goes to the whole group of processes in the foreground: the command has it already. Only that
/// the terminal is gone is told to the leader of the session alone.
fn is_to_us_alone(origin: &Origin, leader: bool) -> bool {
    matches!(origin.cause, Cause::Sent(_)) || leader && origin.signal == SIGHUP
}

/// The command has not been waited for yet, so that its number is its own.
fn pass(child: &Child, signal: i32) {
    let Some(signal) = Signal::from_named_raw(signal) else { return };
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended just now.
        let _ = kill_process(pid, signal);
    }
}
