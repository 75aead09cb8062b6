//! Segment files: records one after the other, never overwritten but for the mark of death.
//!
//! ```text
//! offset  bytes  what (little-endian)
//!      0      8  "LARDSEG" and version 1
//!      8      4  number of the segment, as in its file name
//!     12      4  CRC-32C of bytes 0 to 11
//!     16         records, each at a multiple of 8
//! ```
//!
//! Numbers only rise and are not used twice in one life of a directory. A process never appends to a segment
//! of an earlier one, so a torn end stays where it is, as dead bytes.

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use crate::directory::Place;
use crate::files::StoreFile;
use crate::layout::Layout;
use crate::record::{ALIGN, DEAD, Front, HEAD_BYTES, Head, RecordFault, STATE_OFFSET};
use crate::sharded::{SHARDS, Sharded};

const MAGIC: [u8; 8] = *b"LARDSEG\x01";
/// Where the first record stands.
pub(crate) const FIRST_RECORD: u64 = 16;
/// Segments that are kept open for reading.
const OPEN_FILES: usize = 256;
/// Bytes that a scan reads at once.
const WINDOW: usize = 256 * 1024;

/// The head of a segment file.
pub(crate) fn header(id: u32) -> [u8; FIRST_RECORD as usize] {
    let mut bytes = [0; FIRST_RECORD as usize];
    let (magic, rest) = bytes.split_at_mut(8);
    magic.copy_from_slice(&MAGIC);
    let (number, check) = rest.split_at_mut(4);
    number.copy_from_slice(&id.to_le_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c(&MAGIC), number);
    check.copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The numbers of the segments of a directory and their sizes in bytes, in rising order.
pub(crate) fn list(layout: &Layout) -> io::Result<Vec<(u32, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(layout.segments())? {
        let entry = entry?;
        let name = entry.file_name();
        let id = name
            .to_str()
            .and_then(|name| name.strip_suffix(".seg"))
            .filter(|hex| hex.len() == 8)
            .and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let Some(id) = id else { continue };
        match entry.metadata() {
            Ok(metadata) => found.push((id, metadata.len())),
            // Compacted since the directory was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes a new segment file with its header in it.
pub(crate) fn create(layout: &Layout, id: u32) -> io::Result<StoreFile> {
    let path = layout.segment(id);
    let file = layout.files().create_new(&path)?;
    if let Err(error) = file.write_all(&[header(id)], 0) {
        let _ = layout.files().remove(&path);
        return Err(error);
    }
    Ok(file)
}

/// Segments opened for reading and marking, a bounded number at a time.
#[derive(Debug)]
pub(crate) struct SegmentFiles {
    layout: Arc<Layout>,
    open: Sharded<LruCache<u32, Arc<StoreFile>>>,
}

impl SegmentFiles {
    pub(crate) fn new(layout: Arc<Layout>) -> Self {
        let bound = NonZeroUsize::new(OPEN_FILES / SHARDS).unwrap_or(NonZeroUsize::MIN);
        Self { layout, open: Sharded::new(|| LruCache::new(bound)) }
    }

    /// The file, if it is open already.
    fn cached(&self, id: u32) -> Option<Arc<StoreFile>> {
        self.open.lock(u64::from(id)).get(&id).cloned()
    }

    pub(crate) fn open(&self, id: u32) -> io::Result<Arc<StoreFile>> {
        if let Some(file) = self.cached(id) {
            return Ok(file);
        }
        let file = Arc::new(self.layout.files().open_to_write(&self.layout.segment(id))?);
        self.add(id, file.clone());
        Ok(file)
    }

    /// The file, if it is open or its name can be found without touching the disk.
    pub(crate) fn open_resident(&self, id: u32) -> io::Result<Option<Arc<StoreFile>>> {
        if let Some(file) = self.cached(id) {
            return Ok(Some(file));
        }
        let found = self.layout.files().open_resident_to_write(&self.layout.segment(id))?.map(Arc::new);
        if let Some(file) = &found {
            self.add(id, file.clone());
        }
        Ok(found)
    }

    pub(crate) fn add(&self, id: u32, file: Arc<StoreFile>) {
        self.open.lock(u64::from(id)).put(id, file);
    }

    /// The segment is about to be unlinked.
    pub(crate) fn forget(&self, id: u32) {
        self.open.lock(u64::from(id)).pop(&id);
    }

    /// Marks a record as dead in place. An index that is older than the segments may speak of places where other
    /// records lie by now: what is not a record of this length is left alone.
    pub(crate) fn mark_dead(&self, place: Place) -> io::Result<()> {
        let head = self.head(place)?;
        if head.record_bytes() != u64::from(place.length) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, RecordFault::Shape));
        }
        self.open(place.segment)?.write_all(&[[DEAD]], u64::from(place.offset) + STATE_OFFSET)
    }

    /// Reads the fixed part of the record at a place.
    pub(crate) fn head(&self, place: Place) -> io::Result<Head> {
        let mut bytes = [0; HEAD_BYTES];
        self.open(place.segment)?.read_exact(&mut bytes, u64::from(place.offset))?;
        Head::decode(&bytes).map_err(invalid)
    }

    /// Reads the key of the record at a place, proved with its head.
    pub(crate) fn key(&self, place: Place) -> io::Result<String> {
        let head = self.head(place)?;
        let mut front = vec![0; head.front_bytes()];
        self.open(place.segment)?.read_exact(&mut front, u64::from(place.offset))?;
        head.check(&front).map(|front| front.key.to_owned()).map_err(invalid)
    }
}

/// What a scan comes upon.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// A record whose head, key and metadata are proved; the body is not read.
    Record { place: Place, head: Head, front: Front<'a> },
    /// Bytes from here to the next record, or to the end, are not records. If they begin like one that is cut off, it would end
    /// so many bytes behind the segment.
    Damage { offset: u64, bytes: u64, fault: RecordFault, missing: u64 },
}

/// Reads a segment from record to record, without the bodies.
///
/// Damage does not end a scan: records begin at multiples of eight and prove themselves, so it goes on at the
/// next one.
#[derive(Debug)]
pub(crate) struct Scan {
    id: u32,
    file: Arc<StoreFile>,
    offset: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl Scan {
    /// Scans `file` from `offset` (zero is the first record) to `end`.
    pub(crate) fn new(id: u32, file: Arc<StoreFile>, offset: u64, end: u64) -> Self {
        let offset = offset.max(FIRST_RECORD).next_multiple_of(ALIGN);
        Self { id, file, offset, end, window: Vec::new(), window_at: 0 }
    }

    /// Where the next record is looked for.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The next thing in the segment; `None` at its end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Found<'_>>> {
        if self.offset >= self.end {
            return Ok(None);
        }
        let begin = self.offset;
        match self.head_at(begin)? {
            Ok(head) => {
                self.offset = begin + head.record_bytes();
                let place = self.place(begin, &head);
                let front = head.check(self.bytes(begin)).map_err(invalid)?;
                Ok(Some(Found::Record { place, head, front }))
            }
            Err(fault) => {
                let missing = if fault == RecordFault::Cut { self.missing_at(begin) } else { 0 };
                let mut at = begin + ALIGN;
                while at < self.end && self.head_at(at)?.is_err() {
                    at += ALIGN;
                }
                self.offset = at.min(self.end);
                Ok(Some(Found::Damage { offset: begin, bytes: self.offset - begin, fault, missing }))
            }
        }
    }

    fn place(&self, offset: u64, head: &Head) -> Place {
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Place { segment: self.id, offset: narrow(offset), length: narrow(head.record_bytes()) }
    }

    /// The head of the record at `offset`, proved, with its key and metadata in the window.
    fn head_at(&mut self, offset: u64) -> io::Result<Result<Head, RecordFault>> {
        self.fill(offset, HEAD_BYTES)?;
        let head = match Head::decode(self.bytes(offset)) {
            Ok(head) => head,
            Err(fault) => return Ok(Err(fault)),
        };
        if offset + head.record_bytes() > self.end {
            return Ok(Err(RecordFault::Cut));
        }
        self.fill(offset, head.front_bytes())?;
        Ok(head.check(self.bytes(offset)).map(|_| head))
    }

    /// How far behind the end the record would end that begins at `offset`, if its head is there and may be believed.
    fn missing_at(&self, offset: u64) -> u64 {
        let bytes = self.bytes(offset);
        let Ok(head) = Head::decode(bytes) else { return 0 };
        let proved = bytes.len() < head.front_bytes() || head.check(bytes).is_ok();
        let end = offset.saturating_add(head.record_bytes());
        // No segment is longer than its offsets can tell.
        if proved && end <= u64::from(u32::MAX) { end.saturating_sub(self.end) } else { 0 }
    }

    fn bytes(&self, offset: u64) -> &[u8] {
        let skip = usize::try_from(offset.saturating_sub(self.window_at)).unwrap_or(usize::MAX);
        self.window.get(skip..).unwrap_or(&[])
    }

    /// Makes the window hold `len` bytes from `offset`, or all there are.
    fn fill(&mut self, offset: u64, len: usize) -> io::Result<()> {
        let have = self.window_at + self.window.len() as u64;
        let want = (offset + len as u64).min(self.end);
        if offset >= self.window_at && want <= have {
            return Ok(());
        }
        let size = (len.max(WINDOW) as u64).min(self.end - offset);
        self.window.resize(usize::try_from(size).map_err(invalid)?, 0);
        self.window_at = offset;
        let read = self.file.read_full(&mut self.window, offset)?;
        self.window.truncate(read);
        Ok(())
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::BlobDigest;
    use crate::directory::VariantTag;
    use crate::record::{BodyFacts, EncodedFront};

    fn segment_with(keys: &[&str]) -> (tempfile::TempDir, Arc<Layout>, Vec<Place>) {
        let root = tempfile::tempdir().unwrap();
        let (layout, _) = Layout::open(root.path()).unwrap();
        let file = create(&layout, 3).unwrap();
        let mut at = FIRST_RECORD;
        let mut places = Vec::new();
        for (n, key) in keys.iter().enumerate() {
            let body = vec![n as u8; 100 + n];
            let facts = BodyFacts { digest: BlobDigest::of(&body), len: body.len() as u64, file: None };
            let mut bytes =
                EncodedFront::new(key, b"meta", VariantTag(0), facts).unwrap().seal(n as u64).to_vec();
            bytes.extend_from_slice(&body);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            file.write_all(&[&bytes], at).unwrap();
            places.push(Place { segment: 3, offset: at as u32, length: bytes.len() as u32 });
            at += bytes.len() as u64;
        }
        (root, Arc::new(layout), places)
    }

    type Records = Vec<(String, Place, bool)>;

    fn scan(layout: &Arc<Layout>) -> (Records, Vec<(u64, u64)>) {
        let file = Arc::new(layout.files().open(&layout.segment(3)).unwrap());
        let end = file.len().unwrap();
        let mut scan = Scan::new(3, file, 0, end);
        let (mut records, mut damages) = (Vec::new(), Vec::new());
        while let Some(found) = scan.next().unwrap() {
            match found {
                Found::Record { place, head, front } => {
                    records.push((front.key.to_owned(), place, head.live))
                }
                Found::Damage { offset, bytes, .. } => damages.push((offset, bytes)),
            }
        }
        (records, damages)
    }

    #[test]
    fn a_scan_finds_every_record_where_it_was_written() {
        let (_root, layout, places) = segment_with(&["a", "bb", "ccc"]);
        let (records, damages) = scan(&layout);
        assert_eq!(records.iter().map(|(_, place, _)| *place).collect::<Vec<_>>(), places);
        assert!(damages.is_empty());
    }

    #[test]
    fn a_dead_mark_is_seen() {
        let (_root, layout, places) = segment_with(&["a", "b"]);
        SegmentFiles::new(layout.clone()).mark_dead(places[0]).unwrap();
        let live: Vec<_> = scan(&layout).0.into_iter().map(|(_, _, live)| live).collect();
        assert_eq!(live, [false, true]);
    }

    #[test]
    fn a_scan_goes_on_behind_damage() {
        let (_root, layout, places) = segment_with(&["a", "b", "c"]);
        let file = layout.files().open_to_write(&layout.segment(3)).unwrap();
        file.write_all(&[[0xff; 20]], u64::from(places[1].offset) + 30).unwrap();
        let (records, damages) = scan(&layout);
        assert_eq!(records.iter().map(|(key, ..)| key.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(damages, [(u64::from(places[1].offset), u64::from(places[1].length))]);
    }

    #[test]
    fn a_torn_end_is_damage_up_to_the_end() {
        let (_root, layout, places) = segment_with(&["a", "b"]);
        let file = layout.files().open_to_write(&layout.segment(3)).unwrap();
        file.set_len(u64::from(places[1].offset) + 50).unwrap();
        let (records, damages) = scan(&layout);
        assert_eq!(records.len(), 1);
        assert_eq!(damages, [(u64::from(places[1].offset), 50)]);
    }

    #[test]
    fn of_a_torn_record_it_is_known_what_is_missing_as_soon_as_its_head_is_there() {
        let (_root, layout, places) = segment_with(&["a", "b"]);
        let file = Arc::new(layout.files().open_to_write(&layout.segment(3)).unwrap());
        let (begin, length) = (u64::from(places[1].offset), u64::from(places[1].length));
        for (there, known) in [(length - 1, true), (HEAD_BYTES as u64, true), (HEAD_BYTES as u64 - 1, false)]
        {
            file.set_len(begin + there).unwrap();
            let mut scan = Scan::new(3, file.clone(), begin, begin + there);
            let Some(Found::Damage { missing, .. }) = scan.next().unwrap() else { panic!("it is torn") };
            assert_eq!(missing, if known { length - there } else { 0 });
        }
    }
}
