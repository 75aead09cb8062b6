//! What a lease's requests came to: sums, and a line for each that its holder wants to hear of.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::control::{Fetched, LeaseFigures};
use crate::metrics::CacheResult;
use crate::respond::OFFLINE;
use crate::transaction::{Outcome, Transaction};

/// The sums of one lease. Any worker adds to them.
pub(crate) struct Ledger {
    requests: AtomicU64,
    hits: AtomicU64,
    missing: AtomicU64,
    failures: AtomicU64,
    tunnels: AtomicU64,
    cache_bytes: AtomicU64,
    network_bytes: AtomicU64,
    tunnel_bytes: AtomicU64,
    /// Lines that nobody took in time.
    lost: AtomicU64,
    lines: mpsc::Sender<Fetched>,
    /// Whether there is a line for every request, or only for those that were missing.
    all: bool,
}

impl Ledger {
    pub(crate) fn new(lines: mpsc::Sender<Fetched>, all: bool) -> Self {
        Self {
            requests: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            tunnels: AtomicU64::new(0),
            cache_bytes: AtomicU64::new(0),
            network_bytes: AtomicU64::new(0),
            tunnel_bytes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            lines,
            all,
        }
    }

    /// Enters a finished request. A tunnel that was opened is none: the requests inside are.
    pub(crate) fn enter(&self, transaction: &Transaction<'_>) {
        let refused = transaction.detail.is_some();
        if transaction.outcome == Outcome::Opened && !refused {
            return;
        }
        let add = |sum: &AtomicU64, by: u64| sum.fetch_add(by, Ordering::Relaxed);
        let missing =
            transaction.detail.as_deref() == Some(OFFLINE) && transaction.outcome == Outcome::OnlyIfCached;
        add(&self.requests, 1);
        match transaction.outcome.result() {
            CacheResult::Hit => {
                add(&self.hits, 1);
                add(&self.cache_bytes, transaction.body_sent);
            }
            CacheResult::Tunnel => {
                add(&self.tunnels, 1);
                add(&self.tunnel_bytes, transaction.origin_received);
            }
            CacheResult::Miss | CacheResult::Aside => {}
        }
        add(&self.network_bytes, transaction.origin_received);
        if missing {
            add(&self.missing, 1);
        } else if matches!(
            transaction.outcome,
            Outcome::UpstreamFailure | Outcome::Denied | Outcome::Invalid | Outcome::Opened
        ) {
            add(&self.failures, 1);
        }
        if self.all || missing {
            let line = Fetched {
                method: transaction.method.to_string(),
                url: transaction.target.to_string(),
                status: transaction.status,
                bytes: transaction.body_sent,
                outcome: transaction.outcome.word().to_owned(),
                hit: transaction.outcome.result() == CacheResult::Hit,
                missing,
                digest: None,
            };
            if self.lines.try_send(line).is_err() {
                add(&self.lost, 1);
            }
        }
    }

    /// The sums as they are.
    pub(crate) fn figures(&self) -> LeaseFigures {
        let sum = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        LeaseFigures {
            requests: sum(&self.requests),
            hits: sum(&self.hits),
            missing: sum(&self.missing),
            failures: sum(&self.failures),
            tunnels: sum(&self.tunnels),
            cache_bytes: sum(&self.cache_bytes),
            network_bytes: sum(&self.network_bytes),
            tunnel_bytes: sum(&self.tunnel_bytes),
            lost_lines: sum(&self.lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::{miss, transaction};

    #[test]
    fn hits_misses_and_what_is_missing_are_told_apart_and_lines_are_bounded() {
        let (sender, mut lines) = mpsc::channel(2);
        let ledger = Ledger::new(sender, true);
        let missing = Transaction {
            outcome: Outcome::OnlyIfCached,
            detail: Some(OFFLINE.into()),
            status: 504,
            ..transaction()
        };
        for entry in [transaction(), miss(), missing] {
            ledger.enter(&entry);
        }
        let figures = ledger.figures();
        assert_eq!((figures.requests, figures.hits, figures.missing, figures.lost_lines), (3, 1, 1, 1));
        assert_eq!((figures.cache_bytes, figures.network_bytes), (1_000, 3_000));
        assert!(lines.try_recv().unwrap().hit && !lines.try_recv().unwrap().hit);
    }

    #[test]
    fn without_a_record_only_what_is_missing_has_a_line() {
        let (sender, mut lines) = mpsc::channel(2);
        let ledger = Ledger::new(sender, false);
        ledger.enter(&transaction());
        assert!(lines.try_recv().is_err());
    }
}
