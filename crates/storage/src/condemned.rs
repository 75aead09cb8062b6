//! Bodies that a reader found bad, until the writer has dealt with them: nobody is given one meanwhile.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::digest::BlobDigest;

/// Names of files, each with how many reports of it the writer has yet to hear. Almost always empty: asking costs a load then.
#[derive(Debug, Default)]
pub(crate) struct Condemned {
    names: Mutex<HashMap<BlobDigest, u32>>,
    count: AtomicUsize,
}

impl Condemned {
    pub(crate) fn add(&self, name: BlobDigest) {
        let mut names = self.names();
        *names.entry(name).or_default() += 1;
        self.count.store(names.len(), Ordering::Release);
    }

    /// One report has been heard, or was lost.
    pub(crate) fn heard(&self, name: &BlobDigest) {
        let mut names = self.names();
        if let Some(reports) = names.get_mut(name) {
            *reports -= 1;
            if *reports == 0 {
                names.remove(name);
            }
        }
        self.count.store(names.len(), Ordering::Release);
    }

    pub(crate) fn contains(&self, name: &BlobDigest) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.names().contains_key(name)
    }

    fn names(&self) -> MutexGuard<'_, HashMap<BlobDigest, u32>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_until_every_report_of_it_was_heard() {
        let condemned = Condemned::default();
        let [one, two] = [b"one", b"two"].map(|body| BlobDigest::of(body));
        condemned.add(one);
        condemned.add(one);
        condemned.heard(&two);
        assert!(condemned.contains(&one) && !condemned.contains(&two));
        condemned.heard(&one);
        assert!(condemned.contains(&one));
        condemned.heard(&one);
        assert!(!condemned.contains(&one));
    }
}
