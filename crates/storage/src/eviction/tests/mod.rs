//! Every algorithm against a naive model of itself, and its ranks against itself.

mod models;

use models::{Naive, NaiveGdsf, NaiveLru, NaiveS3Fifo, NaiveSieve, NaiveTinyLfu};

use super::ghosts::Ghosts;
use super::sketch::Sketch;
use super::*;

/// A generator whose seed a failing test can print (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

const SEEDS: [u64; 4] = [0x1234_5678_9abc_def1, 0x2545_f491_4f6c_dd1d, 7, 0xdead_beef];
const OBJECTS: u64 = 60;
const CAPACITY: u64 = 2_000;

fn fingerprint(id: u32) -> u64 {
    (u64::from(id) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Of every object another size, and a prime: no two priorities of GDSF are equal then.
fn sizes() -> Vec<u64> {
    (2..).filter(|n| (2..*n).all(|d| n % d != 0)).take(OBJECTS as usize).collect()
}

/// Does the same random operations with both, and compares whatever can be seen.
fn same_victims(mut one: impl Eviction, mut other: impl Eviction, seed: u64) {
    println!("seed {seed:#x}");
    let (mut random, sizes) = (Random(seed), sizes());
    let mut evicted = 0;
    for step in 0..20_000 {
        let id = random.below(OBJECTS) as u32;
        let size = sizes[id as usize];
        match random.below(17) {
            // As caches do: what is there is asked for, what is not comes in.
            0..12 => {
                if one.size(id).is_some() {
                    one.access(id, fingerprint(id));
                    other.access(id, fingerprint(id));
                } else {
                    let victims = one.admit(id, size, fingerprint(id));
                    evicted += victims.len();
                    assert_eq!(victims, other.admit(id, size, fingerprint(id)), "step {step}");
                }
            }
            12 => assert_eq!(one.remove(id), other.remove(id), "step {step}"),
            13 => assert_eq!(one.evict(), other.evict(), "step {step}"),
            14 => {
                assert_eq!(one.admit(id, size, fingerprint(id)), other.admit(id, size, fingerprint(id)));
            }
            15 => assert_eq!(one.victim(), other.victim(), "step {step}"),
            // Whoever has shrunk keeps its place, and so does one that takes its old size again.
            _ if one.size(id).is_some_and(|now| one.used() - now + size <= CAPACITY) => {
                let now = if one.size(id) == Some(size) { size - 1 } else { size };
                one.resize(id, now);
                other.resize(id, now);
            }
            _ => {}
        }
        let figures = |list: &dyn Eviction| (list.len(), list.used(), list.size(id));
        assert_eq!(figures(&one), figures(&other), "step {step}");
        assert!(one.used() <= CAPACITY);
    }
    assert!(evicted > 1_000, "{evicted}");
}

#[test]
fn lru_and_the_lru_crate_and_a_naive_list_give_the_same_victims() {
    for seed in SEEDS {
        same_victims(Lru::new(CAPACITY), LruMap::new(CAPACITY), seed);
        same_victims(Lru::new(CAPACITY), Naive::new(NaiveLru), seed);
    }
}

#[test]
fn sieve_equals_its_model() {
    for seed in SEEDS {
        same_victims(Sieve::new(CAPACITY), Naive::new(NaiveSieve(0)), seed);
    }
}

#[test]
fn s3_fifo_equals_its_model() {
    for seed in SEEDS {
        same_victims(S3Fifo::new(CAPACITY), Naive::new(NaiveS3Fifo(Ghosts::new())), seed);
    }
}

#[test]
fn w_tiny_lfu_equals_its_model() {
    for seed in SEEDS {
        same_victims(WTinyLfu::new(CAPACITY), Naive::new(NaiveTinyLfu(Sketch::new())), seed);
    }
}

#[test]
fn gdsf_equals_its_model() {
    for seed in SEEDS {
        same_victims(Gdsf::new(CAPACITY), Naive::new(NaiveGdsf::default()), seed);
    }
}

#[test]
fn ranks_that_are_taken_up_in_any_order_of_objects_give_the_old_order() {
    for (algorithm, seed) in Algorithm::ALL.into_iter().zip(SEEDS.into_iter().cycle()) {
        println!("{algorithm}, seed {seed:#x}");
        let (mut random, sizes) = (Random(seed), sizes());
        let mut before = algorithm.ranked(CAPACITY);
        for _ in 0..5_000 {
            let id = random.below(OBJECTS) as u32;
            if before.size(id).is_some() {
                before.access(id, fingerprint(id));
            } else {
                before.admit(id, sizes[id as usize], fingerprint(id));
            }
        }
        before.rewind();
        let ranks: Vec<_> = std::iter::from_fn(|| before.next_rank()).collect();
        assert_eq!(ranks.len(), before.len());
        let mut after = algorithm.ranked(CAPACITY);
        let mut shuffled = ranks.clone();
        shuffled.sort_by_key(|(id, _)| fingerprint(*id));
        for (id, _) in shuffled {
            after.insert(id, sizes[id as usize], fingerprint(id));
        }
        for (id, rank) in ranks {
            after.restore(id, fingerprint(id), rank);
        }
        assert_eq!(after.used(), before.used());
        while let Some(victim) = before.evict() {
            assert_eq!(after.evict(), Some(victim));
        }
    }
}

#[test]
fn any_rank_is_safe_and_a_walk_ends_whatever_happens_meanwhile() {
    for (algorithm, seed) in Algorithm::ALL.into_iter().zip(SEEDS.into_iter().cycle()) {
        println!("{algorithm}, seed {seed:#x}");
        let (mut random, sizes) = (Random(seed), sizes());
        let mut list = algorithm.ranked(CAPACITY);
        let mut walked = 0;
        list.rewind();
        for _ in 0..50_000 {
            let id = random.below(OBJECTS) as u32;
            match random.below(8) {
                0 => list.restore(id, fingerprint(id), random.below(1 << 32) as u32),
                1 => drop(list.remove(id)),
                2..4 => list.access(id, fingerprint(id)),
                4 => match list.next_rank() {
                    Some((id, _)) => {
                        assert!(list.size(id).is_some());
                        walked += 1;
                    }
                    None => list.rewind(),
                },
                _ => drop(list.admit(id, sizes[id as usize], fingerprint(id))),
            }
            assert!(list.used() <= CAPACITY);
        }
        assert!(walked > 1_000);
        list.rewind();
        let mut all: Vec<_> = std::iter::from_fn(|| list.next_rank()).map(|(id, _)| id).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), list.len());
        while list.evict().is_some() {}
        assert_eq!((list.len(), list.used()), (0, 0));
    }
}

