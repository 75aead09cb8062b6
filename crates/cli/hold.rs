//! `larder hold`: owns the store for runs, and leaves when there are none.
//!
//! `larder run` starts it; it is not for people. It listens on the control socket alone, in a session of its own, so that
//! nothing that happens to a run's terminal reaches it. One word on standard output says how the start went.

use std::time::Duration;

use larder_server::config::{AccessLogTarget, Upstream};
use larder_storage::OpenError;

use crate::args::HoldArgs;
use crate::failure::Failure;
use crate::run::absolute;
use crate::serve::{self, Until};
use crate::settings::Settings;
use crate::{door, output, sys};

/// It owns the store, and can be asked.
pub(crate) const READY: &str = "ready";

/// Another process owns the store.
pub(crate) const BUSY: &str = "busy";

/// Told to end, it gives requests this long at most: the next run waits for its place.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs until nobody has leased a listener for a while, or until a signal ends it.
pub(crate) fn run(args: HoldArgs) -> Result<(), Failure> {
    sys::close_inherited();
    // It fails where this process leads a group already, as in a debugger; then it leads that.
    let _ = rustix::process::setsid();
    let mut settings = door::settings(args.store)?;
    // What is configured for `serve` is not for here: runs have listeners of their own, and say themselves where their
    // requests go.
    settings.config.listeners.clear();
    settings.config.upstream = Upstream::default();
    settings.config.offline = false;
    settings.config.admin = None;
    settings.config.access_log.take_if(|log| log.target == AccessLogTarget::Stdout);
    let drain = &mut settings.config.limits.drain_timeout;
    *drain = DRAIN.min(*drain);
    leave_directory(&mut settings);
    let ready = || output::print(&format!("{READY}\n"));
    match serve::serve(&settings, Until::Unused(args.linger.duration()), ready) {
        Err(Failure::Failed(error)) if matches!(error.downcast_ref(), Some(OpenError::Locked { .. })) => {
            output::print(&format!("{BUSY}\n"))
        }
        other => other,
    }
}

/// Where the first run was started must stay free to be removed or unmounted. Paths go on meaning what they meant.
fn leave_directory(settings: &mut Settings) {
    let config = &mut settings.config;
    let log = config.access_log.as_mut().and_then(|log| match &mut log.target {
        AccessLogTarget::File(path) => Some(path),
        AccessLogTarget::Stdout => None,
    });
    let paths = [
        Some(&mut settings.store.options.dir),
        settings.ca_dir.as_mut(),
        config.control_socket.as_mut(),
        log,
    ];
    for path in paths.into_iter().flatten() {
        *path = absolute(path);
    }
    // Where that fails it stays where it is.
    let _ = std::env::set_current_dir("/");
}
