//! Buffers for bodies on their way from a file to a client, used again when the last reader drops them.
//!
//! Fresh memory of this size costs a page fault per 4 KiB; a pooled buffer costs a lock of the thread's own. Only idle
//! buffers are bounded here: how many are in use is bounded by the readers, which hold one each.

use std::sync::{Arc, MutexGuard};

use bytes::Bytes;

use crate::sharded::Sharded;

/// Bytes of the larger of the two sizes: the most that one read returns.
pub(crate) const LARGE: usize = 256 * 1024;
/// Bytes of the smaller size.
pub(crate) const SMALL: usize = 64 * 1024;
/// Idle buffers of each size and thread.
const IDLE: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Pool {
    small: Sharded<Vec<Box<[u8]>>>,
    large: Sharded<Vec<Box<[u8]>>>,
}

impl Pool {
    /// A buffer of `len` bytes, at most [`LARGE`], with arbitrary content.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let (mut list, size) = self.list(len);
        let memory = list.pop();
        drop(list);
        let memory = memory.unwrap_or_else(|| vec![0; size].into_boxed_slice());
        Buffer { memory, len: len.min(size), pool: self.clone() }
    }

    fn list(&self, len: usize) -> (MutexGuard<'_, Vec<Box<[u8]>>>, usize) {
        if len <= SMALL { (self.small.lock_here(), SMALL) } else { (self.large.lock_here(), LARGE) }
    }
}

/// A buffer on loan; dropped, it goes back.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: Box<[u8]>,
    len: usize,
    pool: Arc<Pool>,
}

impl Buffer {
    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(..self.len).unwrap_or(&mut [])
    }

    /// The buffer as shared bytes, without a copy.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.memory.get(..self.len).unwrap_or(&[])
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        let (mut list, _) = self.pool.list(memory.len());
        if list.len() < IDLE {
            list.push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again() {
        let pool = Arc::new(Pool::default());
        let mut buffer = pool.take(1000);
        buffer.as_mut().fill(7);
        let at = buffer.as_ref().as_ptr();
        let bytes = buffer.freeze();
        let slice = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(slice, [7; 10][..]);
        drop(slice);
        assert_eq!(pool.take(5).as_ref().as_ptr(), at);
        assert_eq!(pool.take(LARGE).as_ref().len(), LARGE);
    }
}
