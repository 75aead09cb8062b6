//! `larder env`: the variables of `larder run`, for a larder that runs by itself, as a shell or a CI system reads them.
//!
//! Values are quoted so that no byte of them can end the quotes; what a format cannot carry is refused, not bent.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use larder_server::config::ListenerKind;
use larder_server::tls::{CaDirectory, CaError};

use crate::args::{EnvArgs, EnvFormat};
use crate::failure::Failure;
use crate::run::{Bundle, Proxying, Surroundings, absolute, java, variables};
use crate::settings::{Machine, Settings};
use crate::{door, output};

/// Build arguments that docker knows without a declaration, and keeps out of the image's history.
const BUILD_ARGUMENTS: [&str; 8] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// The file of certificates to trust, beside the CA.
const BUNDLE: &str = "bundle.pem";

/// Prints the variables.
pub(crate) fn run(args: EnvArgs) -> Result<(), Failure> {
    let settings = door::settings(args.store)?;
    let address = match args.address {
        Some(address) => address,
        None => listener(&settings)?,
    };
    let address = reachable(address).to_string();
    let surroundings = Surroundings::of_process();
    let ca_dir = settings.ca_dir.clone().unwrap_or_else(|| Machine::this().ca_dir());
    let trusted = trusted(&surroundings, &CaDirectory::new(ca_dir))?;
    let proxying = Proxying {
        proxy: &address,
        bundle: trusted.as_ref().map(|trusted| trusted.bundle.as_path()),
        java: trusted.as_ref().is_some_and(|trusted| trusted.java),
        trust_store: trusted.as_ref().and_then(|trusted| trusted.store.as_deref()),
    };
    let set = variables(&surroundings, &proxying);
    let mut pairs = Vec::with_capacity(set.len());
    for (name, value) in &set {
        pairs.push((*name, text(name, value)?));
    }
    output::print(&written(args.format, &pairs, proxying.bundle))
}

/// Files of certificates that stay where the CA is, as long as it.
struct Trusted {
    bundle: PathBuf,
    java: bool,
    store: Option<PathBuf>,
}

/// What clients are to trust. Without a CA they go on trusting what they did.
fn trusted(surroundings: &Surroundings, directory: &CaDirectory) -> Result<Option<Trusted>, Failure> {
    let authority = match directory.certificates() {
        Ok(authority) => Bundle::of_authority(&authority),
        Err(CaError::Missing { .. }) => return Ok(None),
        Err(error) => return Err(Failure::Failed(error.into())),
    };
    let named = Bundle::named(surroundings);
    named.notes().iter().for_each(|note| output::note(&format!("larder: {note}\n")));
    let path = absolute(directory.path());
    let bundle = path.join(BUNDLE);
    Bundle::of_system(surroundings).and(named).and(authority.clone()).write(&bundle)?;
    let java = java::find(surroundings);
    let store = java.as_ref().and_then(|java| {
        let made = java.trust_store(&authority, &path);
        made.inspect_err(|why| output::note(&format!("larder: Java will not trust the CA: {why}\n"))).ok()
    });
    Ok(Some(Trusted { bundle, java: java.is_some(), store }))
}

/// The first forward listener of the configuration.
fn listener(settings: &Settings) -> Result<SocketAddr, Failure> {
    let mut listeners = settings.config.listeners.iter();
    let forward =
        listeners.find(|listener| listener.kind == ListenerKind::Forward && listener.address.port() != 0);
    forward.map(|listener| listener.address).ok_or_else(|| {
        Failure::Usage(
            "the configuration has no forward listener with a port; say where larder is with `--address`"
                .to_owned(),
        )
    })
}

/// Where clients of this machine find a listener that listens everywhere.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

/// A value as text of one line, which all formats can carry.
fn text<'a>(name: &str, value: &'a OsStr) -> Result<&'a str, Failure> {
    match value.to_str() {
        Some(text) if !text.contains(['\n', '\r', '\0']) => Ok(text),
        _ => {
            Err(Failure::Failed(anyhow!("{name} would be {}, which is no text of one line", value.display())))
        }
    }
}

/// The variables in a format.
fn written(format: EnvFormat, pairs: &[(&str, &str)], bundle: Option<&Path>) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        // Writing to a `String` cannot fail.
        let _ = match format {
            EnvFormat::Sh => writeln!(out, "export {name}='{}'", value.replace('\'', "'\\''")),
            EnvFormat::Fish => {
                writeln!(out, "set -gx {name} '{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
            }
            // The curly quotes are quotes to PowerShell, too, and doubled they are themselves.
            EnvFormat::Powershell => {
                let doubled: String = value
                    .chars()
                    .flat_map(|char| {
                        let twice = matches!(char, '\'' | '\u{2018}'..='\u{201b}');
                        std::iter::repeat_n(char, if twice { 2 } else { 1 })
                    })
                    .collect();
                writeln!(out, "$env:{name} = '{doubled}'")
            }
            EnvFormat::Github => writeln!(out, "{name}={value}"),
            EnvFormat::Docker if BUILD_ARGUMENTS.contains(name) => {
                writeln!(out, "--build-arg={name}={value}")
            }
            EnvFormat::Docker => Ok(()),
        };
    }
    if format == EnvFormat::Docker {
        // The address of this machine's loopback is another one's within a build.
        out.insert_str(0, "--network=host\n");
        if let Some(bundle) = bundle {
            let _ = writeln!(out, "--secret=id=larder-ca,src={}", bundle.display());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str = r#"a'b"c\d $HOME `id` %PATH% ‘e’ !"#;

    #[test]
    fn a_listener_that_listens_everywhere_is_found_on_loopback() {
        let reached = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:3128"), "127.0.0.1:3128");
        assert_eq!(reached("[::]:3128"), "[::1]:3128");
        assert_eq!(reached("192.0.2.1:1"), "192.0.2.1:1");
    }

    #[test]
    fn what_no_format_carries_is_refused() {
        assert!(text("X", OsStr::new("a\nb")).is_err());
        assert_eq!(text("X", OsStr::new(NASTY)).unwrap(), NASTY);
    }

    /// Reviewed as text; `LARDER_BLESS=1` writes it anew.
    #[test]
    fn every_format_is_as_it_was_reviewed() {
        let pairs =
            [("http_proxy", "http://127.0.0.1:3128"), ("no_proxy", "localhost,::1"), ("PIP_CERT", NASTY)];
        let formats =
            [EnvFormat::Sh, EnvFormat::Fish, EnvFormat::Powershell, EnvFormat::Github, EnvFormat::Docker];
        let text: String = formats
            .into_iter()
            .map(|format| {
                format!("{format:?}\n{}\n", written(format, &pairs, Some(Path::new("/ca/bundle.pem"))))
            })
            .collect();
        crate::golden::compare("env.txt", &text);
    }
}
