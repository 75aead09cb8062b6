//! `larder serve`: opens the store, starts the proxy, waits for signals, ends gracefully.
//!
//! The main thread does nothing but wait; the server has threads of its own. Nothing is printed to standard output,
//! which may be the access log.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use larder_server::tls::CaDirectory;
use larder_server::{Clock, Config, Server, StartError};
use larder_storage::Store;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::ServeArgs;
use crate::check::{limit, role};
use crate::door::cannot_open;
use crate::failure::Failure;
use crate::settings::{self, Machine, Place, Report, Settings, Sources, Variables};
use crate::units::ByteSize;
use crate::{ca, logging, notify, output};

/// Runs the command until a signal ends it.
pub(crate) fn run(args: ServeArgs) -> Result<(), Failure> {
    let (flags, file) = args.split();
    let sources = Sources { file, variables: Variables::of_process(), flags };
    let machine = Machine::this();
    let (mut settings, warnings) = settings::for_serve(sources, &machine).map_err(Failure::Configuration)?;
    output::note(&warnings.to_string());
    if settings.config.listeners.iter().any(|listener| listener.intercept) {
        let dir = settings.ca_dir.clone().unwrap_or_else(|| machine.ca_dir());
        let authorities = CaDirectory::new(dir).load(Clock::system().now()).map_err(ca::failed)?;
        settings.config.intercept.authorities = Some(authorities);
    }
    serve(&settings, Until::Signal, || {
        notify::ready();
        Ok(())
    })
}

/// How long a proxy serves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// Until a signal ends it.
    Signal,
    /// Likewise, or until nobody has leased a listener for this long.
    Unused(Duration),
}

/// Serves. `ready` is called once connections are accepted.
pub(crate) fn serve(
    settings: &Settings,
    until: Until,
    ready: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    logging::start(&settings.log_level)?;
    let open_files = raise_open_files();
    warn_of_few_files(open_files, &settings.config);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let store = {
        let _inside = runtime.enter();
        Store::open(settings.store.options.clone()).map_err(cannot_open)?
    };
    let mut signals = {
        let _inside = runtime.enter();
        Signals::install()?
    };
    let started = Server::start(settings.config.clone(), store.clone(), Clock::system());
    let server = Arc::new(match started {
        Ok(server) => server,
        Err(error) => {
            runtime.block_on(store.close());
            return Err(cannot_start(error));
        }
    });
    output::note(&announcement(settings, &server));
    ready()?;
    wait(&runtime, &mut signals, &server, until);
    end(&runtime, &mut signals, server, store)
}

/// What is told on standard error once connections are accepted.
fn announcement(settings: &Settings, server: &Server) -> String {
    let options = &settings.store.options;
    let mut text = format!(
        "larder {}\ncache {}: disk {}, memory {}\n",
        env!("CARGO_PKG_VERSION"),
        options.dir.display(),
        limit(options.disk_limit, &settings.store.disk_words),
        ByteSize::from_bytes(options.memory_limit)
    );
    if let Some(address) = server.admin_address() {
        text.push_str(&format!("admin API on {address}\n"));
    }
    for (address, listener) in server.addresses().iter().zip(&settings.config.listeners) {
        text.push_str(&format!("listening on {address} ({})\n", role(listener)));
    }
    text
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reopen: Signal,
    hang_up: Signal,
}

impl Signals {
    fn install() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            reopen: on(SignalKind::user_defined1())?,
            hang_up: on(SignalKind::hangup())?,
        })
    }

    /// The next one that asks to end.
    async fn end(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Waits until it is time to end.
fn wait(runtime: &Runtime, signals: &mut Signals, server: &Server, until: Until) {
    let unused = async {
        match until {
            Until::Signal => std::future::pending().await,
            Until::Unused(linger) => server.unused_for(linger).await,
        }
    };
    runtime.block_on(async {
        let mut unused = std::pin::pin!(unused);
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return tracing::info!("SIGTERM: ending; a second one ends at once"),
                _ = signals.interrupt.recv() => return tracing::info!("SIGINT: ending; a second one ends at once"),
                () = unused.as_mut() => return tracing::info!("no run for a while: ending"),
                _ = signals.reopen.recv() => {
                    server.reopen_logs();
                    tracing::info!("SIGUSR1: logs reopened");
                }
                _ = signals.hang_up.recv() => {
                    tracing::warn!("SIGHUP: nothing changed; the configuration is read at start only, so restart larder");
                }
            }
        }
    });
}

