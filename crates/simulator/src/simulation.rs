//! The whole of it: a first reading that only looks, a second one through all caches, and what came of them.

use std::path::PathBuf;

use serde::Serialize;

use crate::bound::Belady;
use crate::counts::Counts;
use crate::curve::{Curve, CurveReplays, grid};
use crate::drive::{Observer, drive};
use crate::error::TraceError;
use crate::input::{Inputs, Reader};
use crate::numbers::{Numbered, Numbers};
use crate::policy::Policy;
use crate::replay::{Cache, Memory, Outcome, Window};
use crate::scan::{Class, Scan, Span};

/// Parts of a trace that are told apart when something is shown over time.
const PARTS: usize = 48;
/// What goes on for less time says nothing about a day.
const SECONDS_MIN: u64 = 3600;
/// Samples that are drawn for a curve.
const SAMPLES: u64 = 4;
/// The share of the objects in each, where nothing else is asked for: a tenth of the memory, with what a sample needs besides.
const SAMPLED: f64 = 0.065;
/// Requests, times the sizes and policies of the curves, up to which they are exact.
const EXACT_MAX: u64 = 100_000_000;
/// Bytes that the first reading takes for each object: its number and what is known of it.
const SCAN_OBJECT_BYTES: u64 = 66;
/// Bytes that the second reading takes for each object beside its caches.
const NUMBER_BYTES: u64 = 39;
/// Bytes that the stack for LRU's curve takes for each object, sampled or not.
const STACK_OBJECT_BYTES: u64 = 64;

/// A capacity as it is asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Size {
    /// So many bytes.
    Bytes(u64),
    /// A share of the footprint, 1 being all of it.
    Share(f64),
}

/// What is to be simulated.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Capacities.
    pub sizes: Vec<Size>,
    /// Policies, each at each capacity.
    pub policies: Vec<Policy>,
    /// A memory tier before each of the caches.
    pub memory: Option<Memory>,
    /// Share of the requests that only fill the caches: zero to one.
    pub warmup: f64,
    /// Threads that replay.
    pub jobs: usize,
    /// Whether and how curves over all sizes are wanted.
    pub curves: Curves,
}

/// How curves come about.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Curves {
    /// Not at all.
    None,
    /// Exact where that is not much work, from samples of a tenth of the objects otherwise.
    Automatic,
    /// From samples of such a share of the objects; 1 is exact.
    Sampled(f64),
}

/// Where a simulation is, for a progress bar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// It looks at the trace for the first time.
    Looking,
    /// What it needs is known: so many bytes of memory.
    Needs(u64),
    /// It replays.
    Replaying,
}

/// What came of a simulation.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The files and what they are.
    pub inputs: Vec<InputReport>,
    /// What no cache changes.
    pub trace: TraceReport,
    /// Each policy at each capacity, those of one capacity together.
    pub cells: Vec<Cell>,
    /// Hit ratios over all sizes, for each policy; empty when they were not wanted.
    pub curves: Vec<Curve>,
    /// What could not be told, in sentences.
    pub unknown: Vec<String>,
}

/// A file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct InputReport {
    /// Where it is.
    pub path: String,
    /// What it is.
    pub format: String,
    /// Lines or records that could not be read.
    pub unreadable: u64,
    /// The first of them, counted from one.
    pub first_unreadable: Option<u64>,
    /// What is wrong with it.
    pub fault: Option<String>,
}

/// What no cache changes.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TraceReport {
    /// Requests, the warm-up included.
    pub requests: u64,
    /// Of those, the first that only fill the caches.
    pub warmup_requests: u64,
    /// Bytes of all requested objects.
    pub bytes: u64,
    /// Distinct objects.
    pub objects: u64,
    /// Sum of their sizes in bytes.
    pub footprint_bytes: u64,
    /// The largest object in bytes.
    pub largest_bytes: u64,
    /// How often an object came with another size than before.
    pub changed: u64,
    /// Seconds from the first request to the last; `null` when the trace has no clock.
    pub seconds: Option<u64>,
    /// How often time ran backwards.
    pub backwards: u64,
    /// Hit ratio of an infinite cache after the warm-up: the ceiling.
    pub infinite_hit_ratio: f64,
    /// Byte hit ratio of an infinite cache.
    pub infinite_byte_hit_ratio: f64,
    /// Objects by how often they were asked for: once, twice, up to 4, 8, 16 times and so on.
    pub popularity: Vec<ClassReport>,
    /// Objects by size: up to 1, 2, 4 bytes and so on.
    pub sizes: Vec<ClassReport>,
    /// Requests for the first, second and later ones of the most popular objects.
    pub ranks: Vec<(u64, u32)>,
}

