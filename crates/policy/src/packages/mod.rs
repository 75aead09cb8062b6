//! What package ecosystems add to HTTP: paths whose content can never change.
//!
//! Recognised by the shape of the path alone, never by a host's name, and narrowly: a path that merely
//! resembles one follows plain HTTP. A rule fills in the freshness that a mirror leaves out; it never
//! overrules `no-store`, `private`, `no-cache` or Authorization. Each ecosystem has a file, and knows nothing
//! of the others.

mod apt;

use crate::target::TargetUri;

/// Which rule recognised a path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RuleId {
    /// A Debian package in a pool: the file name carries name, version and architecture.
    AptPool,
    /// A Debian index named by its digest.
    AptByHash,
}

impl RuleId {
    const ALL: [Self; 2] = [Self::AptPool, Self::AptByHash];

    /// The word for Cache-Status and the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AptPool => "apt-pool",
            Self::AptByHash => "apt-by-hash",
        }
    }

    /// The stored form. Numbers are never used again for another rule; zero stands for none.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::AptPool => 1,
            Self::AptByHash => 2,
        }
    }

    pub(crate) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.code() == code)
    }
}

/// A package rule that holds for one target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Which rule it is.
    pub id: RuleId,
    /// What the body must hash to, when the path says so.
    pub digest: Option<ExpectedDigest>,
}

impl Rule {
    /// The word for Cache-Status and the log.
    pub const fn name(&self) -> &'static str {
        self.id.name()
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

/// One package ecosystem: the paths it recognises.
trait Ecosystem {
    /// The rule for a target, if its path has this ecosystem's shape.
    fn recognise(&self, target: &TargetUri) -> Option<Rule>;
}

/// Finds the rule for a target; `None` leaves it to plain HTTP.
pub fn recognise(target: &TargetUri) -> Option<Rule> {
    const ECOSYSTEMS: [&dyn Ecosystem; 1] = [&apt::Apt];
    ECOSYSTEMS.into_iter().find_map(|ecosystem| ecosystem.recognise(target))
}

/// Decodes lower-case hexadecimal digits, exactly `N` bytes of them.
fn decode_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    let mut digits = digits.bytes();
    for byte in &mut bytes {
        *byte = digit(digits.next()?)? << 4 | digit(digits.next()?)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_read_back() {
        for rule in RuleId::ALL {
            assert_eq!(RuleId::of_code(rule.code()), Some(rule));
        }
        assert_eq!(RuleId::of_code(0), None);
        assert_eq!(RuleId::of_code(255), None);
    }

    #[test]
    fn hexadecimal_is_exact() {
        assert_eq!(decode_hex("00ff"), Some([0, 255]));
        for text in ["", "00f", "00FF", "00fg", "00ff0"] {
            assert_eq!(decode_hex::<2>(text), None, "{text}");
        }
    }
}