/// Lets requests and tunnels end, then closes the store; a second signal cuts that short.
fn end(runtime: &Runtime, signals: &mut Signals, server: Arc<Server>, store: Store) -> Result<(), Failure> {
    notify::stopping();
    let ended = runtime.block_on(async {
        let graceful = async {
            let drained = tokio::task::spawn_blocking(move || server.drain()).await;
            store.close().await;
            drained
        };
        tokio::select! {
            drained = graceful => Ok(drained),
            signal = signals.end() => Err(signal),
        }
    });
    match ended {
        Ok(Ok(())) => {
            tracing::info!("ended");
            Ok(())
        }
        Ok(Err(panic)) => Err(Failure::Failed(anyhow::Error::new(panic).context("cannot end gracefully"))),
        Err(signal) => {
            tracing::warn!("{signal} again: ended at once");
            // The thread that drains cannot be stopped, and the runtime would wait for it.
            std::process::exit(1);
        }
    }
}

/// Why the proxy cannot start, in the user's terms.
fn cannot_start(error: StartError) -> Failure {
    let advice = match &error {
        StartError::Listen { address, source } => match source.kind() {
            io::ErrorKind::AddrInUse => Some(format!(
                "another process listens on port {0} already; stop it, or choose another port with `--listen`; \
                 `ss -ltnp sport = :{0}` shows which it is",
                address.port()
            )),
            io::ErrorKind::PermissionDenied => Some(format!(
                "ports below 1024 are for root alone; choose a higher one than {}, or grant CAP_NET_BIND_SERVICE",
                address.port()
            )),
            io::ErrorKind::AddrNotAvailable => Some(format!("this machine has no address {}", address.ip())),
            _ => None,
        },
        StartError::UpstreamCa { .. } | StartError::OpenProxy { .. } => {
            let mut report = Report::default();
            report.error(Place::Default, error.to_string());
            return Failure::Configuration(report);
        }
        StartError::Control { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            Some("another process uses it already; choose another with `--admin`".to_owned())
        }
        _ => None,
    };
    let error = anyhow::Error::new(error);
    Failure::Failed(match advice {
        Some(advice) => anyhow!("{error:#}\n{advice}"),
        None => error,
    })
}

/// Every connection is a file: takes as many as the system lets this process have. The number, where it is bounded.
fn raise_open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::debug!("cannot raise the limit of open files: {error}");
            current
        }
    }
}

/// A client's connection may need one to an origin, and the store needs files too.
fn warn_of_few_files(open_files: Option<u64>, config: &Config) {
    let connections = u64::try_from(config.limits.connections).unwrap_or(u64::MAX);
    if let Some(files) = open_files.filter(|files| connections.saturating_mul(2).saturating_add(256) > *files)
    {
        tracing::warn!(
            "{connections} connections may need more open files than the {files} allowed; raise `ulimit -n`"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(kind: io::ErrorKind) -> String {
        let address = ([127, 0, 0, 1], 3128).into();
        match cannot_start(StartError::Listen { address, source: kind.into() }) {
            Failure::Failed(error) => format!("{error:#}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_busy_port_is_named_with_the_remedy() {
        let text = listen(io::ErrorKind::AddrInUse);
        assert!(text.starts_with("cannot listen on 127.0.0.1:3128: "), "{text}");
        assert!(
            text.contains("port 3128")
                && text.contains("`--listen`")
                && text.contains("ss -ltnp sport = :3128"),
            "{text}"
        );
    }

    #[test]
    fn a_privileged_port_and_a_strange_address_are_explained() {
        assert!(listen(io::ErrorKind::PermissionDenied).contains("CAP_NET_BIND_SERVICE"));
        assert!(listen(io::ErrorKind::AddrNotAvailable).contains("this machine has no address 127.0.0.1"));
    }

    #[test]
    fn a_bad_certificate_file_is_wrong_configuration() {
        let error =
            StartError::UpstreamCa { path: "/x.pem".into(), reason: "it holds no certificate".to_owned() };
        assert!(matches!(cannot_start(error), Failure::Configuration(_)));
    }

    #[test]
    fn the_limit_of_open_files_is_raised_to_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        assert_eq!(raise_open_files(), hard);
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
    }
}
