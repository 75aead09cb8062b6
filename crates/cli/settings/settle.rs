//! Looks at a draft as a whole: what is right by itself can still be wrong together, or on this machine.
//!
//! An open proxy is never an accident: a forward listener that others can reach is refused unless somebody wrote
//! down who may use it, and so is an admin API that others can reach without a token.

use std::net::{IpAddr, SocketAddr};

use larder_policy::{HostPattern, PolicySettings, TargetUri};
use larder_server::config::{
    Access, AccessLogSettings, Admin, Config, Intercept, Listener, ListenerKind, Upstream,
};
use larder_storage::Options;

use super::fault::{Place, Report};
use super::machine::Space;
use super::{Draft, Given, GivenList, InterceptDraft, Machine, Settings, StoreSettings, overrides};
use crate::units::{ByteSize, DiskSize, rough_size};

/// Where larder listens unless told otherwise.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 3128);

/// The disk limit unless told otherwise, where 80 % of the free space is not less.
const DEFAULT_DISK: ByteSize = ByteSize::from_mib(10 * 1024);

/// The memory tier's limit unless told otherwise.
const DEFAULT_MEMORY: ByteSize = ByteSize::from_mib(256);

/// Less disk than this holds too little to be meant.
const LEAST_DISK: ByteSize = ByteSize::from_mib(1);
/// Damaged bodies may take this part of the disk limit at the most, see `Options::quarantine_limit`.
const QUARANTINE_SHARE: u64 = 16;

/// The settings, if everything needed for them could be told; the report says whether they may be used.
pub(super) fn settle(draft: Draft, machine: &Machine, report: &mut Report) -> Option<Settings> {
    let store = store(&draft, machine, report);
    let listeners = listeners(&draft);
    check_listeners(&listeners, &draft, report);
    check_access(&listeners, &draft, report);
    check_admin(&listeners, &draft, report);
    check_ca_files(&draft, machine, report);
    check_intercept(&listeners, &draft, report);
    check_limits(&draft, report);
    let Some(store) = store else {
        overrides::settle(&draft.overrides, report);
        return None;
    };
    Some(assemble(draft, store, report))
}

/// The settings themselves. What is wrong with listeners, access and limits was told before, or does not matter.
pub(super) fn assemble(draft: Draft, store: StoreSettings, report: &mut Report) -> Settings {
    let listeners = listeners(&draft);
    let overrides = overrides::settle(&draft.overrides, report);
    let Draft {
        shared, name, private_destinations, http2, limits, policy, targeted_fields, intercept, ..
    } = draft;
    let access = Access::default();
    let base = Config::default();
    let log_format = shared.log_format.map(|given| given.value).unwrap_or_default();
    let access_log =
        shared.access_log.map(|given| AccessLogSettings { target: given.value, format: log_format });
    let token = shared.admin_token.map(|given| given.value);
    let config = Config {
        listeners: listeners.into_iter().map(|listener| listener.settled).collect(),
        workers: shared.workers.map_or(base.workers, |given| given.value),
        access: Access {
            allow_clients: values_of(shared.allow_clients).unwrap_or(access.allow_clients),
            allow_destinations: values_of(shared.allow_destinations).unwrap_or(access.allow_destinations),
            private_destinations: private_destinations.unwrap_or(access.private_destinations),
            connect_ports: values_of(shared.connect_ports).unwrap_or(access.connect_ports),
        },
        limits,
        upstream: Upstream {
            ca_files: values_of(shared.upstream_ca).unwrap_or_default(),
            parent: shared.parent.map(|given| given.value),
            http2: http2.unwrap_or(base.upstream.http2),
        },
        intercept: Intercept {
            authorities: None,
            only: values_of(intercept.only).unwrap_or_default(),
            bypass: values_of(intercept.bypass).unwrap_or_default(),
            required: values_of(intercept.required).unwrap_or_default(),
            addresses: intercept.addresses.unwrap_or_default(),
        },
        policy: PolicySettings { overrides, ..policy },
        targeted_fields,
        offline: shared.offline.is_some_and(|given| given.value),
        access_log,
        admin: shared.admin.map(|given| Admin { address: given.value, token }),
        control_socket: Some(store.control_socket()),
        name: name.unwrap_or(base.name),
    };
    let log_level = shared.log_level.map_or_else(|| "info".to_owned(), |given| given.value);
    let ca_dir = shared.ca_dir.map(|given| given.value);
    Settings { config, store, ca_dir, log_level }
}

fn values_of<T>(list: Option<GivenList<T>>) -> Option<Vec<T>> {
    list.map(|list| list.value.into_iter().map(|given| given.value).collect())
}

