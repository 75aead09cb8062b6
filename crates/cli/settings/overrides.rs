//! `[[override]]` tables: what the operator sets beyond, or against, the origin's word.
//!
//! Patterns are judged one by one as they are read; what only shows when all overrides are together (a name used twice,
//! one that never applies, one that is dangerous) is told by [`settle`], at the key that it is about.

use std::collections::HashMap;

use larder_policy::{
    Action, ContentTypePattern, Danger, IgnoreQuery, InvalidOverride, Override, Overrides, ParameterPattern,
    PathPattern,
};
use toml::de::DeValue;

use super::Given;
use super::fault::{Place, Report};
use super::walk::{Section, in_quotes};
use crate::values;

/// An override, and where its keys stand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OverrideDraft {
    settled: Override,
    places: HashMap<&'static str, Place>,
}

impl OverrideDraft {
    fn place(&self, key: &str) -> Place {
        self.places.get(key).or_else(|| self.places.get("name")).copied().unwrap_or(Place::Default)
    }
}

/// All overrides of the file that can be told, in their order.
pub(super) fn read(top: Section<'_>) -> Vec<OverrideDraft> {
    let (absent, tables) = top.tables("override");
    one(absent);
    tables.into_iter().filter_map(one).collect()
}

/// None for one that is not there, or has no name.
fn one(table: Section<'_>) -> Option<OverrideDraft> {
    let mut keys = Keys { table, places: HashMap::new() };
    let name = table.text("name", "a name", "nightly-builds", name);
    let hosts = keys.patterns(
        "hosts",
        r#"["files.example", "*.cdn.example"]"#,
        "files.example",
        values::host_pattern,
    );
    let paths = keys.patterns("paths", r#"["/releases/**"]"#, "/releases/**", path);
    let types = keys.patterns("content_types", r#"["image/*"]"#, "image/*", content_type);
    let action = Action {
        fresh_for: keys.seconds("fresh_for"),
        min_fresh: keys.seconds("min_fresh"),
        max_fresh: keys.seconds("max_fresh"),
        stale_if_error: keys.seconds("stale_if_error"),
        stale_while_revalidate: keys.seconds("stale_while_revalidate"),
        ignore_query: keys.ignore_query(),
        never_store: keys.flag("never_store"),
        ignore_no_store: keys.flag("ignore_no_store"),
        ignore_private: keys.flag("ignore_private"),
        ignore_authorization: keys.flag("ignore_authorization"),
        ignore_no_cache: keys.flag("ignore_no_cache"),
        ignore_must_revalidate: keys.flag("ignore_must_revalidate"),
        drop_set_cookie: keys.flag("drop_set_cookie"),
        ignore_client_reload: keys.flag("ignore_client_reload"),
    };
    if table.place() != Place::Default && !table.has("name") {
        let advice = "this override has no name, by which Cache-Status and `larder explain` tell it; write `name = \"nightly-builds\"`";
        table.fault(advice.to_owned());
    }
    let Given { value: name, place } = name?;
    keys.places.insert("name", place);
    let settled = Override { name, hosts, paths, content_types: types, action };
    Some(OverrideDraft { settled, places: keys.places })
}

/// The keys of one table; remembers where they stand.
struct Keys<'w> {
    table: Section<'w>,
    places: HashMap<&'static str, Place>,
}

impl Keys<'_> {
    fn take<T>(&mut self, key: &'static str, given: Option<Given<T>>) -> Option<T> {
        let given = given?;
        self.places.insert(key, given.place);
        Some(given.value)
    }

    fn flag(&mut self, key: &'static str) -> bool {
        let given = self.table.boolean(key);
        self.take(key, given).unwrap_or(false)
    }

    fn seconds(&mut self, key: &'static str) -> Option<larder_policy::DeltaSeconds> {
        let given = self.table.seconds(key);
        self.take(key, given)
    }

    /// A list of patterns, which matches everything when it is absent and so may not be empty.
    fn patterns<T>(
        &mut self,
        key: &'static str,
        example: &str,
        member: &str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let given =
            self.table.filled_list(key, example, |value| parse(in_quotes(value, "a pattern", member)?));
        let list = self.take(key, given).unwrap_or_default();
        list.into_iter().map(|given| given.value).collect()
    }

    fn ignore_query(&mut self) -> IgnoreQuery {
        const KEY: &str = "ignore_query";
        if self.table.is_list(KEY) {
            let given = self
                .table
                .list(KEY, r#"["utm_*"]"#, |value| parameter(in_quotes(value, "a parameter", "utm_*")?));
            let list = self.take(KEY, given).unwrap_or_default();
            return match list {
                list if list.is_empty() => IgnoreQuery::Nothing,
                list => IgnoreQuery::Named(list.into_iter().map(|given| given.value).collect()),
            };
        }
        let given = self.table.read(KEY, |value| match value {
            DeValue::Boolean(true) => Ok(IgnoreQuery::All),
            DeValue::Boolean(false) => Ok(IgnoreQuery::Nothing),
            DeValue::String(text) => Err(format!("write a list in brackets, like `{KEY} = [\"{text}\"]`")),
            _ => Err(format!(
                "write `true` for all of the query, or a list of its parameters, like `{KEY} = [\"utm_*\"]`"
            )),
        });
        self.take(KEY, given).unwrap_or_default()
    }
}

fn name(text: &str) -> Result<String, String> {
    // The rules for a name are policy's; alone a list of one can have no other fault.
    match Overrides::new(vec![Override { name: text.to_owned(), ..Override::default() }]) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => {
            let like = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
            let better: String = text.chars().map(like).take(64).collect();
            let better = if better.is_empty() { "nightly-builds" } else { &better };
            Err(format!(
                "`{text}` is no name: it has 1 to 64 letters, digits, `-` or `_`; write `{better}`, for instance"
            ))
        }
    }
}

