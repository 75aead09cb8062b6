//! Settings: a file, variables and flags in; one validated [`Config`] and the store's options out.
//!
//! Flags win over `LARDER_*` variables, which win over the file; a list that wins replaces the other whole.
//! Every value keeps the place it came from, so that a fault found late still points at what was typed.
//! All faults are found in one run. Nothing here opens a socket or the store.

#[cfg(test)]
mod documented;
mod fault;
mod file;
mod machine;
mod overrides;
mod settle;
mod variables;
mod walk;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use larder_policy::{HostPattern, PolicySettings, TargetUri};
use larder_server::config::{
    AccessLogFormat, AccessLogTarget, Config, Destination, Limits, Parent, PortCertificate,
};
use larder_storage::eviction::Policy;
use larder_storage::{Options, Verify};

use crate::units::{ByteSize, DiskSize};

pub(crate) use fault::{Place, Report};
pub(crate) use machine::Machine;
pub(crate) use variables::Variables;

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Given<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

impl<T> Given<T> {
    /// A flag's value; the flag is named without dashes.
    pub(crate) fn by_flag(value: T, flag: &'static str) -> Self {
        Self { value, place: Place::Flag(flag) }
    }
}

/// A list, each member with its place.
pub(crate) type GivenList<T> = Given<Vec<Given<T>>>;

/// The settings that a flag, a variable and the file can give alike, as far as they were given.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Shared {
    pub(crate) listen: Option<GivenList<SocketAddr>>,
    pub(crate) reverse: Option<Given<TargetUri>>,
    pub(crate) cache_dir: Option<Given<PathBuf>>,
    pub(crate) disk: Option<Given<DiskSize>>,
    pub(crate) memory: Option<Given<ByteSize>>,
    pub(crate) allow_clients: Option<GivenList<IpNet>>,
    pub(crate) allow_destinations: Option<GivenList<Destination>>,
    pub(crate) connect_ports: Option<GivenList<u16>>,
    pub(crate) upstream_ca: Option<GivenList<PathBuf>>,
    pub(crate) parent: Option<Given<Parent>>,
    pub(crate) intercept: Option<Given<bool>>,
    pub(crate) ca_dir: Option<Given<PathBuf>>,
    pub(crate) offline: Option<Given<bool>>,
    pub(crate) admin: Option<Given<SocketAddr>>,
    pub(crate) admin_token: Option<Given<String>>,
    pub(crate) access_log: Option<Given<AccessLogTarget>>,
    pub(crate) log_format: Option<Given<AccessLogFormat>>,
    pub(crate) log_level: Option<Given<String>>,
    pub(crate) workers: Option<Given<usize>>,
}

impl Shared {
    /// Whatever `upper` gives wins.
    fn overlay(&mut self, upper: Self) {
        fn win<T>(lower: &mut Option<T>, upper: Option<T>) {
            if upper.is_some() {
                *lower = upper;
            }
        }
        // Taken apart by name, so that a new setting cannot be forgotten here.
        let Self {
            listen,
            reverse,
            cache_dir,
            disk,
            memory,
            allow_clients,
            allow_destinations,
            connect_ports,
            upstream_ca,
            parent,
            intercept,
            ca_dir,
            offline,
            admin,
            admin_token,
            access_log,
            log_format,
            log_level,
            workers,
        } = upper;
        win(&mut self.listen, listen);
        win(&mut self.reverse, reverse);
        win(&mut self.cache_dir, cache_dir);
        win(&mut self.disk, disk);
        win(&mut self.memory, memory);
        win(&mut self.allow_clients, allow_clients);
        win(&mut self.allow_destinations, allow_destinations);
        win(&mut self.connect_ports, connect_ports);
        win(&mut self.upstream_ca, upstream_ca);
        win(&mut self.parent, parent);
        win(&mut self.intercept, intercept);
        win(&mut self.ca_dir, ca_dir);
        win(&mut self.offline, offline);
        win(&mut self.admin, admin);
        win(&mut self.admin_token, admin_token);
        win(&mut self.access_log, access_log);
        win(&mut self.log_format, log_format);
        win(&mut self.log_level, log_level);
        win(&mut self.workers, workers);
    }
}

/// A `[[listener]]` of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListenerDraft {
    pub(crate) address: Given<SocketAddr>,
    /// The origin of a reverse listener; none for a forward one.
    pub(crate) origin: Option<TargetUri>,
    pub(crate) tls: Option<PortCertificate>,
    pub(crate) intercept: bool,
}

