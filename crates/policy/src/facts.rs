//! Everything that a reuse decision needs to know of a stored response, worked out once when it is stored.
//!
//! A hit parses no field of a stored response: it compares numbers. The facts are small, `Copy`, and have a
//! stored form of fixed length with a version, so that a record can be read without knowing HTTP.

use crate::freshness::{FreshnessLifetime, FreshnessSource};
use crate::packages::RuleId;
use crate::time::{DeltaSeconds, Timestamp};

/// The facts of one stored response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReuseFacts {
    pub(crate) lifetime: FreshnessLifetime,
    pub(crate) source: FreshnessSource,
    /// `corrected_initial_age` in milliseconds.
    pub(crate) initial_age: u64,
    /// Date, or the time of receipt.
    pub(crate) date: Timestamp,
    pub(crate) last_modified: Option<Timestamp>,
    pub(crate) stale_while_revalidate: Option<DeltaSeconds>,
    pub(crate) stale_if_error: Option<DeltaSeconds>,
    pub(crate) rule: Option<RuleId>,
    /// Validate before every use.
    pub(crate) no_cache: bool,
    /// Must not answer once stale (RFC 9111, 4.2.4): must-revalidate, proxy-revalidate or s-maxage.
    pub(crate) never_stale: bool,
    pub(crate) has_etag: bool,
    pub(crate) immutable: bool,
    pub(crate) targeted: bool,
    /// The status is a success, so that a condition on it can hold (RFC 9110, 13.2.1).
    pub(crate) success: bool,
}

const NO_CACHE: u8 = 1;
const NEVER_STALE: u8 = 1 << 1;
const HAS_ETAG: u8 = 1 << 2;
const IMMUTABLE: u8 = 1 << 3;
const TARGETED: u8 = 1 << 4;
const SUCCESS: u8 = 1 << 5;
const ALL_FLAGS: u8 = (1 << 6) - 1;

const HAS_LAST_MODIFIED: u8 = 1;
const HAS_STALE_WHILE_REVALIDATE: u8 = 1 << 1;
const HAS_STALE_IF_ERROR: u8 = 1 << 2;
const ALL_OPTIONS: u8 = (1 << 3) - 1;

const VERSION: u8 = 1;

impl ReuseFacts {
    /// The length of the stored form in bytes.
    pub const ENCODED_LEN: usize = 45;

    /// How long the response is fresh.
    pub const fn lifetime(&self) -> FreshnessLifetime {
        self.lifetime
    }

    /// Where the lifetime comes from.
    pub const fn source(&self) -> FreshnessSource {
        self.source
    }

    /// The package rule it was stored under.
    pub const fn rule(&self) -> Option<RuleId> {
        self.rule
    }

    /// Whether it can be validated (RFC 9111, 4.3.1). Validators of anything but a success are of no use,
    /// since an origin ignores conditions there (RFC 9110, 13.2.1).
    pub const fn has_validator(&self) -> bool {
        self.success && (self.has_etag || self.last_modified.is_some())
    }

    /// Whether every use needs a validation.
    pub const fn is_no_cache(&self) -> bool {
        self.no_cache
    }

    /// Whether it must not answer once stale (RFC 9111, 4.2.4).
    pub const fn is_never_stale(&self) -> bool {
        self.never_stale
    }

    /// Whether a targeted field decided (RFC 9213).
    pub const fn is_targeted(&self) -> bool {
        self.targeted
    }

    /// Whether the response said `immutable` (RFC 8246). It changes no decision of a shared cache.
    pub const fn is_immutable(&self) -> bool {
        self.immutable
    }

