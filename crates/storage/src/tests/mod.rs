//! The store as a whole, through its door.

mod anywhere;
mod basic;
mod crash;
mod damage;
mod fills;
mod index;
mod kills;
mod limits;
mod model;
mod order;
mod owners;
mod partial_steps;
mod parts;
mod restart;
mod shadows;
mod together;
mod tools;
mod variants;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, StatusCode};
use larder_policy::{
    CacheKey, Exchange, Fields, PolicySettings, RequestFacts, StoredResponse, TargetUri, Timestamp,
    storability,
};

use crate::{BodyReader, Options, ReadError, Stats, Store, Stored};

const MIB: u64 = 1 << 20;

/// A store in a directory of its own.
struct Bench {
    root: tempfile::TempDir,
    options: Options,
    store: Option<Store>,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Options)) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut options = Options::new(root.path());
        options.disk_limit = 1 << 30;
        options.memory_limit = 4 * MIB;
        change(&mut options);
        let store = Some(Store::open(options.clone()).unwrap());
        Self { root, options, store }
    }

    /// Below this limit there is no sled, which makes a test fast.
    fn small() -> Self {
        Self::new(|options| options.disk_limit = 32 * MIB)
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn dir(&self) -> &Path {
        self.root.path()
    }

    async fn close(&mut self) {
        self.store.take().unwrap().close().await;
    }

    async fn reopen(&mut self) {
        if self.store.is_some() {
            self.close().await;
        }
        self.store = Some(Store::open(self.options.clone()).unwrap());
        self.store().ready().await;
    }

    /// A second store on a copy of the directory as it is now: what a crash would leave.
    ///
    /// Copying takes a while, in which no segment may be compacted away: a crash takes no time. The index goes
    /// on, so its copy may be of an earlier moment or torn.
    async fn crash_image(&self) -> Self {
        let root = tempfile::tempdir().unwrap();
        let _hold = crate::writer::Hold::new(self.store().shared().clone());
        crate::purge::barrier(self.store().sender()).await.unwrap();
        copy_dir(self.dir(), root.path());
        let mut options = self.options.clone();
        options.dir = root.path().to_owned();
        let store = Some(Store::open(options.clone()).unwrap());
        Self { root, options, store }
    }

    fn blobs(&self) -> Vec<PathBuf> {
        let mut found = files(&self.dir().join("blobs"));
        found.retain(|path| path.extension().is_none());
        found
    }

    fn segments(&self) -> Vec<PathBuf> {
        files(&self.dir().join("segments"))
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else if let Err(error) = fs::copy(entry.path(), to) {
            // A temporary file may be gone by now.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        }
    }
}

/// Flips one bit of a file.
fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at as usize] ^= 0x20;
    let modified = fs::OpenOptions::new().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&modified, &bytes[at as usize..=at as usize], at).unwrap();
}

fn key(name: impl std::fmt::Display) -> CacheKey {
    CacheKey::of(&TargetUri::parse(format!("http://example.com/{name}").as_bytes()).unwrap())
}

fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.push(name, value.as_bytes()).unwrap();
    }
    fields
}

pub(crate) fn response_to(request: &[(&str, &str)], response: &[(&str, &str)]) -> StoredResponse {
    let mut lines = vec![("Cache-Control", "max-age=3600"), ("Date", "Mon, 23 Nov 2026 12:00:00 GMT")];
    lines.extend(response);
    let key = key("x");
    let exchange = Exchange {
        facts: &RequestFacts::of(&Method::GET, &fields(request)),
        target: key.target(),
        request: &fields(request),
        status: StatusCode::OK,
        response: &fields(&lines),
        request_time: Timestamp::from_secs(1_795_435_200),
        response_time: Timestamp::from_secs(1_795_435_201),
        framing_sound: true,
    };
    storability(&PolicySettings::default(), &exchange, None).unwrap()
}

fn response() -> StoredResponse {
    response_to(&[], &[("Content-Type", "text/plain")])
}

/// Bytes that differ from seed to seed and from block to block.
fn body(seed: u64, len: usize) -> Bytes {
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut bytes = vec![0; len];
    reader.fill(&mut bytes);
    bytes.into()
}

async fn put(store: &Store, key: &CacheKey, body: &Bytes) -> Option<Arc<Stored>> {
    put_response(store, key, response(), body).await
}

async fn put_response(
    store: &Store,
    key: &CacheKey,
    response: StoredResponse,
    body: &Bytes,
) -> Option<Arc<Stored>> {
    let mut fill = store.begin(key.clone(), response, Some(body.len() as u64), None);
    let mut rest = body.clone();
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(50_000));
        if fill.write(piece).await.is_err() {
            return None;
        }
    }
    fill.finish().await
}

async fn read(mut reader: BodyReader) -> Result<Vec<u8>, ReadError> {
    let mut all = Vec::new();
    while let Some(bytes) = reader.next().await? {
        assert!(!bytes.is_empty());
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

async fn get(store: &Store, key: &CacheKey) -> Option<Result<Vec<u8>, ReadError>> {
    let variants = store.lookup(key).await;
    let first = variants.first()?;
    assert_eq!(first.key(), key);
    Some(read(first.body(0..u64::MAX)).await)
}

/// A small generator: the same numbers from the same seed, everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

/// The seed of this run, printed; `LARDER_TEST_SEED` sets it.
fn seed() -> u64 {
    let given = std::env::var("LARDER_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    let seed = given.unwrap_or_else(now);
    println!("LARDER_TEST_SEED={seed}");
    seed
}

/// How many panics there were in the store's own code, in any test of this process that asks for it.
fn panics() -> u64 {
    static PANICS: AtomicU64 = AtomicU64::new(0);
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let file = info.location().map_or("", |location| location.file());
            if file.contains("crates/storage/src/") && !file.contains("/tests/") {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(info);
        }));
    });
    PANICS.load(Ordering::SeqCst)
}

/// How many of something a test does: few, or many with `LARDER_TEST_LONG` set.
fn long(few: u64, many: u64) -> u64 {
    if std::env::var_os("LARDER_TEST_LONG").is_some() { many } else { few }
}

/// Waits for what the writer does without being waited for.
async fn until(store: &Store, done: impl Fn(&Stats) -> bool) {
    eventually(|| done(&store.stats()), || format!("{:?}", store.stats())).await;
}

/// Waits for what no event tells; looks again and again, and gives up in the end with what `else_say` says.
async fn eventually(done: impl Fn() -> bool, else_say: impl Fn() -> String) {
    let began = std::time::Instant::now();
    while !done() {
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "{}", else_say());
        tokio::task::yield_now().await;
    }
}

/// What this thread says in the log.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn during<T>(&self, does: impl FnOnce() -> T) -> T {
        tracing::subscriber::with_default(self.clone(), does)
    }

    /// A line is all fields of an event, the message among them.
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = String::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            line += &format!("{field}={value:?} ");
        });
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
