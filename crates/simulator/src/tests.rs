//! The small part of the table that every build checks: `fixtures/traces`, beside another simulator's figures.

use std::collections::BTreeMap;

use larder_storage::eviction::Aim;

use crate::{Cache, Counts, Inputs, Numbers, Policy, Scan, Window, drive, fixtures};

const TRACES: [&str; 2] = ["drift.oracleGeneral.zst", "scan.oracleGeneral"];
const SIZES: [f64; 3] = [0.01, 0.1, 0.3];
/// How far apart two figures may be that should be the same.
const TOLERANCE: f64 = 0.001;

/// What each policy makes of each trace at each size.
fn replay_all() -> BTreeMap<(String, String, String), (u64, Scan, Counts)> {
    let mut all = BTreeMap::new();
    for file in TRACES {
        let inputs = Inputs::open(&[fixtures().join(file)], None).unwrap();
        let read = |observer: &mut [&mut dyn crate::Observer]| {
            let (mut reader, mut numbers) = (inputs.reader(), Numbers::default());
            drive(|batch| reader.read_batch(&mut numbers, batch), observer, 1).unwrap();
        };
        let mut scan = Scan::default();
        read(&mut [&mut scan]);
        let window = Window { warmup: 0, requests: scan.infinite().requests, parts: 4 };
        for (policy, size) in Policy::ALL.into_iter().flat_map(|policy| SIZES.map(|size| (policy, size))) {
            let capacity = (size * scan.footprint() as f64) as u64;
            let mut replay = Cache { policy, capacity, memory: None }.replay(window);
            read(&mut [&mut replay]);
            let outcome = replay.outcome();
            let mut parts = Counts::default();
            outcome.parts.iter().for_each(|part| parts += *part);
            assert_eq!(parts, outcome.counts, "{policy}");
            let trace = file.split('.').next().unwrap().to_owned();
            let key = (trace, policy.name().to_owned(), size.to_string());
            let mut scan = Scan::default();
            read(&mut [&mut scan]);
            all.insert(key, (capacity, scan, outcome.counts));
        }
    }
    all
}

#[test]
fn every_policy_equals_the_reference() {
    let own = replay_all();
    let text = std::fs::read_to_string(fixtures().join("reference.csv")).unwrap();
    let mut rows = 0;
    for line in text.lines().skip(1) {
        let [trace, policy, size, capacity, miss, byte_miss] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let key = (trace.to_owned(), policy.to_owned(), size.to_owned());
        let (own_capacity, _, counts) = &own[&key];
        assert_eq!(own_capacity.to_string(), capacity);
        // Its sketch of counts is narrow at sizes like these, and mistakes objects for each other.
        let tolerance = if policy == "w-tinylfu-libcachesim" { 0.03 } else { TOLERANCE };
        let far = |own: f64, theirs: &str| (own - theirs.parse::<f64>().unwrap()).abs();
        let apart = far(counts.miss_ratio(), miss).max(far(counts.byte_miss_ratio(), byte_miss));
        assert!(apart <= tolerance, "{line}: {:.6} {:.6}", counts.miss_ratio(), counts.byte_miss_ratio());
        rows += 1;
    }
    assert_eq!(rows, 54);
}

/// What ships differs from the reference on purpose: its figures are reviewed as text.
#[test]
fn the_ratios_of_the_fixtures_are_what_they_were() {
    let mut text =
        "trace,policy,size_ratio,cache_bytes,requests,objects,footprint_bytes,miss_ratio,byte_miss_ratio\n"
            .to_owned();
    let own = replay_all();
    for trace in ["drift", "scan"] {
        for (policy, size) in Policy::SHIPPED.into_iter().flat_map(|policy| SIZES.map(|size| (policy, size)))
        {
            let (capacity, scan, counts) =
                &own[&(trace.to_owned(), policy.name().to_owned(), size.to_string())];
            text += &format!(
                "{trace},{policy},{size},{capacity},{},{},{},{:.6},{:.6}\n",
                counts.requests,
                scan.objects(),
                scan.footprint(),
                counts.miss_ratio(),
                counts.byte_miss_ratio()
            );
        }
    }
    let path = fixtures().join("ratios.csv");
    if std::env::var_os("LARDER_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "ratios differ (LARDER_BLESS=1 writes ratios.csv anew):\n{text}");
}

#[test]
fn no_policy_beats_the_offline_bound() {
    for ((trace, policy, size), (capacity, mut scan, counts)) in replay_all() {
        let (hits, hit_bytes) = scan.intervals().bound(capacity, counts.requests);
        assert!(
            counts.hits as f64 <= hits && counts.hit_bytes as f64 <= hit_bytes,
            "{trace} {policy} {size}"
        );
        if let (Some(next), Some(equal)) = (scan.take_next(), scan.equal_size()) {
            let window = Window { warmup: 0, requests: counts.requests, parts: 1 };
            let mut belady = [crate::Belady::new(next, (capacity / equal) as usize, window)];
            let inputs = Inputs::open(&[fixtures().join(TRACES[1])], None).unwrap();
            let (mut reader, mut numbers) = (inputs.reader(), Numbers::default());
            drive(|batch| reader.read_batch(&mut numbers, batch), &mut belady, 1).unwrap();
            assert!(
                (counts.hits..=hits as u64).contains(&belady[0].counts().hits),
                "{trace} {policy} {size}"
            );
        }
    }
}

/// `examples/auto.rs` checks the same of whole traces. `scan` ends after 400 requests, before there is anything to learn from.
#[test]
fn auto_is_near_the_best_of_what_it_follows() {
    let own = replay_all();
    for (aim, missed) in
        [(Aim::Requests, Counts::miss_ratio as fn(&Counts) -> f64), (Aim::Bytes, Counts::byte_miss_ratio)]
    {
        let ratio = |size: f64, policy: Policy| {
            let key = ("drift".to_owned(), policy.name().to_owned(), size.to_string());
            missed(&own[&key].2)
        };
        for size in SIZES {
            let fixed = Policy::SHIPPED.map(|policy| ratio(size, policy));
            let best = fixed.into_iter().fold(1.0, f64::min);
            let auto = ratio(size, Policy::Auto(aim));
            assert!(auto <= best + 0.02, "at {size}, {aim:?}: {auto:.4}, best {best:.4}");
        }
    }
}

/// What it begins with is not the best on a scan. The fixture is too short to learn on, so it comes sixty times.
#[test]
fn auto_changes_when_another_does_better() {
    let inputs = Inputs::open(&vec![fixtures().join("scan.oracleGeneral"); 60], None).unwrap();
    let read = |observer: &mut [&mut dyn crate::Observer]| {
        let (mut reader, mut numbers) = (inputs.reader(), Numbers::default());
        drive(|batch| reader.read_batch(&mut numbers, batch), observer, 1).unwrap();
    };
    let mut scan = Scan::default();
    read(&mut [&mut scan]);
    let window = Window { warmup: 0, requests: scan.infinite().requests, parts: 1 };
    let missed = |policy: Policy| {
        let capacity = scan.footprint() / 10;
        let mut replay = Cache { policy, capacity, memory: None }.replay(window);
        read(&mut [&mut replay]);
        replay.outcome().counts.miss_ratio()
    };
    let best = Policy::SHIPPED.map(missed).into_iter().fold(1.0, f64::min);
    let first = missed(Policy::Shipped(Aim::Requests.first()));
    let auto = missed(Policy::Auto(Aim::Requests));
    assert!(first > best + 0.02 && auto <= best + 0.02, "{auto:.4}, at first {first:.4}, best {best:.4}");
}
