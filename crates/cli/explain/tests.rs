//! What a person and a program are told, against a store and a clock that are always the same.

use bytes::Bytes;
use http::{Method, StatusCode};
use larder_policy::{
    Action, CacheKey, DeltaSeconds, Exchange, Fields, Held, HostPattern, IgnoreQuery, Override, Overrides,
    ParameterPattern, RequestFacts, TargetUri, Timestamp, combine, packages, storability,
};
use larder_server::config::{Config, Listener, ListenerKind};
use larder_server::control::{Explain, Explained, Rules, Verdict, explain};
use larder_storage::{Options, Store};

use super::{json, text};
use crate::golden;

/// 2026-01-01 00:00:00 UTC, when everything was stored.
const START: i64 = 1_767_225_600;

struct Shelf {
    store: Store,
    config: Config,
    _directory: tempfile::TempDir,
}

fn fields(lines: &[&str]) -> Fields {
    let mut fields = Fields::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        fields.push(name, value.as_bytes()).unwrap();
    }
    fields
}

impl Shelf {
    fn new(config: Config) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(directory.path())).unwrap();
        Self { store, config, _directory: directory }
    }

    /// Stores what an origin answers to a GET, behind an origin if one is named.
    async fn put(&self, url: &str, request: &[&str], response: &[&str], origin: Option<&str>) {
        let target = TargetUri::parse(url.as_bytes()).unwrap();
        let (request, response) = (fields(request), fields(response));
        let exchange = Exchange {
            facts: &RequestFacts::of(&Method::GET, &request),
            target: &target,
            request: &request,
            status: StatusCode::OK,
            response: &response,
            request_time: Timestamp::from_secs(START),
            response_time: Timestamp::from_millis(START * 1000 + 250),
            framing_sound: true,
        };
        let rule = packages::recognise(&target);
        let stored = storability(&self.config.policy, &exchange, rule.as_ref()).unwrap();
        let key = self.config.policy.key(&target);
        let key =
            origin.map_or(key.clone(), |origin| key.asked_of(&TargetUri::parse(origin.as_bytes()).unwrap()));
        let mut fill = self.store.begin(key, stored, Some(2048), None);
        fill.write(Bytes::from_static(&[0; 2048])).await.unwrap();
        assert!(fill.finish().await.is_some());
    }

    async fn asked(&self, method: &str, url: &str, fields: &[&str], later: i64) -> Explained {
        let question = Explain {
            url: url.to_owned(),
            method: method.to_owned(),
            fields: fields.iter().map(|line| (*line).to_owned()).collect(),
        };
        let now = Timestamp::from_secs(START + later);
        explain(&Rules::of(&self.config), &self.store, &question, now).await.unwrap()
    }

    /// GET, shown and compared as text and as JSON.
    async fn golden(&self, name: &str, url: &str, fields: &[&str], later: i64) -> Explained {
        let explained = self.asked("GET", url, fields, later).await;
        let page = text::page(&explained);
        let widest = page.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 80, "{widest} columns:\n{page}");
        golden::compare(&format!("explain-{name}.txt"), &page);
        golden::compare(&format!("explain-{name}.json"), &json(&explained).unwrap());
        explained
    }
}

const DATE: &str = "Date: Thu, 01 Jan 2026 00:00:00 GMT";

#[tokio::test]
async fn a_fresh_response_is_a_hit() {
    let shelf = Shelf::new(Config::default());
    shelf.put("http://files.example/a", &[], &[DATE, "Cache-Control: max-age=3600", "Age: 20"], None).await;
    let told = shelf.golden("hit", "http://files.example/a", &[], 60).await;
    assert_eq!(told.answers[0].decision, Verdict::Serve);
}

