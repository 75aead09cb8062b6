//! Replays a directory of traces through every algorithm, beside the figures of another simulator.
//!
//! `compare --traces DIR --reference FILE [--csv]` prints a table (or CSV) of hit ratios, then what is expected of
//! them and whether it holds; it fails when something does not. DIR has `NAME.oracleGeneral` or
//! `NAME.oracleGeneral.zst` for each trace that FILE names. FILE is CSV with the columns trace, policy, size_ratio,
//! miss_ratio and byte_miss_ratio, where policies are named LRU, SIEVE, ...
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use larder_simulator::report::{CSV_HEADER, Row};
use larder_simulator::{Requests, trace};
use larder_storage::eviction::Algorithm;

/// How far apart two figures may be that should be the same.
const TOLERANCE: f64 = 0.001;
/// Sizes at which the disk tier's default is judged.
const DISK_SIZES: [&str; 3] = ["0.01", "0.1", "0.3"];
const DISK_LOSS_MAX: f64 = 0.005;
const MEMORY_DEFAULT: Algorithm = Algorithm::Gdsf;
const DISK_DEFAULT: Algorithm = Algorithm::S3Fifo;

/// Miss ratio and byte miss ratio, by trace, size and policy.
type Reference = BTreeMap<(String, String), BTreeMap<String, (f64, f64)>>;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (mut traces, mut reference, mut csv) = (None, None, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--traces" => traces = arguments.next().map(PathBuf::from),
            "--reference" => reference = arguments.next().map(PathBuf::from),
            "--csv" => csv = true,
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let traces = traces.ok_or("--traces DIR is missing")?;
    let reference = read_reference(&reference.ok_or("--reference FILE is missing")?)?;
    let rows = replay_all(&traces, &reference)?;
    if csv {
        println!("{CSV_HEADER}");
    }
    for (row, _) in &rows {
        println!("{}", if csv { row.csv() } else { row.to_string() });
    }
    let holds = judge(&rows, &reference);
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_reference(path: &Path) -> Result<Reference, Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap_or_default();
    let column = |name: &str| {
        header.iter().position(|column| *column == name).ok_or(format!("there is no column {name}"))
    };
    let columns = [column("trace")?, column("size_ratio")?, column("policy")?];
    let (miss, byte_miss) = (column("miss_ratio")?, column("byte_miss_ratio")?);
    let mut reference = Reference::new();
    for line in lines {
        let field = |at: usize| line.get(at).copied().unwrap_or_default();
        let [trace, size, policy] = columns.map(|at| field(at).to_owned());
        let figures = (field(miss).parse()?, field(byte_miss).parse()?);
        reference.entry((trace, size)).or_default().insert(policy, figures);
    }
    Ok(reference)
}

/// A row for every trace, size and algorithm, with the size as the reference writes it.
fn replay_all(traces: &Path, reference: &Reference) -> Result<Vec<(Row, String)>, Box<dyn Error>> {
    let mut rows = Vec::new();
    let mut loaded: Option<(String, Requests)> = None;
    let mut seconds = BTreeMap::new();
    for (name, size) in reference.keys() {
        if loaded.as_ref().is_none_or(|(before, _)| before != name) {
            let plain = traces.join(format!("{name}.oracleGeneral"));
            let file = if plain.exists() { plain } else { plain.with_extension("oracleGeneral.zst") };
            loaded = Some((name.clone(), Requests::collect(trace::open(&file)?)?));
        }
        let Some((_, requests)) = &loaded else { continue };
        let footprint = requests.objects().footprint();
        let size_ratio: f64 = size.parse()?;
        for algorithm in Algorithm::ALL {
            let cache_bytes = (size_ratio * footprint as f64) as u64;
            let begun = Instant::now();
            let counts = requests.replay(algorithm.ranked(cache_bytes));
            let (all, time) = seconds.entry(algorithm.name()).or_insert((0, 0.0));
            *all += counts.requests;
            *time += begun.elapsed().as_secs_f64();
            let row = Row {
                trace: name.clone(),
                algorithm,
                size_ratio,
                cache_bytes,
                objects: requests.objects().len() as u64,
                footprint_bytes: footprint,
                counts,
            };
            rows.push((row, size.clone()));
        }
    }
    for (name, (requests, time)) in seconds {
        eprintln!("{name}: {:.1} million requests a second", requests as f64 / time / 1e6);
    }
    Ok(rows)
}

fn judge(rows: &[(Row, String)], reference: &Reference) -> bool {
    let named = |algorithm: Algorithm| match algorithm {
        Algorithm::WTinyLfu => "W-TinyLFU".to_owned(),
        other => other.name().to_uppercase(),
    };
    let mut holds = true;
    let mut say = |what: &str, held: bool, detail: String| {
        holds &= held;
        println!("{}: {what}: {detail}", if held { "holds" } else { "FAILS" });
    };
    for algorithm in [Algorithm::Lru, Algorithm::Sieve] {
        let (mut far, mut cells) = (0.0_f64, 0);
        for (row, size) in rows.iter().filter(|(row, _)| row.algorithm == algorithm) {
            let theirs = reference.get(&(row.trace.clone(), size.clone()));
            if let Some((miss, byte_miss)) = theirs.and_then(|all| all.get(&named(algorithm))) {
                cells += 1;
                far = far.max((row.counts.miss_ratio() - miss).abs());
                far = far.max((row.counts.byte_miss_ratio() - byte_miss).abs());
            }
        }
        let what = format!("{algorithm} equals the reference");
        say(&what, far <= TOLERANCE && cells > 0, format!("{far:.6} apart at most in {cells} cells"));
    }
    let gains = |algorithm: Algorithm, sizes: &[&str], ratio: fn(&Row) -> f64| -> (f64, f64) {
        let of = |algorithm: Algorithm| {
            let wanted = move |row: &&(Row, String)| {
                row.0.algorithm == algorithm && (sizes.is_empty() || sizes.contains(&row.1.as_str()))
            };
            rows.iter().filter(wanted).map(|(row, _)| ratio(row))
        };
        let gains: Vec<f64> = of(Algorithm::Lru).zip(of(algorithm)).map(|(lru, own)| lru - own).collect();
        let least = gains.iter().copied().fold(f64::INFINITY, f64::min);
        (least, gains.iter().sum::<f64>() / gains.len().max(1) as f64)
    };
    let detail = |(least, mean): (f64, f64)| format!("{least:+.4} at least, {mean:+.4} on average over LRU");
    let requests = gains(MEMORY_DEFAULT, &[], |row| row.counts.miss_ratio());
    let what = format!("{MEMORY_DEFAULT}, the memory tier's default, beats LRU on requests");
    say(&what, requests.0 > 0.0, detail(requests));
    let bytes = gains(DISK_DEFAULT, &DISK_SIZES, |row| row.counts.byte_miss_ratio());
    let what = format!("{DISK_DEFAULT}, the disk tier's default, is no worse than LRU on bytes");
    say(&what, bytes.0 >= -DISK_LOSS_MAX && bytes.1 > 0.0, detail(bytes));
    holds
}
