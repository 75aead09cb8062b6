//! What was typed after `larder ca`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use larder_server::tls::{CaOptions, Subtree};

const CREATE_EXAMPLES: &str = "\
Examples:
  larder ca create
  larder ca create --only example.com --only 192.0.2.0/24
  larder ca create --days 90 --ca-dir /srv/ci/ca

An existing CA is never overwritten: take it out of the trust stores with
`larder ca untrust`, then remove its directory, or let `larder ca rotate` follow on.";

const SHOW_EXAMPLES: &str = "\
Examples:
  larder ca show                                what it is, and how to have it trusted
  larder ca show --pem > larder-ca.pem          for everything that takes a file
  larder ca show --fingerprint                  to compare with what somebody else sees
  larder ca show --json | jq -r '.certificates[].not_after'

While there is a next CA, all but --der show both. The key is never shown.";

const TRUST_EXAMPLES: &str = "\
Examples:
  sudo larder ca trust --ca-dir ~/.config/larder/ca    the system's store
  larder ca trust                                      also this user's browsers (NSS)
  larder ca trust --dry-run                            what would be done

The system's store: those of Debian, Ubuntu, Alpine, Fedora, RHEL, openSUSE and Arch.
NSS databases are those of Chromium and Firefox in the home directory, changed by certutil
if it is there. The next CA is trusted too, the previous one no longer. What is in order
already is left alone. Elsewhere, do by hand what `larder ca show` says.
Exit codes: 0 all is in order, 1 something is not";

const UNTRUST_EXAMPLES: &str = "\
Example:
  sudo larder ca untrust --ca-dir ~/.config/larder/ca && larder ca untrust

Takes the CA, the next and the previous one out of the stores that `larder ca trust`
puts them into. The CA itself stays.";

const ROTATE_EXAMPLES: &str = "\
Examples:
  larder ca rotate                              make the next CA, for clients to trust
  larder ca rotate --activate                   let it sign, and forget the old key

In between the old one signs and both are to be trusted: give clients the time they need.
A larder that was started in that time goes over to the next CA by itself a week before
the old one ends. A running larder learns of both steps when it is restarted.";

/// `larder ca`
#[derive(Debug, Args)]
pub(crate) struct CaArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: CaCommand,
}

/// One act each.
#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Make a CA
    #[command(after_help = CREATE_EXAMPLES)]
    Create(CreateArgs),
    /// Show what it is, and how each system and tool comes to trust it
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
    /// Have this machine trust it
    #[command(after_help = TRUST_EXAMPLES)]
    Trust(TrustArgs),
    /// Have this machine trust it no longer
    #[command(after_help = UNTRUST_EXAMPLES)]
    Untrust(TrustArgs),
    /// Make the CA that comes after it, or let that one take over
    #[command(after_help = ROTATE_EXAMPLES)]
    Rotate(RotateArgs),
}

/// Where the CA is.
#[derive(Debug, Args)]
pub(crate) struct CaDirArgs {
    /// The CA's directory [default: larder/ca in the user's configuration directory; /etc/larder/ca for root]
    #[arg(long, value_name = "DIR")]
    pub(crate) ca_dir: Option<PathBuf>,
}

/// `larder ca create`
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Sign only for this domain and all below it, or for this address or network; repeatable [default: every name]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<Subtree>,
    /// How long it lasts
    #[arg(long, value_name = "N", default_value_t = CaOptions::DAYS, value_parser = days())]
    pub(crate) days: u32,
    #[command(flatten)]
    pub(crate) dir: CaDirArgs,
}

/// `larder ca show`
#[derive(Debug, Args)]
#[group(id = "form", multiple = false, args = ["pem", "der", "fingerprint", "json"])]
pub(crate) struct ShowArgs {
    /// The certificate as PEM
    #[arg(long)]
    pub(crate) pem: bool,
    /// The certificate in DER: bytes, for a file
    #[arg(long)]
    pub(crate) der: bool,
    /// The SHA-256 fingerprint
    #[arg(long)]
    pub(crate) fingerprint: bool,
    /// As JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) dir: CaDirArgs,
}

/// `larder ca trust`, `larder ca untrust`
#[derive(Debug, Args)]
pub(crate) struct TrustArgs {
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) dir: CaDirArgs,
}

/// `larder ca rotate`
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// Let the next CA take over now
    #[arg(long, conflicts_with_all = ["only", "days"])]
    pub(crate) activate: bool,
    /// Names that the next CA signs for, as with `larder ca create` [default: those of the present one]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<Subtree>,
    /// How long the next CA lasts
    #[arg(long, value_name = "N", default_value_t = CaOptions::DAYS, value_parser = days())]
    pub(crate) days: u32,
    #[command(flatten)]
    pub(crate) dir: CaDirArgs,
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(CaOptions::DAYS_MAX))
}
