//! Everything that a reuse decision needs to know of a stored response, worked out once when it is stored.
//!
//! A hit parses no field of a stored response: it compares numbers. The facts are small, `Copy`, and have a
//! stored form with a version, so that a record can be read without knowing HTTP. Most responses need the
//! first version; the second adds what only parts and overridden responses have. Every set of facts has one
//! form.

use std::ops::Deref;

use crate::freshness::{FreshnessLifetime, FreshnessSource};
use crate::packages::RuleId;
use crate::parts::Part;
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
    /// Which bytes of the representation the body holds, for a stored 206.
    pub(crate) part: Option<Part>,
    /// An operator's override had a say when it was stored.
    pub(crate) overridden: bool,
    /// The client's reload is not honoured; only an override can ask for that.
    pub(crate) ignore_reload: bool,
}

const NO_CACHE: u8 = 1;
const NEVER_STALE: u8 = 1 << 1;
const HAS_ETAG: u8 = 1 << 2;
const IMMUTABLE: u8 = 1 << 3;
const TARGETED: u8 = 1 << 4;
const SUCCESS: u8 = 1 << 5;
const FIRST_FLAGS: u8 = (1 << 6) - 1;
const OVERRIDDEN: u8 = 1 << 6;
const IGNORE_RELOAD: u8 = 1 << 7;

const HAS_LAST_MODIFIED: u8 = 1;
const HAS_STALE_WHILE_REVALIDATE: u8 = 1 << 1;
const HAS_STALE_IF_ERROR: u8 = 1 << 2;
const FIRST_OPTIONS: u8 = (1 << 3) - 1;
const HAS_PART: u8 = 1 << 3;
const HAS_COMPLETE_LENGTH: u8 = 1 << 4;
const ALL_OPTIONS: u8 = (1 << 5) - 1;

const FIRST_VERSION: u8 = 1;
const SECOND_VERSION: u8 = 2;

/// The stored form of [`ReuseFacts`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EncodedFacts {
    bytes: [u8; ReuseFacts::LONGEST_ENCODED_LEN],
    length: usize,
}

impl Deref for EncodedFacts {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl ReuseFacts {
    /// The length in bytes of the stored form that most responses have.
    pub const ENCODED_LEN: usize = 45;

    /// The length in bytes of the stored form of a part, and of a response that an override had a say in.
    pub const LONGEST_ENCODED_LEN: usize = Self::ENCODED_LEN + 24;

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

    /// Which bytes of the representation the stored body holds; `None` when it holds all.
    pub const fn part(&self) -> Option<Part> {
        self.part
    }

    /// Whether an operator's override had a say when the response was stored or freshened.
    pub const fn is_overridden(&self) -> bool {
        self.overridden
    }

    /// Whether a client's reload (`no-cache`, `max-age=0`) is answered from the store all the same, as an
    /// override wants it.
    pub const fn ignores_reload(&self) -> bool {
        self.ignore_reload
    }

    /// The stored form; read back by [`ReuseFacts::from_bytes`]. Numbers are little endian.
    ///
    /// | at | length | meaning |
    /// | --- | --- | --- |
    /// | 0 | 1 | version: 2 for a part or an overridden response, else 1 |
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
    ///
    /// The second version goes on:
    ///
    /// | at | length | meaning |
    /// | --- | --- | --- |
    /// | 45 | 8 | position of the part's first byte, or 0 |
    /// | 53 | 8 | position of the part's last byte, or 0 |
    /// | 61 | 8 | complete length of the representation, or 0 |
    pub fn to_bytes(&self) -> EncodedFacts {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = bit(self.no_cache, NO_CACHE)
            | bit(self.never_stale, NEVER_STALE)
            | bit(self.has_etag, HAS_ETAG)
            | bit(self.immutable, IMMUTABLE)
            | bit(self.targeted, TARGETED)
            | bit(self.success, SUCCESS)
            | bit(self.overridden, OVERRIDDEN)
            | bit(self.ignore_reload, IGNORE_RELOAD);
        let complete_length = self.part.and_then(|part| part.complete_length());
        let options = bit(self.last_modified.is_some(), HAS_LAST_MODIFIED)
            | bit(self.stale_while_revalidate.is_some(), HAS_STALE_WHILE_REVALIDATE)
            | bit(self.stale_if_error.is_some(), HAS_STALE_IF_ERROR)
            | bit(self.part.is_some(), HAS_PART)
            | bit(complete_length.is_some(), HAS_COMPLETE_LENGTH);
        let (version, length) = if self.needs_second_version() {
            (SECOND_VERSION, Self::LONGEST_ENCODED_LEN)
        } else {
            (FIRST_VERSION, Self::ENCODED_LEN)
        };
        let head = [version, self.source.code(), self.rule.map_or(0, RuleId::code), flags, options];
        let last_modified = self.last_modified.map_or(0, Timestamp::as_millis);
        let parts: [&[u8]; 10] = [
            &head,
            &self.lifetime.as_millis().to_le_bytes(),
            &self.initial_age.to_le_bytes(),
            &self.date.as_millis().to_le_bytes(),
            &last_modified.to_le_bytes(),
            &self.stale_while_revalidate.unwrap_or_default().as_secs().to_le_bytes(),
            &self.stale_if_error.unwrap_or_default().as_secs().to_le_bytes(),
            &self.part.map_or(0, |part| part.first()).to_le_bytes(),
            &self.part.map_or(0, |part| part.last()).to_le_bytes(),
            &complete_length.unwrap_or(0).to_le_bytes(),
        ];
        let mut bytes = [0; Self::LONGEST_ENCODED_LEN];
        for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        EncodedFacts { bytes, length }
    }

    fn needs_second_version(&self) -> bool {
        self.part.is_some()
            || self.overridden
            || self.ignore_reload
            || self.source == FreshnessSource::Override
    }

    /// Reads what [`ReuseFacts::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, mut rest) = bytes.split_first_chunk::<5>()?;
        let [version, source, rule, flags, options] = *head;
        let (length, all_flags, all_options) = match version {
            FIRST_VERSION => (Self::ENCODED_LEN, FIRST_FLAGS, FIRST_OPTIONS),
            SECOND_VERSION => (Self::LONGEST_ENCODED_LEN, u8::MAX, ALL_OPTIONS),
            _ => return None,
        };
        if bytes.len() != length || flags & !all_flags != 0 || options & !all_options != 0 {
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
        let part = match version {
            SECOND_VERSION => {
                let mut eight = || take::<8>(&mut rest).map(u64::from_le_bytes);
                decode_part(options, [eight()?, eight()?, eight()?])?
            }
            _ => None,
        };
        let facts = Self {
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
            part,
            overridden: flags & OVERRIDDEN != 0,
            ignore_reload: flags & IGNORE_RELOAD != 0,
        };
        (facts.needs_second_version() == (version == SECOND_VERSION)).then_some(facts)
    }
}

/// `Some(None)` for no part, `None` for numbers that no part has.
fn decode_part(options: u8, [first, last, complete]: [u64; 3]) -> Option<Option<Part>> {
    let complete_length = match (options & HAS_COMPLETE_LENGTH != 0, complete) {
        (true, complete) => Some(complete),
        (false, 0) => None,
        (false, _) => return None,
    };
    match (options & HAS_PART != 0, first, last, complete_length) {
        (true, first, last, complete_length) => Part::new(first, last, complete_length).map(Some),
        (false, 0, 0, None) => Some(None),
        (false, ..) => None,
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*head)
}
