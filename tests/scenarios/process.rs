//! The binary as a user runs it: kills, stops, errors, and the subcommands beside it.

use std::process::Stdio;

use crate::support::process::{larder, run};
use crate::support::{After, Gate, Larder, Origin, bytes};

#[test]
fn a_whole_answer_survives_kill_9() {
    for length in [500, 400_000] {
        let body = bytes(16, length);
        let sent = body.clone();
        let origin = Origin::start(move |_, reply| reply.fresh(&sent));
        let directory = tempfile::tempdir().unwrap();
        let first = Larder::serve(directory.path(), &[]);
        let miss = first.connect().get(&origin.url("/"), &[]);
        assert!(miss.complete && miss.body == body);
        first.kill();
        let second = Larder::serve(directory.path(), &[]);
        let hit = second.connect().get(&origin.url("/"), &[]);
        assert!(hit.is_hit() && hit.body == body, "{length}: {}", hit.cache_status());
        assert_eq!(origin.count(), 1);
    }
}

#[test]
fn damage_in_the_middle_of_a_body_cuts_it_once_and_one_line_names_its_urls() {
    let body = bytes(21, 3_000_000);
    let sent = body.clone();
    let origin = Origin::start(move |_, reply| reply.fresh(&sent));
    let directory = tempfile::tempdir().unwrap();
    let first = Larder::serve(directory.path(), &[]);
    for path in ["/one", "/two"] {
        assert!(first.connect().get(&origin.url(path), &[]).complete);
    }
    first.signal("TERM");
    assert_eq!(first.wait().0, Some(0));
    let blobs = super::caching::files_under(&directory.path().join("blobs"));
    let blob = blobs.iter().find(|path| !path.ends_with(".tree")).unwrap();
    let mut bad = std::fs::read(blob).unwrap();
    bad[2_000_000] ^= 1;
    std::fs::write(blob, &bad).unwrap();
    let second = Larder::serve(directory.path(), &[]);
    let cut = second.connect().get(&origin.url("/one"), &[]);
    assert!(!cut.complete && cut.body.len() <= 2_000_000 && body.starts_with(&cut.body));
    // Nobody is given it again, and both that had it get a fresh copy.
    let again = second.connect().get(&origin.url("/one"), &[]);
    assert!(again.complete && again.body == body && !again.is_hit(), "{}", again.cache_status());
    for path in ["/two", "/one"] {
        let other = second.connect().get(&origin.url(path), &[]);
        assert!(other.complete && other.body == body, "{path}");
        let hit = second.connect().get(&origin.url(path), &[]);
        assert!(hit.is_hit() && hit.body == body, "{path}");
    }
    let kept = super::caching::files_under(&directory.path().join("quarantine"));
    assert_eq!(kept.len(), 1);
    assert_eq!(std::fs::read(&kept[0]).unwrap(), bad);
    second.signal("TERM");
    let (code, said) = second.wait();
    assert_eq!(code, Some(0));
    let told: Vec<&str> = said.lines().filter(|line| line.contains("is damaged")).collect();
    assert_eq!(told.len(), 1, "{said}");
    assert!(told[0].contains(&origin.url("/one")) && told[0].contains("quarantine"), "{}", told[0]);
}

#[test]
fn a_download_that_kill_9_ended_is_not_served() {
    let body = bytes(17, 1_000_000);
    let gate = Gate::default();
    let (sent, held) = (body.clone(), gate.clone());
    let first_time = std::sync::atomic::AtomicBool::new(true);
    let origin = Origin::start(move |_, reply| {
        reply.raw(format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: {}\r\n\r\n",
            sent.len()
        ));
        reply.raw(&sent[..500_000]);
        if first_time.swap(false, std::sync::atomic::Ordering::SeqCst) {
            held.wait();
            return After::Close;
        }
        reply.raw(&sent[500_000..]);
        After::Keep
    });
    let directory = tempfile::tempdir().unwrap();
    let first = Larder::serve(directory.path(), &[]);
    let mut client = first.connect();
    client.request("GET", &origin.url("/"), &[]);
    assert!(!std::io::BufRead::fill_buf(&mut client.reader).unwrap().is_empty());
    first.kill();
    gate.open();
    let second = Larder::serve(directory.path(), &[]);
    let again = second.connect().get(&origin.url("/"), &[]);
    assert!(again.complete && again.body == body && !again.is_hit());
    assert!(super::caching::files_under(&directory.path().join("tmp")).is_empty());
}

