//! `larder ca`: make the CA that interception signs with, show it, have it trusted, replace it.
//!
//! Only `create` and `rotate` ever hold a key, and none of them shows it; the others read certificates alone.

mod args;
mod show;
mod stores;
mod trust;
mod ways;

use std::path::PathBuf;

use larder_server::Clock;
use larder_server::tls::{
    Authority, CaCertificate, CaCertificates, CaDirectory, CaError, CaOptions, Subtree,
};

pub(crate) use args::{CaArgs, CaCommand};

use crate::failure::Failure;
use crate::output;
use crate::settings::{Machine, Variables};
use crate::terminal::escaped;
use args::{CaDirArgs, CreateArgs, RotateArgs, TrustArgs};

/// Runs one of its acts.
pub(crate) fn run(command: CaCommand) -> Result<(), Failure> {
    match command {
        CaCommand::Create(args) => create(args),
        CaCommand::Show(args) => show::run(&args),
        CaCommand::Trust(args) => have_trusted(args, trust::Aim::Trust),
        CaCommand::Untrust(args) => have_trusted(args, trust::Aim::Untrust),
        CaCommand::Rotate(args) => rotate(args),
    }
}

/// Where the CA is: by the flag, the variable, or the platform's conventions.
fn directory(flag: Option<PathBuf>, variables: &Variables, machine: &Machine) -> CaDirectory {
    let variable = || variables.get("LARDER_CA_DIR").map(PathBuf::from);
    CaDirectory::new(flag.or_else(variable).unwrap_or_else(|| machine.ca_dir()))
}

fn here(args: &CaDirArgs) -> CaDirectory {
    directory(args.ca_dir.clone(), &Variables::of_process(), &Machine::this())
}

fn create(args: CreateArgs) -> Result<(), Failure> {
    let directory = here(&args.dir);
    let authority = new_authority(args.only, args.days)?;
    directory.create(&authority).map_err(failed)?;
    let about = about(authority.certificate());
    output::print(&format!(
        "made a CA in {}\n{about}\n\
         Clients have to trust it: `larder ca trust` does that on this machine, `larder ca show` tells how elsewhere.\n\
         Whoever has its key, ca.key, can pose as any site towards them: it is for this user alone.\n",
        directory.path().display(),
    ))
}

fn rotate(args: RotateArgs) -> Result<(), Failure> {
    let directory = here(&args.dir);
    if args.activate {
        directory.activate().map_err(failed)?;
        let CaCertificates { current, previous, .. } = directory.certificates().map_err(failed)?;
        let previous = previous.map_or_else(|| "the one before".to_owned(), |one| quoted(&one));
        return output::print(&format!(
            "{} signs from the next start of larder on; restart it\n\
             The key of {previous} is gone. After the restart `larder ca trust` takes it out of this machine's stores.\n",
            quoted(&current)
        ));
    }
    let current = directory.certificates().map_err(failed)?.current;
    let only = if args.only.is_empty() { current.only().to_vec() } else { args.only };
    let next = new_authority(only, args.days)?;
    directory.create_next(&next).map_err(failed)?;
    output::print(&format!(
        "made the next CA in {}\n{}\n\
         Have it trusted now wherever {} is: `larder ca trust` and `larder ca show` are about both by now.\n\
         It signs after `larder ca rotate --activate` and a restart, or by itself, in a larder that is started from now on, a \
         week before the other one ends on {}.\n",
        directory.path().display(),
        about(next.certificate()),
        quoted(&current),
        show::day(&current.validity()[1]),
    ))
}

fn have_trusted(args: TrustArgs, aim: trust::Aim) -> Result<(), Failure> {
    let directory = here(&args.dir);
    let certificates = directory.certificates().map_err(failed)?;
    of_somebody_known(directory.owner().map_err(failed)?, std::env::var("SUDO_UID").ok().as_deref())?;
    let mut system = stores::System::this(args.dry_run);
    let outcome = trust::bring_about(aim, &certificates, directory.path(), &mut system);
    output::print(&system.said)?;
    outcome.map_err(Failure::Failed)
}

/// Whoever owns the directory decides which CA this machine is to trust.
fn of_somebody_known(owner: u32, sudo_uid: Option<&str>) -> Result<(), Failure> {
    let us = rustix::process::geteuid().as_raw();
    let asked_us = sudo_uid.and_then(|uid| uid.parse().ok());
    if owner == 0 || owner == us || Some(owner) == asked_us {
        return Ok(());
    }
    Err(Failure::Failed(anyhow::anyhow!(
        "the CA's directory belongs to another user (number {owner}), who could put a CA of theirs there; \
         give --ca-dir one of your own or of root's"
    )))
}

pub(crate) fn new_authority(only: Vec<Subtree>, days: u32) -> Result<Authority, Failure> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Authority::create(&CaOptions { host, only, days }, Clock::system().now()).map_err(failed)
}

/// What a CA is, in a few lines.
fn about(certificate: &CaCertificate) -> String {
    let [from, until] = certificate.validity();
    format!(
        "  name         {}\n  fingerprint  {}\n  valid        {} to {}\n  signs for    {}\n",
        escaped(certificate.common_name()),
        certificate.fingerprint(),
        show::day(&from),
        show::day(&until),
        show::names(certificate),
    )
}

fn quoted(certificate: &CaCertificate) -> String {
    format!("`{}`", escaped(certificate.common_name()))
}

/// A fault of the CA, in the user's terms.
pub(crate) fn failed(error: CaError) -> Failure {
    let sudo = matches!(error, CaError::Missing { .. }) && std::env::var_os("SUDO_USER").is_some();
    let error = anyhow::Error::new(error);
    Failure::Failed(if sudo {
        anyhow::anyhow!("{error}; one of your own is found with `--ca-dir ~/.config/larder/ca`")
    } else {
        error
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_flag_wins_over_the_variable_and_that_over_the_platform() {
        let machine = Machine::imagined();
        let of = |flag: Option<&str>, variables: &[(&str, &str)]| {
            let variables = variables.iter().copied().collect();
            directory(flag.map(PathBuf::from), &variables, &machine).path().to_owned()
        };
        assert_eq!(of(None, &[]), Path::new("/home/ann/.config/larder/ca"));
        assert_eq!(of(None, &[("LARDER_CA_DIR", "/v")]), Path::new("/v"));
        assert_eq!(of(Some("/f"), &[("LARDER_CA_DIR", "/v")]), Path::new("/f"));
        assert_eq!(of(None, &[("LARDER_CA_DIR", "")]), Path::new("/home/ann/.config/larder/ca"));
    }

    #[test]
    fn a_ca_is_told_in_four_lines() {
        let authority = new_authority(vec!["example.com".parse().unwrap()], 30).ok().unwrap();
        let text = about(authority.certificate());
        assert!(
            text.lines().count() == 4 && text.contains("signs for    example.com, larder.internal and"),
            "{text}"
        );
    }
}
