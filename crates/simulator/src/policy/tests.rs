//! What all policies have in common.

use super::*;
use crate::numbers::spread;

struct Exercise;

impl Visitor for Exercise {
    type Output = ();

    /// A few thousand requests of mixed sizes: the promises of the trait hold after each.
    fn visit<E: Eviction + 'static>(self, mut list: E) {
        let mut bits = 7_u64;
        for step in 0..20_000_u64 {
            bits = spread(bits ^ step);
            let id = (bits % 400).min(bits >> 8 & 0xff) as u32;
            let size = 1 + (bits >> 20) % if bits & 0x1000 == 0 { 20 } else { 400 };
            match bits >> 60 {
                0 => {
                    let before = (list.size(id), list.used());
                    assert_eq!(list.remove(id), before.0);
                    assert_eq!(list.used(), before.1 - before.0.unwrap_or(0));
                }
                _ if list.size(id) == Some(size) => list.access(id, spread(u64::from(id))),
                _ => {
                    let victims = list.admit(id, size, spread(u64::from(id)));
                    assert!(victims.iter().all(|victim| list.size(*victim).is_none()), "{list:?}");
                }
            }
            assert!(list.used() <= list.capacity());
            assert_eq!(list.is_empty(), list.used() == 0);
        }
        let mut left = list.len();
        while let Some(victim) = list.evict() {
            assert_eq!(list.size(victim), None);
            left -= 1;
            assert_eq!(list.len(), left);
        }
        assert_eq!((left, list.used()), (0, 0));
    }
}

#[test]
fn every_policy_keeps_to_its_capacity_and_lets_go_of_all() {
    for policy in Policy::ALL {
        policy.visit(1000, Exercise);
    }
}

#[test]
fn names_are_found_again() {
    for policy in Policy::ALL {
        assert_eq!(Policy::from_name(policy.name()), Some(policy));
    }
    assert_eq!(Policy::from_name("lfu"), None);
}
