//! `larder replay`: a log as real HTTP against a running proxy, beside the simulation of it.
//!
//! ```text
//!  log ──> pace ──> N clients ──> proxy under test ──> stub, the origin of everything
//!            └────> simulation
//! ```
//!
//! Whether a request was a hit is told by what the stub heard of it, not by what the proxy says. Lines come one after
//! another and are forgotten soon after: the log may be of any length.

mod args;
mod body;
mod client;
mod histogram;
mod plan;
mod report;
mod stub;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use larder_policy::{PolicySettings, Timestamp};
use larder_simulator::http::{MemoryTier, Simulation, Tiers, Verdict};
use larder_simulator::log::{self, Log, LogFile};
use larder_storage::Options;
use larder_storage::eviction::Aim;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::args::StoreArgs;
use crate::door;
use crate::failure::Failure;
use crate::output;
pub(crate) use args::{AssumedArgs, CacheArgs, EXAMPLES, ReplayArgs, Speed};
use client::{Connection, Form};
use plan::{Planned, Planner};
use report::Tally;
use stub::Stub;

/// After so many failed requests, none having been answered, there is no sense in going on.
const FAILURES_AT_FIRST: u64 = 20;

/// A line on its way.
struct Job {
    number: u64,
    planned: Arc<Planned>,
    simulated: Verdict,
}

/// Runs the command.
pub(crate) fn run(args: ReplayArgs) -> Result<(), Failure> {
    let log = open(&args.log)?;
    let format = log.format();
    let assumptions = args.assumed.assumptions();
    let (policy, tiers) = simulated_cache(args.cache)?;
    let simulation = Simulation::new(policy.clone(), assumptions.clone(), tiers);
    let speed = match args.speed {
        Speed::Times(times) => times,
        Speed::Max => 1.0,
    };
    let (listener, stub) = (stub::bind(args.origin)?, Arc::new(Stub::new(speed)));
    // One thread for the origin, one for the clients: neither waits for the other's work.
    let (origin, answering) = (Builder::new_current_thread().enable_all().build(), Arc::clone(&stub));
    let origin = origin.context("cannot start the stub")?;
    std::thread::spawn(move || {
        origin.block_on(async move {
            if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                stub::serve(answering, listener).await;
            }
        });
    });
    output::note(&format!("replaying {format}; the stub listens on {}\n", args.origin));
    let form = match (args.reverse, args.parent) {
        (true, _) => Form::Reverse,
        (_, true) => Form::Parent,
        _ => Form::Origin(args.origin),
    };
    let replay = Replay {
        log,
        planner: Planner::new(assumptions, policy),
        simulation,
        stub: Arc::clone(&stub),
        pace: Pace { speed: args.speed, began: None, late: Duration::ZERO },
        tally: Arc::default(),
        limit: args.limit.unwrap_or(u64::MAX),
    };
    let clients = Builder::new_current_thread().enable_all().build().context("cannot start the clients")?;
    let replayed = clients.block_on(replay.run(args.proxy, form, usize::from(args.concurrency)))?;
    let told = report::Told::new(replayed, &stub, format);
    output::print(&if args.json { told.json() } else { told.table() })
}

/// Opens a log, and says what to do about what is none.
fn open(path: &Path) -> Result<Log<LogFile>, Failure> {
    match log::open(path).map_err(anyhow::Error::from)? {
        Some(log) => Ok(log),
        None => Err(anyhow::anyhow!(
            "{} is no access log; Squid's native, Common, Combined (with nginx's cache status or without) and larder's \
             JSON format are read, plain, .gz or .zst",
            path.display()
        )
        .into()),
    }
}

/// The policy and the tiers of a configuration, or those of a larder without one.
pub(crate) fn simulated_cache(args: CacheArgs) -> Result<(PolicySettings, Tiers), Failure> {
    let (policy, mut options) = match args.config {
        Some(config) => {
            let settings = door::settings(StoreArgs { cache_dir: None, config: Some(config) })?;
            (settings.config.policy, settings.store.options)
        }
        None => (PolicySettings::default(), Options::new(Path::new("."))),
    };
    if let Some(disk) = args.disk {
        options.disk_limit = disk.bytes();
    }
    if let Some(memory) = args.memory {
        options.memory_limit = memory.bytes();
    }
    Ok((policy, tiers(&options)))
}

