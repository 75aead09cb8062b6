//! `larder ca trust` and `untrust`: the stores of this machine, brought in step with the CA.
//!
//! What is in order is left alone, so that either may be run as often as one likes. A certificate's file is named after
//! its fingerprint, so that two CAs on one machine are not in each other's way.

use std::io;
use std::path::Path;

use anyhow::anyhow;
use larder_server::tls::{CaCertificate, CaCertificates, trusted_as};

use super::stores::{Call, System, SystemStore, succeeded};

/// What is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// The CA and the next one are trusted, the previous one is not.
    Trust,
    /// None of them is.
    Untrust,
}

/// Brings all stores in step. What was done stands in `system.said`, also when something failed.
pub(super) fn bring_about(
    aim: Aim,
    certificates: &CaCertificates,
    dir: &Path,
    system: &mut System,
) -> anyhow::Result<()> {
    let trusted: Vec<_> = certificates.trusted().collect();
    let (wanted, unwanted) = match aim {
        Aim::Trust => (trusted, certificates.previous.iter().collect()),
        Aim::Untrust => (Vec::new(), trusted.into_iter().chain(&certificates.previous).collect::<Vec<_>>()),
    };
    // While a hand-over is half done, the previous one is still the present one.
    let unwanted: Vec<_> = unwanted.into_iter().filter(|one| !wanted.contains(one)).collect();
    // The browsers first: the system's store may be out of reach.
    let browsers = browsers(&wanted, &unwanted, system);
    let store = system_store(aim, &wanted, &unwanted, dir, system);
    if let (Err(error), Err(_)) = (&browsers, &store) {
        system.say(&format!("{error:#}"));
    }
    store.and(browsers)
}

fn system_store(
    aim: Aim,
    wanted: &[&CaCertificate],
    unwanted: &[&CaCertificate],
    dir: &Path,
    system: &mut System,
) -> anyhow::Result<()> {
    let Some((store, anchors)) = system.store() else {
        if aim == Aim::Untrust {
            system.say("this system's store is none that larder knows: nothing of it was changed");
            return Ok(());
        }
        return Err(anyhow!(
            "this system's store is none that larder knows; `larder ca show` says what to do by hand"
        ));
    };
    let file = |certificate: &CaCertificate| anchors.join(file_name(store, certificate));
    let missing: Vec<_> = wanted.iter().filter(|one| !holds(&file(one), one.pem())).collect();
    let surplus: Vec<_> = unwanted.iter().map(|one| file(one)).filter(|path| path.exists()).collect();
    let in_step = missing.is_empty() && surplus.is_empty();
    if in_step && !(system.root && aim == Aim::Trust) {
        system.say(&format!("the system's store ({}) is in order", anchors.display()));
        return Ok(());
    }
    if !system.root && !system.dry_run {
        let act = if aim == Aim::Trust { "trust" } else { "untrust" };
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        return Err(anyhow!(
            "the system's store ({}) is for root alone to change: run `sudo larder ca {act} --ca-dir {}`",
            anchors.display(),
            dir.display()
        ));
    }
    for certificate in missing {
        system.write(&file(certificate), certificate.pem())?;
    }
    for path in surplus {
        system.remove(&path)?;
    }
    // Also when the files are as they should be: a run that was stopped here is made good by the next one.
    system.change(&Call::new(store.program, store.arguments.iter().copied()))
}

fn holds(path: &Path, text: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|there| there == text)
}

/// `larder-5f3a9c1d02b4.crt`
fn file_name(store: &SystemStore, certificate: &CaCertificate) -> String {
    format!("{}.{}", trusted_as(certificate), store.suffix)
}

/// Chromium's database and Firefox's profiles.
fn browsers(
    wanted: &[&CaCertificate],
    unwanted: &[&CaCertificate],
    system: &mut System,
) -> anyhow::Result<()> {
    let databases = system.databases();
    if databases.is_empty() {
        return Ok(());
    }
    let there = (system.run)(&Call::new("certutil", ["-H"]));
    if there.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        for database in databases {
            system.say(&format!(
                "the browser's store {} was left as it is: certutil (libnss3-tools, nss-tools) is not installed",
                database.display()
            ));
        }
        return Ok(());
    }
    for database in databases {
        if database_in_step(&database, wanted, unwanted, system)? {
            system.say(&format!("the browser's store {} is in order", database.display()));
        }
    }
    Ok(())
}

/// Whether a database needed no change.
fn database_in_step(
    database: &Path,
    wanted: &[&CaCertificate],
    unwanted: &[&CaCertificate],
    system: &mut System,
) -> anyhow::Result<bool> {
    let mut in_step = true;
    for certificate in wanted {
        if listed(database, certificate, system).as_deref() != Some(certificate.pem()) {
            in_step = false;
            let mut add = certutil(database, &["-A", "-a", "-t", "C,,", "-n", certificate.common_name()]);
            add.input = certificate.pem().to_owned();
            system.change(&add)?;
        }
    }
    for certificate in unwanted {
        if listed(database, certificate, system).is_some() {
            in_step = false;
            system.change(&certutil(database, &["-D", "-n", certificate.common_name()]))?;
        }
    }
    Ok(in_step)
}

