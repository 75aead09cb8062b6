//! Why a decision is what it is: the one rule that settled it.
//!
//! [`reuse`](crate::reuse) finds the cause on its way; [`explain`](crate::explain) tells it to people.

use std::fmt;

use crate::reuse::ForwardReason;

/// The rule that settled a decision.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The stored response is fresh, and the request takes it.
    Fresh,
    /// Stale, within `stale-while-revalidate`.
    WhileRevalidate,
    /// Stale, within the request's `max-stale`.
    MaxStale,
    /// The method is answered by the origin.
    Method,
    /// The request has content.
    RequestBody,
    /// `no-store` in the request.
    RequestNoStore,
    /// If-Match or If-Unmodified-Since.
    OriginCondition,
    /// Nothing is stored under the key.
    NothingStored,
    /// What is stored was selected by other values of the nominated fields.
    NoVariant,
    /// Only parts are stored, and none holds what is asked for.
    PartMissing,
    /// `no-cache` in the response.
    ResponseNoCache,
    /// `no-cache` in the request.
    RequestNoCache,
    /// The request's `max-age` is below the current age.
    RequestMaxAge,
    /// The request's `min-fresh` is above the remaining lifetime.
    RequestMinFresh,
    /// Stale, and nothing lets it answer.
    Stale,
    /// Stale, and it must not answer once it is.
    MustRevalidate,
    /// It was received in what is now the future: its age is not known.
    ClockStepped,
}

impl Cause {
    /// The section that has the rule.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Fresh => "RFC 9111, 4.2",
            Self::WhileRevalidate => "RFC 5861, 3",
            Self::MaxStale => "RFC 9111, 5.2.1.2",
            Self::Method | Self::NothingStored => "RFC 9111, 4",
            Self::RequestBody => "RFC 9110, 9.3.1",
            Self::RequestNoStore => "RFC 9111, 5.2.1.5",
            Self::OriginCondition => "RFC 9111, 4.3.2",
            Self::NoVariant => "RFC 9111, 4.1",
            Self::PartMissing => "RFC 9111, 3.3",
            Self::ResponseNoCache => "RFC 9111, 5.2.2.4",
            Self::RequestNoCache => "RFC 9111, 5.2.1.4",
            Self::RequestMaxAge => "RFC 9111, 5.2.1.1",
            Self::RequestMinFresh => "RFC 9111, 5.2.1.3",
            Self::Stale => "RFC 9111, 4.2.4",
            Self::MustRevalidate => "RFC 9111, 5.2.2.2",
            Self::ClockStepped => "RFC 9111, 4.2.3",
        }
    }

    /// The same in the words of RFC 9211, for what goes to the origin.
    pub(crate) const fn forward_reason(self) -> ForwardReason {
        match self {
            Self::Method => ForwardReason::Method,
            Self::RequestBody => ForwardReason::Bypass,
            Self::RequestNoStore
            | Self::OriginCondition
            | Self::RequestNoCache
            | Self::RequestMaxAge
            | Self::RequestMinFresh => ForwardReason::Request,
            Self::NothingStored => ForwardReason::UriMiss,
            Self::NoVariant => ForwardReason::VaryMiss,
            Self::PartMissing => ForwardReason::Partial,
            Self::Fresh
            | Self::WhileRevalidate
            | Self::MaxStale
            | Self::ResponseNoCache
            | Self::Stale
            | Self::MustRevalidate
            | Self::ClockStepped => ForwardReason::Stale,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fresh => "the stored response is fresh",
            Self::WhileRevalidate => "the stored response is stale, but within stale-while-revalidate",
            Self::MaxStale => "the stored response is stale, but the request's max-stale takes it",
            Self::Method => "only GET and HEAD are answered from the store",
            Self::RequestBody => "the request has content, so that its target does not say all that it asks",
            Self::RequestNoStore => "the request says no-store",
            Self::OriginCondition => "If-Match and If-Unmodified-Since are for the origin to judge",
            Self::NothingStored => "nothing is stored for this target",
            Self::NoVariant => "what is stored for this target answers other values of the fields in Vary",
            Self::PartMissing => "only parts are stored, and none holds all that is asked for",
            Self::ResponseNoCache => "the stored response says no-cache, or credentials or a signature opened it: ask before every use",
            Self::RequestNoCache => "the request says no-cache: ask first",
            Self::RequestMaxAge => "the stored response is older than the request's max-age allows",
            Self::RequestMinFresh => "the stored response does not stay fresh for as long as min-fresh asks",
            Self::Stale => "the stored response is stale",
            Self::MustRevalidate => {
                "the stored response is stale, and must-revalidate, proxy-revalidate or s-maxage forbids its use"
            }
            Self::ClockStepped => {
                "the stored response was received in what is now the future: its age is not known"
            }
        })
    }
}