/// All that was given, before it is looked at as a whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    pub(crate) shared: Shared,
    pub(crate) listeners: Vec<ListenerDraft>,
    pub(crate) name: Option<String>,
    pub(crate) memory_object_max: Option<Given<ByteSize>>,
    pub(crate) memory_eviction: Option<Policy>,
    pub(crate) eviction: Option<Policy>,
    pub(crate) segment_max: Option<Given<ByteSize>>,
    pub(crate) largest_object: Option<Given<ByteSize>>,
    pub(crate) max_objects: Option<Given<u64>>,
    pub(crate) keep_free: Option<Given<DiskSize>>,
    pub(crate) unfinished_max: Option<Given<ByteSize>>,
    pub(crate) variants_per_key: Option<Given<u64>>,
    pub(crate) verify: Option<Given<Verify>>,
    pub(crate) scrub_rate: Option<Given<ByteSize>>,
    pub(crate) scrub_every: Option<Given<Duration>>,
    pub(crate) quarantine: Option<Given<ByteSize>>,
    pub(crate) private_destinations: Option<bool>,
    pub(crate) http2: Option<bool>,
    pub(crate) targeted_fields: Option<Vec<String>>,
    pub(crate) limits: Limits,
    pub(crate) connections_per_client: Option<Place>,
    pub(crate) policy: PolicySettings,
    pub(crate) overrides: Vec<overrides::OverrideDraft>,
    pub(crate) intercept: InterceptDraft,
}

/// `[intercept]` of the file, but for what a flag can give, too.
#[derive(Debug, Clone, Default)]
pub(crate) struct InterceptDraft {
    pub(crate) only: Option<GivenList<HostPattern>>,
    pub(crate) bypass: Option<GivenList<HostPattern>>,
    pub(crate) required: Option<GivenList<HostPattern>>,
    pub(crate) addresses: Option<bool>,
}

/// Where settings come from.
pub(crate) struct Sources {
    /// The file, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// The environment's variables.
    pub(crate) variables: Variables,
    /// What the flags said.
    pub(crate) flags: Shared,
}

/// What the store is opened with.
#[derive(Debug, Clone)]
pub(crate) struct StoreSettings {
    /// The store's own options.
    pub(crate) options: Options,
    /// How the disk limit came about, for people: `10GiB`, `80% of 200 GiB`.
    pub(crate) disk_words: String,
}

impl StoreSettings {
    /// Where the process that owns the directory listens for other commands.
    pub(crate) fn control_socket(&self) -> PathBuf {
        larder_server::control::socket_path(&self.options.dir)
    }
}

/// Everything `serve` needs, validated.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) store: StoreSettings,
    /// The directory of the CA, if it is not the usual one.
    pub(crate) ca_dir: Option<PathBuf>,
    /// The filter of the program's own log.
    pub(crate) log_level: String,
}

/// Collects what the sources say. The report holds what is wrong with single values.
fn gather(sources: Sources, machine: &Machine) -> (Draft, Report) {
    let from_variable = sources.variables.get("LARDER_CONFIG").map(PathBuf::from);
    let (mut draft, mut report) = match sources.file.or(from_variable) {
        Some(path) => read_file(&path, machine),
        None => (Draft::default(), Report::default()),
    };
    let variables = variables::read(&sources.variables, &mut report);
    draft.shared.overlay(variables);
    draft.shared.overlay(sources.flags);
    (draft, report)
}

fn read_file(path: &Path, machine: &Machine) -> (Draft, Report) {
    let source = machine.read(path).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    match source {
        Ok(source) => {
            let mut report = Report::about(path.display().to_string(), source);
            let draft = file::read(&mut report);
            (draft, report)
        }
        Err(error) => {
            let mut report = Report::default();
            report
                .error(Place::Default, format!("{}: cannot read the configuration: {error}", path.display()));
            (Draft::default(), report)
        }
    }
}

/// The settings of `serve`, and the warnings there are.
///
/// # Errors
///
/// All that is wrong.
pub(crate) fn for_serve(sources: Sources, machine: &Machine) -> Result<(Settings, Report), Report> {
    let (draft, mut report) = gather(sources, machine);
    let settings = settle::settle(draft, machine, &mut report);
    settings.filter(|_| report.errors() == 0).map(|settings| (settings, report.clone())).ok_or(report)
}

