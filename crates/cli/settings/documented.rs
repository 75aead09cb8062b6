//! `docs/configuration.md` is the list of keys for people; here it is compared with the program.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::CommandFactory;
use larder_policy::packages::{Kind, RuleId};

use super::walk::Holds;
use super::{Machine, Report, Settings, file, settle};
use crate::args::Cli;

struct Row {
    table: String,
    key: String,
    /// A TOML value; none where the page describes the default in words.
    default: Option<String>,
    default_cell: String,
    flag: Option<String>,
}

fn rows() -> Vec<Row> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    let mut table = String::new();
    let mut rows = Vec::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            table = heading.trim_matches(['`', '[', ']']).to_owned();
            if table == "The top of the file" {
                table.clear();
            }
        }
        if let Some(cells) = line.strip_prefix("| `") {
            let cells: Vec<_> = cells.split(" | ").map(str::trim).collect();
            let quoted = |cell: &str| {
                cell.strip_prefix('`').and_then(|cell| cell.split('`').next()).map(str::to_owned)
            };
            rows.push(Row {
                table: table.clone(),
                key: cells[0].trim_end_matches('`').to_owned(),
                default: quoted(cells[2]),
                default_cell: cells[2].to_owned(),
                flag: quoted(cells[3].trim_start_matches("| ")),
            });
        }
    }
    rows
}

fn settled(source: &str) -> Settings {
    let (draft, faults, _) = file::parse(source);
    let mut report = Report::about("documented", source);
    report.extend(faults);
    let settings = settle::settle(draft, &Machine::imagined(), &mut report);
    assert_eq!(report.errors(), 0, "{report}");
    settings.unwrap()
}

#[test]
fn the_page_has_every_key_and_no_other() {
    let (_, _, known) = file::parse("");
    let known: BTreeSet<_> = known
        .into_iter()
        .filter(|k| k.holds == Holds::Value)
        .map(|k| (k.table.to_owned(), k.key.to_owned()))
        .collect();
    let documented: BTreeSet<_> = rows().into_iter().map(|row| (row.table, row.key)).collect();
    assert_eq!(documented, known);
}

#[test]
fn the_defaults_of_the_page_are_those_of_the_program() {
    let mut source = String::new();
    let mut current = String::new();
    // An override that is written out is one more than none, with defaults of its own.
    let mut plain = "\n[[override]]\nname = \"plain\"\n".to_owned();
    let bare = plain.clone();
    for row in rows() {
        let Some(default) = row.default else {
            let words = [
                "none",
                "one per processor",
                "see above",
                "without end",
                "half of `disk`",
                "1%, at most 1GiB",
                "by kind of listener",
                "all",
            ];
            assert!(words.contains(&row.default_cell.as_str()), "{}: {}", row.key, row.default_cell);
            continue;
        };
        if row.table == "override" {
            writeln!(plain, "{} = {default}", row.key).unwrap();
            continue;
        }
        if row.table != current {
            let brackets = if row.table == "listener" { "[[listener]]" } else { &format!("[{}]", row.table) };
            writeln!(source, "{brackets}").unwrap();
            current = row.table;
        }
        writeln!(source, "{} = {default}", row.key).unwrap();
    }
    assert_eq!(format!("{:#?}", settled(&source)), format!("{:#?}", settled("")));
    assert_eq!(format!("{:#?}", settled(&plain)), format!("{:#?}", settled(&bare)));
}

/// `docs/packages.md` is the list of rules for people.
#[test]
fn the_page_on_packages_has_every_rule_with_its_lifetime() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/packages.md");
    let page = std::fs::read_to_string(path).unwrap();
    let documented: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| {
            let (name, rest) = row.split_once('`').unwrap();
            let lifetime = rest.trim_end_matches(['|', ' ']).rsplit("| ").next().unwrap();
            let seconds: Option<u32> = lifetime.strip_suffix(" s").map(|seconds| seconds.parse().unwrap());
            (name.to_owned(), seconds)
        })
        .collect();
    let known: BTreeSet<_> = RuleId::ALL
        .into_iter()
        .map(|rule| match rule.kind() {
            Kind::Artefact => (rule.name().to_owned(), None),
            Kind::Index { lifetime } => (rule.name().to_owned(), Some(lifetime.as_secs())),
        })
        .collect();
    assert_eq!(documented, known);
}

#[test]
fn the_page_names_every_flag_of_serve() {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    let flags: BTreeSet<_> = serve
        .get_arguments()
        .filter_map(|arg| arg.get_long())
        .filter(|flag| !["help", "config"].contains(flag))
        .map(|flag| format!("--{flag}"))
        .collect();
    assert_eq!(rows().into_iter().filter_map(|row| row.flag).collect::<BTreeSet<_>>(), flags);
}

#[test]
fn the_examples_of_the_page_are_right() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    let examples = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let [whole, overrides] = examples.map(settled).collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(whole.config.listeners.len(), 2);
    assert_eq!(overrides.config.policy.overrides.iter().count(), 3);
}
