//! `larder simulate`: what hit ratio another size or policy would give on a trace.
//!
//! The simulator does it; this reads the flags, shows how far it is, and writes what came of it.

mod advice;
mod args;
mod chart;
mod csv;
mod http;
mod page;
mod progress;
mod table;

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, anyhow};
use larder_simulator::{Curves, Inputs, Memory, Plan, Report, Stage, simulate};
use tempfile::NamedTempFile;

use crate::failure::Failure;
use crate::output;
use crate::units::rough_size;
pub(crate) use args::{EXAMPLES, SimulateArgs};
use args::{Format, Mode, Unit};
use progress::Progress;

/// Larger objects are not kept in memory, as in the store by default.
const MEMORY_OBJECT_MAX: u64 = 256 << 10;

/// Runs the command.
pub(crate) fn run(args: SimulateArgs) -> Result<(), Failure> {
    let (paths, spooled) = spool(&args.inputs)?;
    if args.mode == Mode::Http {
        return written(http::simulate(&paths, &args)?, args.output);
    }
    let inputs = Inputs::open(&paths, args.unit.map(Unit::bytes)).map_err(advised)?;
    let plan = Plan {
        sizes: args.size,
        policies: args.policy,
        memory: args.memory.map(|size| Memory {
            policy: args.memory_policy,
            capacity: size.bytes(),
            object_max: MEMORY_OBJECT_MAX,
        }),
        warmup: args.skip_warmup,
        curves: curves(args.format, args.sample),
        jobs: args.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZeroUsize::get)),
    };
    let mut progress = Progress::new(inputs.bytes());
    let report = simulate(&inputs, &plan, &mut |stage, bytes| match stage {
        Stage::Needs(needed) => {
            progress.tell(&format!("replaying takes up to {} of memory\n", rough_size(needed)));
        }
        stage => progress.show(stage, bytes),
    });
    progress.end();
    let mut report = report.map_err(advised)?;
    if let Some(spooled) = spooled {
        report.inputs.iter_mut().filter(|input| Path::new(&input.path) == spooled.path()).for_each(|input| {
            "standard input".clone_into(&mut input.path);
        });
    }
    for input in report.inputs.iter().filter(|input| input.unreadable > 0) {
        output::note(&unreadable(input));
    }
    if report.trace.requests == 0 {
        return Err(anyhow!("there is no request in what was given").into());
    }
    let text = match args.format {
        Format::Table => table::table(&report),
        Format::Csv => csv::csv(&report),
        Format::Json => json(&report)?,
        Format::Html => page::page(&report)?,
        Format::Svg => page::drawing(&report),
    };
    written(text, args.output)
}

/// Into the file that was named, or onto standard output.
fn written(text: String, output: Option<PathBuf>) -> Result<(), Failure> {
    match output {
        Some(path) => {
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            output::note(&format!("written to {}\n", path.display()));
            Ok(())
        }
        None => output::print(&text),
    }
}

/// CSV has no place for curves.
fn curves(format: Format, sample: Option<f64>) -> Curves {
    match (format, sample) {
        (Format::Csv, _) => Curves::None,
        (_, None) => Curves::Automatic,
        (_, Some(0.0)) => Curves::None,
        (_, Some(share)) => Curves::Sampled(share),
    }
}

fn json(report: &Report) -> Result<String, Failure> {
    serde_json::to_string(report).map(|text| text + "\n").map_err(|error| Failure::Failed(error.into()))
}

fn unreadable(input: &larder_simulator::InputReport) -> String {
    let first = match (input.first_unreadable, &input.fault) {
        (Some(number), Some(fault)) => format!("; the first is {number}: {fault}"),
        _ => String::new(),
    };
    let what = if input.unreadable == 1 { "line or record" } else { "lines or records" };
    format!("{}: {} {what} could not be read{first}\n", input.path, input.unreadable)
}

fn advised(error: larder_simulator::TraceError) -> Failure {
    let unknown = matches!(error, larder_simulator::TraceError::Unknown { .. });
    let error = anyhow::Error::from(error);
    Failure::Failed(if unknown {
        error.context(
            "these can be replayed: libCacheSim's oracleGeneral or CSV (time, object, size), webcachesim's or Tragen's text, \
             and access logs (Squid's native, Common, Combined, larder's JSON); plain, .gz or .zst",
        )
    } else {
        error
    })
}

/// What to do about a file that is no log.
fn no_log(error: larder_simulator::TraceError) -> Failure {
    let unknown = matches!(error, larder_simulator::TraceError::Unknown { .. });
    let error = anyhow::Error::from(error);
    Failure::Failed(if unknown {
        error.context(
            "the http mode needs an access log: Squid's native, Common, Combined (with nginx's cache status or without) \
             or larder's JSON; plain, .gz or .zst",
        )
    } else {
        error
    })
}

/// Standard input is read twice, and so kept in a file meanwhile.
fn spool(inputs: &[PathBuf]) -> Result<(Vec<PathBuf>, Option<NamedTempFile>), Failure> {
    let dashes = inputs.iter().filter(|path| path.as_os_str() == "-").count();
    if dashes == 0 {
        return Ok((inputs.to_vec(), None));
    }
    if dashes > 1 {
        return Err(Failure::Usage("standard input can be read once; write a single `-`".to_owned()));
    }
    let file = NamedTempFile::new().context("cannot make a temporary file for standard input")?;
    let mut to: &File = file.as_file();
    io::copy(&mut io::stdin().lock(), &mut to)
        .and_then(|_| to.flush())
        .context("cannot keep standard input in a temporary file")?;
    let path = file.path().to_owned();
    let paths = inputs.iter().map(|input| if input.as_os_str() == "-" { &path } else { input }.clone());
    Ok((paths.collect(), Some(file)))
}
