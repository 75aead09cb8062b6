//! How far `auto` stays behind the best of the algorithms that it chooses from.
//!
//! `auto --traces DIR [--traces DIR]... [--sizes 0.01,0.1,0.3]` replays every `NAME.oracleGeneral` and `NAME.oracleGeneral.zst`
//! in the directories, and prints a table in Markdown for each aim: the hit ratio of every algorithm, how far the tier's default
//! and `auto` are from the best. It fails when `auto` is too far from it somewhere; a
//! trace that is too short to learn on is shown, and not judged.
#![allow(clippy::print_stdout, reason = "an example prints")]
#![allow(clippy::indexing_slicing, reason = "there is always one policy")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use larder_simulator::{
    Cache, Counts, Inputs, Numbered, Numbers, Policy, Replaying, Scan, TraceError, Window, drive,
};
use larder_storage::eviction::{Aim, Algorithm};

/// Farthest that `auto` may be from the best.
const GAP_MAX: f64 = 0.02;
/// A trace with fewer requests is too short.
const REQUESTS_MIN: u64 = 20_000;
const SIZES: &str = "0.01,0.1,0.3";

/// What was counted for one trace at one size.
struct Cell {
    trace: String,
    size: f64,
    fixed: Vec<Counts>,
    /// `auto` by each aim.
    auto: Vec<Counts>,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (mut directories, mut sizes) = (Vec::new(), SIZES.to_owned());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or(format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--traces" => directories.push(PathBuf::from(value)),
            "--sizes" => sizes = value,
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let sizes = sizes.split(',').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let mut cells = Vec::new();
    for file in traces(&directories)? {
        replay(&file, &sizes, &mut cells)?;
    }
    if cells.is_empty() {
        return Err("there is no trace: name a directory with --traces DIR".into());
    }
    let worst = [(0, Aim::Requests), (1, Aim::Bytes)].map(|(at, aim)| print(&cells, at, aim));
    let worst = worst.into_iter().fold(0.0, f64::max);
    let holds = worst <= GAP_MAX;
    println!("{}: auto is at most {worst:.4} behind the best", if holds { "holds" } else { "FAILS" });
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn traces(directories: &[PathBuf]) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for directory in directories {
        for entry in std::fs::read_dir(directory)? {
            let file = entry?.path();
            if name(&file).is_some() {
                files.push(file);
            }
        }
    }
    files.sort_by_key(|file| name(file));
    Ok(files)
}

fn name(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    let name = name.strip_suffix(".zst").unwrap_or(name);
    name.strip_suffix(".oracleGeneral").map(str::to_owned)
}

fn replay(file: &Path, sizes: &[f64], cells: &mut Vec<Cell>) -> Result<(), Box<dyn Error>> {
    let trace = name(file).unwrap_or_default();
    let inputs = Inputs::open(&[file.to_owned()], None)?;
    let mut scan = vec![Scan::default()];
    drive(numbered(&inputs), &mut scan, 1)?;
    let scan = scan.pop().unwrap_or_default();
    let window = Window { warmup: 0, requests: scan.infinite().requests, parts: 1 };
    for size in sizes.iter().copied() {
        let capacity = (size * scan.footprint() as f64) as u64;
        let counted = |policies: &[Policy]| -> Result<Vec<Counts>, TraceError> {
            let begun = Instant::now();
            let cache = |policy: &Policy| Cache { policy: *policy, capacity, memory: None }.replay(window);
            let mut caches: Vec<Box<dyn Replaying>> = policies.iter().map(cache).collect();
            drive(numbered(&inputs), &mut caches, 1)?;
            let each = begun.elapsed().as_secs_f64() / (window.requests * policies.len() as u64) as f64;
            eprintln!("{trace} at {}: {:.0} ns a request with {}", percent(size), each * 1e9, policies[0]);
            Ok(caches.iter().map(|cache| cache.outcome().counts).collect())
        };
        let fixed = counted(&Policy::SHIPPED)?;
        let auto = counted(&[Aim::Requests, Aim::Bytes].map(Policy::Auto))?;
        cells.push(Cell { trace: trace.clone(), size, fixed, auto });
    }
    Ok(())
}

fn numbered(inputs: &Inputs) -> impl FnMut(&mut Vec<Numbered>) -> Result<bool, TraceError> + '_ {
    let (mut reader, mut numbers) = (inputs.reader(), Numbers::default());
    move |batch| reader.read_batch(&mut numbers, batch)
}

/// Prints the table for one aim. Returns how far `auto` is from the best at most.
fn print(cells: &[Cell], at: usize, aim: Aim) -> f64 {
    let (what, default) = match aim {
        Aim::Requests => ("Request hit ratio, as for the memory tier", Algorithm::Gdsf),
        Aim::Bytes => ("Byte hit ratio, as for the disk tier", Algorithm::S3Fifo),
    };
    let ratio = |counts: &Counts| match aim {
        Aim::Requests => 1.0 - counts.miss_ratio(),
        Aim::Bytes => 1.0 - counts.byte_miss_ratio(),
    };
    let names: Vec<_> = Algorithm::ALL.iter().map(|one| one.name()).collect();
    println!(
        "{what}:\n\n| trace | size | {} | `{default}` to the best | auto | to the best |",
        names.join(" | ")
    );
    println!("| --- |{}", " ---: |".repeat(names.len() + 4));
    let mut worst = 0.0_f64;
    for cell in cells {
        let ratios: Vec<_> = cell.fixed.iter().map(ratio).collect();
        let best = ratios.iter().copied().fold(0.0, f64::max);
        let Some(counts) = cell.auto.get(at) else { continue };
        let of_default = Algorithm::ALL.iter().position(|one| *one == default);
        let of_default = of_default.and_then(|at| ratios.get(at)).copied().unwrap_or_default();
        let short = counts.requests < REQUESTS_MIN;
        if !short {
            worst = worst.max(best - ratio(counts));
        }
        let shown = ratios
            .iter()
            .map(|ratio| if *ratio == best { format!("**{ratio:.4}**") } else { format!("{ratio:.4}") });
        println!(
            "| {}{} | {} | {} | {:+.4} | {:.4} | {:+.4} |",
            cell.trace,
            if short { " (too short)" } else { "" },
            percent(cell.size),
            shown.collect::<Vec<_>>().join(" | "),
            of_default - best,
            ratio(counts),
            ratio(counts) - best
        );
    }
    println!();
    worst
}

fn percent(size: f64) -> String {
    format!("{} %", (size * 1e5).round() / 1e3)
}