#[test]
fn what_is_larger_than_the_capacity_is_its_own_victim_and_no_size_is_a_size() {
    for algorithm in Algorithm::ALL {
        for mut list in [algorithm.in_memory(10), Box::new(algorithm.ranked(10))] {
            assert!(list.admit(7, 10, 7).is_empty());
            assert_eq!(list.admit(8, 11, 8), [8]);
            assert_eq!((list.size(7), list.len()), (Some(10), 1));
            assert_eq!(list.evict(), Some(7));
            assert!(list.admit(3, 0, 3).is_empty());
            assert_eq!((list.size(3), list.used()), (Some(0), 0));
            assert_eq!((list.evict(), list.evict()), (Some(3), None));
            assert!(list.is_empty());
        }
    }
}

#[test]
fn an_object_of_half_the_capacity_gets_in_when_it_is_asked_for_often() {
    for algorithm in Algorithm::ALL {
        let mut list = algorithm.in_memory(1_000);
        let mut hits = 0;
        for round in 0..2_000 {
            let small = 1 + round % 40;
            for (id, size) in [(0, 500), (small, 40)] {
                if list.size(id).is_some() {
                    list.access(id, fingerprint(id));
                    hits += usize::from(id == 0);
                } else {
                    list.admit(id, size, fingerprint(id));
                }
            }
        }
        assert!(hits > 1_500, "{algorithm}: {hits}");
    }
}

#[test]
fn names_lead_to_algorithms() {
    for algorithm in Algorithm::ALL {
        assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
    }
    assert_eq!(Algorithm::from_name("LRU"), None);
}

#[test]
fn ghosts_are_the_last_that_came_and_strangers_are_not_among_them() {
    const COUNT: u32 = 10_000;
    let mut ghosts = Ghosts::new();
    for n in 0..5 * COUNT {
        ghosts.remember(COUNT as usize);
        ghosts.add(blake(n));
    }
    let known = |ghosts: &mut Ghosts, range: std::ops::Range<u32>| {
        range.filter(|n| ghosts.take(blake(*n))).count() as f64 / f64::from(COUNT)
    };
    assert!(known(&mut ghosts, 5 * COUNT..6 * COUNT) < 0.001);
    assert!(known(&mut ghosts, 2 * COUNT..3 * COUNT) < 0.01);
    let last = known(&mut ghosts, 4 * COUNT..5 * COUNT);
    assert!(last > 0.8, "{last}");
    assert!(known(&mut ghosts, 4 * COUNT..5 * COUNT) < 0.001, "each only once");
}

#[test]
fn ghosts_survive_that_their_set_grows() {
    let mut ghosts = Ghosts::new();
    ghosts.remember(64);
    (0..16).for_each(|n| ghosts.add(blake(n)));
    ghosts.remember(5_000);
    assert!((0..16).all(|n| ghosts.take(blake(n))));
}

