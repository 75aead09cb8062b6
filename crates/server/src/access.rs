//! Who may ask for what, and where a request may lead.
//!
//! A destination is judged on the address that is really connected to, after its name was resolved
//! once: a name that resolves to a forbidden address, `127.1` and `2130706433` all fare alike.
//! Nothing here resolves or connects.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::config::{Access, Destination, Listener};

/// The rules of access of a running proxy.
#[derive(Debug)]
pub(crate) struct AccessRules {
    access: Access,
    /// The addresses that the proxy itself listens on, ports resolved.
    own: Vec<SocketAddr>,
    /// Reverse origins and the parent: the operator named them, so they may be anywhere.
    named: Vec<Destination>,
}

/// Why a destination is out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prohibited {
    /// One of the proxy's own listeners.
    Own,
    /// The machine itself.
    Loopback,
    /// Link-local, which holds the metadata services of clouds.
    LinkLocal,
    /// Unspecified, multicast, broadcast or reserved: never a server.
    NotAHost,
    /// A private range, switched off by `private_destinations = false`.
    Private,
}

impl fmt::Display for Prohibited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "is this proxy itself",
            Self::Loopback => "is a loopback address",
            Self::LinkLocal => "is a link-local or metadata address",
            Self::NotAHost => "is not the address of a host",
            Self::Private => "is a private address",
        })
    }
}

impl AccessRules {
    pub(crate) fn new(access: Access, own: Vec<SocketAddr>, named: Vec<Destination>) -> Self {
        Self { access, own, named }
    }

    /// Whether this client may use a forward listener.
    pub(crate) fn permits_client(&self, client: IpAddr) -> bool {
        let client = canonical(client);
        client.is_loopback() || self.access.allow_clients.iter().any(|network| network.contains(&client))
    }

    /// Whether CONNECT may reach this port.
    pub(crate) fn permits_connect_port(&self, port: u16) -> bool {
        self.access.connect_ports.contains(&port)
    }

    /// Whether a connection to `address`, to which `host` resolved, may be made.
    pub(crate) fn judge(&self, host: &str, address: SocketAddr) -> Result<(), Prohibited> {
        let ip = canonical(address.ip());
        let port = address.port();
        if self.is_own(SocketAddr::new(ip, port)) {
            return Err(Prohibited::Own);
        }
        let allowed = |list: &[Destination]| list.iter().any(|known| known.allows(host, port, ip));
        if allowed(&self.named) || allowed(&self.access.allow_destinations) {
            return Ok(());
        }
        match kind_of(ip) {
            Kind::Public => Ok(()),
            Kind::Private if self.access.private_destinations => Ok(()),
            Kind::Private => Err(Prohibited::Private),
            Kind::Loopback => Err(Prohibited::Loopback),
            Kind::LinkLocal => Err(Prohibited::LinkLocal),
            Kind::NotAHost => Err(Prohibited::NotAHost),
        }
    }

    /// What can be judged of a name that a parent proxy will resolve: address literals in every notation that
    /// resolvers know, and the names of this machine.
    pub(crate) fn judge_unresolved(&self, host: &str, port: u16) -> Result<(), Prohibited> {
        if let Some(ip) = literal(host) {
            return self.judge(host, SocketAddr::new(ip, port));
        }
        let name = host.trim_end_matches('.');
        if name == "localhost" || name.ends_with(".localhost") {
            return self.judge(host, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        }
        Ok(())
    }

    /// Whether the address is one of ours. A wildcard listener owns every local address on its port; an address is local
    /// if a socket can be bound to it.
    fn is_own(&self, address: SocketAddr) -> bool {
        self.own.iter().any(|own| {
            own.port() == address.port()
                && (canonical(own.ip()) == address.ip()
                    || own.ip().is_unspecified()
                        && (address.ip().is_unspecified() || UdpSocket::bind((address.ip(), 0)).is_ok()))
        })
    }
}

/// A listener that would serve anybody who can reach it: the configuration that has one must say who may.
#[must_use]
pub fn is_open_to_all(listener: &Listener, access: &Access) -> bool {
    matches!(listener.kind, crate::config::ListenerKind::Forward)
        && !canonical(listener.address.ip()).is_loopback()
        && access.allow_clients.is_empty()
}

enum Kind {
    Public,
    Private,
    Loopback,
    LinkLocal,
    NotAHost,
}

/// Metadata services of clouds whose addresses are not link-local.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

fn kind_of(ip: IpAddr) -> Kind {
    match ip {
        ip if METADATA.contains(&ip) => Kind::LinkLocal,
        IpAddr::V4(v4) => kind_of_v4(v4),
        IpAddr::V6(v6) => kind_of_v6(v6),
    }
}

fn kind_of_v4(ip: Ipv4Addr) -> Kind {
    let [a, b, c, _] = ip.octets();
    match (a, b) {
        (127, _) => Kind::Loopback,
        (169, 254) => Kind::LinkLocal,
        (0, _) | (224..=255, _) => Kind::NotAHost,
        // Protocol assignments (RFC 6890).
        (192, 0) if c == 0 => Kind::NotAHost,
        (10, _) | (172, 16..=31) | (192, 168) | (100, 64..=127) => Kind::Private,
        _ => Kind::Public,
    }
}

fn kind_of_v6(ip: Ipv6Addr) -> Kind {
    let first = ip.segments().first().copied().unwrap_or_default();
    if ip.is_loopback() {
        Kind::Loopback
    } else if ip.is_unspecified() || ip.is_multicast() || is_teredo(ip) {
        Kind::NotAHost
    } else if first & 0xffc0 == 0xfe80 || first & 0xffc0 == 0xfec0 {
        Kind::LinkLocal
    } else if first & 0xfe00 == 0xfc00 {
        Kind::Private
    } else {
        Kind::Public
    }
}

/// Teredo carries IPv4 behind a relay of somebody's choice.
fn is_teredo(ip: Ipv6Addr) -> bool {
    matches!(ip.segments(), [0x2001, 0, ..])
}

/// The address that a packet would reach: IPv4 carried in IPv6 (mapped, compatible, NAT64, 6to4) is judged as IPv4.
pub(crate) fn canonical(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    if v6.is_loopback() || v6.is_unspecified() {
        return ip;
    }
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| {
        let [w, x] = high.to_be_bytes();
        let [y, z] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(w, x, y, z))
    };
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff | 0)
        | (0, 0, 0, 0, 0xffff, 0)
        | (0x64, 0xff9b, 0, 0, 0, 0)
        | (0x64, 0xff9b, 1, ..) => v4(g, h),
        (0x2002, ..) => v4(b, c),
        // ISATAP.
        (.., 0 | 0x200, 0x5efe) => v4(g, h),
        _ => ip,
    }
}

