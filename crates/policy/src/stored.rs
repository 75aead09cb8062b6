//! A stored response as policy sees it: its head, what Vary nominated, its times, and the facts drawn from
//! them.
//!
//! The body is no part of it. The fields are end-to-end ones only, without Age: a hit writes them as they are
//! and adds one Age of its own (RFC 9111, 4.2.3 and 5.1). Date and Expires stay as the origin sent them; a
//! response without a valid Date has the time of receipt instead (RFC 9110, 6.6.1).

use std::time::Duration;

use http::StatusCode;

use crate::age::{CurrentAge, corrected_initial_age};
use crate::cache_control::Restriction;
use crate::credentials::Opened;
use crate::facts::ReuseFacts;
use crate::fields::{Fields, remove_hop_by_hop};
use crate::freshness::Freshness;
use crate::overrides::{Action, Override};
use crate::packages::Rule;
use crate::parts::Part;
use crate::runs::Runs;
use crate::time::{HttpDate, Timestamp};
use crate::validator::EntityTag;
use crate::vary::Nominated;

/// A response that may be stored, or was.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredResponse {
    parts: StoredParts,
}

/// What a [`StoredResponse`] consists of, for the encoder of records.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredParts {
    /// The status.
    pub status: StatusCode,
    /// The end-to-end fields, without Age.
    pub fields: Fields,
    /// The request fields that Vary nominates.
    pub nominated: Nominated,
    /// When the request was sent to the origin.
    pub request_time: Timestamp,
    /// When the head of the response came.
    pub response_time: Timestamp,
    /// What reuse needs to know.
    pub facts: ReuseFacts,
}

/// How far ahead of the clock a response may have been received before its age counts as unknown. A clock
/// that is set back further would otherwise keep a response fresh until it has caught up.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

impl StoredResponse {
    /// Puts a response together from its parts, which [`StoredResponse::parts`] gave.
    pub const fn from_parts(parts: StoredParts) -> Self {
        Self { parts }
    }

    /// The parts.
    pub const fn parts(&self) -> &StoredParts {
        &self.parts
    }

    /// Takes the response apart.
    pub fn into_parts(self) -> StoredParts {
        self.parts
    }

    /// The status.
    pub const fn status(&self) -> StatusCode {
        self.parts.status
    }

    /// The end-to-end fields, without Age.
    pub const fn fields(&self) -> &Fields {
        &self.parts.fields
    }

    /// The request fields that Vary nominates.
    pub const fn nominated(&self) -> &Nominated {
        &self.parts.nominated
    }

    /// When the request was sent to the origin.
    pub const fn request_time(&self) -> Timestamp {
        self.parts.request_time
    }

    /// When the head of the response came.
    pub const fn response_time(&self) -> Timestamp {
        self.parts.response_time
    }

    /// What reuse needs to know.
    pub const fn facts(&self) -> &ReuseFacts {
        &self.parts.facts
    }

    /// Date, or the time of receipt in its place.
    pub const fn date(&self) -> Timestamp {
        self.parts.facts.date
    }

    /// The current age (RFC 9111, 4.2.3). A clock that stepped back counts as no time in the store.
    pub fn current_age(&self, now: Timestamp) -> CurrentAge {
        let resident_time = now.millis_since(self.parts.response_time);
        CurrentAge::from_millis(self.parts.facts.initial_age.saturating_add(resident_time))
    }

    /// Whether the freshness lifetime is greater than the current age (RFC 9111, 4.2). Never for a response
    /// that seems to come from the future.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.parts.facts.lifetime.as_millis() > self.current_age(now).as_millis()
            && !self.is_from_the_future(now)
    }

    pub(crate) fn is_from_the_future(&self, now: Timestamp) -> bool {
        self.parts.response_time.saturating_since(now) > CLOCK_TOLERANCE
    }

    /// Last-Modified where it is a strong validator: at least a second older than Date (RFC 9110, 8.8.2.2).
    pub(crate) fn strong_last_modified(&self) -> Option<Timestamp> {
        self.parts.facts.last_modified.filter(|modified| modified.as_secs() < self.date().as_secs())
    }

    /// The field value that proves that two parts are of one representation (RFC 9110, 15.3.7.3), if it has one.
    pub(crate) fn strong_validator(&self) -> Option<&[u8]> {
        match self.entity_tag() {
            // A weak or malformed tag says that Last-Modified is not to be trusted to the byte either.
            Some(tag) => tag.is_strong().then(|| tag.as_bytes()),
            None => self.strong_last_modified().and_then(|_| self.parts.fields.first("last-modified")),
        }
    }

    /// The part that it is, if others can be joined to it.
    pub fn can_grow(&self) -> Option<Part> {
        self.parts.facts.part.filter(|_| self.strong_validator().is_some())
    }

    /// Whether a body that broke off is worth keeping as a part: an origin can be asked for the rest.
    pub fn can_be_resumed(&self) -> bool {
        let refuses = || {
            let ranges = self.parts.fields.first("accept-ranges");
            ranges.is_some_and(|ranges| ranges.eq_ignore_ascii_case(b"none"))
        };
        let part = self.parts.facts.part.is_some();
        (part || self.parts.status == StatusCode::OK && !refuses()) && self.strong_validator().is_some()
    }

    /// The same response as one that holds just these bytes of a representation of `complete_length` bytes: a 200 if they
    /// are all, else a 206. `None` when there are none.
    #[must_use]
    pub fn holding(&self, runs: &Runs, complete_length: Option<u64>) -> Option<Self> {
        let mut response = self.clone();
        let StoredParts { status, fields, facts, .. } = &mut response.parts;
        (*status, facts.part) = describe_held(fields, runs, complete_length)?;
        Some(response)
    }

    pub(crate) fn entity_tag(&self) -> Option<EntityTag<'_>> {
        self.parts.fields.first("etag").and_then(EntityTag::new)
    }
}

