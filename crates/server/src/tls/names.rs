//! Names that certificates are for, and the part of the name space that a CA is constrained to (RFC 5280, 4.2.1.10).
//!
//! The constraints stand in the CA's certificate, so that clients enforce them; here they are asked first, so that no
//! leaf is minted that its client would refuse.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use rcgen::{CidrSubnet, GeneralSubtree};
use rustls::pki_types::DnsName;
use x509_parser::extensions as x509;

/// A part of the name space: a domain with all below it, or a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subtree {
    /// A domain in lower case and every name below it. With a leading dot, as others' CAs may have it, only the names below.
    Domain(String),
    /// The addresses of a network.
    Network(IpNet),
}

impl Subtree {
    fn holds(&self, name: &LeafName) -> bool {
        match (self, name) {
            (Self::Domain(domain), LeafName::Dns(name)) => {
                // An empty domain holds every name.
                name.strip_suffix(domain.as_str()).is_some_and(|rest| {
                    rest.is_empty() || domain.is_empty() || rest.ends_with('.') || domain.starts_with('.')
                })
            }
            (Self::Network(network), LeafName::Ip(address)) => network.contains(address),
            _ => false,
        }
    }

    fn is_of_kind(&self, name: &LeafName) -> bool {
        matches!((self, name), (Self::Domain(_), LeafName::Dns(_)) | (Self::Network(_), LeafName::Ip(_)))
    }

    fn to_rcgen(&self) -> GeneralSubtree {
        match self {
            Self::Domain(domain) => GeneralSubtree::DnsName(domain.clone()),
            Self::Network(network) => {
                GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(network.addr(), network.prefix_len()))
            }
        }
    }

    /// One that a certificate states. None for a kind of name that leaves never have.
    fn from_x509(name: &x509::GeneralName<'_>) -> Option<Result<Self, String>> {
        match name {
            x509::GeneralName::DNSName(domain) => Some(Ok(Self::Domain(domain.to_ascii_lowercase()))),
            x509::GeneralName::IPAddress(bytes) => {
                let network = network(bytes)
                    .ok_or_else(|| "it is constrained to an address range that is no network".to_owned());
                Some(network.map(Self::Network))
            }
            _ => None,
        }
    }
}

/// Address and mask, as RFC 5280, 4.2.1.10 has them.
fn network(bytes: &[u8]) -> Option<IpNet> {
    let (address, mask) = bytes.split_at_checked(bytes.len() / 2)?;
    let ip = |half: &[u8]| {
        <[u8; 4]>::try_from(half)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(half).map(IpAddr::from))
            .ok()
    };
    IpNet::with_netmask(ip(address)?, ip(mask)?).ok()
}

impl FromStr for Subtree {
    type Err = String;

    /// `example.com`, `192.0.2.1` or `192.0.2.0/24`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network.trunc()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address.into()));
        }
        if let Some(domain) = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')) {
            return Err(format!(
                "`{text}` is no domain; write `{domain}`, which stands for itself and every name below it"
            ));
        }
        match DnsName::try_from(text) {
            Ok(_) if !text.ends_with('.') => Ok(Self::Domain(text.to_ascii_lowercase())),
            _ => Err(format!(
                "`{text}` is neither a domain, like `example.com`, nor an address or network, like `192.0.2.0/24`"
            )),
        }
    }
}

impl fmt::Display for Subtree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => f.write_str(domain),
            Self::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                network.addr().fmt(f)
            }
            Self::Network(network) => network.fmt(f),
        }
    }
}

/// What a CA's certificate says of the names below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NameConstraints {
    permitted: Vec<Subtree>,
    excluded: Vec<Subtree>,
}

impl NameConstraints {
    /// Nothing but these; without any, everything.
    ///
    /// Constraints count for names of their own kind alone: a CA that is permitted one domain could sign for every
    /// address. So the kind that is not mentioned is excluded as a whole.
    pub(super) fn only(subtrees: &[Subtree]) -> Self {
        if subtrees.is_empty() {
            return Self::default();
        }
        let mut excluded = Vec::new();
        if !subtrees.iter().any(|subtree| matches!(subtree, Subtree::Domain(_))) {
            excluded.push(Subtree::Domain(String::new()));
        }
        if !subtrees.iter().any(|subtree| matches!(subtree, Subtree::Network(_))) {
            excluded.extend(
                ["0.0.0.0/0", "::/0"].iter().filter_map(|all| all.parse().ok()).map(Subtree::Network),
            );
        }
        Self { permitted: subtrees.to_vec(), excluded }
    }