/// A class of objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct ClassReport {
    /// The largest value that belongs to it.
    pub up_to: u64,
    /// Objects.
    pub objects: u64,
    /// Requests for them.
    pub requests: u64,
    /// Bytes of these requests.
    pub bytes: u64,
}

/// What one cache made of the trace. Ratios and counts are of what came after the warm-up.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Cell {
    /// Its policy.
    pub policy: String,
    /// Bytes that it holds.
    pub capacity_bytes: u64,
    /// The same as a share of the footprint.
    pub capacity_share: f64,
    /// Requests that were hits.
    pub hit_ratio: f64,
    /// Bytes that were hits.
    pub byte_hit_ratio: f64,
    /// Requests that memory answered, when there is a memory tier.
    pub memory_hit_ratio: Option<f64>,
    /// Requests.
    pub requests: u64,
    /// Requests that went to an origin.
    pub origin_requests: u64,
    /// Bytes that came from there.
    pub origin_bytes: u64,
    /// Bytes that were written to keep them.
    pub written_bytes: u64,
    /// How often the whole capacity is written anew in a day; `null` when the trace has no clock, or goes for less than an hour.
    pub drive_writes_per_day: Option<f64>,
    /// Best hit ratio that any cache of this capacity could reach that knew the future.
    pub bound_hit_ratio: f64,
    /// Best byte hit ratio, perhaps of another cache.
    pub bound_byte_hit_ratio: f64,
    /// How the bound was found: `belady` is the optimum, `pfoo-l` is above it.
    pub bound: &'static str,
    /// Requests part by part, as many in each, the warm-up included.
    pub parts: Vec<PartReport>,
}

/// A part of the trace.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct PartReport {
    /// Requests that were hits.
    pub hit_ratio: f64,
    /// Bytes that were hits.
    pub byte_hit_ratio: f64,
    /// Bytes that came from an origin.
    pub origin_bytes: u64,
}

/// Simulates. `progress` is told the stage and the bytes of the inputs that were read in it, now and then.
///
/// # Errors
///
/// An input cannot be read on.
pub fn simulate(
    inputs: &Inputs,
    plan: &Plan,
    progress: &mut dyn FnMut(Stage, u64),
) -> Result<Report, TraceError> {
    let mut scan = Scan::default();
    let mut reader = inputs.reader();
    read(&mut reader, &mut [&mut scan], 1, &mut |bytes| progress(Stage::Looking, bytes))?;
    let inputs_report = input_reports(inputs, &reader);
    let window = window(plan, scan.infinite().requests);
    let capacities = capacities(&plan.sizes, scan.footprint());
    progress(Stage::Needs(needed(plan, scan.objects(), window.requests, capacities.len())), 0);

    let cells: Vec<_> = capacities
        .iter()
        .flat_map(|capacity| plan.policies.iter().map(|policy| (*capacity, *policy)))
        .collect();
    let mut caches: Vec<_> = cells
        .iter()
        .map(|(capacity, policy)| {
            Cache { policy: *policy, capacity: *capacity, memory: plan.memory }.replay(window)
        })
        .collect();
    let mut exact = exact_bounds(&mut scan, &capacities, window);
    let mut curves = CurveReplays::new(&scan, plan, &capacities, window);
    let mut observers: Vec<&mut dyn Observer> = Vec::new();
    for cache in &mut caches {
        observers.push(&mut **cache as &mut dyn Observer);
    }
    observers.extend(exact.iter_mut().map(|belady| belady as &mut dyn Observer));
    observers.extend(curves.observers());
    let mut after = (window.warmup > 0).then(|| Scan::after(window.warmup));
    observers.extend(after.iter_mut().map(|after| after as &mut dyn Observer));
    read(&mut inputs.reader(), &mut observers, plan.jobs, &mut |bytes| progress(Stage::Replaying, bytes))?;
    drop(observers);

    let span = scan.span();
    let counted = after.as_ref().unwrap_or(&scan);
    let cells = cells
        .iter()
        .zip(&caches)
        .map(|((capacity, policy), cache)| {
            let at = capacities.iter().position(|other| other == capacity).unwrap_or(0);
            let bound = bound(counted, window.requests, *capacity, exact.get(at));
            cell(*policy, *capacity, &scan, &cache.outcome(), bound, plan.memory.is_some())
        })
        .collect();
    let unknown = unknown(span, &scan);
    let curves = curves.report(counted.infinite());
    Ok(Report {
        inputs: inputs_report,
        trace: trace_report(&scan, counted.infinite(), window),
        cells,
        curves,
        unknown,
    })
}

