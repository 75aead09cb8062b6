//! The words by which outcomes, results and status classes are known in logs, figures and metrics.
//!
//! They are part of the interface: dashboards and scripts match on them, so they are added to and
//! never changed.

use larder_policy::ForwardReason;

use crate::transaction::Outcome;

impl Outcome {
    /// Every outcome, in the order of declaration: `ALL[outcome as usize] == outcome`.
    pub(crate) const ALL: [Self; 17] = [
        Self::Hit,
        Self::MemoryHit,
        Self::NotModifiedHit,
        Self::Collapsed,
        Self::StaleHit,
        Self::StaleOnError,
        Self::Miss,
        Self::RefreshUnmodified,
        Self::RefreshModified,
        Self::ClientRefresh,
        Self::Tunnel,
        Self::Opened,
        Self::Denied,
        Self::OnlyIfCached,
        Self::Local,
        Self::Invalid,
        Self::UpstreamFailure,
    ];

    /// The word in the JSON log, in the figures and in the label `outcome`.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::MemoryHit => "memory-hit",
            Self::NotModifiedHit => "not-modified-hit",
            Self::Collapsed => "collapsed",
            Self::StaleHit => "stale-hit",
            Self::StaleOnError => "stale-on-error",
            Self::Miss => "miss",
            Self::RefreshUnmodified => "refresh-unmodified",
            Self::RefreshModified => "refresh-modified",
            Self::ClientRefresh => "client-refresh",
            Self::Tunnel => "tunnel",
            Self::Opened => "opened",
            Self::Denied => "denied",
            Self::OnlyIfCached => "only-if-cached",
            Self::Local => "local",
            Self::Invalid => "invalid",
            Self::UpstreamFailure => "upstream-failure",
        }
    }

    /// Whether the content came from the store, from the next hop, or neither.
    pub(crate) const fn result(self) -> CacheResult {
        match self {
            Self::Hit
            | Self::MemoryHit
            | Self::NotModifiedHit
            | Self::Collapsed
            | Self::StaleHit
            | Self::StaleOnError
            | Self::RefreshUnmodified => CacheResult::Hit,
            Self::Miss
            | Self::RefreshModified
            | Self::ClientRefresh
            | Self::OnlyIfCached
            | Self::UpstreamFailure => CacheResult::Miss,
            Self::Tunnel => CacheResult::Tunnel,
            Self::Opened | Self::Denied | Self::Local | Self::Invalid => CacheResult::Aside,
        }
    }
}

/// Where the content of an answer came from. Hits and misses make the hit ratio; the others are no
/// business of the store and count in neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheResult {
    /// From the store, or from another request's fetch; perhaps after a validation that carried no content.
    Hit,
    /// From the next hop, or nothing since the store had nothing usable.
    Miss,
    /// Through a tunnel.
    Tunnel,
    /// From the proxy itself.
    Aside,
}

impl CacheResult {
    /// Every result, in the order of declaration.
    pub(crate) const ALL: [Self; 4] = [Self::Hit, Self::Miss, Self::Tunnel, Self::Aside];

    /// The word in the label `result`.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Tunnel => "tunnel",
            Self::Aside => "none",
        }
    }
}

/// The words in the label `class`; the place is that of [`status_class`].
pub(crate) const STATUS_CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The place of a status in [`STATUS_CLASSES`]; what is not an HTTP status counts as none sent.
pub(crate) const fn status_class(status: u16) -> usize {
    match status {
        100..=199 => 1,
        200..=299 => 2,
        300..=399 => 3,
        400..=499 => 4,
        500..=599 => 5,
        _ => 0,
    }
}

/// The reasons to forward, in the order in which they are counted.
pub(crate) const FORWARD_REASONS: [ForwardReason; 7] = [
    ForwardReason::UriMiss,
    ForwardReason::VaryMiss,
    ForwardReason::Request,
    ForwardReason::Stale,
    ForwardReason::Method,
    ForwardReason::Bypass,
    ForwardReason::Partial,
];

/// The place of a reason in [`FORWARD_REASONS`]; past the end for one that has none.
pub(crate) fn forward_reason_place(reason: ForwardReason) -> usize {
    FORWARD_REASONS.iter().position(|known| *known == reason).unwrap_or(FORWARD_REASONS.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_and_reason_stands_in_its_place() {
        for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place, "{outcome:?}");
        }
        for (place, result) in CacheResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, place, "{result:?}");
        }
        for (place, reason) in FORWARD_REASONS.into_iter().enumerate() {
            assert_eq!(forward_reason_place(reason), place, "{reason}");
        }
    }

    #[test]
    fn no_two_outcomes_share_a_word() {
        let mut words: Vec<_> = Outcome::ALL.into_iter().map(Outcome::word).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Outcome::ALL.len());
    }

    #[test]
    fn a_status_outside_http_is_none() {
        for (status, class) in [
            (0, "none"),
            (99, "none"),
            (103, "1xx"),
            (200, "2xx"),
            (304, "3xx"),
            (407, "4xx"),
            (599, "5xx"),
            (600, "none"),
        ] {
            assert_eq!(STATUS_CLASSES[status_class(status)], class, "{status}");
        }
    }
}