/// An address literal as resolvers read it: dotted IPv4 with one to four parts, each decimal, octal or hexadecimal, and
/// bracketed IPv6.
fn literal(host: &str) -> Option<IpAddr> {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let parts = host.split('.').map(number).collect::<Option<Vec<u32>>>()?;
    let (last, leading) = parts.split_last()?;
    if leading.len() > 3 || leading.iter().any(|part| *part > 255) {
        return None;
    }
    let room = 32 - 8 * leading.len();
    if room < 32 && *last >> room != 0 {
        return None;
    }
    let high = leading.iter().enumerate().fold(0_u32, |sum, (place, part)| sum | part << (24 - 8 * place));
    Some(IpAddr::V4(Ipv4Addr::from(high | *last)))
}

fn number(text: &str) -> Option<u32> {
    if text.is_empty() || text.starts_with(['+', '-']) {
        return None;
    }
    match text.strip_prefix("0x") {
        Some("") => Some(0),
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(access: Access) -> AccessRules {
        AccessRules::new(access, vec!["192.0.2.1:3128".parse().unwrap()], Vec::new())
    }

    fn judge(address: &str) -> Result<(), Prohibited> {
        rules(Access::default()).judge("host.example", SocketAddr::new(address.parse().unwrap(), 80))
    }

    #[test]
    fn addresses_of_this_machine_and_link_are_out_of_reach_in_every_notation() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            assert_eq!(judge(address), Err(Prohibited::Loopback), "{address}");
        }
        for address in [
            "169.254.169.254",
            "fe80::1",
            "febf::1",
            "::ffff:169.254.169.254",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100.100.100.200",
            "168.63.129.16",
            "2001:db8::5efe:169.254.169.254",
        ] {
            assert_eq!(judge(address), Err(Prohibited::LinkLocal), "{address}");
        }
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "ff02::1",
            "192.0.0.8",
            "2001:0:1::1",
        ] {
            assert_eq!(judge(address), Err(Prohibited::NotAHost), "{address}");
        }
        for address in
            ["192.0.2.7", "2001:db8::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fc00::1"]
        {
            assert_eq!(judge(address), Ok(()), "{address}");
        }
    }

    #[test]
    fn private_ranges_follow_their_setting() {
        let rules = rules(Access { private_destinations: false, ..Access::default() });
        for address in ["10.1.2.3:80", "172.31.0.1:80", "[fd12::1]:80", "[::ffff:192.168.0.1]:80"] {
            assert_eq!(
                rules.judge("intranet", address.parse().unwrap()),
                Err(Prohibited::Private),
                "{address}"
            );
        }
    }

    #[test]
    fn an_allowed_destination_is_reachable_but_never_the_proxy_itself() {
        let allow_destinations = vec![
            Destination::Host { host: "dev.example".to_owned(), port: Some(8080) },
            Destination::Network("192.0.2.0/24".parse().unwrap()),
        ];
        let rules = rules(Access { allow_destinations, ..Access::default() });
        assert_eq!(rules.judge("dev.example", "127.0.0.1:8080".parse().unwrap()), Ok(()));
        assert_eq!(rules.judge("dev.example", "127.0.0.1:8081".parse().unwrap()), Err(Prohibited::Loopback));
        assert_eq!(
            rules.judge("other.example", "127.0.0.1:8080".parse().unwrap()),
            Err(Prohibited::Loopback)
        );
        assert_eq!(rules.judge("any.example", "192.0.2.1:3128".parse().unwrap()), Err(Prohibited::Own));
    }

    #[test]
    fn names_left_to_a_parent_are_judged_as_far_as_they_can_be() {
        let rules = rules(Access::default());
        for host in [
            "127.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "0x7f000001",
            "127.0.0.1.",
            "[::1]",
            "localhost",
            "a.localhost",
        ] {
            assert_eq!(rules.judge_unresolved(host, 80), Err(Prohibited::Loopback), "{host}");
        }
        for host in ["example.com", "192.0.2.9", "1.2.3.4.5", "256.1.1.1", "0xg", "localhost.example"] {
            assert_eq!(rules.judge_unresolved(host, 80), Ok(()), "{host}");
        }
    }

    #[test]
    fn clients_are_loopback_or_listed() {
        let rules = rules(Access { allow_clients: vec!["10.0.0.0/8".parse().unwrap()], ..Access::default() });
        for (client, permitted) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("10.2.3.4", true),
            ("::ffff:10.2.3.4", true),
            ("192.168.1.1", false),
        ] {
            assert_eq!(rules.permits_client(client.parse().unwrap()), permitted, "{client}");
        }
    }
}
