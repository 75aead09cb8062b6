//! `ls`, `rm` and `verify` as a user runs them: beside a running proxy, without one, and on damaged stores.

use std::path::Path;
use std::process::{Output, Stdio};

use super::caching::files_under;
use crate::support::process::{larder, run};
use crate::support::{Larder, Origin, bytes};

/// Runs a subcommand on a cache directory: exit code, standard output, standard error.
fn ask(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let path = directory.to_str().unwrap();
    let Output { status, stdout, stderr } = run(&[arguments, &["--cache-dir", path]].concat());
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// An origin whose responses have a tag by their directory, and a size by the number in their name.
fn origin() -> Origin {
    Origin::start(|request, reply| {
        let size = request.target.rsplit('/').next().unwrap().parse().unwrap_or(10);
        let tag = format!("Cache-Tag: {}", request.target.split('/').nth(1).unwrap());
        let language = request.field("accept-language").unwrap_or("none");
        let about = format!("Content-Language: {language}");
        let fields = ["Cache-Control: max-age=600", "Vary: Accept-Language", &tag, &about];
        reply.send(200, &fields, &bytes(size as u64, size))
    })
}

/// A cache with two responses below `/a`, three below `/b`, two of them variants.
fn filled(directory: &Path, origin: &Origin) -> Larder {
    let proxy = Larder::serve(directory, &[]);
    for path in ["/a/100", "/a/2000", "/b/300000", "/b/400"] {
        assert!(proxy.connect().get(&origin.url(path), &[]).complete);
    }
    assert!(proxy.connect().get(&origin.url("/b/400"), &["Accept-Language: de"]).complete);
    proxy
}

/// What `ls --json` lists: URL and size, sorted.
fn listed(directory: &Path, arguments: &[&str]) -> Vec<(String, u64)> {
    let (code, out, said) = ask(directory, &[&["ls", "--json"], arguments].concat());
    assert_eq!(code, Some(0), "{said}");
    let mut all: Vec<_> = out
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            (line["url"].as_str().unwrap().to_owned(), line["bytes"].as_u64().unwrap())
        })
        .collect();
    all.sort();
    let told = said.lines().last().unwrap();
    assert!(all.is_empty() || told.starts_with(&format!("{} stored response", all.len())), "{said}");
    all
}

fn stop(proxy: Larder) {
    proxy.signal("TERM");
    assert_eq!(proxy.wait().0, Some(0));
}

#[test]
fn what_is_listed_is_what_is_removed_beside_a_proxy_and_without_one() {
    for running in [true, false] {
        let origin = origin();
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let mut proxy = Some(filled(directory, &origin));
        if !running {
            stop(proxy.take().unwrap());
        }
        assert_eq!(listed(directory, &[]).len(), 5);
        assert_eq!(listed(directory, &["--tag", "a"]).len(), 2);
        assert_eq!(
            listed(directory, &["--url", "/b/*", "--larger", "1KiB"]),
            [(origin.url("/b/300000"), 300_000)]
        );
        assert_eq!(listed(directory, &[&origin.url("/b/400")]).len(), 2);
        assert_eq!(listed(directory, &["--older", "1d"]), []);
        assert_eq!(listed(directory, &["--newer", "1d", "--host", "127.0.0.1"]).len(), 5);
        let (_, out, _) = ask(directory, &["ls", "--json", "--sort", "size", "--limit", "2"]);
        let sizes: Vec<_> = out
            .lines()
            .map(|line| line.split("\"bytes\":").nth(1).unwrap().split(',').next().unwrap())
            .collect();
        assert_eq!(sizes, ["300000", "2000"]);
        // The table tells the variants apart.
        let (_, out, _) = ask(directory, &["ls", &origin.url("/b/400")]);
        assert!(out.starts_with("status ") && out.contains("accept-language: de  [b]"), "{out}");
        assert!(out.contains("accept-language: (none)") && out.contains(".seg "), "{out}");

        let (code, out, said) = ask(directory, &["rm", "--tag", "b", "--smaller", "1KiB", "--dry-run"]);
        assert!(code == Some(0) && out.lines().count() == 3, "{out}");
        assert!(said.ends_with("would remove 2 stored responses, 800 B\n"), "{said}");
        assert_eq!(listed(directory, &[]).len(), 5);
        let (code, out, _) = ask(directory, &["rm", "--tag", "b", "--smaller", "1KiB"]);
        assert_eq!((code, &*out), (Some(0), "removed 2 stored responses, 800 B\n"));
        let (_, out, _) = ask(directory, &["purge", &origin.url("/a/100")]);
        assert_eq!(out, "removed 1 stored response, 100 B\n");
        assert_eq!(
            listed(directory, &[]),
            [(origin.url("/a/2000"), 2000), (origin.url("/b/300000"), 300_000)]
        );
        let (_, out, _) = ask(directory, &["rm", &origin.url("/a/100")]);
        assert_eq!(out, "nothing was stored that matches\n");
        if let Some(proxy) = &proxy {
            assert!(!proxy.connect().get(&origin.url("/b/400"), &[]).is_hit());
            assert!(proxy.connect().get(&origin.url("/b/300000"), &[]).is_hit());
        }
        assert_eq!(ask(directory, &["rm", "--all"]).0, Some(0));
        assert_eq!(listed(directory, &[]), []);
    }
}

