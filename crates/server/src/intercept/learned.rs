//! Which clients take no certificate of ours for which hosts: those pairs are tunnelled from then on.
//!
//! A client that has pinned a host's certificate rejects any other; one that was never told of the CA rejects all. The first is
//! worth learning, the second would make interception end silently: a client that rejects at many hosts teaches nothing, and what
//! it had taught is forgotten. Many is within ten minutes for a client that has accepted a certificate before, and without end
//! for one that never did. Nothing here keeps time or decides on its own what is required.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use larder_policy::{HostPort, Timestamp};
use lru::LruCache;

/// How long rejections of a client that has accepted others count together.
const WINDOW: Duration = Duration::from_secs(600);

/// Why a pair is tunnelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The client rejected the certificate that was made for the host.
    Rejected,
    /// The host asks its clients for a certificate.
    ClientCertificate,
}

impl Why {
    /// The word in logs and figures.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Rejected => "certificate-rejected",
            Self::ClientCertificate => "client-certificate",
        }
    }
}

/// What a rejection has taught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taught {
    /// The pair is tunnelled from now on.
    Pair,
    /// Nothing: the client rejects everything. The first time it is found out, it is worth a warning.
    Nothing { found_out: bool },
}

/// A pair that was learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lesson {
    pub(crate) client: IpAddr,
    pub(crate) host: HostPort,
    pub(crate) why: Why,
    /// When it is forgotten.
    pub(crate) until: Timestamp,
}

/// All pairs, the one used longest ago leaving first when there are too many.
#[derive(Debug)]
pub(crate) struct Learned {
    inner: Mutex<Inner>,
    keep: Duration,
    hosts_per_client: usize,
}

#[derive(Debug)]
struct Inner {
    pairs: LruCache<(IpAddr, HostPort), (Why, Timestamp)>,
    rejections: LruCache<IpAddr, Rejections>,
}

/// The rejections of one client within the window, of distinct hosts.
#[derive(Debug, Default)]
struct Rejections {
    recent: VecDeque<(Timestamp, HostPort)>,
    /// Whether it has accepted a certificate.
    accepts: bool,
    /// Whether it was found out to reject everything.
    everything: bool,
}

