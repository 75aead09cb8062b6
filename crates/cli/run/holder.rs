//! The process that owns the store: found, or started, and a lease from it.
//!
//! Two first runs at once both start one; the store's lock lets one of them be, and both runs lease from that one. A process
//! that is about to leave refuses, and the next look finds its place free.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use larder_server::control::{Client, ClientError, Granted, LeaseLine, Lend};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::absolute;
use super::tally::Tally;
use crate::door::refused;
use crate::failure::Failure;
use crate::hold::{BUSY, READY};
use crate::units::TimeSpan;

/// How long a run waits for a process that owns the store to be ready, or out of the way: longer than a `larder serve`
/// that is stopped takes to leave, by default.
const PATIENCE: Duration = Duration::from_secs(40);

/// The first pause between two looks at a process that starts or leaves, or hangs; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(20);

/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// At the end of a run, between two looks whether a signal has come.
const TICK: Duration = Duration::from_millis(50);

/// Once a proxy could not be asked for the end of a lease, what it has told before is waited for so long.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Messages of the process that is started for runs are kept here, in the cache directory.
const LOG: &str = "run.log";

/// A longer log begins anew.
const LOG_BYTES: u64 = 1024 * 1024;

/// Lines of the log that a failed start is told by.
const TOLD_LINES: usize = 5;

/// Where to find, or how to start, the process that owns the store.
pub(super) struct Holder<'a> {
    pub(super) dir: &'a Path,
    pub(super) config: Option<&'a Path>,
    pub(super) linger: Duration,
}

/// A listener of this run's own, until its end.
pub(super) struct Lease {
    client: Client,
    granted: Granted,
    tally: Arc<Mutex<Tally>>,
    /// Closed once there are no more lines.
    lines: Receiver<Result<Granted, ClientError>>,
}

impl Lease {
    /// `127.0.0.1:port`.
    pub(super) fn address(&self) -> &str {
        &self.granted.address
    }

    /// Closes the listener, and gives what is said of the run, which took so long. The proxy is waited for as long as it
    /// answers, and until the user is tired of it.
    pub(super) fn end(self, took: Duration, offline: bool, mut tired: impl FnMut() -> bool) -> String {
        let Self { client, granted, tally, lines } = self;
        let asking = thread::spawn(move || client.release(granted.lease).is_ok());
        let mut asking = Some(asking);
        let mut last = None;
        while let Err(RecvTimeoutError::Timeout) = lines.recv_timeout(TICK) {
            if tired() {
                locked(&tally).give_up("a signal came before");
                break;
            }
            if last.is_some_and(|last| Instant::now() > last) {
                locked(&tally).give_up("it does not answer");
                break;
            }
            if let Some(asked) = asking.take_if(|asking| asking.is_finished())
                && !asked.join().unwrap_or(false)
            {
                last = Some(Instant::now() + LAST_WORDS);
            }
        }
        locked(&tally).summary(took, offline)
    }
}

/// Who owns the store after an attempt to start somebody who does.
enum Owner {
    Started,
    Another,
}

