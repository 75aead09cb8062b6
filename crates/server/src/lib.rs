//! The proxy itself: sockets, HTTP/1.1, access, the request pipeline, origins and tunnels.
//!
//! It asks `larder-policy` what may be done and `larder-storage` for what is kept, and does it. It reads no
//! files of configuration and no arguments: a validated [`Config`] comes in, a running [`Server`] goes out.

mod access;
mod access_log;
mod answer;
mod body;
mod byte_stream;
mod client;
mod clock;
mod collapse;
pub mod config;
mod connect;
mod connection;
pub mod control;
mod entrance;
mod error;
mod fetch;
mod hit;
mod http1;
mod http2;
mod intercept;
mod lease;
mod limits;
mod listener;
mod metrics;
mod origin;
mod pages;
mod pipeline;
#[doc(hidden)]
pub mod probe;
mod record;
mod request;
mod respond;
mod server;
mod shared;
pub mod tls;
mod transaction;
mod tunnel;
mod upgrade;

pub use access::is_open_to_all;
pub use clock::Clock;
pub use config::Config;
pub use error::StartError;
pub use metrics::{
    ConnectionFigures, Figures, LearnedFigures, ShadowEstimateFigures, ShadowFigures, StoreFigures,
};
pub use server::Server;

#[cfg(fuzzing)]
pub use http1::fuzzing;
