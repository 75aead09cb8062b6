//! `larder verify`: every stored body against its digest, in a running larder or in a store nobody uses.

use larder_server::control::{Verified, Verify};
use larder_storage::Repair;

use crate::args::VerifyArgs;
use crate::door::{self, Door};
use crate::failure::Failure;
use crate::output;
use crate::units::rough_size;

/// Runs the command. Damage that stays is a failure.
pub(crate) fn run(args: VerifyArgs) -> Result<(), Failure> {
    let settings = door::locate(args.store)?;
    let repair = args.repair;
    let verified = match door::open(&settings)? {
        Door::Running(client) => client.verify(Verify { repair }).map_err(door::refused)?,
        Door::Alone(alone) => alone
            .ask(|store| async move {
                let how = if repair { Repair::Yes } else { Repair::No };
                store.verify(how).await.map(Verified::from)
            })
            .map_err(anyhow::Error::new)?,
    };
    output::print(&told(&verified, repair))?;
    if verified.sound || repair { Ok(()) } else { Err(Failure::Shown) }
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
    found(
        verified.damaged_stretches,
        "stretch of a segment is damaged, or was cut off by a crash",
        "stretches of segments are damaged, or were cut off by a crash",
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
    } else if verified.sound && verified.unindexed == 0 {
        text.push_str("all is well\n");
    } else {
        text.push_str("nothing wrong is ever served; `larder verify --repair` puts the store right\n");
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
    }

    #[test]
    fn damage_is_counted_with_the_way_out() {
        let damaged = report(
            r#"{"sound": false, "records": 1, "damaged_bodies": 2, "missing_bodies": 1, "unindexed": 3}"#,
        );
        assert_eq!(
            told(&damaged, false),
            "1 stored response checked, 0 B of bodies read\n  2 bodies are not what they were\n  1 body is gone\n  \
             3 responses were missing in the index\n\
             nothing wrong is ever served; `larder verify --repair` puts the store right\n"
        );
    }

    #[test]
    fn a_repair_says_what_it_dropped() {
        let repaired = report(r#"{"sound": false, "records": 5, "damaged_bodies": 1, "dropped": 1}"#);
        assert!(told(&repaired, true).ends_with("1 response was dropped, and the index was made anew\n"));
    }
}
