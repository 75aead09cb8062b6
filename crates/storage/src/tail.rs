//! Chunks of a body that are in memory, each at its position: what came and is not on disk, or is only passed on.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::stored::slice;

/// Chunks smaller than this are copied together.
const SMALL_CHUNK: usize = 4096;

/// Chunks in the order of their positions, which never overlap.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    chunks: VecDeque<(u64, Bytes)>,
    bytes: u64,
}

impl Tail {
    /// Adds a chunk behind all others.
    pub(crate) fn push(&mut self, at: u64, chunk: Bytes) {
        self.bytes += chunk.len() as u64;
        if chunk.len() >= SMALL_CHUNK {
            self.chunks.push_back((at, chunk));
            return;
        }
        // A small slice may hold a large buffer; so it is copied, behind the small one before it.
        match self.chunks.back_mut() {
            Some((start, last))
                if *start + last.len() as u64 == at && last.len() + chunk.len() <= SMALL_CHUNK =>
            {
                *last = [&last[..], &chunk[..]].concat().into();
            }
            _ => self.chunks.push_back((at, Bytes::copy_from_slice(&chunk))),
        }
    }

    /// How many bytes they have.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The first `len` bytes of them.
    pub(crate) fn peek(&self, len: u64) -> Vec<Bytes> {
        let mut left = len;
        let mut chunks = Vec::new();
        for (_, chunk) in &self.chunks {
            if left == 0 {
                break;
            }
            let part = slice(chunk, 0, left);
            left -= part.len() as u64;
            chunks.push(part);
        }
        chunks
    }

    /// Drops all bytes before a position.
    pub(crate) fn drop_before(&mut self, until: u64) {
        while let Some((start, chunk)) = self.chunks.front_mut() {
            let len = chunk.len() as u64;
            let gone = until.saturating_sub(*start).min(len);
            self.bytes -= gone;
            if gone < len {
                *chunk = slice(chunk, gone, len);
                *start += gone;
                break;
            }
            self.chunks.pop_front();
        }
    }

    /// The bytes from a position to the end of its chunk, if it is in one.
    pub(crate) fn chunk_at(&self, at: u64) -> Option<Bytes> {
        let next = self.chunks.partition_point(|(start, chunk)| start + chunk.len() as u64 <= at);
        let (start, chunk) = self.chunks.get(next)?;
        at.checked_sub(*start).map(|skip| slice(chunk, skip, u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_keep_their_positions_over_a_gap() {
        let mut tail = Tail::default();
        tail.push(10, Bytes::from_static(b"abc"));
        tail.push(13, Bytes::from_static(b"de"));
        tail.push(100, Bytes::from_static(b"xyz"));
        assert_eq!((tail.bytes(), tail.chunks.len()), (8, 2), "small ones that touch are one");
        for (at, found) in
            [(9, None), (10, Some("abcde")), (14, Some("e")), (15, None), (101, Some("yz")), (103, None)]
        {
            assert_eq!(
                tail.chunk_at(at),
                found.map(|found: &str| Bytes::copy_from_slice(found.as_bytes())),
                "{at}"
            );
        }
        assert_eq!(tail.peek(6).concat(), b"abcdex");
        tail.drop_before(12);
        assert_eq!((tail.bytes(), tail.chunk_at(12)), (6, Some(Bytes::from_static(b"cde"))));
        tail.drop_before(50);
        assert_eq!((tail.bytes(), tail.chunk_at(14), tail.chunk_at(100).is_some()), (3, None, true));
    }
}
