//! Replays a directory of traces through every policy, beside the figures of another simulator.
//!
//! `compare --traces DIR --reference FILE [--csv]` prints a table (or CSV) of miss ratios, then what is expected of
//! them and whether it holds; it fails when something does not. DIR has `NAME.oracleGeneral` or
//! `NAME.oracleGeneral.zst` for each trace that FILE names. FILE is CSV with the columns trace, policy, size_ratio,
//! miss_ratio and byte_miss_ratio, where policies are named LRU, SIEVE, ...
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use larder_simulator::{
    Belady, Cache, Counts, Inputs, Intervals, Numbered, Numbers, Policy, Replaying, Scan, Window, drive,
};
use larder_storage::eviction::Algorithm;

/// How far apart two figures may be that should be the same.
const TOLERANCE: f64 = 0.001;
/// Those that must equal the reference, and its names for them.
const EQUAL: [(&str, &str); 7] = [
    ("lru", "LRU"),
    ("fifo", "FIFO"),
    ("sieve", "SIEVE"),
    ("clock", "CLOCK"),
    ("2q", "2Q"),
    ("arc", "ARC"),
    ("gdsf-libcachesim", "GDSF"),
];
/// Those that are told apart from the reference, on purpose or because it draws its own lots.
const BESIDE: [(&str, &str); 5] = [
    ("gdsf", "GDSF"),
    ("s3-fifo-libcachesim", "S3-FIFO"),
    ("s3-fifo", "S3-FIFO"),
    ("w-tinylfu-libcachesim", "W-TinyLFU"),
    ("w-tinylfu", "W-TinyLFU"),
];
/// Sizes at which the disk tier's default is judged.
const DISK_SIZES: [&str; 3] = ["0.01", "0.1", "0.3"];
const DISK_LOSS_MAX: f64 = 0.005;
const MEMORY_DEFAULT: Algorithm = Algorithm::Gdsf;
const DISK_DEFAULT: Algorithm = Algorithm::S3Fifo;

/// Miss ratio and byte miss ratio, by trace, size and policy.
type Ratios = BTreeMap<(String, String), BTreeMap<String, (f64, f64)>>;

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
    let mut own = Ratios::new();
    for name in reference.keys().map(|(trace, _)| trace.clone()).collect::<std::collections::BTreeSet<_>>() {
        let sizes: Vec<_> =
            reference.keys().filter(|(trace, _)| *trace == name).map(|(_, size)| size.clone()).collect();
        own.extend(replay(&traces, &name, &sizes)?);
    }
    print(&own, csv);
    Ok(if judge(&own, &reference) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_reference(path: &Path) -> Result<Ratios, Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap_or_default();
    let column = |name: &str| {
        header.iter().position(|column| *column == name).ok_or(format!("there is no column {name}"))
    };
    let columns = [column("trace")?, column("size_ratio")?, column("policy")?];
    let (miss, byte_miss) = (column("miss_ratio")?, column("byte_miss_ratio")?);
    let mut reference = Ratios::new();
    for line in lines {
        let field = |at: usize| line.get(at).copied().unwrap_or_default();
        let [trace, size, policy] = columns.map(|at| field(at).to_owned());
        let figures = (field(miss).parse()?, field(byte_miss).parse()?);
        reference.entry((trace, size)).or_default().insert(policy, figures);
    }
    Ok(reference)
}

/// All policies at all sizes of one trace, and the bound as `bound` and, with equal sizes, `belady`.
fn replay(traces: &Path, name: &str, sizes: &[String]) -> Result<Ratios, Box<dyn Error>> {
    let plain = traces.join(format!("{name}.oracleGeneral"));
    let file = if plain.exists() { plain } else { plain.with_extension("oracleGeneral.zst") };
    let inputs = Inputs::open(&[file], None)?;
    let mut scan = vec![Scan::default()];
    drive(numbered(&inputs), &mut scan, 1)?;
    let mut scan = scan.pop().unwrap_or_default();
    let window = Window { warmup: 0, requests: scan.infinite().requests, parts: 1 };
    let mut caches: Vec<(String, Policy, Box<dyn Replaying>)> = Vec::new();
    for size in sizes {
        let ratio: f64 = size.parse()?;
        let capacity = (ratio * scan.footprint() as f64) as u64;
        for policy in Policy::ALL {
            let cache = Cache { policy, capacity, memory: None };
            caches.push((size.clone(), policy, cache.replay(window)));
        }
    }
    let mut replays: Vec<_> = caches.iter_mut().map(|(_, _, replay)| replay).collect();
    drive(numbered(&inputs), &mut replays, 2)?;
    let mut own = Ratios::new();
    let mut note = |size: &str, policy: &str, counts: Counts| {
        let ratios = (counts.miss_ratio(), counts.byte_miss_ratio());
        own.entry((name.to_owned(), size.to_owned())).or_default().insert(policy.to_owned(), ratios);
    };
    for (size, policy, replay) in &caches {
        note(size, policy.name(), replay.outcome().counts);
    }
    let next = scan.take_next();
    for size in sizes {
        let capacity = (size.parse::<f64>()? * scan.footprint() as f64) as u64;
        note(size, "bound", bound(scan.intervals(), capacity, scan.infinite()));
        if let (Some(next), Some(equal)) = (&next, scan.equal_size()) {
            let mut belady = [Belady::new(next.clone(), (capacity / equal) as usize, window)];
            drive(numbered(&inputs), &mut belady, 1)?;
            note(size, "belady", belady[0].counts());
        }
    }
    Ok(own)
}

fn bound(intervals: &Intervals, capacity: u64, all: Counts) -> Counts {
    let (hits, hit_bytes) = intervals.bound(capacity, all.requests);
    Counts { hits: hits as u64, hit_bytes: hit_bytes as u64, ..all }
}

