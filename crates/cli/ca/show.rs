//! `larder ca show`: the certificate in the form that somebody needs, and how to have it trusted.

use larder_server::tls::{CaCertificate, CaCertificates, CaDirectory, trusted_as};
use serde::Serialize;

use super::args::ShowArgs;
use super::{about, failed, here, ways};
use crate::failure::Failure;
use crate::output;
use crate::terminal::ascii_json;

/// Runs the command.
pub(super) fn run(args: &ShowArgs) -> Result<(), Failure> {
    let directory = here(&args.dir);
    let certificates = directory.certificates().map_err(failed)?;
    if args.der {
        return output::print_bytes(certificates.current.der());
    }
    output::print(&if args.pem {
        certificates.trusted().map(CaCertificate::pem).collect()
    } else if args.fingerprint {
        certificates.trusted().map(|one| format!("{}\n", one.fingerprint())).collect()
    } else if args.json {
        json(&directory, &certificates)
    } else {
        text(&directory, &certificates)
    })
}

fn text(directory: &CaDirectory, certificates: &CaCertificates) -> String {
    let dir = directory.path();
    let mut text = format!("the CA in {}\n{}", dir.display(), about(&certificates.current));
    if let Some(next) = &certificates.next {
        text.push_str(&format!(
            "\nthe next CA, to be trusted beside it; it signs later\n{}\n\
             What is said below of ca.pem is to be done with next.pem too, under the name {}, or with both in one file: `larder ca show --pem`.\n",
            about(next),
            trusted_as(next),
        ));
    }
    text.push('\n');
    text.push_str(&ways::text(&dir.join("ca.pem"), &trusted_as(&certificates.current)));
    if let Some(previous) = &certificates.previous {
        text.push_str(&format!(
            "\nthe CA before it, which no larder signs with any more: where it is trusted, it can be taken out; by hand as {}\n{}",
            trusted_as(previous),
            about(previous),
        ));
    }
    text
}

#[derive(Serialize)]
struct Shown<'a> {
    dir: String,
    certificates: Vec<ShownCertificate<'a>>,
}

#[derive(Serialize)]
struct ShownCertificate<'a> {
    role: &'static str,
    name: &'a str,
    fingerprint: String,
    not_before: String,
    not_after: String,
    only: Vec<String>,
    pem: &'a str,
}

impl<'a> ShownCertificate<'a> {
    fn of(role: &'static str, certificate: &'a CaCertificate) -> Self {
        let [not_before, not_after] = certificate.validity();
        Self {
            role,
            name: certificate.common_name(),
            fingerprint: certificate.fingerprint(),
            not_before,
            not_after,
            only: certificate.only().iter().map(ToString::to_string).collect(),
            pem: certificate.pem(),
        }
    }
}

fn json(directory: &CaDirectory, certificates: &CaCertificates) -> String {
    let mut all = vec![ShownCertificate::of("current", &certificates.current)];
    all.extend(certificates.next.as_ref().map(|next| ShownCertificate::of("next", next)));
    ascii_json(&Shown { dir: directory.path().display().to_string(), certificates: all })
}

/// The names that a CA signs for.
pub(super) fn names(certificate: &CaCertificate) -> String {
    match certificate.only() {
        [] => "every name".to_owned(),
        only => {
            let only: Vec<_> = only.iter().map(ToString::to_string).collect();
            format!("{} and nothing else; a domain stands for all below it", only.join(", "))
        }
    }
}

/// The day of an instant.
pub(super) fn day(instant: &str) -> &str {
    instant.split('T').next().unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::golden;

    /// The page is to be read: reviewed as text. `LARDER_BLESS=1` writes it anew.
    #[test]
    fn the_page_reads_as_it_was_reviewed() {
        let pem = std::fs::read_to_string(golden::directory().join("office-ca.pem")).unwrap();
        let current = CaCertificate::parse(&pem).unwrap();
        let certificates = CaCertificates { next: Some(current.clone()), current, previous: None };
        let directory = CaDirectory::new(PathBuf::from("/home/ann/.config/larder/ca"));
        golden::compare("ca-show.txt", &text(&directory, &certificates));
        golden::compare("ca-show.json", &json(&directory, &certificates));
    }
}
