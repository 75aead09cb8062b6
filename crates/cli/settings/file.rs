//! The configuration file: TOML to a draft, every fault with its line.
//!
//! This file is the list of keys there are; `docs/configuration.md` is the same list for people, and a test keeps
//! the two in step. A value at fault is reported and left at its default, so that one run finds all faults.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use larder_policy::PolicySettings;
use larder_policy::packages::Active;
use larder_server::config::{AccessLogTarget, Limits, PortCertificate};
use toml::de::DeTable;

use super::fault::{Fault, Place, Position, Report, Severity};
use super::walk::{Known, Section, Walk, in_quotes, path, whole_number};
use super::{Draft, Given, InterceptDraft, ListenerDraft, overrides};
use crate::units::DiskSize;
use crate::values;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const PIB: u64 = 1 << 50;

/// Reads the report's source into a draft; faults go into the report.
pub(super) fn read(report: &mut Report) -> Draft {
    let source = report.source().to_owned();
    let (draft, faults, _) = parse(&source);
    report.extend(faults);
    draft
}

/// The draft of a file, its faults, and all keys that a file may have.
pub(super) fn parse(source: &str) -> (Draft, Vec<Fault>, Vec<Known>) {
    let (document, errors) = DeTable::parse_recoverable(source);
    let walk = Walk::new(source);
    let top = document.get_ref();
    let draft = draft(walk.top(top));
    let known = walk.known();
    let mut faults = walk.finish(top);

    let syntax: Vec<_> = errors.iter().map(|error| syntax_fault(source, error)).collect();
    // What the parser made of a line it could not read says nothing about what its author meant.
    let line = |fault: &Fault| match fault.place {
        Place::File(position) => Some(position.line),
        _ => None,
    };
    faults.retain(|fault| !syntax.iter().any(|error| line(error) == line(fault)));
    faults.extend(syntax);
    (draft, faults, known)
}

fn syntax_fault(source: &str, error: &toml::de::Error) -> Fault {
    let end = source.trim_end().len();
    let span = error.span().unwrap_or(end..end);
    let text = format!("not TOML: {}", error.message().replace('\n', "; "));
    Fault { place: Place::File(Position::of(source, span)), severity: Severity::Error, text }
}

fn draft(top: Section<'_>) -> Draft {
    let name = top.text("name", "a name", "larder", values::name).map(|name| name.value);
    let mut draft = Draft { name, ..Draft::default() };
    draft.shared.workers = top
        .integer("workers", 1..=values::MOST_WORKERS as u64)
        .map(|given| Given { value: usize::try_from(given.value).unwrap_or(1), place: given.place });
    listeners(top, &mut draft);
    draft.overrides = overrides::read(top);
    cache(top.table("cache"), &mut draft);
    limits(top.table("limits"), &mut draft);
    access(top.table("access"), &mut draft);

    let upstream = top.table("upstream");
    draft.shared.upstream_ca = upstream.list("ca_files", r#"["/etc/larder/office-ca.pem"]"#, |value| {
        path(in_quotes(value, "a path", "/etc/larder/office-ca.pem")?)
    });
    draft.shared.offline = upstream.boolean("offline");
    draft.shared.parent = upstream.text("parent", "a URL", "http://proxy.example.com:3128", values::parent);
    draft.http2 = upstream.boolean("http2").map(|given| given.value);

    let intercept = top.table("intercept");
    let hosts = |key| {
        intercept.list(key, r#"["*.example.com"]"#, |value| {
            values::host_pattern(in_quotes(value, "a host", "*.example.com")?)
        })
    };
    draft.intercept = InterceptDraft {
        only: hosts("only"),
        bypass: hosts("bypass"),
        required: hosts("required"),
        addresses: intercept.boolean("addresses").map(|given| given.value),
    };
    draft.shared.ca_dir = intercept.path("ca_dir");

    let log = top.table("log");
    draft.shared.access_log = access_log(log);
    draft.shared.log_format = log.text("format", "a format", "squid", values::log_format);
    draft.shared.log_level = log.text("level", "a level", "info", values::log_level);

    let admin = top.table("admin");
    draft.shared.admin = admin.text("address", "an address", "127.0.0.1:3129", values::address);
    draft.shared.admin_token = admin.text("token", "a token", "a-long-random-word", values::token);

    draft.policy.packages = packages(top.table("packages"));
    draft
}

