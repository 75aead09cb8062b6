//! What a replay came to: served and simulated side by side.

use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use larder_simulator::http::{Report, Verdict};
use larder_simulator::log::Format;
use serde::Serialize;

use super::Replayed;
use super::client::Seen;
use super::histogram::Histogram;
use super::plan::{Planned, Reached};
use super::stub::Stub;
use crate::terminal::{ascii_json, escaped};
use crate::units::rough_size;

/// What was served.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By what the stub heard of a request.
    hits: u64,
    hit_bytes: u64,
    validated: u64,
    validated_bytes: u64,
    misses: u64,
    miss_bytes: u64,
    /// By what the proxy says.
    said: u64,
    said_hits: u64,
    /// Requests that were hits, or were none, in the simulation as well.
    agreed: u64,
    latency: Histogram,
    pub(super) failures: u64,
    pub(super) first_failure: Option<String>,
}

impl Tally {
    pub(super) fn add(&mut self, planned: &Planned, simulated: Verdict, seen: anyhow::Result<Seen>) {
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => {
                self.failures += 1;
                self.first_failure.get_or_insert_with(|| format!("{}: {error:#}", planned.target));
                return;
            }
        };
        let reached = match planned.reached() {
            // Whether such a 304 was for the client's own condition or for the cache's nobody can tell from outside.
            Reached::Validated if planned.status == StatusCode::NOT_MODIFIED && !simulated.is_hit() => {
                Reached::Answered
            }
            reached => reached,
        };
        let (count, bytes) = match reached {
            Reached::Nothing => (&mut self.hits, &mut self.hit_bytes),
            Reached::Validated => (&mut self.validated, &mut self.validated_bytes),
            Reached::Answered => (&mut self.misses, &mut self.miss_bytes),
        };
        *count += 1;
        *bytes += seen.bytes;
        self.agreed += u64::from((reached != Reached::Answered) == simulated.is_hit());
        if let Some(said) = seen.hit {
            self.said += 1;
            self.said_hits += u64::from(said);
        }
        self.latency.add(seen.latency);
    }

    /// Requests that were answered.
    pub(super) const fn requests(&self) -> u64 {
        self.hits + self.validated + self.misses
    }
}

/// The result, as it is told.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    log: &'static str,
    requests: u64,
    failures: u64,
    first_failure: Option<String>,
    unreadable_lines: u64,
    first_unreadable: Option<String>,
    left_out_lines: u64,
    assumed_answers: u64,
    seconds: f64,
    most_late_seconds: f64,
    served: Side,
    simulated: Side,
    same_verdict_ratio: f64,
    proxy_says: Option<Said>,
    latency_ms: Latency,
    stub_strangers: u64,
}

