//! Any byte of any file is damaged, any file is cut, swapped or gone: never a wrong byte, never a panic, and the store
//! starts. One exception: a `format` file that is damaged or gone is refused, since without it nothing else can be told.
//!
//! A short run damages some places of each file, `LARDER_TEST_LONG=1` every byte of the small files and thousands of
//! the large ones. What is done to sled's files is in `index`.

use larder_policy::{Held, Runs};

use super::*;
use crate::OpenError;

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip { at: usize, bit: u32 },
    Cut { to: usize },
    Grow { by: usize },
    Delete,
    Swap,
}

/// Names and body lengths: in the segment, a blob, a blob with a tree; and one that is there twice.
const STORED: [(u64, usize); 5] = [(0, 700), (1, 3_000), (2, 70_000), (3, 70_001), (4, 300_000)];

#[tokio::test]
async fn damage_anywhere_yields_at_worst_a_miss() {
    let before = panics();
    let seed = seed();
    let mut random = Random(seed);
    let whole = tempfile::tempdir().unwrap();
    let mut options = Options::new(whole.path());
    options.disk_limit = 32 * MIB;
    options.memory_limit = MIB;
    let store = Store::open(options.clone()).unwrap();
    for (name, len) in STORED {
        put(&store, &key(name), &body(name, len)).await.unwrap();
    }
    put(&store, &key("removed"), &body(9, 900)).await.unwrap();
    store.remove(&key("removed")).await;
    for run in RUNS {
        fill_part(&store, run).await;
    }
    store.close().await;
    fs::write(whole.path().join("temp/left"), "of a killed process").unwrap();

    let mut rounds = 0;
    for path in files(whole.path()) {
        let len = fs::metadata(&path).unwrap().len() as usize;
        let name = path.strip_prefix(whole.path()).unwrap();
        for damage in damages(len, &mut random) {
            let why = format!("seed {seed}, {} of {len} bytes, {damage:?}", name.display());
            let root = tempfile::tempdir().unwrap();
            copy_dir(whole.path(), root.path());
            spoil(root.path(), &root.path().join(name), damage);
            options.dir = root.path().to_owned();
            look_at(&options, name == Path::new("format"), &why).await;
            rounds += 1;
        }
    }
    println!("{rounds} damages");
    assert_eq!(panics(), before, "panics in the store");
}

/// Of a part of a body of this length, these ranges are here.
const PART_LEN: usize = 400_000;
const RUNS: [(usize, usize); 2] = [(10, 70_000), (200_000, 300_000)];

async fn fill_part(store: &Store, (from, to): (usize, usize)) {
    let whole = response_to(&[], &[("ETag", "\"part\"")]);
    let wanted = from as u64..to as u64;
    let complete = Some(PART_LEN as u64);
    let variants = store.lookup(&key("part")).await;
    let mut fill = match variants.first().map(|stored| (stored, stored.held())) {
        Some((stored, Held::Runs(runs))) => {
            let mut union = Arc::unwrap_or_clone(runs);
            union.insert(wanted.clone());
            let response = whole.holding(&union, complete).unwrap();
            store.begin_into(stored, response, wanted, complete, None).unwrap()
        }
        _ => {
            let response = whole.holding(&Runs::of(wanted.clone()), complete).unwrap();
            store.begin(key("part"), response, Some(wanted.end - wanted.start), None)
        }
    };
    fill.write(body(50, PART_LEN).slice(from..to)).await.unwrap();
    fill.finish().await.unwrap();
}

/// Whatever is here of the part is right, up to an error.
async fn look_at_part(store: &Store, why: &str) {
    let right = body(50, PART_LEN);
    for stored in store.lookup(&key("part")).await.iter() {
        let Held::Runs(runs) = stored.held() else { panic!("{why}: the part is whole") };
        for run in runs.iter() {
            let mut reader = stored.body(run.clone());
            let mut at = run.start as usize;
            while let Ok(Some(bytes)) = reader.next().await {
                assert!(bytes == right[at..at + bytes.len()], "{why}: wrong bytes of the part at {at}");
                at += bytes.len();
            }
        }
    }
}

fn damages(len: usize, random: &mut Random) -> Vec<Damage> {
    let mut all = vec![Damage::Delete, Damage::Swap, Damage::Cut { to: 0 }, Damage::Grow { by: 1 }];
    let every = long(0, 1) == 1 && len <= 600;
    let count = if every { len } else { long(6, 800).min(len as u64) as usize };
    for n in 0..count {
        let at = if every { n } else { random.below(len as u64) as usize };
        all.push(Damage::Flip { at, bit: random.below(8) as u32 });
    }
    for _ in 0..long(2, 60).min(len as u64) {
        all.push(Damage::Cut { to: random.below(len as u64) as usize });
    }
    all.push(Damage::Grow { by: 5000 });
    all
}

fn spoil(dir: &Path, path: &Path, damage: Damage) {
    let mut bytes = fs::read(path).unwrap();
    match damage {
        Damage::Flip { at, bit } => bytes[at] ^= 1 << bit,
        Damage::Cut { to } => bytes.truncate(to),
        Damage::Grow { by } => bytes.extend_from_slice(&body(99, by)),
        Damage::Delete => return fs::remove_file(path).unwrap(),
        Damage::Swap => {
            // With the next file of its directory, if it has one; else with any other.
            let all = files(dir);
            let at = all.iter().position(|other| other == path).unwrap();
            let other = &all[(at + 1) % all.len()];
            fs::write(path, fs::read(other).unwrap()).unwrap();
            return fs::write(other, bytes).unwrap();
        }
    }
    fs::write(path, bytes).unwrap();
}

async fn look_at(options: &Options, may_be_refused: bool, why: &str) {
    let store = match Store::open(options.clone()) {
        Ok(store) => store,
        Err(refused @ (OpenError::Version { .. } | OpenError::NotAStore { .. })) => {
            // A swap damages two files.
            assert!(may_be_refused || why.contains("Swap"), "{why}: {refused}");
            return;
        }
        Err(error) => panic!("{why}: {error}"),
    };
    store.ready().await;
    for (name, len) in STORED {
        let right = body(name, len);
        // The first look may find the damage in the middle of a body; then it is a miss.
        for attempt in 0..2 {
            let variants = store.lookup(&key(name)).await;
            let Some(stored) = variants.first() else { break };
            assert_eq!(stored.response(), &response(), "{why}");
            let mut reader = stored.body(0..u64::MAX);
            let mut got = Vec::new();
            let sound = loop {
                match reader.next().await {
                    Ok(Some(bytes)) => got.extend_from_slice(&bytes),
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            assert!(got == right[..got.len()], "{why}: wrong bytes for {name}");
            if sound {
                assert_eq!(got.len(), len, "{why}: {name} is cut");
                break;
            }
            assert_eq!(attempt, 0, "{why}: {name} stays damaged");
            let gone = || store.shared().blobs.cached(&stored.digest()).is_none();
            eventually(gone, || format!("{why}: {name} is not dropped")).await;
            crate::purge::barrier(store.sender()).await.unwrap();
        }
        // At worst a re-fetch.
        if store.lookup(&key(name)).await.is_empty() {
            assert!(put(&store, &key(name), &right).await.is_some(), "{why}");
        }
        assert!(
            get(&store, &key(name)).await.unwrap().unwrap() == right,
            "{why}: {name} is not stored again"
        );
    }
    look_at_part(&store, why).await;
    assert!(store.lookup(&key("removed")).await.is_empty() || why.contains("seg"), "{why}");
    store.close().await;
}
