//! What an intercepted name costs beside its handshake: a certificate minted, and one that is kept.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench: criterion's macros make undocumented functions"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use larder_policy::Timestamp;
use larder_server::probe::LeafProbe;
use larder_server::tls::{Authority, CaOptions};

fn leaves(criterion: &mut Criterion) {
    let now = Timestamp::from_secs(1_795_824_000);
    let options = CaOptions { host: "bench".to_owned(), only: Vec::new(), days: CaOptions::DAYS };
    let leaves = LeafProbe::new(Authority::create(&options, now).unwrap()).unwrap();
    let mut group = criterion.benchmark_group("leaf");
    group.throughput(Throughput::Elements(1));
    let mut number = 0_u64;
    group.bench_function("mint", |bencher| {
        bencher.iter(|| {
            number += 1;
            leaves.chain_bytes(black_box(&format!("host-{number}.example.com")), now).unwrap()
        });
    });
    let kept: Vec<_> = (0..1000).map(|number| format!("kept-{number}.example.com")).collect();
    let mut round = kept.iter().cycle();
    group.bench_function("look up, 1,000 names kept", |bencher| {
        bencher.iter(|| leaves.chain_bytes(black_box(round.next().unwrap()), now).unwrap());
    });
    group.finish();
}

criterion_group!(benches, leaves);
criterion_main!(benches);
