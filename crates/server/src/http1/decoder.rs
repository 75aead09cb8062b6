//! Takes a body off a buffer, according to its framing. No I/O: whoever owns the buffer fills it.

use bytes::{Bytes, BytesMut};
use larder_policy::Fields;

use super::chunked::ChunkedDecoder;
use super::error::ParseError;
use super::framing::Framing;

/// Bytes asked for at a time when much is to come.
const READ_BYTES: usize = 64 * 1024;

/// Bytes asked for at a time when it is unknown how much is to come.
const CAUTIOUS_READ_BYTES: usize = 8 * 1024;

/// What a buffer gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// Content, never empty; shares the buffer's memory.
    Data(Bytes),
    /// The buffer holds no more of the body; read on, or tell [`BodyDecoder::at_eof`].
    NeedMore,
    /// The body has ended. What the buffer still holds belongs to no part of it.
    End,
}

/// Reads one body: counts its bytes and finds its end.
#[derive(Debug)]
pub(crate) struct BodyDecoder {
    state: State,
    /// Content bytes handed out.
    received: u64,
}

#[derive(Debug)]
enum State {
    Length { remaining: u64 },
    Chunked(Box<ChunkedDecoder>),
    UntilClose,
    Done { trailers: Option<Fields> },
    Failed(ParseError),
}

impl BodyDecoder {
    /// For a body with this framing.
    pub(crate) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done { trailers: None },
            Framing::Length(remaining) => State::Length { remaining },
            Framing::Chunked => State::Chunked(Box::new(ChunkedDecoder::new())),
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, received: 0 }
    }

    /// Takes the next piece of content off the front of `buf`, without copying it.
    ///
    /// # Errors
    /// Bytes that break the chunked coding. Once it failed, it fails with the same error for ever.
    pub(crate) fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, ParseError> {
        let decoded = match &mut self.state {
            State::Done { .. } => Decoded::End,
            State::Failed(error) => return Err(*error),
            _ if buf.is_empty() => Decoded::NeedMore,
            State::UntilClose => Decoded::Data(buf.split().freeze()),
            State::Length { remaining } => {
                let length = usize::try_from(*remaining).unwrap_or(usize::MAX).min(buf.len());
                *remaining -= length as u64;
                if *remaining == 0 {
                    self.state = State::Done { trailers: None };
                }
                Decoded::Data(buf.split_to(length).freeze())
            }
            State::Chunked(chunked) => match chunked.decode(buf) {
                Ok(decoded) => {
                    if chunked.is_done() {
                        self.state = State::Done { trailers: chunked.take_trailers() };
                    }
                    decoded
                }
                Err(error) => {
                    self.state = State::Failed(error);
                    return Err(error);
                }
            },
        };
        if let Decoded::Data(data) = &decoded {
            self.received += data.len() as u64;
        }
        Ok(decoded)
    }

    /// Tells that the connection has ended and all it brought was decoded.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] when the body is not whole (RFC 9112, 8): it must not pass for one that is.
    pub(crate) fn at_eof(&mut self) -> Result<(), ParseError> {
        match self.state {
            State::Done { .. } => Ok(()),
            State::UntilClose => {
                self.state = State::Done { trailers: None };
                Ok(())
            }
            State::Failed(error) => Err(error),
            State::Length { .. } | State::Chunked(_) => {
                self.state = State::Failed(ParseError::Truncated);
                Err(ParseError::Truncated)
            }
        }
    }

    /// Whether the body has ended as it should. True right after the last byte of a known length; a chunked body ends
    /// only with its trailer section.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done { .. })
    }

    /// Content bytes handed out so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Content bytes that are still to come, as far as that is known: 0 after the end.
    pub(crate) fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length { remaining } => Some(remaining),
            State::Done { .. } => Some(0),
            State::Chunked(_) | State::UntilClose | State::Failed(_) => None,
        }
    }

    /// The trailer fields, once, after the end; `None` when there were none worth keeping.
    pub(crate) fn take_trailers(&mut self) -> Option<Fields> {
        if let State::Done { trailers } = &mut self.state { trailers.take() } else { None }
    }

    /// How much room the next read should have.
    pub(super) fn wanted(&self) -> usize {
        match &self.state {
            State::Length { remaining } => (*remaining).min(READ_BYTES as u64) as usize,
            State::Chunked(chunked) => {
                chunked.expected().clamp(CAUTIOUS_READ_BYTES as u64, READ_BYTES as u64) as usize
            }
            State::UntilClose if self.received >= READ_BYTES as u64 => READ_BYTES,
            State::UntilClose | State::Done { .. } | State::Failed(_) => CAUTIOUS_READ_BYTES,
        }
    }
}