/// Makes the fields speak of the bytes that are held, and says as what (RFC 9111, 3.4). A part with holes has no one length.
pub(crate) fn describe_held(
    fields: &mut Fields,
    runs: &Runs,
    complete_length: Option<u64>,
) -> Option<(StatusCode, Option<Part>)> {
    let hull = runs.hull()?;
    if let Some(complete) = complete_length.filter(|complete| runs.covers(&(0..*complete))) {
        fields.remove("content-range");
        fields.set("Content-Length", complete.to_string().as_bytes()).ok()?;
        return Some((StatusCode::OK, None));
    }
    let part = Part::new(hull.start, hull.end - 1, complete_length)?;
    let complete = complete_length.map_or_else(|| "*".to_owned(), |length| length.to_string());
    let range = format!("bytes {}-{}/{complete}", part.first(), part.last());
    fields.set("Content-Range", range.as_bytes()).ok()?;
    fields.remove("content-length");
    Some((StatusCode::PARTIAL_CONTENT, Some(part)))
}

/// What a stored response is made from.
pub(crate) struct Ingredients<'a> {
    pub(crate) status: StatusCode,
    /// The fields as received, or as merged by a validation.
    pub(crate) fields: &'a Fields,
    pub(crate) freshness: &'a Freshness,
    pub(crate) nominated: Nominated,
    pub(crate) request_time: Timestamp,
    pub(crate) response_time: Timestamp,
    /// The package rule for the target, if the request is one that it is about.
    pub(crate) rule: Option<&'a Rule>,
    /// What the client had to show for it.
    pub(crate) opened: Opened,
    /// Which bytes of the representation the body holds, if not all.
    pub(crate) part: Option<Part>,
    /// The override that applies.
    pub(crate) applied: Option<&'a Override>,
}

impl Ingredients<'_> {
    pub(crate) fn assemble(self) -> StoredResponse {
        let Freshness { directives, date, last_modified, .. } = self.freshness;
        let initial_age = corrected_initial_age(self.fields, *date, self.request_time, self.response_time);
        let action = self.action();
        let guarded = self.opened == Opened::Guarded;
        let no_cache = directives.no_cache == Restriction::Whole && !action.ignore_no_cache;
        let never_stale =
            directives.must_revalidate || directives.proxy_revalidate || directives.s_maxage.is_present();
        // A package rule never weakens no-cache.
        let fits =
            |rule: &&Rule| self.status == StatusCode::OK && (guarded || !no_cache) && rule.fits(self.fields);
        let rule = self.rule.filter(fits);
        let own = (self.freshness.source, self.freshness.lifetime);
        // The operator's word for a silent origin goes before a rule's.
        let lifetime = rule
            .filter(|rule| rule.id.is_artefact() || action.fresh_for.is_none())
            .map_or(own, |rule| rule.lifetime(own, never_stale, self.opened));
        let (source, lifetime) = action.lifetime(self.status, lifetime);
        let rule = rule.filter(|_| self.opened != Opened::ByCredentials);
        let facts = ReuseFacts {
            lifetime,
            source,
            initial_age,
            date: date.unwrap_or(self.response_time),
            last_modified: *last_modified,
            stale_while_revalidate: action
                .stale_while_revalidate
                .or(directives.stale_while_revalidate.value()),
            stale_if_error: action.stale_if_error.or(directives.stale_if_error.value()),
            rule: rule.map(|rule| rule.id),
            no_cache: guarded || no_cache,
            never_stale: never_stale && !action.ignore_must_revalidate,
            has_etag: self.fields.first("etag").and_then(EntityTag::new).is_some(),
            immutable: directives.immutable,
            targeted: self.freshness.targeted,
            success: self.status.is_success(),
            part: self.part,
            overridden: self.applied.is_some(),
            ignore_reload: action.ignore_client_reload,
        };
        let fields = self.stored_fields(rule);
        StoredResponse::from_parts(StoredParts {
            status: self.status,
            fields,
            nominated: self.nominated,
            request_time: self.request_time,
            response_time: self.response_time,
            facts,
        })
    }

    fn action(&self) -> &Action {
        self.applied.map_or(&Action::NONE, |applied| &applied.action)
    }

    fn stored_fields(&self, rule: Option<&Rule>) -> Fields {
        let mut fields = self.fields.clone();
        remove_hop_by_hop(&mut fields);
        let directives = &self.freshness.directives;
        let restricted = |name: &str, restriction: &Restriction| match restriction {
            Restriction::Fields(names) => names.iter().any(|listed| name.eq_ignore_ascii_case(listed)),
            Restriction::Absent | Restriction::Whole => false,
        };
        fields.retain(|name, _| {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            // A 204 has no content and must not say how much (RFC 9110, 8.6). A cookie beside what never changes
            // belongs to the client that fetched it.
            !(is("age")
                || is("content-length") && self.status == StatusCode::NO_CONTENT
                || is("set-cookie")
                    && (rule.is_some_and(|rule| rule.id.is_artefact()) || self.action().drop_set_cookie)
                || restricted(name, &directives.no_cache)
                || restricted(name, &directives.private))
        });
        if self.freshness.date.is_none() {
            let received = HttpDate(self.response_time).to_string();
            // A printed date is always a valid value.
            let _ = fields.set("Date", received.as_bytes());
        }
        fields
    }
}