fn numbered(
    inputs: &Inputs,
) -> impl FnMut(&mut Vec<Numbered>) -> Result<bool, larder_simulator::TraceError> + '_ {
    let (mut reader, mut numbers) = (inputs.reader(), Numbers::default());
    move |batch| reader.read_batch(&mut numbers, batch)
}

fn print(own: &Ratios, csv: bool) {
    if csv {
        println!("trace,policy,size_ratio,miss_ratio,byte_miss_ratio");
    }
    for ((trace, size), policies) in own {
        for (policy, (miss, byte_miss)) in policies {
            if csv {
                println!("{trace},{policy},{size},{miss:.6},{byte_miss:.6}");
            } else {
                println!("{trace:<20} {size:>6} {policy:<22} misses {miss:.4}, byte misses {byte_miss:.4}");
            }
        }
    }
}

fn judge(own: &Ratios, reference: &Ratios) -> bool {
    let mut holds = true;
    let mut say = |what: &str, held: bool, detail: String| {
        holds &= held;
        println!("{}: {what}: {detail}", if held { "holds" } else { "FAILS" });
    };
    for (policy, theirs) in EQUAL {
        let apart = apart(own, reference, policy, theirs);
        let far = apart.iter().map(|cell| cell.far()).fold(0.0, f64::max);
        let detail = format!("{far:.6} apart at most in {} cells", apart.len());
        say(&format!("{policy} equals the reference"), far <= TOLERANCE && apart.len() == own.len(), detail);
        for cell in apart.iter().filter(|cell| cell.far() > TOLERANCE) {
            println!("    {cell:?}");
        }
    }
    for (policy, theirs) in BESIDE {
        let apart = apart(own, reference, policy, theirs);
        let mean = |of: fn(&Apart) -> f64| apart.iter().map(of).sum::<f64>() / apart.len().max(1) as f64;
        let far = apart.iter().map(|cell| cell.far()).fold(0.0, f64::max);
        let equal = apart.iter().filter(|cell| cell.far() <= TOLERANCE).count();
        println!(
            "{policy} beside the reference's {theirs}: equal in {equal} of {} cells, {far:.4} apart at most, \
             on average {:+.4} misses and {:+.4} byte misses",
            apart.len(),
            mean(|cell| cell.requests),
            mean(|cell| cell.bytes)
        );
    }
    let better = |of: &str| {
        let cells = own.values().filter_map(|policies| Some((policies.get(of)?, policies)));
        let losses = cells.flat_map(|(bound, all)| {
            all.iter()
                .filter(|(name, _)| *name != "bound")
                .map(|(_, own)| (bound.0 - own.0).max(bound.1 - own.1))
        });
        losses.fold(f64::NEG_INFINITY, f64::max)
    };
    let above = better("bound");
    say("no policy beats the bound", above <= 1e-6, format!("{above:+.4} at most"));
    if let Some(belady) = own.values().filter_map(|all| all.get("belady")).count().checked_sub(1) {
        let apart = apart(own, reference, "belady", "Belady");
        let above = apart.iter().map(|cell| cell.requests).fold(f64::NEG_INFINITY, f64::max);
        let far = apart.iter().map(|cell| cell.far()).fold(0.0, f64::max);
        say(
            "belady is no worse than the reference's",
            above <= 1e-6,
            format!("{far:.6} apart in {} cells", belady + 1),
        );
    }
    let gains = |algorithm: Algorithm, sizes: &[&str], bytes: bool| -> (f64, f64) {
        let wanted = own.iter().filter(|((_, size), _)| sizes.is_empty() || sizes.contains(&size.as_str()));
        let gains: Vec<f64> = wanted
            .filter_map(|(_, all)| {
                let (lru, own) = (all.get("lru")?, all.get(algorithm.name())?);
                Some(if bytes { lru.1 - own.1 } else { lru.0 - own.0 })
            })
            .collect();
        let least = gains.iter().copied().fold(f64::INFINITY, f64::min);
        (least, gains.iter().sum::<f64>() / gains.len().max(1) as f64)
    };
    let detail = |(least, mean): (f64, f64)| format!("{least:+.4} at least, {mean:+.4} on average over LRU");
    let requests = gains(MEMORY_DEFAULT, &[], false);
    let what = format!("{MEMORY_DEFAULT}, the memory tier's default, beats LRU on requests");
    say(&what, requests.0 > 0.0, detail(requests));
    let bytes = gains(DISK_DEFAULT, &DISK_SIZES, true);
    let what = format!("{DISK_DEFAULT}, the disk tier's default, is no worse than LRU on bytes");
    say(&what, bytes.0 >= -DISK_LOSS_MAX && bytes.1 > 0.0, detail(bytes));
    holds
}

/// How far a cell is from the reference's: positive when there are more misses here.
#[derive(Debug)]
#[allow(dead_code, reason = "shown by Debug")]
struct Apart {
    trace: String,
    size: String,
    requests: f64,
    bytes: f64,
}

impl Apart {
    fn far(&self) -> f64 {
        self.requests.abs().max(self.bytes.abs())
    }
}

fn apart(own: &Ratios, reference: &Ratios, policy: &str, theirs: &str) -> Vec<Apart> {
    own.iter()
        .filter_map(|((trace, size), policies)| {
            let (own, theirs) =
                (policies.get(policy)?, reference.get(&(trace.clone(), size.clone()))?.get(theirs)?);
            let (requests, bytes) = (own.0 - theirs.0, own.1 - theirs.1);
            Some(Apart { trace: trace.clone(), size: size.clone(), requests, bytes })
        })
        .collect()
}
