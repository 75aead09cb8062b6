//! The metrics as text in the Prometheus exposition format, version 0.0.4.
//!
//! Written by hand: the format is three kinds of line, every label value is a word of our own that
//! needs no escaping, and a metrics library would bring counters of its own, which the hot path does
//! not want. A family's lines stand together, and every series exists from the start, so that the
//! first increment shows in a rate.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;

use super::figures::INDEX_STATES;
use super::outcome::{CacheResult, FORWARD_REASONS, STATUS_CLASSES};
use super::{DURATION_BOUNDS, Metrics, ShadowFigures, StoreFigures, shadows};
use crate::transaction::Outcome;

/// The media type of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family is: whether it may fall.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// The text so far. Writing to a `String` cannot fail, so results of `write!` are dropped.
pub(super) struct Page(pub(super) String);

impl Page {
    pub(super) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A family of one series without labels.
    fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help, "", [("", value)]);
    }

    /// A family with one label, or with none where `label` is empty.
    pub(super) fn family<V: Display>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        label: &str,
        series: impl IntoIterator<Item = (impl Display, V)>,
    ) {
        self.head(name, if matches!(kind, Kind::Counter) { "counter" } else { "gauge" }, help);
        for (word, value) in series {
            let _ = match label {
                "" => writeln!(self.0, "{name} {value}"),
                _ => writeln!(self.0, "{name}{{{label}=\"{word}\"}} {value}"),
            };
        }
    }
}

impl Metrics {
    /// All metrics as text; the store's and its shadows' among them when they are given.
    pub(crate) fn render(&self, store: Option<(&StoreFigures, &[ShadowFigures])>) -> String {
        let mut page = Page(String::with_capacity(16 * 1024));
        self.render_process(&mut page);
        self.render_requests(&mut page);
        self.render_bytes(&mut page);
        self.render_durations(&mut page);
        if let Some((store, shadows)) = store {
            render_store(&mut page, store);
            shadows::render(&mut page, shadows);
        }
        page.0
    }

