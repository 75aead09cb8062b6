//! larder's own messages, on standard error: terse, one line each, in colour only where a person reads them.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// The crates whose messages a plain level means.
const OWN: [&str; 4] = ["larder", "larder_server", "larder_storage", "larder_policy"];

/// Starts logging with a level or filter that was checked before.
pub(crate) fn start(level: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(filter(level))
        .with_context(|| format!("`{level}` is not a log filter"))?;
    let terminal = std::io::stderr().is_terminal();
    // systemd's journal stamps each line itself.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some() && !terminal;
    let subscriber = tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
        .with_target(false);
    let started = if journal {
        subscriber.without_time().try_init()
    } else {
        subscriber.with_timer(SystemTime).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

/// A plain level is meant for larder; its libraries say what is wrong and no more. A filter is taken as it is.
fn filter(level: &str) -> String {
    if level == "off" || level.contains(['=', ',']) {
        return level.to_owned();
    }
    let others = if level == "error" { "error" } else { "warn" };
    OWN.iter().fold(others.to_owned(), |filter, own| format!("{filter},{own}={level}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_level_is_meant_for_larder_alone() {
        assert_eq!(
            filter("debug"),
            "warn,larder=debug,larder_server=debug,larder_storage=debug,larder_policy=debug"
        );
        assert!(filter("error").starts_with("error,larder=error"));
        assert_eq!(filter("off"), "off");
    }

    #[test]
    fn a_filter_is_taken_as_it_is() {
        assert_eq!(filter("info,hyper=trace"), "info,hyper=trace");
    }
}