/// A list of exceptions is read also where nothing is left to be excepted, so that its faults are told.
fn packages(table: Section<'_>) -> Active {
    let enabled = table.boolean("enabled").is_none_or(|enabled| enabled.value);
    let disabled = table.list("disabled", r#"["npm-tarball"]"#, |value| {
        values::package_rule(in_quotes(value, "a rule", "npm-tarball")?)
    });
    let disabled = disabled.map(|list| list.value).unwrap_or_default();
    let rest = disabled.into_iter().fold(Active::ALL, |active, given| active.without(given.value));
    if enabled { rest } else { Active::NONE }
}

fn access_log(log: Section<'_>) -> Option<Given<AccessLogTarget>> {
    log.text("access", "a path", "/var/log/larder/access.log", values::access_log)
}

fn listeners(top: Section<'_>, draft: &mut Draft) {
    let (absent, tables) = top.tables("listener");
    listener(absent);
    draft.listeners = tables.into_iter().filter_map(listener).collect();
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Forward,
    Reverse,
}

fn listener(table: Section<'_>) -> Option<ListenerDraft> {
    let address = table.text("address", "an address", "127.0.0.1:3128", values::address);
    let kind = table.text("kind", "a kind", "forward", |text| match text {
        "forward" => Ok(Kind::Forward),
        "reverse" => Ok(Kind::Reverse),
        _ => Err(match values::nearest(text, &["forward", "reverse"]) {
            Some(best) => format!("`{text}` is not a kind of listener; did you mean `{best}`?"),
            None => format!("`{text}` is not a kind of listener; write `forward` or `reverse`"),
        }),
    });
    let origin = table.text("origin", "a URL", "http://127.0.0.1:8080", values::reverse_origin);
    let certificate = table.path("tls_certificate");
    let key = table.path("tls_key");
    let intercept = table.boolean("intercept").is_some_and(|given| given.value);
    if table.place() == Place::Default {
        return None;
    }
    let tls = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            Some(PortCertificate { certificate: certificate.value, key: key.value })
        }
        (None, None) => None,
        _ => {
            table.fault("a listener speaks TLS with a certificate and its key; write both `tls_certificate` and `tls_key`, or neither".to_owned());
            None
        }
    };
    let said = |key| table.has(key);
    if !said("address") {
        table.fault("this listener has no address; write `address = \"127.0.0.1:3128\"`".to_owned());
    }
    match kind.as_ref().map(|kind| kind.value) {
        Some(Kind::Reverse) if !said("origin") => {
            table.fault(
                "a reverse listener needs the origin behind it; write `origin = \"http://127.0.0.1:8080\"`"
                    .to_owned(),
            );
        }
        Some(Kind::Forward) if said("origin") => {
            table.fault(
                "a forward listener has no origin; remove `origin`, or write `kind = \"reverse\"`".to_owned(),
            );
        }
        None if said("origin") && !said("kind") => {
            table.fault(
                "a listener with an origin is a reverse proxy; write `kind = \"reverse\"` too".to_owned(),
            );
        }
        _ => {}
    }
    if intercept && matches!(kind.as_ref().map(|kind| kind.value), Some(Kind::Reverse)) {
        table.fault("a reverse listener has no tunnels to open; remove `intercept`".to_owned());
    }
    Some(ListenerDraft { address: address?, origin: origin.map(|origin| origin.value), tls, intercept })
}

