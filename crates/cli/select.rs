//! Conditions as they are typed, and the way to what they select: in a running larder or in a store nobody uses.

use larder_policy::{HostPattern, Timestamp, UrlPattern};
use larder_server::Clock;
use larder_server::control::{List, Listed, Removed, Rules, Selection};
use larder_storage::Filter;

use crate::args::SelectArgs;
use crate::door::{self, Door};
use crate::failure::Failure;
use crate::settings::Settings;
use crate::values;

/// The selection, with a URL in the spelling that keys have.
pub(crate) fn selection(args: SelectArgs) -> Result<Selection, Failure> {
    if args.tag.as_ref().is_some_and(String::is_empty) {
        let why = "nothing carries an empty tag; write one, or leave `--tag` out";
        return Err(Failure::Usage(why.to_owned()));
    }
    let exact = args.exact.map(|url| values::target(&url)).transpose().map_err(Failure::Usage)?;
    let mut selection = Selection {
        url: exact.map(|target| target.to_string()),
        host: args.host.map(|host| host_pattern(&host)).transpose().map_err(Failure::Usage)?,
        glob: args.url.map(|pattern| url_pattern(&pattern)).transpose().map_err(Failure::Usage)?,
        tag: args.tag,
        larger_bytes: args.larger.map(|size| size.bytes()),
        smaller_bytes: args.smaller.map(|size| size.bytes()),
        ..Selection::default()
    };
    selection.older(args.older.map(|span| span.duration()));
    selection.newer(args.newer.map(|span| span.duration()));
    Ok(selection)
}

fn host_pattern(host: &str) -> Result<String, String> {
    let named = host.rsplit_once(':').filter(|(name, _)| !name.contains(':'));
    match (HostPattern::parse(host), named) {
        (Ok(_), _) => Ok(host.to_ascii_lowercase()),
        (Err(_), Some((name, port))) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(format!("a host is meant whatever the port; write its name alone: `--host {name}`"))
        }
        (Err(_), _) => Err(format!(
            "`{host}` is not a host; write its name alone, like `example.com`, or `*.example.com` for all hosts below it"
        )),
    }
}

fn url_pattern(pattern: &str) -> Result<String, String> {
    UrlPattern::parse(pattern).map(|_| pattern.to_owned()).map_err(|error| {
        let wider = pattern.replace('*', "**");
        if !pattern.contains('/') && pattern.contains('*') && UrlPattern::parse(&wider).is_ok() {
            format!("`{pattern}` matches no URL, since `*` stands for no slash; write `{wider}`")
        } else if HostPattern::parse(pattern).is_ok() {
            format!("`{pattern}` matches no URL; write `{pattern}/**`, or `--host {pattern}`")
        } else {
            format!("`{pattern}` cannot be used: {error}")
        }
    })
}

/// Lists in a running larder, or in the store itself.
pub(crate) fn list(
    door: Door,
    settings: &Settings,
    list: &List,
    each: &mut dyn FnMut(Listed) -> bool,
) -> Result<(), Failure> {
    match door {
        Door::Running(client) => client.list(list, each).map_err(door::refused),
        Door::Alone(alone) => alone.ask(|store| async move {
            let now = Clock::system().now();
            for filter in filters(&list.select, &Rules::of(&settings.config), now)? {
                let entries = store.entries(filter).await.map_err(anyhow::Error::new)?;
                let mut any = false;
                let mut tell = |listed: Option<Listed>| {
                    listed.is_none_or(|listed| {
                        any = true;
                        each(listed)
                    })
                };
                list.tell(entries, now, &mut tell).map_err(anyhow::Error::new)?;
                if any {
                    break;
                }
            }
            Ok(())
        }),
    }
}

/// Removes in a running larder, or in the store itself.
pub(crate) fn remove(door: Door, settings: &Settings, selection: &Selection) -> Result<Removed, Failure> {
    match door {
        Door::Running(client) => client.purge(selection).map_err(door::refused),
        Door::Alone(alone) => alone.ask(|store| async move {
            let mut removed = Removed::default();
            for filter in filters(selection, &Rules::of(&settings.config), Clock::system().now())? {
                let removal = store.remove_where(filter).await.map_err(anyhow::Error::new)?;
                removed = Removed { removed: removal.responses, bytes: removal.bytes };
                if removed.removed > 0 {
                    break;
                }
            }
            Ok(removed)
        }),
    }
}

/// Filters to try one after the other until one matches something: a reverse proxy may have stored a URL for an origin
/// that is not known here, which only reading everything finds.
fn filters(selection: &Selection, rules: &Rules, now: Timestamp) -> anyhow::Result<Vec<Filter>> {
    let mut filters = vec![selection.filter(rules, now)?];
    if selection.url.is_some() {
        filters.push(selection.filter_anywhere(rules, now)?);
    }
    Ok(filters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> SelectArgs {
        SelectArgs::default()
    }

    fn refused(args: SelectArgs) -> String {
        match selection(args) {
            Err(Failure::Usage(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_url_is_brought_into_the_spelling_of_keys_and_a_host_into_lower_case() {
        let exact = Some("HTTP://Example.com:80".to_owned());
        let host = Some("*.Example.COM".to_owned());
        let selected = selection(SelectArgs { exact, host, ..args() }).unwrap();
        assert_eq!(selected.url.as_deref(), Some("http://example.com/"));
        assert_eq!(selected.host.as_deref(), Some("*.example.com"));
    }

    #[test]
    fn quantities_read_as_everywhere() {
        let older = Some("1d".parse().unwrap());
        let larger = Some("1.5MiB".parse().unwrap());
        let selected = selection(SelectArgs { older, larger, ..args() }).unwrap();
        assert_eq!((selected.older_ms, selected.larger_bytes), (Some(86_400_000), Some(3 << 19)));
    }

    #[test]
    fn what_cannot_be_stored_is_a_usage_error_with_the_remedy() {
        let exact = |url: &str| refused(SelectArgs { exact: Some(url.to_owned()), ..args() });
        assert_eq!(exact("example.com/a"), "`example.com/a` is not a URL; write `http://example.com/a`");
        assert!(exact("ftp://example.com/").contains("is not a URL that can be stored"));
        let host = |host: &str| refused(SelectArgs { host: Some(host.to_owned()), ..args() });
        assert!(host("http://example.com/").contains("is not a host"));
        assert!(host("example.com:81").contains("write its name alone: `--host example.com`"));
        let tag = refused(SelectArgs { tag: Some(String::new()), ..args() });
        assert!(tag.contains("leave `--tag` out"), "{tag}");
        let url = |url: &str| refused(SelectArgs { url: Some(url.to_owned()), ..args() });
        assert!(url("*.deb").contains("write `**.deb`"));
        assert!(url("example.com").contains("write `example.com/**`, or `--host example.com`"));
        assert!(url("a b").contains("cannot be used"));
    }
}