impl Learned {
    /// Learns at most so many pairs, keeps each for so long, and of one client no more than `hosts_per_client` within ten
    /// minutes.
    pub(crate) fn new(most: usize, keep: Duration, hosts_per_client: usize) -> Self {
        let bound = NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN);
        let inner = Inner { pairs: LruCache::unbounded(), rejections: LruCache::unbounded() };
        let this = Self { inner: Mutex::new(inner), keep, hosts_per_client };
        // Not `new`, which takes the memory for all of them at once.
        let mut inner = this.lock();
        inner.pairs.resize(bound);
        inner.rejections.resize(bound);
        drop(inner);
        this
    }

    /// Why this client's connections to this host are tunnelled, if they are.
    pub(crate) fn why(&self, client: IpAddr, host: &HostPort, now: Timestamp) -> Option<Why> {
        let mut inner = self.lock();
        let pair = (client, host.clone());
        match inner.pairs.get(&pair) {
            Some((why, until)) if *until > now => Some(*why),
            Some(_) => {
                inner.pairs.pop(&pair);
                None
            }
            None => None,
        }
    }

    /// This client has rejected the certificate for this host.
    pub(crate) fn rejected(&self, client: IpAddr, host: &HostPort, now: Timestamp) -> Taught {
        let mut inner = self.lock();
        let Inner { pairs, rejections } = &mut *inner;
        let known = rejections.get_or_insert_mut(client, Rejections::default);
        let window = if known.accepts { WINDOW.min(self.keep) } else { self.keep };
        known.recent.retain(|(at, other)| now.saturating_since(*at) < window && other != host);
        known.recent.push_back((now, host.clone()));
        if known.everything || known.recent.len() > self.hosts_per_client {
            for (_, host) in &known.recent {
                let pair = (client, host.clone());
                if pairs.peek(&pair).is_some_and(|(why, _)| *why == Why::Rejected) {
                    pairs.pop(&pair);
                }
            }
            // Bounded, and one more than may be learned.
            while known.recent.len() > self.hosts_per_client + 1 {
                known.recent.pop_front();
            }
            return Taught::Nothing { found_out: !std::mem::replace(&mut known.everything, true) };
        }
        pairs.put((client, host.clone()), (Why::Rejected, now.saturating_add(self.keep)));
        Taught::Pair
    }

    /// This client has accepted a certificate: it trusts the CA, or some of what it runs does.
    pub(crate) fn accepted(&self, client: IpAddr) {
        let mut inner = self.lock();
        let known = inner.rejections.get_or_insert_mut(client, Rejections::default);
        known.accepts = true;
        known.everything = false;
    }

    /// This host asks for the client's own certificate, which only the client can give.
    pub(crate) fn asks_for_certificate(&self, client: IpAddr, host: &HostPort, now: Timestamp) {
        self.lock()
            .pairs
            .put((client, host.clone()), (Why::ClientCertificate, now.saturating_add(self.keep)));
    }

    /// How many pairs there are, and the `most` that were used last.
    pub(crate) fn lessons(&self, most: usize, now: Timestamp) -> (usize, Vec<Lesson>) {
        let inner = self.lock();
        let fresh = inner.pairs.iter().filter(|(_, (_, until))| *until > now);
        let lesson = |((client, host), (why, until)): (&(IpAddr, HostPort), &(Why, Timestamp))| Lesson {
            client: *client,
            host: host.clone(),
            why: *why,
            until: *until,
        };
        (fresh.clone().count(), fresh.take(most).map(lesson).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn host(name: &str) -> HostPort {
        HostPort::parse(format!("{name}:443").as_bytes()).unwrap()
    }

    fn client(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_rejection_teaches_the_pair_and_nothing_else_until_it_expires() {
        let learned = Learned::new(100, HOUR, 3);
        let now = Timestamp::from_secs(1_000_000);
        assert_eq!(learned.rejected(client(1), &host("a"), now), Taught::Pair);
        assert_eq!(learned.why(client(1), &host("a"), now), Some(Why::Rejected));
        assert_eq!(learned.why(client(1), &host("b"), now), None);
        assert_eq!(learned.why(client(2), &host("a"), now), None);
        assert_eq!(learned.why(client(1), &host("a"), now.saturating_add(HOUR)), None);
        assert_eq!(learned.lessons(10, now.saturating_add(HOUR)).0, 0);
    }

    #[test]
    fn a_client_that_rejects_everything_teaches_nothing() {
        let learned = Learned::new(100, HOUR, 3);
        let now = Timestamp::from_secs(1_000_000);
        learned.asks_for_certificate(client(1), &host("card"), now);
        for name in ["a", "b", "a", "c"] {
            assert_eq!(learned.rejected(client(1), &host(name), now), Taught::Pair, "{name}");
        }
        assert_eq!(learned.rejected(client(1), &host("d"), now), Taught::Nothing { found_out: true });
        for name in ["e", "f", "a"] {
            let taught = learned.rejected(client(1), &host(name), now);
            assert_eq!(taught, Taught::Nothing { found_out: false }, "{name}");
        }
        for name in ["a", "b", "c", "d", "e"] {
            assert_eq!(learned.why(client(1), &host(name), now), None, "{name}");
        }
        assert_eq!(learned.why(client(1), &host("card"), now), Some(Why::ClientCertificate));
        // Others are not concerned, and it stays so until it accepts one.
        assert_eq!(learned.rejected(client(2), &host("a"), now), Taught::Pair);
        let later = now.saturating_add(HOUR * 30);
        assert_eq!(learned.rejected(client(1), &host("a"), later), Taught::Nothing { found_out: false });
        learned.accepted(client(1));
        assert_eq!(learned.rejected(client(1), &host("a"), later), Taught::Pair);
    }

    #[test]
    fn one_that_never_accepted_any_has_no_second_chance_by_going_slowly() {
        let learned = Learned::new(100, HOUR * 24, 3);
        let mut now = Timestamp::from_secs(1_000_000);
        for name in ["a", "b", "c"] {
            assert_eq!(learned.rejected(client(1), &host(name), now), Taught::Pair);
            now = now.saturating_add(HOUR);
        }
        assert_eq!(learned.rejected(client(1), &host("d"), now), Taught::Nothing { found_out: true });
        assert_eq!(learned.lessons(10, now).0, 0);
        // One that has, may pin many, a few at a time.
        learned.accepted(client(2));
        for name in ["a", "b", "c", "d", "e"] {
            assert_eq!(learned.rejected(client(2), &host(name), now), Taught::Pair);
            now = now.saturating_add(HOUR);
        }
    }

    #[test]
    fn there_are_no_more_pairs_than_may_be() {
        let learned = Learned::new(10, HOUR, 3);
        let now = Timestamp::from_secs(1_000_000);
        for last in 0..=255 {
            learned.rejected(client(last), &host("a"), now);
        }
        let (count, lessons) = learned.lessons(3, now);
        assert_eq!((count, lessons.len()), (10, 3));
        assert_eq!(lessons[0].client, client(255));
        assert!(learned.lock().rejections.len() <= 10);
    }
}