/// What the store is opened with; none without a directory.
pub(super) fn store(draft: &Draft, machine: &Machine, report: &mut Report) -> Option<StoreSettings> {
    let shared = &draft.shared;
    let dir = match &shared.cache_dir {
        Some(given) => Some(given.value.clone()),
        None => machine.cache_dir(),
    };
    let Some(dir) = dir else {
        report.error(
            Place::Default,
            "there is no home directory to put the cache below; say where with `--cache-dir DIR`",
        );
        return None;
    };
    // Messages name it, and so does the control socket, wherever they are read.
    let dir = std::path::absolute(&dir).unwrap_or(dir);
    let space = machine.space(&dir);
    let (disk, disk_words) = match &shared.disk {
        None => default_disk(&dir, machine),
        Some(Given { value: DiskSize::Bytes(size), place }) => {
            if *size < LEAST_DISK {
                report.error(*place, format!("{size} of disk holds no cache; write at least `{LEAST_DISK}`"));
            }
            if let Some(space) = space.filter(|space| space.total < size.bytes()) {
                let total = rough_size(space.total);
                report.warn(*place, format!("{size} is more than the whole file system of {} has ({total}); `80%` follows its size", dir.display()));
            }
            (size.bytes(), size.to_string())
        }
        Some(Given { value: DiskSize::Percent(percent), place }) => match space {
            Some(space) => (space.percent(*percent), format!("{percent}% of {}", rough_size(space.total))),
            None => {
                report.error(
                    *place,
                    format!(
                        "cannot tell the size of the file system of {}; write a size like `20GiB`",
                        dir.display()
                    ),
                );
                (DEFAULT_DISK.bytes(), DEFAULT_DISK.to_string())
            }
        },
    };
    let memory = shared.memory.as_ref().map_or(DEFAULT_MEMORY, |given| given.value);
    if let (Some(given), Some(there)) = (&shared.memory, machine.memory)
        && memory.bytes() > there
    {
        report.warn(
            given.place,
            format!("{memory} of memory is more than this machine has ({})", rough_size(there)),
        );
    }
    if let Some(largest) = draft.largest_object.as_ref().filter(|largest| largest.value.bytes() > disk) {
        report.warn(
            largest.place,
            format!(
                "{} is more than the disk limit ({disk_words}), which bounds objects anyway",
                largest.value
            ),
        );
    }
    if let Some(given) = draft.unfinished_max.as_ref().filter(|given| given.value.bytes() > disk) {
        let text = format!(
            "{} is more than the disk limit ({disk_words}), in which unfinished bodies count: they can take all of it, but no more",
            given.value
        );
        report.warn(given.place, text);
    }
    let most = disk / QUARANTINE_SHARE;
    if let Some(given) = draft.quarantine.as_ref().filter(|given| given.value.bytes() > most) {
        let text = format!(
            "{} is more than a sixteenth of the disk limit ({disk_words}), so {} of damaged bodies are kept and the rest is removed",
            given.value,
            rough_size(most)
        );
        report.warn(given.place, text);
    }
    let bytes = |given: &Option<Given<ByteSize>>| given.as_ref().map(|given| given.value.bytes());
    let mut options = Options::new(dir);
    options.disk_limit = disk;
    options.memory_limit = memory.bytes();
    options.memory_object_max = bytes(&draft.memory_object_max).unwrap_or(options.memory_object_max);
    options.memory_eviction = draft.memory_eviction.unwrap_or(options.memory_eviction);
    options.eviction = draft.eviction.unwrap_or(options.eviction);
    options.segment_max = bytes(&draft.segment_max).unwrap_or(options.segment_max);
    options.largest_object = bytes(&draft.largest_object);
    options.max_objects = draft.max_objects.as_ref().map(|given| given.value);
    options.keep_free = keep_free(draft.keep_free.as_ref(), space, report);
    options.temp_limit = bytes(&draft.unfinished_max);
    let variants = draft.variants_per_key.as_ref().and_then(|given| usize::try_from(given.value).ok());
    options.variants_per_key = variants.unwrap_or(options.variants_per_key);
    options.verify = draft.verify.as_ref().map_or(options.verify, |given| given.value);
    options.scrub_rate = bytes(&draft.scrub_rate).unwrap_or(options.scrub_rate);
    options.scrub_every = draft.scrub_every.as_ref().map_or(options.scrub_every, |given| given.value);
    options.quarantine_limit = bytes(&draft.quarantine).unwrap_or(options.quarantine_limit);
    Some(StoreSettings { options, disk_words })
}

