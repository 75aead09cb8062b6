//! Parts and their records damaged, gone, proved and swept.

use super::*;

#[tokio::test]
async fn orphans_are_swept_and_records_without_a_part_are_dropped() {
    let mut bench = Bench::new(|_| {});
    let body = body(13, 500_000);
    fill(bench.store(), &key("a"), &body, 0..100_000).await.unwrap();
    fill(bench.store(), &key("b"), &body, 0..100_000).await.unwrap();
    fill(bench.store(), &key("c"), &body, 0..100_000).await.unwrap();
    bench.close().await;
    let names = partials(&bench);
    let orphan = bench.dir().join("partials").join("ab".repeat(32));
    fs::copy(&names[0], &orphan).unwrap();
    fs::copy(&names[1], orphan.with_extension("map")).unwrap();
    fs::remove_file(&names[0]).unwrap();
    fs::remove_file(&names[3]).unwrap();
    bench.reopen().await;
    let mut left = 0;
    for name in ["a", "b", "c"] {
        match held(bench.store(), &key(name), &body).await {
            Some(runs) => {
                assert_eq!(Some(runs), one(0..100_000));
                left += 1;
            }
            None => assert!(bench.store().lookup(&key(name)).await.is_empty()),
        }
    }
    assert_eq!(left, 1);
    let gone = || partials(&bench).len() == 2;
    eventually(gone, || format!("{:?}", partials(&bench))).await;
    until(bench.store(), |stats| stats.objects == 1).await;
}

/// Whatever byte is wrong: what is served is right, or nothing is.
#[tokio::test]
async fn damage_of_any_byte_is_never_served() {
    let mut bench = Bench::new(|options| options.disk_limit = 32 * MIB);
    let body = body(14, 400_000);
    let ranges = [5..1_000, 65_536..200_000, 300_000..400_000];
    for range in ranges.clone() {
        fill(bench.store(), &key("x"), &body, range).await.unwrap();
    }
    bench.close().await;
    let sound: Vec<(PathBuf, Vec<u8>)> =
        partials(&bench).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    let segment = bench.segments()[0].clone();
    let segment = (segment.clone(), fs::read(segment).unwrap());
    let (map, data) = (sound[1].1.len(), [5, 500, 999, 65_536, 131_071, 131_072, 199_999, 300_000, 399_999]);
    let cases = (0..map).step_by(7).map(|at| (1, at)).chain(data.map(|at| (0, at)));
    for (file, at) in cases {
        for cut in [false, true] {
            let (path, bytes) = &sound[file];
            for (path, bytes) in sound.iter().chain([&segment]) {
                fs::write(path, bytes).unwrap();
            }
            if cut {
                fs::write(path, &bytes[..at]).unwrap();
            } else {
                flip(path, at as u64);
            }
            bench.store = Some(Store::open(bench.options.clone()).unwrap());
            bench.store().ready().await;
            let variants = bench.store().lookup(&key("x")).await;
            let mut damaged = variants.is_empty();
            for stored in variants.iter() {
                let Held::Runs(runs) = stored.held() else { panic!("it is a part") };
                for run in runs.iter() {
                    assert!(
                        ranges
                            .iter()
                            .any(|range| range.start as u64 <= run.start && run.end <= range.end as u64)
                    );
                    match read(stored.body(run.clone())).await {
                        Ok(found) => {
                            assert!(found == body[run.start as usize..run.end as usize], "{file} {at}")
                        }
                        Err(_) => damaged = true,
                    }
                }
                damaged |= runs.bytes() < 235_459;
            }
            assert!(damaged, "file {file}, byte {at}, cut {cut}: not noticed");
            if file == 0 {
                // It has left, so that the next request fetches anew.
                until(bench.store(), |stats| stats.objects == 0).await;
            }
            bench.close().await;
        }
    }
}

#[tokio::test]
async fn verify_proves_parts_and_repair_drops_them() {
    let mut bench = Bench::new(|_| {});
    let body = body(15, 400_000);
    fill(bench.store(), &key("x"), &body, 0..100_000).await.unwrap();
    fill(bench.store(), &key("y"), &body, 0..100_000).await.unwrap();
    let report = bench.store().verify(Repair::No, |_| true).await.unwrap();
    assert!(report.is_sound() && report.records == 2, "{report:?}");
    bench.close().await;
    flip(&partials(&bench)[0], 77_000);
    bench.reopen().await;
    let report = bench.store().verify(Repair::Yes, |_| true).await.unwrap();
    assert_eq!((report.damaged_bodies, report.dropped), (1, 1));
    assert!(bench.store().verify(Repair::No, |_| true).await.unwrap().is_sound());
    assert_eq!((bench.store().stats().objects, partials(&bench).len()), (1, 2));
}

#[tokio::test]
async fn a_scrub_paces_itself_within_a_part_and_ends_when_it_is_told_to() {
    let mut bench = Bench::small();
    let (key, body) = (key("wheel"), body(7, 1_000_000));
    fill(bench.store(), &key, &body, 0..900_000).await.unwrap();
    bench.close().await;
    (bench.options.scrub_rate, bench.options.scrub_after) = (1, std::time::Duration::ZERO);
    bench.reopen().await;
    until(bench.store(), |stats| stats.scrubbed_bytes > 0).await;
    // The first step is to be waited for longer than anybody would.
    assert_eq!(bench.store().stats().scrubbed_bytes, GROUP as u64);
    bench.close().await;
}

#[tokio::test]
async fn a_part_that_became_whole_while_the_scrub_came_to_it_is_no_damage() {
    let bench = Bench::small();
    let (key, body) = (key("wheel"), body(8, 300_000));
    fill(bench.store(), &key, &body, 0..200_000).await.unwrap();
    let shared = bench.store().shared();
    let fingerprint = shared.keys.fingerprint(key.as_str());
    let nominee = shared.directory.find(fingerprint)[0];
    let head = shared.segments.head(nominee.place).unwrap();
    let file = head.file().unwrap();
    let (variant, sequence) = (head.variant, head.sequence);
    let owner = crate::blob::Owner { key: key.clone(), fingerprint, variant, file, sequence };
    fill(bench.store(), &key, &body, 200_000..300_000).await.unwrap();
    crate::purge::barrier(bench.store().sender()).await.unwrap();
    assert!(
        partials(&bench).is_empty() && shared.directory.find_variant(fingerprint, head.variant).is_some()
    );
    crate::scrub::partial(shared, owner);
    assert_eq!(bench.store().stats().scrub_damaged, 0);
}

#[tokio::test]
async fn a_part_whose_file_is_gone_is_damage_to_the_scrub() {
    let mut bench = Bench::small();
    fill(bench.store(), &key("wheel"), &body(8, 300_000), 0..200_000).await.unwrap();
    bench.reopen().await;
    for path in partials(&bench) {
        fs::remove_file(path).unwrap();
    }
    crate::scrub::pass(bench.store().shared());
    assert_eq!(bench.store().stats().scrub_damaged, 1);
    until(bench.store(), |stats| stats.objects == 0).await;
}
