//! What the explanation of a decision holds: plain data with stable keys, for programs and for whoever prints it.
//!
//! The keys are documented in `docs/explain.md`. Times are in milliseconds, dates are HTTP-dates; sentences
//! (`cause.text`, `advice`) are for people and may change, everything else stays.

use serde::{Deserialize, Serialize};

/// A question: how would this request be answered now, and why?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// The absolute http or https URL, as a client asks for it.
    pub url: String,
    /// The method. Default: GET.
    #[serde(default = "get")]
    pub method: String,
    /// The fields of the request, each as `Name: value`. Host is added where it is absent.
    #[serde(default)]
    pub fields: Vec<String>,
}

fn get() -> String {
    "GET".to_owned()
}

/// The answer to an [`Explain`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The URL in the spelling that keys have.
    pub url: String,
    /// The method.
    pub method: String,
    /// The present.
    pub time: String,
    /// One for each way to the proxy that keeps keys of its own: its forward listeners together, and each origin behind a
    /// reverse listener.
    pub answers: Vec<ExplainedAnswer>,
}

/// How a request is answered that comes in by one kind of listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedAnswer {
    /// The origin behind a reverse listener; none for forward listeners.
    pub origin: Option<String>,
    /// What responses to this request are filed under.
    pub key: String,
    /// What is done.
    pub decision: Verdict,
    /// The rule that settled it.
    pub cause: Because,
    /// How `Cache-Status` would begin.
    pub cache_status: String,
    /// The status that the client gets, where the store answers.
    pub status: Option<u16>,
    /// The request directives without which the decision would be another one.
    pub directives: Vec<Because>,
    /// What the origin is asked with, where it is asked whether the stored response still holds.
    pub conditions: Option<ExplainedConditions>,
    /// What is asked of the origin where the selected response is a part that has some of it.
    pub missing: Option<ExplainedMissing>,
    /// Whether the selected response would stand in for an origin that fails, where the origin is asked.
    pub stands_in: Option<StandsIn>,
    /// All responses stored under the key, the one stored last first.
    pub variants: Vec<ExplainedVariant>,
    /// Which of them was selected, counted from 0.
    pub selected: Option<usize>,
    /// How old the selected one is, and how old it may get.
    pub freshness: Option<ExplainedFreshness>,
    /// Overrides and package rules that have, or will have, a say.
    pub rules: Vec<ExplainedRule>,
    /// What the origin could send to be asked less.
    pub advice: Vec<String>,
}

/// What is done for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Answered with the selected response.
    Serve,
    /// Answered with the selected response although it is stale.
    ServeStale,
    /// Likewise, and the origin is asked behind the client's back.
    ServeStaleAndRefresh,
    /// The origin is asked whether the selected response still holds.
    Validate,
    /// The origin is asked for all of it.
    Forward,
    /// 504: the request is not to be forwarded, and nothing stored can answer.
    GatewayTimeout,
}

/// A reason, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Because {
    /// For people.
    pub text: String,
    /// `RFC 9111, 4.2`
    pub section: String,
}

/// The conditions of a validation (RFC 9111, 4.3.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedConditions {
    /// If-None-Match
    pub if_none_match: Option<String>,
    /// If-Modified-Since
    pub if_modified_since: Option<String>,
}

/// How a part is completed (RFC 9111, 3.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedMissing {
    /// The value of Range in each request, in order.
    pub ranges: Vec<String>,
    /// If-Range in all of them: without a strong validator there is none.
    pub if_range: Option<String>,
}

/// Whether a stored response answers although the origin failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandsIn {
    /// When the origin cannot be reached (RFC 9111, 4.2.4).
    pub unreachable: bool,
    /// When it answers 500, 502, 503 or 504 (RFC 5861, 4).
    pub server_error: bool,
}

/// A stored response beside the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedVariant {
    /// The stored status.
    pub status: u16,
    /// Date, or the time of receipt.
    pub date: String,
    /// Bytes of its body.
    pub bytes: u64,
    /// Which bytes of the representation these are, as Content-Range has it, if not all.
    pub part: Option<String>,
    /// Of a part that can grow, the first and the last byte of each stretch that is here, in order.
    pub runs: Vec<(u64, u64)>,
    /// Whether it is fresh.
    pub fresh: bool,
    /// Whether it may answer, as far as Vary goes.
    pub matches: Match,
    /// Each field that Vary nominates.
    pub fields: Vec<ExplainedField>,
}

/// Whether a stored response answers a request, as far as Vary goes (RFC 9111, 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Match {
    /// All nominated fields match.
    Exact,
    /// Accept-Language differs, but the response is in the language that the request prefers.
    PreferredLanguage,
    /// A nominated field differs.
    Different,
}

/// A field that Vary nominates, its values in the spelling in which they are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedField {
    /// In lower case.
    pub name: String,
    /// What the stored response answered; none without the field.
    pub stored: Option<String>,
    /// What the request has; none without the field.
    pub asked: Option<String>,
    /// Whether they are the same.
    pub matches: bool,
}

/// How old a stored response is, and how old it may get (RFC 9111, 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedFreshness {
    /// How long it is fresh.
    pub lifetime_ms: u64,
    /// What says so: `absent`, `s-maxage`, `max-age`, `expires`, `heuristic`, `package` or `override`.
    pub source: String,
    /// Whether a targeted field said it (RFC 9213).
    pub targeted: bool,
    /// How old it is.
    pub age_ms: u64,
    /// How long it stays fresh; 0 when it is stale.
    pub remaining_ms: u64,
    /// The arithmetic line by line.
    pub steps: Vec<ExplainedStep>,
}

/// One line of the arithmetic: either a length of time or a date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedStep {
    /// In the words of the RFC.
    pub what: String,
    /// A length of time.
    pub ms: Option<u64>,
    /// Whether it is no more than that.
    pub at_most: bool,
    /// A date.
    pub date: Option<String>,
    /// Where it is written.
    pub section: String,
}

/// An override or a package rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedRule {
    /// Which of the two.
    pub kind: RuleKind,
    /// Its name; none for an override that the configuration no longer has.
    pub name: Option<String>,
    /// What it has to do with the answer.
    pub role: RuleRole,
}

/// Whose rule it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleKind {
    /// The operator's.
    Override,
    /// A built-in one for package registries.
    Package,
}

/// What a rule has to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleRole {
    /// It left a part of the query out of the key.
    Key,
    /// It had a say when the selected response was stored or validated.
    Applied,
    /// It is for this response, but had no say when that was stored; it acts when the response is stored or validated
    /// next.
    Next,
    /// It may have a say in what the origin answers, or not, by its status, content type and directives.
    Possible,
}
