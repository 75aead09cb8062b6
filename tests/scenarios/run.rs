//! `larder run` and `larder env` as a user runs them. The command under test is a shell that shows its environment and
//! waits; the test itself then asks through the proxy that the environment names.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use crate::support::process::larder;
use crate::support::tls::{TlsOrigin, authority, client_config};
use crate::support::{Client, Larder, Origin, eventually};

/// Shows the environment, then ends with the exit code that it is told.
const SHOW_AND_WAIT: &str = "env; echo the-end; read code; exit $code";

/// A cache directory of runs, whose owner has gone when this is dropped.
struct Cache(TempDir);

impl Cache {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str) -> String {
        self.path().join(name).to_str().unwrap().to_owned()
    }

    /// The process that owns it.
    fn owner(&self) -> u32 {
        std::fs::read_to_string(self.path().join("cache/lock")).unwrap().trim().parse().unwrap()
    }

    fn is_owned(&self) -> bool {
        std::os::unix::net::UnixStream::connect(self.path().join("cache/control.sock")).is_ok()
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            eventually("the owner of the store leaves", || !self.is_owned());
        }
    }
}

/// `larder run` with these options, on this cache, which may reach loopback.
fn command(cache: &Cache, options: &[&str], words: &[&str]) -> Command {
    let mut command = larder();
    command.env("LARDER_ALLOW_DESTINATION", "127.0.0.0/8").env("LARDER_CA_DIR", cache.path().join("ca"));
    command.args(["run", "--linger", "0s", "--cache-dir"]);
    command.arg(cache.path().join("cache")).args(options).arg("--").args(words);
    command
}

/// The same, leaving HTTPS alone.
fn plain(cache: &Cache, options: &[&str], words: &[&str]) -> Command {
    command(cache, &[&["--no-intercept"], options].concat(), words)
}

/// A run that waits.
struct Run {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    environment: BTreeMap<String, String>,
}

impl Run {
    /// One that leaves HTTPS alone, and so has no certificates to gather.
    fn begin(cache: &Cache, options: &[&str]) -> Self {
        Self::of(plain(cache, options, &["sh", "-c", SHOW_AND_WAIT]))
    }

