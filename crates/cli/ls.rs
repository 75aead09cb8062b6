//! `larder ls`: what is stored, as a table for people or JSON for programs, line by line as it is read.

use larder_server::control::{List, Listed};

use crate::args::LsArgs;
use crate::door::{self, Door};
use crate::failure::Failure;
use crate::settings::Settings;
use crate::terminal::{ascii_json, escaped, fitted, held, width};
use crate::units::{rough_size, rough_time};
use crate::{output, select};

/// Runs the command.
pub(crate) fn run(args: LsArgs) -> Result<(), Failure> {
    let select = select::selection(args.select)?;
    let list = List { select, sort: args.sort, limit: args.limit };
    if list.fault().is_some() {
        return Err(Failure::Usage(format!(
            "a sorted list is gathered first; write a `--limit` of at most {}",
            List::SORTED
        )));
    }
    let settings = door::settings(args.store)?;
    let door = door::open(&settings.store)?;
    let form = if args.json { Form::Json } else { Form::Table };
    let totals = print(door, &settings, &list, form)?;
    output::note(&format!("{}\n", totals.told()));
    Ok(())
}

/// How a list is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people: cut to the width of a terminal.
    Table,
    /// An object per line.
    Json,
}

/// What a list came to.
#[derive(Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) responses: u64,
    pub(crate) bytes: u64,
}

impl Totals {
    /// `3 stored responses, 1.2 MiB`
    pub(crate) fn told(self) -> String {
        match self.responses {
            0 => "nothing is stored that matches".to_owned(),
            1 => format!("1 stored response, {}", rough_size(self.bytes)),
            n => format!("{n} stored responses, {}", rough_size(self.bytes)),
        }
    }
}

/// Prints a list as it comes.
pub(crate) fn print(door: Door, settings: &Settings, list: &List, form: Form) -> Result<Totals, Failure> {
    let width = width();
    let mut totals = Totals::default();
    let mut out = output::Lines::new();
    let mut printed = Ok(());
    select::list(door, settings, list, &mut |listed| {
        let header = if totals.responses == 0 && form == Form::Table { HEADER } else { "" };
        let line = match form {
            Form::Table => format!("{}\n", fitted(&row(&listed), width)),
            Form::Json => ascii_json(&listed),
        };
        totals.responses += 1;
        totals.bytes += listed.bytes;
        printed = out.print(header).and_then(|()| out.print(&line));
        if width.is_some() && printed.is_ok() {
            printed = out.flush();
        }
        printed.is_ok()
    })?;
    printed?;
    out.flush()?;
    Ok(totals)
}

const HEADER: &str = "status      size   stored  freshness      lies in        URL\n";

fn row(listed: &Listed) -> String {
    let freshness = match listed {
        Listed { no_cache: true, .. } => "no-cache".to_owned(),
        Listed { fresh: true, age_ms, lifetime_ms, .. } => {
            format!("fresh {}", rough_time(lifetime_ms.saturating_sub(*age_ms)))
        }
        Listed { age_ms, lifetime_ms, .. } => {
            format!("stale {}", rough_time(age_ms.saturating_sub(*lifetime_ms)))
        }
    };
    let digest = listed.digest.get(..8).unwrap_or_default();
    let lies_in = match listed {
        Listed { blob: true, .. } => format!("blob {digest}"),
        Listed { partial: true, .. } => format!("part {digest}"),
        Listed { segment, .. } => format!("{segment:08x}.seg"),
    };
    let mut row = format!(
        "{:>6}  {:>8}  {:>7}  {freshness:<13}  {lies_in:<13}  {}",
        listed.status,
        rough_size(listed.bytes),
        rough_time(listed.stored_ms_ago),
        escaped(&listed.url),
    );
    let mut more = |text: String| {
        row.push_str("  ");
        row.push_str(&escaped(&text));
    };
    if let Some(part) = &listed.part {
        more(held(part, &listed.runs));
    }
    for field in &listed.vary {
        more(format!("{}: {}", field.name, field.value.as_deref().unwrap_or("(none)")));
    }
    for tag in &listed.tags {
        more(format!("[{tag}]"));
    }
    if let Some(origin) = &listed.origin {
        more(format!("from {origin}"));
    }
    row
}

#[cfg(test)]
mod tests {
    use larder_server::control::ListedField;

    use super::*;
    use crate::golden;

    fn listed(url: &str) -> Listed {
        Listed {
            url: url.to_owned(),
            status: 200,
            bytes: 4711,
            stored_ms_ago: 200_000,
            age_ms: 260_000,
            lifetime_ms: 3_600_000,
            fresh: true,
            segment: 12,
            digest: "1b16e725".repeat(8),
            ..Listed::default()
        }
    }

    #[test]
    fn the_table_reads_as_it_was_reviewed() {
        let language = ListedField { name: "accept-language".to_owned(), value: Some("de".to_owned()) };
        let encoding = ListedField { name: "accept-encoding".to_owned(), value: None };
        let rows = [
            listed("http://www.example/"),
            Listed {
                fresh: false,
                age_ms: 90_000_000,
                vary: vec![language, encoding],
                tags: vec!["news".to_owned(), "all".to_owned()],
                ..listed("http://www.example/news")
            },
            Listed {
                bytes: 20_000_000_000,
                blob: true,
                stored_ms_ago: 400 * 86_400_000,
                lifetime_ms: u64::from(u32::MAX) * 1000,
                ..listed("http://files.example/model.bin")
            },
            Listed {
                no_cache: true,
                part: Some("bytes 0-99/1000".to_owned()),
                status: 206,
                partial: true,
                origin: Some("http://127.0.0.1:8080".to_owned()),
                ..listed("https://www.example:8443/x?y")
            },
            Listed {
                part: Some("bytes 0-799/1000".to_owned()),
                runs: vec![(0, 99), (200, 299), (400, 499), (600, 699), (750, 799)],
                status: 206,
                partial: true,
                ..listed("http://files.example/holes")
            },
            Listed { tags: vec!["a\x1b[2J\u{9b}\r\n".to_owned()], ..listed("http://hostile.example/") },
        ];
        let text: String = rows.iter().map(|listed| row(listed) + "\n").collect();
        golden::compare("ls.txt", &format!("{HEADER}{text}"));
    }

    #[test]
    fn every_key_of_the_json_is_documented() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tools.md")).unwrap();
        let line = serde_json::to_value(listed("http://www.example/")).unwrap();
        for key in line.as_object().unwrap().keys() {
            assert!(page.contains(&format!("| `{key}` | ")), "{key} is not in docs/tools.md");
        }
    }

    #[test]
    fn the_totals_are_told_in_words() {
        let told = |responses, bytes| Totals { responses, bytes }.told();
        assert_eq!(told(0, 0), "nothing is stored that matches");
        assert_eq!(told(1, 100), "1 stored response, 100 B");
        assert_eq!(told(7, 2048), "7 stored responses, 2.0 KiB");
    }
}
