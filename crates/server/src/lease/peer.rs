//! Who is at the other end of a connection over loopback, as far as the system tells: Linux names the user of each socket in
//! a table. Nothing here is for connections from elsewhere.
//!
//! Every user of a machine can connect to a port of 127.0.0.1, and a lease may carry its holder's credentials for the next
//! proxy. So a leased listener is for its user alone, and for root.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Once;

use rustix::process::geteuid;

/// The tables: sockets of IPv4, and those of IPv6 that speak IPv4, as Java's do.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// An IPv4 address begins so in the second table.
const MAPPED: [&str; 2] = ["", "0000000000000000FFFF0000"];

const ROOT: u32 = 0;

/// Whether the client's socket belongs to this user or to root; true where the system has no such tables. Where this process
/// is root's it is true as well: root's commands run parts of their work as other users. Blocks.
pub(crate) fn is_of_this_user(client: SocketAddr, local: SocketAddr) -> bool {
    let own = geteuid().as_raw();
    let (SocketAddr::V4(from), SocketAddr::V4(to)) = (client, local) else { return false };
    let allowed =
        own == ROOT || user(from, to).is_none_or(|user| user.is_some_and(|user| user == own || user == ROOT));
    if !allowed {
        // Once: others must not be able to fill the log.
        TOLD.call_once(|| {
            tracing::warn!("refused {client} at {local}, which is for its user alone; more are not told")
        });
    }
    allowed
}

static TOLD: Once = Once::new();

/// The user of the socket that is bound to the one address and connected to the other, if there is one; nothing where that
/// cannot be known.
fn user(client: SocketAddrV4, local: SocketAddrV4) -> Option<Option<u32>> {
    let mut known = false;
    for (table, prefix) in TABLES.into_iter().zip(MAPPED) {
        let Ok(table) = fs::read_to_string(table) else { continue };
        known = true;
        if let Some(user) = user_in(&table, prefix, client, local) {
            return Some(Some(user));
        }
    }
    known.then_some(None)
}

/// Columns: number, local address, remote address, state, queues, timer, retransmits, user, timeout, inode.
fn user_in(table: &str, prefix: &str, client: SocketAddrV4, local: SocketAddrV4) -> Option<u32> {
    let (client, local) = (written(prefix, client), written(prefix, local));
    table.lines().find_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        if columns.next()? != client || columns.next()? != local {
            return None;
        }
        let user = columns.nth(4)?.parse().ok()?;
        // A socket that its process has closed is nobody's, and the table says root.
        (columns.nth(1)? != "0").then_some(user)
    })
}

/// An address as the tables have it: the bytes of the network, read as a number of this machine.
fn written(prefix: &str, address: SocketAddrV4) -> String {
    let ip: Ipv4Addr = *address.ip();
    format!("{prefix}{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn v4(address: SocketAddr) -> SocketAddrV4 {
        let SocketAddr::V4(address) = address else { panic!("{address}") };
        address
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_socket_of_this_process_is_of_its_user_until_it_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, from) = listener.accept().unwrap();
        let local = accepted.local_addr().unwrap();
        assert_eq!(user(v4(from), v4(local)), Some(Some(geteuid().as_raw())));
        assert!(is_of_this_user(from, local));
        drop(client);
        assert_eq!(user(v4(from), v4(local)), Some(None), "nobody's");
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_user_is_read_from_the_line_of_the_clients_socket() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:0FA0 0100007F:A001 01 00000000:00000000 00:00000000 00000000  1000        0 71 1\n\
             1: 0100007F:A001 0100007F:0FA0 01 00000000:00000000 00:00000000 00000000  1001        0 72 1\n\
             2: 0100007F:A002 0100007F:0FA0 06 00000000:00000000 03:00000AAA 00000000     0        0 0 3\n";
        let at = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let of = |port| user_in(table, "", at(port), at(4000));
        assert_eq!((of(0xa001), of(0xa002), of(0xa003)), (Some(1001), None, None));
        let mapped = table.replace("0100007F:", "0000000000000000FFFF00000100007F:");
        assert_eq!(user_in(&mapped, MAPPED[1], at(0xa001), at(4000)), Some(1001));
    }
}
