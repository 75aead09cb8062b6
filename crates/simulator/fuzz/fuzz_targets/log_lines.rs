//! Any bytes as a log of each format: every line is read or counted as unreadable, and what was read goes through the policy.
#![no_main]

use larder_policy::PolicySettings;
use larder_simulator::http::{Assumptions, Simulation, Tiers};
use larder_simulator::log::{Format, Log, sniff};
use larder_storage::eviction::Algorithm;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = sniff(bytes);
    for format in Format::ALL {
        let tiers = Tiers::new(Algorithm::S3Fifo.in_memory(1 << 20), None);
        let mut simulation = Simulation::new(PolicySettings::default(), Assumptions::default(), tiers);
        let mut log = Log::new(bytes, format);
        let mut read = 0;
        for entry in log.by_ref() {
            simulation.request(&entry.unwrap());
            read += 1;
        }
        assert!(read + log.skipped().count <= log.line_number());
        let report = simulation.report();
        assert_eq!(report.all().requests + report.aside.requests, read);
    }
});
