//! `larder verify`: every stored body against its digest, in a running larder or in a store nobody uses.
//!
//! What is found is printed as it is found; how far it has come goes to standard error, where that is a terminal.

use larder_server::control::{Verified, Verify, VerifyFault, VerifyFaultKind, VerifyLine, paced};
use larder_storage::Repair;
use tokio::sync::mpsc;

use crate::args::VerifyArgs;
use crate::door::{self, Door};
use crate::failure::Failure;
use crate::output;
use crate::terminal::{ascii_json, escaped, shows_progress};
use crate::units::rough_size;

/// Findings of a store that is checked here that may wait to be printed.
const WAITING: usize = 64;

/// Runs the command. Damage that stays is a failure.
pub(crate) fn run(args: VerifyArgs) -> Result<(), Failure> {
    let settings = door::locate(args.store)?;
    let mut shown = Shown { json: args.json, progress: shows_progress(), repair: args.repair, end: None };
    match door::open(&settings)? {
        Door::Running(client) => {
            let mut printed = Ok(());
            let each = |line| {
                if printed.is_ok() {
                    printed = shown.line(line);
                }
            };
            client.verify(Verify { repair: args.repair }, each).map_err(door::refused)?;
            printed?;
        }
        Door::Alone(alone) => {
            let (sender, mut lines) = mpsc::channel(WAITING);
            let tell = paced(move |line| line.is_none_or(|line| sender.blocking_send(line).is_ok()));
            let how = if args.repair { Repair::Yes } else { Repair::No };
            let shown = &mut shown;
            let print = async {
                let shown = &mut *shown;
                while let Some(line) = lines.recv().await {
                    if let Err(failure) = shown.line(line) {
                        // Nobody waits for it any more.
                        lines.close();
                        return Err(failure);
                    }
                }
                Ok(())
            };
            let (report, printed) =
                alone.ask(|store| async move { tokio::join!(store.verify(how, tell), print) });
            printed?;
            let report = report.map_err(|error| Failure::Failed(error.into()))?;
            shown.line(VerifyLine::Verified(report.into()))?;
        }
    }
    match shown.end {
        Some(verified) if is_well(&verified, args.repair) => Ok(()),
        _ => Err(Failure::Shown),
    }
}

/// Whether nothing is wrong any more.
fn is_well(verified: &Verified, repaired: bool) -> bool {
    let bad = verified.damaged_bodies + verified.missing_bodies + verified.lost_records;
    if repaired { verified.dropped == bad } else { verified.sound && verified.unindexed == 0 }
}

/// What is printed on the way.
struct Shown {
    json: bool,
    progress: bool,
    repair: bool,
    end: Option<Verified>,
}

impl Shown {
    fn line(&mut self, line: VerifyLine) -> Result<(), Failure> {
        if let VerifyLine::Progress(progress) = &line {
            if self.progress && progress.total_bytes > 0 {
                let (done, total) = (progress.done_bytes, progress.total_bytes);
                let percent = u128::from(done) * 100 / u128::from(total);
                output::note(&format!("\r{percent} % of {}\x1b[K", rough_size(total)));
            }
            return Ok(());
        }
        if self.progress {
            output::note("\r\x1b[K");
        }
        if self.json {
            output::print(&ascii_json(&line))?;
        }
        match line {
            VerifyLine::Fault(fault) if !self.json => output::print(&told_fault(&fault)),
            VerifyLine::Verified(verified) => {
                let text = if self.json { String::new() } else { told(&verified, self.repair) };
                self.end = Some(verified);
                output::print(&text)
            }
            VerifyLine::Fault(_) | VerifyLine::Progress(_) | VerifyLine::Error(_) => Ok(()),
        }
    }
}

fn told_fault(fault: &VerifyFault) -> String {
    let VerifyFault { segment, offset, bytes, .. } = fault;
    let place = match (&fault.blob, &fault.partial) {
        (Some(digest), _) => format!("blob {digest}"),
        (None, Some(name)) => format!("partial {name}"),
        (None, None) => format!("segment {segment:08x} at {offset}"),
    };
    let url = fault.url.as_deref().map(escaped);
    let url = url.as_deref().unwrap_or("a response");
    let size = rough_size(*bytes);
    let what = match fault.kind {
        VerifyFaultKind::DamagedBody => format!("{url}: the body is not what it was ({size}, {place})"),
        VerifyFaultKind::MissingBody => format!("{url}: the body is gone ({size}, {place})"),
        VerifyFaultKind::LostRecord => {
            format!("{place}: the record of a response is damaged or gone ({size})")
        }
        VerifyFaultKind::DamagedSegment => format!("{place}: {size} are damaged"),
        VerifyFaultKind::TornEnd => torn_end(&place, *bytes, fault.missing),
        VerifyFaultKind::Other => format!("{place}: something else is wrong"),
    };
    format!("{what}{}\n", if fault.dropped { "; dropped" } else { "" })
}

/// What is left of the last record, and what is not, as far as it can be known.
fn torn_end(place: &str, left: u64, missing: u64) -> String {
    let left = match left {
        0 => "the segment was cut off".to_owned(),
        bytes => format!("the last {} are of a record that was cut off, as by a crash", rough_size(bytes)),
    };
    match missing {
        0 => format!("{place}: {left}; nothing tells how much is missing"),
        bytes => format!("{place}: {left}; at least {} are missing", rough_size(bytes)),
    }
}

