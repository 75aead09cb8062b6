//! The real binary as a process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::client::Client;

/// A running `larder serve`.
pub struct Larder {
    child: Child,
    pub address: SocketAddr,
    /// What it has said on standard error up to `listening on`, and what follows.
    stderr: BufReader<std::process::ChildStderr>,
}

/// The binary with a clean environment.
pub fn larder() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LARDER_")
            || name.to_string_lossy().to_lowercase().ends_with("_proxy")
        {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the binary to its end.
pub fn run(arguments: &[&str]) -> Output {
    larder().args(arguments).stdin(Stdio::null()).output().unwrap()
}

impl Larder {
    /// Starts a forward proxy on a free port of loopback that may reach loopback, and waits until it listens.
    pub fn serve(cache_dir: &Path, more: &[&str]) -> Self {
        let mut command = larder();
        command.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--allow-destination",
            "127.0.0.0/8",
            "--cache-dir",
        ]);
        command.arg(cache_dir).args(more);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            if stderr.read_line(&mut line).unwrap() == 0 {
                panic!("larder serve ended before it listened:\n{said}");
            }
            said.push_str(&line);
            if let Some(rest) = line.split("listening on ").nth(1) {
                break rest.split_whitespace().next().unwrap().parse().unwrap();
            }
        };
        Self { child, address, stderr }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end: the exit code and what else it had said.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        while self.stderr.read_line(&mut said).unwrap() > 0 {}
        let status = self.child.wait().unwrap();
        (status.code(), said)
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Larder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
