//! What can be wrong with a message, and what can go wrong while one is read or written.

use std::io;

use thiserror::Error;

/// Why bytes from a peer are not a message that has one reading. After any of these the connection closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ParseError {
    /// Not `method SP target SP version`: parts missing, extra spaces, empty lines before it (RFC 9112, 3).
    #[error("malformed request line")]
    RequestLine,
    /// The method is not a token (RFC 9110, 9.1).
    #[error("invalid method")]
    Method,
    /// A byte outside `%x21-7E` in the request target (RFC 9112, 3.2).
    #[error("invalid byte in the request target")]
    Target,
    /// Not `HTTP/` digit `.` digit, in capitals (RFC 9112, 2.3).
    #[error("malformed protocol version")]
    VersionSyntax,
    /// A well-formed version other than 1.0 and 1.1.
    #[error("unsupported protocol version")]
    VersionUnsupported,
    /// The preface of HTTP/2 (RFC 9113, 3.4) where only HTTP/1.1 is spoken.
    #[error("HTTP/2 preface on an HTTP/1.1 connection")]
    Http2Preface,
    /// Not `version SP 3DIGIT [SP reason]`, or a status below 100 (RFC 9112, 4).
    #[error("malformed status line")]
    StatusLine,
    /// A line feed without a carriage return before it. RFC 9112, 2.2 lets a recipient accept it; others do not.
    #[error("line feed without carriage return")]
    BareLf,
    /// A carriage return without a line feed after it (RFC 9112, 2.2).
    #[error("carriage return without line feed")]
    BareCr,
    /// A NUL byte.
    #[error("NUL byte in the head")]
    Nul,
    /// A line folded onto the next, or white space before the first field (RFC 9112, 5.2 and 2.2).
    #[error("folded or indented field line")]
    ObsFold,
    /// White space between field name and colon (RFC 9112, 5.1).
    #[error("white space before the colon of a field")]
    SpaceBeforeColon,
    /// The field name is empty or no token, or the colon is missing (RFC 9110, 5.1).
    #[error("invalid field name")]
    FieldName,
    /// A control byte in a field value (RFC 9110, 5.5).
    #[error("invalid byte in a field value")]
    FieldValue,
    /// More field lines than the limit.
    #[error("too many fields")]
    TooManyFields,
    /// The head is longer than the limit.
    #[error("head too large")]
    HeadTooLarge,
    /// The request line alone is longer than the limit.
    #[error("request target too long")]
    TargetTooLong,
    /// `Content-Length` is not `1*DIGIT`, or does not fit 64 bits (RFC 9110, 8.6).
    #[error("invalid Content-Length")]
    ContentLength,
    /// `Content-Length` values that differ (RFC 9112, 6.3).
    #[error("differing Content-Length values")]
    ContentLengthsDiffer,
    /// Both `Content-Length` and `Transfer-Encoding` (RFC 9112, 6.1 and 11.2).
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndCoding,
    /// `Transfer-Encoding` is not exactly one `chunked` (RFC 9112, 6.1).
    #[error("unsupported Transfer-Encoding")]
    TransferCoding,
    /// `Transfer-Encoding` in an HTTP/1.0 message (RFC 9112, 6.1).
    #[error("Transfer-Encoding in HTTP/1.0")]
    TransferCodingInHttp10,
    /// The chunk size is not 1 to 16 hexadecimal digits, or something odd follows it (RFC 9112, 7.1).
    #[error("invalid chunk size")]
    ChunkSize,
    /// A bare CR or LF, another control byte or an open quote in a chunk extension (RFC 9112, 7.1.1).
    #[error("invalid chunk extension")]
    ChunkExtension,
    /// The chunk extensions of one body are longer than the limit.
    #[error("chunk extensions too long")]
    ChunkExtensionsTooLong,
    /// Chunk data is not followed by CRLF (RFC 9112, 7.1).
    #[error("missing line end after chunk data")]
    ChunkEnd,
    /// The trailer section has more bytes or fields than the limit.
    #[error("trailer section too large")]
    TrailersTooLarge,
    /// The connection ended within the message (RFC 9112, 8).
    #[error("connection ended within the message")]
    Truncated,
}

/// What a server would answer to a request with such an error. On the origins' side every kind is a bad gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// 400.
    BadRequest,
    /// 414.
    UriTooLong,
    /// 431.
    TooLarge,
    /// 505.
    Version,
}

impl ParseError {
    /// Which answer it calls for.
    pub(crate) fn kind(self) -> ErrorKind {
        match self {
            Self::TooManyFields | Self::HeadTooLarge | Self::TrailersTooLarge => ErrorKind::TooLarge,
            Self::TargetTooLong => ErrorKind::UriTooLong,
            Self::VersionUnsupported | Self::Http2Preface => ErrorKind::Version,
            _ => ErrorKind::BadRequest,
        }
    }
}

/// Why no message could be read.
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    /// The connection failed.
    #[error("connection failed while reading")]
    Io(#[from] io::Error),
    /// The peer's bytes are not a message.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The peer closed before the first byte of a response; a request that may be repeated can be.
    #[error("connection closed before a response")]
    Closed,
}

/// Why a message cannot be written as asked. The peer must then see a cut transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum EncodeError {
    /// More content than announced, or content where none may be.
    #[error("more content than announced")]
    TooMuch,
    /// The content ends before its announced length.
    #[error("content ends {missing} bytes early")]
    TooLittle {
        /// Bytes that are missing.
        missing: u64,
    },
    /// The body was ended before.
    #[error("content after the end of the body")]
    Ended,
    /// The request target is empty or has a byte outside `%x21-7E`.
    #[error("invalid request target")]
    Target,
}

/// Why a message could not be written.
#[derive(Debug, Error)]
pub(crate) enum WriteError {
    /// The connection failed.
    #[error("connection failed while writing")]
    Io(#[from] io::Error),
    /// The message cannot be framed.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}
