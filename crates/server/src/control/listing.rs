//! A list of what is stored, one line at a time.

use std::collections::BinaryHeap;

use larder_policy::{HttpDate, Timestamp};
use larder_storage::{Entries, Entry, EntryFile};

use super::explain::{content_range, ends, millis};
use super::messages::{List, Listed, ListedField, Sort};

impl List {
    /// The largest `limit` of a sorted list, which is gathered before it is told.
    pub const SORTED: u64 = 10_000;

    /// Why it cannot be answered, if so.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let bounded = self.limit.is_some_and(|limit| limit <= Self::SORTED);
        (self.sort.is_some() && !bounded).then(|| {
            format!("a sorted list is gathered first, so it needs a limit of at most {}", Self::SORTED)
        })
    }

    /// Tells each of the entries, or that there is none yet, until it is told to stop or has told enough. Blocks.
    ///
    /// # Errors
    ///
    /// The store cannot be read, or was closed.
    pub fn tell(
        &self,
        mut entries: Entries,
        now: Timestamp,
        tell: &mut dyn FnMut(Option<Listed>) -> bool,
    ) -> Result<(), larder_storage::Error> {
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut best = BinaryHeap::new();
        while left > 0
            && let Some(entry) = entries.step()?
        {
            let listed = entry.map(|entry| listed(&entry, now));
            let told = match (self.sort, listed) {
                (None, Some(listed)) => {
                    left -= 1;
                    tell(Some(listed))
                }
                (Some(sort), Some(listed)) => {
                    best.push(Ranked { rank: rank(sort, &listed), listed });
                    if best.len() as u64 > left {
                        best.pop();
                    }
                    tell(None)
                }
                (_, None) => tell(None),
            };
            if !told {
                return Ok(());
            }
        }
        for Ranked { listed, .. } in best.into_sorted_vec() {
            if !tell(Some(listed)) {
                break;
            }
        }
        Ok(())
    }
}

/// One of the best so far; the last one leaves first.
struct Ranked {
    rank: u64,
    listed: Listed,
}

fn rank(sort: Sort, listed: &Listed) -> u64 {
    match sort {
        Sort::Url => 0,
        Sort::Size => u64::MAX - listed.bytes,
        Sort::Age => u64::MAX - listed.stored_ms_ago,
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.rank, &self.listed.url).cmp(&(other.rank, &other.listed.url))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

fn listed(entry: &Entry, now: Timestamp) -> Listed {
    let response = &entry.response;
    let facts = response.facts();
    let origin = entry.key.as_str().split_once(' ').map(|(origin, _)| origin.to_owned());
    Listed {
        url: entry.key.target().to_string(),
        origin,
        status: response.status().as_u16(),
        bytes: entry.body_len,
        part: facts.part().map(content_range),
        runs: entry.runs.as_deref().map(ends).unwrap_or_default(),
        stored: HttpDate(response.response_time()).to_string(),
        stored_ms_ago: millis(now.saturating_since(response.response_time())),
        age_ms: millis(response.current_age(now).as_duration()),
        lifetime_ms: millis(facts.lifetime().as_duration()),
        fresh: response.is_fresh(now),
        no_cache: facts.is_no_cache(),
        vary: response
            .nominated()
            .values()
            .map(|(name, value)| ListedField { name: name.to_owned(), value })
            .collect(),
        tags: entry.tags().map(|tag| String::from_utf8_lossy(tag).into_owned()).collect(),
        segment: entry.segment,
        blob: entry.file == Some(EntryFile::Blob),
        partial: entry.file == Some(EntryFile::Partial),
        digest: entry.digest.to_string(),
    }
}
