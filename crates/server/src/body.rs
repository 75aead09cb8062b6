//! The content of an answer, wherever it comes from, as one stream.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use larder_policy::Fields;
use larder_storage::{BodyReader, ReadError, Stored};

use crate::error::UpstreamError;
use crate::origin::OriginBody;

/// The content of an answer.
pub(crate) enum Content {
    /// None at all.
    Empty,
    /// A few bytes made here.
    Bytes(Bytes),
    /// From the store, complete or still growing.
    Stored {
        /// Bytes that were read already.
        first: Option<Bytes>,
        /// The rest.
        reader: BodyReader,
    },
    /// Several ranges of a stored body (RFC 9110, 14.6).
    Parts(Parts),
    /// Straight from the next hop.
    Origin(Box<OriginBody>),
}

/// Why content ended before its end. The transfer is then cut visibly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    #[error("the stored body could not be read")]
    Store(#[source] ReadError),
    #[error(transparent)]
    Upstream(UpstreamError),
}

impl Content {
    /// The next bytes; none at the true end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ContentError> {
        match self {
            Self::Empty => Ok(None),
            Self::Bytes(bytes) => Ok(Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty())),
            Self::Stored { first, reader } => match first.take() {
                Some(first) => Ok(Some(first)),
                None => reader.next().await.map_err(ContentError::Store),
            },
            Self::Parts(parts) => parts.next().await.map_err(ContentError::Store),
            Self::Origin(body) => body.next().await.map_err(ContentError::Upstream),
        }
    }

    /// The trailer section, once the end has been reached. Stored responses have none: theirs are dropped, as they came
    /// after the decision to store (RFC 9110, 6.5.1 lets a recipient discard them).
    pub(crate) fn take_trailers(&mut self) -> Option<Fields> {
        match self {
            Self::Origin(body) => body.take_trailers(),
            _ => None,
        }
    }
}

/// Several ranges of one stored body as `multipart/byteranges`.
pub(crate) struct Parts {
    stored: Arc<Stored>,
    left: VecDeque<(Bytes, Range<u64>)>,
    reading: Option<BodyReader>,
    closing: Bytes,
}

impl Parts {
    /// The parts, the boundary between them and how long all of it is.
    pub(crate) fn new(stored: &Arc<Stored>, ranges: Vec<Range<u64>>, boundary: &str) -> (Self, u64) {
        let whole = stored.body_len();
        let content_type = stored.response().fields().first("content-type").map(<[u8]>::to_vec);
        let mut left = VecDeque::with_capacity(ranges.len());
        let closing = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        let mut length = closing.len() as u64;
        for range in ranges {
            let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
            if let Some(kind) = &content_type {
                head.extend_from_slice(b"Content-Type: ");
                head.extend_from_slice(kind);
                head.extend_from_slice(b"\r\n");
            }
            let last = range.end.saturating_sub(1);
            head.extend_from_slice(
                format!("Content-Range: bytes {}-{last}/{whole}\r\n\r\n", range.start).as_bytes(),
            );
            length += head.len() as u64 + (range.end - range.start);
            left.push_back((Bytes::from(head), range));
        }
        (Self { stored: Arc::clone(stored), left, reading: None, closing }, length)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        if let Some(reader) = &mut self.reading {
            if let Some(bytes) = reader.next().await? {
                return Ok(Some(bytes));
            }
            self.reading = None;
        }
        let Some((head, range)) = self.left.pop_front() else {
            return Ok(Some(std::mem::take(&mut self.closing)).filter(|bytes| !bytes.is_empty()));
        };
        self.reading = Some(self.stored.body(range));
        Ok(Some(head))
    }
}
