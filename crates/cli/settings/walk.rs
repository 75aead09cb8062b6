//! Walks a parsed TOML file key by key, and remembers which keys were asked for.
//!
//! A key that nobody asked for is unknown, so the list of known keys cannot differ from what the reader reads.
//! Every fault is collected with its place; a value at fault counts as absent. Nothing here knows what a key means.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use larder_policy::DeltaSeconds;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Given;
use super::fault::{Fault, Place, Position, Severity};
use crate::units::{ByteSize, TimeSpan};
use crate::values;

/// The keys that were asked for and the faults that were met.
pub(crate) struct Walk<'a> {
    source: &'a str,
    faults: RefCell<Vec<Fault>>,
    known: RefCell<Vec<Known>>,
}

/// A key that a reader asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// The table it stands in; empty for the top of the file.
    pub(crate) table: &'static str,
    /// The key.
    pub(crate) key: &'static str,
    /// What it holds.
    pub(crate) holds: Holds,
}

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    Value,
    Table,
    Tables,
}

impl<'a> Walk<'a> {
    /// A walk over the file of this text.
    pub(crate) fn new(source: &'a str) -> Self {
        Self { source, faults: RefCell::default(), known: RefCell::default() }
    }

    /// The top of the file.
    pub(crate) fn top<'w>(&'w self, table: &'w DeTable<'w>) -> Section<'w> {
        Section { walk: self, name: "", table: Some(table), place: Place::Default }
    }

    /// All keys that were asked for.
    pub(crate) fn known(&self) -> Vec<Known> {
        self.known.borrow().clone()
    }

    /// Ends the walk: a fault for each key that nobody asked for, after those met on the way.
    pub(crate) fn finish(self, top: &DeTable<'_>) -> Vec<Fault> {
        self.unknown_in("", top);
        self.faults.into_inner()
    }

    fn unknown_in(&self, table: &str, content: &DeTable<'_>) {
        for (key, value) in content {
            let holds = self
                .known
                .borrow()
                .iter()
                .find(|k| k.table == table && k.key == key.get_ref())
                .map(|k| k.holds);
            match (holds, value.get_ref()) {
                (Some(Holds::Table), DeValue::Table(inner)) => self.unknown_in(key.get_ref(), inner),
                (Some(Holds::Tables), DeValue::Array(items)) => {
                    for item in items {
                        if let DeValue::Table(inner) = item.get_ref() {
                            self.unknown_in(key.get_ref(), inner);
                        }
                    }
                }
                (Some(_), _) => {}
                (None, _) => {
                    let what = if value.get_ref().is_table() { "table" } else { "key" };
                    let advice = self.advice(table, key.get_ref());
                    self.fault(key, format!("unknown {what} `{}`; {advice}", key.get_ref()));
                }
            }
        }
    }

    /// What may have been meant: a near key of the same table, the same key in another one, or the keys there are.
    fn advice(&self, table: &str, key: &str) -> String {
        let known = self.known.borrow();
        let here: Vec<_> = known.iter().filter(|k| k.table == table).map(|k| k.key).collect();
        if let Some(best) = values::nearest(key, &here) {
            let holds = known.iter().find(|k| k.table == table && k.key == best).map(|k| k.holds);
            return match holds {
                Some(Holds::Table) => format!("did you mean `[{best}]`?"),
                Some(Holds::Tables) => format!("did you mean `[[{best}]]`?"),
                _ => format!("did you mean `{best}`?"),
            };
        }
        let elsewhere: Vec<_> =
            known.iter().filter(|k| k.table != table && k.holds == Holds::Value).map(|k| k.key).collect();
        if let Some(found) =
            values::nearest(key, &elsewhere).and_then(|best| known.iter().find(|k| k.key == best))
        {
            let place = match (found.table, known.iter().find(|k| k.key == found.table).map(|k| k.holds)) {
                ("", _) => "the top of the file, before any table".to_owned(),
                (table, Some(Holds::Tables)) => format!("`[[{table}]]`"),
                (table, _) => format!("`[{table}]`"),
            };
            return if found.key == key {
                format!("it belongs to {place}")
            } else {
                format!("did you mean `{}`, which belongs to {place}?", found.key)
            };
        }
        match table {
            "" => format!("the file has {}", here.join(", ")),
            table => format!("`{table}` has {}", here.join(", ")),
        }
    }

    fn fault<T>(&self, at: &Spanned<T>, text: String) {
        self.faults.borrow_mut().push(Fault { place: self.place(at), severity: Severity::Error, text });
    }

    fn place<T>(&self, at: &Spanned<T>) -> Place {
        Place::File(Position::of(self.source, at.span()))
    }

    fn remember(&self, table: &'static str, key: &'static str, holds: Holds) {
        let known = Known { table, key, holds };
        let mut all = self.known.borrow_mut();
        if !all.contains(&known) {
            all.push(known);
        }
    }
}

