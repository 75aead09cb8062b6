//! `larder run`: a command with a proxy of its own in its environment, and what that saved.
//!
//! The store belongs to a process that outlives the command: a `larder serve` that is there already, or one that is started
//! for the purpose and leaves a while after the last run (see [`hold`](crate::hold)). This process leases a listener from it,
//! says so to the command by variables, waits, and sums up on standard error. The command has this process's own standard
//! streams, and its exit code becomes ours.

mod authority;
mod bundle;
mod child;
mod environment;
mod holder;
pub(crate) mod java;
mod scratch;
mod tally;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use larder_server::config::Parent;
use larder_server::control::Lend;

use crate::args::RunArgs;
use crate::failure::Failure;
use crate::settings::Machine;
use crate::{door, output, values};

pub(crate) use bundle::Bundle;
pub(crate) use environment::{Proxying, Surroundings, variables};

use environment::impatience;

use child::Signals;
use holder::Holder;
use scratch::Scratch;
use tally::{Record, Tally};

/// How long the process that owns the store stays after the last run, unless told otherwise.
const LINGER: Duration = Duration::from_secs(60);

/// Runs the command. A command that was started ends this process with its own exit code.
pub(crate) fn run(args: RunArgs) -> Result<(), Failure> {
    let RunArgs { offline, record, parent, no_intercept, quiet, linger, store, command } = args;
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::Usage("say what to run, after `--`".to_owned()));
    };
    if program.as_encoded_bytes().starts_with(b"-") {
        let text =
            format!("{} is no option of `larder run`; what is to be run follows `--`", program.display());
        return Err(Failure::Usage(text));
    }
    let surroundings = Surroundings::of_process();
    let config = store.config.clone();
    let settings = door::settings(store)?;
    let upstream = &settings.config.upstream;
    let parent = match parent.or_else(|| upstream.parent.clone()) {
        Some(parent) => Some(parent),
        None => parent_of(&surroundings)?,
    };
    let offline = offline || settings.config.offline;
    let record = record.as_deref().map(Record::create).transpose()?;
    let directory = Scratch::new()?;

    let named = Bundle::named(&surroundings);
    named.notes().iter().for_each(|note| output::note(&format!("larder: {note}\n")));
    let authority = if no_intercept {
        None
    } else {
        let ca_dir = absolute(&settings.ca_dir.clone().unwrap_or_else(|| Machine::this().ca_dir()));
        Some((authority::ensure(ca_dir.clone())?, ca_dir))
    };
    let mut terms = Lend {
        ca_dir: authority.as_ref().map(|(_, directory)| directory.clone()),
        offline,
        record: record.is_some(),
        parent: parent.as_ref().map(|parent| format!("{}:{}", parent.host, parent.port)),
        credentials: parent.and_then(|parent| parent.credentials),
        ca_files: upstream.ca_files.iter().map(|file| absolute(file)).collect(),
    };
    if !named.is_empty() {
        let path = directory.path().join("named.pem");
        named.write(&path)?;
        terms.ca_files.push(path);
    }
    let linger = linger.map_or(LINGER, |linger| linger.duration());
    let holder = Holder { dir: &settings.store.options.dir, config: config.as_deref(), linger };
    let lease = holder.lease(terms, Tally::new(record))?;

    let bundle = directory.path().join("ca.pem");
    let java = java::find(&surroundings);
    let mut trust_store = None;
    if let Some((certificates, ca_dir)) = &authority {
        let own = Bundle::of_authority(certificates);
        Bundle::of_system(&surroundings).and(named).and(own.clone()).write(&bundle)?;
        if let Some(java) = &java {
            trust_store = java
                .trust_store(&own, ca_dir)
                .inspect_err(|why| output::note(&format!("larder: Java will not trust the CA: {why}\n")))
                .ok();
        }
    }
    let proxying = Proxying {
        proxy: lease.address(),
        bundle: authority.is_some().then_some(bundle.as_path()),
        java: java.is_some(),
        trust_store: trust_store.as_deref(),
    };
    let began = Instant::now();
    let mut signals = Signals::watch().context("cannot listen for signals")?;
    let mut set = variables(&surroundings, &proxying);
    if offline {
        set.extend(impatience(&surroundings));
    }
    let ended = child::run(program, arguments, &set, &mut signals);
    let took = began.elapsed();
    let mut interrupted = false;
    let code = match ended {
        Ok(ended) => {
            interrupted = ended.interrupted();
            ended.exit_code()
        }
        Err(failed) => {
            output::note(&format!("larder: {failed}\n"));
            failed.exit_code()
        }
    };
    let summary = lease.end(took, offline, || signals.have_come());
    if !quiet {
        output::note(&summary);
    }
    if interrupted {
        // A shell goes on with its script unless it sees that what it ran was ended by the interrupt.
        drop(directory);
        let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGINT);
    }
    Err(Failure::Command(code))
}

/// The proxy that the environment names becomes the next hop of this run.
fn parent_of(surroundings: &Surroundings) -> Result<Option<Parent>, Failure> {
    let Some((name, value)) = surroundings.proxy() else { return Ok(None) };
    // The value may hold a password, so that it is not repeated.
    let wrong = |why: &str| {
        Failure::Failed(anyhow::anyhow!(
            "{name} names a proxy that larder cannot ask: {why}; name another with `--parent http://host:port`, or unset it"
        ))
    };
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", &value));
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(wrong("it is not spoken to in plain HTTP"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // Clients take a proxy without a port to be at 80; curl alone takes 1080.
    let port =
        if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) { "" } else { ":80" };
    values::parent(&format!("http://{authority}{port}"))
        .map(Some)
        .map_err(|_| wrong("it is not `http://host:port`"))
}

/// A path that another process, with another working directory, understands.
pub(crate) fn absolute(path: &Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_of_the_environment_becomes_the_parent() {
        let parent = |value: &str| {
            let surroundings: Surroundings = [("https_proxy", value)].into_iter().collect();
            match parent_of(&surroundings) {
                Ok(parent) => {
                    parent.map_or_else(String::new, |parent| format!("{}:{}", parent.host, parent.port))
                }
                Err(Failure::Failed(error)) => error.to_string(),
                Err(other) => panic!("{other:?}"),
            }
        };
        assert_eq!(parent("http://Proxy.example:3128/"), "proxy.example:3128");
        assert_eq!(parent("proxy.example:3128"), "proxy.example:3128");
        assert_eq!(parent("http://proxy.example"), "proxy.example:80");
        assert_eq!(parent(""), "");
        assert_eq!(parent("http://ann:secret@proxy.example"), "proxy.example:80");
        let refused = parent("http://ann:secret%zz@proxy.example:3128");
        assert!(refused.starts_with("https_proxy names a proxy") && !refused.contains("secret"), "{refused}");
        assert!(parent("socks5://proxy.example:1080").contains("plain HTTP"));
        assert!(parent("http://proxy.example:port").contains("http://host:port"));
    }
}
