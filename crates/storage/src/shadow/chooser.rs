//! Which algorithm to follow: the one that has missed least lately, if its lead is worth a change and no accident.
//!
//! It is told, window by window, what each algorithm has missed. What is long ago counts for less. A change needs a lead
//! of [`LEAD`] of all that was asked for, and one that is large beside how much it comes and goes from one
//! window to the next ([`CERTAIN`] standard errors, as of a sum of differences in pairs): one large object that happens to be
//! a hit here and a miss there is a lead, but no reason.

use super::miniature::{CANDIDATES, Traffic};
use crate::eviction::{Aim, Algorithm};

/// A window counts for so much of what the one after it counts for: half after 69.
const FADE: f64 = 0.99;
/// Least lead, as a share of what was asked for.
const LEAD: f64 = 0.005;
/// Least lead in standard errors.
const CERTAIN: f64 = 2.0;

/// See the module.
#[derive(Debug)]
pub(crate) struct Chooser {
    aim: Aim,
    following: usize,
    /// All that was asked for.
    asked: f64,
    /// What each algorithm has missed of it.
    missed: [f64; CANDIDATES],
    /// The squares of how much more one has missed in a window than another, summed.
    squares: [[f64; CANDIDATES]; CANDIDATES],
}

/// Another algorithm is to be followed from now on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Change {
    pub(crate) from: Algorithm,
    pub(crate) to: Algorithm,
    /// Hit ratio of the former lately, and of the new one; of requests or bytes, as it is aimed at.
    pub(crate) ratios: [f64; 2],
}

impl Chooser {
    pub(crate) fn new(aim: Aim, start: Algorithm) -> Self {
        let following = Algorithm::ALL.iter().position(|one| *one == start).unwrap_or_default();
        Self {
            aim,
            following,
            asked: 0.0,
            missed: [0.0; CANDIDATES],
            squares: [[0.0; CANDIDATES]; CANDIDATES],
        }
    }

    /// Takes what was asked for in a window, and what each algorithm missed of it.
    pub(crate) fn window(&mut self, asked: Traffic, missed: [Traffic; CANDIDATES]) -> Option<Change> {
        let aimed_at = |traffic: Traffic| match self.aim {
            Aim::Requests => traffic.requests,
            Aim::Bytes => traffic.bytes,
        };
        let (asked, missed) = (aimed_at(asked), missed.map(aimed_at));
        self.asked = self.asked * FADE + asked;
        for ((sum, squares), one) in self.missed.iter_mut().zip(&mut self.squares).zip(missed) {
            *sum = *sum * FADE + one;
            for (square, other) in squares.iter_mut().zip(missed) {
                *square = *square * FADE + (one - other).powi(2);
            }
        }
        self.judge()
    }

    fn judge(&mut self) -> Option<Change> {
        let (best, least) = self.missed.iter().copied().enumerate().min_by(|a, b| a.1.total_cmp(&b.1))?;
        let now = self.missed.get(self.following).copied()?;
        let square = self.squares.get(self.following)?.get(best)?;
        let lead = now - least;
        if lead <= LEAD * self.asked || lead <= CERTAIN * square.sqrt() {
            return None;
        }
        let (from, to) = (*Algorithm::ALL.get(self.following)?, *Algorithm::ALL.get(best)?);
        self.following = best;
        Some(Change { from, to, ratios: [now, least].map(|missed| (1.0 - missed / self.asked).max(0.0)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that each misses of 1,000: LRU, SIEVE, S3-FIFO, W-TinyLFU, GDSF.
    fn window(chooser: &mut Chooser, missed: [f64; CANDIDATES]) -> Option<Algorithm> {
        let traffic = |bytes| Traffic { requests: 1.0, bytes };
        chooser.window(traffic(1_000.0), missed.map(traffic)).map(|change| change.to)
    }

    #[test]
    fn a_steady_lead_is_followed_and_a_small_one_is_not() {
        let mut chooser = Chooser::new(Aim::Bytes, Algorithm::S3Fifo);
        for _ in 0..500 {
            assert_eq!(window(&mut chooser, [504.0, 500.0, 504.0, 504.0, 504.0]), None);
        }
        let mut windows = 0;
        while window(&mut chooser, [504.0, 504.0, 504.0, 404.0, 504.0]).is_none() {
            windows += 1;
        }
        assert!(windows < 20, "{windows}");
        assert_eq!(window(&mut chooser, [504.0, 504.0, 504.0, 404.0, 504.0]), None, "it is followed already");
    }

    #[test]
    fn a_single_window_is_no_reason_however_great_its_lead() {
        let mut chooser = Chooser::new(Aim::Bytes, Algorithm::Lru);
        for _ in 0..10 {
            assert_eq!(window(&mut chooser, [500.0; CANDIDATES]), None);
        }
        assert_eq!(window(&mut chooser, [900.0, 100.0, 900.0, 900.0, 900.0]), None);
        assert_eq!(window(&mut chooser, [500.0; CANDIDATES]), None);
    }

    #[test]
    fn leads_that_come_and_go_are_not_followed() {
        let mut chooser = Chooser::new(Aim::Bytes, Algorithm::Lru);
        for n in 0..1_000 {
            let (one, other) = if n % 2 == 0 { (700.0, 300.0) } else { (300.0, 700.0) };
            assert_eq!(window(&mut chooser, [one, other, 700.0, 700.0, 700.0]), None, "{n}");
        }
    }

    #[test]
    fn what_it_goes_by_is_what_it_aims_at() {
        for (aim, expected) in [(Aim::Requests, Algorithm::Gdsf), (Aim::Bytes, Algorithm::Sieve)] {
            let mut chooser = Chooser::new(aim, Algorithm::Lru);
            let traffic = |requests, bytes| Traffic { requests, bytes };
            let mut missed = [traffic(90.0, 9_000.0); CANDIDATES];
            (missed[1], missed[4]) = (traffic(95.0, 5_000.0), traffic(50.0, 9_500.0));
            let change = (0..20).find_map(|_| chooser.window(traffic(100.0, 10_000.0), missed)).unwrap();
            assert_eq!((change.from, change.to), (Algorithm::Lru, expected));
            assert!(change.ratios[0] < change.ratios[1]);
        }
    }
}