impl Holder<'_> {
    /// A lease from whoever owns the store, who is started if nobody does.
    pub(super) fn lease(&self, terms: Lend, tally: Tally) -> Result<Lease, Failure> {
        let tally = Arc::new(Mutex::new(tally));
        let until = Instant::now() + PATIENCE;
        let mut pause = PAUSE;
        loop {
            let last = match Client::connect(self.dir).map_err(refused)? {
                None => match self.start(until)? {
                    Owner::Started if Instant::now() <= until => continue,
                    _ => anyhow!(
                        "another process has the cache directory {}, and none answers on its control socket",
                        self.dir.display()
                    ),
                },
                Some(client) => match ask(client, &terms, &tally) {
                    Ok(lease) => return Ok(lease),
                    Err(error) => self.lasting(error)?,
                },
            };
            if Instant::now() > until {
                return Err(Failure::Failed(last));
            }
            thread::sleep(pause);
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Whether asking again is of no use; else what to say if it is given up.
    fn lasting(&self, error: ClientError) -> Result<anyhow::Error, Failure> {
        match error {
            ClientError::Refused { status: 404, .. } => Err(Failure::Failed(anyhow!(
                "the larder that runs on {} knows nothing of runs: it is an older one; restart it",
                self.dir.display()
            ))),
            ClientError::Refused { status: 503, .. }
            | ClientError::Connect { .. }
            | ClientError::Broken { .. } => Ok(anyhow::Error::new(error)),
            other => Err(refused(other)),
        }
    }

    /// Starts one that owns the store; returns when it does, or when another one does. It fails where that takes too long.
    fn start(&self, until: Instant) -> Result<Owner, Failure> {
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(self.dir).with_context(|| {
            let dir = self.dir.display();
            format!("cannot make the cache directory {dir}; choose another with `--cache-dir DIR`")
        })?;
        let path = self.dir.join(LOG);
        let (log, begins) = open_log(&path).with_context(|| {
            format!("cannot write {}; choose another directory with `--cache-dir DIR`", path.display())
        })?;
        let mut command = Command::new(program);
        command.arg("hold").arg("--cache-dir").arg(absolute(self.dir));
        command.arg("--linger").arg(TimeSpan::from(self.linger).to_string());
        if let Some(config) = self.config {
            command.arg("--config").arg(absolute(config));
        }
        // It serves other runs, too: what this one trusts is a matter of its lease. And it is no service of systemd's.
        for name in ["SSL_CERT_FILE", "SSL_CERT_DIR", "NOTIFY_SOCKET", "JOURNAL_STREAM"] {
            command.env_remove(name);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(log))
            .spawn()
            .context("cannot start the process that owns the cache directory")?;
        let Some(word) = child.stdout.take().map_or_else(|| Some(String::new()), |out| word(out, until))
        else {
            // It ends by itself, as nobody is there to be told.
            return Err(Failure::Failed(anyhow!(
                "the process that owns the cache directory is not ready yet; {} says what it does",
                path.display()
            )));
        };
        match word.trim_end() {
            READY => Ok(Owner::Started),
            BUSY => {
                let _ = child.wait();
                Ok(Owner::Another)
            }
            _ => {
                let _ = child.wait();
                let told = tail(&path, begins);
                let told = if told.is_empty() { "it says nothing".to_owned() } else { told };
                Err(Failure::Failed(anyhow!(
                    "the process that owns the cache directory could not start\n{told}"
                )))
            }
        }
    }
}

/// The word by which a process says how its start went, none of it where it has ended; nothing where it says none in time.
fn word(stdout: ChildStdout, until: Instant) -> Option<String> {
    let remaining = until.saturating_duration_since(Instant::now());
    let remaining = Timespec::try_from(remaining).ok()?;
    let ready = poll(&mut [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::IN)], Some(&remaining));
    if ready == Ok(0) {
        return None;
    }
    let mut word = String::new();
    // It is written at once.
    let _ = BufReader::new(stdout).read_line(&mut word);
    Some(word)
}

/// Asks for a lease, whose lines a thread then takes.
fn ask(client: Client, terms: &Lend, tally: &Arc<Mutex<Tally>>) -> Result<Lease, ClientError> {
    let (sender, lines) = mpsc::channel();
    let (asking, terms, taking) = (client.clone(), terms.clone(), Arc::clone(tally));
    thread::spawn(move || {
        let mut begun = false;
        let result = asking.lend(&terms, |line| {
            if let LeaseLine::Granted(granted) = &line {
                begun = true;
                let _ = sender.send(Ok(granted.clone()));
            }
            locked(&taking).take(line);
            true
        });
        match result {
            Err(error) if !begun => {
                let _ = sender.send(Err(error));
            }
            other => locked(&taking).end(other),
        }
    });
    match lines.recv() {
        Ok(Ok(granted)) => Ok(Lease { client, granted, tally: Arc::clone(tally), lines }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(ClientError::Refused { status: 503, message: "the proxy gave no listener".to_owned() }),
    }
}

fn locked(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The log, and where what is written from now on begins.
fn open_log(path: &Path) -> io::Result<(File, u64)> {
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let length = log.metadata()?.len();
    if length <= LOG_BYTES {
        return Ok((log, length));
    }
    log.set_len(0)?;
    Ok((log, 0))
}

/// The last lines of the log from there on.
fn tail(path: &Path, begins: u64) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|mut log| {
        log.seek(SeekFrom::Start(begins))?;
        log.take(LOG_BYTES).read_to_string(&mut text)
    });
    if read.is_err() {
        return String::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(TOLD_LINES)..).unwrap_or_default().join("\n")
}
