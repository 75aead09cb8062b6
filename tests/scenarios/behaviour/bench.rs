//! Runs the tables: one origin that answers by script, one proxy with a forward and a reverse listener before it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_policy::{HttpDate, TargetUri, Timestamp};
use larder_server::Config;
use larder_server::config::{Listener, ListenerKind};

use super::story::{self, Step, Story};
use crate::support::message::Head;
use crate::support::origin::{Received, Reply};
use crate::support::{After, Client, Origin, Proxy, Response};

/// Which listener a story is told through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Forward,
    Reverse,
}

/// What the origin does with the next request.
enum Scripted {
    Answer { head: String, body: String, interim: bool },
    Close,
}

pub(super) struct Bench {
    origin: Origin,
    proxy: Proxy,
    script: Arc<Mutex<VecDeque<Scripted>>>,
    modes: Vec<Mode>,
    told: usize,
}

/// Runs a table of lines with the default settings, through both listeners.
pub(super) fn lines(table: &str) {
    Bench::start().tell(&story::lines(table));
}

/// Runs a table of stories with the default settings, through both listeners.
pub(super) fn stories(table: &str) {
    Bench::start().tell(&story::stories(table));
}

impl Bench {
    pub(super) fn start() -> Self {
        Self::with(|_| {})
    }

    /// With settings changed.
    pub(super) fn with(settings: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        let script = Arc::<Mutex<VecDeque<Scripted>>>::default();
        let played = Arc::clone(&script);
        let origin = Origin::start(move |request, reply| play(&mut played.lock().unwrap(), request, reply));
        let before = TargetUri::parse(origin.url("/").as_bytes()).unwrap();
        let proxy = Proxy::with(move |config, _| {
            let kind = ListenerKind::Reverse { origin: before.clone() };
            config.listeners.push(Listener {
                address: "127.0.0.1:0".parse().unwrap(),
                kind,
                ..Listener::default()
            });
            settings(config);
        });
        Self { origin, proxy, script, modes: vec![Mode::Forward, Mode::Reverse], told: 0 }
    }

    /// Through this listener alone.
    pub(super) fn only(mut self, mode: Mode) -> Self {
        self.modes = vec![mode];
        self
    }

    /// Tells all stories, and only then fails for those that came out otherwise.
    pub(super) fn tell(mut self, stories: &[Story]) {
        assert!(!stories.is_empty());
        let mut wrong = Vec::new();
        for mode in self.modes.clone() {
            for story in stories {
                if let Err(what) = self.tell_one(mode, story) {
                    wrong.push(format!("{} ({mode:?})\n    {what}", story.name));
                }
            }
        }
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }

    fn tell_one(&mut self, mode: Mode, story: &Story) -> Result<(), String> {
        self.told += 1;
        let mut telling = Telling {
            bench: self,
            mode,
            path: format!("/{}", self.told),
            began: self.proxy.clock.now(),
            answers: 0,
            full: None,
        };
        for (number, step) in story.steps.iter().enumerate() {
            telling.step(step).map_err(|what| format!("request {}: {what}", number + 1))?;
        }
        Ok(())
    }
}

fn play(script: &mut VecDeque<Scripted>, request: &Received, reply: &mut Reply<'_>) -> After {
    loop {
        match script.pop_front() {
            Some(Scripted::Answer { head, body, interim }) => {
                reply.raw(if request.method == "HEAD" { head } else { head + &body });
                if !interim {
                    return After::Keep;
                }
            }
            Some(Scripted::Close) => {
                script.push_front(Scripted::Close);
                return After::Close;
            }
            None => return reply.send(500, &["X-Script: ended"], b"the origin was not to be asked"),
        }
    }
}

/// One story as it goes on.
struct Telling<'b> {
    bench: &'b Bench,
    mode: Mode,
    path: String,
    began: Timestamp,
    /// How many answers the origin has given.
    answers: usize,
    /// Status and body of the last full one.
    full: Option<(u16, String)>,
}

