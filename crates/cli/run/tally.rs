//! What became of a run's requests: the record as it comes, and the summary at the end.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use larder_server::control::{ClientError, EndedBy, Fetched, LeaseEnd, LeaseFigures, LeaseLine};

use crate::terminal::escaped;
use crate::units::rough_size;

/// Missing URLs that are listed; of more, only their number is said.
const MISSING_LISTED: usize = 50;

/// The file of `--record`: a line for each request that has ended, in the order of their ends.
pub(super) struct Record {
    path: PathBuf,
    file: BufWriter<File>,
    failed: Option<io::Error>,
}

impl Record {
    /// Begins the file anew.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot write the record {}", path.display()))?;
        let mut record = Self { path: path.to_owned(), file: BufWriter::new(file), failed: None };
        record.write("# larder record 1: result method status bytes digest url\n");
        Ok(record)
    }

    fn enter(&mut self, fetched: &Fetched) {
        let result = match fetched {
            Fetched { missing: true, .. } => "missing",
            Fetched { hit: true, .. } => "hit",
            Fetched { outcome, .. } if outcome == "tunnel" => "tunnel",
            Fetched { outcome, .. } if matches!(outcome.as_str(), "denied" | "local" | "invalid") => "none",
            _ => "miss",
        };
        let digest =
            fetched.digest.as_ref().map_or_else(|| "-".to_owned(), |digest| format!("blake3:{digest}"));
        // Neither blanks nor line ends of a stray request may pass for columns and lines.
        let word = |text: &str| escaped(text).replace(' ', "\\x20");
        let Fetched { status, bytes, .. } = fetched;
        let line =
            format!("{result} {} {status} {bytes} {digest} {}\n", word(&fetched.method), word(&fetched.url));
        self.write(&line);
    }

    fn write(&mut self, line: &str) {
        if self.failed.is_none() {
            self.failed = self.file.write_all(line.as_bytes()).err();
        }
    }

    fn end(&mut self) {
        if self.failed.is_none() {
            self.failed = self.file.flush().err();
        }
    }
}

/// What has been told of a lease.
pub(super) struct Tally {
    record: Option<Record>,
    missing: Vec<String>,
    ended: Option<LeaseEnd>,
    /// Why the lease ended early.
    broken: Option<String>,
    /// Why its end was not waited for.
    untold: Option<&'static str>,
}

impl Tally {
    pub(super) fn new(record: Option<Record>) -> Self {
        Self { record, missing: Vec::new(), ended: None, broken: None, untold: None }
    }

    /// Takes one line.
    pub(super) fn take(&mut self, line: LeaseLine) {
        match line {
            LeaseLine::Granted(_) => {}
            LeaseLine::Fetched(fetched) => {
                if fetched.missing && self.missing.len() < MISSING_LISTED {
                    let url = format!("{} {}", fetched.method, fetched.url);
                    if !self.missing.contains(&url) {
                        self.missing.push(url);
                    }
                }
                if let Some(record) = &mut self.record {
                    record.enter(&fetched);
                }
            }
            LeaseLine::Ended(ended) => self.ended = Some(ended),
        }
    }

    /// No more lines come.
    pub(super) fn end(&mut self, result: Result<(), ClientError>) {
        if let Some(record) = &mut self.record {
            record.end();
        }
        if let Err(error) = result {
            self.broken = Some(error.to_string());
        }
    }

    /// More lines may come, but they are not waited for.
    pub(super) fn give_up(&mut self, why: &'static str) {
        if let Some(record) = &mut self.record {
            record.end();
        }
        self.untold = Some(why);
    }

