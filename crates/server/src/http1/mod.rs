//! HTTP/1.1 on the wire, for both sides: the clients' requests and the origins' responses, and what is sent to each.
//!
//! A strict codec over httparse. Its core does no I/O: heads ([`RequestHead`], [`ResponseHead`]), what their fields say
//! about the body ([`request_framing`], [`response_framing`]), bodies ([`BodyDecoder`], [`BodyEncoder`]). [`Reader`]
//! and [`Writer`] carry those over any byte stream.
//!
//! It does not judge `Host`, the target, hop-by-hop fields or `Expect`, keeps no time, and decides no status; nor
//! does it hide anything from those who do: fields arrive in their order and letter case, doubled ones included.
//!
//! The invariant: a message has one reading. What two recipients could take in two ways is an error, so that
//! nothing ambiguous is ever passed on, and whatever is accepted reads the same after it was written anew. Sending is
//! under the same rule: a body never has more or fewer bytes than its head announced, unless the transfer is cut.

mod chunked;
mod decoder;
mod encoder;
mod error;
mod framing;
#[cfg(any(test, fuzzing))]
#[cfg_attr(test, allow(unreachable_pub, reason = "the fuzz targets call it from outside"))]
pub mod fuzzing;
mod head;
mod reader;
mod scan;
mod strict;
#[cfg(test)]
mod threats;
mod trailers;
mod writer;

pub(crate) use decoder::{BodyDecoder, Decoded};
pub(crate) use encoder::{BodyEncoder, response_head};
pub(crate) use error::{ErrorKind, ParseError, ReadError};
pub(crate) use framing::{Framing, content_length, persists, request_framing, response_framing};
pub(crate) use head::{HeadLimits, RequestHead, RequestInPlace, ResponseHead, Version, parse_request};
pub(crate) use reader::Reader;
pub(crate) use trailers::drop_forbidden as drop_forbidden_trailers;
pub(crate) use writer::Writer;
