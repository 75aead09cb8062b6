//! Limits on clients' connections: how many there may be, in all and of one client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access::canonical;
use crate::config::Limits;

/// How many connections there may be, in all and of one client.
pub(crate) struct ConnectionLimits {
    pub(crate) all: Arc<Semaphore>,
    per_client: usize,
    clients: Mutex<HashMap<IpAddr, usize>>,
}

impl ConnectionLimits {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS))),
            per_client: limits.connections_per_client,
            clients: Mutex::default(),
        }
    }

    pub(crate) fn place(self: &Arc<Self>, client: IpAddr, permit: OwnedSemaphorePermit) -> Option<Place> {
        let client = canonical(client);
        let mut clients = self.lock();
        let taken = clients.entry(client).or_insert(0);
        if *taken >= self.per_client {
            return None;
        }
        *taken += 1;
        Some(Place { limits: Arc::clone(self), client, _permit: permit })
    }

    /// A place for what is no connection of its own but counts as one; none when there is none left.
    pub(crate) fn try_place(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        self.place(client, Arc::clone(&self.all).try_acquire_owned().ok()?)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place within the limits.
pub(crate) struct Place {
    limits: Arc<ConnectionLimits>,
    client: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.limits.lock();
        if let Some(taken) = clients.get_mut(&self.client) {
            *taken -= 1;
            if *taken == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_has_its_share_of_places() {
        let limits = Arc::new(ConnectionLimits::new(&Limits {
            connections: 3,
            connections_per_client: 2,
            ..Limits::default()
        }));
        let place = |client: &str| {
            let permit = Arc::clone(&limits.all).try_acquire_owned().ok()?;
            limits.place(client.parse().unwrap(), permit)
        };
        let first = place("192.0.2.1");
        let second = place("::ffff:192.0.2.1");
        assert!(first.is_some() && second.is_some());
        assert!(place("192.0.2.1").is_none(), "its share is taken");
        let third = place("192.0.2.2");
        assert!(third.is_some() && place("192.0.2.3").is_none(), "all places are taken");
        drop((first, second, third));
        assert!(place("192.0.2.1").is_some());
        assert!(limits.lock().len() <= 1);
    }
}