#[tokio::test]
async fn a_stale_response_is_validated_and_may_stand_in() {
    let shelf = Shelf::new(Config::default());
    let response = [DATE, "ETag: \"v1\"", "Last-Modified: Wed, 31 Dec 2025 22:20:00 GMT"];
    shelf.put("http://files.example/a", &[], &response, None).await;
    let told = shelf.golden("stale", "http://files.example/a", &[], 7_200).await;
    assert_eq!(told.answers[0].decision, Verdict::Validate);
}

#[tokio::test]
async fn the_request_s_own_directive_is_told() {
    let shelf = Shelf::new(Config::default());
    let response = [DATE, "Cache-Control: max-age=3600, must-revalidate", "ETag: \"v1\""];
    shelf.put("http://files.example/a", &[], &response, None).await;
    shelf.golden("reload", "http://files.example/a", &["Cache-Control: max-age=0"], 60).await;
}

#[tokio::test]
async fn variants_are_told_by_the_fields_that_vary_names() {
    let shelf = Shelf::new(Config::default());
    let response = [DATE, "Cache-Control: max-age=3600", "Vary: Accept-Language, User-Agent"];
    for language in ["de", "fr"] {
        let language = format!("Accept-Language: {language}");
        shelf.put("http://www.example/", &[&language, "User-Agent: one/1"], &response, None).await;
    }
    shelf.golden("vary-miss", "http://www.example/", &["Accept-Language: en"], 60).await;
    let told = shelf
        .golden("vary-hit", "http://www.example/", &["Accept-Language: de", "User-Agent: one/1"], 60)
        .await;
    assert_eq!(told.answers[0].selected, Some(1), "the one stored last comes first");
}

#[tokio::test]
async fn where_nothing_is_stored_the_rules_that_may_apply_are_told() {
    let shelf = Shelf::new(Config::default());
    let url = "http://mirror.example/debian/pool/main/h/hello/hello_2.10-3_amd64.deb";
    shelf.golden("nothing", url, &[], 60).await;
    let told = shelf.asked("GET", "https://www.example/", &[], 60).await;
    assert!(text::page(&told).contains("does not open tunnels"));
}

#[tokio::test]
async fn a_package_has_its_rule() {
    let shelf = Shelf::new(Config::default());
    let url = "http://mirror.example/debian/pool/main/h/hello/hello_2.10-3_amd64.deb";
    shelf.put(url, &[], &[DATE, "ETag: \"v1\""], None).await;
    shelf.golden("package", url, &["Cache-Control: max-age=0"], 86_400).await;
}

#[tokio::test]
async fn a_signature_that_is_no_part_of_the_key_is_told() {
    let shelf = Shelf::new(Config::default());
    let path = format!("http://objects.example/lfs/{}", "ab".repeat(32));
    let url = |signature| format!("{path}?Expires=1&Key-Pair-Id=a&Signature={signature}");
    shelf.put(&url("one"), &[], &[DATE, "ETag: \"a\""], None).await;
    let told = shelf.asked("GET", &url("two"), &[], 60).await;
    let answer = &told.answers[0];
    // The signature is for the origin to judge.
    assert_eq!(
        (answer.decision, answer.key.as_str()),
        (Verdict::Validate, format!("{path}?#signed").as_str())
    );
    let page = text::page(&told);
    assert!(page.contains("without the signature in the query, by package rule signed-object"), "{page}");
    assert!(page.contains("Package rule signed-object had a say"), "{page}");
}

/// One that ignores tracking parameters and keeps everything for a day.
fn overridden() -> Config {
    let mut config = Config::default();
    config.policy.overrides = Overrides::new(vec![Override {
        name: "shop".to_owned(),
        hosts: vec![HostPattern::parse("*.shop.example").unwrap()],
        action: Action {
            min_fresh: Some(DeltaSeconds::from_secs(86_400)),
            ignore_query: IgnoreQuery::Named(vec![ParameterPattern::parse("utm_*").unwrap()]),
            ..Action::default()
        },
        ..Override::default()
    }])
    .unwrap();
    config
}