    /// What is said at the end of a run.
    pub(super) fn summary(&self, took: Duration, offline: bool) -> String {
        let mut text = String::new();
        let seconds = took.as_secs_f64();
        match &self.ended {
            Some(LeaseEnd { asked_by, figures }) => {
                if *asked_by == EndedBy::Proxy {
                    let _ = writeln!(
                        text,
                        "larder: the proxy was lost before the command had ended: it was stopped; until then:"
                    );
                }
                let LeaseFigures { requests, hits, missing, failures, tunnels, .. } = *figures;
                let _ = writeln!(
                    text,
                    "larder: {}, {}, {} from the cache, {} from the network, {seconds:.1} s",
                    counted(requests, "request", "requests"),
                    counted(hits, "hit", "hits"),
                    rough_size(figures.cache_bytes),
                    rough_size(figures.network_bytes),
                );
                if tunnels > 0 {
                    let bytes = rough_size(figures.tunnel_bytes);
                    let _ = writeln!(
                        text,
                        "larder: {} among them, of which nothing is kept: {bytes}",
                        counted(tunnels, "tunnel", "tunnels")
                    );
                }
                if failures > 0 {
                    let _ = writeln!(text, "larder: {} failed", counted(failures, "request", "requests"));
                }
                if missing > 0 {
                    let asked = counted(missing, "request", "requests");
                    let _ =
                        writeln!(text, "larder: offline, and {asked} asked for what is not in the store:");
                    for url in &self.missing {
                        let _ = writeln!(text, "  {}", escaped(url));
                    }
                    let listed = u64::try_from(self.missing.len()).unwrap_or(u64::MAX);
                    if listed == u64::try_from(MISSING_LISTED).unwrap_or(u64::MAX) && missing > listed {
                        let _ = writeln!(text, "  and more; --record FILE has them all");
                    }
                } else if offline {
                    let _ = writeln!(text, "larder: offline, and nothing was missing");
                }
                if figures.lost_lines > 0 {
                    let _ = writeln!(
                        text,
                        "larder: {} could not be recorded",
                        counted(figures.lost_lines, "request", "requests")
                    );
                }
            }
            None if let Some(why) = self.untold => {
                let _ = writeln!(text, "larder: the proxy has not told what became of the requests: {why}");
            }
            None => {
                let why = self.broken.as_deref().unwrap_or("it ended");
                let _ = writeln!(text, "larder: the proxy was lost before the command had ended: {why}");
            }
        }
        if let Some(Record { path, failed: Some(error), .. }) = &self.record {
            let _ = writeln!(text, "larder: the record {} is not whole: {error}", path.display());
        }
        text
    }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(url: &str) -> LeaseLine {
        let method = "GET".to_owned();
        LeaseLine::Fetched(Fetched { method, url: url.to_owned(), missing: true, ..Fetched::default() })
    }

    fn ended(figures: LeaseFigures) -> LeaseLine {
        LeaseLine::Ended(LeaseEnd { figures, ..LeaseEnd::default() })
    }

    #[test]
    fn the_summary_says_what_was_saved() {
        let mut tally = Tally::new(None);
        tally.take(ended(LeaseFigures {
            requests: 128,
            hits: 1,
            cache_bytes: 47_500_000,
            network_bytes: 1_258_292,
            tunnels: 2,
            tunnel_bytes: 1_024,
            ..LeaseFigures::default()
        }));
        tally.end(Ok(()));
        assert_eq!(
            tally.summary(Duration::from_millis(12_340), false),
            "larder: 128 requests, 1 hit, 45.2 MiB from the cache, 1.2 MiB from the network, 12.3 s\n\
             larder: 2 tunnels among them, of which nothing is kept: 1.0 KiB\n"
        );
    }

    #[test]
    fn what_was_missing_is_listed_once_and_within_a_bound() {
        let mut tally = Tally::new(None);
        for number in 0..200 {
            tally.take(missing(&format!("http://a.example/{}", number / 2)));
        }
        tally.take(ended(LeaseFigures { requests: 200, missing: 200, ..LeaseFigures::default() }));
        let text = tally.summary(Duration::ZERO, true);
        assert_eq!(text.lines().count(), 2 + MISSING_LISTED + 1, "{text}");
        assert!(
            text.contains("  GET http://a.example/0\n") && text.ends_with("--record FILE has them all\n")
        );
    }

    #[test]
    fn a_proxy_that_is_lost_is_told() {
        let text = Tally::new(None).summary(Duration::ZERO, false);
        assert!(text.starts_with("larder: the proxy was lost"), "{text}");
    }

    #[test]
    fn a_record_has_one_line_for_each_request_whatever_it_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let mut tally = Tally::new(Some(Record::create(&path).unwrap()));
        let fetched = |outcome: &str, hit| Fetched {
            method: "GET".to_owned(),
            url: "http://a.example/x".to_owned(),
            status: 200,
            bytes: 5,
            outcome: outcome.to_owned(),
            hit,
            ..Fetched::default()
        };
        let digest = Some("ab".to_owned());
        tally.take(LeaseLine::Fetched(Fetched { digest, ..fetched("memory-hit", true) }));
        tally.take(LeaseLine::Fetched(fetched("miss", false)));
        tally.take(missing("http://a.example/\n evil"));
        tally.end(Ok(()));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "# larder record 1: result method status bytes digest url\n\
             hit GET 200 5 blake3:ab http://a.example/x\n\
             miss GET 200 5 - http://a.example/x\n\
             missing GET 0 0 - http://a.example/\\x0a\\x20evil\n"
        );
    }
}