/// The tiers of a store with these options.
fn tiers(options: &Options) -> Tiers {
    let memory =
        NonZeroUsize::new(usize::try_from(options.memory_limit).unwrap_or(usize::MAX)).map(|_| MemoryTier {
            eviction: options.memory_eviction.simulated(Aim::Requests, options.memory_limit),
            object_max: options.memory_object_max,
        });
    Tiers::new(options.eviction.simulated(Aim::Bytes, options.disk_limit), memory)
}

/// When lines are due.
struct Pace {
    speed: Speed,
    /// The log's time and the clock's, at the first line.
    began: Option<(Timestamp, Instant)>,
    /// The most by which a line was late.
    late: Duration,
}

impl Pace {
    /// Waits until a line of this time is due.
    async fn wait(&mut self, at: Timestamp) {
        let Speed::Times(speed) = self.speed else { return };
        let now = Instant::now();
        let (first, start) = *self.began.get_or_insert((at, now));
        let due =
            start + at.saturating_since(first).div_f64(speed).min(Duration::from_secs(u64::from(u32::MAX)));
        sleep_until(due).await;
        self.late = self.late.max(now.saturating_duration_since(due));
    }
}

/// A log on its way to the proxy.
struct Replay {
    log: Log<LogFile>,
    planner: Planner,
    simulation: Simulation,
    stub: Arc<Stub>,
    pace: Pace,
    tally: Arc<Mutex<Tally>>,
    limit: u64,
}

/// What came of it.
pub(super) struct Replayed {
    tally: Tally,
    simulation: Simulation,
    skipped: log::Skipped,
    left_out: u64,
    late: Duration,
    took: Duration,
}

impl Replay {
    async fn run(
        mut self,
        proxy: std::net::SocketAddr,
        form: Form,
        concurrency: usize,
    ) -> Result<Replayed, Failure> {
        let (jobs, waiting) = mpsc::channel::<Job>(1);
        let waiting = Arc::new(tokio::sync::Mutex::new(waiting));
        let mut clients = Vec::new();
        for _ in 0..concurrency {
            let (waiting, stub, tally) =
                (Arc::clone(&waiting), Arc::clone(&self.stub), Arc::clone(&self.tally));
            clients.push(tokio::spawn(async move {
                let mut connection = Connection::new(proxy, form);
                loop {
                    let job = waiting.lock().await.recv().await;
                    let Some(job) = job else { return };
                    let seen = connection.ask(job.number, &job.planned).await;
                    stub.end(job.number);
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    tally.add(&job.planned, job.simulated, seen);
                }
            }));
        }
        let began = Instant::now();
        let mut left_out = 0;
        let (mut number, mut latest) = (0, None);
        while number < self.limit {
            let Some(entry) = self.log.next() else { break };
            let entry = entry.map_err(anyhow::Error::from)?;
            let simulated = self.simulation.request(&entry);
            // What is out of order by little is asked for at once.
            let at = latest.map_or(entry.time, |latest: Timestamp| latest.max(entry.time));
            latest = Some(at);
            let Some(planned) = self.planner.plan(&entry, at) else {
                left_out += 1;
                continue;
            };
            self.pace.wait(at).await;
            let planned = Arc::new(planned);
            self.stub.begin(number, &planned);
            if jobs.send(Job { number, planned, simulated }).await.is_err() {
                break;
            }
            number += 1;
            self.give_up_where_nothing_is_answered()?;
        }
        drop(jobs);
        for client in clients {
            // A client that panicked has lost one request; it is missing in the sum.
            let _ = client.await;
        }
        self.give_up_where_nothing_is_answered()?;
        let tally = std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Replayed {
            tally,
            simulation: self.simulation,
            skipped: self.log.skipped().clone(),
            left_out,
            late: self.pace.late,
            took: began.elapsed(),
        })
    }

    fn give_up_where_nothing_is_answered(&self) -> Result<(), Failure> {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        match &tally.first_failure {
            Some(failure) if tally.requests() == 0 && tally.failures >= FAILURES_AT_FIRST => {
                Err(anyhow::anyhow!(
                    "the proxy answers nothing: {failure}; does it run, and may it ask the stub \
                 (`--allow-destination` of larder, an access list of others)?"
                )
                .into())
            }
            _ => Ok(()),
        }
    }
}
