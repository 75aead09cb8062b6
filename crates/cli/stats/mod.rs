//! `larder stats`: figures, as a table for people or JSON for programs.
//!
//! A running larder tells what it has done and what its store holds; of a store that nobody uses there is only the
//! latter. The keys of the JSON are the same: what only a running larder can tell is null.

mod advice;

use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use larder_server::{Figures, StoreFigures};

use crate::args::StatsArgs;
use crate::door::{self, Door};
use crate::failure::Failure;
use crate::output;
use crate::settings::StoreSettings;
use crate::units::rough_size;

/// Between two looks of `--watch`.
const REFRESH: Duration = Duration::from_secs(1);

/// Runs the command.
pub(crate) fn run(args: StatsArgs) -> Result<(), Failure> {
    let settings = door::locate(args.store)?;
    if args.watch {
        return watch(&settings, args.json);
    }
    if args.advice {
        let dir = settings.options.dir.display();
        let Some(client) = door::running(&settings)? else {
            return Err(anyhow!("no larder runs on {dir}, so there are no requests to give advice on").into());
        };
        let figures = client.stats().map_err(door::refused)?;
        return output::print(&advice::text(&figures.shadows));
    }
    match door::open(&settings)? {
        Door::Running(client) => {
            let figures = client.stats().map_err(door::refused)?;
            output::print(&if args.json { json(&figures)? } else { table(&figures) })
        }
        Door::Alone(alone) => {
            let store = alone.ask(|store| async move { StoreFigures::from(store.stats()) });
            output::print(&if args.json { json(&alone_json(&store)?)? } else { rows(&alone_rows(&store)) })
        }
    }
}

/// What a store at rest can tell: it has no limits of its own, and what was counted was counted since it was opened.
fn alone_rows(store: &StoreFigures) -> Vec<Row> {
    let mut rows =
        vec![Row::new("stored responses", store.objects), Row::new("disk", rough_size(store.disk_bytes))];
    rows.extend(disk_rows(store));
    rows.extend(trouble(store));
    rows
}

fn alone_json(store: &StoreFigures) -> Result<serde_json::Value, Failure> {
    /// What a store at rest can tell.
    const TOLD: [&str; 14] = [
        "objects",
        "disk_bytes",
        "segment_bytes",
        "dead_bytes",
        "blob_bytes",
        "temp_bytes",
        "index_bytes",
        "quarantine_bytes",
        "order_bytes",
        "other_bytes",
        "damaged",
        "read_errors",
        "write_errors",
        "index",
    ];
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let figures = Figures { version, store: Some(store.clone()), ..Figures::default() };
    let mut whole = serde_json::to_value(figures).map_err(|error| Failure::Failed(error.into()))?;
    forget_all_but(&mut whole, &["version", "store"]);
    if let Some(store) = whole.get_mut("store") {
        forget_all_but(store, &TOLD);
    }
    Ok(whole)
}

/// Leaves the keys, and null for all values but these.
fn forget_all_but(whole: &mut serde_json::Value, told: &[&str]) {
    for (_, value) in
        whole.as_object_mut().into_iter().flatten().filter(|(key, _)| !told.contains(&key.as_str()))
    {
        *value = serde_json::Value::Null;
    }
}

/// Again each second, until whoever watches interrupts or the larder ends.
fn watch(settings: &StoreSettings, as_json: bool) -> Result<(), Failure> {
    let dir = settings.options.dir.display();
    let Some(client) = door::running(settings)? else {
        return Err(anyhow!("no larder runs on {dir}, so there is nothing to watch").into());
    };
    if !as_json {
        output::clear()?;
    }
    loop {
        let figures = client.stats().map_err(door::refused)?;
        if as_json {
            output::print(&json(&figures)?)?;
        } else {
            output::redraw(&format!("larder on {dir}\n\n{}", table(&figures)))?;
        }
        thread::sleep(REFRESH);
    }
}

/// One line.
fn json(figures: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(figures).map(|text| text + "\n").map_err(|error| Failure::Failed(error.into()))
}

