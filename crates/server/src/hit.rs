//! The short way: a plain request that a look into memory answers, straight from the buffer in which it came.
//!
//! Nearly all that a warm proxy is asked for is in memory, fresh, and asked for without conditions. Such a request is not copied out
//! of the connection's buffer, its key is put together in place, and its answer is a head that was made once, with the age of now in
//! it, and the stored content. What is left is counted by `benches/counts.rs`.
//!
//! Invariants:
//!
//! - The answer, the log line and the counters are those of the long way ([`crate::pipeline`]), byte for byte: whatever could make
//!   a difference goes there. A field that is not known to make none is such a thing, see [`Weight`].
//! - Nothing is decided here. Whether a stored response may answer is [`reuse`]'s to say, what is in a head
//!   [`whole_fields`]'s and [`sign`]'s, and who may ask the access rules'.
//! - Nothing waits, and nothing is taken from the buffer that is not answered.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{Method, StatusCode};
use httparse::Header;
use larder_policy::{CurrentAge, Decision, Fields, RequestFacts, Scheme, Selected, Timestamp, reuse};
use larder_storage::{PreparedHead, Stored};

use crate::access_log::ExchangeFields;
use crate::answer::{length_of, whole_fields};
use crate::entrance::Entrance;
use crate::http1::{RequestInPlace, Version, response_head};
use crate::pages;
use crate::record;
use crate::request::Way;
use crate::respond::{CacheStatus, Length, Names, sign};
use crate::transaction::{Outcome, Transaction};

/// The request fields that Vary may nominate on the short way, in lower case. They reach the long way's comparison as they came.
const COMPARED: [&str; 6] =
    ["accept", "accept-encoding", "accept-language", "cookie", "origin", "user-agent"];

/// A buffer for keys that is larger is not kept.
const KEY_BYTES: usize = 4096;

/// A stored response that answers a request as it is.
pub(crate) struct Hit {
    stored: Arc<Stored>,
    age: CurrentAge,
    started: Timestamp,
    began: Instant,
    /// Where the target begins in the text of the key.
    key_target: usize,
}

/// What a field of a request does to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// Nothing, if the answer is a hit.
    None,
    /// It may choose among variants.
    Compared,
    /// The host that is asked for.
    Host,
    /// `Connection`, which does nothing if it says what is the case anyhow.
    Connection,
    /// Something, or nobody has said that it does nothing.
    Heavy,
}

/// Fields that ask the origin for something, or say who asks: of no concern to an answer that is the same for everybody.
const LIGHT: [&str; 8] = [
    "dnt",
    "from",
    "keep-alive",
    "priority",
    "proxy-connection",
    "referer",
    "save-data",
    "upgrade-insecure-requests",
];

/// The beginnings of more of them.
const LIGHT_PREFIXES: [&str; 4] = ["sec-", "x-", "npm-", "pacote-"];

impl Weight {
    fn of(name: &str) -> Self {
        let among = |known: &[&str]| known.iter().any(|known| name.eq_ignore_ascii_case(known));
        let begins =
            |start: &&str| name.get(..start.len()).is_some_and(|name| name.eq_ignore_ascii_case(start));
        if name.eq_ignore_ascii_case("host") {
            Self::Host
        } else if name.eq_ignore_ascii_case("connection") {
            Self::Connection
        } else if among(&COMPARED) {
            Self::Compared
        } else if among(&LIGHT) || LIGHT_PREFIXES.iter().any(begins) {
            Self::None
        } else {
            Self::Heavy
        }
    }
}

/// What is asked for, as far as it is known from the head alone.
struct Plain<'b> {
    host: &'b [u8],
    /// Whether a field came that Vary may nominate.
    compared: bool,
}

impl<'b> Plain<'b> {
    /// Of a GET with no field that weighs anything.
    fn of(head: &RequestInPlace<'b, '_>) -> Option<Self> {
        if head.method != "GET" || head.version == Version::Http10 {
            return None;
        }
        let (mut host, mut compared) = (None, false);
        for field in head.fields {
            match Weight::of(field.name) {
                Weight::None => {}
                Weight::Compared => compared = true,
                Weight::Host if host.is_none() => host = Some(field.value),
                Weight::Connection if field.value.eq_ignore_ascii_case(b"keep-alive") => {}
                Weight::Host | Weight::Connection | Weight::Heavy => return None,
            }
        }
        Some(Self { host: host?, compared })
    }

