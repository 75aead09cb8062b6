//! The notation of the tables. Nothing here opens a socket.
//!
//! A **line** is one stored response and what becomes of it: `RULE RESPONSE => [REQUEST =>] OUTCOME`.
//!
//! ```text
//! 1.2 Cache-Control: s-maxage=5, max-age=100 => +6 fetched
//! 15.1 Cache-Control: max-age=100 => +6 GET | Cache-Control: max-age=5 => fetched
//! ```
//!
//! The status is 200 unless the response begins with another. `+6` lets six seconds pass. The outcome is `hit`, `hit AGE`,
//! `validated` (the origin is asked with a condition, says 304, and the client gets the stored response) or `fetched` (it is
//! asked without one, and the client gets what it says now); more expectations may follow it.
//!
//! A **story** begins with its rule and its name; each of its requests is indented, and below it stands what follows:
//!
//! ```text
//! 9.2 a 304 replaces what it names
//!     GET
//!         <- 200 | Cache-Control: max-age=10 | ETag: "a" | X: old
//!     +11 GET
//!         -> If-None-Match: "a"
//!         <- 304 | X: new
//!         == X: new | status 200
//! ```
//!
//! `<-` is what the origin answers; without one it may not be asked at all. `->` tells what it was asked, `==` what the
//! client got: `hit`, `hit AGE`, `status N`, `body TEXT`, `Name: value` (its lines joined by ` / `), `!Name` for a field that
//! must not be there. Where `==` says nothing of status and body they are those of the origin's last full answer, whose
//! content is `answer N` unless it has a `body TEXT`. A `<- 1xx` goes before the answer below it, and must reach the client.
//! `<- close` is an origin that hangs up, from then on.
//!
//! Items are separated by ` | `. `{+5}` is the date five seconds after the story began, `{path}` the path of the story's
//! resource, `{url}` its URL. A response has a `Date` unless it names one or says `!Date`. A line that begins with `#` is a
//! remark.

/// Requests to one resource, one after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Story {
    /// Rule and name.
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
}

/// One request.
#[derive(Debug, Clone, Default)]
pub(super) struct Step {
    /// Seconds that pass before it.
    pub(super) seconds: f64,
    /// Method, path after the story's own, and items.
    pub(super) request: Vec<String>,
    /// What the origin answers, in turn.
    pub(super) answers: Vec<Vec<String>>,
    /// What holds of the request that the origin got.
    pub(super) asked: Vec<String>,
    /// What holds of the response that the client got.
    pub(super) got: Vec<String>,
    /// Whether the origin must have been asked with (or without) a condition.
    pub(super) conditional: Option<bool>,
}

/// Reads a table of lines.
pub(super) fn lines(table: &str) -> Vec<Story> {
    table.lines().filter(|line| is_told(line)).map(line).collect()
}

/// Reads a table of stories.
pub(super) fn stories(table: &str) -> Vec<Story> {
    let mut stories: Vec<Story> = Vec::new();
    for line in table.lines().filter(|line| is_told(line)) {
        if !line.starts_with(' ') {
            assert!(line.starts_with(|first: char| first.is_ascii_digit()), "no rule: {line}");
            stories.push(Story { name: line.to_owned(), steps: Vec::new() });
            continue;
        }
        let steps = &mut stories.last_mut().expect("a story begins with its rule").steps;
        let (mark, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match (mark, steps.last_mut()) {
            ("<-", Some(step)) => step.answers.push(items(rest)),
            ("->", Some(step)) => step.asked.extend(items(rest)),
            ("==", Some(step)) => step.got.extend(items(rest)),
            _ => steps.push(request(line.trim())),
        }
    }
    stories
}

fn is_told(line: &str) -> bool {
    !line.trim().is_empty() && !line.trim_start().starts_with('#')
}

fn line(line: &str) -> Story {
    let parts: Vec<&str> = line.split(" => ").collect();
    let (first, second, outcome) = match parts[..] {
        [first, outcome] if outcome.starts_with('+') => {
            let (seconds, outcome) = outcome.split_once(' ').unwrap();
            (first, format!("{seconds} GET"), outcome)
        }
        [first, outcome] => (first, "GET".to_owned(), outcome),
        [first, second, outcome] => (first, second.to_owned(), outcome),
        _ => panic!("not `RULE RESPONSE => [REQUEST =>] OUTCOME`: {line}"),
    };
    let (_, response) = first.split_once(' ').expect("a rule and a response");
    let mut response = items(response);
    if !response[0].starts_with(|first: char| first.is_ascii_digit()) {
        response.insert(0, "200".to_owned());
    }
    let mut later = request(&second);
    let mut outcome = items(outcome);
    match outcome[0].as_str() {
        "validated" => {
            later.conditional = Some(true);
            later.answers.push(items("304"));
            outcome.remove(0);
        }
        "fetched" => {
            later.conditional = Some(false);
            later.answers.push(items("200 | Cache-Control: no-store"));
            outcome.remove(0);
        }
        hit => assert!(hit.starts_with("hit"), "an outcome that is none: {line}"),
    }
    later.got = outcome;
    let earlier = Step { answers: vec![response], ..request("GET") };
    Story { name: line.to_owned(), steps: vec![earlier, later] }
}

/// `[+SECONDS] METHOD [PATH] | items`.
fn request(text: &str) -> Step {
    let (seconds, text) = match text.strip_prefix('+').map(|text| text.split_once(' ').unwrap()) {
        Some((seconds, text)) => (seconds.parse().unwrap(), text),
        None => (0.0, text),
    };
    Step { seconds, request: items(text), ..Step::default() }
}

fn items(text: &str) -> Vec<String> {
    text.split(" | ").map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}
