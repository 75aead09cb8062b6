//! Interception: which tunnels are opened, and the TLS that ends in them.
//!
//! The client's side comes first and alone: a certificate for the name that it asked for is made here, and an origin is connected to
//! only when a request inside needs it, so that a hit needs no origin. The name in CONNECT, the one in the client's TLS and the ones
//! in the requests inside must be the same; what a tunnel is opened for is decided by the first.

mod learned;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use larder_policy::{HostPattern, HostPort, Timestamp};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) use learned::{Learned, Lesson};

use learned::Taught;

use crate::byte_stream::ByteStream;
use crate::config::{Intercept, Limits};
use crate::entrance::Entrance;
use crate::error::StartError;
use crate::pages;
use crate::tls::{Authorities, LeafError, Leaves, server_config};

/// A fatal alert that the name is not known here (RFC 6066, 3), as it stands on the wire.
const UNRECOGNIZED_NAME: [u8; 7] = [0x15, 0x03, 0x03, 0, 2, 2, 112];

/// A CA that has ended is told of no more often than this.
const COMPLAINTS_SECS: i64 = 600;

/// What interception needs, for all listeners that do it.
pub(crate) struct Interception {
    pub(crate) authorities: Authorities,
    leaves: Leaves,
    only: Vec<HostPattern>,
    bypass: Vec<HostPattern>,
    required: Vec<HostPattern>,
    addresses: bool,
    tls: ServerConfig,
    pub(crate) learned: Arc<Learned>,
    /// When it was last told that the CA has ended, in seconds.
    complained: AtomicI64,
}

/// What becomes of a CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Bytes both ways, and the word for why, if that was learned.
    Tunnel(Option<&'static str>),
    /// TLS ends here. Where that is required, nothing else may pass.
    Open { required: bool },
    /// It would have to be opened and cannot be.
    Deny(String),
}

/// Why the TLS of a client did not come about.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It does not begin as TLS does.
    Hello(io::Error),
    /// The client asks TLS for another name than it asked the proxy for.
    OtherName(String),
    /// The client does not accept the certificate.
    Rejected(AlertDescription),
    /// It broke off for another reason.
    Handshake(io::Error),
    /// There is no certificate for the name.
    NoCertificate(String),
    /// It took too long.
    Slow,
}

impl Interception {
    /// What the configuration says. None where there is no CA.
    ///
    /// # Errors
    ///
    /// The TLS library refuses its own defaults.
    pub(crate) fn new(settings: &Intercept, limits: &Limits) -> Result<Option<Self>, StartError> {
        let Some(authorities) = &settings.authorities else { return Ok(None) };
        let (most, keep) = (limits.learned_bypasses, limits.learned_bypass_time);
        Ok(Some(Self {
            authorities: authorities.clone(),
            leaves: Leaves::new(authorities.clone(), limits.leaf_certificates).map_err(StartError::Ca)?,
            only: settings.only.clone(),
            bypass: settings.bypass.clone(),
            required: settings.required.clone(),
            addresses: settings.addresses,
            tls: server_config(Arc::new(Nothing))?,
            learned: Arc::new(Learned::new(most, keep, limits.learned_bypasses_per_client)),
            complained: AtomicI64::new(0),
        }))
    }

    /// Says once in a while that nothing can be opened.
    fn complain(&self, error: &LeafError, now: Timestamp) {
        let last = self.complained.swap(now.as_secs(), Ordering::Relaxed);
        if now.as_secs() - last >= COMPLAINTS_SECS {
            tracing::error!(
                "no tunnel can be opened, and all that are to be are refused: {error}; see `larder ca show`"
            );
        } else {
            self.complained.store(last, Ordering::Relaxed);
        }
    }

    fn verdict(&self, client: IpAddr, to: &HostPort, now: Timestamp) -> Verdict {
        let host = name_of(to);
        let named = |list: &[HostPattern]| list.iter().any(|pattern| pattern.matches(host));
        let required = host == pages::OWN_NAME || named(&self.required);
        if !required {
            let left_out = !self.only.is_empty() && !named(&self.only);
            let address = !self.addresses && host.parse::<IpAddr>().is_ok();
            if left_out || address || named(&self.bypass) {
                return Verdict::Tunnel(None);
            }
            if let Some(why) = self.learned.why(client, to, now) {
                return Verdict::Tunnel(Some(why.word()));
            }
        }
        match self.leaves.covers(host, now) {
            Ok(()) => Verdict::Open { required },
            Err(LeafError::Outside(_) | LeafError::Name) if !required => Verdict::Tunnel(None),
            Err(error) => {
                if matches!(error, LeafError::NotValid(_)) {
                    self.complain(&error, now);
                }
                Verdict::Deny(format!("connections to {host} are to be opened, and cannot be: {error}"))
            }
        }
    }
}

