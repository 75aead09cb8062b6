//! Which partials are open: one object for each, however many use it, since it alone knows what is here.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use larder_policy::Runs;
use lru::LruCache;

use super::log::Log;
use super::map::Map;
use super::{FreshPartial, Partial};
use crate::blob::file_blocks;
use crate::digest::BlobDigest;
use crate::error::ReadError;
use crate::files::StoreFile;
use crate::layout::{Layout, TempFile};

/// Partials that stay open while nobody uses them.
const OPEN_PARTIALS: usize = 64;
/// Bytes of their maps that stay in memory.
const OPEN_WEIGHT: usize = 16 << 20;

/// The partials of a store.
#[derive(Debug)]
pub(crate) struct Partials {
    layout: Arc<Layout>,
    open: Mutex<Open>,
    /// Held while one is opened: two objects of one partial would each know only half of what is here.
    opening: Mutex<()>,
    seed: [u8; 32],
    count: AtomicU64,
}

#[derive(Debug)]
struct Open {
    used: HashMap<BlobDigest, Weak<Partial>>,
    recent: LruCache<BlobDigest, Arc<Partial>>,
}

impl Partials {
    pub(crate) fn new(layout: Arc<Layout>) -> Self {
        let bound = NonZeroUsize::new(OPEN_PARTIALS).unwrap_or(NonZeroUsize::MIN);
        let mut seed = blake3::Hasher::new_keyed(&layout.hash_key);
        // Random for each process, so that no name is ever used again.
        let random = RandomState::new();
        for half in 0..4_u8 {
            seed.update(&random.hash_one(half).to_le_bytes());
        }
        Self {
            opening: Mutex::default(),
            open: Mutex::new(Open { used: HashMap::new(), recent: LruCache::new(bound) }),
            layout,
            seed: *seed.finalize().as_bytes(),
            count: AtomicU64::new(0),
        }
    }

    /// The partial, if it is open already.
    pub(crate) fn cached(&self, name: &BlobDigest) -> Option<Arc<Partial>> {
        let mut open = self.lock();
        match open.recent.get(name) {
            Some(partial) => Some(partial.clone()),
            None => open.used.get(name)?.upgrade(),
        }
    }

    /// Blocks that the files of a partial take now; `None` when nobody can tell, as when they are gone. Opens nothing.
    pub(crate) fn blocks(&self, name: &BlobDigest) -> Option<u32> {
        if let Some(partial) = self.cached(name) {
            return Some(partial.blocks());
        }
        let blocks = |path| self.layout.files().allocated(path).ok().map(file_blocks);
        let blocks = blocks(&self.layout.partial(name))? + blocks(&self.layout.partial_map(name))?;
        Some(u32::try_from(blocks).unwrap_or(u32::MAX).max(1))
    }

    /// Which bytes of a partial are here; `None` when its map cannot be read. It is kept open for nobody. Blocks.
    pub(crate) fn runs(&self, name: &BlobDigest) -> Option<Arc<Runs>> {
        if let Some(partial) = self.cached(name) {
            return Some(partial.runs());
        }
        let map = self.layout.files().open(&self.layout.partial_map(name)).ok()?;
        let (_, map) = Log::read(map, name).ok()??;
        Some(map.runs().clone())
    }

    /// Opens a partial and reads its map. Blocks.
    pub(crate) fn open(&self, name: &BlobDigest) -> Result<Arc<Partial>, ReadError> {
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(partial) = self.cached(name) {
            self.lock().keep(&partial);
            return Ok(partial);
        }
        let (file, read) = self
            .open_files(name)
            .map_err(|error| ReadError::Unreadable { digest: *name, kind: error.kind() })?;
        let (log, map) = read.ok_or(ReadError::Damaged { digest: *name, offset: 0 })?;
        let partial = Partial::new(*name, Arc::new(file), log, map);
        let mut open = self.lock();
        open.add(&partial);
        open.keep(&partial);
        Ok(partial)
    }

    fn open_files(&self, name: &BlobDigest) -> io::Result<(StoreFile, Option<(Log, Map)>)> {
        let files = self.layout.files();
        let file = files.open_to_write(&self.layout.partial(name))?;
        let map = files.open_to_write(&self.layout.partial_map(name))?;
        Ok((file, Log::read(map, name)?))
    }

    /// Makes a partial without any bytes, in temporary files. Blocks.
    pub(crate) fn create(&self) -> io::Result<(Arc<Partial>, FreshPartial)> {
        let (data, file) = self.layout.temp_file()?;
        self.adopt(data, Arc::new(file))
    }

    /// Makes a partial of a temporary file, of which no byte counts yet. Blocks.
    pub(crate) fn adopt(
        &self,
        data: TempFile,
        file: Arc<StoreFile>,
    ) -> io::Result<(Arc<Partial>, FreshPartial)> {
        let (map, log) = self.layout.temp_file()?;
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let name = blake3::keyed_hash(&self.seed, &number.to_le_bytes());
        let name = BlobDigest::from_bytes(*name.as_bytes());
        let partial = Partial::new(name, file, Log::begin(log, &name)?, Map::default());
        self.lock().add(&partial);
        Ok((partial, FreshPartial { data, map }))
    }

    /// The partial was unlinked: whoever has it open keeps it.
    pub(crate) fn forget(&self, name: &BlobDigest) {
        let mut open = self.lock();
        open.recent.pop(name);
        open.used.remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn add(&mut self, partial: &Arc<Partial>) {
        if self.used.len() > 2 * OPEN_PARTIALS {
            self.used.retain(|_, partial| partial.strong_count() > 0);
        }
        self.used.insert(partial.name(), Arc::downgrade(partial));
    }

    fn keep(&mut self, partial: &Arc<Partial>) {
        self.recent.push(partial.name(), partial.clone());
        // They grow while they are open, so that their weights are asked for anew.
        while self.recent.len() > 1
            && self.recent.iter().map(|(_, one)| one.weight()).sum::<usize>() > OPEN_WEIGHT
        {
            self.recent.pop_lru();
        }
    }
}
