//! The http mode: the lines of a log under HTTP's rules, through each policy at each capacity.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

use larder_policy::PolicySettings;
use larder_simulator::http::{
    BYTES_PER_RESPONSE, MemoryTier, Report, Simulation, Survey, Tiers, run, survey,
};
use larder_simulator::policy::Visitor;
use larder_simulator::{Policy, Size, Stage};
use larder_storage::eviction::Eviction;
use serde::Serialize;

use super::MEMORY_OBJECT_MAX;
use super::args::{Format, SimulateArgs};
use super::progress::Progress;
use crate::args::StoreArgs;
use crate::door;
use crate::failure::Failure;
use crate::terminal::{ascii_json, escaped};
use crate::units::rough_size;

/// The result, for programs; the table and CSV are drawn from it.
#[derive(Serialize)]
struct Told {
    inputs: Vec<Input>,
    lines: u64,
    warmup_lines: u64,
    objects: u64,
    footprint_bytes: u64,
    assumed: Vec<String>,
    cells: Vec<Cell>,
}

#[derive(Serialize)]
struct Input {
    path: String,
    format: &'static str,
    unreadable: u64,
    first_unreadable: Vec<String>,
}

/// One policy at one capacity.
#[derive(Serialize)]
struct Cell {
    policy: &'static str,
    capacity_bytes: u64,
    requests: u64,
    bytes: u64,
    hit_ratio: f64,
    byte_hit_ratio: f64,
    memory_hits: u64,
    disk_hits: u64,
    stale: u64,
    revalidated: u64,
    /// By cause.
    misses: BTreeMap<&'static str, u64>,
    /// By reason.
    uncacheable: BTreeMap<&'static str, u64>,
    aside: u64,
    origin_requests: u64,
    origin_bytes: u64,
    written_bytes: u64,
    invalidated: u64,
    parts: u64,
    assumed_answers: u64,
    backwards: u64,
}

/// The causes of misses, in the order of their columns.
const CAUSES: [&str; 8] =
    ["cold", "capacity", "expired", "request", "invalidated", "uncacheable", "too-large", "not-admitted"];

/// Simulates logs, and puts what came of it into words.
pub(super) fn simulate(paths: &[PathBuf], args: &SimulateArgs) -> Result<String, Failure> {
    if matches!(args.format, Format::Html | Format::Svg) {
        return Err(Failure::Usage(
            "the http mode has no curves; write `--format table`, `csv` or `json`".to_owned(),
        ));
    }
    let policy = match &args.config {
        Some(config) => {
            door::settings(StoreArgs { cache_dir: None, config: Some(config.clone()) })?.config.policy
        }
        None => PolicySettings::default(),
    };
    let bytes = paths.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|file| file.len()).sum();
    let mut progress = Progress::new(bytes);
    let survey = survey(paths, &mut |read| progress.show(Stage::Looking, read)).map_err(super::no_log)?;
    let cells: Vec<(Policy, u64)> = args
        .size
        .iter()
        .map(|size| capacity(*size, &survey))
        .flat_map(|capacity| args.policy.iter().map(move |policy| (*policy, capacity)))
        .collect();
    let needed = survey.objects * (BYTES_PER_RESPONSE * cells.len()) as u64;
    progress.tell(&format!("simulating takes about {} of memory\n", rough_size(needed)));
    let simulation = |(disk, capacity): &(Policy, u64)| {
        let memory = args.memory.map(|memory| MemoryTier {
            eviction: boxed(args.memory_policy, memory.bytes()),
            object_max: MEMORY_OBJECT_MAX,
        });
        Simulation::new(
            policy.clone(),
            args.assumed.assumptions(),
            Tiers::new(boxed(*disk, *capacity), memory),
        )
    };
    let simulations = cells.iter().map(simulation).collect();
    let warmup = (survey.entries as f64 * args.skip_warmup) as u64;
    let jobs = args.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZeroUsize::get));
    let reports = run(paths, simulations, warmup, jobs, &mut |read| progress.show(Stage::Replaying, read));
    progress.end();
    let reports = reports.map_err(super::no_log)?;
    let told = Told {
        inputs: inputs(&survey),
        lines: survey.entries,
        warmup_lines: warmup,
        objects: survey.objects,
        footprint_bytes: survey.footprint,
        assumed: assumed(args, &reports),
        cells: cells
            .iter()
            .zip(&reports)
            .map(|((policy, capacity), report)| Cell::new(*policy, *capacity, report))
            .collect(),
    };
    Ok(match args.format {
        Format::Json => ascii_json(&told),
        Format::Csv => told.csv(),
        _ => told.table(),
    })
}

