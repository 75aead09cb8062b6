//! `LARDER_*` variables: one for each flag of `serve`, named after it.
//!
//! They take the same text as the flags; several values are separated by commas, several files by colons, as in
//! `PATH`. A variable that is set to nothing counts as not set, since that is how many tools unset one. An unknown
//! one is mentioned only where a known one is near: others than people set variables too (`LARDER_SERVICE_HOST`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::fault::{Place, Report, variable};
use super::walk::path;
use super::{Given, GivenList, Shared};
use crate::values;

const PREFIX: &str = "LARDER_";

/// The variables that may concern larder.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables(BTreeMap<String, OsString>);

impl Variables {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        Self::from_iter(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))),
        )
    }

    /// The value of a variable that is set to something.
    pub(crate) fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(name)
    }
}

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Variables {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(
            pairs
                .filter(|(name, value): &(String, OsString)| name.starts_with(PREFIX) && !value.is_empty())
                .collect(),
        )
    }
}

/// What the variables say.
pub(super) fn read(variables: &Variables, report: &mut Report) -> Shared {
    let mut reader = Reader { variables, report, known: vec!["config"] };
    let shared = reader.shared();
    let Reader { known, .. } = reader;
    for name in variables.0.keys() {
        let flag = name.trim_start_matches(PREFIX).to_ascii_lowercase().replace('_', "-");
        if !known.contains(&flag.as_str())
            && let Some(best) = values::nearest(&flag, &known)
        {
            report.warn(
                Place::Default,
                format!("{name} means nothing to larder; did you mean {}?", variable(best)),
            );
        }
    }
    shared
}

struct Reader<'a> {
    variables: &'a Variables,
    report: &'a mut Report,
    /// The flags whose variables were asked for.
    known: Vec<&'static str>,
}

impl Reader<'_> {
    fn shared(&mut self) -> Shared {
        Shared {
            listen: self.list("listen", ',', values::address),
            reverse: self.one("reverse", values::reverse_origin),
            cache_dir: self.path("cache-dir"),
            disk: self.one("disk", |text| text.parse().map_err(|e: crate::units::UnitError| e.to_string())),
            memory: self
                .one("memory", |text| text.parse().map_err(|e: crate::units::UnitError| e.to_string())),
            allow_clients: self.list("allow-client", ',', values::network),
            allow_destinations: self.list("allow-destination", ',', values::destination),
            connect_ports: self.list("connect-ports", ',', values::port),
            upstream_ca: self.list("upstream-ca", ':', path),
            parent: self.one("parent", values::parent),
            intercept: self.one("intercept", values::switch),
            ca_dir: self.path("ca-dir"),
            offline: self.one("offline", values::switch),
            admin: self.one("admin", values::address),
            admin_token: self.one("admin-token", values::token),
            access_log: self.one("access-log", values::access_log),
            log_format: self.one("log-format", values::log_format),
            log_level: self.one("log-level", values::log_level),
            workers: self.one("workers", values::workers),
        }
    }

    fn raw(&mut self, flag: &'static str) -> Option<OsString> {
        self.known.push(flag);
        self.variables.get(&variable(flag)).cloned()
    }

    fn text(&mut self, flag: &'static str) -> Option<String> {
        let value = self.raw(flag)?;
        if let Ok(text) = value.into_string() {
            return Some(text);
        }
        self.report.error(Place::Variable(flag), "the value is not UTF-8 text");
        None
    }

    fn path(&mut self, flag: &'static str) -> Option<Given<PathBuf>> {
        self.raw(flag).map(|value| Given { value: PathBuf::from(value), place: Place::Variable(flag) })
    }

    fn one<T>(&mut self, flag: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Given<T>> {
        let text = self.text(flag)?;
        self.parsed(flag, &text, parse)
    }

    fn list<T>(
        &mut self,
        flag: &'static str,
        separator: char,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<GivenList<T>> {
        let text = self.text(flag)?;
        let parts = text.split(separator).map(str::trim).filter(|part| !part.is_empty());
        let members = parts.filter_map(|part| self.parsed(flag, part, &parse)).collect();
        Some(Given { value: members, place: Place::Variable(flag) })
    }

    fn parsed<T>(
        &mut self,
        flag: &'static str,
        text: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Given<T>> {
        match parse(text) {
            Ok(value) => Some(Given { value, place: Place::Variable(flag) }),
            Err(why) => {
                self.report.error(Place::Variable(flag), why);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(pairs: &[(&str, &str)]) -> (Shared, Report) {
        let mut report = Report::default();
        let variables = pairs.iter().copied().collect();
        (read(&variables, &mut report), report)
    }

    #[test]
    fn lists_are_separated_by_commas_and_files_by_colons() {
        let (shared, report) = read_from(&[
            ("LARDER_LISTEN", "127.0.0.1:1, [::1]:2"),
            ("LARDER_CONNECT_PORTS", "443,8443"),
            ("LARDER_UPSTREAM_CA", "/a.pem:/b,c.pem"),
        ]);
        assert_eq!(report.errors(), 0);
        let ports: Vec<_> = shared.connect_ports.unwrap().value.iter().map(|port| port.value).collect();
        let files: Vec<_> = shared.upstream_ca.unwrap().value.iter().map(|file| file.value.clone()).collect();
        assert_eq!(shared.listen.unwrap().value.len(), 2);
        assert_eq!(ports, [443, 8443]);
        assert_eq!(files, [PathBuf::from("/a.pem"), PathBuf::from("/b,c.pem")]);
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let (shared, report) = read_from(&[("LARDER_DISK", ""), ("LARDER_ADMIN_TOKEN", "")]);
        assert_eq!((shared, report.errors()), (Shared::default(), 0));
    }

    #[test]
    fn every_faulty_variable_is_named() {
        let (_, report) =
            read_from(&[("LARDER_DISK", "much"), ("LARDER_LISTEN", "x,y"), ("LARDER_WORKERS", "0")]);
        assert_eq!(report.errors(), 4);
        let text = report.to_string();
        assert!(
            text.contains("LARDER_DISK: `much` is not a size") && text.contains("LARDER_LISTEN: `y`"),
            "{text}"
        );
    }

    #[test]
    fn a_misspelt_variable_is_mentioned_and_a_strange_one_is_not() {
        let (_, report) =
            read_from(&[("LARDER_LISEN", "x"), ("LARDER_SERVICE_HOST", "10.0.0.1"), ("LARDER_CONFIG", "f")]);
        assert_eq!(
            report.to_string(),
            "warning: LARDER_LISEN means nothing to larder; did you mean LARDER_LISTEN?\n"
        );
    }
}
