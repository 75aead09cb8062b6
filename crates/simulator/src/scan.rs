//! The first look at a trace: what no cache changes.
//!
//! Objects and their sizes, the ceiling that an infinite cache would reach, the offline bounds, how popularity and
//! sizes are distributed, whether there is a clock. 24 to 27 bytes an object, and those of its number.

use std::sync::Arc;

use crate::bound::{Intervals, NEVER};
use crate::counts::Counts;
use crate::drive::Observer;
use crate::numbers::Numbered;

/// Requests for which the next one is worked out while all sizes are equal: above, there is no exact bound.
const NEXT_MAX: usize = 500_000_000;
/// Sizes are told apart by the power of two that they are not above.
const SIZE_CLASSES: usize = 48;

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    size: u64,
    /// Number of the request in which it came last, counted from one.
    last: u64,
    /// How often; zero when it did not come yet.
    requests: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Scan {
    /// Requests that are looked at and do not count.
    warmup: u64,
    requests: u64,
    seen: Vec<Seen>,
    counts: Counts,
    footprint: u64,
    largest: u64,
    equal_size: Option<u64>,
    sizes_differ: bool,
    changed: u64,
    times: Option<Times>,
    intervals: Intervals,
    next: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    first: u64,
    last: u64,
    latest: u64,
    /// Whether each was one above the one before.
    are_numbers: bool,
    backwards: u64,
}

/// Whether a trace has a clock, and how long it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Span {
    /// So many seconds.
    Seconds(u64),
    /// Its times are the numbers of its requests, or all the same.
    NoClock,
}

/// How many objects of a kind there are, and what was asked of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Class {
    /// Objects.
    pub objects: u64,
    /// Requests for them.
    pub requests: u64,
    /// Bytes of these requests.
    pub bytes: u64,
}

impl Observer for Scan {
    fn observe(&mut self, requests: &[Numbered]) {
        for request in requests {
            self.request(request);
        }
    }
}

impl Scan {
    /// One that counts from a request on.
    #[must_use]
    pub fn after(warmup: u64) -> Self {
        Self { warmup, ..Self::default() }
    }

    fn request(&mut self, request: &Numbered) {
        let Numbered { number, size, time } = *request;
        self.requests += 1;
        let now = self.requests;
        let counted = now > self.warmup;
        let at = number as usize;
        if self.seen.len() <= at {
            let more = (at + 1).max(self.seen.len() / 8 * 9) - self.seen.len();
            self.seen.reserve_exact(more);
            self.seen.resize(at + 1, Seen::default());
        }
        let mut hit = false;
        self.next_of(None);
        if let Some(slot) = self.seen.get_mut(at) {
            let before =
                std::mem::replace(slot, Seen { size, last: now, requests: slot.requests.saturating_add(1) });
            if before.requests == 0 {
                self.footprint += size;
            } else {
                hit = before.size == size;
                if hit && counted {
                    self.intervals.add(now - before.last, size);
                } else if !hit {
                    self.changed += 1;
                }
                self.next_of(Some((before.last, now)));
            }
        }
        self.largest = self.largest.max(size);
        self.note_size(size);
        self.note_time(time);
        if counted {
            self.counts.count(size, hit);
        }
    }

    /// Keeps what the exact bound needs while all sizes are equal.
    fn next_of(&mut self, came_again: Option<(u64, u64)>) {
        if self.sizes_differ {
            return;
        }
        match came_again {
            None if self.next.len() >= NEXT_MAX => self.forget_next(),
            None => self.next.push(NEVER),
            Some((last, now)) => {
                let place = usize::try_from(last - 1).ok().and_then(|at| self.next.get_mut(at));
                if let (Some(place), Ok(now)) = (place, u32::try_from(now - 1)) {
                    *place = now;
                }
            }
        }
    }

    fn forget_next(&mut self) {
        self.sizes_differ = true;
        self.next = Vec::new();
    }

    fn note_size(&mut self, size: u64) {
        match self.equal_size {
            None if self.requests == 1 => self.equal_size = Some(size),
            Some(equal) if equal == size => {}
            Some(_) => {
                self.equal_size = None;
                self.forget_next();
            }
            None => {}
        }
    }

    fn note_time(&mut self, time: u64) {
        match &mut self.times {
            None => {
                let are_numbers = true;
                self.times = Some(Times { first: time, last: time, latest: time, are_numbers, backwards: 0 });
            }
            Some(times) => {
                times.are_numbers &= time == times.last + 1;
                times.backwards += u64::from(time < times.last);
                times.last = time;
                times.first = times.first.min(time);
                times.latest = times.latest.max(time);
            }
        }
    }

    /// Requests, and what an infinite cache would have answered: the ceiling.
    #[must_use]
    pub const fn infinite(&self) -> Counts {
        self.counts
    }