/// Bytes of memory that a simulation takes at most, once it is known how many objects there are.
fn needed(plan: &Plan, objects: u64, requests: u64, sizes: usize) -> u64 {
    let policies: u64 = plan.policies.iter().map(|policy| policy.object_bytes()).sum();
    let memory = plan.memory.map_or(0, |memory| memory.policy.object_bytes() * plan.policies.len() as u64);
    let points = grid(1 << 40, &[]).len() + 3 * sizes;
    let curves = match sampling(plan, requests, points) {
        None => 0.0,
        Some((share, count)) => (STACK_OBJECT_BYTES + policies * points as u64) as f64 * share * count as f64,
    };
    objects * (SCAN_OBJECT_BYTES + NUMBER_BYTES + (policies + memory) * sizes as u64 + curves as u64)
}

/// The share of the objects in each sample for the curves, their number, and the sizes; `None` when there are none.
pub(crate) fn sampling(plan: &Plan, requests: u64, sizes: usize) -> Option<(f64, u64)> {
    let work = requests.saturating_mul((sizes * plan.policies.len()) as u64);
    match plan.curves {
        Curves::None => None,
        Curves::Automatic if work <= EXACT_MAX => Some((1.0, 1)),
        Curves::Automatic => Some((SAMPLED, SAMPLES)),
        Curves::Sampled(share) if share >= 1.0 => Some((1.0, 1)),
        Curves::Sampled(share) => Some((share, SAMPLES)),
    }
}

fn read<O: Observer>(
    reader: &mut Reader<'_>,
    observers: &mut [O],
    jobs: usize,
    progress: &mut dyn FnMut(u64),
) -> Result<(), TraceError> {
    let mut numbers = Numbers::default();
    let next = |batch: &mut Vec<Numbered>| {
        let more = reader.read_batch(&mut numbers, batch)?;
        progress(reader.read_bytes());
        Ok(more)
    };
    drive(next, observers, jobs)
}

fn window(plan: &Plan, requests: u64) -> Window {
    let warmup = (plan.warmup.clamp(0.0, 1.0) * requests as f64) as u64;
    Window { warmup, requests, parts: PARTS }
}

/// In bytes, in order, each once.
fn capacities(sizes: &[Size], footprint: u64) -> Vec<u64> {
    let mut capacities: Vec<u64> = sizes
        .iter()
        .map(|size| match size {
            Size::Bytes(bytes) => *bytes,
            Size::Share(share) => (share * footprint as f64) as u64,
        })
        .collect();
    capacities.sort_unstable();
    capacities.dedup();
    capacities
}

fn exact_bounds(scan: &mut Scan, capacities: &[u64], window: Window) -> Vec<Belady> {
    let (Some(equal), Some(next)) = (scan.equal_size(), scan.take_next()) else { return Vec::new() };
    let objects = |capacity: u64| usize::try_from(capacity / equal.max(1)).unwrap_or(usize::MAX);
    capacities.iter().map(|capacity| Belady::new(next.clone(), objects(*capacity), window)).collect()
}

fn bound(scan: &Scan, requests: u64, capacity: u64, exact: Option<&Belady>) -> (&'static str, f64, f64) {
    if let Some(belady) = exact {
        let counts = belady.counts();
        return ("belady", counts.hit_ratio(), counts.byte_hit_ratio());
    }
    let all = scan.infinite();
    let (hits, hit_bytes) = scan.intervals().bound(capacity, requests);
    let share = |part: f64, all: u64| if all == 0 { 0.0 } else { part / all as f64 };
    ("pfoo-l", share(hits, all.requests), share(hit_bytes, all.bytes))
}

