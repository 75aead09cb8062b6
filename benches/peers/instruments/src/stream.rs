//! A connection's bytes, in TLS or not.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::Result;
use rustix::net::RecvFlags;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(TcpStream, Box<ClientConnection>),
}

impl Stream {
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) | Self::Tls(socket, _) => socket,
        }
    }

    /// Sends a few bytes, in TLS once the handshake is over.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes),
            Self::Tls(socket, tls) => {
                tls.writer().write_all(bytes)?;
                flush(socket, tls)
            }
        }
    }

    /// Receives what has come; with `discard` it may be thrown away, and only counts.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if there is nothing yet, and others if the connection is broken.
    pub(crate) fn receive(&mut self, buffer: &mut [u8], discard: bool) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => {
                let flags = if discard { RecvFlags::TRUNC } else { RecvFlags::empty() };
                Ok(rustix::net::recv(&*socket, buffer, flags)?.1)
            }
            Self::Tls(socket, tls) => loop {
                match tls.reader().read(buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    result => return result,
                }
                if tls.read_tls(socket)? == 0 {
                    return Ok(0);
                }
                tls.process_new_packets().map_err(io::Error::other)?;
                flush(socket, tls)?;
            },
        }
    }

    /// Says goodbye, where the protocol has a word for it.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        let Self::Tls(socket, tls) = self else {
            return Ok(());
        };
        tls.send_close_notify();
        flush(socket, tls)
    }
}

/// What a client sends here always fits into the socket's buffer.
fn flush(socket: &mut TcpStream, tls: &mut ClientConnection) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(socket)?;
    }
    Ok(())
}

/// TLS 1.3 with the one cipher suite and group that the other loads use too, and a whole handshake each time.
///
/// # Errors
/// The cryptographic library lacks one of them.
pub(crate) fn tls_config() -> Result<Arc<ClientConfig>> {
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakesAny))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// # Errors
/// `host` is no name.
pub(crate) fn tls(config: &Arc<ClientConfig>, host: &str) -> Result<ClientConnection> {
    Ok(ClientConnection::new(config.clone(), ServerName::try_from(host)?.to_owned())?)
}

/// Proves nothing: the time that a client takes is not what is measured.
#[derive(Debug)]
struct TakesAny;

impl ServerCertVerifier for TakesAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
