//! Messages written as text, and the runner of tables.

use http::{Method, StatusCode};
use larder_policy::packages::Rule;
use larder_policy::{
    Decision, Exchange, Fields, HttpDate, NotStored, PolicySettings, RequestFacts, StoredResponse, TargetUri,
    Timestamp, reuse, storability,
};

/// When the response of a row arrives: 2025-06-01 12:00:00 UTC.
pub(crate) const T0: Timestamp = Timestamp::from_secs(1_748_779_200);

/// A message: the first word, and the field lines. Both are separated by ` | ` in the text; `{+5}` stands for
/// the HTTP-date five seconds after [`T0`].
pub(crate) struct Message {
    pub(crate) first: String,
    pub(crate) fields: Fields,
}

pub(crate) fn message(text: &str) -> Message {
    let mut parts = text.split(" | ");
    let first = parts.next().unwrap().trim().to_owned();
    let mut fields = Fields::new();
    for line in parts {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no colon in {line:?}"));
        fields.push(name, dates(value).as_bytes()).unwrap();
    }
    Message { first, fields }
}

fn dates(value: &str) -> String {
    let mut text = value.to_owned();
    while let Some(start) = text.find('{') {
        let end = start + text[start..].find('}').unwrap();
        let offset: i64 = text[start + 1..end].parse().unwrap();
        let date = HttpDate(Timestamp::from_secs(T0.as_secs() + offset)).to_string();
        text.replace_range(start..=end, &date);
    }
    text
}

pub(crate) fn method(message: &Message) -> Method {
    Method::from_bytes(message.first.as_bytes()).unwrap()
}

pub(crate) fn target() -> TargetUri {
    TargetUri::parse(b"http://example.com/a/b?c").unwrap()
}

/// [`T0`] and so many milliseconds.
pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(T0.as_millis() + millis)
}

/// Stores what `response` gives for `request`. A response has `Date: {+0}` unless it names Date itself;
/// `Date: none` leaves it out.
pub(crate) fn store(
    settings: &PolicySettings,
    request: &str,
    response: &str,
    rule: Option<&Rule>,
) -> Result<StoredResponse, NotStored> {
    let request = message(request);
    let response = response_message(response);
    let target = target();
    storability(
        settings,
        &Exchange {
            facts: &RequestFacts::of(&method(&request), &request.fields),
            target: &target,
            request: &request.fields,
            status: response.first.parse().unwrap(),
            response: &response.fields,
            request_time: T0,
            response_time: T0,
            framing_sound: true,
        },
        rule,
    )
}

pub(crate) fn response_message(text: &str) -> Message {
    let mut response = message(text);
    match response.fields.first("date") {
        None => response.fields.push("Date", dates("{+0}").as_bytes()).unwrap(),
        Some(b"none") => drop(response.fields.remove("date")),
        Some(_) => {}
    }
    response
}

/// Like [`store`], by a plain GET with default settings, of a response that is known to be storable.
pub(crate) fn stored(response: &str) -> StoredResponse {
    store(&PolicySettings::default(), "GET", response, None).unwrap()
}

/// What is decided for a later request, in words: `hit AGE`, `stale WHY AGE`, `validate WHY`, `forward WHY`,
/// `504`.
pub(crate) fn decide(candidates: &[StoredResponse], request: &str, now: Timestamp) -> String {
    let request = message(request);
    let facts = RequestFacts::of(&method(&request), &request.fields);
    match reuse(&facts, &request.fields, candidates, now).decision {
        Decision::Serve { age } => format!("hit {age}"),
        Decision::ServeStale { age, why } => format!("stale {why} {age}"),
        Decision::Validate { why, .. } => format!("validate {why}"),
        Decision::Forward { why } => format!("forward {why}"),
        Decision::GatewayTimeout => "504".to_owned(),
    }
}

/// Rule, request, response, seconds that pass, later request, outcome. The outcome may leave the age out, and
/// is `not stored WHY` for a response that is not kept.
pub(crate) struct Row(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) f64,
    pub(crate) &'static str,
    pub(crate) &'static str,
);

pub(crate) fn run(settings: &PolicySettings, rows: &[Row]) {
    let mut wrong = Vec::new();
    for Row(rule, first, response, seconds, later, expected) in rows {
        let outcome = match store(settings, first, response, None) {
            Ok(stored) => decide(&[stored], later, at((seconds * 1000.0) as i64)),
            Err(why) => format!("not stored {why}"),
        };
        let ageless = outcome.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end();
        if outcome != *expected && ageless != *expected {
            wrong.push(format!(
                "{rule}: {first} -> {response}\n  +{seconds}s {later}: {outcome}, not {expected}"
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The status of a number.
pub(crate) fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}

/// A field's lines joined by ` / `, or `-` when there is none.
pub(crate) fn lines(fields: &Fields, name: &str) -> String {
    let values: Vec<_> = fields.all(name).map(String::from_utf8_lossy).collect();
    if values.is_empty() { "-".to_owned() } else { values.join(" / ") }
}
