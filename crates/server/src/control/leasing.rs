//! Leases over the control socket: what travels, and the answer that lasts as long as the lease.
//!
//! The answer to `POST /lend` is lines: first the listener's address, then what becomes of requests, at last the figures.
//! The connection is the lease. A holder that dies is noticed within a second, by an empty line that cannot be sent.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use larder_policy::TargetUri;
use larder_storage::Store;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use super::explain::Rules;
use super::stream::{Content, Written};
use crate::config::Credentials;
use crate::lease::Lease;

/// The longest silence towards a lease's holder.
const SILENCE: Duration = Duration::from_secs(1);

/// Terms of a lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lend {
    /// Whether to answer from the store alone.
    pub offline: bool,
    /// Whether to tell of every request. Default: only of those that are missing offline.
    pub record: bool,
    /// The next proxy, `host:port`. Default: the proxy's own next hop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// What the next proxy is shown of us. Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// The directory of the CA that tunnels are opened with. Default: none, and none is opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_dir: Option<PathBuf>,
    /// PEM files whose certificates are trusted towards origins, besides those that the proxy trusts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ca_files: Vec<PathBuf>,
}

/// A request to end a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Its number.
    pub lease: u64,
}

/// The answer to a [`Release`]: the lease's own answer comes to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Released {
    /// Whether there was such a lease.
    pub released: bool,
}

/// One line of the answer to a [`Lend`]: granted, any number of fetched, ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseLine {
    /// There is a listener.
    Granted(Granted),
    /// A request has ended.
    Fetched(Fetched),
    /// The lease has ended.
    Ended(LeaseEnd),
}

/// How a lease has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseEnd {
    /// Who asked for it.
    pub asked_by: EndedBy,
    /// What its requests came to.
    #[serde(flatten)]
    pub figures: LeaseFigures,
}

/// Who has asked for the end of a lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndedBy {
    /// Its holder, who needs it no more.
    #[default]
    Holder,
    /// The proxy, which is stopping.
    Proxy,
}

/// A listener of one's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Granted {
    /// The lease's number.
    pub lease: u64,
    /// The listener's address, `127.0.0.1:port`.
    pub address: String,
}

/// A request that has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fetched {
    /// Its method.
    pub method: String,
    /// Its URL; `host:port` for a tunnel.
    pub url: String,
    /// The status of the answer; 0 where none was sent.
    pub status: u16,
    /// Bytes of content that were sent.
    pub bytes: u64,
    /// What became of it, in the word of the log.
    pub outcome: String,
    /// Whether the content came from the store.
    pub hit: bool,
    /// Whether it was not to be had, as the proxy is offline.
    pub missing: bool,
    /// BLAKE3 digest of the content, in hexadecimal digits, where it is stored whole.
    pub digest: Option<String>,
}

/// What the requests of a lease came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseFigures {
    /// Requests that have ended.
    pub requests: u64,
    /// Of these, answered from the store, or by a validation without content.
    pub hits: u64,
    /// Of these, not to be had offline.
    pub missing: u64,
    /// Of these, refused or failed.
    pub failures: u64,
    /// Of these, tunnels.
    pub tunnels: u64,
    /// Bytes of content from the store.
    pub cache_bytes: u64,
    /// Bytes of content from origins, tunnels included.
    pub network_bytes: u64,
    /// Of these, bytes of tunnels.
    pub tunnel_bytes: u64,
    /// Lines about requests that could not be told.
    pub lost_lines: u64,
}

/// Finds digests for lines.
pub(super) struct Digests {
    pub(super) store: Store,
    pub(super) rules: Arc<Rules>,
}

impl Digests {
    /// The digest of the stored response that a request was answered with. There may be several, and it may have been
    /// evicted by now; then there is none to tell.
    async fn of(&self, fetched: &Fetched) -> Option<String> {
        if fetched.method != "GET" || fetched.status != 200 {
            return None;
        }
        let target = TargetUri::parse(fetched.url.as_bytes()).ok()?;
        let key = self.rules.forward_key(&target)?;
        let variants = self.store.lookup(&key).await;
        let mut fitting = variants.iter().filter(|stored| {
            let response = stored.response();
            stored.body_len() == fetched.bytes
                && response.status().as_u16() == fetched.status
                && response.facts().part().is_none()
        });
        let (only, None) = (fitting.next()?, fitting.next()) else { return None };
        Some(only.digest().to_string())
    }
}

/// The answer that a lease is told by; it holds the lease until its end, or until nobody reads any more.
pub(super) fn answer(lease: Lease, digests: Digests) -> Content {
    let (written, content) = Written::new();
    tokio::spawn(tell(lease, digests, written));
    content
}

async fn tell(mut lease: Lease, digests: Digests, mut written: Written) {
    let granted = Granted { lease: lease.id, address: lease.address.to_string() };
    if !written.line(&LeaseLine::Granted(granted)).await {
        return;
    }
    let mut end = lease.end.clone();
    let asked_by = loop {
        tokio::select! {
            line = timeout(SILENCE, lease.lines.recv()) => {
                let told = match line {
                    Ok(Some(fetched)) => fetched_line(&digests, fetched, &mut written).await,
                    // The ledger holds the other end, and the lease holds the ledger.
                    Ok(None) => false,
                    Err(_) => written.nothing().await,
                };
                if !told {
                    return;
                }
            }
            by = asked(&mut end) => break by,
        }
    };
    lease.close().await;
    while let Ok(fetched) = lease.lines.try_recv() {
        if !fetched_line(&digests, fetched, &mut written).await {
            return;
        }
    }
    let figures = lease.ledger.figures();
    if written.line(&LeaseLine::Ended(LeaseEnd { asked_by, figures })).await {
        written.end().await;
    }
}

/// Returns when the end is asked for, or nobody is left to ask for it.
async fn asked(end: &mut watch::Receiver<Option<EndedBy>>) -> EndedBy {
    end.wait_for(Option::is_some).await.ok().and_then(|by| *by).unwrap_or(EndedBy::Proxy)
}

async fn fetched_line(digests: &Digests, mut fetched: Fetched, written: &mut Written) -> bool {
    fetched.digest = digests.of(&fetched).await;
    written.line(&LeaseLine::Fetched(fetched)).await
}