impl Telling<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        self.bench.proxy.clock.advance(Duration::from_secs_f64(step.seconds));
        let mut silent = false;
        for answer in &step.answers {
            let scripted = self.answer(answer);
            silent |= matches!(scripted, Scripted::Close);
            self.bench.script.lock().unwrap().push_back(scripted);
        }
        let before = self.bench.origin.count();
        let (method, response) = self.ask(&step.request);
        let left = std::mem::take(&mut *self.bench.script.lock().unwrap()).len();
        let received = self.bench.origin.received().split_off(before);
        let response = response.map_err(|error| format!("no response: {error}"))?;
        let told = |what: String| format!("{what}\n    {} {:?}", response.head.line, response.head.fields);

        let interim = step.answers.iter().filter(|answer| answer[0].starts_with('1')).count();
        let expected = step.answers.len() - interim;
        if left > usize::from(silent) || !silent && received.len() != expected || received.len() < expected {
            return Err(told(format!("the origin was asked {} times, not {expected}", received.len())));
        }
        if let Some(last) = received.last() {
            let conditional = last.field("if-none-match").or(last.field("if-modified-since")).is_some();
            if step.conditional.is_some_and(|expected| expected != conditional) {
                return Err(told(format!("asked with a condition: {conditional}")));
            }
            for item in &step.asked {
                if item.strip_prefix("method ").is_some_and(|method| method == last.method) {
                    continue;
                }
                self.check(item, &last.head).map_err(|what| format!("the origin was asked with {what}"))?;
            }
        }
        self.check_response(step, &method, &response).map_err(told)
    }

    /// What the origin is to answer: `STATUS | items`.
    fn answer(&mut self, items: &[String]) -> Scripted {
        if items[0] == "close" {
            return Scripted::Close;
        }
        let status: u16 = items[0].parse().unwrap();
        self.answers += usize::from(status >= 200);
        let mut body = format!("answer {}", self.answers);
        let mut fields = String::new();
        let mut dated = status < 200;
        for item in &items[1..] {
            match item.strip_prefix("body ") {
                Some(text) => body = text.to_owned(),
                None if item == "!Date" => dated = true,
                None => {
                    dated |= item.to_ascii_lowercase().starts_with("date:");
                    fields.push_str(&self.filled(item));
                    fields.push_str("\r\n");
                }
            }
        }
        if !dated {
            fields.push_str(&format!("Date: {}\r\n", HttpDate(self.bench.proxy.clock.now())));
        }
        if status < 200 || status == 204 || status == 304 {
            body.clear();
        } else if !fields.to_ascii_lowercase().contains("content-length:") {
            fields.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        if status >= 200 && status != 304 {
            self.full = Some((status, body.clone()));
        }
        let head = format!("HTTP/1.1 {status} Scripted\r\n{fields}\r\n");
        Scripted::Answer { head, body, interim: status < 200 }
    }

    /// Sends `METHOD [PATH] | items` and reads the response.
    fn ask(&self, items: &[String]) -> (String, std::io::Result<Response>) {
        let (method, more) = items[0].split_once(' ').unwrap_or((&items[0], ""));
        let (host, path) = (self.bench.origin.address, format!("{}{more}", self.path));
        let (listener, target) = match self.mode {
            Mode::Forward => (0, format!("http://{host}{path}")),
            Mode::Reverse => (1, path),
        };
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
        let mut body = "";
        for item in &items[1..] {
            match item.strip_prefix("body ") {
                Some(text) => {
                    body = text;
                    head.push_str(&format!("Content-Length: {}\r\n", text.len()));
                }
                None => head.push_str(&format!("{}\r\n", self.filled(item))),
            }
        }
        let mut client = Client::connect(self.bench.proxy.server().addresses()[listener]);
        client.send(format!("{head}\r\n{body}"));
        (method.to_owned(), Response::read(&mut client.reader, method))
    }

    fn check_response(&self, step: &Step, method: &str, response: &Response) -> Result<(), String> {
        if !response.complete {
            return Err("the response was cut".to_owned());
        }
        let is_hit = step.got.iter().any(|item| item == "hit" || item.starts_with("hit "));
        if response.is_hit() != is_hit {
            return Err(format!("hit: {}", response.is_hit()));
        }
        let expected: Vec<&str> = step
            .answers
            .iter()
            .map(|answer| answer[0].as_str())
            .filter(|code| code.starts_with('1'))
            .collect();
        let interim: Vec<&str> =
            response.interim.iter().filter_map(|head| head.line.split(' ').nth(1)).collect();
        if interim != expected {
            return Err(format!("interim responses {interim:?}, not {expected:?}"));
        }
        // RFC 9111, 5.1: a response from the store says how old it is, once.
        if is_hit && response.head.all("age").len() != 1 {
            return Err(format!("Age: {:?}", response.head.all("age")));
        }
        let says = |word: &str| step.got.iter().find_map(|item| item.strip_prefix(word));
        let (full_status, full_body) = self.full.clone().unwrap_or_default();
        let status = says("status ").map_or(full_status, |status| status.parse().unwrap());
        if response.status != status {
            return Err(format!("status {}, not {status}", response.status));
        }
        let body = match says("body ") {
            Some(body) => Some(body.to_owned()),
            None if method == "HEAD" || matches!(status, 204 | 304) => Some(String::new()),
            None => says("status ").is_none().then_some(full_body),
        };
        if body.is_some_and(|body| body != response.text()) {
            return Err(format!("content {:?}", response.text()));
        }
        for item in &step.got {
            if item.starts_with("status ") || item.starts_with("body ") || item == "hit" {
                continue;
            }
            match item.strip_prefix("hit ") {
                Some(age) => self.check(&format!("Age: {age}"), &response.head)?,
                None => self.check(item, &response.head)?,
            }
        }
        Ok(())
    }

    /// `Name: value`, or `!Name`.
    fn check(&self, item: &str, head: &Head) -> Result<(), String> {
        if let Some(name) = item.strip_prefix('!') {
            return head.field(name).map_or(Ok(()), |value| Err(format!("{name}: {value}")));
        }
        let item = self.filled(item);
        let (name, value) = item.split_once(':').unwrap_or_else(|| panic!("not an item: {item}"));
        let lines = head.all(name).join(" / ");
        if lines == value.trim() { Ok(()) } else { Err(format!("{name}: {lines}, not {}", value.trim())) }
    }

    /// The text with dates, path and URL put in.
    fn filled(&self, text: &str) -> String {
        let mut text = text
            .replace("{path}", &self.path)
            .replace("{url}", &self.bench.origin.url(&self.path))
            .replace("{host}", &self.bench.origin.address.to_string());
        while let Some(start) = text.find(['{']) {
            let end = start + text[start..].find('}').unwrap();
            let offset: i64 = text[start + 1..end].parse().unwrap();
            let date = HttpDate(Timestamp::from_secs(self.began.as_secs() + offset)).to_string();
            text.replace_range(start..=end, &date);
        }
        text
    }
}
