//! The process that owns the store: found, or started, and a lease from it.
//!
//! Two first runs at once both start one; the store's lock lets one of them be, and both runs lease from that one. A process
//! that is about to leave refuses, and the next look finds its place free.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use larder_server::control::{Client, ClientError, Granted, LeaseLine, Lend};

use super::absolute;
use super::tally::Tally;
use crate::door::refused;
use crate::failure::Failure;
use crate::hold::{BUSY, READY};
use crate::units::TimeSpan;

/// How long a run waits for a process that owns the store to be ready, or out of the way.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at a process that starts or leaves.
const PAUSE: Duration = Duration::from_millis(20);

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
    lines: JoinHandle<Tally>,
}

impl Lease {
    /// `127.0.0.1:port`.
    pub(super) fn address(&self) -> &str {
        &self.granted.address
    }

    /// Closes the listener, and gives what was told until then.
    pub(super) fn end(self) -> Tally {
        // Where that fails the lines have ended, too.
        let _ = self.client.release(self.granted.lease);
        self.lines.join().unwrap_or_else(|_| Tally::new(None))
    }
}

/// What came of asking for a lease.
enum Asked {
    Granted(Lease),
    Failed(ClientError, Tally),
}

/// Who owns the store after an attempt to start somebody who does.
enum Owner {
    Started,
    Another,
}

impl Holder<'_> {
    /// A lease from whoever owns the store, who is started if nobody does.
    pub(super) fn lease(&self, terms: Lend, mut tally: Tally) -> Result<Lease, Failure> {
        let since = Instant::now();
        loop {
            let last = match Client::connect(self.dir).map_err(refused)? {
                None => match self.start()? {
                    Owner::Started if since.elapsed() <= PATIENCE => continue,
                    _ => anyhow!(
                        "another process has the cache directory {}, and none answers on its control socket",
                        self.dir.display()
                    ),
                },
                Some(client) => match ask(client, &terms, tally) {
                    Asked::Granted(lease) => return Ok(lease),
                    Asked::Failed(error, kept) => {
                        tally = kept;
                        self.lasting(error)?
                    }
                },
            };
            if since.elapsed() > PATIENCE {
                return Err(Failure::Failed(last));
            }
            thread::sleep(PAUSE);
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

    /// Starts one that owns the store; returns when it does, or when another one does.
    fn start(&self) -> Result<Owner, Failure> {
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
        let mut word = String::new();
        if let Some(stdout) = child.stdout.take() {
            // Nothing to read means that it has ended.
            let _ = BufReader::new(stdout).read_line(&mut word);
        }
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

/// Asks for a lease, whose lines a thread then takes.
fn ask(client: Client, terms: &Lend, mut tally: Tally) -> Asked {
    let (sender, granted) = mpsc::channel();
    let (asking, terms) = (client.clone(), terms.clone());
    let lines = thread::spawn(move || {
        let mut begun = false;
        let result = asking.lend(&terms, |line| {
            if let LeaseLine::Granted(granted) = &line {
                begun = true;
                let _ = sender.send(Ok(granted.clone()));
            }
            tally.take(line);
            true
        });
        match result {
            Err(error) if !begun => {
                let _ = sender.send(Err(error));
            }
            other => tally.end(other),
        }
        tally
    });
    match granted.recv() {
        Ok(Ok(granted)) => Asked::Granted(Lease { client, granted, lines }),
        Ok(Err(error)) => Asked::Failed(error, lines.join().unwrap_or_else(|_| Tally::new(None))),
        Err(_) => Asked::Failed(
            ClientError::Refused { status: 503, message: "the proxy gave no listener".to_owned() },
            lines.join().unwrap_or_else(|_| Tally::new(None)),
        ),
    }
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
