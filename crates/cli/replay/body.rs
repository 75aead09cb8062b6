//! Bodies that tell what they are: the same bytes for the same target and version, and others for others.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

/// Bytes of one frame at most.
const FRAME: usize = 64 << 10;

/// What bodies are cut from: a frame's worth of noise, twice, so that a frame may begin anywhere in the first.
static NOISE: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut noise = Vec::with_capacity(2 * FRAME);
    while noise.len() < FRAME {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.extend_from_within(..);
    Bytes::from(noise)
});

/// Where in the noise the bytes at a position are taken from. Positions a frame apart are alike.
const fn place(seed: u64, position: u64) -> usize {
    (seed.wrapping_add(position) % FRAME as u64) as usize
}

/// A body, or a range of one.
#[derive(Debug)]
pub(super) struct SeededBody {
    seed: u64,
    position: u64,
    end: u64,
}

impl SeededBody {
    /// Bytes `start..end` of the body of this seed.
    pub(super) const fn new(seed: u64, start: u64, end: u64) -> Self {
        Self { seed, position: start, end }
    }
}

impl Body for SeededBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let left = self.end.saturating_sub(self.position);
        if left == 0 {
            return Poll::Ready(None);
        }
        let from = place(self.seed, self.position);
        let length = usize::try_from(left).unwrap_or(FRAME).min(FRAME);
        self.position += length as u64;
        Poll::Ready(Some(Ok(Frame::data(NOISE.slice(from..from + length)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end.saturating_sub(self.position))
    }

    fn is_end_stream(&self) -> bool {
        self.position >= self.end
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn bytes(seed: u64, start: u64, end: u64) -> Bytes {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(SeededBody::new(seed, start, end).collect()).unwrap().to_bytes()
    }

    #[test]
    fn a_range_is_a_piece_of_the_whole_and_other_versions_differ() {
        let whole = bytes(7, 0, 300_000);
        assert_eq!(whole.len(), 300_000);
        for (start, end) in [(0, 0), (5, 6), (65_535, 65_537), (100_000, 300_000)] {
            assert_eq!(bytes(7, start, end), whole.slice(start as usize..end as usize));
        }
        assert_ne!(bytes(8, 0, 100), whole.slice(..100));
    }
}