/// What is left free for others, in bytes. None is the store's own default, which is a share, too.
fn keep_free(given: Option<&Given<DiskSize>>, space: Option<Space>, report: &mut Report) -> Option<u64> {
    let given = given?;
    match (given.value, space) {
        (DiskSize::Bytes(size), space) => {
            if let Some(space) = space.filter(|space| space.total < size.bytes()) {
                let total = rough_size(space.total);
                report.warn(given.place, format!("{size} is more than the whole file system has ({total}), so that nothing would be stored"));
            }
            Some(size.bytes())
        }
        (DiskSize::Percent(100), _) => {
            report.error(given.place, "100% left free leaves nothing for the cache; write less, like `5%`");
            None
        }
        (DiskSize::Percent(percent), Some(space)) => Some(space.percent(percent)),
        (DiskSize::Percent(_), None) => {
            report.error(given.place, "cannot tell the size of the file system; write a size like `1GiB`");
            None
        }
    }
}

/// 10 GiB, or 80 % of what is free if that is less. What the cache holds already counts as free, or the limit would
/// shrink at every start.
fn default_disk(dir: &std::path::Path, machine: &Machine) -> (u64, String) {
    let whole = (DEFAULT_DISK.bytes(), DEFAULT_DISK.to_string());
    let Some(space) = machine.space(dir) else { return whole };
    let wanted = DEFAULT_DISK.bytes() / 4 * 5;
    let Some(missing) = wanted.checked_sub(space.available).filter(|missing| *missing > 0) else {
        return whole;
    };
    let free = space.available.saturating_add(machine.held(dir, missing));
    if free >= wanted {
        return whole;
    }
    ((free / 5 * 4).max(LEAST_DISK.bytes()), format!("80% of the {} that are free", rough_size(free)))
}

/// A listener and the place of its address.
struct Placed {
    settled: Listener,
    place: Place,
}

/// Flags and variables make implicit listeners, which replace those of the file.
fn listeners(draft: &Draft) -> Vec<Placed> {
    let kind = |origin: Option<&TargetUri>| match origin {
        Some(origin) => ListenerKind::Reverse { origin: origin.clone() },
        None => ListenerKind::Forward,
    };
    let shared = &draft.shared;
    let reverse = shared.reverse.as_ref();
    let intercept = shared.intercept.as_ref().is_some_and(|given| given.value);
    match &shared.listen {
        Some(listen) if !listen.value.is_empty() => listen
            .value
            .iter()
            .map(|address| Placed {
                settled: Listener {
                    address: address.value,
                    kind: kind(reverse.map(|given| &given.value)),
                    intercept: intercept && reverse.is_none(),
                    tls: None,
                },
                place: address.place,
            })
            .collect(),
        None if reverse.is_none() && !draft.listeners.is_empty() => draft
            .listeners
            .iter()
            .map(|listener| Placed {
                settled: Listener {
                    address: listener.address.value,
                    kind: kind(listener.origin.as_ref()),
                    intercept: listener.intercept || intercept && listener.origin.is_none(),
                    tls: listener.tls.clone(),
                },
                place: listener.address.place,
            })
            .collect(),
        _ => vec![Placed {
            settled: Listener {
                address: DEFAULT_LISTEN,
                kind: kind(reverse.map(|given| &given.value)),
                intercept: intercept && reverse.is_none(),
                tls: None,
            },
            place: Place::Default,
        }],
    }
}

fn check_listeners(listeners: &[Placed], draft: &Draft, report: &mut Report) {
    for (index, listener) in listeners.iter().enumerate() {
        let address = listener.settled.address;
        let earlier = listeners.iter().take(index).find(|earlier| clash(earlier.settled.address, address));
        if let Some(earlier) = earlier {
            let at = match earlier.place {
                Place::File(_) => format!("{} ({})", earlier.settled.address, report.name_of(earlier.place)),
                _ => earlier.settled.address.to_string(),
            };
            let text = if earlier.settled.address == address {
                format!("{at} is listened on already; remove one of the two, or change its port")
            } else {
                format!(
                    "{address} is within {at}, which is listened on already; remove one of the two, or change its port"
                )
            };
            report.error(listener.place, text);
        }
        let nobody = draft.shared.allow_clients.as_ref().is_none_or(|allowed| allowed.value.is_empty());
        if listener.settled.kind == ListenerKind::Forward
            && !address.ip().to_canonical().is_loopback()
            && nobody
        {
            report.error(
                listener.place,
                format!(
                    "a forward proxy on {address} can be used by everyone who reaches it, and an open proxy is never an \
                     accident; say who may use it with `--allow-client 192.168.0.0/16` (in the file: `allow_clients` of \
                     `[access]`), or listen on 127.0.0.1:{}",
                    address.port()
                ),
            );
        }
    }
}