#[test]
fn sigterm_ends_it_well() {
    let directory = tempfile::tempdir().unwrap();
    let proxy = Larder::serve(directory.path(), &[]);
    proxy.signal("TERM");
    let (code, said) = proxy.wait();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn purge_and_stats_work_beside_a_running_proxy_and_without_one() {
    let origin = Origin::start(|request, reply| reply.fresh(&request.target));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let proxy = Larder::serve(directory.path(), &[]);
    for name in ["/a", "/b", "/c"] {
        proxy.connect().get(&origin.url(name), &[]);
    }
    let purge = |what: &[&str]| {
        let output = run(&[&["purge", "--cache-dir", path], what].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    purge(&[&origin.url("/a")]);
    assert!(!proxy.connect().get(&origin.url("/a"), &[]).is_hit());
    assert!(proxy.connect().get(&origin.url("/b"), &[]).is_hit());
    let stats = run(&["stats", "--json", "--cache-dir", path]);
    assert!(stats.status.success(), "{}", String::from_utf8_lossy(&stats.stderr));
    let figures: serde_json::Value = serde_json::from_slice(&stats.stdout).unwrap();
    assert!(figures.is_object());
    proxy.signal("TERM");
    proxy.wait();
    purge(&["--all"]);
    let verified = run(&["verify", "--cache-dir", path]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let proxy = Larder::serve(directory.path(), &[]);
    assert!(!proxy.connect().get(&origin.url("/b"), &[]).is_hit());
}

#[test]
fn a_busy_port_and_a_busy_directory_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let proxy = Larder::serve(directory.path(), &[]);
    let other = tempfile::tempdir().unwrap();
    let address = proxy.address.to_string();
    let port = larder()
        .args(["serve", "--listen", &address, "--cache-dir"])
        .arg(other.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(port.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&port.stderr).contains(&address),
        "{}",
        String::from_utf8_lossy(&port.stderr)
    );
    let busy = larder()
        .args(["serve", "--listen", "127.0.0.1:0", "--cache-dir"])
        .arg(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(busy.status.code(), Some(1));
    let said = String::from_utf8_lossy(&busy.stderr);
    assert!(said.contains(&proxy.pid().to_string()) && said.contains("--cache-dir"), "{said}");
}

#[test]
fn wrong_configuration_is_78_with_line_and_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("larder.toml");
    std::fs::write(&file, "[cache]\ndisc = \"1GiB\"\n").unwrap();
    for arguments in [&["check"][..], &["serve", "--config"]] {
        let output = larder().args(arguments).arg(&file).stdin(Stdio::null()).output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(":2:1") && said.contains("disc") && said.contains("disk"), "{said}");
    }
}

#[test]
fn the_access_log_tells_what_happened() {
    let origin = Origin::start(|_, reply| reply.fresh("hello"));
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    let cache = directory.path().join("cache");
    let proxy = Larder::serve(&cache, &["--access-log", log.to_str().unwrap()]);
    let url = origin.url("/x");
    let moved = directory.path().join("access.log.1");
    let written = |lines: usize| {
        crate::support::eventually("the line is written", || {
            std::fs::read_to_string(&log).is_ok_and(|text| text.lines().count() == lines)
        });
    };
    proxy.connect().get(&url, &[]);
    written(1);
    proxy.connect().get(&url, &[]);
    written(2);
    proxy.connect().send("junk\r\n\r\n").response("GET");
    written(3);
    std::fs::rename(&log, &moved).unwrap();
    proxy.signal("USR1");
    crate::support::eventually("the log is opened anew", || log.exists());
    proxy.connect().get(&url, &[]);
    proxy.signal("TERM");
    proxy.wait();
    let (old, new) = (std::fs::read_to_string(&moved).unwrap(), std::fs::read_to_string(&log).unwrap());
    let codes: Vec<&str> =
        old.lines().chain(new.lines()).map(|line| line.split_whitespace().nth(3).unwrap()).collect();
    assert_eq!(codes, ["TCP_MISS/200", "TCP_MEM_HIT/200", "NONE_NONE/400", "TCP_MEM_HIT/200"], "{old}{new}");
    assert!(old.contains(&format!(" GET {url} - HIER_DIRECT/127.0.0.1 text/plain")), "{old}");
}