    /// The stored form; read back by [`ReuseFacts::from_bytes`]. Numbers are little endian.
    ///
    /// | at | length | meaning |
    /// | --- | --- | --- |
    /// | 0 | 1 | version, 1 |
    /// | 1 | 1 | source of the lifetime |
    /// | 2 | 1 | package rule, 0 for none |
    /// | 3 | 1 | flags |
    /// | 4 | 1 | which of the optional numbers count |
    /// | 5 | 8 | freshness lifetime, milliseconds |
    /// | 13 | 8 | initial age, milliseconds |
    /// | 21 | 8 | Date, milliseconds since the epoch |
    /// | 29 | 8 | Last-Modified, likewise, or 0 |
    /// | 37 | 4 | stale-while-revalidate, seconds, or 0 |
    /// | 41 | 4 | stale-if-error, seconds, or 0 |
    pub fn to_bytes(&self) -> [u8; Self::ENCODED_LEN] {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = bit(self.no_cache, NO_CACHE)
            | bit(self.never_stale, NEVER_STALE)
            | bit(self.has_etag, HAS_ETAG)
            | bit(self.immutable, IMMUTABLE)
            | bit(self.targeted, TARGETED)
            | bit(self.success, SUCCESS);
        let options = bit(self.last_modified.is_some(), HAS_LAST_MODIFIED)
            | bit(self.stale_while_revalidate.is_some(), HAS_STALE_WHILE_REVALIDATE)
            | bit(self.stale_if_error.is_some(), HAS_STALE_IF_ERROR);
        let head = [VERSION, self.source.code(), self.rule.map_or(0, RuleId::code), flags, options];
        let last_modified = self.last_modified.map_or(0, Timestamp::as_millis);
        let parts: [&[u8]; 7] = [
            &head,
            &self.lifetime.as_millis().to_le_bytes(),
            &self.initial_age.to_le_bytes(),
            &self.date.as_millis().to_le_bytes(),
            &last_modified.to_le_bytes(),
            &self.stale_while_revalidate.unwrap_or_default().as_secs().to_le_bytes(),
            &self.stale_if_error.unwrap_or_default().as_secs().to_le_bytes(),
        ];
        let mut bytes = [0; Self::ENCODED_LEN];
        for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    /// Reads what [`ReuseFacts::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, mut rest) = bytes.split_first_chunk::<5>()?;
        let [version, source, rule, flags, options] = *head;
        if bytes.len() != Self::ENCODED_LEN
            || version != VERSION
            || flags & !ALL_FLAGS != 0
            || options & !ALL_OPTIONS != 0
        {
            return None;
        }
        let mut eight = || take::<8>(&mut rest);
        let lifetime = u64::from_le_bytes(eight()?);
        let initial_age = u64::from_le_bytes(eight()?);
        let date = i64::from_le_bytes(eight()?);
        let last_modified = i64::from_le_bytes(eight()?);
        let mut four = || take::<4>(&mut rest).map(u32::from_le_bytes);
        let (stale_while_revalidate, stale_if_error) = (four()?, four()?);
        let seconds = |bit: u8, value: u32| match (options & bit != 0, value) {
            (true, value) if value <= DeltaSeconds::MAX.as_secs() => {
                Some(Some(DeltaSeconds::from_secs(u64::from(value))))
            }
            (false, 0) => Some(None),
            _ => None,
        };
        let last_modified = match (options & HAS_LAST_MODIFIED != 0, last_modified) {
            (true, millis) => Some(Timestamp::from_millis(millis)),
            (false, 0) => None,
            (false, _) => return None,
        };
        Some(Self {
            lifetime: FreshnessLifetime::from_millis(lifetime),
            source: FreshnessSource::of_code(source)?,
            initial_age,
            date: Timestamp::from_millis(date),
            last_modified,
            stale_while_revalidate: seconds(HAS_STALE_WHILE_REVALIDATE, stale_while_revalidate)?,
            stale_if_error: seconds(HAS_STALE_IF_ERROR, stale_if_error)?,
            rule: if rule == 0 { None } else { Some(RuleId::of_code(rule)?) },
            no_cache: flags & NO_CACHE != 0,
            never_stale: flags & NEVER_STALE != 0,
            has_etag: flags & HAS_ETAG != 0,
            immutable: flags & IMMUTABLE != 0,
            targeted: flags & TARGETED != 0,
            success: flags & SUCCESS != 0,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*head)
}