/// Decides by the listener, the lists and what was learned.
pub(crate) fn verdict(entrance: &Entrance, to: &HostPort, now: Timestamp) -> Verdict {
    match &entrance.proxy().interception {
        Some(interception) if entrance.listener.intercept => {
            interception.verdict(entrance.client.ip(), to, now)
        }
        _ => Verdict::Tunnel(None),
    }
}

/// The client's TLS, with a certificate for the name that the tunnel was asked for.
pub(crate) async fn accept(
    entrance: &Entrance,
    client: ByteStream,
    to: &HostPort,
) -> Result<TlsStream<ByteStream>, Refused> {
    let proxy = entrance.proxy();
    let Some(interception) = &proxy.interception else {
        return Err(Refused::NoCertificate("there is no CA".to_owned()));
    };
    let name = name_of(to);
    let mut start =
        LazyConfigAcceptor::new(rustls::server::Acceptor::default(), client).await.map_err(Refused::Hello)?;
    let asked = start.client_hello().server_name().map(str::to_owned);
    if let Some(asked) = asked.filter(|asked| !asked.trim_end_matches('.').eq_ignore_ascii_case(name)) {
        // Best effort: the client is refused all the same.
        let _ = start.io.write_all(&UNRECOGNIZED_NAME).await;
        let _ = start.io.shutdown().await;
        return Err(Refused::OtherName(asked));
    }
    let key = interception
        .leaves
        .certified(name, proxy.clock.now())
        .map_err(|error| Refused::NoCertificate(error.to_string()))?;
    let mut config = interception.tls.clone();
    config.cert_resolver = Arc::new(Always(key));
    let tls = start.into_stream(Arc::new(config)).await.map_err(|error| match rejection(&error) {
        Some(alert) => Refused::Rejected(alert),
        None => Refused::Handshake(error),
    })?;
    interception.learned.accepted(entrance.client.ip());
    Ok(tls)
}

/// Tells of a client whose TLS did not come about, and learns from it.
pub(crate) fn note_refusal(entrance: &Entrance, to: &HostPort, required: bool, refused: &Refused) {
    let (proxy, client) = (entrance.proxy(), entrance.client.ip());
    let Refused::Rejected(alert) = refused else {
        tracing::debug!(%client, host = %to, "a tunnel could not be opened: {refused}");
        return;
    };
    let Some(interception) = proxy.interception.as_ref().filter(|_| !required) else {
        tracing::info!(%client, host = %to, ?alert, "the client rejects the certificate, and what is inside must be seen: denied");
        return;
    };
    match interception.learned.rejected(client, to, proxy.clock.now()) {
        Taught::NotYet => {
            tracing::warn!(%client, host = %to, ?alert, "a client rejects the certificate and has accepted none so far: it does not trust the CA (`larder ca show` says how it would), or has pinned the host's certificate; if it insists, its connections to this host are tunnelled");
        }
        Taught::Pair => {
            tracing::warn!(%client, host = %to, ?alert, "the client rejects the certificate: its connections to this host are tunnelled from now on");
        }
        Taught::Nothing { found_out: true } => {
            tracing::warn!(%client, ?alert, "the client rejects the certificates of many hosts: it does not trust the CA (`larder ca show` says how it would), or the hosts belong into [intercept] bypass; nothing is learned from it");
        }
        Taught::Nothing { found_out: false } => {}
    }
}

impl Refused {
    /// The word in the access log.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Hello(_) => "not-tls",
            Self::OtherName(_) => "name-mismatch",
            Self::Rejected(_) => "certificate-rejected",
            Self::Handshake(_) => "handshake-failed",
            Self::NoCertificate(_) => "no-certificate",
            Self::Slow => "handshake-timeout",
        }
    }

    /// Whether it was the proxy that refused.
    pub(crate) const fn is_ours(&self) -> bool {
        matches!(self, Self::OtherName(_) | Self::NoCertificate(_))
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hello(error) => write!(f, "it does not begin as TLS does: {error}"),
            Self::OtherName(name) => write!(f, "the client asks TLS for another name, {name:?}"),
            Self::Rejected(alert) => write!(f, "the client rejects the certificate: {alert:?}"),
            Self::Handshake(error) => write!(f, "the TLS handshake failed: {error}"),
            Self::NoCertificate(reason) => write!(f, "there is no certificate for it: {reason}"),
            Self::Slow => f.write_str("the TLS handshake took too long"),
        }
    }
}

/// The alert by which a client says that it does not take a certificate (RFC 8446, 6.2).
fn rejection(error: &io::Error) -> Option<AlertDescription> {
    use AlertDescription as Alert;
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(
            alert @ (Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA),
        ) => Some(*alert),
        _ => None,
    }
}

/// The name that a certificate is for: without the dot of a name that is written in full, and the brackets of an address.
fn name_of(to: &HostPort) -> &str {
    let host = to.host();
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.strip_suffix('.').unwrap_or(bare)
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// The place of the certificate, in a configuration that is copied for each.
#[derive(Debug)]
struct Nothing;

impl ResolvesServerCert for Nothing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
