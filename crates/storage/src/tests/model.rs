use std::collections::HashMap;

use super::*;

/// The store equals a map, whatever is done to it, while nothing has to be evicted.
#[tokio::test]
async fn the_store_equals_a_map() {
    let seed = seed();
    let mut random = Random(seed);
    let mut bench = Bench::new(|options| {
        options.segment_bytes = MIB / 2;
        options.memory_limit = MIB;
    });
    let mut model: HashMap<(u64, u64), (u64, usize)> = HashMap::new();
    let variant = |n: u64| response_to(&[("Accept", &format!("type/{n}"))], &[("Vary", "Accept")]);
    for step in 0..long(3_000, 100_000) {
        let (name, kind) = (random.below(60), random.below(2));
        match random.below(100) {
            0..=49 => {
                let size = match random.below(20) {
                    0 => random.below(700_000),
                    1 | 2 => random.below(200_000),
                    _ => random.below(8_000),
                } as usize;
                // Some bodies are the same as others.
                let seed = if random.below(4) == 0 { 7 } else { step };
                put_response(bench.store(), &key(name), variant(kind), &body(seed, size)).await.unwrap();
                model.insert((name, kind), (seed, size));
            }
            50..=57 => {
                let known = (0..2).filter(|kind| model.remove(&(name, *kind)).is_some()).count();
                assert_eq!(bench.store().remove(&key(name)).await, known, "seed {seed} step {step}");
            }
            58..=62 => {
                let variants = bench.store().lookup(&key(name)).await;
                if let Some(stored) = variants.first() {
                    let again = stored.response().clone();
                    bench.store().freshen(stored, again).await;
                }
            }
            63..=64 if step % 7 == 0 => bench.reopen().await,
            65 if step % 5 == 0 => {
                // Killed: what is there now goes on as another store.
                let image = bench.crash_image().await;
                bench.close().await;
                // A torn copy of the index is rebuilt, until when lookups may miss.
                image.store().ready().await;
                bench = image;
            }
            66 => {
                let mut fill = bench.store().begin(key(name), variant(kind), None, None);
                fill.write(body(step, 300_000)).await.unwrap();
            }
            _ => {
                let variants = bench.store().lookup(&key(name)).await;
                let expected = (0..2).filter(|kind| model.contains_key(&(name, *kind))).count();
                assert_eq!(variants.len(), expected, "seed {seed} step {step} key {name}");
                for stored in variants.iter() {
                    let kind = (0..2).find(|kind| stored.response() == &variant(*kind)).unwrap();
                    let (body_seed, size) = model[&(name, kind)];
                    let found = read(stored.body(0..u64::MAX)).await.unwrap();
                    assert!(found == body(body_seed, size), "seed {seed} step {step} key {name}");
                }
            }
        }
    }
    bench.reopen().await;
    // A crash may leave nominations of what was removed; they go when they are looked up.
    for name in 0..60 {
        let _ = bench.store().lookup(&key(name)).await;
    }
    until(bench.store(), |stats| stats.objects == model.len() as u64).await;
    assert_eq!(
        bench.store().entries(crate::Filter::default()).await.unwrap().count(),
        model.len(),
        "seed {seed}"
    );
    assert!(bench.store().verify(crate::Repair::No, |_| true).await.unwrap().is_sound());
    crate::purge::barrier(bench.store().sender()).await.unwrap();
    let distinct: std::collections::HashSet<_> =
        model.values().filter(|(_, size)| *size > 65_536).map(|(seed, size)| (*seed, *size)).collect();
    assert_eq!(bench.blobs().len(), distinct.len(), "seed {seed}");
    assert_eq!(bench.store().stats().damaged, 0, "seed {seed}");
}
