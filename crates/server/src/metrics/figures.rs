//! The figures as a person or a script reads them: a snapshot that travels as JSON.
//!
//! A field that a newer or older proxy does not send reads as its default, so that `larder stats`
//! of one version understands the next.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use larder_policy::Timestamp;
use larder_storage::{IndexState, Stats};
use serde::{Deserialize, Serialize};

use super::outcome::CacheResult;
use super::{Gauge, Metrics, ShadowFigures};
use crate::intercept::Lesson;
use crate::transaction::Outcome;

/// Lessons of interception that are shown.
const LESSONS: usize = 20;

/// What a proxy has done since it started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// The version of the proxy that answers.
    pub version: String,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Requests that have ended.
    pub requests: u64,
    /// The same by outcome; outcomes that never occurred are present with 0.
    pub outcomes: BTreeMap<String, u64>,
    /// The part of the requests whose content came from the store, between 0 and 1. Requests that
    /// are no business of the store (tunnels, refusals, the proxy's own pages) count in neither; a
    /// successful validation is a hit. None before the first request that counts.
    pub hit_ratio: Option<f64>,
    /// The same in bytes of content sent to clients.
    pub byte_hit_ratio: Option<f64>,
    /// Responses that went into the store.
    pub stored: u64,
    /// Transfers broken off by the client.
    pub client_aborts: u64,
    /// Transfers broken off by the origin or the store after the head was sent.
    pub origin_aborts: u64,
    /// Bytes sent to clients, heads included.
    pub bytes_sent: u64,
    /// Content bytes received from clients.
    pub bytes_received: u64,
    /// Content bytes received from origins and the parent proxy.
    pub bytes_from_origins: u64,
    /// Connections of clients.
    pub client_connections: ConnectionFigures,
    /// Client connections closed at once, since a limit was reached.
    pub refused_connections: u64,
    /// Connections to origins and the parent proxy, idle ones included.
    pub origin_connections: ConnectionFigures,
    /// CONNECT tunnels.
    pub tunnels: ConnectionFigures,
    /// CONNECT tunnels that were opened: what is inside has requests of its own.
    pub opened_tunnels: ConnectionFigures,
    /// How many pairs of client and host are tunnelled since that was learned.
    pub learned_bypasses: u64,
    /// Those of them that were used last, at most 20.
    pub learned: Vec<LearnedFigures>,
    /// Fetches whose body goes into the store.
    pub fills: ConnectionFigures,
    /// Lines that the access log lost.
    pub access_log_lost: u64,
    /// The store's own figures.
    pub store: Option<StoreFigures>,
    /// What other sizes and other ways to evict would make of the requests so far, tier by tier.
    pub shadows: Vec<ShadowFigures>,
}

/// A client and a host whose tunnels are not opened, since that was learned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LearnedFigures {
    /// The client's address.
    pub client: String,
    /// Host and port.
    pub host: String,
    /// `certificate-rejected` or `client-certificate`.
    pub why: String,
    /// Seconds until it is forgotten.
    pub seconds_left: u64,
}

impl LearnedFigures {
    fn new(lesson: Lesson, now: Timestamp) -> Self {
        Self {
            client: lesson.client.to_string(),
            host: lesson.host.to_string(),
            why: lesson.why.word().to_owned(),
            seconds_left: lesson.until.saturating_since(now).as_secs(),
        }
    }
}

/// How many there are and have been of something that begins and ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectionFigures {
    /// Open now.
    pub open: u64,
    /// Opened since the start.
    pub total: u64,
}

