//! What HTTP lets a shared cache do: RFC 9110 and 9111, with RFC 5861, 8246, 9211 and 9213.
//!
//! Values in, a decision out. Nothing here reads a clock, opens a file or socket, waits, or knows how a
//! message came or where a response is kept: time is an argument, and a decision is carried out by whoever
//! asked for it. No input of a peer, and no bytes read back from disk, can make this crate panic.
//!
//! The way of a request: [`RequestFacts::of`] its fields, [`reuse`] with what is stored under its
//! [`CacheKey`]; then [`precondition`] and [`range_plan`] for a hit, [`freshen`] for a validated one,
//! [`storability`] and [`invalidates`] for what the origin answered. A stored 206 is a [`Part`]: it answers
//! through [`part_plan`], and [`missing_for`] and [`combine`] make it greater. The `http` crate lends the words for
//! methods and statuses.

mod age;
mod cache_control;
mod cause;
mod combine;
mod credentials;
mod explain;
mod facts;
mod fields;
mod freshness;
mod invalidation;
mod key;
mod overrides;
pub mod packages;
mod parts;
mod precondition;
mod range;
mod request;
mod reuse;
mod runs;
mod settings;
mod storability;
mod stored;
mod target;
mod targeted;
mod time;
mod url_pattern;
mod validation;
mod validator;
mod vary;

pub use age::CurrentAge;
pub use cache_control::{Directive, RequestDirectives, ResponseDirectives, Restriction};
pub use cause::Cause;
pub use combine::{Combination, combine};
pub use explain::{
    Advice, AgeValue, DirectiveExplanation, Explanation, FieldExplanation, FreshnessExplanation, Step,
    StepValue, StorabilityExplanation, VariantExplanation, VariantMatch, explain, explain_storability,
};
pub use facts::{EncodedFacts, ReuseFacts};
pub use fields::{Fields, InvalidField, list_members, remove_hop_by_hop};
pub use freshness::{FreshnessLifetime, FreshnessSource};
pub use invalidation::invalidates;
pub use key::CacheKey;
pub use overrides::{
    Action, ContentTypePattern, Danger, HostPattern, IgnoreQuery, InvalidOverride, Override, OverrideWarning,
    Overrides, ParameterPattern, PathPattern,
};
pub use parts::{Held, Missing, Part, PartPlan, displaces, missing_for, part_plan};
pub use precondition::{Precondition, not_modified_fields, precondition};
pub use range::{RangePlan, range_plan};
pub use request::{MethodClass, RequestFacts};
pub use reuse::{
    Candidate, Decision, ForwardReason, OriginFailure, Selected, StaleReason, reuse, reuse_offline,
    stale_on_error,
};
pub use runs::{MOST_GAPS, RUN_WORTH_KEEPING, Runs};
pub use settings::PolicySettings;
pub use storability::{Exchange, NotStored, storability};
pub use stored::{StoredParts, StoredResponse};
pub use target::{HostPort, Scheme, TargetError, TargetUri};
pub use time::{DeltaSeconds, HttpDate, Timestamp, parse_http_date};
pub use url_pattern::UrlPattern;
pub use validation::{Conditions, Freshened, freshen};
pub use vary::Nominated;
