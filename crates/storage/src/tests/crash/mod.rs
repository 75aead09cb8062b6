//! The store is stopped after every step, its power is cut, its disk refuses, and it is opened again.
//!
//! Scripts of operations run on a store whose file layer counts every step that changes the directory. At one step it
//! stops as if killed; then the directory is opened as it is and everything that the store promises is checked (`check`).
//! Short scripts are stopped after each of their steps, random ones at random. A power cut is made from one run whose
//! steps were written down (`files::power`).
//!
//! `LARDER_TEST_LONG=1` makes 10,000 random stops and as many power cuts of what are a few hundred otherwise;
//! `LARDER_TEST_SEED` repeats a run. These stores are below 64 MiB, where the index lives in memory; sled does its own
//! I/O and has tests of its own (`index`, and real kills in `kills`).

mod check;
mod parts;
mod script;
mod world;

use std::sync::Arc;

use check::After;
use rustix::io::Errno;
use script::Op;
use world::{Room, World};

use super::{Random, long, seed};
use crate::files::power::PowerCut;
use crate::files::seam::{Fault, Faults};

/// Every script is stopped after each of its steps, with nothing of the next, and with a part of it when it is a write.
/// A short run takes every fifth step, beginning anywhere.
#[tokio::test]
async fn a_stop_after_any_step_of_a_short_script_breaks_no_promise() {
    let mut stops = 0;
    let stride = long(5, 1);
    let first = Random(seed()).below(stride);
    for (name, ops) in script::fixed() {
        let faults = Faults::none();
        run(Room::Enough, faults.clone(), &ops).await;
        let steps = faults.steps();
        for at in (first..=steps).step_by(stride as usize) {
            for fault in [Fault::Stop, Fault::Tear(37)] {
                let (_root, mut world) = run(Room::Enough, Faults::at(at, fault), &ops).await;
                world.check(After::Stop, &format!("{name}, {fault:?} at {at} of {steps}")).await;
                stops += 1;
            }
        }
    }
    println!("{stops} stops");
}

#[tokio::test]
async fn stops_at_random_break_no_promise() {
    random_stops(seed(), long(50, 5_000)).await;
}

#[tokio::test]
async fn stops_that_are_always_the_same_break_no_promise() {
    random_stops(4, long(50, 5_000)).await;
}

/// A directory lives through several stops, one after the other.
async fn random_stops(seed: u64, stops: u64) {
    let mut random = Random(seed);
    let mut done = 0;
    while done < stops {
        let room = if random.below(4) == 0 { Room::Tight } else { Room::Enough };
        let root = new_root();
        let mut world = World::new(root.path(), room, Faults::none());
        for _ in 0..3 {
            stop_somewhere(&mut world, &mut random, &format!("seed {seed}, stop {done}, {room:?}")).await;
            done += 1;
        }
    }
}

/// With sled as index, which goes on by itself when the store is stopped: it then knows of more than there is.
#[tokio::test]
async fn stops_beside_an_index_break_no_promise() {
    let seed = seed();
    let mut random = Random(seed);
    for done in 0..long(8, 300) {
        let root = new_root();
        let mut world = World::new(root.path(), Room::Index, Faults::none());
        for _ in 0..2 {
            stop_somewhere(&mut world, &mut random, &format!("seed {seed}, stop {done}")).await;
        }
    }
}

/// Power fails at any moment of a run, and takes along any part of what was not on disk yet. Then the directory goes on
/// to be used, and is stopped.
#[tokio::test]
async fn power_cuts_leave_only_what_is_right() {
    for (seed, runs) in [(4, long(2, 200)), (seed(), long(3, 800))] {
        let mut random = Random(seed);
        for number in 0..runs {
            let room = if random.below(3) == 0 { Room::Tight } else { Room::Enough };
            let len = 3 + random.below(15);
            let ops: Vec<Op> = (0..len).map(|_| Op::random(&mut random)).collect();
            let faults = Faults::journaling();
            let (root, before) = run(room, faults.clone(), &ops).await;
            let journal = faults.journal().unwrap();
            for cut_number in 0..10 {
                let done = random.below(journal.len() as u64 + 1) as usize;
                let kept = done - (random.below(done as u64 + 1) as usize).min(random.below(40) as usize);
                let lost_percent = [0, 20, 100, random.below(100)][random.below(4) as usize];
                let cut = PowerCut { done, kept, lost_percent };
                let why = format!("seed {seed}, run {number}, cut {cut_number}, {room:?}, {cut:?}");
                let to = new_root();
                journal.after_power_cut(cut, &mut |bound| random.below(bound), (root.path(), to.path()));
                let mut world = before.elsewhere(to.path());
                // Without any loss it is a kill.
                let nothing_lost = kept == done && lost_percent == 0 && room == Room::Enough;
                let after = if nothing_lost { After::Stop } else { After::Loss };
                world.allowed = before.allowed_at(done);
                world.check(after, &why).await;
                if cut_number % 3 == 0 {
                    stop_somewhere(&mut world, &mut random, &why).await;
                }
            }
        }
    }
}

/// The disk refuses some steps, or cannot be read for a while, and the store goes on.
#[tokio::test]
async fn a_disk_that_refuses_spoils_nothing() {
    for (seed, runs) in [(4, long(10, 1_000)), (seed(), long(25, 2_000))] {
        let mut random = Random(seed);
        for number in 0..runs {
            let room = if random.below(3) == 0 { Room::Tight } else { Room::Enough };
            let len = 3 + random.below(15);
            let ops: Vec<Op> = (0..len).map(|_| Op::random(&mut random)).collect();
            let faults = Faults::none();
            let from = 8 + random.below(len * 8);
            let times = 1 + random.below(12);
            let why = format!("seed {seed}, run {number}, {room:?}, from {from}, {times} times");
            if random.below(3) == 0 {
                faults.fail_reads(from..from + times);
            } else {
                let error = [Errno::NOSPC, Errno::IO][random.below(2) as usize];
                faults.plan(from, Fault::Refuse { error, times, landing: random.below(3) * 1500 });
            }
            let (_root, mut world) = run(room, faults, &ops).await;
            world.check(After::Loss, &why).await;
        }
    }
}

async fn stop_somewhere(world: &mut World, random: &mut Random, why: &str) {
    let len = 2 + random.below(14);
    let ops: Vec<Op> = (0..len).map(|_| Op::random(random)).collect();
    let at = random.below(len * 9);
    let fault = if random.below(2) == 0 { Fault::Stop } else { Fault::Tear(random.below(100_000)) };
    world.faults = Faults::at(at, fault);
    world.run(&ops).await;
    world.check(After::Stop, &format!("{why}, {fault:?} at {at}")).await;
}

async fn run(room: Room, faults: Arc<Faults>, ops: &[Op]) -> (tempfile::TempDir, World) {
    let root = new_root();
    let mut world = World::new(root.path(), room, faults);
    world.run(ops).await;
    (root, world)
}

/// A directory with a format file in it: making one takes a sync, which is slow.
fn new_root() -> tempfile::TempDir {
    static FORMAT: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let root = tempfile::tempdir().unwrap();
    let format = FORMAT.get_or_init(|| {
        let first = tempfile::tempdir().unwrap();
        drop(crate::layout::Layout::open(first.path()).unwrap());
        std::fs::read(first.path().join("format")).unwrap()
    });
    std::fs::write(root.path().join("format"), format).unwrap();
    root
}