fn capacity(size: Size, survey: &Survey) -> u64 {
    match size {
        Size::Bytes(bytes) => bytes,
        Size::Share(share) => (survey.footprint as f64 * share) as u64,
    }
}

/// The policy as something of no particular type.
fn boxed(policy: Policy, capacity: u64) -> Box<dyn Eviction> {
    struct Boxing;
    impl Visitor for Boxing {
        type Output = Box<dyn Eviction>;

        fn visit<E: Eviction + 'static>(self, eviction: E) -> Self::Output {
            Box::new(eviction)
        }
    }
    policy.visit(capacity, Boxing)
}

fn inputs(survey: &Survey) -> Vec<Input> {
    let skipped_of =
        |path: &PathBuf| survey.skipped.iter().find(|(of, _)| of == path).map(|(_, skipped)| skipped);
    survey
        .formats
        .iter()
        .map(|(path, format)| Input {
            path: path.display().to_string(),
            format: format.name(),
            unreadable: skipped_of(path).map_or(0, |skipped| skipped.count),
            first_unreadable: skipped_of(path)
                .map(|skipped| skipped.examples.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
        })
        .collect()
}

/// What was taken for granted, in sentences.
fn assumed(args: &SimulateArgs, reports: &[Report]) -> Vec<String> {
    let most = |of: fn(&Report) -> u64| reports.iter().map(of).max().unwrap_or(0);
    let mut sentences = Vec::new();
    let untold = most(|report| report.untold);
    if untold > 0 {
        let validator = if args.assumed.assume_no_validator { "without" } else { "with" };
        sentences.push(format!(
            "The log does not tell the fields of up to {untold} answers of the origin: they are fresh for {} where \
             heuristics apply, {validator} a validator, the same for the same size, for everybody, and without Vary.",
            args.assumed.assume_lifetime
        ));
    }
    let parts = most(|report| report.parts);
    if parts > 0 {
        sentences.push(format!(
            "{parts} requests were for parts (206): whole responses answer them here, and parts are not kept."
        ));
    }
    let backwards = most(|report| report.backwards);
    if backwards > 0 {
        sentences.push(format!("Time ran backwards {backwards} times: lines are written when requests end."));
    }
    sentences
        .push("An answer is there at once; in truth others wait for it, or fetch it as well.".to_owned());
    sentences
}

impl Cell {
    fn new(policy: Policy, capacity_bytes: u64, report: &Report) -> Self {
        let requests = |counts: &BTreeMap<&'static str, larder_simulator::http::Count>| {
            counts.iter().map(|(word, count)| (*word, count.requests)).collect()
        };
        Self {
            policy: policy.name(),
            capacity_bytes,
            requests: report.all().requests,
            bytes: report.all().bytes,
            hit_ratio: report.hit_ratio(),
            byte_hit_ratio: report.byte_hit_ratio(),
            memory_hits: report.memory.requests,
            disk_hits: report.disk.requests,
            stale: report.stale.requests,
            revalidated: report.revalidated.requests,
            misses: requests(&report.misses),
            uncacheable: requests(&report.uncacheable),
            aside: report.aside.requests,
            origin_requests: report.origin_requests,
            origin_bytes: report.origin_bytes,
            written_bytes: report.written_bytes,
            invalidated: report.invalidated,
            parts: report.parts,
            assumed_answers: report.untold,
            backwards: report.backwards,
        }
    }

    fn misses_by(&self, cause: &str) -> u64 {
        self.misses.get(cause).copied().unwrap_or(0)
    }
}

