//! The CA on disk, and its leaves as a TLS client judges them.

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::time::Duration;

use larder_policy::Timestamp;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::leaves::LeafError;
use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// 2026-11-28.
fn now() -> Timestamp {
    Timestamp::from_secs(1_795_824_000)
}

fn later(days: u32) -> Timestamp {
    now().saturating_add(DAY * days)
}

fn options(only: &[&str]) -> CaOptions {
    let only = only.iter().map(|text| text.parse().unwrap()).collect();
    CaOptions { host: "office".to_owned(), only, days: CaOptions::DAYS }
}

fn authority(only: &[&str]) -> Authority {
    Authority::create(&options(only), now()).unwrap()
}

fn most(leaves: usize) -> NonZeroUsize {
    NonZeroUsize::new(leaves).unwrap()
}

/// A CA on disk.
fn made() -> (tempfile::TempDir, CaDirectory) {
    let scratch = tempfile::tempdir().unwrap();
    let directory = CaDirectory::new(scratch.path().join("deep/ca"));
    directory.create(&authority(&[])).unwrap();
    (scratch, directory)
}

fn mode(directory: &CaDirectory, name: &str) -> u32 {
    fs::metadata(directory.path().join(name)).unwrap().mode() & 0o7777
}

fn set_mode(directory: &CaDirectory, name: &str, mode: u32) {
    fs::set_permissions(directory.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
}

#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct At(Timestamp);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.as_secs().try_into().unwrap())))
    }
}

/// A whole handshake with a client that trusts `root` alone and wants `name`.
fn handshake(
    root: &CaCertificate,
    shown: &Arc<CertifiedKey>,
    name: &str,
    at: Timestamp,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_details(Arc::clone(&provider), Arc::new(At(at)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shows(Arc::clone(shown))));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn a_client_that_trusts_the_ca_accepts_its_leaves_and_no_other_does() {
    let (ours, other) = (authority(&[]), authority(&[]));
    let (root, stranger) = (ours.certificate().clone(), other.certificate().clone());
    assert_ne!(root.common_name(), stranger.common_name());
    let leaves = Leaves::new(ours, most(10)).unwrap();
    let long = format!("{}.example", vec!["a".repeat(60); 3].join("."));
    for name in ["example.com", "a.b-c.example", "under_score.example", &long, "192.0.2.1", "2001:db8::1"] {
        let leaf = leaves.certified(name, now()).unwrap();
        assert_eq!(handshake(&root, &leaf, name, now()), Ok(()), "{name}");
        assert!(handshake(&root, &leaf, "elsewhere.example", now()).is_err(), "{name}");
        assert!(handshake(&stranger, &leaf, name, now()).is_err(), "{name}");
        assert_eq!(leaf.cert.len(), 2, "the CA is sent as well");
        assert_eq!(leaf.cert.get(1), Some(root.der()));
    }
}

#[test]
fn clients_enforce_the_constraints_and_the_proxy_does_not_try_them() {
    // `sign_leaf` itself signs what it is given, so that the client's own judgement can be seen.
    let constrained = authority(&["example.com", "192.0.2.0/24"]);
    let root = constrained.certificate().clone();
    let pem = constrained.key_pem();
    let signs = |name: &str| {
        let again = Authority::of(root.clone(), &pem).unwrap().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let name = names::LeafName::parse(name).unwrap();
        let leaf = again.sign_leaf(&name, &key, now(), later(1)).unwrap();
        let private = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let key = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&private).unwrap();
        Arc::new(CertifiedKey::new(vec![leaf, root.der().clone()], key))
    };
    let leaves = Leaves::new(constrained, most(10)).unwrap();
    for name in ["example.com", "www.example.com", "192.0.2.200"] {
        let leaf = leaves.certified(name, now()).unwrap();
        assert_eq!(handshake(&root, &leaf, name, now()), Ok(()), "{name}");
    }
    for name in ["example.org", "badexample.com", "198.51.100.1", "2001:db8::1"] {
        assert!(matches!(leaves.certified(name, now()), Err(LeafError::Outside(_))), "{name}");
        let refused = handshake(&root, &signs(name), name, now()).unwrap_err().to_string();
        assert!(refused.contains("NameConstraintViolation"), "{name}: {refused}");
    }
    assert_eq!(leaves.len(), 3, "what is refused takes no place");
    // A domain alone leaves no address free, though constraints count for their own kind of name only.
    let domain = authority(&["example.com"]);
    assert_eq!(domain.certificate().only().len(), 2, "the proxy's own name is the other");
    assert!(Leaves::new(domain, most(1)).unwrap().certified("192.0.2.1", now()).is_err());
}

