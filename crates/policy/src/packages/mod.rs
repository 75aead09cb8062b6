//! What package ecosystems add to HTTP: paths whose content can never change, and indices that change often.
//!
//! Recognised by the shape of the path, in a few cases together with a field of the ecosystem's protocol, never by a host's
//! name, and narrowly: a path that merely resembles one follows plain HTTP. For what never changes a rule gives a lifetime
//! without end in place of the origin's; for an index it fills in a short one where the origin names none. It never
//! overrules `no-store`, `private` or `no-cache`, nor without a digest an origin that wants validation, and lengthens nothing that credentials
//! opened. What a digest proves to be the same it shares with those whom the origin has let have it, too. A rule has no
//! say over anything but a 200. Each ecosystem has a file, and knows nothing of the others.

mod accept;
mod apt;
mod cargo;
mod conda;
mod go;
mod hugging_face;
mod maven;
mod npm;
mod oci;
mod pypi;
mod rubygems;
mod rule;
mod rustup;
mod shape;
mod signed;

pub use rule::{Active, ExpectedDigest, INDEX_LIFETIME_SECS, INDEX_STALE_IF_ERROR, Kind, Rule, RuleId};

use crate::key::CacheKey;
use crate::target::TargetUri;

/// One package ecosystem: the paths it recognises.
trait Ecosystem {
    /// The rule for a target, if its path has this ecosystem's shape.
    fn recognise(&self, target: &TargetUri) -> Option<Rule>;
}

/// Those that know a path by more than a name come first.
const ECOSYSTEMS: [&dyn Ecosystem; 12] = [
    &signed::Signed,
    &oci::Oci,
    &apt::Apt,
    &pypi::Pypi,
    &go::Go,
    &hugging_face::HuggingFace,
    &conda::Conda,
    &rubygems::RubyGems,
    &rustup::Rustup,
    &maven::Maven,
    &cargo::Cargo,
    &npm::Npm,
];

/// Finds the rule for a target among all; `None` leaves it to plain HTTP. Where the path alone does not tell, the rule
/// has a say only if the request shows its protocol.
pub fn recognise(target: &TargetUri) -> Option<Rule> {
    ECOSYSTEMS.into_iter().find_map(|ecosystem| ecosystem.recognise(target))
}

/// Whether [`Active::key`] may leave something out of a target with this path.
pub(crate) fn may_be_signed(path_and_query: &str) -> bool {
    let path = path_and_query.split_once('?').map_or(path_and_query, |(path, _)| path);
    signed::names_digest(path)
}

impl Active {
    /// [`recognise`], among these.
    pub fn recognise(self, target: &TargetUri) -> Option<Rule> {
        recognise(target).filter(|rule| self.has(rule.id))
    }

    /// The key without the parameters of a signature, where the path names its content by a digest. It is not the key of
    /// any request without a signature.
    pub fn key(self, key: CacheKey) -> CacheKey {
        if !self.has(RuleId::SignedObject) {
            return key;
        }
        match signed::unsigned(key.target()) {
            Some(target) => key.signed(&target),
            None => key,
        }
    }

    /// The key under which an object behind signed URLs is kept, by its URL without the signature: that is how it is
    /// listed. `None` for what is no such object's.
    pub fn listed(self, target: &TargetUri) -> Option<CacheKey> {
        let object = self.has(RuleId::SignedObject) && signed::is_object(target);
        object.then(|| CacheKey::of(target).signed(target))
    }
}
