//! `larder rm`, also called `larder purge`: removes stored responses, in a running larder or in a store nobody uses.

use larder_server::control::{List, Removed, Selection};

use crate::args::RmArgs;
use crate::door;
use crate::failure::Failure;
use crate::ls::{self, Form};
use crate::units::rough_size;
use crate::{output, select};

/// Runs the command.
pub(crate) fn run(args: RmArgs) -> Result<(), Failure> {
    let select = Selection { all: args.all, ..select::selection(args.select)? };
    if select.is_empty() {
        return Err(Failure::Usage(
            "say what to remove: a URL or conditions, which `larder rm --help` lists; `--all` removes everything"
                .to_owned(),
        ));
    }
    let settings = door::settings(args.store)?;
    let door = door::open(&settings.store)?;
    if args.dry_run {
        let list = List { select, ..List::default() };
        let totals = ls::print(door, &settings, &list, Form::Table)?;
        output::note(&match totals.responses {
            0 => format!("{}\n", totals.told()),
            _ => format!("would remove {}\n", totals.told()),
        });
        return Ok(());
    }
    let removed = select::remove(door, &settings, &select)?;
    output::print(&told(removed))
}

fn told(Removed { removed, bytes }: Removed) -> String {
    match removed {
        0 => "nothing was stored that matches\n".to_owned(),
        1 => format!("removed 1 stored response, {}\n", rough_size(bytes)),
        n => format!("removed {n} stored responses, {}\n", rough_size(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{SelectArgs, StoreArgs};

    #[test]
    fn the_count_is_told_in_words() {
        let told = |removed, bytes| told(Removed { removed, bytes });
        assert_eq!(told(0, 0), "nothing was stored that matches\n");
        assert_eq!(told(1, 100), "removed 1 stored response, 100 B\n");
        assert_eq!(told(7, 3 << 20), "removed 7 stored responses, 3.0 MiB\n");
    }

    #[test]
    fn nothing_given_removes_nothing() {
        let args =
            RmArgs { select: SelectArgs::default(), all: false, dry_run: false, store: StoreArgs::default() };
        let Err(Failure::Usage(why)) = run(args) else { panic!() };
        assert!(why.contains("--all"), "{why}");
    }
}
