//! A vector that grows by chunks, so that growing never holds two copies of what it has.

const CHUNK: usize = 512;

/// See the module.
#[derive(Debug)]
pub(super) struct Chunks<T> {
    chunks: Vec<Box<[T]>>,
    empty: T,
}

impl<T: Copy> Chunks<T> {
    /// Without any chunk yet; `empty` fills what is made.
    pub(super) const fn new(empty: T) -> Self {
        Self { chunks: Vec::new(), empty }
    }

    pub(super) fn get(&self, at: u32) -> Option<&T> {
        self.chunks.get(at as usize / CHUNK)?.get(at as usize % CHUNK)
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.chunks.get_mut(at as usize / CHUNK)?.get_mut(at as usize % CHUNK)
    }

    /// Makes sure that there is a place `at`.
    pub(super) fn grow_to(&mut self, at: u32) {
        while self.chunks.len() <= at as usize / CHUNK {
            self.chunks.push(vec![self.empty; CHUNK].into_boxed_slice());
        }
    }

    /// How many places there are.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.chunks.len() * CHUNK).unwrap_or(u32::MAX)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<T>() + self.chunks.capacity() * size_of::<Box<[T]>>()
    }
}