    fn of(mut command: Command) -> Self {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut run = Self { child, stdin, stdout: BufReader::new(stdout), environment: BTreeMap::new() };
        loop {
            let mut line = String::new();
            if run.stdout.read_line(&mut line).unwrap() == 0 {
                panic!("the run ended early: {}", run.end(0).1);
            }
            if line == "the-end\n" {
                return run;
            }
            if let Some((name, value)) = line.trim_end().split_once('=') {
                run.environment.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    fn variable(&self, name: &str) -> &str {
        self.environment.get(name).map_or("", String::as_str)
    }

    fn address(&self) -> SocketAddr {
        self.variable("http_proxy").strip_prefix("http://").unwrap().parse().unwrap()
    }

    fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    fn get(&self, url: &str) -> crate::support::Response {
        self.connect().get(url, &[])
    }

    /// Ends the command with this exit code: that of the run, and what it said.
    fn end(mut self, code: i32) -> (Option<i32>, String) {
        let _ = writeln!(self.stdin, "{code}");
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

/// Whether these tests were started with this signal ignored, as under `nohup`: then no process of theirs gets it.
fn is_ignored(name: &str) -> bool {
    Command::new("sh").args(["-c", &format!("kill -s {name} $$")]).status().unwrap().success()
}

/// The owner of a cache, stopped until this is dropped.
struct Hanging(u32);

impl Hanging {
    fn owner(cache: &Cache) -> Self {
        let pid = cache.owner();
        signal(pid, "STOP");
        Self(pid)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        signal(self.0, "CONT");
    }
}

/// The lines of a record without its head, sorted: result, method, status, bytes, whether there is a digest, path.
fn recorded(path: &str, origin: &Origin) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("# larder record 1: result method status bytes digest url"));
    let mut lines: Vec<String> =
        lines.map(|line| line.replace(&origin.url(""), "").replace(" blake3:", " blake3 ")).collect();
    for line in &mut lines {
        let digest = line.split(' ').find(|word| word.len() == 64).map(str::to_owned);
        if let Some(digest) = digest {
            *line = line.replace(&format!(" {digest}"), "");
        }
    }
    lines.sort();
    lines
}

#[test]
fn a_second_run_finds_what_the_first_one_fetched_and_each_has_its_own_figures() {
    let origin = Origin::start(|request, reply| reply.fresh(&request.target));
    let cache = Cache::new();
    let record = cache.file("record");
    let first = Run::begin(&cache, &["--record", &record]);
    assert_eq!(first.get(&origin.url("/hello")).text(), "/hello");
    assert_eq!(first.get(&origin.url("/other")).text(), "/other");
    let (code, said) = first.end(0);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("larder: 2 requests, 0 hits, 0 B from the cache, 12 B from the network"), "{said}");
    assert_eq!(recorded(&record, &origin), ["miss GET 200 6 blake3 /hello", "miss GET 200 6 blake3 /other"]);

    let second = Run::begin(&cache, &["--record", &record]);
    assert!(second.get(&origin.url("/hello")).is_hit());
    let (code, said) = second.end(0);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("larder: 1 request, 1 hit, 6 B from the cache, 0 B from the network"), "{said}");
    assert_eq!(recorded(&record, &origin), ["hit GET 200 6 blake3 /hello"]);
    assert_eq!(origin.count(), 2);

    let (_, said) = Run::begin(&cache, &["--quiet"]).end(0);
    assert_eq!(said, "");
}

#[test]
fn runs_at_once_have_listeners_of_their_own_and_the_end_of_one_is_nothing_to_the_other() {
    let origin = Origin::start(|request, reply| reply.fresh(&request.target));
    let cache = Cache::new();
    let (first, mut second) = (Run::begin(&cache, &[]), Run::begin(&cache, &[]));
    assert_ne!(first.address(), second.address());
    for number in 0..3 {
        first.get(&origin.url(&format!("/{number}")));
    }
    assert!(second.get(&origin.url("/0")).is_hit());
    let killed = second.address();
    second.child.kill().unwrap();
    second.child.wait().unwrap();
    drop(second);
    eventually("the listener of a killed run closes", || TcpStream::connect(killed).is_err());
    assert!(first.get(&origin.url("/1")).is_hit());
    let third = Run::begin(&cache, &[]);
    assert!(third.get(&origin.url("/2")).is_hit());
    assert!(third.end(0).1.contains("1 request, 1 hit"));
    let (code, said) = first.end(0);
    assert_eq!(code, Some(0));
    assert!(said.contains("larder: 4 requests, 1 hit,"), "{said}");
}

#[test]
fn first_runs_at_once_agree_on_one_owner() {
    let origin = Origin::start(|request, reply| reply.fresh(&request.target));
    let cache = Cache::new();
    let runs = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..4).map(|_| scope.spawn(|| Run::begin(&cache, &[]))).collect();
        starting.into_iter().map(|run| run.join().unwrap()).collect::<Vec<_>>()
    });
    for run in &runs {
        assert_eq!(run.get(&origin.url("/one")).text(), "/one");
    }
    assert_eq!(origin.count(), 1);
    for run in runs {
        let (code, said) = run.end(0);
        assert!(code == Some(0) && said.contains("larder: 1 request,"), "{said}");
    }
}

#[test]
fn offline_answers_from_the_store_alone_and_lists_what_is_missing() {
    // Nothing may be stored for good, or used without asking.
    let origin = Origin::start(|request, reply| {
        let fields = ["Cache-Control: no-cache", "ETag: \"1\""];
        reply.send(200, &fields, request.target.as_bytes())
    });
    let cache = Cache::new();
    let first = Run::begin(&cache, &[]);
    first.get(&origin.url("/kept"));
    first.end(0);
    assert_eq!(origin.count(), 1);

    let record = cache.file("record");
    let run = Run::begin(&cache, &["--offline", "--record", &record]);
    // What the client says of freshness does not count either.
    let kept = run.connect().get(&origin.url("/kept"), &["Cache-Control: max-age=0"]);
    assert_eq!((kept.status, kept.text().as_str()), (200, "/kept"));
    assert!(kept.cache_status().ends_with("hit; detail=offline"), "{}", kept.cache_status());
    let missing = run.get(&origin.url("/missing"));
    assert_eq!(missing.status, 504);
    assert!(missing.text().contains(&origin.url("/missing")) && missing.text().contains("offline"));
    assert_eq!(run.connect().call("POST", &origin.url("/sent"), &[], b"x").status, 504);
    let target = origin.address;
    let mut client = run.connect();
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    assert_eq!(client.response("GET").status, 504);
    let (code, said) = run.end(3);
    assert_eq!(code, Some(3), "the command's own exit code");
    assert!(said.contains("larder: 4 requests, 1 hit,"), "{said}");
    assert!(said.contains("larder: offline, and 3 requests asked for what is not in the store:\n"), "{said}");
    assert!(said.contains(&format!("\n  GET {}\n", origin.url("/missing"))), "{said}");
    assert!(said.contains(&format!("\n  CONNECT {target}\n")), "{said}");
    let lines = recorded(&record, &origin);
    assert!(lines.contains(&"hit GET 200 5 blake3 /kept".to_owned()), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("missing ")).count(), 3, "{lines:?}");
    assert_eq!(origin.count(), 1, "no origin is asked");
}