fn table(figures: &Figures) -> String {
    let mut all = vec![
        Row::new("version", &figures.version),
        Row::new("up", uptime(figures.uptime_seconds)),
        Row::new("requests", figures.requests),
        Row::new("hit ratio", percent(figures.hit_ratio)),
        Row::new("byte hit ratio", percent(figures.byte_hit_ratio)),
        Row::new("sent to clients", rough_size(figures.bytes_sent)),
        Row::new("from origins", rough_size(figures.bytes_from_origins)),
        Row::new(
            "client connections",
            format!("{} ({} so far)", figures.client_connections.open, figures.client_connections.total),
        ),
        Row::new(
            "origin connections",
            format!("{} ({} so far)", figures.origin_connections.open, figures.origin_connections.total),
        ),
        Row::new("tunnels", format!("{} ({} so far)", figures.tunnels.open, figures.tunnels.total)),
        Row::new("being stored", figures.fills.open),
    ];
    all.extend(when_any(&[
        ("refused connections", figures.refused_connections),
        ("cut by clients", figures.client_aborts),
        ("cut by origins", figures.origin_aborts),
        ("lost log lines", figures.access_log_lost),
    ]));
    let opened = figures.opened_tunnels;
    if opened.total > 0 {
        all.push(Row::new("opened tunnels", format!("{} ({} so far)", opened.open, opened.total)));
    }
    if figures.learned_bypasses > 0 {
        all.push(Row::new("learned bypasses", figures.learned_bypasses));
        all.extend(figures.learned.iter().map(|learned| {
            let left = uptime(learned.seconds_left);
            Row::new("", format!("{} to {}: {}, for {left}", learned.client, learned.host, learned.why))
        }));
    }
    let mut outcomes: Vec<_> = figures.outcomes.iter().filter(|(_, count)| **count > 0).collect();
    outcomes.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    if !outcomes.is_empty() {
        all.push(Row::gap());
        all.extend(outcomes.into_iter().map(|(word, count)| Row::new(word, share(*count, figures.requests))));
    }
    if let Some(store) = &figures.store {
        all.push(Row::gap());
        all.extend(store_rows(store));
    }
    rows(&all)
}

fn store_rows(store: &StoreFigures) -> Vec<Row> {
    let of = |used, limit| format!("{} of {}", rough_size(used), rough_size(limit));
    let by = |used, limit, eviction: &str| format!("{} ({eviction})", of(used, limit));
    let mut rows = vec![
        Row::new("stored responses", store.objects),
        Row::new("disk", by(store.disk_bytes, store.disk_limit_bytes, &store.eviction)),
    ];
    rows.extend(disk_rows(store));
    rows.extend([
        Row::new("memory", by(store.memory_bytes, store.memory_limit_bytes, &store.memory_eviction)),
        Row::new("  URLs in memory", store.memory_objects),
        Row::new("  directory of the disk", rough_size(store.directory_bytes)),
        Row::new("hits from memory", store.memory_hits),
        Row::new("hits from disk", store.disk_hits),
        Row::new("found nothing", store.misses),
        Row::new("stored", store.stored),
        Row::new("passed on, not stored", store.relayed),
        Row::new("evicted", store.evicted),
        Row::new("removed or replaced", store.removed),
        Row::new("segments compacted", store.compacted),
        Row::new("index", &store.index),
    ]);
    if store.storing == Some(false) {
        rows.push(Row::new("storing", "nothing: the disk refuses, or others fill it"));
    }
    if store.scrub_pass_bytes > 0 {
        rows.push(Row::new("scrub", format!("{} read so far", of(store.scrub_pass_bytes, store.disk_bytes))));
    }
    rows.extend(trouble(store));
    rows.extend(when_any(&[
        ("scrubs", store.scrub_passes),
        ("found by scrubs", store.scrub_damaged),
        ("mended trees", store.mended),
        ("wrong digests", store.digest_mismatches),
    ]));
    rows
}

/// What the disk is used for.
fn disk_rows(store: &StoreFigures) -> [Row; 8] {
    [
        Row::new("  segments", rough_size(store.segment_bytes)),
        Row::new("    dead", rough_size(store.dead_bytes)),
        Row::new("  blobs", rough_size(store.blob_bytes)),
        Row::new("  temporary", rough_size(store.temp_bytes)),
        Row::new("  index", rough_size(store.index_bytes)),
        Row::new("  eviction order", rough_size(store.order_bytes)),
        Row::new("  quarantine", rough_size(store.quarantine_bytes)),
        Row::new("  other", rough_size(store.other_bytes)),
    ]
}

/// What ought to be zero, and is shown also when it is.
fn trouble(store: &StoreFigures) -> [Row; 3] {
    [
        Row::new("damaged", store.damaged),
        Row::new("read errors", store.read_errors),
        Row::new("write errors", store.write_errors),
    ]
}

