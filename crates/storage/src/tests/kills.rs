//! The process is really killed, with sled and all, and what it had said holds.
//!
//! The test starts itself again as a child that stores, freshens and removes as fast as it can and says on its stdout
//! what it is about to do and what has been done. After some lines of that it gets SIGKILL, and the directory is opened.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const DIR: &str = "LARDER_TEST_CHILD_DIR";
const SEED: &str = "LARDER_TEST_CHILD_SEED";
const TASKS: u64 = 4;
const KEYS_EACH: u64 = 12;

/// What may be found under a key: numbers of responses, or nothing.
type Allowed = Vec<Option<Sent>>;

/// A response: its number, which is its entity tag, and the seed and length of its body.
type Sent = (u64, u64, usize);

#[tokio::test]
async fn what_a_killed_process_had_said_holds() {
    let seed = seed();
    let mut random = Random(seed);
    let mut bench = Bench::new(child_options);
    bench.close().await;
    let mut known: HashMap<u64, Allowed> = HashMap::new();
    let mut said = 0;
    for kill in 0..long(10, 200) {
        let lines = 1 + random.below(600);
        let why = format!("seed {seed}, kill {kill} after {lines} lines");
        said += kill_after(lines, random.below(1 << 40), bench.dir(), &mut known);
        let store = Store::open(bench.options.clone()).unwrap();
        for (name, allowed) in &mut known {
            // At once: what was said is a hit before all is known, too.
            let found = found(&store, *name, &why).await;
            assert!(allowed.contains(&found), "{why}: {name} is {found:?}, not one of {allowed:?}");
            *allowed = vec![found];
        }
        store.ready().await;
        // The index may nominate what was removed just before; that goes when it is looked up.
        for (name, allowed) in &known {
            assert_eq!(found(&store, *name, &why).await, allowed[0], "{why}: {name}, later");
        }
        let report = store.verify(crate::Repair::No, |_| true).await.unwrap();
        assert_eq!((report.damaged_bodies, report.missing_bodies), (0, 0), "{why}: {report:?}");
        let there = known.values().filter(|allowed| allowed[0].is_some()).count() as u64;
        until(&store, |stats| stats.objects == there).await;
        assert_eq!(store.stats().damaged, 0, "{why}");
        store.close().await;
    }
    println!("{said} lines");
}

fn child_options(options: &mut Options) {
    options.disk_limit = 256 * MIB;
    options.segment_bytes = MIB;
    options.memory_limit = MIB;
}

/// Has a child work until it has said so many lines, kills it, and notes what it said. Returns how many lines there
/// were in the end.
fn kill_after(lines: u64, seed: u64, dir: &Path, known: &mut HashMap<u64, Allowed>) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::kills::child", "--nocapture"])
        .env(DIR, dir)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut said = 0;
    let mut line = Vec::new();
    // After the kill, what is still in the pipe was said, too.
    while output.read_until(b'\n', &mut line).unwrap() > 0 {
        // A line that was cut was not said.
        if line.ends_with(b"\n") && note(std::str::from_utf8(&line).unwrap(), known) {
            said += 1;
            if said == lines {
                child.kill().unwrap();
            }
        }
        line.clear();
    }
    let ended = child.wait().unwrap();
    assert!(!ended.success() && said >= lines, "the child ended by itself after {said} lines: {ended}");
    said
}

/// Takes up a line; false if it is none of the child's own.
fn note(line: &str, known: &mut HashMap<u64, Allowed>) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| words[at].parse::<u64>().unwrap();
    let (name, now) = match words.as_slice() {
        ["will" | "did", "put", ..] => (number(2), Some((number(3), number(4), number(5) as usize))),
        ["will" | "did", "remove", _] => (number(2), None),
        _ => return false,
    };
    let allowed = known.entry(name).or_insert_with(|| vec![None]);
    if words[0] == "did" {
        allowed.clear();
    }
    allowed.push(now);
    true
}

async fn found(store: &Store, name: u64, why: &str) -> Option<Sent> {
    let variants = store.lookup(&key(name)).await;
    assert!(variants.len() <= 1, "{why}: {name} has {} variants", variants.len());
    let stored = variants.first()?;
    let tag = stored.response().fields().all("etag").next().unwrap();
    let text = std::str::from_utf8(tag).unwrap().trim_matches('"');
    let parts: Vec<u64> = text.split('-').map(|part| part.parse().unwrap()).collect();
    let (seed, len) = (parts[1], parts[2] as usize);
    let bytes = read(stored.body(0..u64::MAX)).await.unwrap_or_else(|error| panic!("{why}: {name}: {error}"));
    assert!(bytes == body(seed, len), "{why}: {name} has wrong bytes");
    Some((parts[0], seed, len))
}

/// Not a test by itself: what the child does.
#[tokio::test]
async fn child() {
    let (Some(dir), Ok(seed)) = (std::env::var_os(DIR), std::env::var(SEED)) else { return };
    let seed: u64 = seed.parse().unwrap();
    let mut options = Options::new(dir);
    child_options(&mut options);
    let store = Store::open(options).unwrap();
    let tasks = (0..TASKS).map(|task| tokio::spawn(work(store.clone(), task, Random((seed + task) | 1))));
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// Works on keys of its own until the process is killed.
async fn work(store: Store, task: u64, mut random: Random) {
    let response = |sent: Sent| {
        let tag = format!("\"{}-{}-{}\"", sent.0, sent.1, sent.2);
        response_to(&[], &[("ETag", &tag)])
    };
    loop {
        let name = task * KEYS_EACH + random.below(KEYS_EACH);
        match random.below(10) {
            0 | 1 => {
                say(format_args!("will remove {name}"));
                store.remove(&key(name)).await;
                say(format_args!("did remove {name}"));
            }
            2 | 3 => {
                let variants = store.lookup(&key(name)).await;
                let Some(stored) = variants.first() else { continue };
                let old = found(&store, name, "child").await.unwrap();
                let sent = (random.below(u64::MAX), old.1, old.2);
                say(format_args!("will put {name} {} {} {}", sent.0, sent.1, sent.2));
                store.freshen(stored, response(sent)).await;
                say(format_args!("did put {name} {} {} {}", sent.0, sent.1, sent.2));
            }
            _ => {
                let len =
                    [0, 500, 9_000, 60_000, 66_000, 270_000][random.below(6).min(random.below(9)) as usize];
                let seed = if random.below(4) == 0 { 7 } else { random.below(u64::MAX) };
                let sent = (random.below(u64::MAX), seed, len);
                say(format_args!("will put {name} {} {} {}", sent.0, sent.1, sent.2));
                put_response(&store, &key(name), response(sent), &body(seed, len)).await.unwrap();
                say(format_args!("did put {name} {} {} {}", sent.0, sent.1, sent.2));
            }
        }
    }
}

/// In one write, so that no line is mixed with another.
fn say(line: std::fmt::Arguments<'_>) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}
