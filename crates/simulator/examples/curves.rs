//! How far curves from samples are from the exact ones, on the traces of a directory.
//!
//! `curves --traces DIR [--share 0.065] [--samples 4] [--policies lru,s3-fifo]` prints for each trace and policy the mean
//! and the largest error, in requests and bytes, how many of the points lie outside their error bars, and what memory
//! a sample takes beside the exact curve. It fails when the mean errors over all of a policy are above 0.01 in requests
//! or 0.03 in bytes.
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use larder_simulator::curve::{ExactLru, Miniatures, SampledLru, combined, grid, samples};
use larder_simulator::{Cache, Inputs, Numbered, Numbers, Observer, Policy, Scan, TraceError, Window, drive};

const MEAN_ERROR_MAX: f64 = 0.01;
const MEAN_BYTE_ERROR_MAX: f64 = 0.03;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (mut traces, mut share, mut count, mut names) = (None, 0.065, 4, "lru".to_owned());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--traces" => traces = Some(PathBuf::from(value)),
            "--share" => share = value.parse()?,
            "--samples" => count = value.parse()?,
            "--policies" => names = value,
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let traces = traces.ok_or("--traces DIR is missing")?;
    let mut files: Vec<_> =
        std::fs::read_dir(traces)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.sort();
    let mut holds = true;
    for name in names.split(',') {
        let policy = Policy::from_name(name).ok_or_else(|| format!("{name} is no policy"))?;
        let mut errors = Vec::new();
        for file in &files {
            errors.extend(compare(file, policy, share, count)?);
        }
        let mean =
            |of: fn(&(f64, f64)) -> f64| errors.iter().map(of).sum::<f64>() / errors.len().max(1) as f64;
        let (requests, bytes) = (mean(|error| error.0), mean(|error| error.1));
        let held = requests <= MEAN_ERROR_MAX && bytes <= MEAN_BYTE_ERROR_MAX;
        holds &= held;
        let word = if held { "holds" } else { "FAILS" };
        println!("{word}: {policy}: mean error {requests:.4} in requests, {bytes:.4} in bytes, all traces");
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The errors at all points, requests and bytes.
fn compare(
    file: &PathBuf,
    policy: Policy,
    share: f64,
    count: u64,
) -> Result<Vec<(f64, f64)>, Box<dyn Error>> {
    let inputs = Inputs::open(std::slice::from_ref(file), None)?;
    let mut scan = Scan::default();
    read(&inputs, &mut [&mut scan])?;
    let window = Window { warmup: 0, requests: scan.infinite().requests, parts: 1 };
    let grid = grid(scan.footprint(), &[]);
    let mut exact_lru = ExactLru::new(grid.clone(), window);
    read(&inputs, &mut [&mut exact_lru])?;
    let lru = policy == Policy::SHIPPED[0];
    let truth: Vec<_> = if lru {
        exact_lru.counts()
    } else {
        let mut caches: Vec<_> = grid
            .iter()
            .map(|capacity| Cache { policy, capacity: *capacity, memory: None }.replay(window))
            .collect();
        read(&inputs, &mut caches)?;
        caches.iter().map(|cache| cache.outcome().counts).collect()
    };
    let mut estimates = vec![Vec::new(); grid.len()];
    let mut memory = 0;
    for sample in samples(&scan, share, count) {
        let mut sampled = SampledLru::new(sample.clone(), grid.clone(), window);
        let mut miniatures = (!lru).then(|| Miniatures::new(sample, policy, &grid, window));
        read(&inputs, &mut [&mut sampled])?;
        if let Some(miniatures) = &mut miniatures {
            read(&inputs, &mut [miniatures])?;
        }
        memory = memory.max(sampled.memory_bytes());
        let found = match miniatures {
            None => sampled.estimates(scan.infinite()),
            Some(miniatures) => miniatures.estimates(&sampled, scan.infinite()),
        };
        estimates.iter_mut().zip(found).for_each(|(all, one)| all.push(one));
    }
    let of = |pick: fn(&(f64, f64)) -> f64| {
        combined(
            &estimates.iter().map(|samples| samples.iter().map(pick).collect()).collect::<Vec<Vec<f64>>>(),
        )
    };
    let (mut errors, mut outside, mut bars, mut beyond) = (Vec::new(), 0, 0.0, 0.0_f64);
    let combined = of(|(hits, _)| *hits).into_iter().zip(of(|(_, bytes)| *bytes));
    for (counts, ((hits, bar), (bytes, byte_bar))) in truth.iter().zip(combined) {
        let error = ((hits - counts.hit_ratio()).abs(), (bytes - counts.byte_hit_ratio()).abs());
        outside += u32::from(error.0 > bar) + u32::from(error.1 > byte_bar);
        beyond = (error.0 - bar).max(error.1 - byte_bar).max(beyond);
        bars += bar + byte_bar;
        errors.push(error);
    }
    let mean = |of: fn(&(f64, f64)) -> f64| errors.iter().map(of).sum::<f64>() / errors.len() as f64;
    let most = |of: fn(&(f64, f64)) -> f64| errors.iter().map(of).fold(0.0, f64::max);
    println!(
        "{:<40} {:<10} requests {:.4} (at most {:.4})  bytes {:.4} (at most {:.4})  {outside} of {} outside (by {beyond:.4} at most), bars {:.4} on average  memory {:.3}",
        file.file_name().unwrap_or_default().to_string_lossy(),
        policy.name(),
        mean(|error| error.0),
        most(|error| error.0),
        mean(|error| error.1),
        most(|error| error.1),
        2 * errors.len(),
        bars / (2 * errors.len()) as f64,
        memory as f64 / exact_lru.memory_bytes() as f64,
    );
    Ok(errors)
}

fn read<O: Observer>(inputs: &Inputs, observers: &mut [O]) -> Result<(), TraceError> {
    let (mut reader, mut numbers) = (inputs.reader(), Numbers::default());
    drive(|batch: &mut Vec<Numbered>| reader.read_batch(&mut numbers, batch), observers, 2)
}
