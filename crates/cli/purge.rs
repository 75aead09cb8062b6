//! `larder purge`: removes stored responses, in a running larder or in a store nobody uses.

use larder_policy::TargetUri;
use larder_server::control::{Purge, Rules};
use larder_storage::{Filter, Store};

use crate::args::{PurgeArgs, PurgeWhat};
use crate::door::{self, Door};
use crate::failure::Failure;
use crate::{output, values};

/// Runs the command.
pub(crate) fn run(args: PurgeArgs) -> Result<(), Failure> {
    let what = what(args.what)?;
    let settings = door::settings(args.store)?;
    let removed = match door::open(&settings.store)? {
        Door::Running(client) => client.purge(&what).map_err(door::refused)?.removed,
        Door::Alone(alone) => alone.ask(|store| async move {
            let filter = match what {
                Purge::Url(url) => {
                    let target = values::target(&url).map_err(anyhow::Error::msg)?;
                    return by_url(&store, &Rules::of(&settings.config), target).await;
                }
                Purge::Host(host) => Filter::Host(host),
                Purge::Tag(tag) => Filter::Tag(tag),
                Purge::All(_) => Filter::All,
            };
            store.remove_where(filter).await.map_err(anyhow::Error::new)
        })?,
    };
    output::print(&told(removed))
}

/// Removes what is stored for a target, by itself or behind an origin.
async fn by_url(store: &Store, rules: &Rules, target: TargetUri) -> anyhow::Result<u64> {
    let mut removed = 0;
    for key in rules.keys(&target) {
        removed += store.remove_where(Filter::Url(key)).await?;
    }
    if removed == 0 {
        // A reverse proxy may have stored it, for an origin that is not known here.
        removed = store.remove_where(Filter::Target(target)).await?;
    }
    Ok(removed)
}

fn told(removed: u64) -> String {
    match removed {
        0 => "nothing was stored that matches\n".to_owned(),
        1 => "removed 1 stored response\n".to_owned(),
        n => format!("removed {n} stored responses\n"),
    }
}

/// The question, with a URL in the spelling that keys have.
fn what(args: PurgeWhat) -> Result<Purge, Failure> {
    match args {
        PurgeWhat { url: Some(url), .. } => {
            let target = values::target(&url).map_err(Failure::Usage)?;
            Ok(Purge::Url(target.to_string()))
        }
        PurgeWhat { tag: Some(tag), .. } => Ok(Purge::Tag(tag)),
        PurgeWhat { host: Some(host), .. } => {
            if host.is_empty() || host.contains(['/', ' ']) {
                let why = format!("`{host}` is not a host; write its name alone, like `example.com`");
                return Err(Failure::Usage(why));
            }
            if let Some((name, port)) = host.rsplit_once(':').filter(|(name, _)| !name.contains(':'))
                && port.bytes().all(|byte| byte.is_ascii_digit())
            {
                let why =
                    format!("a host is purged whatever the port; write its name alone: `--host {name}`");
                return Err(Failure::Usage(why));
            }
            Ok(Purge::Host(host.to_ascii_lowercase()))
        }
        PurgeWhat { .. } => Ok(Purge::All(true)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> PurgeWhat {
        PurgeWhat { url: None, tag: None, host: None, all: false }
    }

    #[test]
    fn a_url_is_brought_into_the_spelling_of_keys() {
        let url = Some("HTTP://Example.com:80".to_owned());
        assert_eq!(what(PurgeWhat { url, ..args() }).unwrap(), Purge::Url("http://example.com/".to_owned()));
    }

    #[test]
    fn what_cannot_be_stored_is_a_usage_error() {
        let refused = |url: &str| match what(PurgeWhat { url: Some(url.to_owned()), ..args() }) {
            Err(Failure::Usage(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused("example.com/a"), "`example.com/a` is not a URL; write `http://example.com/a`");
        assert!(refused("ftp://example.com/").contains("is not a URL that can be stored"));
        let host = Some("http://example.com/".to_owned());
        assert!(matches!(what(PurgeWhat { host, ..args() }), Err(Failure::Usage(_))));
    }

    #[test]
    fn a_host_is_lower_case_and_all_is_all() {
        let host = Some("Example.COM".to_owned());
        assert_eq!(what(PurgeWhat { host, ..args() }).unwrap(), Purge::Host("example.com".to_owned()));
        assert_eq!(what(PurgeWhat { all: true, ..args() }).unwrap(), Purge::All(true));
    }

    #[test]
    fn the_count_is_told_in_words() {
        assert_eq!(told(0), "nothing was stored that matches\n");
        assert_eq!(told(1), "removed 1 stored response\n");
        assert_eq!(told(7), "removed 7 stored responses\n");
    }
}