#[test]
fn removing_needs_a_condition() {
    let directory = tempfile::tempdir().unwrap();
    let (code, _, said) = ask(directory.path(), &["rm"]);
    assert!(code == Some(2) && said.contains("--all"), "{said}");
    assert_eq!(ask(directory.path(), &["purge"]).0, Some(2));
    assert_eq!(ask(directory.path(), &["rm", "--all", "--tag", "x"]).0, Some(2));
    assert_eq!(ask(directory.path(), &["ls", "--url", "*.deb"]).0, Some(2));
}

#[test]
fn a_url_behind_a_reverse_proxy_is_listed_and_removed_by_the_name_that_clients_use() {
    let origin = origin();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let upstream = origin.url("");
    let proxy = Larder::serve(directory, &["--reverse", &upstream]);
    let url = "http://www.example/a/100";
    assert!(proxy.connect().get(url, &[]).complete);
    assert_eq!(listed(directory, &[url]).len(), 1);
    stop(proxy);
    // Without its configuration, too.
    assert_eq!(listed(directory, &[url]).len(), 1);
    assert_eq!(listed(directory, &["--host", "*.example"]).len(), 1);
    let (_, out, _) = ask(directory, &["ls"]);
    assert!(out.contains(&format!("{url}  accept-language: (none)  [a]  from {upstream}")), "{out}");
    assert_eq!(ask(directory, &["rm", url]).1, "removed 1 stored response, 100 B\n");
}

#[test]
fn a_reader_that_leaves_a_list_is_no_failure() {
    let origin = origin();
    let directory = tempfile::tempdir().unwrap();
    let proxy = filled(directory.path(), &origin);
    for running in [Some(proxy), None] {
        let mut child = larder()
            .args(["ls", "--json", "--cache-dir"])
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0));
        if let Some(proxy) = running {
            stop(proxy);
        }
    }
}

