//! A file's bytes, decompressed where its first bytes say that they are compressed.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

use crate::error::TraceError;

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const BUFFER: usize = 256 << 10;

/// Uncompressed bytes of a file.
pub struct Source {
    bytes: Box<dyn BufRead + Send>,
    read: Arc<AtomicU64>,
}

impl Source {
    /// Opens a file and looks at its first bytes.
    ///
    /// # Errors
    ///
    /// It cannot be opened or read, or is a damaged zstd file from the start.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let failed = |source| TraceError::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        Self::new(file).map_err(failed)
    }

    /// Reads from anything.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is a damaged zstd file from the start.
    pub fn new(bytes: impl Read + Send + 'static) -> io::Result<Self> {
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted { bytes, read: read.clone() };
        let mut raw = BufReader::with_capacity(BUFFER, counted);
        let first = raw.fill_buf()?;
        let bytes: Box<dyn BufRead + Send> = if first.starts_with(&ZSTD_MAGIC) {
            Box::new(BufReader::with_capacity(BUFFER, Frames::new(raw)?))
        } else if first.starts_with(&GZIP_MAGIC) {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(raw)))
        } else {
            Box::new(raw)
        };
        Ok(Self { bytes, read })
    }

    /// Bytes that were read, before they were decompressed.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(into)
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.bytes.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.bytes.consume(amount);
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("read", &self.read).finish_non_exhaustive()
    }
}

struct Counted<R> {
    bytes: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(into)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// One zstd frame after another: a file may have several, as when others were appended to it.
struct Frames<R: BufRead> {
    frame: Option<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>,
}

impl<R: BufRead> Frames<R> {
    fn new(bytes: R) -> io::Result<Self> {
        Ok(Self { frame: Some(StreamingDecoder::new(bytes).map_err(io::Error::other)?) })
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(frame) = &mut self.frame else { return Ok(0) };
            let read = frame.read(into)?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            let Some(mut rest) = self.frame.take().map(StreamingDecoder::into_inner) else { return Ok(0) };
            if rest.fill_buf()?.is_empty() {
                return Ok(0);
            }
            *self = Self::new(rest)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn text(bytes: Vec<u8>) -> io::Result<String> {
        let mut text = String::new();
        Source::new(io::Cursor::new(bytes))?.read_to_string(&mut text)?;
        Ok(text)
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn compressed_files_of_several_members_are_read_whole() {
        assert_eq!(text(b"as it is".to_vec()).unwrap(), "as it is");
        assert_eq!(text([gzip("one "), gzip("two")].concat()).unwrap(), "one two");
        let frame = |text: &str| {
            ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
        };
        assert_eq!(text([frame("one "), frame("two")].concat()).unwrap(), "one two");
    }

    #[test]
    fn damage_is_an_error() {
        let mut bytes = gzip(&"something to cut ".repeat(1000));
        bytes.truncate(bytes.len() / 2);
        assert!(text(bytes).is_err());
        assert!(text([&ZSTD_MAGIC[..], b"nothing of the kind"].concat()).is_err());
    }

    #[test]
    fn a_directory_is_not_opened() {
        assert!(matches!(Source::open(&std::env::temp_dir()), Err(TraceError::Open { .. })));
    }
}
