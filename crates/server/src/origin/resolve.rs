//! Names to addresses: the system's resolver behind a small cache.
//!
//! The system's resolver honours the hosts file and what the machine is set to, and says no time to live; so an
//! answer is kept for a short while only, and a failure hardly at all. Lookups in flight are bounded, as each
//! occupies a thread.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// How long an answer is used.
const KEEP: Duration = Duration::from_secs(30);
/// Names kept; past that the cache is emptied.
const NAMES: usize = 4096;
/// Lookups at once, as each holds a thread. So many that names which hang do not keep others waiting.
const LOOKUPS: usize = 256;

/// The system's resolver and what it said lately.
#[derive(Debug)]
pub(crate) struct Resolver {
    known: Mutex<HashMap<String, Known>>,
    lookups: Semaphore,
}

#[derive(Debug, Clone)]
struct Known {
    addresses: Arc<[IpAddr]>,
    until: Instant,
}

impl Resolver {
    pub(crate) fn new() -> Self {
        Self { known: Mutex::new(HashMap::new()), lookups: Semaphore::new(LOOKUPS) }
    }

    /// The addresses of `host`, IPv6 in brackets allowed; never an empty list.
    ///
    /// # Errors
    ///
    /// What the system's resolver said.
    pub(crate) async fn resolve(&self, host: &str) -> Result<Arc<[IpAddr]>, String> {
        let bare = bare(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Arc::new([address]));
        }
        let now = Instant::now();
        if let Some(known) = self.lock().get(bare).filter(|known| known.until > now) {
            return Ok(Arc::clone(&known.addresses));
        }
        let Ok(_permit) = self.lookups.acquire().await else {
            return Err("the proxy is stopping".to_owned());
        };
        let found = tokio::net::lookup_host((bare, 0)).await.map_err(|error| error.to_string())?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for ip in found.map(|address: SocketAddr| address.ip()) {
            if !addresses.contains(&ip) {
                addresses.push(ip);
            }
        }
        if addresses.is_empty() {
            return Err("it has no address".to_owned());
        }
        let addresses: Arc<[IpAddr]> = addresses.into();
        let mut known = self.lock();
        if known.len() >= NAMES {
            known.clear();
        }
        known.insert(bare.to_owned(), Known { addresses: Arc::clone(&addresses), until: now + KEEP });
        Ok(addresses)
    }

    /// Whether a name is resolved at present.
    pub(crate) fn knows(&self, host: &str) -> bool {
        let bare = bare(host);
        bare.parse::<IpAddr>().is_ok() || self.lock().contains_key(bare)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without the brackets of an IPv6 literal.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn literals_need_no_lookup() {
        let resolver = Resolver::new();
        assert_eq!(&*resolver.resolve("192.0.2.1").await.unwrap(), &["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(
            &*resolver.resolve("[2001:db8::1]").await.unwrap(),
            &["2001:db8::1".parse::<IpAddr>().unwrap()]
        );
        assert!(resolver.lock().is_empty());
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once() {
        let resolver = Resolver::new();
        let first = resolver.resolve("localhost").await.unwrap();
        assert!(first.iter().all(IpAddr::is_loopback));
        let second = resolver.resolve("localhost").await.unwrap();
        assert!(Arc::ptr_eq(&first, &second));
    }
}
