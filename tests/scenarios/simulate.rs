//! `larder simulate`, the real binary on the traces of `fixtures/traces`.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::support::process::{larder, run};

fn trace(name: &str) -> String {
    format!("{}/fixtures/traces/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn simulate(more: &[&str]) -> (String, String) {
    let drift = trace("drift.oracleGeneral.zst");
    let output = run(&[&["simulate", &drift], more].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{err}");
    (out, err)
}

fn json(more: &[&str]) -> Value {
    serde_json::from_str(&simulate(&[more, &["--format", "json"]].concat()).0).unwrap()
}

/// What another simulator makes of these traces (`fixtures/traces/reference.csv`), through the command line.
#[test]
fn it_equals_another_simulator() {
    let (csv, told) = simulate(&[
        "--format=csv",
        "--size=1%,10%,30%",
        "--policy=lru,fifo,sieve,clock,2q,arc,gdsf-libcachesim,s3-fifo-libcachesim",
    ]);
    assert!(told.contains("replaying takes up to "), "{told}");
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let own: Vec<_> = lines.collect();
    let column = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let reference = std::fs::read_to_string(trace("reference.csv")).unwrap();
    let mut compared = 0;
    for theirs in reference.lines().map(|line| line.split(',').collect::<Vec<_>>()) {
        let [trace, policy, _, capacity, miss, byte_miss] = theirs[..] else { panic!("{theirs:?}") };
        let same =
            |row: &&Vec<&str>| row[column("policy")] == policy && row[column("cache_bytes")] == capacity;
        if let Some(row) = own.iter().find(same).filter(|_| trace == "drift") {
            let apart = |name: &str, theirs: &str| {
                let ratio = |text: &str| text.parse::<f64>().unwrap();
                (ratio(row[column(name)]) - ratio(theirs)).abs()
            };
            assert!(apart("miss_ratio", miss) <= 0.001, "{row:?} {theirs:?}");
            assert!(apart("byte_miss_ratio", byte_miss) <= 0.001, "{row:?} {theirs:?}");
            compared += 1;
        }
    }
    assert_eq!((compared, own.len()), (24, 24));
}

#[test]
fn ratios_lie_between_nothing_and_the_bounds_and_curves_go_through_them() {
    let report = json(&["--size", "10%,2MiB", "--memory", "64KiB", "--jobs", "2"]);
    let number = |value: &Value, key: &str| value[key].as_f64().unwrap_or_else(|| panic!("{key} of {value}"));
    let cells = report["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 10);
    for cell in cells {
        assert!(number(cell, "hit_ratio") <= number(cell, "bound_hit_ratio"));
        assert!(number(cell, "byte_hit_ratio") <= number(cell, "bound_byte_hit_ratio"));
        assert!(number(cell, "hit_ratio") <= number(&report["trace"], "infinite_hit_ratio"));
        assert!(number(cell, "memory_hit_ratio") > 0.0);
        assert!(number(cell, "memory_hit_ratio") <= number(cell, "hit_ratio"));
        assert!(cell["drive_writes_per_day"].is_null(), "ten minutes are no day: {cell}");
        let curves = report["curves"].as_array().unwrap();
        let curve = curves.iter().find(|curve| curve["policy"] == cell["policy"]).unwrap();
        let points = curve["points"].as_array().unwrap();
        let point = points.iter().find(|point| point["capacity_bytes"] == cell["capacity_bytes"]).unwrap();
        for key in ["hit_ratio", "byte_hit_ratio"] {
            assert!((number(point, key) - number(cell, key)).abs() < 1e-9, "{cell} {point}");
        }
        assert_eq!(cell["parts"].as_array().unwrap().len(), 48);
    }
}

#[test]
fn the_same_trace_gives_the_same_report_on_any_number_of_threads_and_from_standard_input() {
    let alone = json(&["--jobs", "1"]);
    assert_eq!(alone, json(&["--jobs", "3"]));
    let mut child = larder()
        .args(["simulate", "-", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes = std::fs::read(trace("drift.oracleGeneral.zst")).unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    let mut piped: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(piped["inputs"][0]["path"], "standard input");
    piped["inputs"] = alone["inputs"].clone();
    assert_eq!(piped, alone);
}

#[test]
fn samples_come_with_error_bars_that_hold() {
    let exact = json(&["--sample", "100%"]);
    let sampled = json(&["--sample", "50%"]);
    let curves = |report: &Value| report["curves"].as_array().unwrap().clone();
    for (exact, sampled) in curves(&exact).iter().zip(&curves(&sampled)) {
        assert_eq!((exact["sampled"].as_f64(), sampled["sampled"].as_f64()), (Some(1.0), Some(0.5)));
        let points = exact["points"].as_array().unwrap().iter().zip(sampled["points"].as_array().unwrap());
        let (mut apart, mut inside, mut all) = (0.0, 0, 0);
        for (exact, sampled) in points {
            for (key, error) in [("hit_ratio", "error"), ("byte_hit_ratio", "byte_error")] {
                let off = (exact[key].as_f64().unwrap() - sampled[key].as_f64().unwrap()).abs();
                apart += off;
                all += 1;
                inside += u32::from(off <= sampled[error].as_f64().unwrap() + 0.005);
            }
        }
        assert!(
            apart / f64::from(all) < 0.02 && inside * 10 >= all * 9,
            "{apart} {inside} of {all}: {sampled}"
        );
    }
}

#[test]
fn the_page_is_one_file_without_script_or_network() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.html");
    let (out, told) = simulate(&["--format", "html", "--output", path.to_str().unwrap()]);
    assert!(out.is_empty() && told.contains("written to "), "{told}");
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("prefers-color-scheme: dark"));
    assert!(page.matches("<svg ").count() >= 6, "{}", page.matches("<svg ").count());
    let fetched = ["src=", "href=", "url(", "@import", "<link"];
    assert!(fetched.iter().all(|what| !page.contains(what)), "{page}");
    assert_eq!(page.matches("<script").count(), 1);
    let data = page.split("id=\"report\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["trace"]["requests"], 6000);
    let (svg, _) = simulate(&["--format", "svg"]);
    assert!(svg.starts_with("<svg xmlns=") && svg.trim_end().ends_with("</svg>"));
}

#[test]
fn what_cannot_be_read_is_counted_and_never_fatal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace.csv");
    std::fs::write(&path, "time,id,size\n1,a,100\n2,b\n3,a,100\nnot,a,line\n").unwrap();
    let output = run(&["simulate", path.to_str().unwrap(), "--size", "1KiB"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains(
            "2 lines or records could not be read; the first is 3: it has 2 values where 3 are needed"
        ),
        "{told}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("2 requests") && text.contains("An infinite cache: hits 50.00 % of the requests"),
        "{text}"
    );
}

#[test]
fn writes_are_told_by_the_day_where_there_is_a_clock() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace.csv");
    let write = |step: u64| {
        // 1,000 objects of 1,000 bytes, each once.
        let lines = (0..1000).map(|number| format!("{},{number},1000\n", number * step));
        std::fs::write(&path, lines.collect::<String>()).unwrap();
        let output = run(&[
            "simulate",
            path.to_str().unwrap(),
            "--size",
            "100KB",
            "--policy",
            "lru",
            "--format",
            "json",
        ]);
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    // All of it in almost a day: ten times the capacity.
    let day = write(86);
    let writes = day["cells"][0]["drive_writes_per_day"].as_f64().unwrap();
    assert!((writes - 10.0).abs() < 0.1, "{writes}");
    assert_eq!(day["trace"]["seconds"], 999 * 86);
    // Numbers of requests are no clock.
    let numbers = write(1);
    assert!(numbers["trace"]["seconds"].is_null() && numbers["cells"][0]["drive_writes_per_day"].is_null());
    assert!(
        numbers["unknown"].as_array().unwrap().iter().any(|one| one.as_str().unwrap().contains("no clock"))
    );
}

#[test]
fn what_is_no_trace_is_an_error_that_says_what_would_be() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    for (path, expected) in [
        (write("letter", "Dear Sir or Madam,\n"), "oracleGeneral or CSV"),
        (write("header", "time,id,size\n"), "there is no request in what was given"),
        (write("empty", ""), "is no trace of a known format"),
        (directory.path().join("nowhere").to_str().unwrap().to_owned(), "cannot open"),
    ] {
        let output = run(&["simulate", &path]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(expected), "{told}");
    }
    assert_eq!(run(&["simulate", "x", "--policy", "lfu"]).status.code(), Some(2));
    assert_eq!(run(&["simulate", "x", "--size", "10"]).status.code(), Some(2));
    assert_eq!(run(&["simulate"]).status.code(), Some(2));
}

/// What `docs/benchmarking.md` says of the JSON is all that is in it.
#[test]
fn every_key_of_the_json_is_documented() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarking.md")).unwrap();
    let report = json(&[]);
    let mut keys = Vec::new();
    fn gather(value: &Value, keys: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                keys.extend(object.keys().cloned());
                object.values().for_each(|value| gather(value, keys));
            }
            Value::Array(values) => values.iter().take(1).for_each(|value| gather(value, keys)),
            _ => {}
        }
    }
    gather(&report, &mut keys);
    for key in keys {
        assert!(page.contains(&format!("`{key}`")), "{key} is not in docs/benchmarking.md");
    }
}
