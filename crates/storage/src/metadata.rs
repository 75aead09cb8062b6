//! The metadata of a stored response as bytes within a record.
//!
//! ```text
//! offset  bytes  what (little-endian)
//!      0      2  status
//!      2      2  length of the reuse facts
//!      4      4  length of the nominated fields
//!      8      8  request time, milliseconds since the epoch
//!     16      8  response time, the same
//!     24         reuse facts, nominated fields, then the fields as wire text: `Name: value\r\n` each
//! ```
//!
//! The record around it has the version and the checksum. What the policy crate cannot read back, for
//! instance facts of another version of it, makes the record useless, not wrong.

use http::StatusCode;
use larder_policy::{Fields, Nominated, ReuseFacts, StoredParts, StoredResponse, Timestamp};

use crate::record::Reader;

pub(crate) fn encode(response: &StoredResponse) -> Vec<u8> {
    let facts = response.facts().to_bytes();
    let nominated = response.nominated().to_bytes();
    let wire = response.fields().as_wire();
    let mut bytes = Vec::with_capacity(24 + facts.len() + nominated.len() + wire.len());
    bytes.extend_from_slice(&response.status().as_u16().to_le_bytes());
    bytes.extend_from_slice(&(facts.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&(nominated.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&response.request_time().as_millis().to_le_bytes());
    bytes.extend_from_slice(&response.response_time().as_millis().to_le_bytes());
    bytes.extend_from_slice(&facts);
    bytes.extend_from_slice(&nominated);
    bytes.extend_from_slice(wire);
    bytes
}

/// `None` for anything that [`encode`] does not write.
pub(crate) fn decode(bytes: &[u8]) -> Option<StoredResponse> {
    let mut reader = Reader(bytes);
    let status = u16::from_le_bytes(reader.array().ok()?);
    let facts_len = u16::from_le_bytes(reader.array().ok()?);
    let nominated_len = u32::from_le_bytes(reader.array().ok()?);
    let request_time = i64::from_le_bytes(reader.array().ok()?);
    let response_time = i64::from_le_bytes(reader.array().ok()?);
    let facts = ReuseFacts::from_bytes(reader.take(usize::from(facts_len)).ok()?)?;
    let nominated = Nominated::from_bytes(reader.take(usize::try_from(nominated_len).ok()?).ok()?)?;
    Some(StoredResponse::from_parts(StoredParts {
        status: StatusCode::from_u16(status).ok()?,
        fields: Fields::from_wire(reader.0).ok()?,
        nominated,
        request_time: Timestamp::from_millis(request_time),
        response_time: Timestamp::from_millis(response_time),
        facts,
    }))
}
