//! The objects that a miniature follows, by their fingerprints and by the numbers that the lists know them by.

use hashbrown::HashTable;

#[derive(Clone, Copy, Debug)]
struct Object {
    fingerprint: u64,
    size: u64,
    /// How many lists have it.
    listed: u32,
    /// Whether the number is in use.
    taken: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Objects {
    table: HashTable<u32>,
    objects: Vec<Object>,
    free: Vec<u32>,
}

impl Objects {
    /// Number and size of an object.
    pub(super) fn find(&self, fingerprint: u64) -> Option<(u32, u64)> {
        let is = |id: &u32| self.at(*id).is_some_and(|object| object.fingerprint == fingerprint);
        let id = *self.table.find(fingerprint, is)?;
        Some((id, self.at(id)?.size))
    }

    /// Gives an object that is not here a number.
    pub(super) fn add(&mut self, fingerprint: u64, size: u64) -> Option<u32> {
        let object = Object { fingerprint, size, listed: 0, taken: true };
        let id = match self.free.pop() {
            Some(id) => {
                *self.objects.get_mut(id as usize)? = object;
                id
            }
            None => {
                self.objects.push(object);
                u32::try_from(self.objects.len() - 1).ok()?
            }
        };
        let objects = &self.objects;
        let hash = |id: &u32| objects.get(*id as usize).map_or(0, |object| object.fingerprint);
        self.table.insert_unique(fingerprint, id, hash);
        Some(id)
    }

    /// One list has let go of an object. True when that was the last.
    pub(super) fn leaves(&mut self, id: u32) -> bool {
        let Some(object) = self.objects.get_mut(id as usize) else { return false };
        object.listed = object.listed.saturating_sub(1);
        object.listed == 0
    }

    pub(super) fn set_listed(&mut self, id: u32, lists: u32) {
        if let Some(object) = self.objects.get_mut(id as usize) {
            object.listed = lists;
        }
    }

    pub(super) fn set_size(&mut self, id: u32, size: u64) {
        if let Some(object) = self.objects.get_mut(id as usize) {
            object.size = size;
        }
    }

    /// Frees the number of an object.
    pub(super) fn forget(&mut self, id: u32) {
        let Some(object) = self.objects.get_mut(id as usize).filter(|object| object.taken) else { return };
        object.taken = false;
        if let Ok(entry) = self.table.find_entry(object.fingerprint, |other| *other == id) {
            entry.remove();
        }
        self.free.push(id);
    }

    /// Fingerprint and size of an object.
    pub(super) fn get(&self, id: u32) -> Option<(u64, u64)> {
        let object = self.at(id).filter(|object| object.taken)?;
        Some((object.fingerprint, object.size))
    }

    /// All numbers are below this one.
    pub(super) fn end(&self) -> u32 {
        u32::try_from(self.objects.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.table.allocation_size()
            + self.objects.capacity() * size_of::<Object>()
            + self.free.capacity() * size_of::<u32>()
    }

    fn at(&self, id: u32) -> Option<&Object> {
        self.objects.get(id as usize)
    }
}