    fn render_process(&self, page: &mut Page) {
        page.family(
            "larder_build_info",
            Kind::Gauge,
            "Always 1; the label tells the version.",
            "version",
            [(env!("CARGO_PKG_VERSION"), 1)],
        );
        let millis = self.started.as_millis();
        page.single(
            "larder_start_time_seconds",
            Kind::Gauge,
            "When the proxy started, in seconds since the Unix epoch.",
            format_args!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000)),
        );
        for (name, gauge, what) in [
            ("larder_client_connections", &self.client_connections, "Connections of clients"),
            (
                "larder_origin_connections",
                &self.origin_connections,
                "Connections to origins and the parent proxy",
            ),
            ("larder_tunnels", &self.tunnels, "CONNECT tunnels"),
            (
                "larder_opened_tunnels",
                &self.opened_tunnels,
                "CONNECT tunnels whose content goes through the store",
            ),
            ("larder_fills", &self.fills, "Fetches whose body goes into the store"),
        ] {
            page.single(&format!("{name}_open"), Kind::Gauge, &format!("{what} open now."), gauge.now());
            page.single(
                &format!("{name}_total"),
                Kind::Counter,
                &format!("{what} since the start."),
                gauge.total(),
            );
        }
        page.single(
            "larder_refused_connections_total",
            Kind::Counter,
            "Client connections closed at once, since a limit was reached.",
            self.refused_connections.load(Ordering::Relaxed),
        );
        page.single(
            "larder_access_log_lost_lines_total",
            Kind::Counter,
            "Lines that the access log lost: the disk was too slow or failed.",
            self.lost_log_lines(),
        );
    }

    fn render_requests(&self, page: &mut Page) {
        let outcomes = self.sums(|shard| &shard.outcomes);
        page.family(
            "larder_requests_total",
            Kind::Counter,
            "Requests that have ended, by outcome.",
            "outcome",
            Outcome::ALL.iter().map(|outcome| outcome.word()).zip(outcomes),
        );
        page.family(
            "larder_responses_total",
            Kind::Counter,
            "The same requests by class of the status sent; none when nothing was sent.",
            "class",
            STATUS_CLASSES.into_iter().zip(self.sums(|shard| &shard.statuses)),
        );
        page.family(
            "larder_forwarded_total",
            Kind::Counter,
            "Requests forwarded to the next hop, by reason (RFC 9211, 2.2).",
            "reason",
            FORWARD_REASONS.into_iter().zip(self.sums(|shard| &shard.forwarded)),
        );
        page.single(
            "larder_stored_responses_total",
            Kind::Counter,
            "Responses that went into the store.",
            self.sum(|shard| &shard.stored),
        );
        page.family(
            "larder_aborted_total",
            Kind::Counter,
            "Transfers broken off, by who broke off.",
            "by",
            [
                ("client", self.sum(|shard| &shard.client_aborts)),
                ("origin", self.sum(|shard| &shard.origin_aborts)),
            ],
        );
    }

    fn render_bytes(&self, page: &mut Page) {
        page.single(
            "larder_client_sent_bytes_total",
            Kind::Counter,
            "Bytes sent to clients, heads included.",
            self.sum(|shard| &shard.sent_bytes),
        );
        page.family(
            "larder_content_sent_bytes_total",
            Kind::Counter,
            "Content bytes sent to clients, by where the content came from.",
            "result",
            CacheResult::ALL.into_iter().map(CacheResult::word).zip(self.sums(|shard| &shard.content_bytes)),
        );
        page.single(
            "larder_client_received_bytes_total",
            Kind::Counter,
            "Content bytes received from clients.",
            self.sum(|shard| &shard.received_bytes),
        );
        page.single(
            "larder_origin_received_bytes_total",
            Kind::Counter,
            "Content bytes received from origins and the parent proxy.",
            self.sum(|shard| &shard.origin_bytes),
        );
    }

    fn render_durations(&self, page: &mut Page) {
        const NAME: &str = "larder_request_duration_seconds";
        page.head(
            NAME,
            "histogram",
            "From the request's head to the last byte sent, by where the content came from.",
        );
        for (place, result) in CacheResult::ALL.into_iter().enumerate() {
            let mut buckets = [0; DURATION_BOUNDS.len() + 1];
            let mut micros = 0_u64;
            for durations in self.shards.iter().filter_map(|shard| shard.durations.get(place)) {
                for (sum, bucket) in buckets.iter_mut().zip(&durations.buckets) {
                    *sum += bucket.load(Ordering::Relaxed);
                }
                micros = micros.wrapping_add(durations.micros.load(Ordering::Relaxed));
            }
            let result = result.word();
            let mut below = 0_u64;
            let bounds = DURATION_BOUNDS.iter().map(|(_, label)| *label).chain(["+Inf"]);
            for (bound, bucket) in bounds.zip(buckets) {
                below += bucket;
                let _ = writeln!(page.0, "{NAME}_bucket{{result=\"{result}\",le=\"{bound}\"}} {below}");
            }
            let _ = writeln!(
                page.0,
                "{NAME}_sum{{result=\"{result}\"}} {}.{:06}\n{NAME}_count{{result=\"{result}\"}} {below}",
                micros / 1_000_000,
                micros % 1_000_000
            );
        }
    }
}

