//! The next hop: connections, pools, exchanges and their deadlines.
//!
//! A request goes out once. Only an idempotent one without content, on a kept connection that turned out to be dead before a byte
//! of the response came, goes out a second time, on a new connection (RFC 9110, 9.2.2; RFC 9112, 9.3.1).

mod connect;
mod exchange;
mod pool;
mod resolve;
mod tls;

pub(crate) use connect::{Connector, Destination};
pub(crate) use exchange::{
    ClientFailed, ExchangeError, Interim, OriginBody, OriginResponse, Origins, Outbound, Upload,
    UploadFailure, Uploading, end_of,
};
pub(crate) use pool::Pool;
pub(crate) use tls::OriginTls;