#[test]
fn an_offline_run_takes_nobody_else_offline() {
    let origin = Origin::start(|request, reply| reply.fresh(&request.target));
    let cache = Cache::new();
    let (offline, online) = (Run::begin(&cache, &["--offline"]), Run::begin(&cache, &[]));
    assert_eq!(offline.get(&origin.url("/x")).status, 504);
    assert_eq!(online.get(&origin.url("/x")).status, 200);
    assert_eq!(offline.get(&origin.url("/x")).text(), "/x");
    let (_, said) = online.end(0);
    assert!(!said.contains("offline"), "{said}");
    offline.end(0);
}

#[test]
fn serve_can_be_offline_too() {
    let origin = Origin::start(|request, reply| reply.fresh(&request.target));
    let directory = tempfile::tempdir().unwrap();
    let online = Larder::serve(directory.path(), &[]);
    online.connect().get(&origin.url("/x"), &[]);
    online.signal("TERM");
    online.wait();
    let offline = Larder::serve(directory.path(), &["--offline"]);
    assert!(offline.connect().get(&origin.url("/x"), &[]).is_hit());
    assert_eq!(offline.connect().get(&origin.url("/y"), &[]).status, 504);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_larder_that_serves_already_is_used_and_stays() {
    let origin = Origin::start(|request, reply| reply.fresh(&request.target));
    let cache = Cache::new();
    let serving = Larder::serve(&cache.path().join("cache"), &[]);
    serving.connect().get(&origin.url("/x"), &[]);
    let run = Run::begin(&cache, &[]);
    assert_ne!(run.address(), serving.address);
    assert!(run.get(&origin.url("/x")).is_hit());
    assert!(run.end(0).1.contains("larder: 1 request, 1 hit,"));
    assert!(serving.connect().get(&origin.url("/x"), &[]).is_hit());
    // Its end is told to a run, whose command goes on.
    let run = Run::begin(&cache, &[]);
    serving.kill();
    let (code, said) = run.end(0);
    assert_eq!(code, Some(0));
    assert!(said.contains("the proxy was lost"), "{said}");
}

#[test]
fn a_proxy_that_was_stopped_in_the_midst_of_a_run_is_lost() {
    let origin = Origin::start(|request, reply| reply.fresh(&request.target));
    let cache = Cache::new();
    let run = Run::begin(&cache, &[]);
    run.get(&origin.url("/x"));
    signal(cache.owner(), "TERM");
    eventually("the owner leaves", || !cache.is_owned());
    let (code, said) = run.end(0);
    assert_eq!(code, Some(0));
    assert!(said.contains("the proxy was lost") && said.contains("larder: 1 request, 0 hits,"), "{said}");
}

#[test]
fn a_connection_does_not_outlive_its_run_for_long() {
    // It accepts and never answers.
    let origin = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let cache = Cache::new();
    let (run, other) = (Run::begin(&cache, &[]), Run::begin(&cache, &[]));
    let mut client = TcpStream::connect(run.address()).unwrap();
    let target = origin.local_addr().unwrap();
    write!(client, "GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n").unwrap();
    let asked = origin.accept().unwrap();
    run.end(0);
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert_eq!(String::from_utf8_lossy(&rest), "");
    drop(asked);
    other.end(0);
}

#[test]
fn a_run_waits_for_the_place_of_an_owner_that_was_told_to_end() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = Origin::start(|request, reply| reply.fresh(&request.target));
    let cache = Cache::new();
    let run = Run::begin(&cache, &[]);
    let mut client = TcpStream::connect(run.address()).unwrap();
    let target = silent.local_addr().unwrap();
    write!(client, "GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n").unwrap();
    let asked = silent.accept().unwrap();
    let leaving = cache.owner();
    signal(leaving, "TERM");
    eventually("the owner lends no more", || TcpStream::connect(run.address()).is_err());
    let next = Run::begin(&cache, &[]);
    assert_ne!(cache.owner(), leaving);
    assert_eq!(next.get(&origin.url("/x")).text(), "/x");
    assert!(run.end(0).1.contains("the proxy was lost"));
    next.end(0);
    drop(asked);
}

