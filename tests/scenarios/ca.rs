//! `larder ca` as a user runs it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::Larder;
use crate::support::process::larder;
use crate::support::tls::client_config;

struct Ca {
    scratch: tempfile::TempDir,
}

impl Ca {
    fn new() -> Self {
        Self { scratch: tempfile::tempdir().unwrap() }
    }

    fn dir(&self) -> PathBuf {
        self.scratch.path().join("ca")
    }

    /// Exit code, standard output, standard error.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.output(arguments);
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    fn output(&self, arguments: &[&str]) -> Output {
        let mut command = larder();
        command.env("LARDER_CA_DIR", self.dir()).env("HOME", self.scratch.path()).arg("ca");
        command.args(arguments).output().unwrap()
    }

    fn done(&self, arguments: &[&str]) -> String {
        let (code, out, said) = self.run(arguments);
        assert_eq!((code, said.as_str()), (Some(0), ""), "{arguments:?}");
        out
    }

    fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir().join(name)).unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_ca_is_made_once_for_its_owner_alone_and_shown_in_every_form() {
    let ca = Ca::new();
    let made = ca.done(&["create", "--only", "example.com,192.0.2.0/24", "--days", "30"]);
    assert!(made.contains("example.com, 192.0.2.0/24, larder.internal and nothing else"), "{made}");
    assert_eq!((mode(&ca.dir()), mode(&ca.dir().join("ca.key"))), (0o700, 0o600));

    let pem = ca.done(&["show", "--pem"]);
    assert_eq!(pem.as_bytes(), ca.file("ca.pem"));
    let fingerprint = ca.done(&["show", "--fingerprint"]);
    let text = ca.done(&["show"]);
    assert!(text.contains(fingerprint.trim()) && text.contains("NODE_EXTRA_CA_CERTS="), "{text}");
    let json: serde_json::Value = serde_json::from_str(&ca.done(&["show", "--json"])).unwrap();
    assert_eq!(json["certificates"][0]["fingerprint"], fingerprint.trim());
    assert_eq!(json["certificates"][0]["only"][0], "example.com");
    let der = ca.output(&["show", "--der"]).stdout;
    assert!(der.starts_with(&[0x30, 0x82]) && der.len() > 300);

    let key = String::from_utf8(ca.file("ca.key")).unwrap();
    let secret = key.lines().nth(2).unwrap();
    for shown in [made, pem, text, json.to_string()] {
        assert!(!shown.contains(secret));
    }

    let (code, _, said) = ca.run(&["create"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("is there already") && said.contains("larder ca untrust"), "{said}");
    assert_eq!(ca.file("ca.key"), key.as_bytes());
}

#[test]
fn a_ca_follows_another_with_the_same_names() {
    let ca = Ca::new();
    ca.done(&["create", "--only", "example.com"]);
    let first = ca.file("ca.pem");
    assert_eq!(ca.run(&["rotate", "--activate"]).0, Some(1), "there is no next one yet");
    let told = ca.done(&["rotate"]);
    assert!(told.contains("signs for    example.com, larder.internal and nothing else"), "{told}");
    assert_eq!(ca.run(&["rotate"]).0, Some(1), "there is a next one");
    assert_eq!(ca.done(&["show", "--pem"]).as_bytes(), [first.as_slice(), &ca.file("next.pem")].concat());
    assert_eq!(ca.done(&["show", "--fingerprint"]).lines().count(), 2);
    let next = ca.file("next.pem");
    let told = ca.done(&["rotate", "--activate"]);
    assert!(told.contains("restart") && told.contains("larder ca trust"), "{told}");
    assert_eq!((ca.file("ca.pem"), ca.file("previous.pem")), (next, first));
    assert_eq!(ca.done(&["show", "--pem"]).as_bytes(), ca.file("ca.pem"));
}

#[test]
fn without_a_ca_the_way_to_one_is_told() {
    let ca = Ca::new();
    for act in ["show", "trust", "untrust", "rotate"] {
        let (code, out, said) = ca.run(&[act]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{act}");
        assert!(said.contains("`larder ca create` makes one"), "{act}: {said}");
    }
    for wrong in [["--only", "*.example.com"], ["--days", "0"], ["--days", "100000"]] {
        let (code, _, said) = ca.run(&["create", wrong[0], wrong[1]]);
        assert_eq!(code, Some(2), "{said}");
    }
    assert!(!ca.dir().exists());
}

#[test]
fn a_dry_run_of_trust_changes_nothing() {
    let ca = Ca::new();
    ca.done(&["create"]);
    let before = ca.file("ca.pem");
    let (_, out, _) = ca.run(&["trust", "--dry-run"]);
    assert!(!out.lines().any(|line| line.starts_with("wrote") || line.starts_with("ran:")), "{out}");
    assert_eq!(ca.file("ca.pem"), before);
}

#[test]
fn a_proxy_opens_tunnels_with_it_and_refuses_to_start_without() {
    let ca = Ca::new();
    let dir = ca.dir();
    let cache = ca.scratch.path().join("cache");
    let serve = |more: &[&str]| {
        let mut command = larder();
        command.args(["serve", "--listen", "127.0.0.1:0", "--intercept", "--cache-dir"]).arg(&cache);
        command.arg("--ca-dir").arg(&dir).args(more).output().unwrap()
    };
    let refused = serve(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("`larder ca create` makes one"));
    ca.done(&["create"]);
    let key = dir.join("ca.key");
    let permit = |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
    permit(0o640);
    let refused = serve(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("chmod 600"));
    permit(0o600);
    let proxy = Larder::serve(&cache, &["--intercept", "--ca-dir", dir.to_str().unwrap()]);
    // The proxy's own name needs no origin.
    let name = "larder.internal";
    let mut config = client_config(&ca.done(&["show", "--pem"]), &["http/1.1"]);
    config.time_provider = std::sync::Arc::new(rustls::time_provider::DefaultTimeProvider);
    let mut inside = proxy.connect().tunnel(&format!("{name}:443")).tls(name, config).unwrap();
    let page = inside.ask(name, "/", &[]);
    assert_eq!(page.status, 200, "{}", page.text());
    let secret = String::from_utf8(ca.file("ca.key")).unwrap();
    assert!(!page.text().contains(secret.lines().nth(2).unwrap()));
    proxy.signal("TERM");
    let (code, said) = proxy.wait();
    assert_eq!(code, Some(0));
    assert!(!said.contains(secret.lines().nth(2).unwrap()));
}