fn cell(
    policy: Policy,
    capacity: u64,
    scan: &Scan,
    outcome: &Outcome,
    (bound, bound_hit_ratio, bound_byte_hit_ratio): (&'static str, f64, f64),
    tiers: bool,
) -> Cell {
    let counts = outcome.counts;
    let days = match scan.span() {
        Span::Seconds(seconds) => {
            let counted = counts.requests as f64 / scan.infinite().requests.max(1) as f64;
            Some(seconds as f64 * counted / 86_400.0).filter(|_| seconds >= SECONDS_MIN)
        }
        Span::NoClock => None,
    };
    Cell {
        policy: policy.name().to_owned(),
        capacity_bytes: capacity,
        capacity_share: capacity as f64 / scan.footprint().max(1) as f64,
        hit_ratio: counts.hit_ratio(),
        byte_hit_ratio: counts.byte_hit_ratio(),
        memory_hit_ratio: tiers.then(|| outcome.memory_hits as f64 / counts.requests.max(1) as f64),
        requests: counts.requests,
        origin_requests: counts.misses(),
        origin_bytes: counts.miss_bytes(),
        written_bytes: outcome.written,
        drive_writes_per_day: days.map(|days| outcome.written as f64 / capacity.max(1) as f64 / days),
        bound_hit_ratio,
        bound_byte_hit_ratio,
        bound,
        parts: outcome.parts.iter().map(part).collect(),
    }
}

fn part(counts: &Counts) -> PartReport {
    PartReport {
        hit_ratio: counts.hit_ratio(),
        byte_hit_ratio: counts.byte_hit_ratio(),
        origin_bytes: counts.miss_bytes(),
    }
}

fn input_reports(inputs: &Inputs, reader: &Reader<'_>) -> Vec<InputReport> {
    inputs
        .files()
        .map(|(path, content)| {
            let path: PathBuf = path.to_owned();
            let found = reader.unreadable().iter().find(|file| file.path == path);
            let first = found.and_then(|file| file.unreadable.first.clone());
            InputReport {
                path: path.display().to_string(),
                format: content.name().to_owned(),
                unreadable: found.map_or(0, |file| file.unreadable.count),
                first_unreadable: first.as_ref().map(|(number, _)| *number),
                fault: first.map(|(_, what)| what),
            }
        })
        .collect()
}

fn trace_report(scan: &Scan, counted: Counts, window: Window) -> TraceReport {
    let all = scan.infinite();
    let classes = |classes: Vec<Class>| {
        let report = |(at, class): (usize, Class)| ClassReport {
            up_to: 1 << at.min(63),
            objects: class.objects,
            requests: class.requests,
            bytes: class.bytes,
        };
        classes.into_iter().enumerate().map(report).collect::<Vec<_>>()
    };
    TraceReport {
        requests: all.requests,
        warmup_requests: window.warmup,
        bytes: all.bytes,
        objects: scan.objects(),
        footprint_bytes: scan.footprint(),
        largest_bytes: scan.largest(),
        changed: scan.changed(),
        seconds: match scan.span() {
            Span::Seconds(seconds) => Some(seconds),
            Span::NoClock => None,
        },
        backwards: scan.backwards(),
        infinite_hit_ratio: counted.hit_ratio(),
        infinite_byte_hit_ratio: counted.byte_hit_ratio(),
        popularity: classes(scan.popularity()),
        sizes: classes(scan.sizes()),
        ranks: scan.ranks(),
    }
}

/// What the trace cannot tell.
fn unknown(span: Span, scan: &Scan) -> Vec<String> {
    let mut sentences = vec![
        "Whether a response may be stored, how long it stays fresh and which variants there are: every object is \
         taken as cacheable and fresh, so that a real cache has fewer hits."
            .to_owned(),
        "What a store needs beside the objects: heads, blocks of the file system, its index and what compaction \
         writes are not counted."
            .to_owned(),
    ];
    if matches!(span, Span::Seconds(seconds) if seconds < SECONDS_MIN) {
        sentences.push("What a day is like: it goes over less than an hour.".to_owned());
    }
    if span == Span::NoClock {
        sentences.push(
            "How long all this took: the trace has no clock, so that nothing is said per day.".to_owned(),
        );
    } else if scan.backwards() > 0 {
        sentences.push(format!(
            "The true order: time runs backwards {} times; requests are taken as they stand.",
            scan.backwards()
        ));
    }
    if scan.equal_size() == Some(1) {
        sentences.push("Sizes: all are 1, so that bytes are the same as requests.".to_owned());
    }
    sentences
}
