//! A proxy in this process, with a cache directory of its own and a clock moved by hand.

use std::sync::Arc;
use std::time::Duration;

use larder_policy::Timestamp;
use larder_server::config::{Destination, Listener, ListenerKind};
use larder_server::{Clock, Config, Server};
use larder_storage::{Options, Store};
use tempfile::TempDir;

use super::client::Client;

/// The present when a test's clock starts: 2026-01-01 00:00:00 UTC.
pub const START: i64 = 1_767_225_600;

/// A running proxy.
pub struct Proxy {
    server: Option<Server>,
    store: Store,
    pub clock: Clock,
    directory: Arc<TempDir>,
    settings: Settings,
}

type Settings = Arc<dyn Fn(&mut Config, &mut Options) + Send + Sync>;

impl Proxy {
    /// One with the default settings, which may reach loopback.
    pub fn start() -> Self {
        Self::with(|_, _| {})
    }

    /// One with settings changed.
    pub fn with(settings: impl Fn(&mut Config, &mut Options) + Send + Sync + 'static) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        Self::launch(directory, Arc::new(settings), Clock::manual(Timestamp::from_secs(START)))
    }

    /// A reverse proxy before this origin.
    pub fn before(origin: &str) -> Self {
        let origin = larder_policy::TargetUri::parse(origin.as_bytes()).unwrap();
        Self::with(move |config, _| {
            for listener in &mut config.listeners {
                listener.kind = ListenerKind::Reverse { origin: origin.clone() };
            }
        })
    }

    fn launch(directory: Arc<TempDir>, settings: Settings, clock: Clock) -> Self {
        let mut options = Options::new(directory.path().join("cache"));
        let mut config = Config {
            listeners: vec![Listener { address: "127.0.0.1:0".parse().unwrap(), ..Listener::default() }],
            workers: 2,
            ..Config::default()
        };
        config.control_socket = Some(larder_server::control::socket_path(&options.dir));
        config.access.allow_destinations = vec![Destination::Network("127.0.0.0/8".parse().unwrap())];
        settings(&mut config, &mut options);
        let store = Store::open(options).unwrap();
        let server = Server::start(config, store.clone(), clock.clone()).unwrap();
        Self { server: Some(server), store, clock, directory, settings }
    }

    /// The first listener's address.
    pub fn address(&self) -> std::net::SocketAddr {
        self.server().addresses()[0]
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn cache_dir(&self) -> std::path::PathBuf {
        self.directory.path().join("cache")
    }

    /// A connection to it.
    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// GET over a connection of its own.
    pub fn get(&self, url: &str) -> super::message::Response {
        self.connect().get(url, &[])
    }

    /// GET with these field lines.
    pub fn get_with(&self, url: &str, fields: &[&str]) -> super::message::Response {
        self.connect().get(url, fields)
    }

    /// What it counts.
    pub fn figures(&self) -> larder_server::Figures {
        larder_server::control::Client::connect(&self.cache_dir()).unwrap().unwrap().stats().unwrap()
    }

    /// Moves the clock.
    pub fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Stops it well and starts it again on the same cache directory.
    pub fn restart(mut self) -> Self {
        self.server.take().unwrap().drain();
        close(self.store);
        Self::launch(self.directory, self.settings, self.clock)
    }
}

fn close(store: Store) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(store.close());
}
