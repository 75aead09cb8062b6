//! `larder check`: is this file right?
//!
//! The file is judged by itself, without flags and variables. What is right goes to standard output, what is wrong
//! to standard error.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use larder_policy::packages::Active;
use larder_server::config::{Access, AccessLogTarget, Destination, Listener, ListenerKind};

use crate::failure::Failure;
use crate::output;
use crate::settings::{self, Machine, Report, Settings};
use crate::units::{ByteSize, rough_size};

/// Runs the command.
pub(crate) fn run(file: &Path) -> Result<(), Failure> {
    match settings::for_check(file, &Machine::this()) {
        Ok((settings, warnings)) => {
            output::note(&warnings.to_string());
            output::print(&verdict(file, &settings))
        }
        Err(report) => Err(Failure::Configuration(report)),
    }
}

fn verdict(file: &Path, settings: &Settings) -> String {
    format!("{} is right\n{}", file.display(), summary(settings))
}

/// What the settings come to, in a few lines.
fn summary(settings: &Settings) -> String {
    let config = &settings.config;
    let mut rows: Vec<(&str, String)> = Vec::new();
    for listener in &config.listeners {
        rows.push(("listens on", format!("{} ({})", listener.address, role(listener))));
    }
    rows.push(("cache", settings.store.options.dir.display().to_string()));
    rows.push(("disk", limit(settings.store.options.disk_limit, &settings.store.disk_words)));
    rows.push(("memory", ByteSize::from_bytes(settings.store.options.memory_limit).to_string()));
    if config.listeners.iter().any(|listener| listener.kind == ListenerKind::Forward) {
        forward_rows(&config.access, &mut rows);
    }
    if !config.access.allow_destinations.is_empty() {
        rows.push(("also reaches", joined(config.access.allow_destinations.iter().map(destination))));
    }
    if !config.access.private_destinations {
        rows.push(("refuses", "private addresses".to_owned()));
    }
    if let Some(parent) = &config.upstream.parent {
        rows.push(("parent", format!("{}:{}", parent.host, parent.port)));
    }
    if config.offline {
        rows.push(("offline", "no origin is asked".to_owned()));
    }
    if !config.upstream.ca_files.is_empty() {
        rows.push((
            "also trusts",
            joined(config.upstream.ca_files.iter().map(|file| file.display().to_string())),
        ));
    }
    if let Some(log) = &config.access_log {
        let target = match &log.target {
            AccessLogTarget::Stdout => "standard output".to_owned(),
            AccessLogTarget::File(path) => path.display().to_string(),
        };
        rows.push(("access log", format!("{target} ({})", crate::values::log_format_name(log.format))));
    }
    if let Some(admin) = &config.admin {
        let token = if admin.token.is_some() {
            "changes need the token"
        } else {
            "no token, so nothing can be changed"
        };
        rows.push(("admin API", format!("{} ({token})", admin.address)));
    }
    if !config.policy.overrides.is_empty() {
        rows.push(("overrides", joined(config.policy.overrides.iter().map(|one| one.name.clone()))));
    }
    match config.policy.packages {
        Active::ALL => {}
        Active::NONE => rows.push(("packages", "no rules of their own".to_owned())),
        some => {
            let names = joined(some.inactive().map(|rule| rule.name().to_owned()));
            rows.push(("packages", format!("rules of their own, without {names}")));
        }
    }
    rows.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "  {name:<13} {value}");
        text
    })
}

/// What concerns forward listeners alone: a reverse one serves everybody, and has no tunnels.
fn forward_rows(access: &Access, rows: &mut Vec<(&str, String)>) {
    let clients = access.allow_clients.iter().map(ToString::to_string);
    rows.push(("clients", joined(std::iter::once("this machine".to_owned()).chain(clients))));
    let ports = match access.connect_ports.as_slice() {
        [] => "nothing".to_owned(),
        [port] => format!("port {port}"),
        ports => format!("ports {}", joined(ports.iter().map(ToString::to_string))),
    };
    rows.push(("CONNECT to", ports));
}

/// What a listener is, in words.
pub(crate) fn role(listener: &Listener) -> String {
    let kind = match &listener.kind {
        ListenerKind::Forward => "forward proxy".to_owned(),
        ListenerKind::Reverse { origin } => {
            format!("reverse proxy for {}", origin.to_string().trim_end_matches('/'))
        }
    };
    let tls = if listener.tls.is_some() { ", over TLS" } else { "" };
    let intercepts = if listener.intercept { ", intercepting" } else { "" };
    format!("{kind}{tls}{intercepts}")
}

/// A limit as it was written, and what it comes to where that is not the same.
pub(crate) fn limit(bytes: u64, words: &str) -> String {
    if words.contains('%') { format!("{} ({words})", rough_size(bytes)) } else { words.to_owned() }
}

fn destination(destination: &Destination) -> String {
    match destination {
        Destination::Network(network) => network.to_string(),
        Destination::Host { host, port: Some(port) } => format!("{host}:{port}"),
        Destination::Host { host, port: None } => host.clone(),
    }
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// All faults, then how many there are.
pub(crate) fn show_faults(out: &mut impl io::Write, report: &Report) -> io::Result<()> {
    write!(out, "{report}")?;
    match report.errors() {
        1 => writeln!(out, "the configuration is wrong: 1 fault"),
        n => writeln!(out, "the configuration is wrong: {n} faults"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::golden;

    /// What `check` shows for a file of `fixtures/config/`, on a machine that is always the same.
    fn shown(name: &str) -> String {
        let file = PathBuf::from(name);
        match settings::for_check(&file, &Machine::imagined()) {
            Ok((settings, warnings)) => format!("{warnings}{}", verdict(&file, &settings)),
            Err(report) => {
                let mut text = Vec::new();
                show_faults(&mut text, &report).unwrap();
                String::from_utf8(text).unwrap()
            }
        }
    }

    #[test]
    fn every_file_is_judged_as_it_was_reviewed() {
        let mut names: Vec<_> = std::fs::read_dir(golden::directory())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".toml"))
            .collect();
        names.sort();
        assert!(names.len() >= 8, "{names:?}");
        for name in names {
            golden::compare(&name.replace(".toml", ".txt"), &shown(&name));
        }
    }

    #[test]
    fn every_key_of_a_full_file_takes_effect() {
        let (settings, _) = settings::for_check(Path::new("full.toml"), &Machine::imagined()).unwrap();
        golden::compare("full.settings.txt", &format!("{settings:#?}"));
    }

    #[test]
    fn a_file_that_is_not_there_is_a_fault_of_the_configuration() {
        let text = shown("absent.toml");
        assert!(text.starts_with("absent.toml: cannot read the configuration: "), "{text}");
    }
}
