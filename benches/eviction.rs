//! What an eviction order costs: a hit, and an object that comes while another leaves, among a million.
#![allow(missing_docs, reason = "a bench: criterion's macros make undocumented functions")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use larder_storage::eviction::{Algorithm, Eviction};

const OBJECTS: u32 = 1_000_000;
const SIZE_MAX: u64 = 65_536;

/// Evenly distributed bits (the finaliser of SplitMix64).
fn fingerprint(id: u64) -> u64 {
    let bits = (id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits ^ bits >> 31
}

/// As full as it can be.
fn full(algorithm: Algorithm) -> Box<dyn Eviction> {
    let mut list = algorithm.in_memory(u64::from(OBJECTS) * SIZE_MAX / 2);
    for id in 0..OBJECTS {
        let bits = fingerprint(u64::from(id));
        list.admit(id, 1 + bits % SIZE_MAX, bits);
    }
    list
}

fn eviction(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("eviction");
    for algorithm in Algorithm::ALL {
        let mut list = full(algorithm);
        let mut step = 0_u64;
        // Few are asked for often.
        let mut next = || {
            step += 1;
            let bits = fingerprint(step);
            let share = (bits >> 40) as f64 / f64::from(1 << 24);
            (share * share * share * f64::from(OBJECTS)) as u32
        };
        group.bench_function(BenchmarkId::new("access", algorithm), |bencher| {
            bencher.iter(|| {
                let id = next();
                list.access(black_box(id), fingerprint(u64::from(id)));
            });
        });
        // The numbers of the victims are used again, as the store does.
        let mut free: Vec<u32> = (0..OBJECTS).filter(|id| list.size(*id).is_none()).collect();
        let mut newcomer = u64::from(OBJECTS);
        group.bench_function(BenchmarkId::new("admit", algorithm), |bencher| {
            bencher.iter(|| {
                newcomer += 1;
                let bits = fingerprint(newcomer);
                let id = free.pop().or_else(|| list.evict()).unwrap_or_default();
                free.extend(list.admit(black_box(id), 1 + bits % SIZE_MAX, bits));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, eviction);
criterion_main!(benches);