/// Rows for what is worth a look only when it happens.
fn when_any<'a>(counts: &'a [(&'a str, u64)]) -> impl Iterator<Item = Row> + 'a {
    counts.iter().filter(|(_, count)| *count > 0).map(|(name, count)| Row::new(*name, count))
}

/// A name and a value, or an empty line.
struct Row {
    name: String,
    value: String,
}

impl Row {
    fn new(name: impl Into<String>, value: impl ToString) -> Self {
        Self { name: name.into(), value: value.to_string() }
    }

    fn gap() -> Self {
        Self::new("", "")
    }
}

fn rows(all: &[Row]) -> String {
    let width = all.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
    all.iter()
        .map(|Row { name, value }| format!("{}\n", format!("{name:<width$}  {value}").trim_end()))
        .collect()
}

fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.1}%", ratio * 100.0))
}

fn share(count: u64, all: u64) -> String {
    let tenths = (u128::from(count) * 1000).checked_div(u128::from(all)).unwrap_or_default();
    format!("{count} ({}.{}%)", tenths / 10, tenths % 10)
}

fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn the_table_reads_as_it_was_reviewed() {
        let figures = r#"{"version": "0.1.0", "uptime_seconds": 93784, "requests": 12000,
            "outcomes": {"hit": 6000, "memory-hit": 3000, "miss": 2990, "tunnel": 10, "denied": 0},
            "hit_ratio": 0.7506, "byte_hit_ratio": 0.9, "bytes_sent": 4294967296, "bytes_from_origins": 512000000,
            "client_connections": {"open": 12, "total": 340}, "origin_connections": {"open": 3, "total": 55},
            "tunnels": {"open": 1, "total": 10}, "fills": {"open": 2, "total": 2990}, "client_aborts": 4,
            "store": {"objects": 2950, "disk_bytes": 734003200, "disk_limit_bytes": 10737418240,
            "memory_bytes": 104857600, "memory_limit_bytes": 268435456, "memory_eviction": "gdsf", "eviction": "s3-fifo",
            "memory_hits": 3000, "disk_hits": 6000,
            "segment_bytes": 209715200, "dead_bytes": 10485760, "blob_bytes": 513802240, "temp_bytes": 1048576,
            "index_bytes": 9437184, "memory_objects": 1200, "directory_bytes": 604588, "misses": 2990, "stored": 2990,
            "relayed": 3, "evicted": 0, "removed": 40, "compacted": 2, "damaged": 1, "index": "ready",
            "storing": false, "scrub_pass_bytes": 104857600, "scrub_passes": 3, "scrub_damaged": 1, "quarantine_bytes": 1048576, "order_bytes": 40960, "other_bytes": 73728}}"#;
        golden::compare("stats.txt", &table(&serde_json::from_str(figures).unwrap()));
    }

    #[test]
    fn a_larder_that_was_never_asked_has_a_table_too() {
        let text = table(&Figures::default());
        assert!(text.contains("hit ratio           -\n"), "{text}");
    }

    #[test]
    fn a_store_at_rest_tells_what_it_holds_and_no_limits() {
        let store = StoreFigures { objects: 3, disk_bytes: 4096, ..StoreFigures::default() };
        let text = rows(&alone_rows(&store));
        assert!(
            text.starts_with("stored responses  3\ndisk              4.0 KiB\n  segments        0 B\n"),
            "{text}"
        );
        assert!(text.contains("\ndamaged           0\n") && !text.contains(" of "), "{text}");
    }

    #[test]
    fn the_json_of_a_store_at_rest_has_the_keys_of_a_running_larder() {
        let store = StoreFigures { disk_bytes: 4096, quarantine_bytes: 8192, ..StoreFigures::default() };
        let alone = alone_json(&store).unwrap();
        let running = Figures { store: Some(store), ..Figures::default() };
        let running = serde_json::to_value(running).unwrap();
        let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&alone), keys(&running));
        assert_eq!(keys(&alone["store"]), keys(&running["store"]));
        assert_eq!(
            (&alone["store"]["disk_bytes"], &alone["store"]["quarantine_bytes"]),
            (&4096.into(), &8192.into())
        );
        assert_eq!(alone["version"], env!("CARGO_PKG_VERSION"));
        // It has no limit of its own, and no requests were counted.
        assert!(alone["store"]["disk_limit_bytes"].is_null() && alone["requests"].is_null(), "{alone}");
    }

    #[test]
    fn uptime_has_two_units_at_most() {
        assert_eq!(uptime(59), "59 s");
        assert_eq!(uptime(61), "1 min 1 s");
        assert_eq!(uptime(7_300), "2 h 1 min");
        assert_eq!(uptime(93_784), "1 d 2 h");
    }
}