/// What commands that serve nothing go by: where the store is, how it would be opened, and how requests are judged. What
/// is wrong with listeners and access does not concern them, what is wrong with the file's values does.
///
/// # Errors
///
/// All that is wrong.
pub(crate) fn for_store(sources: Sources, machine: &Machine) -> Result<Settings, Report> {
    let (draft, mut report) = gather(sources, machine);
    let settings =
        settle::store(&draft, machine, &mut report).map(|store| settle::assemble(draft, store, &mut report));
    settings.filter(|_| report.errors() == 0).ok_or(report)
}

/// The settings that a file alone gives, and the warnings there are; variables and flags do not count.
///
/// # Errors
///
/// All that is wrong.
pub(crate) fn for_check(path: &Path, machine: &Machine) -> Result<(Settings, Report), Report> {
    let sources =
        Sources { file: Some(path.to_owned()), variables: Variables::default(), flags: Shared::default() };
    for_serve(sources, machine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, parse};

    const FILE: &str = "precedence.toml";

    /// The settings of a command line, an environment and a file, the latter in `fixtures/config/`.
    fn settings(line: &str, environment: &[(&str, &str)]) -> Result<Settings, String> {
        let Command::Serve(args) =
            parse(["larder", "serve"].into_iter().chain(line.split_whitespace())).unwrap().command
        else {
            unreachable!("the subcommand is serve");
        };
        let (flags, file) = args.split();
        for_serve(
            Sources { file, variables: environment.iter().copied().collect(), flags },
            &Machine::imagined(),
        )
        .map(|(settings, _)| settings)
        .map_err(|report| report.to_string())
    }

    fn listeners(settings: &Settings) -> Vec<String> {
        let role = |listener: &larder_server::config::Listener| {
            format!("{} {}", listener.address, crate::check::role(listener))
        };
        settings.config.listeners.iter().map(role).collect()
    }

    #[test]
    fn flags_win_over_variables_which_win_over_the_file() {
        let file = format!("--config {FILE}");
        let memory =
            |line: &str, environment| settings(line, environment).unwrap().store.options.memory_limit;
        assert_eq!(memory("", &[]), 256 << 20);
        assert_eq!(memory(&file, &[]), 1 << 20);
        assert_eq!(memory(&file, &[("LARDER_MEMORY", "2MiB")]), 2 << 20);
        assert_eq!(memory(&format!("{file} --memory 3MiB"), &[("LARDER_MEMORY", "2MiB")]), 3 << 20);
    }

    #[test]
    fn a_list_that_wins_replaces_the_other_whole() {
        let ports =
            |line: &str, environment| settings(line, environment).unwrap().config.access.connect_ports;
        assert_eq!(ports("--config precedence.toml", &[]), [8443, 9443]);
        assert_eq!(ports("--config precedence.toml", &[("LARDER_CONNECT_PORTS", "444")]), [444]);
        assert_eq!(
            ports("--config precedence.toml --connect-ports 445", &[("LARDER_CONNECT_PORTS", "444")]),
            [445]
        );
    }

    #[test]
    fn every_setting_of_flag_variable_and_file_is_overlaid() {
        let everything = "--listen 127.0.0.1:1 --reverse http://a.example --cache-dir /f --disk 1GiB --memory 1GiB \
            --allow-client 10.0.0.1 --allow-destination a.example:1 --connect-ports 1 --upstream-ca office-ca.pem --parent http://u:p@p:1 --offline --intercept --ca-dir /ca \
            --admin 127.0.0.1:2 --admin-token 0123456789abcdef --access-log /f.log --log-format json --log-level trace --workers 7";
        let Command::Serve(args) =
            parse(format!("larder serve {everything}").split_whitespace()).unwrap().command
        else {
            unreachable!("the subcommand is serve");
        };
        let (upper, _) = args.split();
        assert!(!format!("{upper:?}").contains("None"), "a flag does not arrive: {upper:?}");
        let mut lower = Shared::default();
        lower.overlay(upper.clone());
        assert_eq!(lower, upper);
        lower.overlay(Shared::default());
        assert_eq!(lower, upper);
    }

    #[test]
    fn the_file_may_be_named_by_a_variable() {
        let named = settings("", &[("LARDER_CONFIG", FILE)]).unwrap();
        assert_eq!(named.store.options.memory_limit, 1 << 20);
        let other = settings("--config minimal.toml", &[("LARDER_CONFIG", FILE)]).unwrap();
        assert_eq!(other.store.options.memory_limit, 256 << 20);
    }

    #[test]
    fn flags_make_implicit_listeners_that_replace_those_of_the_file() {
        let of = |line: &str, environment| listeners(&settings(line, environment).unwrap());
        assert_eq!(of("", &[]), ["127.0.0.1:3128 forward proxy"]);
        assert_eq!(of("--config precedence.toml", &[]), ["127.0.0.1:1111 forward proxy"]);
        assert_eq!(
            of("--config precedence.toml --listen 127.0.0.1:2222", &[]),
            ["127.0.0.1:2222 forward proxy"]
        );
        assert_eq!(
            of("--config precedence.toml --reverse http://a.example", &[]),
            ["127.0.0.1:3128 reverse proxy for http://a.example"]
        );
        assert_eq!(
            of("--reverse http://a.example:8080", &[("LARDER_LISTEN", "127.0.0.1:1,[::1]:2")]),
            [
                "127.0.0.1:1 reverse proxy for http://a.example:8080",
                "[::1]:2 reverse proxy for http://a.example:8080"
            ]
        );
    }

    #[test]
    fn an_open_proxy_is_never_an_accident() {
        let error = settings("--listen 0.0.0.0:3128", &[]).unwrap_err();
        assert!(
            error.starts_with("--listen: a forward proxy on 0.0.0.0:3128 can be used by everyone"),
            "{error}"
        );
        assert!(settings("", &[("LARDER_LISTEN", "[::]:1")]).unwrap_err().starts_with("LARDER_LISTEN: "));
        assert!(settings("--listen 0.0.0.0:3128 --allow-client 10.0.0.0/8", &[]).is_ok());
        assert!(settings("--listen 0.0.0.0:80 --reverse http://127.0.0.1:8080", &[]).is_ok());
        assert!(settings("--listen [::ffff:127.0.0.1]:3128", &[]).is_ok());
    }

    #[test]
    fn faults_of_all_sources_are_shown_together() {
        let error = settings("--config wrong-shapes.toml --listen 0.0.0.0:1", &[("LARDER_DISK", "much")])
            .unwrap_err();
        let heads: Vec<_> = error.lines().filter_map(|line| line.split(": ").next()).collect();
        assert!(
            heads.contains(&"wrong-shapes.toml:1:9")
                && heads.contains(&"LARDER_DISK")
                && heads.contains(&"--listen"),
            "{error}"
        );
    }

    #[test]
    fn listeners_do_not_concern_commands_that_serve_nothing() {
        let variables = Variables::from_iter([("LARDER_LISTEN", "0.0.0.0:3128")]);
        let sources = |file: Option<&str>| Sources {
            file: file.map(PathBuf::from),
            variables: variables.clone(),
            flags: Shared::default(),
        };
        let store = for_store(sources(None), &Machine::imagined()).unwrap();
        assert_eq!(store.store.options.dir, PathBuf::from("/home/ann/.cache/larder"));
        assert!(for_store(sources(Some("wrong-values.toml")), &Machine::imagined()).is_err());
    }

    #[test]
    fn the_disk_limit_of_a_small_disk_counts_what_the_cache_holds_as_free() {
        use machine::Space;
        let disk = |space, held| {
            let machine = Machine { space, held, ..Machine::imagined() };
            let store = for_store(
                Sources { file: None, variables: Variables::default(), flags: Shared::default() },
                &machine,
            )
            .unwrap()
            .store;
            (store.options.disk_limit >> 20, store.disk_words)
        };
        let roomy = |_: &Path| Some(Space { total: 50 << 30, available: 13 << 30 });
        let small = |_: &Path| Some(Space { total: 50 << 30, available: 5 << 30 });
        assert_eq!(disk(roomy, |_, _| 0), (10 << 10, "10GiB".to_owned()));
        assert_eq!(disk(small, |_, _| 0), (4 << 10, "80% of the 5.0 GiB that are free".to_owned()));
        assert_eq!(disk(small, |_, enough| enough.min(4 << 30)).0, 9 * 1024 / 5 * 4);
        assert_eq!(disk(small, |_, enough| enough), (10 << 10, "10GiB".to_owned()));
    }
}
