//! What the standard library has no safe call for. The only module of this program that may do so.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Where a process finds its own descriptors, each by its number.
const DESCRIPTORS: &str = "/dev/fd";

/// Closes what this process has inherited besides the standard streams: whoever waits for the end of a pipe must not wait for
/// a process that was started on the side. To be called before anything is opened.
#[allow(
    unsafe_code,
    reason = "nobody owns an inherited descriptor, and closing one that nobody owns has no safe call"
)]
pub(crate) fn close_inherited() {
    let Ok(entries) = fs::read_dir(DESCRIPTORS) else { return };
    let open: Vec<RawFd> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // The directory that was read is closed by now.
        if rustix::fs::lstat(format!("{DESCRIPTORS}/{descriptor}")).is_ok() {
            // SAFETY: nothing has been opened yet, so that no value of this process owns it.
            drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
        }
    }
}

/// Whether this process ignores a signal: nothing was installed for it, and whoever started us said so.
#[allow(unsafe_code, reason = "only asking how a signal is handled has no safe call")]
pub(crate) fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action nothing changes; the old one is written to memory of its own type.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: the call has written it.
    asked == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Whether this process leads its session. In a container the leader may be out of sight, and then has the number 0: rustix's
/// call takes every number for one of a process, and panics.
#[allow(unsafe_code, reason = "every safe call expects that the leader can be seen")]
pub(crate) fn leads_session() -> bool {
    // SAFETY: neither call takes memory or changes anything.
    unsafe { libc::getsid(0) == libc::getpid() }
}
