//! `larder explain`: why a request is, or is not, answered from the store.
//!
//! A running larder is asked how it would decide; when none runs, the store is opened and judged by the configuration that
//! is named. Nothing is fetched. `docs/explain.md` documents the JSON.

mod text;

use larder_server::Clock;
use larder_server::control::{Explain, Rules, explain};

use crate::args::ExplainArgs;
use crate::door::{self, Door};
use crate::failure::Failure;
use crate::{output, values};

/// Runs the command.
pub(crate) fn run(args: ExplainArgs) -> Result<(), Failure> {
    let target = values::target(&args.url).map_err(Failure::Usage)?;
    let question = Explain { url: target.to_string(), method: args.method, fields: args.header };
    let settings = door::settings(args.store)?;
    let (explained, alone) = match door::open(&settings.store)? {
        Door::Running(client) => (client.explain(&question).map_err(door::refused)?, false),
        Door::Alone(alone) => {
            let rules = Rules::of(&settings.config);
            let now = Clock::system().now();
            let explained = alone
                .ask(|store| async move { explain(&rules, &store, &question, now).await })
                .map_err(|invalid| Failure::Usage(invalid.to_string()))?;
            (explained, true)
        }
    };
    if alone && explained.answers.iter().all(|answer| answer.variants.is_empty()) {
        output::note(
            "what a reverse proxy stored is found with the configuration that it ran with: --config FILE\n",
        );
    }
    output::print(&if args.json { json(&explained)? } else { text::page(&explained) })
}

fn json(explained: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(explained).map_err(|error| Failure::Failed(error.into()))?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests;