/// Whether both cannot be listened on at once. Port 0 is a different port each time.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip(), other.ip());
    let within = a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()));
    one.port() == other.port() && one.port() != 0 && within
}

fn check_access(listeners: &[Placed], draft: &Draft, report: &mut Report) {
    let open = |address: &IpAddr| !address.to_canonical().is_loopback();
    let reachable =
        listeners.iter().any(|l| l.settled.kind == ListenerKind::Forward && open(&l.settled.address.ip()));
    let everyone = draft
        .shared
        .allow_clients
        .iter()
        .flat_map(|list| &list.value)
        .filter(|net| net.value.prefix_len() == 0);
    for network in everyone.filter(|_| reachable) {
        report.warn(network.place, format!("{} lets everyone who reaches the proxy use it", network.value));
    }
    if let Some(list) = draft.shared.connect_ports.as_ref() {
        for port in list.value.iter().filter(|port| port.value == 25) {
            report.warn(port.place, "a tunnel to port 25 lets clients send mail in your name");
        }
    }
}

/// A host that is on two lists is opened or not by rules that not everyone has in mind.
fn check_intercept(listeners: &[Placed], draft: &Draft, report: &mut Report) {
    let InterceptDraft { only, bypass, required, .. } = &draft.intercept;
    let on = listeners.iter().any(|listener| listener.settled.intercept);
    let lists = [only, bypass, required];
    if let (false, Some(list)) = (on, lists.into_iter().flatten().find(|list| !list.value.is_empty())) {
        report.warn(
            list.place,
            "no listener opens tunnels, so that this does nothing; start with `--intercept`, or write `intercept = true` in a `[[listener]]`",
        );
    }
    for host in bypass.iter().flat_map(|list| &list.value) {
        let named = |list: &Option<GivenList<HostPattern>>| {
            list.iter().flat_map(|list| &list.value).any(|other| other.value == host.value)
        };
        if named(required) {
            report.error(
                host.place,
                "this host is in `required`, too: what is required is opened; remove one of the two",
            );
        } else if named(only) {
            report.warn(host.place, "this host is in `only`, too, and `bypass` wins: it is not opened");
        }
    }
}

fn check_admin(listeners: &[Placed], draft: &Draft, report: &mut Report) {
    let token = draft.shared.admin_token.as_ref();
    let Some(admin) = &draft.shared.admin else {
        if let Some(token) = token {
            report.warn(
                token.place,
                "a token without an admin address does nothing; write `--admin 127.0.0.1:3129` or remove it",
            );
        }
        return;
    };
    if let Some(listener) = listeners.iter().find(|listener| clash(listener.settled.address, admin.value)) {
        report.error(
            admin.place,
            format!(
                "{} is taken by the proxy itself ({}); give the admin API a port of its own",
                admin.value, listener.settled.address
            ),
        );
    }
    if !admin.value.ip().to_canonical().is_loopback() && token.is_none() {
        report.error(
            admin.place,
            format!(
                "the admin API on {} would be open to everyone who reaches it; set a token with LARDER_ADMIN_TOKEN (in the \
                 file: `token` of `[admin]`), or listen on 127.0.0.1:{}",
                admin.value,
                admin.value.port()
            ),
        );
    }
    if let Some(token) = token.filter(|token| token.value.len() < 16) {
        report.warn(token.place, "this token is short enough to guess; make one with `openssl rand -hex 32`");
    }
}

/// The files are read again when the server starts; here a wrong one is found before anything is started.
fn check_ca_files(draft: &Draft, machine: &Machine, report: &mut Report) {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    for file in draft.shared.upstream_ca.iter().flat_map(|list| &list.value) {
        let path = file.value.display();
        match machine.read(&file.value) {
            Ok(bytes) if bytes.windows(BEGIN.len()).any(|window| window == BEGIN) => {}
            Ok(_) => report.error(
                file.place,
                format!("{path} holds no certificate in PEM form (`-----BEGIN CERTIFICATE-----`)"),
            ),
            Err(error) => report.error(file.place, format!("cannot read {path}: {error}")),
        }
    }
}

fn check_limits(draft: &Draft, report: &mut Report) {
    let limits = &draft.limits;
    if let Some(place) =
        draft.connections_per_client.filter(|_| limits.connections_per_client > limits.connections)
    {
        let all = limits.connections;
        report.warn(place, format!("this is more than `connections` allows in all ({all}), so one client can take every connection"));
    }
}