/// One table of the file; absent ones can be asked too, so that their keys become known.
#[derive(Clone, Copy)]
pub(crate) struct Section<'w> {
    walk: &'w Walk<'w>,
    name: &'static str,
    table: Option<&'w DeTable<'w>>,
    place: Place,
}

impl<'w> Section<'w> {
    /// Where the table begins.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Whether the key is there, well-formed or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// A fault of the table as a whole.
    pub(crate) fn fault(&self, text: String) {
        self.walk.faults.borrow_mut().push(Fault { place: self.place, severity: Severity::Error, text });
    }

    /// The table under a key.
    pub(crate) fn table(&self, key: &'static str) -> Self {
        self.walk.remember(self.name, key, Holds::Table);
        let found = self.find(key);
        let mut section = Self { walk: self.walk, name: key, table: None, place: Place::Default };
        if let Some(value) = found {
            match value.get_ref() {
                DeValue::Table(table) => section.table = Some(table),
                DeValue::Array(_) => self.walk.fault(value, format!("`{key}` is one table; write `[{key}]`")),
                other => self.walk.fault(
                    value,
                    format!("`{key}` is a table, not {}; write `[{key}]` and its keys below", a_kind(other)),
                ),
            }
            section.place = self.walk.place(value);
        }
        section
    }

    /// The tables under a key that may be repeated; an absent one first, so that its keys become known.
    pub(crate) fn tables(&self, key: &'static str) -> (Self, Vec<Self>) {
        self.walk.remember(self.name, key, Holds::Tables);
        let section = |table, place| Self { walk: self.walk, name: key, table, place };
        let absent = section(None, Place::Default);
        let Some(value) = self.find(key) else { return (absent, Vec::new()) };
        let mut found = Vec::new();
        match value.get_ref() {
            DeValue::Array(items) => {
                for item in items {
                    match item.get_ref() {
                        DeValue::Table(table) => found.push(section(Some(table), self.walk.place(item))),
                        other => self.walk.fault(
                            item,
                            format!(
                                "`{key}` is a list of tables, not of {}s; write `[[{key}]]`",
                                other.type_str()
                            ),
                        ),
                    }
                }
            }
            other => self.walk.fault(
                value,
                format!(
                    "`{key}` can be repeated, so it has two brackets: write `[[{key}]]` (this is {})",
                    a_kind(other)
                ),
            ),
        }
        (absent, found)
    }