    /// Those of a certificate.
    ///
    /// # Errors
    ///
    /// What larder cannot judge, in words.
    pub(super) fn of(stated: &x509::NameConstraints<'_>) -> Result<Self, String> {
        let read = |subtrees: &Option<Vec<x509::GeneralSubtree<'_>>>| {
            subtrees
                .iter()
                .flatten()
                .filter_map(|subtree| Subtree::from_x509(&subtree.base))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self { permitted: read(&stated.permitted_subtrees)?, excluded: read(&stated.excluded_subtrees)? })
    }

    /// For a certificate. None where nothing is constrained.
    pub(super) fn to_rcgen(&self) -> Option<rcgen::NameConstraints> {
        let list = |subtrees: &[Subtree]| subtrees.iter().map(Subtree::to_rcgen).collect::<Vec<_>>();
        (!self.permitted.is_empty() || !self.excluded.is_empty()).then(|| rcgen::NameConstraints {
            permitted_subtrees: list(&self.permitted),
            excluded_subtrees: list(&self.excluded),
        })
    }

    /// Whether a leaf for this name would be accepted.
    pub(super) fn permit(&self, name: &LeafName) -> bool {
        let mut of_kind = self.permitted.iter().filter(|subtree| subtree.is_of_kind(name)).peekable();
        let permitted = of_kind.peek().is_none() || of_kind.any(|subtree| subtree.holds(name));
        permitted && !self.excluded.iter().any(|subtree| subtree.holds(name))
    }

    pub(super) fn permitted(&self) -> &[Subtree] {
        &self.permitted
    }
}

/// A name that a leaf can be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LeafName {
    /// In lower case, without a final dot, which no certificate has.
    Dns(String),
    Ip(IpAddr),
}

impl LeafName {
    /// A host as targets and SNI have it, brackets stripped. None for what is neither a DNS name nor an address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse() {
            return Some(Self::Ip(address));
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        DnsName::try_from(text).ok().map(|_| Self::Dns(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for LeafName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(subtrees: &[&str]) -> NameConstraints {
        NameConstraints::only(&subtrees.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
    }

    fn permits(constraints: &NameConstraints, name: &str) -> bool {
        constraints.permit(&LeafName::parse(name).unwrap())
    }

    #[test]
    fn a_domain_stands_for_itself_and_all_below_it() {
        let constraints = only(&["Example.com"]);
        for name in ["example.com", "a.b.example.com", "EXAMPLE.com."] {
            assert!(permits(&constraints, name), "{name}");
        }
        for name in ["example.org", "badexample.com", "com", "192.0.2.1", "::1"] {
            assert!(!permits(&constraints, name), "{name}");
        }
    }

    #[test]
    fn a_network_alone_excludes_every_domain() {
        let constraints = only(&["192.0.2.0/24"]);
        assert!(permits(&constraints, "192.0.2.7"));
        for name in ["198.51.100.1", "2001:db8::1", "example.com"] {
            assert!(!permits(&constraints, name), "{name}");
        }
    }

    #[test]
    fn several_are_permitted_each() {
        let constraints = only(&["example.com", "example.org", "2001:db8::1"]);
        for name in ["www.example.com", "example.org", "2001:db8::1"] {
            assert!(permits(&constraints, name), "{name}");
        }
        assert!(!permits(&constraints, "2001:db8::2"));
        assert!(permits(&only(&[]), "anything.example") && permits(&only(&[]), "192.0.2.1"));
    }

    #[test]
    fn what_is_no_subtree_is_refused_with_the_remedy() {
        for text in ["*.example.com", ".example.com"] {
            let why = text.parse::<Subtree>().unwrap_err();
            assert!(why.contains("write `example.com`"), "{why}");
        }
        for text in ["", "a b", "http://example.com", "example.com.", "münchen.example", "10.0.0.0/33"] {
            assert!(text.parse::<Subtree>().is_err(), "{text}");
        }
        assert_eq!("192.0.2.77/24".parse::<Subtree>().unwrap().to_string(), "192.0.2.0/24");
        assert_eq!("192.0.2.77".parse::<Subtree>().unwrap().to_string(), "192.0.2.77");
    }

    #[test]
    fn what_is_no_name_has_no_leaf() {
        for text in ["", ".", "a b", "[::1]", "*.example.com", "example.com:443", "a..b"] {
            assert_eq!(LeafName::parse(text), None, "{text}");
        }
        assert_eq!(LeafName::parse("EXAMPLE.com."), Some(LeafName::Dns("example.com".to_owned())));
        assert_eq!(LeafName::parse("::1").unwrap().to_string(), "::1");
    }
}