#[test]
fn a_sketch_never_forgets_before_it_halves_and_seldom_exaggerates() {
    const OBJECTS: u32 = 10_000;
    let mut sketch = Sketch::new();
    let mut exact = vec![0_u32; OBJECTS as usize];
    let mut random = Random(SEEDS[0]);
    sketch.widen(OBJECTS as usize / 4);
    for n in 0..30_000 {
        if n == 1_000 {
            sketch.widen(OBJECTS as usize);
        }
        // Few are asked for often.
        let bound = 1 + random.below(u64::from(OBJECTS) - 1);
        let id = random.below(bound) as u32;
        exact[id as usize] += 1;
        assert!(!sketch.increment(blake(id), OBJECTS as usize));
    }
    let estimates: Vec<_> = (0..OBJECTS).map(|id| sketch.estimate(blake(id))).collect();
    let pairs = || estimates.iter().zip(&exact).map(|(estimate, exact)| (*estimate, (*exact).min(15)));
    assert!(pairs().all(|(estimate, exact)| estimate >= exact));
    let above: u32 = pairs().map(|(estimate, exact)| estimate - exact).sum();
    assert!(above < OBJECTS / 2, "{above}");
}

fn blake(n: u32) -> u64 {
    let hash = blake3::hash(&n.to_le_bytes());
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap())
}

/// Random requests to an order that changes now and then.
fn changing(mut between: impl FnMut(&mut Following, usize)) -> Following {
    let (mut random, sizes) = (Random(SEEDS[1]), sizes());
    let mut list = Following::new(Algorithm::Lru, CAPACITY);
    let mut listed = std::collections::HashMap::new();
    for step in 0..40_000 {
        between(&mut list, step);
        let id = random.below(OBJECTS) as u32;
        let size = sizes[id as usize];
        match random.below(12) {
            0 => assert_eq!(list.remove(id), listed.remove(&id), "step {step}"),
            1 => assert_eq!(
                list.evict().and_then(|id| listed.remove(&id)).is_some(),
                list.len() < listed.len() + 1
            ),
            _ if list.size(id).is_some() => list.access(id, fingerprint(id)),
            _ => {
                listed.insert(id, size);
                for victim in list.admit(id, size, fingerprint(id)) {
                    assert!(listed.remove(&victim).is_some(), "step {step}");
                }
            }
        }
        assert_eq!(list.size(id), listed.get(&id).copied(), "step {step}");
        assert_eq!((list.len(), list.used()), (listed.len(), listed.values().sum()), "step {step}");
        assert!(list.used() <= CAPACITY);
    }
    list
}

#[test]
fn an_order_that_changes_loses_nothing_and_keeps_its_bound() {
    let mut next = Algorithm::ALL.into_iter().cycle();
    let list = changing(|list, step| {
        if step % 37 == 0 {
            list.follow(next.next().unwrap());
        }
    });
    assert!(list.len() > 10);
}

#[test]
fn what_was_about_to_leave_still_is_when_the_order_changes() {
    for to in Algorithm::ALL {
        for from in [Algorithm::Lru, Algorithm::Sieve, Algorithm::S3Fifo] {
            let mut list = Following::new(from, 100_000);
            for id in 0..1_000 {
                list.admit(id, 100, fingerprint(id));
            }
            // Half of them are in use.
            (500..1_000).for_each(|id| list.access(id, fingerprint(id)));
            list.follow(to);
            let victims: Vec<_> =
                (1_000..1_300).flat_map(|id| list.admit(id, 100, fingerprint(id))).collect();
            assert_eq!(victims.len(), 300);
            assert_eq!(list.algorithm(), to);
            assert!(list.settle(0), "{from} to {to}: it is one order again");
            let used = victims.iter().filter(|id| (500..1_000).contains(*id)).count();
            assert!(used <= 3, "{from} to {to}: {used} of 500 in use have left");
        }
    }
}

#[test]
fn auto_begins_with_what_is_best_for_its_aim_and_changes_when_another_is_clearly_better() {
    let ask = |auto: &mut Auto, id: u32, size| {
        if auto.size(id).is_some() {
            auto.access(id, fingerprint(id));
            return true;
        }
        auto.admit(id, size, fingerprint(id));
        false
    };
    let mut auto = Auto::new(Aim::Requests, 100_000);
    assert_eq!(auto.algorithm(), Algorithm::Gdsf);
    // What was popular once is not any more: small objects of old are in the way of larger new ones.
    let mut random = Random(SEEDS[2]);
    for round in 0..60_000_u64 {
        let new = (round / 4 + random.below(60)) as u32;
        ask(&mut auto, new, 500 + u64::from(new % 7) * 500);
    }
    let mut hits = 0;
    for round in 60_000..70_000_u64 {
        let new = (round / 4 + random.below(60)) as u32;
        hits += u32::from(ask(&mut auto, new, 500 + u64::from(new % 7) * 500));
    }
    println!("{} after {} changes, {hits} hits", auto.algorithm(), auto.changes());
    assert!(auto.used() <= 100_000);
    assert_eq!(Auto::new(Aim::Bytes, 1).algorithm(), Algorithm::WTinyLfu);
}