fn cache(table: Section<'_>, draft: &mut Draft) {
    draft.shared.cache_dir = table.path("dir");
    draft.shared.disk = table
        .text("disk", "a size", "20GiB", |text| text.parse::<DiskSize>().map_err(|error| error.to_string()));
    draft.shared.memory = table.size("memory", 0..=PIB);
    draft.memory_object_max = table.size("memory_object_max", 0..=256 * KIB);
    let eviction = |key| table.text(key, "a way to evict", "lru", values::eviction).map(|given| given.value);
    draft.memory_eviction = eviction("memory_eviction");
    draft.eviction = eviction("eviction");
    draft.segment_max = table.size("segment_max", KIB..=256 * KIB);
    draft.largest_object = table.size("largest_object", KIB..=PIB);
    draft.max_objects = table.integer("max_objects", 1..=1_000_000_000);
    draft.keep_free = table.text("keep_free", "a size", "1GiB", |text| {
        text.parse::<DiskSize>().map_err(|error| error.to_string())
    });
    draft.unfinished_max = table.size("unfinished_max", 0..=PIB);
    draft.variants_per_key = table.integer("variants_per_key", 1..=10_000);
    draft.verify = table.text("verify", "a word", "first-read", values::verify);
    draft.scrub_rate = table.size("scrub_rate", 0..=TIB);
    draft.scrub_every = table.duration("scrub_every", 1000);
    draft.quarantine = table.size("quarantine", 0..=PIB);
    policy(table, draft);
}

fn policy(table: Section<'_>, draft: &mut Draft) {
    // Taken apart by name, so that a new choice cannot be forgotten here.
    let PolicySettings {
        heuristic_percent,
        heuristic_max,
        targeted_fields: _,
        packages: _,
        serve_stale_on_error,
        store_parts: _,
        overrides: _,
    } = &mut draft.policy;
    if let Some(given) = table.integer("heuristic_percent", 0..=100) {
        *heuristic_percent = u32::try_from(given.value).unwrap_or(100);
    }
    if let Some(given) = table.duration("heuristic_max", 0) {
        *heuristic_max = given.value;
    }
    let fields = table.list("targeted_fields", r#"["CDN-Cache-Control"]"#, |value| {
        values::field_name(in_quotes(value, "a field name", "CDN-Cache-Control")?)
    });
    if let Some(given) = fields {
        draft.targeted_fields = Some(given.value.into_iter().map(|field| field.value).collect());
    }
    if let Some(given) = table.duration("serve_stale_on_error", 0) {
        *serve_stale_on_error = Some(given.value);
    }
}

fn access(table: Section<'_>, draft: &mut Draft) {
    draft.shared.allow_clients = table.list("allow_clients", r#"["192.168.0.0/16"]"#, |value| {
        values::network(in_quotes(value, "a network", "192.168.0.0/16")?)
    });
    draft.shared.allow_destinations = table.list("allow_destinations", r#"["localhost:8080"]"#, |value| {
        values::destination(in_quotes(value, "a destination", "localhost:8080")?)
    });
    draft.private_destinations = table.boolean("private_destinations").map(|given| given.value);
    draft.shared.connect_ports = table.list("connect_ports", "[443, 8443]", |value| {
        let port = whole_number(value, &(1..=65_535))?;
        u16::try_from(port).map_err(|_| "write a port from 1 to 65535".to_owned())
    });
}

