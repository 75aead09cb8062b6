//! The control API: health, metrics, figures, explanations, listing, purging and verifying, for the operator alone.
//!
//! It is served on a Unix socket that only the proxy's user can open, and over TCP where `admin` is
//! set, where a change, or a look at what is stored, needs the configured token. It has listeners of its own and cannot be reached
//! through the proxy's ports, whose access rules know the addresses.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /` | this list, as text |
//! | `GET /health` | `{"status":"ok"}` while the proxy runs |
//! | `GET /metrics` | Prometheus text |
//! | `GET /stats` | [`Figures`](crate::Figures) |
//! | `POST /explain` | [`Explain`] to [`Explained`] |
//! | `POST /list` | [`List`] to lines of [`Listed`] |
//! | `POST /purge` | [`Selection`] to [`Removed`] |
//! | `POST /verify` | [`Verify`] to lines of [`VerifyLine`] |
//! | `POST /lend` | [`Lend`] to lines of [`LeaseLine`]; on the socket alone |
//! | `POST /release` | [`Release`] to [`Released`]; on the socket alone |
//!
//! Everything runs on one thread, `larder-control`, with a runtime of its own: a scrape or a purge takes
//! no time from the workers. Every connection carries one request and has a deadline in each phase, and
//! the connections of each listener are bounded, so that idle TCP clients cannot shut the socket out.

mod api;
mod client;
mod explain;
mod explained;
mod guard;
mod leasing;
mod listing;
mod messages;
mod selection;
mod server;
mod socket;
mod stream;
#[cfg(test)]
mod tests;

pub use client::{Client, ClientError};
pub use explain::{InvalidQuestion, Rules, explain};
pub use explained::{
    Because, Explain, Explained, ExplainedAnswer, ExplainedConditions, ExplainedField, ExplainedFreshness,
    ExplainedMissing, ExplainedRule, ExplainedStep, ExplainedVariant, Match, RuleKind, RuleRole, StandsIn,
    Verdict,
};
pub use leasing::{EndedBy, Fetched, Granted, LeaseEnd, LeaseFigures, LeaseLine, Lend, Release, Released};
pub use messages::{
    List, Listed, ListedField, Removed, Selection, Sort, Verified, Verify, VerifyFault, VerifyFaultKind,
    VerifyLine, VerifyProgress, paced,
};
pub use selection::InvalidSelection;
pub(crate) use server::{Handle, start};
pub use socket::socket_path;
