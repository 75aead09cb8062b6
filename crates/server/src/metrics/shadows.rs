//! The figures of the shadow caches: what other sizes and other ways to evict would make of the requests so far.

use std::fmt::Write;

use larder_storage::eviction::Aim;
use larder_storage::{Shadow, Tier};
use serde::{Deserialize, Serialize};

use super::exposition::Page;

/// What other sizes and ways to evict would make of a tier's requests. They begin with an empty cache when the proxy starts;
/// what is long ago counts for less.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShadowFigures {
    /// `memory` or `disk`.
    pub tier: String,
    /// What the tier is for: `requests` or `bytes`.
    pub aim: String,
    /// Its size, of which the sizes below are shares.
    pub limit_bytes: u64,
    /// How it chooses what leaves, as configured.
    pub policy: String,
    /// The way that it goes by now; another one than `policy` only when that is `auto`.
    pub eviction: String,
    /// How often that has changed since the start.
    pub changes: u64,
    /// Requests that the ratios are from.
    pub requests: u64,
    /// One in so many of the smallest objects is followed.
    pub one_in: u64,
    /// Requests that could not be taken note of.
    pub lost: u64,
    /// The part of the size that these requests have filled, between 0 and 1.
    pub filled: f64,
    /// Whether there were enough requests, and enough objects, to tell anything by.
    pub tells: bool,
    /// Bytes of memory that this takes.
    pub memory_bytes: u64,
    /// Each way to evict at each size.
    pub estimates: Vec<ShadowEstimateFigures>,
}

/// What one way to evict would make of one size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShadowEstimateFigures {
    /// The part of the tier's size.
    pub size: f64,
    /// The way to evict.
    pub eviction: String,
    /// The part of the requests that would be hits, between 0 and 1.
    pub request_hit_ratio: f64,
    /// Its standard error: the truth is within twice as much in nineteen cases of twenty.
    pub request_error: f64,
    /// The part of the bytes that would be hits.
    pub byte_hit_ratio: f64,
    /// Its standard error.
    pub byte_error: f64,
}

impl From<&Shadow> for ShadowFigures {
    fn from(shadow: &Shadow) -> Self {
        let estimates = shadow.estimates.iter().map(|one| ShadowEstimateFigures {
            size: one.size,
            eviction: one.algorithm.name().to_owned(),
            request_hit_ratio: one.request_hit_ratio,
            request_error: one.request_error,
            byte_hit_ratio: one.byte_hit_ratio,
            byte_error: one.byte_error,
        });
        let tier = match shadow.tier {
            Tier::Memory => "memory",
            Tier::Disk => "disk",
        };
        let aim = match shadow.aim {
            Aim::Requests => "requests",
            Aim::Bytes => "bytes",
        };
        Self {
            tier: tier.to_owned(),
            aim: aim.to_owned(),
            limit_bytes: shadow.limit,
            policy: shadow.policy.name().to_owned(),
            eviction: shadow.algorithm.name().to_owned(),
            changes: shadow.changes,
            requests: shadow.requests,
            one_in: shadow.one_in,
            lost: shadow.lost,
            filled: shadow.filled,
            tells: shadow.tells,
            memory_bytes: shadow.memory_bytes,
            estimates: estimates.collect(),
        }
    }
}

pub(super) fn render(page: &mut Page, shadows: &[ShadowFigures]) {
    let estimate = |name: &str, what: &str, value: fn(&ShadowEstimateFigures) -> f64, page: &mut Page| {
        let help = format!(
            "The part of the {what} that would be hits with another size of the tier (a share of its own) or another way to evict."
        );
        page.head(name, "gauge", &help);
        for shadow in shadows {
            for one in &shadow.estimates {
                let _ = writeln!(
                    page.0,
                    "{name}{{tier=\"{}\",policy=\"{}\",size=\"{}\"}} {:.4}",
                    shadow.tier,
                    one.eviction,
                    one.size,
                    value(one)
                );
            }
        }
    };
    estimate("larder_shadow_hit_ratio", "requests", |one| one.request_hit_ratio, page);
    estimate("larder_shadow_byte_hit_ratio", "bytes", |one| one.byte_hit_ratio, page);
    page.family(
        "larder_shadow_lost_requests_total",
        super::exposition::Kind::Counter,
        "Requests that the shadow caches could not take note of, all tiers alike.",
        "",
        [("", shadows.iter().map(|shadow| shadow.lost).max().unwrap_or_default())],
    );
    page.family(
        "larder_eviction_changes_total",
        super::exposition::Kind::Counter,
        "How often `auto` went over to another way to evict.",
        "tier",
        shadows.iter().map(|shadow| (shadow.tier.as_str(), shadow.changes)),
    );
}