#[test]
fn what_is_no_name_is_refused() {
    let leaves = Leaves::new(authority(&[]), most(10)).unwrap();
    for name in ["", "*.example.com", "a b", "[::1]", "example.com:443", "x\0.example"] {
        assert!(matches!(leaves.certified(name, now()), Err(LeafError::Name)), "{name:?}");
    }
    assert_eq!(leaves.len(), 0);
}

#[test]
fn a_name_has_one_leaf_until_a_quarter_of_its_life_is_left() {
    let authority = authority(&[]);
    let root = authority.certificate().clone();
    let leaves = Leaves::new(authority, most(10)).unwrap();
    let first = leaves.certified("example.com", now()).unwrap();
    for same in ["example.com", "EXAMPLE.com", "example.com."] {
        assert!(Arc::ptr_eq(&first, &leaves.certified(same, later(22)).unwrap()), "{same}");
    }
    let second = leaves.certified("example.com", later(23)).unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    assert_eq!(handshake(&root, &first, "example.com", later(29)), Ok(()));
    assert!(handshake(&root, &first, "example.com", later(31)).is_err());
    assert_eq!(handshake(&root, &second, "example.com", later(31)), Ok(()));
    // Clocks of clients may be behind by a day, and the proxy's may step back.
    assert_eq!(
        handshake(&root, &first, "example.com", Timestamp::from_secs(now().as_secs() - 86_400)),
        Ok(())
    );
    let back = leaves.certified("example.com", now()).unwrap();
    assert_eq!(handshake(&root, &back, "example.com", now()), Ok(()));
}

#[test]
fn no_two_leaves_have_the_same_number() {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let leaves = Leaves::new(authority(&[]), most(10)).unwrap();
    let number = |name: &str, at| {
        let leaf = leaves.certified(name, at).unwrap();
        X509Certificate::from_der(&leaf.cert[0]).unwrap().1.raw_serial().to_vec()
    };
    let numbers = [number("a.example", now()), number("b.example", now()), number("a.example", later(29))];
    assert!(numbers.iter().all(|number| number.len() == 16));
    assert!(numbers[0] != numbers[1] && numbers[0] != numbers[2]);
}

#[test]
fn a_leaf_ends_no_later_than_its_ca_and_none_is_minted_after_that() {
    let options = CaOptions { days: 10, ..options(&[]) };
    let authority = Authority::create(&options, now()).unwrap();
    let root = authority.certificate().clone();
    let leaves = Leaves::new(authority, most(10)).unwrap();
    let mut minted = 0;
    let mut last: Option<Arc<CertifiedKey>> = None;
    for hour in 0..=240 {
        let at = now().saturating_add(DAY / 24 * hour);
        let leaf = leaves.certified("example.com", at).unwrap();
        assert_eq!(handshake(&root, &leaf, "example.com", at), Ok(()), "{hour}");
        if last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, &leaf)) {
            minted += 1;
        }
        last = Some(leaf);
    }
    assert!((2..=8).contains(&minted), "{minted}");
    assert!(matches!(leaves.certified("example.com", later(11)), Err(LeafError::NotValid(_))));
}

#[test]
fn a_thousand_names_stay_within_the_bound() {
    let leaves = Leaves::new(authority(&[]), most(100)).unwrap();
    let name = |number: u32| format!("host-{number}.example");
    let mut chain_bytes = 0;
    for number in 0..1000 {
        let leaf = leaves.certified(&name(number), now()).unwrap();
        chain_bytes = chain_bytes.max(leaf.cert.iter().map(|certificate| certificate.len()).sum());
        assert!(leaves.len() <= 100);
    }
    assert_eq!(leaves.len(), 100);
    assert!(chain_bytes < 1500, "{chain_bytes}");
    // The longest unused went; what is used stays.
    let kept = leaves.certified(&name(900), now()).unwrap();
    for number in 0..99 {
        leaves.certified(&name(number), now()).unwrap();
    }
    assert!(Arc::ptr_eq(&kept, &leaves.certified(&name(900), now()).unwrap()));
}

