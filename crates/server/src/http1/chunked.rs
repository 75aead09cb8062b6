//! The chunked transfer coding, reading (RFC 9112, 7.1).
//!
//! ```text
//! Size --;--> Extension <--"--> Quoted <--\--> Escaped
//!   \           |
//!    CR         CR
//!     \         |
//!      +-----> SizeEnd --LF, size > 0--> Data --> DataCr --> DataLf --> Size
//!                 \
//!                  LF, size 0 --> Trailers --> Done
//! ```
//!
//! White space after a size may only lead to a `;`. Extensions are checked, counted and dropped: a bare CR or LF in
//! one, or a quoted string left open, is an error, since recipients differ about where such a line ends.

use bytes::{Buf, Bytes, BytesMut};
use larder_policy::Fields;

use super::decoder::Decoded;
use super::error::ParseError;
use super::trailers::TrailerReader;

/// Bytes of chunk extensions in one body, all chunks together.
const EXTENSIONS_LIMIT_BYTES: u32 = 16 * 1024;

/// Hexadecimal digits in a chunk size: 64 bits.
const SIZE_DIGITS: u8 = 16;

#[derive(Debug)]
enum State {
    Size,
    /// White space after the size.
    BeforeExtension,
    Extension,
    Quoted,
    Escaped,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// Reads one chunked body.
#[derive(Debug)]
pub(super) struct ChunkedDecoder {
    state: State,
    /// The size being read, then the bytes of the chunk still to come.
    size: u64,
    digits: u8,
    extension_bytes: u32,
    trailers: TrailerReader,
}

impl ChunkedDecoder {
    pub(super) fn new() -> Self {
        Self {
            state: State::Size,
            size: 0,
            digits: 0,
            extension_bytes: 0,
            trailers: TrailerReader::default(),
        }
    }

    /// Takes from `buf` what belongs to the body, up to the next piece of data.
    pub(super) fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, ParseError> {
        loop {
            match self.state {
                State::Data => return Ok(self.data(buf).map_or(Decoded::NeedMore, Decoded::Data)),
                State::Trailers => {
                    if !self.trailers.read(buf)? {
                        return Ok(Decoded::NeedMore);
                    }
                    self.state = State::Done;
                }
                State::Done => return Ok(Decoded::End),
                _ if buf.is_empty() => return Ok(Decoded::NeedMore),
                _ => self.lines(buf)?,
            }
        }
    }

    /// Whether the body has ended.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Bytes that are sure to come: the rest of the chunk.
    pub(super) fn expected(&self) -> u64 {
        if matches!(self.state, State::Data) { self.size } else { 0 }
    }

    /// The trailer section; once.
    pub(super) fn take_trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }

    fn data(&mut self, buf: &mut BytesMut) -> Option<Bytes> {
        let length = usize::try_from(self.size).unwrap_or(usize::MAX).min(buf.len());
        if length == 0 {
            return None;
        }
        self.size -= length as u64;
        if self.size == 0 {
            self.state = State::DataCr;
        }
        Some(buf.split_to(length).freeze())
    }

    /// Takes the bytes between data and data.
    fn lines(&mut self, buf: &mut BytesMut) -> Result<(), ParseError> {
        let mut taken = 0;
        for &byte in buf.iter() {
            self.state = self.step(byte)?;
            taken += 1;
            if matches!(self.state, State::Data | State::Trailers) {
                break;
            }
        }
        buf.advance(taken);
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<State, ParseError> {
        match self.state {
            State::Size => self.size_digit(byte),
            State::BeforeExtension => {
                self.count_extension_byte()?;
                match byte {
                    b' ' | b'\t' => Ok(State::BeforeExtension),
                    b';' => Ok(State::Extension),
                    _ => Err(ParseError::ChunkSize),
                }
            }
            State::Extension => {
                self.count_extension_byte()?;
                match byte {
                    b'\r' => Ok(State::SizeEnd),
                    b'"' => Ok(State::Quoted),
                    b'\t' | b' '..=b'~' => Ok(State::Extension),
                    _ => Err(ParseError::ChunkExtension),
                }
            }
            State::Quoted => {
                self.count_extension_byte()?;
                match byte {
                    b'"' => Ok(State::Extension),
                    b'\\' => Ok(State::Escaped),
                    b'\t' | b' '..=b'~' | 0x80.. => Ok(State::Quoted),
                    _ => Err(ParseError::ChunkExtension),
                }
            }
            State::Escaped => {
                self.count_extension_byte()?;
                match byte {
                    b'\t' | b' '..=b'~' | 0x80.. => Ok(State::Quoted),
                    _ => Err(ParseError::ChunkExtension),
                }
            }
            State::SizeEnd => match (byte, self.size) {
                (b'\n', 0) => Ok(State::Trailers),
                (b'\n', _) => Ok(State::Data),
                _ if self.extension_bytes == 0 => Err(ParseError::ChunkSize),
                _ => Err(ParseError::ChunkExtension),
            },
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => {
                self.digits = 0;
                Ok(State::Size)
            }
            State::DataCr | State::DataLf => Err(ParseError::ChunkEnd),
            State::Data => Ok(State::Data),
            State::Trailers => Ok(State::Trailers),
            State::Done => Ok(State::Done),
        }
    }

    /// No sign, prefix or separator; leading zeros count as digits, so the size line is bounded.
    fn size_digit(&mut self, byte: u8) -> Result<State, ParseError> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if self.digits == SIZE_DIGITS {
                return Err(ParseError::ChunkSize);
            }
            self.digits += 1;
            self.size = (self.size << 4) | u64::from(digit);
            return Ok(State::Size);
        }
        match byte {
            _ if self.digits == 0 => Err(ParseError::ChunkSize),
            b'\r' => Ok(State::SizeEnd),
            b';' => Ok(State::Extension),
            b' ' | b'\t' => Ok(State::BeforeExtension),
            _ => Err(ParseError::ChunkSize),
        }
    }

    fn count_extension_byte(&mut self) -> Result<(), ParseError> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSIONS_LIMIT_BYTES {
            Err(ParseError::ChunkExtensionsTooLong)
        } else {
            Ok(())
        }
    }
}