/// What a database holds under a certificate's name. certutil fails when that is nothing.
fn listed(database: &Path, certificate: &CaCertificate, system: &mut System) -> Option<String> {
    let call = certutil(database, &["-L", "-a", "-n", certificate.common_name()]);
    let output = succeeded(&call, (system.run)(&call)).ok()?;
    Some(String::from_utf8_lossy(&output.stdout).replace('\r', ""))
}

fn certutil(database: &Path, arguments: &[&str]) -> Call {
    let mut place = std::ffi::OsString::from("sql:");
    place.push(database);
    let mut call = Call::new("certutil", ["-d"]);
    call.arguments.push(place);
    call.arguments.extend(arguments.iter().map(Into::into));
    call
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{ExitStatus, Output};
    use std::rc::Rc;

    use larder_server::Clock;
    use larder_server::tls::{Authority, CaDirectory, CaOptions};

    use super::*;

    /// A machine below a scratch directory, with programs that only note what they were asked.
    struct Imagined {
        scratch: tempfile::TempDir,
        ran: Rc<RefCell<Vec<String>>>,
        certutil: bool,
        /// The databases, by name of the certificate.
        held: Rc<RefCell<BTreeMap<String, String>>>,
        fails: &'static str,
    }

    impl Imagined {
        fn new(store: &str) -> Self {
            let scratch = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(scratch.path().join("root").join(store)).unwrap();
            Self { scratch, ran: Rc::default(), certutil: true, held: Rc::default(), fails: "nothing" }
        }

        fn with_browser(self) -> Self {
            let database = self.scratch.path().join("home/.pki/nssdb");
            std::fs::create_dir_all(&database).unwrap();
            std::fs::write(database.join("cert9.db"), "").unwrap();
            self
        }

        fn ca(&self) -> CaDirectory {
            let directory = CaDirectory::new(self.scratch.path().join("ca"));
            directory.create(&authority()).unwrap();
            directory
        }

        /// What is said, what programs ran that change something, and the outcome.
        fn run(
            &self,
            aim: Aim,
            directory: &CaDirectory,
            root: bool,
            dry_run: bool,
        ) -> (String, Vec<String>, Result<(), String>) {
            let (ran, held) = (Rc::clone(&self.ran), Rc::clone(&self.held));
            let (certutil, fails) = (self.certutil, self.fails);
            let answer = move |call: &Call| {
                let arguments: Vec<_> =
                    call.arguments.iter().map(|one| one.to_string_lossy().into_owned()).collect();
                let done = |code: i32, stdout: &str| {
                    let status = ExitStatus::from_raw(code << 8);
                    Ok(Output { status, stdout: stdout.into(), stderr: b"no such thing".to_vec() })
                };
                if call.program == "certutil" && !certutil {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let listing =
                    call.program == "certutil" && arguments.iter().any(|one| one == "-L" || one == "-H");
                if !listing {
                    ran.borrow_mut().push(call.line());
                }
                if call.program == fails {
                    return done(1, "");
                }
                let name = arguments.last().cloned().unwrap_or_default();
                let mut held = held.borrow_mut();
                match arguments.get(2).map(String::as_str) {
                    Some("-L") => held
                        .get(&name)
                        .map_or_else(|| done(255, ""), |pem| done(0, &pem.replace('\n', "\r\n"))),
                    Some("-A") => {
                        held.insert(name, call.input.clone());
                        done(0, "")
                    }
                    Some("-D") => done(if held.remove(&name).is_some() { 0 } else { 255 }, ""),
                    _ => done(0, ""),
                }
            };
            let mut system = System {
                prefix: self.scratch.path().join("root"),
                home: Some(self.scratch.path().join("home")),
                root,
                dry_run,
                run: Box::new(answer),
                said: String::new(),
            };
            let certificates = directory.certificates().unwrap();
            let outcome = bring_about(aim, &certificates, directory.path(), &mut system);
            (
                system.said,
                std::mem::take(&mut self.ran.borrow_mut()),
                outcome.map_err(|error| format!("{error:#}")),
            )
        }

        /// The texts of the files in the system's store.
        fn anchors(&self, store: &str) -> Vec<String> {
            let entries = std::fs::read_dir(self.scratch.path().join("root").join(store)).unwrap();
            entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
        }
    }

    fn authority() -> Authority {
        let options = CaOptions { host: "office".to_owned(), only: Vec::new(), days: 10 };
        Authority::create(&options, Clock::system().now()).unwrap()
    }

    const DEBIAN: &str = "usr/local/share/ca-certificates";
    const FEDORA: &str = "etc/pki/ca-trust/source/anchors";

    #[test]
    fn root_has_the_system_trust_it_and_no_longer_trust_it() {
        for (store, program) in
            [(DEBIAN, "update-ca-certificates --fresh"), (FEDORA, "update-ca-trust extract")]
        {
            let machine = Imagined::new(store);
            let directory = machine.ca();
            let pem = directory.certificates().unwrap().current.pem().to_owned();
            for _ in 0..2 {
                let (said, ran, outcome) = machine.run(Aim::Trust, &directory, true, false);
                assert_eq!((outcome, ran), (Ok(()), vec![program.to_owned()]), "{said}");
                assert_eq!(machine.anchors(store), [pem.as_str()]);
            }
            let (said, ran, outcome) = machine.run(Aim::Untrust, &directory, true, false);
            assert_eq!((outcome, ran), (Ok(()), vec![program.to_owned()]), "{said}");
            assert!(machine.anchors(store).is_empty());
            let (said, ran, outcome) = machine.run(Aim::Untrust, &directory, true, false);
            assert_eq!((outcome, ran.len()), (Ok(()), 0), "{said}");
        }
    }

    #[test]
    fn others_than_root_are_told_what_to_run_and_are_content_with_what_is_done() {
        let machine = Imagined::new(DEBIAN).with_browser();
        let directory = machine.ca();
        let (_, ran, outcome) = machine.run(Aim::Trust, &directory, false, false);
        let advice = format!("sudo larder ca trust --ca-dir {}", directory.path().display());
        assert!(outcome.as_ref().is_err_and(|why| why.contains(&advice)), "{outcome:?}");
        assert_eq!(ran.len(), 1, "the browser trusts it all the same: {ran:?}");
        assert!(machine.anchors(DEBIAN).is_empty());
        machine.run(Aim::Trust, &directory, true, false).2.unwrap();
        let (said, ran, outcome) = machine.run(Aim::Trust, &directory, false, false);
        assert_eq!((outcome, ran.len()), (Ok(()), 0), "{said}");
    }

    #[test]
    fn a_browser_is_told_once_and_forgets_it_again() {
        let machine = Imagined::new(DEBIAN).with_browser();
        let directory = machine.ca();
        let current = directory.certificates().unwrap().current;
        let added = |ran: &[String]| ran.iter().filter(|line| line.contains(" -A ")).count();
        assert_eq!(added(&machine.run(Aim::Trust, &directory, true, false).1), 1);
        assert_eq!(added(&machine.run(Aim::Trust, &directory, true, false).1), 0);
        assert_eq!(machine.held.borrow().get(current.common_name()).map(String::as_str), Some(current.pem()));
        machine.run(Aim::Untrust, &directory, true, false).2.unwrap();
        assert!(machine.held.borrow().is_empty());
    }

    #[test]
    fn without_certutil_the_browser_is_named_and_the_rest_is_done() {
        let machine = Imagined { certutil: false, ..Imagined::new(DEBIAN).with_browser() };
        let (said, ran, outcome) = machine.run(Aim::Trust, &machine.ca(), true, false);
        assert_eq!((outcome, ran.len()), (Ok(()), 1));
        assert!(said.contains("nssdb was left as it is") && said.contains("libnss3-tools"), "{said}");
    }

    #[test]
    fn a_dry_run_says_everything_and_does_nothing() {
        let machine = Imagined::new(DEBIAN).with_browser();
        let (said, ran, outcome) = machine.run(Aim::Trust, &machine.ca(), false, true);
        assert_eq!((outcome, ran.len()), (Ok(()), 0), "{said}");
        for line in ["would write ", "would run: update-ca-certificates", "would run: certutil -d "] {
            assert!(said.contains(line), "{line}: {said}");
        }
        assert!(machine.anchors(DEBIAN).is_empty() && machine.held.borrow().is_empty());
    }

    #[test]
    fn both_are_trusted_during_a_rotation_and_the_previous_one_no_longer_after_it() {
        let machine = Imagined::new(FEDORA).with_browser();
        let directory = machine.ca();
        machine.run(Aim::Trust, &directory, true, false).2.unwrap();
        directory.create_next(&authority()).unwrap();
        machine.run(Aim::Trust, &directory, true, false).2.unwrap();
        assert_eq!((machine.anchors(FEDORA).len(), machine.held.borrow().len()), (2, 2));
        directory.activate().unwrap();
        machine.run(Aim::Trust, &directory, true, false).2.unwrap();
        let current = directory.certificates().unwrap().current;
        assert_eq!(machine.anchors(FEDORA), [current.pem()]);
        assert_eq!(machine.held.borrow().keys().collect::<Vec<_>>(), [current.common_name()]);
    }

    #[test]
    fn a_program_that_fails_is_named_and_run_again_the_next_time() {
        let machine = Imagined { fails: "update-ca-certificates", ..Imagined::new(DEBIAN) };
        let directory = machine.ca();
        for _ in 0..2 {
            let (_, ran, outcome) = machine.run(Aim::Trust, &directory, true, false);
            assert_eq!(ran.len(), 1);
            assert!(outcome.is_err_and(
                |why| why.contains("update-ca-certificates --fresh") && why.contains("no such thing")
            ));
        }
    }

    #[test]
    fn a_system_that_is_not_known_is_a_failure_that_says_where_to_look() {
        let machine = Imagined::new("elsewhere");
        let (_, ran, outcome) = machine.run(Aim::Trust, &machine.ca(), true, false);
        assert!(ran.is_empty() && outcome.is_err_and(|why| why.contains("larder ca show")));
    }
}