#[test]
fn control_characters_in_a_tag_do_not_reach_the_terminal() {
    let origin = Origin::start(|_, reply| {
        reply.raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nCache-Tag: x\u{9b}2J\u{202e}\r\nContent-Length: 2\r\n\r\nok");
        crate::support::After::Keep
    });
    let directory = tempfile::tempdir().unwrap();
    let proxy = Larder::serve(directory.path(), &[]);
    assert!(proxy.connect().get(&origin.url("/"), &[]).complete);
    for form in [&["ls"][..], &["ls", "--json"]] {
        let (_, out, _) = ask(directory.path(), form);
        assert!(out.contains("2J") && out.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')), "{out:?}");
    }
}

/// Flips a bit where a file below the directory has these bytes; there must be one such place.
fn flip(directory: &Path, probe: &[u8]) {
    let mut flipped = 0;
    for path in files_under(directory) {
        let mut content = std::fs::read(&path).unwrap();
        if let Some(place) = content.windows(probe.len()).position(|window| window == probe) {
            content[place] ^= 1;
            // In place: a running proxy has the file open.
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &content[place..=place], place as u64).unwrap();
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1);
}

#[test]
fn damage_is_told_named_and_repaired_beside_a_proxy_and_without_one() {
    for running in [true, false] {
        let origin = origin();
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let mut proxy = Some(filled(directory, &origin));
        if !running {
            stop(proxy.take().unwrap());
        }
        let (code, out, said) = ask(directory, &["verify"]);
        assert!(code == Some(0) && out.ends_with("all is well\n"), "{out}{said}");
        assert!(!said.contains('%'), "progress is for terminals alone: {said}");
        flip(&directory.join("blobs"), &bytes(300_000, 300_000)[1000..1064]);
        flip(&directory.join("segments"), &bytes(2000, 2000)[1000..1064]);
        let (code, out, _) = ask(directory, &["verify"]);
        assert_eq!(code, Some(1), "{out}");
        for path in ["/b/300000", "/a/2000"] {
            assert!(out.contains(&format!("{}: the body is not what it was (", origin.url(path))), "{out}");
        }
        let (code, out, _) = ask(directory, &["verify", "--json"]);
        let lines: Vec<serde_json::Value> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((code, lines.len()), (Some(1), 3), "{out}");
        assert!(lines[..2].iter().all(|line| line["fault"]["kind"] == "damaged-body"), "{out}");
        assert_eq!(lines[2]["verified"]["damaged_bodies"], 2);
        let (code, out, _) = ask(directory, &["verify", "--repair"]);
        assert!(code == Some(0) && out.matches("; dropped\n").count() == 2, "{out}");
        let (code, out, _) = ask(directory, &["verify"]);
        assert!(code == Some(0) && out.starts_with("3 stored responses checked"), "{out}");
        assert_eq!(listed(directory, &[]).len(), 3);
    }
}

#[test]
fn a_lost_or_ruined_index_is_rebuilt_without_losing_a_response() {
    for running in [true, false] {
        for ruin in [false, true] {
            let origin = origin();
            let directory = tempfile::tempdir().unwrap();
            let directory = directory.path();
            let mut proxy = Some(filled(directory, &origin));
            if !running {
                stop(proxy.take().unwrap());
            }
            let index = directory.join("index");
            if ruin {
                for path in files_under(&index) {
                    std::fs::write(path, bytes(9, 7000)).unwrap();
                }
            } else {
                std::fs::remove_dir_all(&index).unwrap();
            }
            assert_eq!(listed(directory, &[]).len(), 5, "running {running}, ruin {ruin}");
            let (code, out, _) = ask(directory, &["verify", "--repair"]);
            assert!(code == Some(0) && out.ends_with("the index was made anew\n"), "{out}");
            if let Some(proxy) = proxy {
                stop(proxy);
            }
            let proxy = Larder::serve(directory, &[]);
            let hit = proxy.connect().get(&origin.url("/b/300000"), &[]);
            assert!(hit.is_hit() && hit.body == bytes(300_000, 300_000));
            assert_eq!(ask(directory, &["verify"]).0, Some(0));
            assert_eq!(listed(directory, &[]).len(), 5);
        }
    }
}

#[test]
fn a_segment_that_was_cut_is_told_and_repaired() {
    let origin = origin();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    stop(filled(directory, &origin));
    let segment = files_under(&directory.join("segments")).remove(0);
    let file = std::fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.set_len(file.metadata().unwrap().len() - 100).unwrap();
    let (code, out, _) = ask(directory, &["verify"]);
    assert!(
        code == Some(1) && out.contains("was cut off, as by a crash; at least 100 B are missing"),
        "{out}"
    );
    assert_eq!(ask(directory, &["verify", "--repair"]).0, Some(0));
    assert_eq!(ask(directory, &["verify"]).0, Some(0));
    assert_eq!(listed(directory, &[]).len(), 4);
}

#[test]
fn figures_of_a_store_at_rest_tell_where_the_disk_went() {
    let origin = origin();
    let directory = tempfile::tempdir().unwrap();
    stop(filled(directory.path(), &origin));
    let (code, out, _) = ask(directory.path(), &["stats"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("stored responses  5\n") && out.contains("  blobs           3"), "{out}");
    let (_, out, _) = ask(directory.path(), &["stats", "--json"]);
    let figures: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&figures["store"]["objects"], &figures["store"]["damaged"]), (&5.into(), &0.into()));
}