    /// How many objects there are.
    #[must_use]
    pub const fn objects(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Sum of their sizes in bytes, each as it came first.
    #[must_use]
    pub const fn footprint(&self) -> u64 {
        self.footprint
    }

    /// The largest object's size in bytes.
    #[must_use]
    pub const fn largest(&self) -> u64 {
        self.largest
    }

    /// The size of all objects, if it is the same.
    #[must_use]
    pub const fn equal_size(&self) -> Option<u64> {
        self.equal_size
    }

    /// How often an object came with another size than before: a miss for every cache.
    #[must_use]
    pub const fn changed(&self) -> u64 {
        self.changed
    }

    /// How long the trace goes.
    #[must_use]
    pub fn span(&self) -> Span {
        match self.times {
            Some(times) if !times.are_numbers && times.latest > times.first => {
                Span::Seconds(times.latest - times.first)
            }
            _ => Span::NoClock,
        }
    }

    /// How often time ran backwards.
    #[must_use]
    pub fn backwards(&self) -> u64 {
        self.times.map_or(0, |times| times.backwards)
    }

    /// The lengths of all reuse intervals, for the bound.
    #[must_use]
    pub const fn intervals(&self) -> &Intervals {
        &self.intervals
    }

    /// For each request, the number of the next one for the same object: only where all sizes are equal.
    #[must_use]
    pub fn take_next(&mut self) -> Option<Arc<[u32]>> {
        (!self.next.is_empty()).then(|| std::mem::take(&mut self.next).into())
    }

    /// Objects by how often they were asked for: once, twice, three or four times, and so on by powers of two.
    #[must_use]
    pub fn popularity(&self) -> Vec<Class> {
        let mut classes = vec![Class::default(); 33];
        for seen in self.seen.iter().filter(|seen| seen.requests > 0) {
            let class = (u32::BITS - (seen.requests - 1).leading_zeros()) as usize;
            add(&mut classes, class, seen);
        }
        trimmed(classes)
    }

    /// Objects by the smallest power of two that their size is not above.
    #[must_use]
    pub fn sizes(&self) -> Vec<Class> {
        let mut classes = vec![Class::default(); SIZE_CLASSES];
        for seen in self.seen.iter().filter(|seen| seen.requests > 0) {
            let class = (u64::BITS - seen.size.saturating_sub(1).leading_zeros()) as usize;
            add(&mut classes, class.min(SIZE_CLASSES - 1), seen);
        }
        trimmed(classes)
    }

    /// Requests of the most popular objects: how often the `rank`th is asked for, at ranks that grow by a factor.
    #[must_use]
    pub fn ranks(&self) -> Vec<(u64, u32)> {
        let mut requests: Vec<u32> =
            self.seen.iter().filter(|seen| seen.requests > 0).map(|seen| seen.requests).collect();
        requests.sort_unstable_by(|a, b| b.cmp(a));
        let mut ranks = Vec::new();
        let mut rank = 1.0_f64;
        while let Some(count) = requests.get(rank as usize - 1) {
            ranks.push((rank as u64, *count));
            rank = (rank * 1.3).max(rank.floor() + 1.0);
        }
        ranks
    }

    /// The hottest objects and the largest, by their numbers, as many of each.
    #[must_use]
    pub fn outstanding(&self, each: usize) -> Vec<u32> {
        let pick = |weigh: fn(&Seen) -> u64| {
            let mut all: Vec<(u64, u32)> =
                (0..).zip(&self.seen).map(|(number, seen)| (weigh(seen), number)).collect();
            if all.len() > each {
                all.select_nth_unstable_by(each, |a, b| b.cmp(a));
                all.truncate(each);
            }
            all.into_iter().map(|(_, number)| number)
        };
        let mut numbers: Vec<u32> =
            pick(|seen| u64::from(seen.requests)).chain(pick(|seen| seen.size)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Each object's number and its last size.
    pub fn object_sizes(&self) -> impl Iterator<Item = (u32, u64)> {
        (0..).zip(self.seen.iter().map(|seen| seen.size))
    }

    /// Bytes of memory that this takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.seen.capacity() * size_of::<Seen>() + self.next.capacity() * size_of::<u32>()
    }
}

fn add(classes: &mut [Class], at: usize, seen: &Seen) {
    if let Some(class) = classes.get_mut(at) {
        class.objects += 1;
        class.requests += u64::from(seen.requests);
        class.bytes += u64::from(seen.requests) * seen.size;
    }
}

fn trimmed(mut classes: Vec<Class>) -> Vec<Class> {
    while classes.last().is_some_and(|class| class.objects == 0) {
        classes.pop();
    }
    classes
}