#[tokio::test]
async fn an_override_is_told_with_the_key_that_it_makes() {
    let shelf = Shelf::new(overridden());
    let response = [DATE, "Cache-Control: max-age=60", "ETag: \"v1\""];
    shelf.put("http://www.shop.example/?page=2", &[], &response, None).await;
    let url = "http://www.shop.example/?utm_source=mail&page=2";
    let told = shelf.golden("override", url, &[], 3_600).await;
    assert_eq!(told.answers[0].key, "http://www.shop.example/?page=2");
}

#[tokio::test]
async fn an_override_that_came_later_acts_with_the_next_validation() {
    let mut shelf = Shelf::new(Config::default());
    shelf.put("http://www.shop.example/", &[], &[DATE, "ETag: \"v1\""], None).await;
    shelf.config = overridden();
    let told = shelf.asked("GET", "http://www.shop.example/", &[], 60).await;
    assert!(text::page(&told).contains("Override shop is for this response, which was stored without it"));
    shelf.config = Config::default();
}

#[tokio::test]
async fn behind_each_origin_there_is_a_key_of_its_own() {
    let reverse = |origin: &str| Listener {
        address: "127.0.0.1:0".parse().unwrap(),
        kind: ListenerKind::Reverse { origin: TargetUri::parse(origin.as_bytes()).unwrap() },
        ..Listener::default()
    };
    let mut config = Config::default();
    config.listeners.extend([reverse("http://127.0.0.1:8080"), reverse("http://127.0.0.1:8081")]);
    let shelf = Shelf::new(config);
    let response = [DATE, "Cache-Control: max-age=60"];
    shelf.put("http://www.example/", &[], &response, Some("http://127.0.0.1:8080")).await;
    let told = shelf.golden("reverse", "http://www.example/", &[], 30).await;
    let decisions: Vec<_> = told.answers.iter().map(|answer| answer.decision).collect();
    assert_eq!(decisions, [Verdict::Forward, Verdict::Serve, Verdict::Forward]);
}

#[tokio::test]
async fn what_the_client_gets_depends_on_its_conditions_and_ranges() {
    let shelf = Shelf::new(Config::default());
    let response = [DATE, "Cache-Control: max-age=3600", "ETag: \"v1\""];
    shelf.put("http://files.example/a", &[], &response, None).await;
    for (method, field, status) in [
        ("GET", "Accept: */*", 200),
        ("GET", "If-None-Match: \"v1\"", 304),
        ("GET", "Range: bytes=0-99", 206),
        ("GET", "Range: bytes=9999-", 416),
        ("HEAD", "Range: bytes=0-99", 200),
    ] {
        let told = shelf.asked(method, "http://files.example/a", &[field], 60).await;
        assert_eq!(told.answers[0].status, Some(status), "{method} {field}");
        assert!(text::page(&told).contains(&status.to_string()));
    }
    let none = shelf.asked("GET", "http://files.example/b", &["Cache-Control: only-if-cached"], 60).await;
    assert_eq!(none.answers[0].decision, Verdict::GatewayTimeout);
}

#[tokio::test]
async fn a_stale_hit_says_what_goes_on_meanwhile() {
    let shelf = Shelf::new(Config::default());
    let response = [DATE, "Cache-Control: max-age=60, stale-while-revalidate=60", "ETag: \"v1\""];
    shelf.put("http://files.example/a", &[], &response, None).await;
    for (method, fields, later, verdict, said) in [
        ("GET", &[][..], 90, Verdict::ServeStaleAndRefresh, "asks the origin meanwhile"),
        ("GET", &["Cache-Control: max-stale"], 600, Verdict::ServeStale, "Without max-stale in the request"),
        ("HEAD", &[], 600, Verdict::Validate, "The HEAD is passed on"),
    ] {
        let told = shelf.asked(method, "http://files.example/a", fields, later).await;
        assert_eq!(told.answers[0].decision, verdict);
        let page = text::page(&told);
        assert!(page.contains(said), "{page}");
    }
}

