//! Removals that were asked for before all records were known, noted on disk until they are.
//!
//! A record that has not been found yet cannot be marked dead. The removal is remembered in memory and applied when the
//! record turns up; should the process die before that, this note has the next life do it.
//!
//! ```text
//! offset  bytes  what (little-endian), again and again
//!      0      8  fingerprint of the key
//!      8      8  sequence number: records below it are removed
//!     16      4  CRC-32C of bytes 0 to 15
//! ```

use std::io;
use std::sync::Arc;

use crate::directory::Fingerprint;
use crate::files::StoreFile;
use crate::layout::Layout;
use crate::shared::Tombstones;

const NOTE_BYTES: u64 = 20;

/// The file of the notes; there is none most of the time.
#[derive(Debug)]
pub(crate) struct Removals {
    layout: Arc<Layout>,
    file: Option<StoreFile>,
    len: u64,
}

impl Removals {
    /// Takes up what earlier lives left. A damaged note is none.
    pub(crate) fn read(layout: &Arc<Layout>, tombstones: &Tombstones) -> Self {
        let bytes = layout.files().read(&layout.removals()).unwrap_or_default();
        for note in bytes.as_chunks::<{ NOTE_BYTES as usize }>().0 {
            if let Some((fingerprint, below)) = decode(note) {
                tombstones.add(fingerprint, below);
            }
        }
        // What was cut in the middle of a note stays as a damaged one.
        let len = (bytes.len() as u64).next_multiple_of(NOTE_BYTES);
        Self { layout: layout.clone(), file: None, len }
    }

    /// Notes that the records of a key with lower sequence numbers are removed.
    pub(crate) fn note(&mut self, fingerprint: Fingerprint, below: u64) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None if self.len > 0 => self.layout.files().open_to_write(&self.layout.removals())?,
            None => self.layout.files().create(&self.layout.removals())?,
        };
        let file = self.file.insert(file);
        file.write_all(&[encode(fingerprint, below)], self.len)?;
        self.len += NOTE_BYTES;
        Ok(())
    }

    /// All of them were done.
    pub(crate) fn forget(&mut self) {
        self.file = None;
        if std::mem::take(&mut self.len) > 0 || self.layout.files().exists(&self.layout.removals()) {
            // What stays is done again at the next start, to no effect.
            let _ = self.layout.files().remove(&self.layout.removals());
        }
    }
}

fn encode(fingerprint: Fingerprint, below: u64) -> [u8; NOTE_BYTES as usize] {
    let mut note = [0; NOTE_BYTES as usize];
    let (body, check) = note.split_at_mut(16);
    let (left, right) = body.split_at_mut(8);
    left.copy_from_slice(&fingerprint.0.to_le_bytes());
    right.copy_from_slice(&below.to_le_bytes());
    check.copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    note
}

fn decode(note: &[u8; NOTE_BYTES as usize]) -> Option<(Fingerprint, u64)> {
    let (body, check) = note.split_last_chunk::<4>()?;
    if crc32c::crc32c(body).to_le_bytes() != *check {
        return None;
    }
    let (print, below) = body.split_first_chunk::<8>()?;
    Some((Fingerprint(u64::from_le_bytes(*print)), u64::from_le_bytes(*below.first_chunk::<8>()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_of_earlier_lives_count_and_damaged_ones_do_not() {
        let root = tempfile::tempdir().unwrap();
        let (layout, _lock) = Layout::open(root.path()).unwrap();
        let layout = Arc::new(layout);
        let mut first = Removals::read(&layout, &Tombstones::default());
        first.note(Fingerprint(1), 10).unwrap();
        first.note(Fingerprint(2), 20).unwrap();
        first.note(Fingerprint(3), 30).unwrap();
        let path = layout.removals();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[25] ^= 1;
        // A note that was cut.
        bytes.extend_from_slice(&[7; 5]);
        std::fs::write(&path, bytes).unwrap();
        let tombstones = Tombstones::default();
        let mut second = Removals::read(&layout, &tombstones);
        assert_eq!([1, 2, 3].map(|n| tombstones.below(Fingerprint(n))), [Some(10), None, Some(30)]);
        second.note(Fingerprint(4), 40).unwrap();
        let tombstones = Tombstones::default();
        let mut third = Removals::read(&layout, &tombstones);
        assert_eq!([1, 4].map(|n| tombstones.below(Fingerprint(n))), [Some(10), Some(40)]);
        third.forget();
        assert!(!path.exists());
        third.note(Fingerprint(5), 50).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 20);
    }
}
