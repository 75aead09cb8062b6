//! An explanation as a page of text: what is decided, then all that led there. No line is wider than 80 columns unless
//! one word of it is.

use std::fmt::Write as _;

use larder_server::control::{
    Explained, ExplainedAnswer, ExplainedFreshness, ExplainedMissing, ExplainedRule, ExplainedStep,
    ExplainedVariant, Match, RuleKind, RuleRole, Verdict,
};

use crate::terminal::held;
use crate::units::rough_size;

const WIDTH: usize = 80;

/// The whole page.
pub(super) fn page(explained: &Explained) -> String {
    let mut page = Page::default();
    page.line(&format!("{} {}", explained.method, explained.url));
    page.line(&format!("as of {}", explained.time));
    // Of several ways in, those that hold nothing are worth a line, unless all are like that.
    let (mut told, mut rest): (Vec<_>, Vec<_>) =
        explained.answers.iter().partition(|answer| !answer.variants.is_empty());
    if told.is_empty() && !rest.is_empty() {
        told.push(rest.remove(0));
    }
    for answer in told {
        if explained.answers.len() > 1 {
            page.gap();
            page.line(&format!("== {} ==", way(answer)));
        }
        one(&mut page, explained, answer);
    }
    if !rest.is_empty() {
        page.heading("Elsewhere");
        for answer in rest {
            page.item(&format!("{}: nothing is stored under {}", way(answer), answer.key));
        }
    }
    page.0
}

/// How requests of this kind come in.
fn way(answer: &ExplainedAnswer) -> String {
    match &answer.origin {
        None => "through the forward proxy".to_owned(),
        Some(origin) => format!("through the reverse proxy for {origin}"),
    }
}

fn one(page: &mut Page, explained: &Explained, answer: &ExplainedAnswer) {
    page.gap();
    page.wrapped(headline(answer.decision), "", "");
    page.wrapped(&format!("because {} ({})", answer.cause.text, answer.cause.section), "  ", "  ");
    page.wrapped(&format!("Cache-Status: {}", answer.cache_status), "  ", "  ");

    page.heading("Key");
    page.line(&format!("  {}", answer.key));
    for rule in answer.rules.iter().filter(|rule| rule.role == RuleRole::Key) {
        let name = rule.name.as_deref().unwrap_or("of the configuration");
        let left_out = match rule.kind {
            RuleKind::Override => format!("without what override {name} ignores of the query"),
            RuleKind::Package => format!("without the signature in the query, by package rule {name}"),
        };
        page.wrapped(&left_out, "  ", "  ");
    }

    variants(page, answer);
    if let (Some(freshness), Some(selected)) = (&answer.freshness, answer.selected) {
        page.heading(&match answer.variants.len() {
            1 => "Freshness".to_owned(),
            _ => format!("Freshness of variant {}", selected + 1),
        });
        arithmetic(page, freshness);
    }
    page.heading("What happens next");
    for sentence in next(explained, answer) {
        page.item(&sentence);
    }
    let rules: Vec<_> = answer.rules.iter().filter_map(rule).collect();
    if !rules.is_empty() {
        page.heading("Overrides and package rules");
        rules.iter().for_each(|sentence| page.item(sentence));
    }
    if !answer.advice.is_empty() {
        page.heading("What the origin could do better");
        answer.advice.iter().for_each(|advice| page.item(advice));
    }
}

const fn headline(decision: Verdict) -> &'static str {
    match decision {
        Verdict::Serve => "A hit: larder answers from its store and asks nobody.",
        Verdict::ServeStale => "A hit, though stale: larder answers from its store and asks nobody.",
        Verdict::ServeStaleAndRefresh => {
            "A hit, though stale: larder answers at once and asks the origin meanwhile."
        }
        Verdict::Validate => {
            "Not a hit by itself: larder asks the origin whether what is stored still holds."
        }
        Verdict::Forward => "Not a hit: larder asks the origin.",
        Verdict::GatewayTimeout => "Not a hit, and the client wants nobody asked (only-if-cached): 504.",
    }
}

fn variants(page: &mut Page, answer: &ExplainedAnswer) {
    page.heading(match answer.variants.len() {
        0 => "Stored: nothing",
        1 => "Stored: one response",
        _ => "Stored: one response for each variant",
    });
    for (index, variant) in answer.variants.iter().enumerate() {
        let chosen = answer.selected == Some(index);
        let mut line = format!("{}, {}, of {}", variant.status, rough_size(variant.bytes), variant.date);
        if let Some(part) = &variant.part {
            let _ = write!(line, ", {}", held(part, &variant.runs));
        }
        line.push_str(if variant.fresh { ", fresh" } else { ", stale" });
        if answer.variants.len() > 1 {
            line.push_str(if chosen { "; chosen" } else { "" });
            page.wrapped(&line, &format!("  {}. ", index + 1), "     ");
        } else {
            page.wrapped(&line, "  ", "  ");
        }
        nominated(page, variant);
    }
}

