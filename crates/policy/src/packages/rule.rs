//! The rules by name: what each one says of a response, and which of them are active.
//!
//! A rule has a name for people, a number for records, and a kind; nothing here looks at a path. Numbers and
//! names are never given to another rule.

use std::fmt;

use crate::credentials::Opened;
use crate::fields::Fields;
use crate::freshness::{FreshnessLifetime, FreshnessSource};
use crate::packages::accept;
use crate::time::DeltaSeconds;

/// How long an index is fresh for which its origin names no lifetime, unless its rule says less.
pub const INDEX_LIFETIME_SECS: u32 = 600;

/// How long past its freshness lifetime an index stands in for an origin that answers 500, 502, 503 or 504: a week.
/// Where the origin cannot be reached at all, `serve_stale_on_error` decides as for every other response.
pub const INDEX_STALE_IF_ERROR: DeltaSeconds = DeltaSeconds::of_secs(7 * 86_400);

/// What a rule says of the content of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It never changes: a 200 is fresh for ever, and a client's `max-age` does not matter. Not where credentials opened it,
    /// nor where the origin wants it validated and no digest tells better.
    Artefact,
    /// It changes, and its clients ask for it all the time.
    Index {
        /// How long a 200 is fresh at the most for which the origin names no lifetime.
        lifetime: DeltaSeconds,
    },
}

/// Which rule recognised a path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RuleId {
    /// A Debian package in a pool: the file name carries name, version and architecture.
    AptPool,
    /// A Debian index named by its digest.
    AptByHash,
    /// A Debian index by name.
    AptIndex,
    /// A crate of one version.
    CargoCrate,
    /// A file of a sparse cargo index.
    CargoIndex,
    /// A distribution file of a Python project, under the digest of its content.
    PypiFile,
    /// A page of a simple Python index.
    PypiIndex,
    /// A tarball of one version of an npm package.
    NpmTarball,
    /// The document that lists an npm package's versions.
    NpmPackument,
    /// A Go module's file of one canonical version.
    GoModule,
    /// A full tile of a Go checksum database.
    GoTile,
    /// A Go module's list of versions, or its latest one.
    GoIndex,
    /// A released file of a Maven repository.
    MavenRelease,
    /// The list of versions in a Maven repository.
    MavenIndex,
    /// A blob of a container registry, by its digest.
    OciBlob,
    /// A manifest of a container registry, by its digest.
    OciManifest,
    /// A manifest of a container registry by a tag, or the list of tags.
    OciTag,
    /// A Ruby gem of one version.
    Gem,
    /// A conda package of one version and build.
    CondaPackage,
    /// The list of packages of a conda channel.
    CondaIndex,
    /// A file of a dated Rust release.
    RustupDist,
    /// A file of a Hugging Face repository at one commit.
    HuggingFaceFile,
    /// An object that a signed URL names by its digest.
    SignedObject,
}

/// What is known of a rule.
struct Entry {
    name: &'static str,
    code: u8,
    kind: Kind,
}

const fn artefact(name: &'static str, code: u8) -> Entry {
    Entry { name, code, kind: Kind::Artefact }
}

const fn index(name: &'static str, code: u8, lifetime_secs: u32) -> Entry {
    Entry { name, code, kind: Kind::Index { lifetime: DeltaSeconds::of_secs(lifetime_secs) } }
}

impl RuleId {
    /// All rules, in the order of their ecosystems.
    pub const ALL: [Self; 23] = [
        Self::AptPool,
        Self::AptByHash,
        Self::AptIndex,
        Self::CargoCrate,
        Self::CargoIndex,
        Self::PypiFile,
        Self::PypiIndex,
        Self::NpmTarball,
        Self::NpmPackument,
        Self::GoModule,
        Self::GoTile,
        Self::GoIndex,
        Self::MavenRelease,
        Self::MavenIndex,
        Self::OciBlob,
        Self::OciManifest,
        Self::OciTag,
        Self::Gem,
        Self::CondaPackage,
        Self::CondaIndex,
        Self::RustupDist,
        Self::HuggingFaceFile,
        Self::SignedObject,
    ];

    /// An index that is read together with others of its generation, or that says where a name points to, is
    /// fresh for no longer than public registries say of it themselves.
    const fn entry(self) -> Entry {
        match self {
            Self::AptPool => artefact("apt-pool", 1),
            Self::AptByHash => artefact("apt-by-hash", 2),
            Self::AptIndex => index("apt-index", 3, 120),
            Self::CargoCrate => artefact("cargo-crate", 4),
            Self::CargoIndex => index("cargo-index", 5, INDEX_LIFETIME_SECS),
            Self::PypiFile => artefact("pypi-file", 6),
            Self::PypiIndex => index("pypi-index", 7, INDEX_LIFETIME_SECS),
            Self::NpmTarball => artefact("npm-tarball", 8),
            Self::NpmPackument => index("npm-packument", 9, 300),
            Self::GoModule => artefact("go-module", 10),
            Self::GoTile => artefact("go-tile", 11),
            Self::GoIndex => index("go-index", 12, 60),
            Self::MavenRelease => artefact("maven-release", 13),
            Self::MavenIndex => index("maven-index", 14, INDEX_LIFETIME_SECS),
            Self::OciBlob => artefact("oci-blob", 15),
            Self::OciManifest => artefact("oci-manifest", 16),
            Self::OciTag => index("oci-tag", 17, 60),
            Self::Gem => artefact("gem", 18),
            Self::CondaPackage => artefact("conda-package", 19),
            Self::CondaIndex => index("conda-index", 20, INDEX_LIFETIME_SECS),
            Self::RustupDist => artefact("rustup-dist", 21),
            Self::HuggingFaceFile => artefact("hugging-face-file", 22),
            Self::SignedObject => artefact("signed-object", 23),
        }
    }