/// What the store holds and has done. Bytes on disk are allocated bytes; counts are since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreFigures {
    /// Stored responses on disk; variants count one each.
    pub objects: u64,
    /// Bytes of disk in use: everything that the limit holds for.
    pub disk_bytes: u64,
    /// The limit for them.
    pub disk_limit_bytes: u64,
    /// The limit for them now: less while others leave too little of the file system free.
    pub disk_limit_now_bytes: u64,
    /// Of the bytes in use, those of segments.
    pub segment_bytes: u64,
    /// Of the bytes of segments, those of dead records.
    pub dead_bytes: u64,
    /// Of the bytes in use, those of large bodies.
    pub blob_bytes: u64,
    /// Of the bytes in use, those of bodies being written.
    pub temp_bytes: u64,
    /// Of the bytes in use, those of the index.
    pub index_bytes: u64,
    /// Of the bytes in use, those of damaged bodies kept for somebody to look at.
    pub quarantine_bytes: u64,
    /// Of the bytes in use, those of the eviction order that is kept for the next start.
    pub order_bytes: u64,
    /// Of the bytes in use, those of directories and notes.
    pub other_bytes: u64,
    /// Bytes in the memory tier.
    pub memory_bytes: u64,
    /// The limit for them.
    pub memory_limit_bytes: u64,
    /// Cache keys in the memory tier.
    pub memory_objects: u64,
    /// Bytes of memory that knowing what is on disk takes.
    pub directory_bytes: u64,
    /// How the memory tier chooses what leaves: `lru`, `sieve`, `s3-fifo`, `w-tinylfu` or `gdsf`.
    pub memory_eviction: String,
    /// How the disk tier does.
    pub eviction: String,
    /// Lookups answered by the memory tier.
    pub memory_hits: u64,
    /// Lookups answered from disk.
    pub disk_hits: u64,
    /// Lookups that found nothing.
    pub misses: u64,
    /// Responses stored.
    pub stored: u64,
    /// Bodies that were passed on and not stored.
    pub relayed: u64,
    /// Of these, bodies that did not have the digest they should have.
    pub digest_mismatches: u64,
    /// Stored responses evicted for room.
    pub evicted: u64,
    /// Stored responses removed or replaced.
    pub removed: u64,
    /// Segments compacted.
    pub compacted: u64,
    /// Records and bodies found damaged and dropped.
    pub damaged: u64,
    /// Damaged large bodies moved to the quarantine.
    pub quarantined: u64,
    /// Damaged or missing trees beside sound bodies that were made anew.
    pub mended: u64,
    /// Bytes that the scrub has read.
    pub scrubbed_bytes: u64,
    /// Of those, bytes of the scrub that is going on; 0 between two.
    pub scrub_pass_bytes: u64,
    /// Scrubs of everything that came to their end.
    pub scrub_passes: u64,
    /// Damage that the scrub found.
    pub scrub_damaged: u64,
    /// Whether bodies are being stored: not for a while after the disk has refused, nor while others fill it. None from
    /// a larder that does not tell.
    pub storing: Option<bool>,
    /// Reads that failed.
    pub read_errors: u64,
    /// Writes that failed.
    pub write_errors: u64,
    /// How far the index has come: `opening`, `loading`, `rebuilding` or `ready`.
    pub index: String,
}

impl From<Stats> for StoreFigures {
    fn from(stats: Stats) -> Self {
        Self {
            objects: stats.objects,
            disk_bytes: stats.disk_bytes,
            disk_limit_bytes: stats.disk_limit,
            disk_limit_now_bytes: stats.disk_limit_now,
            segment_bytes: stats.segment_bytes,
            dead_bytes: stats.dead_bytes,
            blob_bytes: stats.blob_bytes,
            temp_bytes: stats.temp_bytes,
            index_bytes: stats.index_bytes,
            quarantine_bytes: stats.quarantine_bytes,
            order_bytes: stats.order_bytes,
            other_bytes: stats.other_bytes,
            memory_bytes: stats.memory_bytes,
            memory_limit_bytes: stats.memory_limit,
            memory_objects: stats.memory_objects,
            directory_bytes: stats.directory_bytes,
            memory_eviction: stats.memory_eviction.name().to_owned(),
            eviction: stats.eviction.name().to_owned(),
            memory_hits: stats.memory_hits,
            disk_hits: stats.disk_hits,
            misses: stats.misses,
            stored: stats.stored,
            relayed: stats.relayed,
            digest_mismatches: stats.digest_mismatches,
            evicted: stats.evicted,
            removed: stats.removed,
            compacted: stats.compacted,
            damaged: stats.damaged,
            quarantined: stats.quarantined,
            mended: stats.mended,
            scrubbed_bytes: stats.scrubbed_bytes,
            scrub_pass_bytes: stats.scrub_pass_bytes,
            scrub_passes: stats.scrub_passes,
            scrub_damaged: stats.scrub_damaged,
            storing: Some(stats.storing),
            read_errors: stats.read_errors,
            write_errors: stats.write_errors,
            index: index_word(stats.index).to_owned(),
        }
    }
}

/// The states of the index that have a series of their own.
pub(super) const INDEX_STATES: [&str; 4] = ["opening", "loading", "rebuilding", "ready"];

fn index_word(state: IndexState) -> &'static str {
    match state {
        IndexState::Opening => "opening",
        IndexState::Loading => "loading",
        IndexState::Rebuilding => "rebuilding",
        IndexState::Ready => "ready",
        _ => "unknown",
    }
}