/// Every field of [`Limits`]. Zero is refused where it would stop all work, and means "none" elsewhere.
fn limits(table: Section<'_>, draft: &mut Draft) {
    // Taken apart by name, so that a new limit cannot be forgotten here.
    let Limits {
        head_bytes,
        head_fields,
        connections,
        connections_per_client,
        head_timeout,
        keep_alive_timeout,
        request_body_timeout,
        request_body_rate,
        client_write_timeout,
        connect_timeout,
        first_byte_timeout,
        origin_body_timeout,
        pool_idle_timeout,
        pool_idle_connections,
        http2_connections,
        http2_window,
        http2_ping_after,
        http2_ping_timeout,
        interim_responses,
        waiters_per_key,
        waiter_timeout,
        uncacheable_mark,
        drain_bytes,
        tunnel_idle_timeout,
        handshake_timeout,
        http2_streams,
        leaf_certificates,
        learned_bypasses,
        learned_bypass_time,
        learned_bypasses_per_client,
        drain_timeout,
        finish_bytes,
        partial_bytes,
    } = &mut draft.limits;
    let count = |slot: &mut usize, key, bounds: RangeInclusive<u64>| {
        let given = table.integer(key, bounds)?;
        *slot = usize::try_from(given.value).unwrap_or(usize::MAX);
        Some(given.place)
    };
    let size = |slot: &mut u64, key, bounds: RangeInclusive<u64>| {
        if let Some(given) = table.size(key, bounds) {
            *slot = given.value.bytes();
        }
    };
    let wait = |slot: &mut Duration, key, least_ms: u64| {
        if let Some(given) = table.duration(key, least_ms) {
            *slot = given.value;
        }
    };
    if let Some(given) = table.size("head_bytes", KIB..=16 * MIB) {
        *head_bytes = usize::try_from(given.value.bytes()).unwrap_or(usize::MAX);
    }
    count(head_fields, "head_fields", 8..=10_000);
    count(connections, "connections", 1..=10_000_000);
    draft.connections_per_client = count(connections_per_client, "connections_per_client", 1..=10_000_000);
    wait(head_timeout, "head_timeout", 1);
    wait(keep_alive_timeout, "keep_alive_timeout", 0);
    wait(request_body_timeout, "request_body_timeout", 1);
    size(request_body_rate, "request_body_rate", 0..=GIB);
    wait(client_write_timeout, "client_write_timeout", 1);
    wait(connect_timeout, "connect_timeout", 1);
    wait(first_byte_timeout, "first_byte_timeout", 1);
    wait(origin_body_timeout, "origin_body_timeout", 1);
    wait(pool_idle_timeout, "pool_idle_timeout", 0);
    count(pool_idle_connections, "pool_idle_connections", 0..=100_000);
    count(http2_connections, "http2_connections", 1..=10_000);
    if let Some(given) = table.size("http2_window", 64 * KIB..=16 * MIB) {
        *http2_window = u32::try_from(given.value.bytes()).unwrap_or(u32::MAX);
    }
    wait(http2_ping_after, "http2_ping_after", 1);
    wait(http2_ping_timeout, "http2_ping_timeout", 1);
    count(interim_responses, "interim_responses", 0..=1_000);
    count(waiters_per_key, "waiters_per_key", 0..=10_000_000);
    wait(waiter_timeout, "waiter_timeout", 1);
    wait(uncacheable_mark, "uncacheable_mark", 0);
    size(drain_bytes, "drain_bytes", 0..=GIB);
    wait(tunnel_idle_timeout, "tunnel_idle_timeout", 1);
    wait(handshake_timeout, "handshake_timeout", 1);
    if let Some(given) = table.integer("http2_streams", 1..=10_000) {
        *http2_streams = u32::try_from(given.value).unwrap_or(u32::MAX);
    }
    if let Some(given) = table.integer("leaf_certificates", 1..=10_000_000) {
        *leaf_certificates =
            usize::try_from(given.value).ok().and_then(NonZeroUsize::new).unwrap_or(*leaf_certificates);
    }
    count(learned_bypasses, "learned_bypasses", 0..=10_000_000);
    wait(learned_bypass_time, "learned_bypass_time", 0);
    count(learned_bypasses_per_client, "learned_bypasses_per_client", 0..=1000);
    wait(drain_timeout, "drain_timeout", 0);
    size(finish_bytes, "finish_bytes", 0..=PIB);
    size(partial_bytes, "partial_bytes", 0..=PIB);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(source: &str) -> Vec<String> {
        let mut report = Report::about("f", source);
        read(&mut report);
        report.to_string().lines().filter(|line| line.starts_with("f:")).map(str::to_owned).collect()
    }

    #[test]
    fn an_empty_file_is_right_and_says_nothing() {
        let (draft, faults, known) = parse("");
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(draft.shared, super::super::Shared::default());
        assert!(known.iter().any(|k| k.table == "listener" && k.key == "origin"));
    }

    #[test]
    fn every_fault_of_a_file_is_found_in_one_run() {
        let found = faults(
            "wokers = 2\nworkers = \"2\"\n[cache]\ndisk = \"20G\"\nmemory = 512\n[acces]\n[log]\nlevel = \"inof\"\n",
        );
        assert_eq!(
            found,
            [
                "f:1:1: unknown key `wokers`; did you mean `workers`?",
                "f:2:11: `workers`: write a whole number from 1 to 1024, without quotes; this is `\"2\"`",
                "f:4:8: `cache.disk`: `20G` is not a size: unknown unit `G`; write `20GiB` (or `20GB` for powers of 1000)",
                "f:5:10: `cache.memory`: a size has a unit and quotes: write `\"512MiB\"`, for instance",
                "f:6:2: unknown table `acces`; did you mean `[access]`?",
                "f:8:9: `log.level`: `inof` is not a log level; did you mean `info`?",
            ]
        );
    }

    #[test]
    fn a_syntax_error_does_not_hide_other_lines() {
        let found = faults("[cache]\ndisk = \nmemory = 5\n");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("f:2:") && found[0].contains("not TOML"), "{found:?}");
        assert!(found[1].starts_with("f:3:10: `cache.memory`"), "{found:?}");
    }

    #[test]
    fn a_key_in_the_wrong_table_is_sent_to_the_right_one() {
        assert_eq!(faults("disk = \"1GiB\"\n"), ["f:1:1: unknown key `disk`; it belongs to `[cache]`"]);
        assert_eq!(
            faults("[cache]\nworkers = 2\n"),
            ["f:2:1: unknown key `workers`; it belongs to the top of the file, before any table"]
        );
    }

    #[test]
    fn a_listener_is_one_of_two_kinds() {
        assert!(faults("[[listener]]\naddress = \"127.0.0.1:1\"\n").is_empty());
        assert!(
            faults(
                "[[listener]]\naddress = \"127.0.0.1:1\"\nkind = \"reverse\"\norigin = \"http://a.example\"\n"
            )
            .is_empty()
        );
        assert_eq!(
            faults(
                "[[listener]]\nkind = \"revrese\"\n[[listener]]\naddress = \"127.0.0.1:1\"\nkind = \"reverse\"\n"
            ),
            [
                "f:1:1: this listener has no address; write `address = \"127.0.0.1:3128\"`",
                "f:2:8: `listener.kind`: `revrese` is not a kind of listener; did you mean `reverse`?",
                "f:3:1: a reverse listener needs the origin behind it; write `origin = \"http://127.0.0.1:8080\"`",
            ]
        );
        assert!(faults("[listener]\naddress = \"127.0.0.1:1\"\n")[0].contains("write `[[listener]]`"));
    }

    #[test]
    fn every_limit_can_be_set() {
        let source = "[limits]\nhead_bytes = \"16KiB\"\nconnections = 7\ndrain_timeout = \"1m30s\"\nfinish_bytes = \"0\"\n";
        let (draft, faults, _) = parse(source);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(draft.limits.head_bytes, 16 << 10);
        assert_eq!(draft.limits.connections, 7);
        assert_eq!(draft.limits.drain_timeout, Duration::from_secs(90));
        assert_eq!(draft.limits.finish_bytes, 0);
    }

    #[test]
    fn limits_have_bounds() {
        assert_eq!(
            faults("[limits]\nhead_timeout = \"0s\"\nhead_bytes = \"1GiB\"\nconnections = 0\n"),
            [
                "f:2:16: `limits.head_timeout`: 0s is too little; write at least `\"1ms\"`",
                "f:3:14: `limits.head_bytes`: 1GiB is too much; write at most `\"16MiB\"`",
                "f:4:15: `limits.connections`: write a whole number from 1 to 10000000, without quotes; this is `0`",
            ]
        );
    }
}