#[derive(Debug, Serialize)]
struct Side {
    hit_ratio: f64,
    byte_hit_ratio: f64,
    hits: u64,
    revalidated: u64,
    misses: u64,
    origin_requests: u64,
    origin_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Said {
    requests: u64,
    hit_ratio: f64,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Told {
    pub(super) fn new(replayed: Replayed, stub: &Stub, format: Format) -> Self {
        let Replayed { tally, simulation, skipped, left_out, late, took } = replayed;
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        let percentile = |share| tally.latency.percentile(share).map_or(0.0, millis);
        let from_cache = tally.hits + tally.validated;
        let bytes = tally.hit_bytes + tally.validated_bytes;
        Self {
            log: format.name(),
            requests: tally.requests(),
            failures: tally.failures,
            unreadable_lines: skipped.count,
            first_unreadable: skipped.examples.first().map(ToString::to_string),
            left_out_lines: left_out,
            assumed_answers: simulation.report().untold,
            seconds: took.as_secs_f64(),
            most_late_seconds: late.as_secs_f64(),
            served: Side {
                hit_ratio: share(from_cache, tally.requests()),
                byte_hit_ratio: share(bytes, bytes + tally.miss_bytes),
                hits: tally.hits,
                revalidated: tally.validated,
                misses: tally.misses,
                origin_requests: stub.requests.load(Ordering::Relaxed),
                origin_bytes: stub.bytes.load(Ordering::Relaxed),
            },
            simulated: simulated(simulation.report()),
            same_verdict_ratio: share(tally.agreed, tally.requests()),
            proxy_says: (tally.said > 0)
                .then(|| Said { requests: tally.said, hit_ratio: share(tally.said_hits, tally.said) }),
            latency_ms: Latency {
                p50: percentile(0.5),
                p90: percentile(0.9),
                p99: percentile(0.99),
                max: millis(tally.latency.max()),
            },
            stub_strangers: stub.strangers.load(Ordering::Relaxed),
            first_failure: tally.first_failure,
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> String {
        ascii_json(self)
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let Self { served, simulated, latency_ms, .. } = self;
        let mut out = String::new();
        let _ = writeln!(out, "{:<22}{:>14}{:>14}", "", "served", "simulated");
        let mut row = |name: &str, of: &dyn Fn(&Side) -> String| {
            let _ = writeln!(out, "{name:<22}{:>14}{:>14}", of(served), of(simulated));
        };
        row("hits, requests", &|side| percent(side.hit_ratio));
        row("hits, bytes", &|side| percent(side.byte_hit_ratio));
        row("  without asking", &|side| side.hits.to_string());
        row("  revalidated", &|side| side.revalidated.to_string());
        row("misses", &|side| side.misses.to_string());
        row("requests to origin", &|side| side.origin_requests.to_string());
        row("bytes from origin", &|side| rough_size(side.origin_bytes));
        let _ = writeln!(
            out,
            "\n{} requests in {:.1} s; {} had the same verdict",
            self.requests,
            self.seconds,
            percent(self.same_verdict_ratio)
        );
        if let Some(said) = &self.proxy_says {
            let _ = writeln!(
                out,
                "the proxy itself says: {} hits, of {} answers",
                percent(said.hit_ratio),
                said.requests
            );
        }
        let Latency { p50, p90, p99, max } = latency_ms;
        let _ = writeln!(
            out,
            "latency to the last byte: p50 {p50:.2} ms, p90 {p90:.2} ms, p99 {p99:.2} ms, max {max:.2} ms"
        );
        if self.most_late_seconds >= 1.0 {
            let _ = writeln!(
                out,
                "up to {:.1} s behind the log: a lower --speed or more --concurrency keeps its pace",
                self.most_late_seconds
            );
        }
        if self.assumed_answers > 0 {
            let _ = writeln!(
                out,
                "freshness of {} answers is assumed: the log does not tell it",
                self.assumed_answers
            );
        }
        if self.left_out_lines > 0 {
            let _ = writeln!(
                out,
                "{} lines are nothing to ask again: tunnels, refusals, lines without an answer",
                self.left_out_lines
            );
        }
        if let Some(first) = &self.first_unreadable {
            let _ = writeln!(out, "{} lines could not be read; the first: {first}", self.unreadable_lines);
        }
        if let Some(first) = &self.first_failure {
            let _ = writeln!(out, "{} requests failed; the first: {}", self.failures, escaped(first));
        }
        if self.stub_strangers > 0 {
            let _ = writeln!(
                out,
                "{} requests came to the stub without the field {}, and were answered 502: the proxy must pass it on",
                self.stub_strangers,
                super::stub::MARK
            );
        }
        out
    }
}

fn simulated(report: &Report) -> Side {
    let hits = report.hits();
    Side {
        hit_ratio: report.hit_ratio(),
        byte_hit_ratio: report.byte_hit_ratio(),
        hits: hits.requests - report.revalidated.requests,
        revalidated: report.revalidated.requests,
        misses: report.all().requests - hits.requests,
        origin_requests: report.origin_requests,
        origin_bytes: report.origin_bytes,
    }
}

fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