impl From<&Gauge> for ConnectionFigures {
    fn from(gauge: &Gauge) -> Self {
        Self { open: gauge.now(), total: gauge.total() }
    }
}

impl Metrics {
    /// The figures at this time.
    pub(crate) fn figures(&self, now: Timestamp, store: Option<StoreFigures>) -> Figures {
        let outcomes = self.sums(|shard| &shard.outcomes);
        let content = self.sums(|shard| &shard.content_bytes);
        let requests_of = |result: CacheResult| {
            Outcome::ALL
                .iter()
                .zip(outcomes)
                .filter(|(outcome, _)| outcome.result() == result)
                .map(|(_, count)| count)
                .sum()
        };
        let (learned_bypasses, lessons) =
            self.learned.get().map(|learned| learned.lessons(LESSONS, now)).unwrap_or_default();
        let content_of = |result: CacheResult| content.get(result as usize).copied().unwrap_or_default();
        Figures {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: now.saturating_since(self.started).as_secs(),
            requests: outcomes.iter().sum(),
            outcomes: Outcome::ALL.iter().map(|outcome| outcome.word().to_owned()).zip(outcomes).collect(),
            hit_ratio: ratio(requests_of(CacheResult::Hit), requests_of(CacheResult::Miss)),
            byte_hit_ratio: ratio(content_of(CacheResult::Hit), content_of(CacheResult::Miss)),
            stored: self.sum(|shard| &shard.stored),
            client_aborts: self.sum(|shard| &shard.client_aborts),
            origin_aborts: self.sum(|shard| &shard.origin_aborts),
            bytes_sent: self.sum(|shard| &shard.sent_bytes),
            bytes_received: self.sum(|shard| &shard.received_bytes),
            bytes_from_origins: self.sum(|shard| &shard.origin_bytes),
            client_connections: (&*self.client_connections).into(),
            refused_connections: self.refused_connections.load(Ordering::Relaxed),
            origin_connections: (&*self.origin_connections).into(),
            tunnels: (&*self.tunnels).into(),
            opened_tunnels: (&*self.opened_tunnels).into(),
            learned_bypasses: learned_bypasses as u64,
            learned: lessons.into_iter().map(|lesson| LearnedFigures::new(lesson, now)).collect(),
            fills: (&*self.fills).into(),
            access_log_lost: self.lost_log_lines(),
            store,
            shadows: Vec::new(),
        }
    }
}

/// The part of the first in both together; none of nothing.
fn ratio(part: u64, rest: u64) -> Option<f64> {
    let whole = part.saturating_add(rest);
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::{miss, transaction};
    use crate::transaction::Transaction;

    #[test]
    fn ratios_count_hits_among_requests_that_asked_the_store() {
        let metrics = Metrics::new(Timestamp::from_secs(100));
        metrics.record(&transaction());
        metrics.record(&Transaction { outcome: Outcome::RefreshUnmodified, ..transaction() });
        metrics.record(&miss());
        metrics.record(&Transaction { outcome: Outcome::UpstreamFailure, body_sent: 0, ..miss() });
        for outcome in [Outcome::Tunnel, Outcome::Denied, Outcome::Local, Outcome::Invalid] {
            metrics.record(&Transaction { outcome, ..transaction() });
        }
        let figures = metrics.figures(Timestamp::from_secs(160), None);
        assert_eq!(figures.requests, 8);
        assert_eq!(figures.hit_ratio, Some(0.5));
        assert_eq!(figures.byte_hit_ratio, Some(0.4));
        assert_eq!(figures.uptime_seconds, 60);
        assert_eq!(figures.outcomes.get("tunnel"), Some(&1));
        assert_eq!(figures.outcomes.get("collapsed"), Some(&0));
    }

    #[test]
    fn a_proxy_that_was_never_asked_has_no_ratio() {
        let figures = Metrics::new(Timestamp::from_secs(100)).figures(Timestamp::from_secs(90), None);
        assert_eq!((figures.hit_ratio, figures.byte_hit_ratio, figures.uptime_seconds), (None, None, 0));
    }

    #[test]
    fn figures_of_another_version_are_understood() {
        let figures: Figures = serde_json::from_str(r#"{"requests":3,"invented_later":{"a":1}}"#).unwrap();
        assert_eq!(figures, Figures { requests: 3, ..Figures::default() });
    }
}