/// Stores a part with holes, of a representation of a hundred thousand bytes.
async fn put_part(shelf: &Shelf, url: &str) {
    for (first, last) in [(0_u64, 39_999_u64), (60_000, 79_999)] {
        let target = TargetUri::parse(url.as_bytes()).unwrap();
        let (request, content_range) = (fields(&[]), format!("Content-Range: bytes {first}-{last}/100000"));
        let response = fields(&[DATE, "Cache-Control: max-age=60", "ETag: \"v1\"", &content_range]);
        let exchange = Exchange {
            facts: &RequestFacts::of(&Method::GET, &request),
            target: &target,
            request: &request,
            status: StatusCode::PARTIAL_CONTENT,
            response: &response,
            request_time: Timestamp::from_secs(START),
            response_time: Timestamp::from_secs(START),
            framing_sound: true,
        };
        let key = CacheKey::of(&target);
        let length = last - first + 1;
        let mut fill = match shelf.store.lookup(&key).await.first() {
            None => {
                let part = storability(&shelf.config.policy, &exchange, None).unwrap();
                shelf.store.begin(key, part, Some(length), None)
            }
            Some(stored) => {
                let Held::Runs(runs) = stored.held() else { panic!("it is a part") };
                let combination =
                    combine(&shelf.config.policy, stored.response(), &runs, None, &exchange, None).unwrap();
                let (range, all) = (combination.range, combination.complete_length);
                shelf.store.begin_into(stored, combination.response, range, all, None).unwrap()
            }
        };
        fill.write(Bytes::from(vec![0; length as usize])).await.unwrap();
        assert!(fill.finish().await.is_some());
    }
}

#[tokio::test]
async fn of_a_part_it_is_told_what_is_missing_and_what_it_can_stand_in_for() {
    let mut config = Config::default();
    config.policy.store_parts = true;
    let shelf = Shelf::new(config);
    let url = "http://files.example/part";
    put_part(&shelf, url).await;
    let told = shelf.golden("part", url, &[], 30).await;
    let missing = told.answers[0].missing.as_ref().unwrap();
    assert_eq!(missing.ranges, ["bytes=40000-59999", "bytes=80000-"]);
    assert_eq!(missing.if_range.as_deref(), Some("\"v1\""));
    assert_eq!(told.answers[0].variants[0].runs, [(0, 39_999), (60_000, 79_999)]);
    for (later, range, decision, ranges, stands_in) in [
        (30, "bytes=10-99", Verdict::Serve, None, None),
        (90, "bytes=10-99", Verdict::Validate, None, Some(true)),
        (90, "bytes=50000-59999", Verdict::Forward, None, Some(false)),
        (90, "bytes=30000-49999", Verdict::Forward, Some("bytes=40000-49999"), Some(false)),
    ] {
        let told = shelf.asked("GET", url, &[&format!("Range: {range}")], later).await;
        let answer = &told.answers[0];
        assert_eq!(
            (answer.decision, answer.stands_in.map(|stands_in| stands_in.unreachable)),
            (decision, stands_in)
        );
        let asked = answer.missing.as_ref().map(|missing| missing.ranges.join(" "));
        assert_eq!(asked.as_deref(), ranges, "{range}");
    }
}

/// The keys of a JSON value, with those of what it holds.
fn keys_of(value: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                found.insert(key.clone());
                keys_of(value, found);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| keys_of(item, found)),
        _ => {}
    }
}

#[test]
fn every_key_of_the_json_is_documented_and_no_other() {
    let mut shown = std::collections::BTreeSet::new();
    for name in ["hit", "stale", "reload", "vary-miss", "override", "part"] {
        let path = golden::directory().join(format!("explain-{name}.json"));
        keys_of(&serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap(), &mut shown);
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/explain.md");
    let page = std::fs::read_to_string(path).unwrap();
    let documented = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(|path| path.rsplit('.').next().unwrap().to_owned())
        .collect();
    assert_eq!(shown, documented);
}
