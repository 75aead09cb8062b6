//! Keeps `docs/conformance.md` honest: every rule has its row, and what a row names exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// How many rules each section has.
const RULES: [usize; 16] = [7, 6, 4, 5, 7, 8, 6, 3, 5, 8, 1, 4, 2, 3, 1, 8];

struct Row {
    rule: String,
    modules: Vec<String>,
    tests: Vec<String>,
    state: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of all tables, in order.
fn rows() -> Vec<Row> {
    let page = read(&root().join("docs/conformance.md"));
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = cells.map(|line| line.split(" | ").collect::<Vec<_>>());
    cells
        .filter(|cells| cells[0].starts_with(|first: char| first.is_ascii_digit()))
        .map(|cells| {
            let &[rule, text, modules, tests, state] = cells.as_slice() else {
                panic!("not five cells: {cells:?}")
            };
            assert!(text.contains("RFC "), "{rule} cites no RFC");
            Row {
                rule: rule.to_owned(),
                modules: names(modules),
                tests: names(tests),
                state: state.to_owned(),
            }
        })
        .collect()
}

/// What stands between backquotes.
fn names(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The file that a test's path leads to, and its function.
fn place(test: &str) -> (PathBuf, &str) {
    let (path, function) = test.split_once("::").unwrap_or_else(|| panic!("not `FILE::FUNCTION`: {test}"));
    let file = match (path.strip_prefix("unit "), path.strip_prefix("policy/")) {
        (Some(module), _) => module_file(&format!("{module}.rs")),
        (None, Some(file)) => root().join(format!("crates/policy/tests/behaviour/{file}.rs")),
        (None, None) => root().join(format!("tests/scenarios/{path}.rs")),
    };
    (file, function)
}

/// `policy/age.rs` is in the room of that name.
fn module_file(module: &str) -> PathBuf {
    let (room, file) = module.split_once('/').unwrap_or_else(|| panic!("not `ROOM/FILE`: {module}"));
    root().join("crates").join(room).join("src").join(file)
}

#[test]
fn every_rule_has_one_row_in_order() {
    let expected: Vec<String> = RULES
        .iter()
        .enumerate()
        .flat_map(|(section, count)| (1..=*count).map(move |number| format!("{section}.{number}")))
        .collect();
    assert_eq!(rows().into_iter().map(|row| row.rule).collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_done_names_its_tests_and_what_is_not_names_none() {
    for Row { rule, tests, state, .. } in rows() {
        let (word, reading) = state.split_once(": ").unwrap_or((&state, ""));
        match word {
            "done" => assert!(!tests.is_empty() && reading.is_empty(), "{rule}"),
            "by choice" => {
                assert!(!tests.is_empty() && !reading.is_empty(), "{rule} says not what was chosen")
            }
            "not yet" => assert!(tests.is_empty() && !reading.is_empty(), "{rule} says not what is missing"),
            other => panic!("{rule} is {other:?}"),
        }
    }
}

#[test]
fn the_modules_and_tests_that_the_page_names_exist() {
    for Row { rule, modules, tests, .. } in rows() {
        assert!(!modules.is_empty(), "{rule}");
        for module in modules {
            assert!(module_file(&module).is_file(), "{rule}: no {module}");
        }
        for test in tests {
            let (file, function) = place(&test);
            let text = read(&file);
            let head = format!("fn {function}(");
            let before = text.split_once(&head).unwrap_or_else(|| panic!("{rule}: no {test}")).0;
            assert!(before.trim_end().ends_with("#[test]"), "{rule}: {test} is no test");
        }
    }
}

/// A rule that a table here has rows for names that table on the page.
#[test]
fn the_tables_prove_the_rules_that_they_name() {
    let rows = rows();
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("tests/scenarios/behaviour")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if ["story", "table"].contains(&file.as_str()) {
            continue;
        }
        for rule in read(&path).lines().filter_map(rule_of) {
            let row = rows.iter().find(|row| row.rule == rule);
            let row = row.unwrap_or_else(|| panic!("{file} has rows for {rule}, which the page has not"));
            let table = format!("behaviour/{file}::");
            assert!(row.tests.iter().any(|test| test.starts_with(&table)), "{rule} does not name {file}");
            seen.insert(rule);
        }
    }
    for row in rows.iter().filter(|row| !row.tests.is_empty()) {
        assert!(seen.contains(&row.rule), "no table has a row for {}", row.rule);
    }
}

/// The rule that a line begins with: a row of a table, of a table that is put together, or the doc of a test.
fn rule_of(line: &str) -> Option<String> {
    let row = Some(line);
    let doc = line.trim_start().strip_prefix("/// ");
    let quoted = line.split_once('"').map(|(_, quoted)| quoted);
    [row, doc, quoted].into_iter().flatten().find_map(|text| {
        let rule = text.split([' ', ':', ',']).next()?;
        let (section, number) = rule.split_once('.')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        (digits(section) && digits(number)).then(|| rule.to_owned())
    })
}