/// What Vary had to say about a variant.
fn nominated(page: &mut Page, variant: &ExplainedVariant) {
    let or_none =
        |value: &Option<String>| value.as_ref().map_or_else(|| "none".to_owned(), |v| format!("`{v}`"));
    for field in &variant.fields {
        let verdict = if field.matches {
            format!("{} in both", or_none(&field.stored))
        } else {
            format!("stored for {}, asked for {}", or_none(&field.stored), or_none(&field.asked))
        };
        page.wrapped(&format!("Vary: {}: {verdict}", field.name), "     ", "       ");
    }
    if variant.matches == Match::PreferredLanguage {
        page.wrapped("it is in the language that the request prefers", "     ", "       ");
    }
}

fn arithmetic(page: &mut Page, freshness: &ExplainedFreshness) {
    for ExplainedStep { what, ms, at_most, date, section } in &freshness.steps {
        let value = match (ms, date) {
            (Some(ms), _) if *at_most => format!("at most {}", seconds(*ms)),
            (Some(ms), _) => seconds(*ms),
            (None, date) => date.clone().unwrap_or_default(),
        };
        page.line(&format!("  {what:<22} {value:>29}  {section}"));
    }
    let source = match (freshness.source.as_str(), freshness.targeted) {
        ("absent", _) => "nothing says how long it is fresh".to_owned(),
        ("heuristic", _) => "the lifetime is a guess from Last-Modified".to_owned(),
        ("package", _) => "the lifetime is that of a package rule".to_owned(),
        ("override", _) => "the lifetime is that of an override".to_owned(),
        (source, true) => format!("the lifetime is from {source} in a targeted field"),
        ("expires", false) => "the lifetime is from Expires".to_owned(),
        (source, false) => format!("the lifetime is from {source}"),
    };
    let age = seconds(freshness.age_ms);
    let verdict = match freshness.remaining_ms {
        0 => format!("{age} old and fresh for {}: stale", seconds(freshness.lifetime_ms)),
        left => format!("{age} old and fresh for another {}", seconds(left)),
    };
    page.wrapped(&format!("So it is {verdict}; {source}."), "  ", "  ");
}

/// What the client gets, and what is asked of the origin.
fn next(explained: &Explained, answer: &ExplainedAnswer) -> Vec<String> {
    let mut next = Vec::new();
    match answer.decision {
        Verdict::Serve | Verdict::ServeStale | Verdict::ServeStaleAndRefresh => {
            next.push(match answer.status {
                Some(304) => "The client gets 304: it has the same already.".to_owned(),
                Some(206) => "The client gets 206 with the part that it asks for.".to_owned(),
                Some(416) => "The client gets 416: what is stored has no such part.".to_owned(),
                Some(status) => format!("The client gets the stored {status}."),
                None => "The client gets what is stored.".to_owned(),
            });
            if answer.decision == Verdict::ServeStaleAndRefresh {
                next.push("Whatever the origin answers meanwhile takes its place.".to_owned());
            }
        }
        Verdict::Validate if explained.method == "HEAD" => {
            next.push("The HEAD is passed on; what it says freshens or outdates what is stored.".to_owned());
        }
        Verdict::Validate => {
            let conditions = answer.conditions.iter().flat_map(|conditions| {
                let none_match = conditions.if_none_match.as_ref().map(|tag| format!("If-None-Match: {tag}"));
                let since =
                    conditions.if_modified_since.as_ref().map(|at| format!("If-Modified-Since: {at}"));
                [none_match, since].into_iter().flatten()
            });
            next.push(format!("The origin is asked with {}.", conditions.collect::<Vec<_>>().join(" and ")));
            next.push("If it says 304, the stored response is brought up to date and answers.".to_owned());
            next.push("Anything else is passed on, and takes its place where it may be stored.".to_owned());
        }
        Verdict::Forward if answer.variants.is_empty() && answer.origin.is_none() && is_https(explained) => {
            next.push(
                "Where larder does not open tunnels (--intercept, larder run), https URLs are asked for through them, and larder sees and stores nothing."
                    .to_owned(),
            );
        }
        Verdict::Forward if answer.missing.is_some() => {
            next.extend(answer.missing.iter().map(completing));
            next.push(
                "A 200 is passed on and takes the part's place; bytes of something else are dropped, and all is fetched again."
                    .to_owned(),
            );
        }
        Verdict::Forward => {
            next.push(
                "What the origin answers is stored if it may be; if not, `detail` in its Cache-Status says why."
                    .to_owned(),
            );
        }
        Verdict::GatewayTimeout => {}
    }
    if let Some(stands_in) = answer.stands_in {
        next.push(format!(
            "If the origin cannot be reached, {}.",
            if stands_in.unreachable { "the stored response answers" } else { "the client gets 502 or 504" }
        ));
        next.push(format!(
            "If it answers 500, 502, 503 or 504, {}.",
            if stands_in.server_error { "the stored response answers" } else { "that is passed on" }
        ));
    }
    for sent in &answer.directives {
        next.push(format!(
            "Without {} in the request this would be decided otherwise ({}).",
            sent.text, sent.section
        ));
    }
    next
}