impl Told {
    fn csv(&self) -> String {
        let mut text = format!(
            "policy,capacity_bytes,requests,bytes,hit_ratio,byte_hit_ratio,memory_hits,disk_hits,stale,revalidated,{},\
             origin_requests,origin_bytes,written_bytes\n",
            CAUSES.join(",")
        );
        for cell in &self.cells {
            let causes: Vec<_> = CAUSES.iter().map(|cause| cell.misses_by(cause).to_string()).collect();
            text += &format!(
                "{},{},{},{},{:.6},{:.6},{},{},{},{},{},{},{},{}\n",
                cell.policy,
                cell.capacity_bytes,
                cell.requests,
                cell.bytes,
                cell.hit_ratio,
                cell.byte_hit_ratio,
                cell.memory_hits,
                cell.disk_hits,
                cell.stale,
                cell.revalidated,
                causes.join(","),
                cell.origin_requests,
                cell.origin_bytes,
                cell.written_bytes
            );
        }
        text
    }

    fn table(&self) -> String {
        let mut text = String::new();
        for input in &self.inputs {
            text += &format!("{} ({})\n", escaped(&input.path), input.format);
            if input.unreadable > 0 {
                text += &format!("  {} lines could not be read:\n", input.unreadable);
                input.first_unreadable.iter().for_each(|example| text += &format!("  {example}\n"));
            }
        }
        let aside = self.cells.first().map_or(0, |cell| cell.aside);
        text += &format!(
            "{} lines, {} objects of {}; {aside} lines are nothing for a cache{}\n",
            self.lines,
            self.objects,
            rough_size(self.footprint_bytes),
            if self.warmup_lines > 0 {
                format!("; the first {} only warm up", self.warmup_lines)
            } else {
                String::new()
            }
        );
        let mut before = None;
        for cell in &self.cells {
            if before != Some(cell.capacity_bytes) {
                before = Some(cell.capacity_bytes);
                text += &heading(cell.capacity_bytes);
            }
            text += &row(cell);
        }
        let reasons = self.cells.first().map(|cell| &cell.uncacheable).filter(|reasons| !reasons.is_empty());
        if let Some(reasons) = reasons {
            let mut reasons: Vec<_> = reasons.iter().collect();
            reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let words: Vec<_> = reasons.iter().map(|(why, count)| format!("{why} {count}")).collect();
            text += &format!("\nuncacheable: {}\n", words.join(", "));
        }
        text += "\nTaken for granted:\n";
        self.assumed.iter().for_each(|sentence| text += &format!("- {sentence}\n"));
        text
    }
}

fn heading(capacity: u64) -> String {
    format!(
        "\n{:<22}{:>9}{:>9} |{:>9}{:>9}{:>8}{:>8} |{:>9}{:>9}{:>9}{:>9}{:>9}{:>9} |{:>10}{:>10}\n",
        rough_size(capacity),
        "hits",
        "bytes",
        "memory",
        "disk",
        "stale",
        "reval.",
        "cold",
        "capacity",
        "expired",
        "request",
        "uncache.",
        "other",
        "upstream",
        "written"
    )
}

fn row(cell: &Cell) -> String {
    let other =
        ["invalidated", "too-large", "not-admitted"].iter().map(|cause| cell.misses_by(cause)).sum::<u64>();
    format!(
        "{:<22}{:>8.2}%{:>8.2}% |{:>9}{:>9}{:>8}{:>8} |{:>9}{:>9}{:>9}{:>9}{:>9}{:>9} |{:>10}{:>10}\n",
        cell.policy,
        cell.hit_ratio * 100.0,
        cell.byte_hit_ratio * 100.0,
        cell.memory_hits,
        cell.disk_hits,
        cell.stale,
        cell.revalidated,
        cell.misses_by("cold"),
        cell.misses_by("capacity"),
        cell.misses_by("expired"),
        cell.misses_by("request"),
        cell.misses_by("uncacheable"),
        other,
        rough_size(cell.origin_bytes),
        rough_size(cell.written_bytes)
    )
}