    /// Writes the text of the key, and returns where the target begins in it. `None`: that takes a closer look.
    fn write_key(&self, entrance: &Entrance, target: &str, key: &mut String) -> Option<usize> {
        let way = entrance.way();
        let (origin, scheme, authority, path) = match way {
            Way::Forward => {
                let rest = target.strip_prefix("http://")?;
                let (authority, path) = rest.split_at(rest.find('/')?);
                // The host that is not asked must be legal, too: the same one is.
                if authority.as_bytes() != self.host || authority == pages::OWN_NAME {
                    return None;
                }
                (None, Scheme::Http, self.host, path)
            }
            Way::Reverse(origin) => match origin.scheme() {
                Scheme::Http => (Some(origin), Scheme::Http, self.host, target),
                Scheme::Https => (Some(origin), Scheme::Https, origin.authority().as_bytes(), target),
            },
            Way::Inside(tunnel) => {
                let same =
                    tunnel.port() == Scheme::Https.default_port() && tunnel.host().as_bytes() == self.host;
                if !same || tunnel.host() == pages::OWN_NAME {
                    return None;
                }
                (None, Scheme::Https, self.host, target)
            }
        };
        // A host that is left unused must be legal all the same: here it is if it has one spelling.
        let policy = &entrance.listener.policy;
        if authority != self.host && !policy.write_key(None, Scheme::Http, self.host, b"/", key) {
            return None;
        }
        key.clear();
        let written = policy.write_key(origin, scheme, authority, path.as_bytes(), key);
        let begins = origin.map_or(0, |origin| origin.origin().len() + 1);
        written.then_some(begins)
    }
}

/// What answers a request, if a look into memory is all it takes to know.
pub(crate) fn find(entrance: &Entrance, head: &RequestInPlace<'_, '_>) -> Option<Hit> {
    thread_local! {
        static KEY: Cell<String> = const { Cell::new(String::new()) };
    }
    let plain = Plain::of(head)?;
    // A thread that ends has no variables of its own any more.
    let mut key = KEY.try_with(Cell::take).unwrap_or_default();
    key.clear();
    let hit = look_up(entrance, head, &plain, &mut key);
    if key.capacity() <= KEY_BYTES {
        let _ = KEY.try_with(|kept| kept.set(key));
    }
    hit
}

fn look_up(
    entrance: &Entrance,
    head: &RequestInPlace<'_, '_>,
    plain: &Plain<'_>,
    key: &mut String,
) -> Option<Hit> {
    let proxy = entrance.proxy();
    let began = Instant::now();
    if !entrance.permits_client() || *entrance.worker.draining.borrow() {
        return None;
    }
    let key_target = plain.write_key(entrance, head.target, key)?;
    let variants = proxy.store.cached_as(key)?;
    let nominates = |stored: &Arc<Stored>| stored.response().nominated().names().next().is_some();
    let compared =
        if plain.compared && variants.iter().any(nominates) { fields(head.fields)? } else { Fields::new() };
    let known = |name: &str| COMPARED.contains(&name);
    if !variants.iter().all(|stored| stored.response().nominated().names().all(known)) {
        return None;
    }
    let started = proxy.clock.now();
    let facts = RequestFacts::of(&Method::GET, &Fields::new());
    let candidates = variants.iter().map(|stored| stored.candidate());
    let Selected { index: Some(index), decision: Decision::Serve { age } } =
        reuse(&facts, &compared, candidates, started)
    else {
        return None;
    };
    let stored = variants.get(index)?;
    let names = &proxy.own.names;
    let prepared = stored.prepared_head(|| prepare(names, stored))?;
    let is_ours = prepared.maker == u64::from(names.instance);
    (is_ours && stored.inline_body().is_some()).then(|| Hit {
        stored: Arc::clone(stored),
        age,
        started,
        began,
        key_target,
    })
}