fn path(text: &str) -> Result<PathPattern, String> {
    PathPattern::parse(text).map_err(|error| {
        if matches!(error, InvalidOverride::TooLong(_)) {
            return too_long(text);
        }
        let (before, query) = text.split_once('?').unwrap_or((text, ""));
        let remedy = if !query.is_empty() && PathPattern::parse(before).is_ok() {
            format!("a query is no part of it; write `{before}`")
        } else if PathPattern::parse(&format!("/{text}")).is_ok() {
            format!("write `/{text}`")
        } else {
            "write one that begins with a slash, like `/releases/**`".to_owned()
        };
        format!("`{text}` is not a pattern for paths; {remedy}")
    })
}

fn content_type(text: &str) -> Result<ContentTypePattern, String> {
    ContentTypePattern::parse(text).map_err(|_| {
        let bare = text.split(';').next().unwrap_or_default().trim();
        let remedy = match ContentTypePattern::parse(bare) {
            Ok(_) => format!("parameters do not count; write `{bare}`"),
            Err(_) => "write one like `text/html` or `image/*`".to_owned(),
        };
        format!("`{text}` is not a content type; {remedy}")
    })
}

fn parameter(text: &str) -> Result<ParameterPattern, String> {
    ParameterPattern::parse(text).map_err(|error| {
        if matches!(error, InvalidOverride::TooLong(_)) {
            return too_long(text);
        }
        let bare = text.trim_start_matches(['?', '&']).split('=').next().unwrap_or_default();
        let remedy = match ParameterPattern::parse(bare) {
            Ok(_) => format!("write its name alone, `{bare}`"),
            Err(_) => "write one like `utm_*`".to_owned(),
        };
        format!("`{text}` is not the name of a parameter; {remedy}")
    })
}

fn too_long(text: &str) -> String {
    format!("`{text}` is too long; write at most 127 characters after the first star")
}

/// All overrides together, with warnings at the keys that they are about.
pub(super) fn settle(drafts: &[OverrideDraft], report: &mut Report) -> Overrides {
    let mut kept: Vec<&OverrideDraft> = Vec::new();
    for draft in drafts {
        let name = &draft.settled.name;
        match kept.iter().find(|earlier| earlier.settled.name == *name) {
            Some(earlier) => {
                let at = report.name_of(earlier.place("name"));
                report.error(
                    draft.place("name"),
                    format!("{at} has an override called `{name}` already; give each a name of its own"),
                );
            }
            None => kept.push(draft),
        }
    }
    let overrides = match Overrides::new(kept.iter().map(|draft| draft.settled.clone()).collect()) {
        Ok(overrides) => overrides,
        Err(error) => {
            report.error(Place::Default, error.to_string());
            return Overrides::default();
        }
    };
    for warning in overrides.warnings() {
        let place = kept
            .iter()
            .find(|draft| draft.settled.name == warning.name)
            .map_or(Place::Default, |draft| draft.place(key_of(&warning.danger)));
        report.warn(place, warning.to_string());
    }
    overrides
}

/// The key that a warning is about.
fn key_of(danger: &Danger) -> &'static str {
    match danger {
        Danger::NoStore => "ignore_no_store",
        Danger::Private => "ignore_private",
        Danger::Authorization => "ignore_authorization",
        Danger::NoCache => "ignore_no_cache",
        Danger::MustRevalidate => "ignore_must_revalidate",
        Danger::MinFresh => "min_fresh",
        Danger::WholeQuery | Danger::QueryByContentType => "ignore_query",
        Danger::Contradiction => "max_fresh",
        Danger::NothingStored => "never_store",
        _ => "name",
    }
}