    /// The word for Cache-Status, the log and the configuration.
    pub const fn name(self) -> &'static str {
        self.entry().name
    }

    /// The rule of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// What the rule says of the content.
    pub const fn kind(self) -> Kind {
        self.entry().kind
    }

    /// Whether the content never changes.
    pub const fn is_artefact(self) -> bool {
        matches!(self.entry().kind, Kind::Artefact)
    }

    /// Whether a stored response is under a key that says less than its target, so that nobody else may see a
    /// byte of it before all of it has been checked against its digest.
    pub const fn shares_by_proof_alone(self) -> bool {
        matches!(self, Self::SignedObject)
    }

    /// The stored form. Numbers are never used again for another rule; zero stands for none.
    pub(crate) const fn code(self) -> u8 {
        self.entry().code
    }

    pub(crate) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.code() == code)
    }
}

/// What a request must show besides its path, where many things have a path of that shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    /// The path alone tells.
    Path,
    /// `cargo-protocol`, which cargo sends to an index.
    Cargo,
    /// npm's media type in Accept, or a field that only npm's client sends.
    Npm,
}

/// A package rule that holds for one target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Which rule it is.
    pub id: RuleId,
    /// What the body must hash to, when the path says so.
    pub digest: Option<ExpectedDigest>,
    protocol: Protocol,
}

impl Rule {
    /// One that knows its content by the path.
    pub(super) const fn of(id: RuleId) -> Self {
        Self { id, digest: None, protocol: Protocol::Path }
    }

    /// One whose path says what the body must hash to.
    pub(super) const fn proved(id: RuleId, digest: ExpectedDigest) -> Self {
        Self { digest: Some(digest), ..Self::of(id) }
    }

    /// One that needs to see its protocol in the request, too.
    pub(super) const fn asked_by(id: RuleId, protocol: Protocol) -> Self {
        Self { protocol, ..Self::of(id) }
    }

    /// The word for Cache-Status and the log.
    pub const fn name(&self) -> &'static str {
        self.id.name()
    }

    /// Whether the request shows the protocol that the rule is about.
    pub fn is_told_by(&self, request: &Fields) -> bool {
        match self.protocol {
            Protocol::Path => true,
            Protocol::Cargo => request.contains("cargo-protocol"),
            Protocol::Npm => {
                request.contains("npm-command")
                    || request.contains("pacote-req-type")
                    || accept::names(request, accept::NPM_ABBREVIATED)
            }
        }
    }

    /// Whether responses at this path are chosen by Accept, also where their Vary does not say so. Where the path is one of
    /// many kinds, a document in JSON is taken to be, whoever asked for it: that costs a fetch where it is not so.
    pub(crate) fn negotiates(&self, request: &Fields, response: &Fields) -> bool {
        match self.id {
            RuleId::PypiIndex | RuleId::OciTag => true,
            RuleId::NpmPackument => self.is_told_by(request) || accept::is_packument(response),
            _ => false,
        }
    }

    /// Whether a 200 can be what the rule is about. A page for a browser is no artefact: a portal's login page at the path
    /// of a package must not be taken for it.
    pub(crate) fn fits(&self, response: &Fields) -> bool {
        !self.id.is_artefact() || self.digest.is_some() || !accept::is_page(response)
    }

    /// The lifetime of a 200 that has `own` by itself. `must_ask` says that the origin wants it validated once stale, and so
    /// is not silent. What credentials `opened` is made fresh for no longer than HTTP has it.
    pub(crate) fn lifetime(
        &self,
        own: (FreshnessSource, FreshnessLifetime),
        must_ask: bool,
        opened: Opened,
    ) -> (FreshnessSource, FreshnessLifetime) {
        let by_rule = |millis| (FreshnessSource::Package, FreshnessLifetime::from_millis(millis));
        let anybodys = opened == Opened::ToAnybody;
        match (self.id.kind(), own) {
            (Kind::Artefact, own) if !anybodys || must_ask && self.digest.is_none() => own,
            (Kind::Artefact, _) => (FreshnessSource::Package, FreshnessLifetime::FOR_EVER),
            (Kind::Index { lifetime }, (FreshnessSource::Absent, _)) if anybodys && !must_ask => {
                by_rule(lifetime.as_millis())
            }
            // An index that has not changed for years may change in the next minute.
            (Kind::Index { lifetime }, (FreshnessSource::Heuristic, guess))
                if guess.as_millis() > lifetime.as_millis() =>
            {
                by_rule(lifetime.as_millis())
            }
            (Kind::Index { .. }, own) => own,
        }
    }
}

