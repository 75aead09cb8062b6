//! Certificates for servers' names, minted as they are asked for and kept in memory, the longest unused leaving first.
//!
//! One key, made at the start and never written, is that of all leaves; each has a number of its own. A leaf is minted
//! anew when less than a quarter of its life is left, or when another CA signs by now: no client is shown one that has
//! ended. A name is minted by one thread at a time, outside the lock of the list.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use larder_policy::Timestamp;
use lru::LruCache;
use rcgen::KeyPair;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use super::authority::{Authority, BACK_DATED, CaError, earlier};
use super::directory::Authorities;
use super::names::LeafName;

/// How long a leaf is valid from the time it is minted, unless its CA ends before.
const LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Why there is no certificate for a name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeafError {
    /// The CA is constrained to other names: clients would refuse what it signs.
    #[error("the CA is constrained to other names than {0}")]
    Outside(String),
    /// Neither a DNS name nor an address.
    #[error("there are no certificates for such a name")]
    Name,
    /// The CA has ended or not begun.
    #[error("the CA `{0}` is not valid now")]
    NotValid(String),
    #[error(transparent)]
    Mint(CaError),
}

/// The leaves of a CA.
pub(crate) struct Leaves {
    authorities: Authorities,
    key: KeyPair,
    signing_key: Arc<dyn rustls::sign::SigningKey>,
    kept: Mutex<LruCache<Box<str>, Place>>,
}

/// A name's own lock, held while its leaf is minted.
type Place = Arc<Mutex<Option<Leaf>>>;

struct Leaf {
    certified: Arc<CertifiedKey>,
    authority: Arc<Authority>,
    not_before: Timestamp,
    renewed_from: Timestamp,
}

impl Leaves {
    /// Leaves that are kept unless something else is asked for.
    pub(crate) const MOST: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

    /// Keeps at most so many leaves, some 1.6 KiB each.
    ///
    /// # Errors
    ///
    /// The system has no randomness for a key.
    pub(crate) fn new(authorities: impl Into<Authorities>, most: NonZeroUsize) -> Result<Self, CaError> {
        let key = KeyPair::generate().map_err(|error| CaError::Mint(error.to_string()))?;
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let signing_key = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&private)
            .map_err(|error| CaError::Mint(error.to_string()))?;
        // `LruCache::new` would take room for all of them at once.
        let mut kept = LruCache::unbounded();
        kept.resize(most);
        Ok(Self { authorities: authorities.into(), key, signing_key, kept: Mutex::new(kept) })
    }

    /// The certificate, its CA's behind it, and the key for a name: a host as targets and SNI have it, without brackets.
    pub(crate) fn certified(&self, name: &str, now: Timestamp) -> Result<Arc<CertifiedKey>, LeafError> {
        let name = LeafName::parse(name).ok_or(LeafError::Name)?;
        let authority = self.authorities.signing(now);
        if !authority.certificate().permits(&name) {
            return Err(LeafError::Outside(name.to_string()));
        }
        let place = self.place(name.to_string());
        let mut place = lock(&place);
        if let Some(leaf) = &*place
            && leaf.serves(authority, now)
        {
            return Ok(Arc::clone(&leaf.certified));
        }
        let leaf = self.mint(&name, authority, now)?;
        let certified = Arc::clone(&leaf.certified);
        *place = Some(leaf);
        Ok(certified)
    }

    /// Whether the CA may sign for a name, now.
    pub(crate) fn covers(&self, name: &str, now: Timestamp) -> Result<(), LeafError> {
        let name = LeafName::parse(name).ok_or(LeafError::Name)?;
        let ca = self.authorities.signing(now).certificate();
        if !ca.permits(&name) {
            return Err(LeafError::Outside(name.to_string()));
        }
        if ca.is_valid(now) { Ok(()) } else { Err(LeafError::NotValid(ca.common_name().to_owned())) }
    }

    /// Leaves that are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.kept).len()
    }

    fn place(&self, name: String) -> Place {
        let mut kept = lock(&self.kept);
        Arc::clone(kept.get_or_insert(name.into_boxed_str(), Arc::default))
    }

    fn mint(&self, name: &LeafName, authority: &Arc<Authority>, now: Timestamp) -> Result<Leaf, LeafError> {
        let ca = authority.certificate();
        if !ca.is_valid(now) {
            return Err(LeafError::NotValid(ca.common_name().to_owned()));
        }
        // Within the life of the CA: some clients judge a leaf by the whole of its own.
        let not_before = earlier(now, BACK_DATED).max(ca.not_before());
        let not_after = now.saturating_add(LIFE).min(ca.not_after());
        let certificate =
            authority.sign_leaf(name, &self.key, not_before, not_after).map_err(LeafError::Mint)?;
        // Clients that were given the CA as one of many want to see which it was (npm does).
        let chain = vec![certificate, ca.der().clone()];
        let quarter = not_after.saturating_since(now) / 4;
        Ok(Leaf {
            certified: Arc::new(CertifiedKey::new(chain, Arc::clone(&self.signing_key))),
            authority: Arc::clone(authority),
            not_before,
            renewed_from: earlier(not_after, quarter),
        })
    }
}

impl Leaf {
    fn serves(&self, authority: &Arc<Authority>, now: Timestamp) -> bool {
        Arc::ptr_eq(&self.authority, authority) && self.not_before <= now && now < self.renewed_from
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
