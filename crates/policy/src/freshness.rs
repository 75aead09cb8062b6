//! Freshness lifetime: how long the origin, or a heuristic, lets a response be used (RFC 9111, 4.2.1 and
//! 4.2.2).
//!
//! Explicit information that cannot be read is still explicit: it makes the response stale, and no heuristic
//! takes its place.

use std::time::Duration;

use http::StatusCode;

use crate::cache_control::{Directive, ResponseDirectives};
use crate::fields::Fields;
use crate::settings::PolicySettings;
use crate::targeted::targeted_directives;
use crate::time::{DeltaSeconds, Timestamp, parse_http_date};

/// Where a freshness lifetime comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FreshnessSource {
    /// Nowhere: the lifetime is zero, and only validation makes the response usable.
    Absent,
    /// `s-maxage`.
    SMaxage,
    /// `max-age`.
    MaxAge,
    /// Expires less Date.
    Expires,
    /// A share of the time since Last-Modified.
    Heuristic,
    /// A package rule.
    Package,
    /// An operator's override.
    Override,
}

impl FreshnessSource {
    const ALL: [Self; 7] = [
        Self::Absent,
        Self::SMaxage,
        Self::MaxAge,
        Self::Expires,
        Self::Heuristic,
        Self::Package,
        Self::Override,
    ];

    /// The word for the log and for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::SMaxage => "s-maxage",
            Self::MaxAge => "max-age",
            Self::Expires => "expires",
            Self::Heuristic => "heuristic",
            Self::Package => "package",
            Self::Override => "override",
        }
    }

    /// The section that has the rule.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Absent => "RFC 9111, 4.2.1",
            Self::SMaxage => "RFC 9111, 5.2.2.10",
            Self::MaxAge => "RFC 9111, 5.2.2.1",
            Self::Expires => "RFC 9111, 5.3",
            Self::Heuristic => "RFC 9111, 4.2.2",
            Self::Package => "a package rule",
            Self::Override => "the configuration",
        }
    }

    /// Whether the response itself says how long it is fresh.
    pub const fn is_explicit(self) -> bool {
        matches!(self, Self::SMaxage | Self::MaxAge | Self::Expires)
    }

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::SMaxage => 1,
            Self::MaxAge => 2,
            Self::Expires => 3,
            Self::Heuristic => 4,
            Self::Package => 5,
            Self::Override => 6,
        }
    }

    pub(crate) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.code() == code)
    }
}

/// How long a response is fresh from the moment the origin made it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FreshnessLifetime(u64);

impl FreshnessLifetime {
    pub(crate) const ZERO: Self = Self(0);
    /// What a package rule gives: about 68 years.
    pub(crate) const FOR_EVER: Self = Self(DeltaSeconds::MAX.as_millis());

    pub(crate) const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub(crate) const fn as_millis(self) -> u64 {
        self.0
    }

    /// The lifetime.
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// The directives that hold for a response, and what they and its dates make of its freshness.
#[derive(Clone, Debug)]
pub(crate) struct Freshness {
    pub(crate) directives: ResponseDirectives,
    /// Whether a targeted field gave the directives.
    pub(crate) targeted: bool,
    /// Date, if there is a valid one.
    pub(crate) date: Option<Timestamp>,
    pub(crate) last_modified: Option<Timestamp>,
    pub(crate) source: FreshnessSource,
    pub(crate) lifetime: FreshnessLifetime,
}

impl Freshness {
    /// Reads a response received at `response_time`.
    pub(crate) fn of(
        settings: &PolicySettings,
        status: StatusCode,
        fields: &Fields,
        response_time: Timestamp,
    ) -> Self {
        let targeted = targeted_directives(&settings.targeted_fields, fields);
        let is_targeted = targeted.is_some();
        let directives =
            targeted.unwrap_or_else(|| ResponseDirectives::of_cache_control(fields.all("cache-control")));
        let date_of = |name| fields.first(name).and_then(|value| parse_http_date(value, response_time));
        let mut freshness = Self {
            directives,
            targeted: is_targeted,
            date: date_of("date"),
            last_modified: date_of("last-modified"),
            source: FreshnessSource::Absent,
            lifetime: FreshnessLifetime::ZERO,
        };
        let found = freshness
            .explicit(fields, response_time)
            .or_else(|| freshness.heuristic(settings, status, response_time));
        if let Some((source, lifetime)) = found {
            freshness.source = source;
            freshness.lifetime = FreshnessLifetime(lifetime);
        }
        freshness
    }

    /// The time from which Expires and Last-Modified are counted (RFC 9110, 6.6.1).
    pub(crate) fn date_or(&self, response_time: Timestamp) -> Timestamp {
        self.date.unwrap_or(response_time)
    }

    /// RFC 9111, 4.2.1: a shared cache asks s-maxage, max-age, Expires, in this order.
    fn explicit(&self, fields: &Fields, response_time: Timestamp) -> Option<(FreshnessSource, u64)> {
        let seconds = |directive: Directive<DeltaSeconds>| {
            directive.is_present().then(|| directive.value().unwrap_or_default().as_millis())
        };
        if let Some(lifetime) = seconds(self.directives.s_maxage) {
            return Some((FreshnessSource::SMaxage, lifetime));
        }
        if let Some(lifetime) = seconds(self.directives.max_age) {
            return Some((FreshnessSource::MaxAge, lifetime));
        }
        // A targeted field replaces Expires as well (RFC 9213, 2.2).
        if self.targeted {
            return None;
        }
        let mut lines = fields.all("expires");
        let first = lines.next()?;
        // Several lines contradict each other: stale.
        let expires = if lines.next().is_some() { None } else { parse_http_date(first, response_time) };
        let lifetime = expires.map_or(0, |expires| expires.millis_since(self.date_or(response_time)));
        Some((FreshnessSource::Expires, lifetime.min(DeltaSeconds::MAX.as_millis())))
    }

    /// RFC 9111, 4.2.2.
    fn heuristic(
        &self,
        settings: &PolicySettings,
        status: StatusCode,
        response_time: Timestamp,
    ) -> Option<(FreshnessSource, u64)> {
        if !is_heuristically_cacheable(status) && !self.directives.public {
            return None;
        }
        let since = self.date_or(response_time).millis_since(self.last_modified?);
        let share = since.saturating_mul(u64::from(settings.heuristic_percent)) / 100;
        let longest = u64::try_from(settings.heuristic_max.as_millis()).unwrap_or(u64::MAX);
        Some((FreshnessSource::Heuristic, share.min(longest)))
    }
}

/// Statuses that may be stored without being told so (RFC 9110, 15.1).
pub(crate) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}
