//! Certificates and handshakes, both sides.
//!
//! Today: the interception CA, the directory that it is kept in, and the leaves that are minted from it. A private key
//! is here to sign with. It is never logged, never part of a `Debug` text, and written to one place only, with mode
//! 0600 from the start.

mod authority;
mod certificate;
mod directory;
mod leaves;
mod names;
mod port;
#[cfg(test)]
mod tests;
mod ways;

pub use authority::{Authority, CaError, CaOptions};
pub use certificate::CaCertificate;
pub use directory::{Authorities, CaCertificates, CaDirectory};
pub use names::Subtree;
pub use ways::{TRUST_VARIABLES, TRUST_WAYS, trusted_as};

pub(crate) use leaves::{LeafError, Leaves};
pub(crate) use port::{port_tls, server_config};
