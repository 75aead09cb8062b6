//! The control socket's file: where it is, how it is made and removed, how a long path is reached.
//!
//! The name of a Unix socket has room for about a hundred bytes, a path has room for thousands. A path that
//! does not fit is reached through a descriptor of its directory: `/proc/self/fd/N/control.sock`.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use socket2::{Domain, SockAddr, Socket, Type};

/// The socket's name in the cache directory.
const NAME: &str = "control.sock";

/// Paths up to this length fit into a socket's name on every system: the shortest has 104 bytes, the last one zero.
const LONGEST_NAME: usize = 103;

/// How long connecting waits for room in the queue.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// Where the process that owns a cache directory listens.
#[must_use]
pub fn socket_path(cache_dir: &Path) -> PathBuf {
    cache_dir.join(NAME)
}

/// A path to the socket that is short enough, valid as long as this lives.
struct Reachable {
    path: PathBuf,
    _directory: Option<OwnedFd>,
}

impl Reachable {
    fn new(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= LONGEST_NAME {
            return Ok(Self { path: path.to_owned(), _directory: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
        };
        let directory =
            rustix::fs::open(parent, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _directory: Some(directory) })
    }
}

/// Connects to the socket at this path, however long. Where the process that listens hangs, its queue may be full: then
/// connecting fails after a while.
pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    let reachable = Reachable::new(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(CONNECT_TIMEOUT))?;
    socket.connect(&SockAddr::unix(&reachable.path)?)?;
    Ok(OwnedFd::from(socket).into())
}

/// The socket's file as this process made it; removed when dropped, unless another has taken its place. To be dropped
/// before the listener: as long as that one lives, no other file can have the same inode.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode);
        if ours {
            // A file that stays behind is replaced by the next process.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on the path; only this user can connect. The file of a process that died is replaced.
pub(super) fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let reachable = Reachable::new(path)?;
    remove_stale(&reachable.path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&reachable.path)?)?;
    // Nobody can connect before `listen`, so nobody can slip in before the mode is set.
    fs::set_permissions(&reachable.path, fs::Permissions::from_mode(0o600))?;
    let made = fs::symlink_metadata(&reachable.path)?;
    let file = SocketFile { path: path.to_owned(), device: made.dev(), inode: made.ino() };
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((OwnedFd::from(socket).into(), file))
}

/// Owning the directory proves that no other proxy uses it; but the path may be another one, so a socket that
/// answers is left alone, and so is whatever is not a socket.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            let message = "something that is not a socket has this name: move it away";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        Ok(_) => {}
    }
    // Without blocking: the queue of a socket whose process hangs may be full.
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(()) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers on it")),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it"))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_may_connect() {
        let dir = tempfile::tempdir().unwrap();
        let path = socket_path(dir.path());
        let (_listener, _file) = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        connect(&path).unwrap();
    }

    #[test]
    fn a_path_longer_than_a_socket_name_works() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120)).join("e".repeat(120));
        fs::create_dir_all(&deep).unwrap();
        let path = socket_path(&deep);
        let (listener, file) = bind(&path).unwrap();
        connect(&path).unwrap();
        drop((listener, file));
        assert!(!path.exists());
    }

    #[test]
    fn the_socket_of_a_dead_process_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = socket_path(dir.path());
        let (listener, file) = bind(&path).unwrap();
        std::mem::forget(file);
        drop(listener);
        let (_second, _second_file) = bind(&path).unwrap();
        connect(&path).unwrap();
    }

    #[test]
    fn the_end_of_a_socket_leaves_its_successor_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = socket_path(dir.path());
        let (_first, file) = bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let (_second, _second_file) = bind(&path).unwrap();
        drop(file);
        connect(&path).unwrap();
    }

    #[test]
    fn a_socket_that_answers_and_a_file_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = socket_path(dir.path());
        let (_listener, _file) = bind(&path).unwrap();
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let note = dir.path().join("note");
        fs::write(&note, "precious").unwrap();
        assert_eq!(bind(&note).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&note).unwrap(), "precious");
    }
}