/// The fields that may choose among variants, as the long way has them.
fn fields(headers: &[Header<'_>]) -> Option<Fields> {
    let mut fields = Fields::new();
    for header in headers.iter().filter(|header| Weight::of(header.name) == Weight::Compared) {
        fields.push(header.name, header.value).ok()?;
    }
    Some(fields)
}

/// The head with which a stored response goes out whole; `None` where it takes more than the response to know it.
fn prepare(names: &Names, stored: &Stored) -> Option<PreparedHead> {
    let response = stored.response();
    let length = Length::Known(stored.body_len());
    let status = response.status();
    if response.facts().is_overridden()
        || response.facts().part().is_some()
        || length_of(status, Some(stored.body_len())) != length
    {
        return None;
    }
    let detail = response.facts().rule().map(|rule| rule.name().to_owned());
    let mut fields = whole_fields(response, Some(stored.body_len()), AGE);
    sign(&mut fields, names, Version::Http11, &CacheStatus { hit: true, detail, ..CacheStatus::default() });
    fields.set("Content-Length", stored.body_len().to_string().as_bytes()).ok()?;
    let mut text = response_head(status, &fields);
    let lines = fields.iter().take_while(|(name, _)| !name.eq_ignore_ascii_case("age"));
    let before: usize = lines.map(|(name, value)| name.len() + value.len() + ": \r\n".len()).sum();
    let gap = text.len() - "\r\n".len() - fields.as_wire().len() + before + "Age: ".len();
    text.drain(gap..gap + AGE.len());
    Some(PreparedHead { maker: names.instance.into(), text: text.into(), gap })
}

/// Stands where the age goes.
const AGE: &str = "0";

impl Hit {
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.stored.response().status()
    }

    /// The head, with the age of now between its parts.
    pub(crate) fn head(&self) -> (&[u8], CurrentAge, &[u8]) {
        let prepared = self.stored.prepared_head(|| None);
        let parts = prepared.and_then(|prepared| prepared.text.split_at_checked(prepared.gap));
        let (before, after) = parts.unwrap_or_default();
        (before, self.age, after)
    }

    /// The content, all of it.
    pub(crate) fn content(&self) -> Bytes {
        self.stored.inline_body().cloned().unwrap_or_default()
    }

    /// What is told of it, in words only where somebody reads them.
    pub(crate) fn transaction<'a>(
        &'a self,
        entrance: &Entrance,
        head: &RequestInPlace<'a, '_>,
        (bytes_sent, body_sent): (u64, u64),
    ) -> Transaction<'a> {
        let counted = Transaction {
            duration: self.began.elapsed(),
            status: self.stored.response().status().as_u16(),
            bytes_sent,
            body_sent,
            outcome: Outcome::MemoryHit,
            ..record::blank(entrance, self.started)
        };
        if !record::is_read(entrance.proxy()) {
            return counted;
        }
        let response = self.stored.response();
        let text = |name: &str| {
            let field = head.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
            field.map(|field| String::from_utf8_lossy(field.value))
        };
        let key = self.stored.key().as_str();
        Transaction {
            method: Cow::Borrowed(head.method),
            version: head.version.as_str(),
            target: Cow::Borrowed(key.get(self.key_target..).unwrap_or_default()),
            detail: response.facts().rule().map(|rule| Cow::Borrowed(rule.name())),
            content_type: response.fields().first("content-type").map(String::from_utf8_lossy),
            referer: text("referer"),
            user_agent: text("user-agent"),
            fields: record::shows_fields(entrance.proxy()).then(|| Box::new(self.fields(head))),
            ..counted
        }
    }

    /// The fields that a cache goes by, as the long way has them.
    fn fields(&self, head: &RequestInPlace<'_, '_>) -> ExchangeFields {
        let mut request = Fields::new();
        for field in head.fields {
            // What was read as a field is one.
            let _ = request.push(field.name, field.value);
        }
        let length = self.stored.body_len();
        let mut response = whole_fields(self.stored.response(), Some(length), self.age);
        let _ = response.set("Content-Length", length.to_string().as_bytes());
        ExchangeFields::of(&request, &response)
    }
}
