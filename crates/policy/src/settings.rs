//! What an operator may choose about reuse. The defaults are the plain reading of the RFCs.

use std::time::Duration;

use crate::key::CacheKey;
use crate::overrides::Overrides;
use crate::packages;
use crate::target::TargetUri;

/// Choices that HTTP leaves to a cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicySettings {
    /// The heuristic freshness lifetime as a percentage of the time between Last-Modified and Date
    /// (RFC 9111, 4.2.2). Default: 10.
    pub heuristic_percent: u32,
    /// The longest heuristic freshness lifetime. Default: 7 days.
    pub heuristic_max: Duration,
    /// Targeted fields that this cache obeys, the most specific first (RFC 9213, 2.2). Default: none; a
    /// reverse listener has `CDN-Cache-Control`.
    pub targeted_fields: Vec<String>,
    /// How long past its freshness lifetime a response may answer while the origin cannot be reached
    /// (RFC 9111, 4.2.4); zero forbids it. Default: `None`, without end.
    pub serve_stale_on_error: Option<Duration>,
    /// Whether a 206 is stored as a part (RFC 9111, 3.3). Whoever turns it on serves what is stored through
    /// [`part_plan`](crate::part_plan). Default: no.
    pub store_parts: bool,
    /// What the operator sets beyond or against the origin's word. Default: nothing.
    pub overrides: Overrides,
    /// The package rules that apply. Default: all.
    pub packages: packages::Active,
}

impl PolicySettings {
    /// What responses to a request for a target are filed under: the target, without what overrides ignore of its query
    /// and without a signature that package rules leave out, which the key then says.
    pub fn key(&self, target: &TargetUri) -> CacheKey {
        self.packages.key(self.overrides.key(target))
    }
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            heuristic_percent: 10,
            heuristic_max: Duration::from_secs(7 * 86_400),
            targeted_fields: Vec::new(),
            serve_stale_on_error: None,
            store_parts: false,
            overrides: Overrides::default(),
            packages: packages::Active::ALL,
        }
    }
}
