//! The search for all that name a damaged blob.

use std::collections::HashSet;

use tokio::sync::mpsc;

use super::*;
use crate::blob::Owner;
use crate::command::Command;
use crate::owners::{Fate, Finder, Lost, tell};
use crate::purge::{BATCH, Doomed, Removal};

/// Names under which one body is stored, and how it is lost.
async fn lost(bench: &Bench, names: u64) -> Lost {
    let body = body(1, 70_000);
    for n in 0..names {
        put(bench.store(), &key(n), &body).await.unwrap();
    }
    let shared = bench.store().shared();
    let fingerprint = shared.keys.fingerprint(key(0).as_str());
    let head = shared.segments.head(shared.directory.find(fingerprint)[0].place).unwrap();
    let (variant, file, sequence) = (head.variant, head.file().unwrap(), head.sequence);
    let owner = Owner { key: key(0), fingerprint, variant, file, sequence };
    Lost { owner, below: u64::MAX, fate: Fate::Gone, records: names as usize }
}

fn again(lost: &Lost) -> Lost {
    Lost { owner: lost.owner.clone(), below: lost.below, fate: Fate::Gone, records: lost.records }
}

async fn batch(commands: &mut mpsc::Receiver<Command>) -> Vec<Doomed> {
    match commands.recv().await.unwrap() {
        Command::RemoveRecords(doomed, reply) => {
            // Nothing more is asked for before this is answered.
            assert!(commands.is_empty());
            let _ = reply.send(Removal::default());
            doomed
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_others_are_removed_a_few_at_a_time() {
    let bench = Bench::small();
    let names = 2 * BATCH as u64 + 40;
    let lost = lost(&bench, names).await;
    let (sender, mut commands) = mpsc::channel(4);
    let mut finder = Finder::default();
    finder.find(bench.store().shared(), &sender.downgrade(), lost);
    let mut found = HashSet::new();
    for _ in 0..3 {
        let doomed = batch(&mut commands).await;
        assert!(doomed.len() <= BATCH);
        found.extend(doomed.iter().map(|doomed| doomed.id));
    }
    assert_eq!(found.len() as u64, names);
}

#[tokio::test]
async fn damaged_blobs_wait_in_a_bounded_queue_and_all_are_told_of() {
    let bench = Bench::small();
    let lost = lost(&bench, 2).await;
    // Nobody answers, so that the first search does not end.
    let (sender, _commands) = mpsc::channel(4);
    let (mut finder, log, asked) = (Finder::default(), Log::default(), 500);
    log.during(|| {
        for _ in 0..asked {
            finder.find(bench.store().shared(), &sender.downgrade(), again(&lost));
        }
    });
    let told = log.lines();
    // One is worked at and others wait: they are told of when their search ends.
    assert!((asked - 65..asked - 63).contains(&told.len()), "{}", told.len());
    assert!(told.iter().all(|line| line.contains("records=2") && line.contains("example.com/0")), "{told:?}");
}

#[test]
fn the_log_says_what_became_of_a_body_and_what_would_have_kept_it() {
    let fates = [
        (Fate::Kept("/cache/quarantine/0".into()), "kept=/cache/quarantine/0"),
        (Fate::TooLarge { bytes: 9, limit: 4, setting: "disk" }, "a larger `disk` would have kept it"),
        (Fate::Gone, "damaged or gone"),
    ];
    for (fate, says) in fates {
        let log = Log::default();
        log.during(|| tell(&crate::BlobDigest::of(b""), &["http://example.com/0".to_owned()], 1, &fate));
        let [line] = &log.lines()[..] else { panic!("{:?}", log.lines()) };
        assert!(line.contains(says) && line.contains("http://example.com/0"), "{line}");
    }
}
