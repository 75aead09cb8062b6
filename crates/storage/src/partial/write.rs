//! Adding bytes to a partial: data first, then the map that names it, then whoever waits for it.

use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use blake3::hazmat::ChainingValue;
use bytes::Bytes;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::log::Log;
use super::map::{Map, Piece, Proof, by_group, group_range};
use super::{Partial, Partials};
use crate::command::{Command, Grown, Reservation};
use crate::digest::{GROUP_BYTES, chaining_value};
use crate::layout::TempFile;
use crate::stored::{Core, slice};

/// The files of a partial that no record names yet; they go when this is dropped.
#[derive(Debug)]
pub(crate) struct FreshPartial {
    pub(crate) data: TempFile,
    pub(crate) map: TempFile,
}

/// What a fill needs to write into a partial. What it has written into one that is there already stays when no record
/// follows: dropping this has it counted.
#[derive(Debug)]
pub(crate) struct PartWriter {
    /// `None` as long as nothing of a new one has been written.
    pub(crate) partial: Option<Arc<Partial>>,
    /// The files of a new one.
    pub(crate) fresh: Option<FreshPartial>,
    /// Room for what has been written and not been recorded.
    pub(crate) reservation: Option<Reservation>,
    /// Bytes that were written.
    pub(crate) written: u64,
    /// The response whose partial grows, and who counts it; `None` for a new one, and once a record says what it takes.
    grows: Option<(Arc<Core>, mpsc::Sender<Command>)>,
}

impl PartWriter {
    /// Into the partial of `base`, or into a new one.
    pub(crate) fn new(base: Option<&Arc<Core>>, sender: &mpsc::Sender<Command>) -> Self {
        let partial = base.and_then(|base| base.partial.clone());
        let grows = base.map(|base| (base.clone(), sender.clone()));
        Self { partial, fresh: None, reservation: None, written: 0, grows }
    }

    /// A record says what the partial takes now.
    pub(crate) fn recorded(mut self) {
        self.grows = None;
    }

    /// Room for more.
    pub(crate) fn reserved(&mut self, mut more: Reservation) {
        if self.grows.is_some() {
            more.stays();
        }
        match &mut self.reservation {
            Some(reservation) => reservation.merge(more),
            none => *none = Some(more),
        }
    }

    /// Writes chunks at their position. Blocks.
    pub(crate) fn write(mut self, partials: &Partials, at: u64, chunks: &[Bytes]) -> io::Result<Self> {
        let partial = match &self.partial {
            Some(partial) => partial.clone(),
            None => {
                let (partial, fresh) = partials.create()?;
                self.fresh = Some(fresh);
                self.partial.insert(partial).clone()
            }
        };
        partial.add(at, chunks)?;
        self.written += chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        Ok(self)
    }
}

impl Drop for PartWriter {
    fn drop(&mut self) {
        let (Some((base, sender)), Some(partial)) = (self.grows.take(), &self.partial) else { return };
        if self.written == 0 && self.reservation.is_none() {
            return;
        }
        let grown = Command::Grown(Grown {
            fingerprint: base.fingerprint,
            variant: base.variant,
            name: partial.name(),
            reservation: self.reservation.take(),
        });
        // Nothing waits here; a writer that is busy is waited for elsewhere. One that is gone counts anew when it starts.
        if let Err(TrySendError::Full(grown)) = sender.try_send(grown)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { sender.send(grown).await });
        }
    }
}

impl Partial {
    /// Adds what is not here yet of these bytes, which begin at `at`. Blocks.
    ///
    /// # Errors
    ///
    /// The disk refused: nothing is here that was not before. `InvalidData`: what was here is damaged.
    pub(crate) fn add(&self, at: u64, chunks: &[Bytes]) -> io::Result<()> {
        // One after the other, so that no byte is written twice.
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let end = chunks.iter().try_fold(at, |end, chunk| end.checked_add(chunk.len() as u64));
        let end = end.ok_or(io::ErrorKind::InvalidInput)?;
        let mut pieces = Vec::new();
        for gap in self.runs().missing(at..end) {
            self.file.write_all(&cut(chunks, at, &gap), gap.start)?;
            for range in by_group(gap) {
                pieces.push(Piece::of(range.start, &cut(chunks, at, &range).concat()));
            }
        }
        self.record(&mut log, pieces)
    }

    /// Cuts its file off behind its first bytes, and gives back what was allocated beyond. Blocks.
    pub(crate) fn trim(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    /// Takes the first `len` bytes of its file for here, which have these chaining values. Only a ragged end is read. Blocks.
    pub(crate) fn adopt(&self, len: u64, values: &[ChainingValue]) -> io::Result<()> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pieces = Vec::with_capacity(values.len());
        for (range, value) in by_group(0..len).zip(values) {
            if range.end - range.start == GROUP_BYTES {
                pieces.push(Piece { range, proof: Proof::Group(*value) });
                continue;
            }
            let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
            self.file.read_exact(&mut bytes, range.start)?;
            if chaining_value(range.start, &bytes) != *value {
                return Err(io::ErrorKind::InvalidData.into());
            }
            pieces.push(Piece::of(range.start, &bytes));
        }
        self.record(&mut log, pieces)
    }

    /// Has the map name pieces that are in the file, and what became a whole group by them.
    fn record(&self, log: &mut Log, mut pieces: Vec<Piece>) -> io::Result<()> {
        if pieces.is_empty() {
            return Ok(());
        }
        let mut whole = Vec::new();
        for new in pieces.chunk_by(|one, other| one.group() == other.group()) {
            if let Some(group) = new.first().map(Piece::group) {
                whole.extend(self.join(group, new)?);
            }
        }
        // What is ragged of a group that is whole now need not be named.
        pieces.retain(|piece| whole.iter().all(|group: &Piece| group.group() != piece.group()));
        pieces.append(&mut whole);
        pieces.sort_unstable_by_key(|piece| piece.range.start);
        log.append(&pieces)?;
        self.log_len.store(log.len(), Ordering::Relaxed);
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        for piece in &pieces {
            map.add(piece);
        }
        Ok(())
    }

    /// The group as one piece, if the ragged ones that are here and the new ones are all of it. Each is proved before.
    fn join(&self, group: u64, new: &[Piece]) -> io::Result<Option<Piece>> {
        let mut pieces: Vec<Piece> = self.read_map(|map: &Map| map.ragged_of(group).collect());
        pieces.extend_from_slice(new);
        pieces.sort_unstable_by_key(|piece| piece.range.start);
        let whole = group_range(group);
        let bytes: u64 = pieces.iter().map(|piece| piece.range.end - piece.range.start).sum();
        if pieces.len() < 2 || bytes != GROUP_BYTES {
            return Ok(None);
        }
        let mut buffer = vec![0; GROUP_BYTES as usize];
        self.file.read_exact(&mut buffer, whole.start)?;
        if self.prove(&pieces, &buffer).is_err() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Some(Piece::of(whole.start, &buffer)))
    }
}

/// The bytes of `range` out of chunks that begin at `at`.
fn cut(chunks: &[Bytes], at: u64, range: &Range<u64>) -> Vec<Bytes> {
    let mut start = at;
    let mut parts = Vec::new();
    for chunk in chunks {
        let end = start + chunk.len() as u64;
        if start < range.end && range.start < end {
            let from = range.start.saturating_sub(start);
            parts.push(slice(chunk, from, range.end.min(end) - start));
        }
        start = end;
    }
    parts
}
