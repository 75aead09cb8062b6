//! How fast one thread replays a trace from its file: reading, numbering objects, and one cache.
//!
//! `speed TRACE BYTES POLICY...` prints for each policy the requests in a second, both miss ratios and the bytes of
//! memory that an object takes. `benches/simulator.py` runs it beside another simulator.
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use larder_simulator::{Cache, Inputs, Numbers, Policy, Window, drive};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, capacity, policies @ ..] = &arguments[..] else {
        return Err("usage: speed TRACE BYTES POLICY...".into());
    };
    for name in policies {
        let policy = Policy::from_name(name).ok_or_else(|| format!("{name} is no policy"))?;
        let cache = Cache { policy, capacity: capacity.parse()?, memory: None };
        let begun = Instant::now();
        let inputs = Inputs::open(&[PathBuf::from(path)], None)?;
        let (mut reader, mut numbers) = (inputs.reader(), Numbers::default());
        let mut replay = [cache.replay(Window { warmup: 0, requests: u64::MAX, parts: 1 })];
        drive(|batch| reader.read_batch(&mut numbers, batch), &mut replay, 1)?;
        let seconds = begun.elapsed().as_secs_f64();
        let [replay] = replay;
        let outcome = replay.outcome();
        let memory = outcome.memory_bytes + numbers.memory_bytes() as u64;
        println!(
            "{policy} {:.0} {:.6} {:.6} {:.1}",
            outcome.counts.requests as f64 / seconds,
            outcome.counts.miss_ratio(),
            outcome.counts.byte_miss_ratio(),
            memory as f64 / numbers.len().max(1) as f64
        );
    }
    Ok(())
}