#[test]
fn many_who_want_one_name_at_once_are_given_the_same_leaf() {
    let leaves = Leaves::new(authority(&[]), most(10)).unwrap();
    let gate = std::sync::Barrier::new(8);
    let minted = std::thread::scope(|scope| {
        let ask = || {
            gate.wait();
            leaves.certified("example.com", now()).unwrap()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(minted.iter().all(|leaf| Arc::ptr_eq(leaf, &minted[0])));
}

#[test]
fn the_key_is_for_its_owner_alone_whatever_the_umask_lets_through() {
    // The umask is the process's: changed in a process of its own, this test again.
    if std::env::var_os("LARDER_TEST_UMASK").is_none() {
        let name = "tls::tests::the_key_is_for_its_owner_alone_whatever_the_umask_lets_through";
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let output = again.args(["--exact", name]).env("LARDER_TEST_UMASK", "0").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    rustix::process::umask(rustix::fs::Mode::empty());
    let (_scratch, directory) = made();
    assert_eq!((mode(&directory, ""), mode(&directory, "ca.key")), (0o700, 0o600));
    directory.create_next(&authority(&[])).unwrap();
    assert_eq!(mode(&directory, "next.key"), 0o600);
    directory.activate().unwrap();
    assert_eq!(mode(&directory, "ca.key"), 0o600);
}

#[test]
fn what_was_written_is_loaded_again() {
    let (_scratch, directory) = made();
    let authorities = directory.load(now()).unwrap();
    let CaCertificates { current, next, previous } = directory.certificates().unwrap();
    assert_eq!((next, previous), (None, None));
    assert_eq!(authorities.signing(now()).certificate(), &current);
    assert_eq!(authorities.bundle_pem(), current.pem());
    assert!(current.common_name().starts_with("larder CA office "), "{}", current.common_name());
    assert_eq!(current.fingerprint().len(), 95);
    assert_eq!(current.not_after(), later(CaOptions::DAYS));
    assert_eq!(current.validity(), ["2026-11-26T00:00:00Z", "2029-11-27T00:00:00Z"]);
    let leaf = Leaves::new(authorities, most(1)).unwrap().certified("example.com", now()).unwrap();
    assert_eq!(handshake(&current, &leaf, "example.com", now()), Ok(()));
}

#[test]
fn a_ca_is_never_overwritten() {
    let (_scratch, directory) = made();
    let before = fs::read(directory.path().join("ca.key")).unwrap();
    assert!(matches!(directory.create(&authority(&[])), Err(CaError::Exists { .. })));
    fs::remove_file(directory.path().join("ca.pem")).unwrap();
    assert!(
        matches!(directory.create(&authority(&[])), Err(CaError::Exists { .. })),
        "its key is still there"
    );
    assert_eq!(fs::read(directory.path().join("ca.key")).unwrap(), before);
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_remedy() {
    let (_scratch, directory) = made();
    for open in [0o640, 0o604, 0o644, 0o620, 0o601] {
        set_mode(&directory, "ca.key", open);
        let refused = directory.load(now()).unwrap_err();
        assert!(matches!(refused, CaError::Exposed { mode, .. } if mode == open), "{refused}");
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
    }
    set_mode(&directory, "ca.key", 0o400);
    directory.load(now()).unwrap();
    set_mode(&directory, "", 0o770);
    assert!(matches!(directory.load(now()), Err(CaError::OpenDirectory { .. })));
    set_mode(&directory, "", 0o755);
    directory.load(now()).unwrap();
    // One that may be written by others is not written into either.
    let scratch = tempfile::tempdir().unwrap();
    let open = CaDirectory::new(scratch.path().join("open"));
    fs::DirBuilder::new().mode(0o700).create(open.path()).unwrap();
    set_mode(&open, "", 0o777);
    assert!(matches!(open.create(&authority(&[])), Err(CaError::OpenDirectory { .. })));
}

#[test]
fn what_does_not_belong_together_or_is_no_ca_is_refused() {
    let (_scratch, directory) = made();
    let file = |name: &str| directory.path().join(name);
    let (key, certificate) = (fs::read(file("ca.key")).unwrap(), fs::read(file("ca.pem")).unwrap());
    fs::write(file("ca.key"), authority(&[]).key_pem().as_bytes()).unwrap();
    assert!(matches!(directory.load(now()), Err(CaError::Mismatch { .. })));
    fs::write(file("ca.key"), "no key").unwrap();
    assert!(matches!(directory.load(now()), Err(CaError::Unusable { .. })));
    fs::write(file("ca.key"), key).unwrap();
    let leaf = rcgen::generate_simple_self_signed(["example.com".to_owned()]).unwrap();
    for text in [
        "",
        "no certificate",
        &leaf.cert.pem(),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        fs::write(file("ca.pem"), text).unwrap();
        assert!(matches!(directory.load(now()), Err(CaError::Unusable { .. })), "{text}");
    }
    // Remarks and Windows' line ends are no harm.
    let pem = String::from_utf8(certificate).unwrap();
    fs::write(file("ca.pem"), format!("our CA\r\n{}", pem.replace('\n', "\r\n"))).unwrap();
    assert_eq!(directory.load(now()).unwrap().bundle_pem(), pem);
    fs::remove_file(file("ca.pem")).unwrap();
    assert!(matches!(directory.load(now()), Err(CaError::Missing { .. })));
}

#[test]
fn a_ca_that_has_ended_or_not_begun_is_refused() {
    let (_scratch, directory) = made();
    directory.load(later(CaOptions::DAYS)).unwrap();
    let ended = directory.load(later(CaOptions::DAYS + 1)).unwrap_err();
    assert!(matches!(ended, CaError::Expired { .. }) && ended.to_string().contains("rotate"), "{ended}");
    let early = Timestamp::from_secs(now().as_secs() - 3 * 86_400);
    assert!(matches!(directory.load(early), Err(CaError::NotYetValid { .. })));
}

#[test]
fn the_next_ca_is_trusted_at_once_and_signs_from_a_week_before_the_end() {
    let (_scratch, directory) = made();
    let current = directory.certificates().unwrap().current;
    let next = Authority::create(&options(&[]), later(1000)).unwrap();
    let next_certificate = next.certificate().clone();
    directory.create_next(&next).unwrap();
    assert!(matches!(directory.create_next(&next), Err(CaError::NextExists { .. })));
    let authorities = directory.load(later(1000)).unwrap();
    assert_eq!(authorities.bundle_pem(), format!("{}{}", current.pem(), next_certificate.pem()));
    let leaves = Leaves::new(authorities, most(10)).unwrap();
    let signed = |root: &CaCertificate, days| {
        let leaf = leaves.certified("example.com", later(days)).unwrap();
        handshake(root, &leaf, "example.com", later(days)).is_ok()
    };
    assert!(signed(&current, 1000) && signed(&current, CaOptions::DAYS - 8));
    assert!(signed(&next_certificate, CaOptions::DAYS - 7) && signed(&next_certificate, CaOptions::DAYS + 1));
    // Also at a start after the end of the first.
    directory.load(later(CaOptions::DAYS + 1)).unwrap();
}

#[test]
fn activation_hands_over_and_keeps_what_was_before_without_its_key() {
    let (_scratch, directory) = made();
    let first = directory.certificates().unwrap().current;
    assert!(matches!(directory.activate(), Err(CaError::NoNext { .. })));
    let next = authority(&[]);
    directory.create_next(&next).unwrap();
    let old_key = fs::read(directory.path().join("ca.key")).unwrap();
    directory.activate().unwrap();
    let CaCertificates { current, next: none, previous } = directory.certificates().unwrap();
    assert_eq!((&current, none, previous), (next.certificate(), None, Some(first)));
    assert_eq!(directory.load(now()).unwrap().signing(now()).certificate(), next.certificate());
    for entry in fs::read_dir(directory.path()).unwrap() {
        assert_ne!(fs::read(entry.unwrap().path()).unwrap(), old_key);
    }
}

#[test]
fn a_hand_over_that_was_stopped_at_any_step_leaves_a_ca_that_loads_and_can_be_ended() {
    for steps in 0..=2 {
        let (_scratch, directory) = made();
        let first = directory.certificates().unwrap().current;
        let next = authority(&[]);
        directory.create_next(&next).unwrap();
        let file = |name: &str| directory.path().join(name);
        if steps >= 1 {
            fs::copy(file("ca.pem"), file("previous.pem")).unwrap();
        }
        if steps >= 2 {
            fs::rename(file("next.key"), file("ca.key")).unwrap();
        }
        let expected = if steps < 2 { &first } else { next.certificate() };
        assert_eq!(directory.load(now()).unwrap().signing(now()).certificate(), expected, "{steps}");
        assert_eq!(&directory.certificates().unwrap().current, expected, "{steps}");
        directory.activate().unwrap();
        assert_eq!(directory.load(now()).unwrap().signing(now()).certificate(), next.certificate());
        assert_eq!(directory.certificates().unwrap().previous, Some(first));
        assert!(!file("next.pem").exists() && !file("next.key").exists());
    }
}

#[test]
fn the_key_is_in_no_text() {
    let authority = authority(&[]);
    let pem = authority.key_pem();
    let secret: Vec<_> = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    assert!(secret.len() >= 2);
    let (_scratch, directory) = made();
    let authorities = directory.load(now()).unwrap();
    let mut texts = vec![
        format!("{authority:?} {authority:#?} {:?}", authority.certificate()),
        format!("{authorities:#?}"),
    ];
    fs::write(directory.path().join("ca.key"), pem.as_bytes()).unwrap();
    let mismatch = directory.load(now()).unwrap_err();
    texts.push(format!("{mismatch} {mismatch:?}"));
    fs::write(directory.path().join("ca.key"), &pem.as_bytes()[..150]).unwrap();
    let broken = directory.load(now()).unwrap_err();
    texts.push(format!("{broken} {broken:?}"));
    for text in texts {
        assert!(!text.is_empty() && !secret.iter().any(|line| text.contains(&line[..20])), "{text}");
    }
}