#[test]
#[cfg(target_os = "linux")]
fn the_owner_keeps_no_working_directory_and_paths_mean_what_they_meant() {
    let cache = Cache::new();
    let work = tempfile::tempdir().unwrap();
    let mut command = plain(&cache, &[], &["sh", "-c", SHOW_AND_WAIT]);
    command.current_dir(work.path()).env("LARDER_ACCESS_LOG", "access.log");
    let run = Run::of(command);
    let directory = std::fs::read_link(format!("/proc/{}/cwd", cache.owner())).unwrap();
    assert_eq!(directory, Path::new("/"));
    assert!(work.path().join("access.log").exists());
    run.end(0);
}

#[test]
fn the_owner_leaves_after_the_last_run() {
    let cache = Cache::new();
    let socket = cache.path().join("cache/control.sock");
    let owned = || std::os::unix::net::UnixStream::connect(&socket).is_ok();
    let (first, second) = (Run::begin(&cache, &[]), Run::begin(&cache, &[]));
    first.end(0);
    assert!(owned());
    second.end(0);
    eventually("the owner leaves", || !owned());
    let log = std::fs::read_to_string(cache.path().join("cache/run.log")).unwrap();
    assert!(log.contains("no run for a while: ending"), "{log}");
}

#[test]
fn whoever_waits_for_a_pipe_of_a_run_does_not_wait_for_the_owner() {
    let cache = Cache::new();
    let script = r#"exec 7>&1; exec "$@""#;
    let mut command = larder();
    command.args(["run", "--no-intercept", "--linger", "60s", "--cache-dir"]).arg(cache.path().join("cache"));
    command.args(["--", "echo", "done"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
    // Its end of the pipe is standard output and descriptor 7.
    let output = shell.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.stdout, b"done\n");
    assert!(cache.is_owned(), "the owner lingers");
    signal(cache.owner(), "TERM");
}

#[test]
fn exit_codes_are_the_commands_own() {
    let cache = Cache::new();
    let code = |words: &[&str]| {
        let output = plain(&cache, &[], words).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(code(&["true"]).0, Some(0));
    assert_eq!(code(&["sh", "-c", "exit 7"]).0, Some(7));
    assert_eq!(code(&["sh", "-c", "kill -TERM $$"]).0, Some(143));
    let (missing, said) = code(&["no-such-command-anywhere"]);
    assert!(missing == Some(127) && said.contains("cannot run no-such-command-anywhere"), "{said}");
    let plain = cache.path().join("plain");
    std::fs::write(&plain, "not a program").unwrap();
    assert_eq!(code(&[plain.to_str().unwrap()]).0, Some(126));
}

#[test]
fn trouble_of_larders_own_is_told_before_the_command_starts() {
    let cache = Cache::new();
    let directory = cache.path().join("cache");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("thesis.tex"), "not a cache").unwrap();
    let output = plain(&cache, &[], &["echo", "started"]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
    assert!(said.contains("could not start") && said.contains("thesis.tex"), "{said}");
    let output = larder().args(["run", "--record", "/no/such/place", "--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn signals_reach_the_command() {
    let cache = Cache::new();
    for name in ["TERM", "INT", "HUP", "USR1"].into_iter().filter(|name| !is_ignored(name)) {
        let script =
            format!("trap 'exit 9' {name}; env; echo the-end; while :; do read line || exit 1; done");
        let run = Run::of(plain(&cache, &[], &["bash", "-c", &script]));
        run.signal(name);
        let mut child = run.child;
        assert_eq!(child.wait().unwrap().code(), Some(9), "{name}");
    }
}

#[test]
fn what_larder_was_told_to_ignore_the_command_ignores_too() {
    let cache = Cache::new();
    let run = plain(&cache, &[], &["sh", "-c", "kill -HUP $$; echo alive; kill -TERM $$; echo alive"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"trap '' HUP; exec "$@""#, "sh"]).arg(run.get_program()).args(run.get_args());
    let output = shell.stdin(Stdio::null()).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(143), &b"alive\n"[..]));
}

/// As with `ssh -t host larder run`: the system tells the leader of the session alone.
#[test]
#[cfg(target_os = "linux")]
fn that_the_terminal_is_gone_reaches_the_command_of_a_run_that_leads_the_session() {
    if is_ignored("HUP") {
        return;
    }
    let cache = Cache::new();
    let (ready, told) = (cache.file("ready"), cache.file("told"));
    let script = format!("trap 'kill $!; touch {told}; exit 9' HUP; sleep 600 & touch {ready}; wait");
    let run = plain(&cache, &[], &["sh", "-c", &script]);
    let words = std::iter::once(run.get_program()).chain(run.get_args());
    let quoted: Vec<String> =
        words.map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''"))).collect();
    let mut terminal = Command::new("script");
    terminal.args(["-q", "-c", &format!("exec {}", quoted.join(" ")), "/dev/null"]).env("SHELL", "/bin/sh");
    let mut terminal = match terminal.stdin(Stdio::piped()).stdout(Stdio::null()).spawn() {
        Ok(terminal) => terminal,
        // Not every system has the program that makes terminals.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => panic!("{error}"),
    };
    eventually("the command has begun", || Path::new(&ready).exists());
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    eventually("the command is told", || Path::new(&told).exists());
}

#[test]
fn a_run_ends_though_the_owner_hangs() {
    let cache = Cache::new();
    let run = Run::begin(&cache, &[]);
    let hanging = Hanging::owner(&cache);
    let (code, said) = run.end(7);
    assert!(code == Some(7) && said.contains("not answer"), "{said}");
    drop(hanging);
}

#[test]
fn a_signal_ends_a_run_that_waits_for_a_proxy_that_hangs() {
    let cache = Cache::new();
    let script = format!("trap '' TERM; {SHOW_AND_WAIT}");
    let mut run = Run::of(plain(&cache, &[], &["sh", "-c", &script]));
    let hanging = Hanging::owner(&cache);
    writeln!(run.stdin, "3").unwrap();
    eventually("the run ends", || {
        run.signal("TERM");
        run.child.try_wait().unwrap().is_some()
    });
    let (code, said) = run.end(0);
    assert!(code == Some(3) && said.contains("a signal came before"), "{said}");
    drop(hanging);
}

#[test]
fn both_cases_are_set_and_no_proxy_keeps_what_was_there() {
    let cache = Cache::new();
    let mut command = command(&cache, &[], &["sh", "-c", SHOW_AND_WAIT]);
    command.env("NO_PROXY", "intranet.example").env("SSL_CERT_FILE", "fixtures/config/office-ca.pem");
    let run = Run::of(command);
    for name in ["HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "CARGO_HTTP_PROXY"] {
        assert_eq!(run.variable(name), run.variable("http_proxy"), "{name}");
    }
    let direct = "intranet.example,localhost,127.0.0.1,::1,169.254.169.254";
    assert_eq!((run.variable("no_proxy"), run.variable("NO_PROXY")), (direct, direct));
    let bundle = run.variable("SSL_CERT_FILE").to_owned();
    assert_eq!(run.variable("PIP_CERT"), bundle);
    let office = std::fs::read_to_string("fixtures/config/office-ca.pem").unwrap();
    let line = office.lines().nth(1).unwrap();
    assert!(std::fs::read_to_string(&bundle).unwrap().contains(line), "what was named is trusted still");
    run.end(0);
    assert!(!Path::new(&bundle).exists(), "nothing is left behind");
}

#[test]
fn the_proxy_of_the_environment_is_the_next_hop() {
    let parent = Origin::start(|request, reply| reply.fresh(&request.target));
    let cache = Cache::new();
    let mut command = plain(&cache, &[], &["sh", "-c", SHOW_AND_WAIT]);
    command.env("https_proxy", parent.url("/"));
    let run = Run::of(command);
    assert_eq!(run.get("http://far.example/x").text(), "http://far.example/x");
    assert_eq!(parent.received()[0].target, "http://far.example/x");
    run.end(0);
}

#[test]
fn a_run_within_a_run_goes_the_outer_ones_way() {
    let parent = Origin::start(|request, reply| reply.fresh(&request.target));
    let cache = Cache::new();
    let inner = |proxy: &str| {
        let mut command = plain(&cache, &[], &["sh", "-c", SHOW_AND_WAIT]);
        command.env("https_proxy", proxy);
        Run::of(command)
    };
    let outer = inner(&parent.url("/"));
    let inner = inner(outer.variable("https_proxy"));
    assert_eq!(inner.get("http://far.example/x").text(), "http://far.example/x");
    assert_eq!(parent.count(), 1);
    inner.end(0);
    outer.end(0);
}

#[test]
fn a_parent_is_shown_its_password_and_nobody_else_is() {
    let parent = Origin::start(|request, reply| match request.method.as_str() {
        "CONNECT" => reply.send(403, &[], b""),
        _ => reply.fresh("x"),
    });
    let cache = Cache::new();
    let mut command = plain(&cache, &[], &["sh", "-c", SHOW_AND_WAIT]);
    command.env("HTTPS_PROXY", parent.url("/").replace("//", "//ann:s%33cret@"));
    let run = Run::of(command);
    assert_eq!(run.get("http://far.example/x").text(), "x");
    run.connect().send("CONNECT far.example:443 HTTP/1.1\r\nHost: far.example:443\r\n\r\n").response("GET");
    parent.wait_for(2);
    for received in parent.received() {
        // printf ann:s3cret | base64
        assert_eq!(received.field("proxy-authorization"), Some("Basic YW5uOnMzY3JldA=="), "{received:?}");
    }
    run.end(0);

    let mut command = plain(&cache, &[], &["true"]);
    let output = command.env("HTTPS_PROXY", "socks5://ann:s3cret@proxy.example:3128").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("HTTPS_PROXY") && said.contains("--parent") && !said.contains("s3cret"), "{said}");
}

#[test]
fn https_is_opened_with_a_ca_of_ones_own_and_kept() {
    let known = authority();
    let origin = TlsOrigin::start(&known, "localhost");
    let cache = Cache::new();
    let file = cache.file("origins.pem");
    std::fs::write(&file, known.pem()).unwrap();
    let (to, record) = (origin.authority(), cache.file("record"));
    let begin = |options: &[&str]| {
        let mut command = command(&cache, options, &["sh", "-c", SHOW_AND_WAIT]);
        // What clients trusted before is what larder trusts towards origins.
        command.env("GIT_SSL_CAINFO", &file);
        Run::of(command)
    };
    let ask = |run: &Run, path: &str| {
        let own = std::fs::read_to_string(cache.path().join("ca/ca.pem")).unwrap();
        let mut config = client_config(&own, &["http/1.1"]);
        config.time_provider = Arc::new(rustls::time_provider::DefaultTimeProvider);
        let mut inside = run.connect().tunnel(&to).tls("localhost", config).unwrap();
        inside.ask(&to, path, &[])
    };
    let first = begin(&[]);
    assert_eq!(ask(&first, "/a").text(), "hello");
    let bundle = std::fs::read_to_string(first.variable("NODE_EXTRA_CA_CERTS")).unwrap();
    for trusted in [known.pem(), std::fs::read_to_string(cache.path().join("ca/ca.pem")).unwrap()] {
        assert!(bundle.replace('\r', "").contains(trusted.lines().nth(1).unwrap()), "{bundle}");
    }
    let (_, said) = first.end(0);
    assert!(said.contains("larder: made a CA in ") && said.contains("larder: 1 request, 0 hits,"), "{said}");

    let second = begin(&["--record", &record]);
    assert!(ask(&second, "/a").is_hit());
    let (_, said) = second.end(0);
    assert!(!said.contains("made a CA") && said.contains("larder: 1 request, 1 hit,"), "{said}");
    let recorded = std::fs::read_to_string(&record).unwrap();
    assert!(recorded.lines().count() == 2 && recorded.contains(&format!(" https://{to}/a")), "{recorded}");

    let offline = begin(&["--offline"]);
    assert_eq!(ask(&offline, "/a").text(), "hello");
    assert_eq!(ask(&offline, "/b").status, 504);
    let (_, said) = offline.end(0);
    assert!(said.contains(&format!("  GET https://{to}/b\n")), "{said}");
    assert_eq!(origin.count(), 1);

    let unopened = begin(&["--no-intercept"]);
    assert_eq!(unopened.variable("GIT_SSL_CAINFO"), file);
    unopened
        .connect()
        .tunnel(&to)
        .tls("localhost", {
            let mut config = client_config(&known.pem(), &[]);
            config.time_provider = Arc::new(rustls::time_provider::DefaultTimeProvider);
            config
        })
        .unwrap()
        .ask(&to, "/a", &[]);
    assert!(unopened.end(0).1.contains("1 tunnel among them"));
}

/// The certificates in the file that a run's command is to trust.
fn trusted(run: Run) -> usize {
    let bundle = std::fs::read_to_string(run.variable("SSL_CERT_FILE")).unwrap();
    run.end(0);
    bundle.matches("BEGIN CERTIFICATE").count()
}

#[test]
fn variables_for_roots_take_no_root_of_the_system_away() {
    let cache = Cache::new();
    let with = |name: &str, value: &Path| {
        let mut command = command(&cache, &[], &["sh", "-c", SHOW_AND_WAIT]);
        // Whatever else names certificates here is not to count.
        for (other, _) in std::env::vars_os() {
            let text = other.to_string_lossy();
            if !text.starts_with("LARDER_") && ["CERT", "_CA", "ROOTS"].iter().any(|part| text.contains(part))
            {
                command.env_remove(&other);
            }
        }
        command.env(name, value);
        Run::of(command)
    };
    let directory = cache.path().join("roots");
    std::fs::create_dir(&directory).unwrap();
    let all = trusted(with("UNRELATED", Path::new("")));
    assert_eq!(trusted(with("SSL_CERT_FILE", Path::new("/no/such/file.pem"))), all);
    assert_eq!(trusted(with("SSL_CERT_DIR", &directory)), all);
    std::fs::copy("fixtures/config/office-ca.pem", directory.join("office.0")).unwrap();
    assert_eq!(trusted(with("SSL_CERT_DIR", &directory)), all + 1);
    assert_eq!(trusted(with("SSL_CERT_FILE", &directory.join("office.0"))), 2, "the file's and ours");
}

#[test]
fn what_ssl_cert_dir_holds_is_trusted_towards_origins() {
    let known = authority();
    let origin = TlsOrigin::start(&known, "localhost");
    let cache = Cache::new();
    let directory = cache.path().join("roots");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("known.0"), known.pem()).unwrap();
    let mut command = command(&cache, &[], &["sh", "-c", SHOW_AND_WAIT]);
    command.env_remove("SSL_CERT_FILE").env("SSL_CERT_DIR", &directory);
    let run = Run::of(command);
    let own = std::fs::read_to_string(cache.path().join("ca/ca.pem")).unwrap();
    let mut config = client_config(&own, &["http/1.1"]);
    config.time_provider = Arc::new(rustls::time_provider::DefaultTimeProvider);
    let to = origin.authority();
    let mut inside = run.connect().tunnel(&to).tls("localhost", config).unwrap();
    assert_eq!(inside.ask(&to, "/a", &[]).text(), "hello");
    run.end(0);
}

#[test]
fn env_is_what_a_shell_can_evaluate() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .env("LARDER_CA_DIR", directory.path().join("none"))
        .args([
            "-c",
            r#"eval "$("$1" env --address 127.0.0.1:4000)"; printf '%s %s' "$https_proxy" "$NO_PROXY""#,
            "sh",
        ])
        .arg(env!("CARGO_BIN_EXE_larder"))
        .env("NO_PROXY", "it's $HOME `id`")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "http://127.0.0.1:4000 it's,$HOME,`id`,localhost,127.0.0.1,::1,169.254.169.254");
}
