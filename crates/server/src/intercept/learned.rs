//! Which clients take no certificate of ours for which hosts: those pairs are tunnelled from then on.
//!
//! A client that has pinned a host's certificate rejects any other; one that was never told of the CA rejects all. The first is
//! worth learning, the second would make interception end silently. So a client that has accepted a certificate before is
//! believed at once, and one that never did only when it insists; a client that rejects at many hosts teaches nothing, and what it
//! had taught is forgotten (many is within ten minutes for the first kind, and without end for the second); and what one had taught
//! before it accepted its first certificate is forgotten then, as it has been told of the CA by now. Nothing here keeps time or
//! decides on its own what is required.

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

/// A client that has never accepted a certificate is believed from this rejection of one host on.
const INSISTS: u32 = 3;

/// What a rejection has taught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taught {
    /// The pair is tunnelled from now on.
    Pair,
    /// Nothing yet: the client has never accepted a certificate, and may not have been told of the CA.
    NotYet,
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
    recent: VecDeque<Rejection>,
    /// Whether it has accepted a certificate.
    accepts: bool,
    /// Whether it was found out to reject everything.
    everything: bool,
}

#[derive(Debug)]
struct Rejection {
    at: Timestamp,
    host: HostPort,
    /// How often, within the window.
    times: u32,
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
        known.recent.retain(|other| now.saturating_since(other.at) < window);
        let before = known.recent.iter().position(|other| other.host == *host);
        let times = before.and_then(|place| known.recent.remove(place)).map_or(0, |other| other.times) + 1;
        known.recent.push_back(Rejection { at: now, host: host.clone(), times });
        if known.everything || known.recent.len() > self.hosts_per_client {
            for Rejection { host, .. } in &known.recent {
                forget(pairs, client, host);
            }
            // Bounded, and one more than may be learned.
            while known.recent.len() > self.hosts_per_client + 1 {
                known.recent.pop_front();
            }
            return Taught::Nothing { found_out: !std::mem::replace(&mut known.everything, true) };
        }
        if !known.accepts && times < INSISTS {
            return Taught::NotYet;
        }
        pairs.put((client, host.clone()), (Why::Rejected, now.saturating_add(self.keep)));
        Taught::Pair
    }

    /// This client has accepted a certificate: it trusts the CA, or some of what it runs does.
    pub(crate) fn accepted(&self, client: IpAddr) {
        let mut inner = self.lock();
        let Inner { pairs, rejections } = &mut *inner;
        let known = rejections.get_or_insert_mut(client, Rejections::default);
        known.everything = false;
        if !std::mem::replace(&mut known.accepts, true) {
            for Rejection { host, .. } in known.recent.drain(..) {
                forget(pairs, client, &host);
            }
        }
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

/// Forgets that a client had rejected the certificate for a host.
fn forget(pairs: &mut LruCache<(IpAddr, HostPort), (Why, Timestamp)>, client: IpAddr, host: &HostPort) {
    let pair = (client, host.clone());
    if pairs.peek(&pair).is_some_and(|(why, _)| *why == Why::Rejected) {
        pairs.pop(&pair);
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
        learned.accepted(client(1));
        assert_eq!(learned.rejected(client(1), &host("a"), now), Taught::Pair);
        assert_eq!(learned.why(client(1), &host("a"), now), Some(Why::Rejected));
        assert_eq!(learned.why(client(1), &host("b"), now), None);
        assert_eq!(learned.why(client(2), &host("a"), now), None);
        assert_eq!(learned.why(client(1), &host("a"), now.saturating_add(HOUR)), None);
        assert_eq!(learned.lessons(10, now.saturating_add(HOUR)).0, 0);
    }

    #[test]
    fn one_that_never_accepted_any_has_to_insist_and_is_not_believed_once_it_does() {
        let learned = Learned::new(100, HOUR, 3);
        let now = Timestamp::from_secs(1_000_000);
        for _ in 1..INSISTS {
            assert_eq!(learned.rejected(client(1), &host("a"), now), Taught::NotYet);
        }
        assert_eq!(learned.rejected(client(1), &host("a"), now), Taught::Pair);
        assert_eq!(learned.why(client(1), &host("a"), now), Some(Why::Rejected));
        // It has been told of the CA: what it did before says nothing.
        learned.accepted(client(1));
        assert_eq!(learned.why(client(1), &host("a"), now), None);
        assert_eq!(learned.rejected(client(1), &host("a"), now), Taught::Pair);
        learned.accepted(client(1));
        assert_eq!(learned.why(client(1), &host("a"), now), Some(Why::Rejected), "it has pinned this one");
    }

    #[test]
    fn a_client_that_rejects_everything_teaches_nothing() {
        let learned = Learned::new(100, HOUR, 3);
        let now = Timestamp::from_secs(1_000_000);
        learned.accepted(client(1));
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
        learned.accepted(client(2));
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
            for taught in [Taught::NotYet, Taught::NotYet, Taught::Pair] {
                assert_eq!(learned.rejected(client(1), &host(name), now), taught, "{name}");
            }
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
            learned.accepted(client(last));
            learned.rejected(client(last), &host("a"), now);
        }
        let (count, lessons) = learned.lessons(3, now);
        assert_eq!((count, lessons.len()), (10, 3));
        assert_eq!(lessons[0].client, client(255));
        assert!(learned.lock().rejections.len() <= 10);
    }
}
