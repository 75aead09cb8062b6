//! Why a response is stored or not.

use crate::explain::FreshnessExplanation;
use crate::explain::advice::{self, Advice};
use crate::packages::{Rule, RuleId};
use crate::settings::PolicySettings;
use crate::storability::{Exchange, NotStored, storability};

/// Why a response is stored, or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StorabilityExplanation {
    /// What [`storability`] says. The reason knows its section; see also
    /// [`StorabilityExplanation::sentence`].
    pub outcome: Result<(), NotStored>,
    /// How long it is fresh on arrival, if it is stored.
    pub freshness: Option<FreshnessExplanation>,
    /// The package rule that it is stored under.
    pub rule: Option<RuleId>,
    /// The name of the override that applies.
    pub applied: Option<String>,
    /// What the origin could send to be asked less.
    pub advice: Vec<Advice>,
}

/// Explains what [`storability`] decides for an exchange.
pub fn explain_storability(
    settings: &PolicySettings,
    exchange: &Exchange<'_>,
    rule: Option<&Rule>,
) -> StorabilityExplanation {
    let outcome = storability(settings, exchange, rule);
    let stored = outcome.as_ref().ok();
    let applied = settings.overrides.for_response(exchange.target, exchange.response);
    StorabilityExplanation {
        freshness: stored.map(|stored| FreshnessExplanation::of(stored, exchange.response_time)),
        rule: stored.and_then(|stored| stored.facts().rule()),
        applied: applied.map(|applied| applied.name.clone()),
        advice: advice::of_storing(settings, exchange, stored, outcome.as_ref().err().copied()),
        outcome: outcome.map(drop),
    }
}

impl StorabilityExplanation {
    /// The outcome for people.
    pub const fn sentence(&self) -> &'static str {
        match self.outcome {
            Ok(()) => "the response may be stored",
            Err(why) => match why {
                NotStored::Method => "the method's answers are not stored",
                NotStored::RequestBody => {
                    "the request has content, so that its target does not say all that it asked"
                }
                NotStored::RequestNoStore => "the request says no-store",
                NotStored::Status => {
                    "the status is interim, or answers one request's conditions or credentials"
                }
                NotStored::Partial => "the response is a part of a representation that cannot be kept as one",
                NotStored::Framing => "the end of the body cannot be told from a cut connection",
                NotStored::MustUnderstand => "must-understand, and the status is not one that larder knows",
                NotStored::NoStore => "the response says no-store",
                NotStored::Private => "the response says private, and this cache is shared",
                NotStored::Authorization => {
                    "the request has Authorization, and nothing in the response allows sharing"
                }
                NotStored::VaryStar => "Vary nominates what no other request can match",
                NotStored::SetCookie => "Set-Cookie without explicit freshness is meant for one client",
                NotStored::NoFreshness => "the response is neither fresh nor can it be validated",
                NotStored::Override => "an override of the operator says never_store",
            },
        }
    }
}