/// The digest that a path promises for its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExpectedDigest {
    /// SHA-256.
    Sha256([u8; 32]),
    /// SHA-512.
    Sha512([u8; 64]),
}

/// The rules that are active. The default is all of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Active {
    /// One bit for each inactive rule, at the place of its number.
    off: u64,
}

impl Active {
    /// All rules.
    pub const ALL: Self = Self { off: 0 };
    /// No rule: plain HTTP for everything.
    pub const NONE: Self = Self { off: u64::MAX };

    /// These without one of them.
    #[must_use]
    pub const fn without(self, rule: RuleId) -> Self {
        Self { off: self.off | 1 << rule.code() }
    }

    /// Whether a rule is active.
    pub const fn has(self, rule: RuleId) -> bool {
        self.off & 1 << rule.code() == 0
    }

    /// The inactive rules.
    pub fn inactive(self) -> impl Iterator<Item = RuleId> {
        RuleId::ALL.into_iter().filter(move |rule| !self.has(*rule))
    }
}

impl Default for Active {
    fn default() -> Self {
        Self::ALL
    }
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ALL => f.write_str("All"),
            Self::NONE => f.write_str("None"),
            some => write!(f, "All but {:?}", some.inactive().collect::<Vec<_>>()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_read_back() {
        for rule in RuleId::ALL {
            assert_eq!(RuleId::of_code(rule.code()), Some(rule));
            assert_eq!(RuleId::of_name(rule.name()), Some(rule));
            // A set of rules has a bit for each.
            assert!(rule.code() < 64);
        }
        assert_eq!(RuleId::of_code(0), None);
        assert_eq!(RuleId::of_code(255), None);
    }

    /// The numbers are in stores on people's disks: a row is added here, and none is ever changed.
    #[test]
    fn codes_never_change() {
        let codes: Vec<_> = RuleId::ALL.iter().map(|rule| (rule.code(), rule.name())).collect();
        assert_eq!(codes.len(), 23);
        for (at, code) in codes.iter().enumerate() {
            assert_eq!(usize::from(code.0), at + 1, "{codes:?}");
        }
        assert_eq!(codes[0], (1, "apt-pool"));
        assert_eq!(codes[9], (10, "go-module"));
        assert_eq!(codes[22], (23, "signed-object"));
    }

    #[test]
    fn no_index_is_fresh_for_longer_than_it_says() {
        for rule in RuleId::ALL {
            if let Kind::Index { lifetime } = rule.kind() {
                assert!((1..=INDEX_LIFETIME_SECS).contains(&lifetime.as_secs()), "{}", rule.name());
            }
        }
    }

    #[test]
    fn a_set_of_rules_is_less_what_it_is_told() {
        let some = Active::ALL.without(RuleId::NpmTarball).without(RuleId::Gem);
        assert!(some.has(RuleId::AptPool) && !some.has(RuleId::NpmTarball) && !some.has(RuleId::Gem));
        assert_eq!(some.inactive().collect::<Vec<_>>(), [RuleId::NpmTarball, RuleId::Gem]);
        assert_eq!(format!("{some:?}"), "All but [NpmTarball, Gem]");
        assert!(RuleId::ALL.into_iter().all(|rule| Active::default().has(rule) && !Active::NONE.has(rule)));
    }

    #[test]
    fn an_index_has_a_short_lifetime_of_its_own_only_where_the_origin_is_silent() {
        let millis = FreshnessLifetime::from_millis;
        let rule = Rule::of(RuleId::PypiIndex);
        let of = |source, own, must_ask| rule.lifetime((source, millis(own)), must_ask, Opened::ToAnybody);
        assert_eq!(of(FreshnessSource::Absent, 0, false), (FreshnessSource::Package, millis(600_000)));
        assert_eq!(of(FreshnessSource::Absent, 0, true), (FreshnessSource::Absent, millis(0)));
        assert_eq!(
            of(FreshnessSource::Heuristic, 999_000, false),
            (FreshnessSource::Package, millis(600_000))
        );
        assert_eq!(of(FreshnessSource::Heuristic, 9_000, false), (FreshnessSource::Heuristic, millis(9_000)));
        assert_eq!(of(FreshnessSource::MaxAge, 0, false), (FreshnessSource::MaxAge, millis(0)));
        assert_eq!(of(FreshnessSource::Expires, 999_000, false), (FreshnessSource::Expires, millis(999_000)));
        for opened in [Opened::ByCredentials, Opened::Guarded] {
            let of = |source, own| rule.lifetime((source, millis(own)), false, opened).1;
            assert_eq!(of(FreshnessSource::Absent, 0), millis(0));
            assert_eq!(of(FreshnessSource::Heuristic, 999_000), millis(600_000), "a guess is still bounded");
        }
    }
}