    /// A string that reads as something.
    pub(crate) fn text<T>(
        &self,
        key: &'static str,
        what: &str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Given<T>> {
        self.read(key, |value| in_quotes(value, what, example).and_then(&parse))
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, key: &'static str) -> Option<Given<bool>> {
        self.read(key, |value| {
            value
                .as_bool()
                .ok_or_else(|| format!("write `true` or `false`, without quotes; this is {}", a_kind(value)))
        })
    }

    /// A whole number within bounds.
    pub(crate) fn integer(&self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<Given<u64>> {
        self.read(key, |value| whole_number(value, &bounds))
    }

    /// A size within bounds.
    pub(crate) fn size(&self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<Given<ByteSize>> {
        self.read(key, |value| {
            let size: ByteSize = unit_value(value, "a size", "MiB")?;
            within(size, size.bytes(), &bounds, ByteSize::from_bytes)
        })
    }

    /// A duration of at least this many milliseconds, and of a year at the most.
    pub(crate) fn duration(&self, key: &'static str, least_ms: u64) -> Option<Given<Duration>> {
        self.read(key, |value| duration_value(value, least_ms))
    }

    /// A duration in whole seconds, of a year at the most.
    pub(crate) fn seconds(&self, key: &'static str) -> Option<Given<DeltaSeconds>> {
        self.read(key, |value| {
            let duration = duration_value(value, 0)?;
            if duration.subsec_millis() != 0 {
                return Err(format!(
                    "{} is no whole number of seconds; write `\"{}s\"`, for instance",
                    TimeSpan::from(duration),
                    duration.as_secs() + 1
                ));
            }
            Ok(DeltaSeconds::from_secs(duration.as_secs()))
        })
    }

    /// A path.
    pub(crate) fn path(&self, key: &'static str) -> Option<Given<PathBuf>> {
        self.text(key, "a path", "/var/cache/larder", path)
    }

    /// A list, each member with its own place.
    pub(crate) fn list<T>(
        &self,
        key: &'static str,
        example: &str,
        each: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<Given<Vec<Given<T>>>> {
        self.walk.remember(self.name, key, Holds::Value);
        let value = self.find(key)?;
        let Some(items) = value.get_ref().as_array() else {
            let text = format!(
                "{}: write a list in brackets, like `{key} = {example}`; this is {}",
                self.full(key),
                a_kind(value.get_ref())
            );
            self.walk.fault(value, text);
            return None;
        };
        let mut members = Vec::new();
        for item in items {
            match each(item.get_ref()) {
                Ok(member) => members.push(Given { value: member, place: self.walk.place(item) }),
                Err(why) => self.walk.fault(item, format!("{}: {why}", self.full(key))),
            }
        }
        Some(Given { value: members, place: self.walk.place(value) })
    }

    /// A list with at least one member, of which an empty one would say the opposite of what it seems to.
    pub(crate) fn filled_list<T>(
        &self,
        key: &'static str,
        example: &str,
        each: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<Given<Vec<Given<T>>>> {
        let given = self.list(key, example, each)?;
        if let Some(value) =
            self.find(key).filter(|value| value.get_ref().as_array().is_some_and(|items| items.is_empty()))
        {
            let text = format!(
                "{}: an empty list would mean all there are; remove it, or write one like `{key} = {example}`",
                self.full(key)
            );
            self.walk.fault(value, text);
        }
        Some(given)
    }

    /// Whether the key holds a list, well-formed or not.
    pub(crate) fn is_list(&self, key: &str) -> bool {
        self.find(key).is_some_and(|value| value.get_ref().is_array())
    }

    /// A value that reads as something.
    pub(crate) fn read<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<Given<T>> {
        self.walk.remember(self.name, key, Holds::Value);
        let value = self.find(key)?;
        match parse(value.get_ref()) {
            Ok(parsed) => Some(Given { value: parsed, place: self.walk.place(value) }),
            Err(why) => {
                self.walk.fault(value, format!("{}: {why}", self.full(key)));
                None
            }
        }
    }

    fn find(&self, key: &str) -> Option<&'w Spanned<DeValue<'w>>> {
        self.table?.get(key)
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { format!("`{key}`") } else { format!("`{}.{key}`", self.name) }
    }
}

/// The string that a value is, or what to write instead.
pub(crate) fn in_quotes<'v>(value: &'v DeValue<'_>, what: &str, example: &str) -> Result<&'v str, String> {
    value
        .as_str()
        .ok_or_else(|| format!("write {what} in quotes, like `\"{example}\"`; this is {}", a_kind(value)))
}

/// A whole number within bounds.
pub(crate) fn whole_number(value: &DeValue<'_>, bounds: &RangeInclusive<u64>) -> Result<u64, String> {
    let (low, high) = bounds.clone().into_inner();
    let parsed =
        value.as_integer().and_then(|i| u64::from_str_radix(&i.as_str().replace('_', ""), i.radix()).ok());
    parsed.filter(|number| bounds.contains(number)).ok_or_else(|| {
        format!("write a whole number from {low} to {high}, without quotes; this is {}", shown(value))
    })
}

/// A path that is not empty.
pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("the path is empty".to_owned()) } else { Ok(PathBuf::from(text)) }
}

/// A string with a unit; a bare number is answered with what it may have meant.
fn unit_value<T: FromStr<Err = crate::units::UnitError>>(
    value: &DeValue<'_>,
    what: &str,
    unit: &str,
) -> Result<T, String> {
    if let Some(number) = value.as_integer() {
        // Thousands of megabytes are rarely meant; that many bytes are.
        let unit = if unit == "MiB" && number.as_str().len() > 4 { "B" } else { unit };
        return Err(format!(
            "{what} has a unit and quotes: write `\"{}{unit}\"`, for instance",
            number.as_str()
        ));
    }
    let example = if unit == "s" { "30s" } else { "512MiB" };
    in_quotes(value, what, example)?.parse().map_err(|error: crate::units::UnitError| error.to_string())
}

/// A duration within bounds, of a year at the most.
fn duration_value(value: &DeValue<'_>, least_ms: u64) -> Result<Duration, String> {
    let span: TimeSpan = unit_value(value, "a duration", "s")?;
    let ms = u64::try_from(span.duration().as_millis()).unwrap_or(u64::MAX);
    let print = |ms| TimeSpan::from(Duration::from_millis(ms));
    within(span.duration(), ms, &(least_ms..=365 * 86_400_000), print)
}

fn within<T, P: std::fmt::Display>(
    value: T,
    measure: u64,
    bounds: &RangeInclusive<u64>,
    print: impl Fn(u64) -> P,
) -> Result<T, String> {
    if measure < *bounds.start() {
        return Err(format!(
            "{} is too little; write at least `\"{}\"`",
            print(measure),
            print(*bounds.start())
        ));
    }
    if measure > *bounds.end() {
        return Err(format!("{} is too much; write at most `\"{}\"`", print(measure), print(*bounds.end())));
    }
    Ok(value)
}

/// A value's kind with its article.
fn a_kind(value: &DeValue<'_>) -> String {
    match value.type_str() {
        kind @ ("integer" | "array") => format!("an {kind}"),
        kind => format!("a {kind}"),
    }
}

/// The value itself where it is short, else its kind.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(number) => format!("`{}`", number.as_str()),
        DeValue::Float(number) => format!("`{}`", number.as_str()),
        DeValue::String(text) if text.len() <= 40 => format!("`\"{text}\"`"),
        other => a_kind(other),
    }
}
