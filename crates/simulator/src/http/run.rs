//! Logs through several caches at once: one reading for all of them, on as many threads as there may be.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use super::{Report, Simulation};
use crate::error::TraceError;
use crate::log::{self, Entry, Format, Log, LogFile, ObjectRequests, Skipped};

/// Entries of a batch.
const BATCH: usize = 1024;

/// Batches that wait for a slow thread.
const QUEUED: usize = 4;

/// What logs are, before any of it is simulated.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The format of each.
    pub formats: Vec<(PathBuf, Format)>,
    /// Lines that could be read.
    pub entries: u64,
    /// Sum of the sizes of all objects that were asked for.
    pub footprint: u64,
    /// How many there are.
    pub objects: u64,
    /// What could not be read, file by file.
    pub skipped: Vec<(PathBuf, Skipped)>,
    /// Bytes of all files, as they lie on disk.
    pub bytes: u64,
}

/// Looks through logs that are to be read as one. `progress` is told how many bytes were read.
///
/// # Errors
///
/// A file cannot be read, or is no log.
pub fn survey(paths: &[PathBuf], progress: &mut dyn FnMut(u64)) -> Result<Survey, TraceError> {
    let mut survey = Survey::default();
    let mut sizes = std::collections::HashMap::new();
    for path in paths {
        let mut requests = ObjectRequests::new(open(path)?);
        let mut batch = Vec::new();
        let mut more = true;
        while more {
            more = requests.read_batch(&mut batch)?;
            survey.entries += batch.len() as u64;
            for request in batch.drain(..) {
                let size = sizes.entry(request.object).or_insert(0);
                *size = request.size.max(*size);
            }
            progress(survey.bytes + requests.log().read_bytes());
        }
        survey.entries += requests.left_out();
        survey.bytes += requests.log().read_bytes();
        survey.formats.push((path.clone(), requests.log().format()));
        if requests.log().skipped().count > 0 {
            survey.skipped.push((path.clone(), requests.log().skipped().clone()));
        }
    }
    survey.footprint = sizes.values().fold(0, |sum: u64, size| sum.saturating_add(*size));
    survey.objects = sizes.len() as u64;
    Ok(survey)
}

/// Reads logs as one, and has each cache answer all of their requests. The first `warmup` requests fill the caches and do not
/// count. `progress` is told how many bytes were read.
///
/// # Errors
///
/// A file cannot be read, or is no log.
pub fn run(
    paths: &[PathBuf],
    simulations: Vec<Simulation>,
    warmup: u64,
    jobs: usize,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<Report>, TraceError> {
    let jobs = jobs.clamp(1, simulations.len().max(1));
    let mut hands: Vec<Vec<(usize, Simulation)>> = (0..jobs).map(|_| Vec::new()).collect();
    for (at, simulation) in simulations.into_iter().enumerate() {
        if let Some(hand) = hands.get_mut(at % jobs) {
            hand.push((at, simulation));
        }
    }
    thread::scope(|scope| {
        let (senders, threads): (Vec<_>, Vec<_>) = hands
            .into_iter()
            .map(|mut hand| {
                let (sender, batches) = sync_channel::<Arc<Vec<Entry>>>(QUEUED);
                let thread = scope.spawn(move || {
                    let mut number = 0;
                    for batch in batches {
                        for entry in batch.iter() {
                            if number == warmup && warmup > 0 {
                                hand.iter_mut().for_each(|(_, simulation)| simulation.forget_counts());
                            }
                            for (_, simulation) in &mut hand {
                                simulation.request(entry);
                            }
                            number += 1;
                        }
                    }
                    hand
                });
                (sender, thread)
            })
            .unzip();
        let read = read_all(paths, &senders, progress);
        drop(senders);
        let mut done: Vec<(usize, Simulation)> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        read?;
        done.sort_by_key(|(at, _)| *at);
        Ok(done.into_iter().map(|(_, simulation)| simulation.report().clone()).collect())
    })
}

fn read_all(
    paths: &[PathBuf],
    senders: &[SyncSender<Arc<Vec<Entry>>>],
    progress: &mut dyn FnMut(u64),
) -> Result<(), TraceError> {
    let mut before = 0;
    for path in paths {
        let mut log = open(path)?;
        loop {
            let batch = log.by_ref().take(BATCH).collect::<Result<Vec<_>, _>>()?;
            if batch.is_empty() {
                break;
            }
            let batch = Arc::new(batch);
            for sender in senders {
                // A thread that has panicked takes no more; its panic is passed on at the end.
                let _ = sender.send(Arc::clone(&batch));
            }
            progress(before + log.read_bytes());
        }
        before += log.read_bytes();
    }
    Ok(())
}

fn open(path: &Path) -> Result<Log<LogFile>, TraceError> {
    log::open(path)?.ok_or_else(|| TraceError::Unknown { path: path.to_owned() })
}