fn render_store(page: &mut Page, store: &StoreFigures) {
    for (name, help, value) in [
        ("larder_store_objects", "Stored responses on disk.", store.objects),
        ("larder_store_disk_bytes", "Bytes of disk in use by the store.", store.disk_bytes),
        ("larder_store_disk_limit_bytes", "The limit for the bytes of disk in use.", store.disk_limit_bytes),
        (
            "larder_store_disk_limit_now_bytes",
            "The same, less what others on the file system have taken of it.",
            store.disk_limit_now_bytes,
        ),
        (
            "larder_store_segment_bytes",
            "Of the bytes of disk in use, those of segments, dead records included.",
            store.segment_bytes,
        ),
        ("larder_store_dead_bytes", "Of the bytes of segments, those of dead records.", store.dead_bytes),
        (
            "larder_store_blob_bytes",
            "Of the bytes of disk in use, those of blobs and partials, with their trees, maps and directories.",
            store.blob_bytes,
        ),
        ("larder_store_index_bytes", "Of the bytes of disk in use, those of the index.", store.index_bytes),
        (
            "larder_store_temp_bytes",
            "Of the bytes of disk in use, those of bodies being written.",
            store.temp_bytes,
        ),
        (
            "larder_store_quarantine_bytes",
            "Of the bytes of disk in use, those of damaged bodies kept for somebody to look at.",
            store.quarantine_bytes,
        ),
        (
            "larder_store_order_bytes",
            "Of the bytes of disk in use, those of the eviction order that is kept for the next start.",
            store.order_bytes,
        ),
        (
            "larder_store_other_bytes",
            "Of the bytes of disk in use, those of directories and notes.",
            store.other_bytes,
        ),
        (
            "larder_store_storing",
            "1 while bodies are being stored, 0 for a while after the disk has refused and while others fill it.",
            u64::from(store.storing.unwrap_or_default()),
        ),
        (
            "larder_store_scrub_pass_bytes",
            "Bytes read by the scrub that is going on; 0 between two.",
            store.scrub_pass_bytes,
        ),
        ("larder_store_memory_bytes", "Bytes in the memory tier.", store.memory_bytes),
        (
            "larder_store_memory_limit_bytes",
            "The limit for the bytes in the memory tier.",
            store.memory_limit_bytes,
        ),
        ("larder_store_memory_objects", "Cache keys in the memory tier.", store.memory_objects),
        (
            "larder_store_directory_bytes",
            "Bytes of memory that knowing what is on disk takes.",
            store.directory_bytes,
        ),
    ] {
        page.single(name, Kind::Gauge, help, value);
    }
    page.family(
        "larder_store_index_state",
        Kind::Gauge,
        "1 for the state that the index is in, 0 for the others.",
        "state",
        INDEX_STATES.into_iter().map(|state| (state, u64::from(state == store.index))),
    );
    page.family(
        "larder_store_lookups_total",
        Kind::Counter,
        "Lookups, by the tier that answered; none when nothing was found.",
        "tier",
        [("memory", store.memory_hits), ("disk", store.disk_hits), ("none", store.misses)],
    );
    for (name, help, value) in [
        ("larder_store_stored_total", "Responses stored.", store.stored),
        ("larder_store_relayed_total", "Bodies that were passed on and not stored.", store.relayed),
        (
            "larder_store_digest_mismatches_total",
            "Bodies not stored since they did not have the digest they should have.",
            store.digest_mismatches,
        ),
        ("larder_store_evicted_total", "Stored responses evicted for room.", store.evicted),
        ("larder_store_removed_total", "Stored responses removed or replaced.", store.removed),
        ("larder_store_compacted_total", "Segments compacted.", store.compacted),
        ("larder_store_damaged_total", "Records and bodies found damaged and dropped.", store.damaged),
        (
            "larder_store_quarantined_total",
            "Damaged large bodies moved to the quarantine.",
            store.quarantined,
        ),
        (
            "larder_store_mended_total",
            "Damaged or missing trees beside sound bodies that were made anew.",
            store.mended,
        ),
        ("larder_store_scrubbed_bytes_total", "Bytes that the scrub has read.", store.scrubbed_bytes),
        ("larder_store_scrubs_total", "Scrubs of everything that came to their end.", store.scrub_passes),
        ("larder_store_scrub_damaged_total", "Damage that the scrub found.", store.scrub_damaged),
    ] {
        page.single(name, Kind::Counter, help, value);
    }
    page.family(
        "larder_store_errors_total",
        Kind::Counter,
        "Reads and writes of the store that failed.",
        "operation",
        [("read", store.read_errors), ("write", store.write_errors)],
    );
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use larder_policy::Timestamp;

    use super::*;
    use crate::metrics::tests::{miss, transaction};

    /// What a scraper makes of a page: the type of each family, and the value of each series as it is written.
    #[derive(Debug, Default)]
    struct Scrape {
        types: BTreeMap<String, String>,
        helps: BTreeSet<String>,
        series: BTreeMap<String, f64>,
        /// Families in the order of their lines; a family that comes twice is an error.
        families: Vec<String>,
    }

    fn is_name(text: &str) -> bool {
        text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    }

    fn scrape(page: &str) -> Scrape {
        let mut scrape = Scrape::default();
        assert!(page.ends_with('\n'), "the last line must end");
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(is_name(name) && !help.is_empty(), "{line}");
                assert!(scrape.helps.insert(name.to_owned()), "two HELP lines: {line}");
                scrape.families.push(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(scrape.families.last().map(String::as_str), Some(name), "TYPE apart from HELP");
                assert!(
                    scrape.types.insert(name.to_owned(), kind.to_owned()).is_none(),
                    "two TYPE lines: {line}"
                );
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                assert!(is_name(name), "{line}");
                if let Some(labels) = series.strip_prefix(name).and_then(|rest| rest.strip_prefix('{')) {
                    for label in labels.strip_suffix('}').unwrap().split(',') {
                        let (key, value) = label.split_once('=').unwrap();
                        let value =
                            value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap();
                        assert!(is_name(key) && !value.contains(['"', '\\', '\n']), "{line}");
                    }
                }
                let family = scrape.families.last().unwrap();
                let suffix =
                    name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} under {family}"));
                match scrape.types.get(family).unwrap().as_str() {
                    "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                    "counter" => assert!(suffix.is_empty() && name.ends_with("_total"), "{line}"),
                    _ => assert!(suffix.is_empty() && !name.ends_with("_total"), "{line}"),
                }
                let known = scrape.series.insert(series.to_owned(), value.parse().unwrap());
                assert!(known.is_none(), "two values of {series}");
            }
        }
        scrape
    }

    fn metrics() -> Metrics {
        let metrics = Metrics::new(Timestamp::from_millis(1_795_449_600_050));
        metrics.record(&transaction());
        metrics.record(&transaction());
        metrics.record(&miss());
        metrics
    }

    #[test]
    fn a_scraper_can_read_every_line() {
        let store =
            StoreFigures { objects: 7, memory_hits: 2, index: "ready".to_owned(), ..StoreFigures::default() };
        let scrape = scrape(&metrics().render(Some((&store, &[]))));
        let value = |series: &str| scrape.series.get(series).copied().unwrap_or(f64::NAN);
        assert_eq!(scrape.types.len(), scrape.families.len());
        assert!(scrape.families.iter().all(|family| family.starts_with("larder_")));
        assert_eq!(value("larder_requests_total{outcome=\"memory-hit\"}"), 2.0);
        assert_eq!(value("larder_requests_total{outcome=\"miss\"}"), 1.0);
        assert_eq!(value("larder_requests_total{outcome=\"denied\"}"), 0.0);
        assert_eq!(value("larder_responses_total{class=\"2xx\"}"), 3.0);
        assert_eq!(value("larder_forwarded_total{reason=\"uri-miss\"}"), 1.0);
        assert_eq!(value("larder_content_sent_bytes_total{result=\"hit\"}"), 2_000.0);
        assert_eq!(value("larder_origin_received_bytes_total"), 3_000.0);
        assert_eq!(value("larder_start_time_seconds"), 1_795_449_600.05);
        assert_eq!(value("larder_store_objects"), 7.0);
        assert_eq!(value("larder_store_lookups_total{tier=\"memory\"}"), 2.0);
        assert_eq!(value("larder_store_index_state{state=\"ready\"}"), 1.0);
        assert_eq!(value("larder_store_index_state{state=\"opening\"}"), 0.0);
    }

    #[test]
    fn the_parts_of_the_disk_in_use_are_all_there() {
        let store = StoreFigures {
            disk_bytes: 127,
            segment_bytes: 1,
            blob_bytes: 2,
            temp_bytes: 4,
            index_bytes: 8,
            order_bytes: 16,
            quarantine_bytes: 32,
            other_bytes: 64,
            ..StoreFigures::default()
        };
        let scrape = scrape(&metrics().render(Some((&store, &[]))));
        let parts = ["segment", "blob", "temp", "index", "order", "quarantine", "other"];
        let sum: f64 = parts.iter().map(|part| scrape.series[&format!("larder_store_{part}_bytes")]).sum();
        assert_eq!(sum, scrape.series["larder_store_disk_bytes"]);
    }

    #[test]
    fn every_family_of_the_store_is_documented() {
        let page = include_str!("../../../../docs/tools.md");
        let scrape = scrape(&metrics().render(Some((&StoreFigures::default(), &[]))));
        for family in scrape.families.iter().filter(|family| family.starts_with("larder_store_")) {
            assert!(page.contains(&format!("| `{family}` |")), "{family} is not in docs/tools.md");
        }
    }

    #[test]
    fn buckets_are_cumulative_and_end_in_the_count() {
        let scrape = scrape(&metrics().render(None));
        let value = |series: &str| scrape.series.get(series).copied().unwrap_or(f64::NAN);
        assert_eq!(value("larder_request_duration_seconds_bucket{result=\"hit\",le=\"0.00025\"}"), 0.0);
        assert_eq!(value("larder_request_duration_seconds_bucket{result=\"hit\",le=\"0.0005\"}"), 2.0);
        assert_eq!(value("larder_request_duration_seconds_bucket{result=\"hit\",le=\"+Inf\"}"), 2.0);
        assert_eq!(value("larder_request_duration_seconds_count{result=\"hit\"}"), 2.0);
        assert_eq!(value("larder_request_duration_seconds_sum{result=\"hit\"}"), 0.0006);
        assert_eq!(value("larder_request_duration_seconds_sum{result=\"miss\"}"), 0.02);
    }

    #[test]
    fn without_a_store_its_families_are_absent() {
        let scrape = scrape(&metrics().render(None));
        assert!(!scrape.families.iter().any(|family| family.starts_with("larder_store_")));
    }
}