/// Which bytes are asked for.
fn completing(missing: &ExplainedMissing) -> String {
    let requests = match missing.ranges.as_slice() {
        [range] => format!("The origin is asked with Range: {range}"),
        ranges => format!("The origin is asked one after the other with Range: {}", ranges.join(", then ")),
    };
    match &missing.if_range {
        Some(validator) => format!("{requests} and If-Range: {validator}; the rest is here."),
        None => {
            format!(
                "{requests}; no strong validator ties what it sends to what is here, so only all of it helps."
            )
        }
    }
}

fn is_https(explained: &Explained) -> bool {
    explained.url.starts_with("https://")
}

/// None for what the section on the key has said.
fn rule(rule: &ExplainedRule) -> Option<String> {
    let name = rule.name.as_deref();
    let who = match (rule.kind, name) {
        (RuleKind::Override, Some(name)) => format!("Override {name}"),
        (RuleKind::Override, None) => "An override that the configuration no longer has".to_owned(),
        (RuleKind::Package, name) => format!("Package rule {}", name.unwrap_or_default()),
    };
    let does = match (rule.role, rule.kind) {
        (RuleRole::Key, _) => return None,
        (RuleRole::Applied, _) => "had a say when this was stored or last validated.",
        (RuleRole::Next, _) => {
            "is for this response, which was stored without it: it acts when this is stored or validated next."
        }
        (RuleRole::Possible, RuleKind::Override) => "applies to the next answer if its content type fits.",
        (RuleRole::Possible, RuleKind::Package) => {
            "knows this path; it has a say in a 200 that the origin lets be stored and reused."
        }
    };
    Some(format!("{who} {does}"))
}

/// Seconds, and the same in larger units where that helps: `5400 s (1 h 30 min)`.
fn seconds(ms: u64) -> String {
    let (whole, part) = (ms / 1000, ms % 1000);
    let plain = match part {
        0 => format!("{whole} s"),
        _ => format!("{whole}.{part:03} s"),
    };
    let units =
        [(whole / 86_400, "d"), (whole / 3_600 % 24, "h"), (whole / 60 % 60, "min"), (whole % 60, "s")];
    let words: Vec<_> = units
        .into_iter()
        .skip_while(|(count, _)| *count == 0)
        .take(2)
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    if whole < 60 { plain } else { format!("{plain} ({})", words.join(" ")) }
}

/// Text that grows line by line.
#[derive(Default)]
struct Page(String);

impl Page {
    /// What clients and origins sent is shown to a terminal: nothing of it may steer one.
    fn line(&mut self, text: &str) {
        self.0.extend(text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }));
        self.0.push('\n');
    }

    fn gap(&mut self) {
        self.0.push('\n');
    }

    fn heading(&mut self, text: &str) {
        self.gap();
        self.line(text);
    }

    fn item(&mut self, text: &str) {
        self.wrapped(text, "  - ", "    ");
    }

    /// A paragraph, broken between words.
    fn wrapped(&mut self, text: &str, first: &str, rest: &str) {
        let mut line = first.to_owned();
        let mut empty = true;
        for word in text.split(' ') {
            if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(&line);
                line = rest.to_owned();
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        self.line(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_exact_and_readable() {
        assert_eq!(seconds(0), "0 s");
        assert_eq!(seconds(1_500), "1.500 s");
        assert_eq!(seconds(3_600_000), "3600 s (1 h)");
        assert_eq!(seconds(5_400_250), "5400.250 s (1 h 30 min)");
        assert_eq!(seconds(86_405_000), "86405 s (1 d)");
    }

    #[test]
    fn nothing_that_a_peer_sent_steers_the_terminal() {
        let mut page = Page::default();
        page.item("`\u{1b}[2J\u{9b}2J\r`");
        assert!(page.0.trim_end().chars().all(|c| !c.is_control()), "{:?}", page.0);
    }

    #[test]
    fn a_paragraph_breaks_between_words_only() {
        let mut page = Page::default();
        page.wrapped(&"word ".repeat(30), "  - ", "    ");
        page.wrapped(&"x".repeat(100), "  - ", "    ");
        let widths: Vec<_> = page.0.lines().map(|line| line.trim_end().len()).collect();
        assert_eq!(widths, [78, 78, 104], "{}", page.0);
    }
}