fn told(verified: &Verified, repaired: bool) -> String {
    let counted = |count: u64, one: &str, many: &str| match count {
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    };
    let mut text = format!(
        "{} checked, {} of bodies read\n",
        counted(verified.records, "stored response", "stored responses"),
        rough_size(verified.body_bytes)
    );
    let mut found = |count: u64, one: &str, many: &str| {
        if count > 0 {
            text.push_str(&format!("  {}\n", counted(count, one, many)));
        }
    };
    found(verified.damaged_bodies, "body is not what it was", "bodies are not what they were");
    found(verified.missing_bodies, "body is gone", "bodies are gone");
    found(verified.lost_records, "record is damaged or gone", "records are damaged or gone");
    let damaged = verified.damaged_stretches.saturating_sub(verified.torn_ends);
    found(damaged, "stretch of a segment is damaged", "stretches of segments are damaged");
    found(
        verified.torn_ends,
        "segment ends in a record that was cut off, as by a crash",
        "segments end in records that were cut off, as by a crash",
    );
    found(verified.unindexed, "response was missing in the index", "responses were missing in the index");
    if repaired {
        text.push_str(&match verified.dropped {
            0 => "the index was made anew\n".to_owned(),
            n => format!(
                "{} dropped, and the index was made anew\n",
                counted(n, "response was", "responses were")
            ),
        });
        if verified.unindexed > 0 {
            text.push_str("what was missing in the index is found again at the next start\n");
        }
    } else if is_well(verified, false) {
        text.push_str("all is well\n");
    } else {
        text.push_str("none of this is served; `larder verify --repair` puts the store right\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(json: &str) -> Verified {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_sound_store_is_told_in_two_lines() {
        let sound = report(r#"{"sound": true, "records": 12, "body_bytes": 2048}"#);
        assert_eq!(told(&sound, false), "12 stored responses checked, 2.0 KiB of bodies read\nall is well\n");
        assert!(is_well(&sound, false) && is_well(&sound, true));
    }

    #[test]
    fn damage_is_counted_with_the_way_out() {
        let damaged = report(
            r#"{"sound": false, "records": 1, "damaged_bodies": 2, "missing_bodies": 1, "unindexed": 3,
                "damaged_stretches": 2, "torn_ends": 1, "lost_records": 1}"#,
        );
        assert_eq!(
            told(&damaged, false),
            "1 stored response checked, 0 B of bodies read\n  2 bodies are not what they were\n  1 body is gone\n  \
             1 record is damaged or gone\n  1 stretch of a segment is damaged\n  \
             1 segment ends in a record that was cut off, as by a crash\n  3 responses were missing in the index\n\
             none of this is served; `larder verify --repair` puts the store right\n"
        );
        assert!(!is_well(&damaged, false) && !is_well(&damaged, true));
    }

    #[test]
    fn a_repair_says_what_it_dropped() {
        let repaired = report(r#"{"sound": false, "records": 5, "damaged_bodies": 1, "dropped": 1}"#);
        assert!(told(&repaired, true).ends_with("1 response was dropped, and the index was made anew\n"));
        assert!(is_well(&repaired, true) && !is_well(&repaired, false));
    }

    #[test]
    fn a_finding_names_the_response_and_the_place() {
        let fault = |json: &str| told_fault(&serde_json::from_str(json).unwrap());
        let body = r#"{"kind": "damaged-body", "url": "http://a.example/\u001b", "segment": 10, "offset": 16, "bytes": 2048,
            "blob": null, "partial": null, "dropped": true}"#;
        assert_eq!(
            fault(body),
            "http://a.example/\\x1b: the body is not what it was (2.0 KiB, segment 0000000a at 16); dropped\n"
        );
        let blob = r#"{"kind": "missing-body", "url": "http://a.example/", "segment": 1, "offset": 16, "bytes": 1,
            "blob": "abcd", "partial": null, "dropped": false}"#;
        assert_eq!(fault(blob), "http://a.example/: the body is gone (1 B, blob abcd)\n");
        let torn = |bytes: u64, missing: u64| {
            fault(&format!(
                r#"{{"kind": "torn-end", "url": null, "segment": 1, "offset": 16, "bytes": {bytes}, "missing": {missing},
                "blob": null, "partial": null, "dropped": false}}"#
            ))
        };
        let place = "segment 00000001 at 16: ";
        let cut = "the last 10 B are of a record that was cut off, as by a crash; ";
        assert_eq!(torn(10, 2048), format!("{place}{cut}at least 2.0 KiB are missing\n"));
        assert_eq!(torn(10, 0), format!("{place}{cut}nothing tells how much is missing\n"));
        assert_eq!(torn(0, 99), format!("{place}the segment was cut off; at least 99 B are missing\n"));
        let later = r#"{"kind": "of-tomorrow", "url": null, "segment": 1, "offset": 16, "bytes": 1, "blob": null, "partial": null, "dropped": false}"#;
        assert_eq!(fault(later), "segment 00000001 at 16: something else is wrong\n");
    }
}
