//! CONNECT: where it may lead, and whether what is inside goes by unseen or is opened.
//!
//! The decision is taken before the client is answered, and kept: a tunnel that is to be opened never becomes one that is not,
//! but where the client turns out to speak something else than TLS.

use std::pin::Pin;
use std::sync::Arc;

use http::StatusCode;
use larder_policy::{ForwardReason, HostPort};
use tokio::time::{Instant, timeout_at};

use crate::byte_stream::ByteStream;
use crate::entrance::Entrance;
use crate::error::UpstreamError;
use crate::intercept::{self, Refused, Verdict};
use crate::listener::serve_tls;
use crate::pages;
use crate::record::Record;
use crate::request::Rejection;
use crate::respond::Answer;
use crate::transaction::{Ending, NextHop, Outcome};
use crate::tunnel::{self, Carried, Ended};

/// The first byte of a TLS handshake (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// A CONNECT that is about to be answered with 200.
pub(crate) struct Opening {
    record: Record,
    to: HostPort,
    way: Way,
}

enum Way {
    /// Bytes both ways, over this connection.
    Through { server: ByteStream, hop: NextHop },
    /// TLS ends here.
    Open { required: bool },
}

/// Judges a CONNECT, and makes the connection that it asks for, unless it is to be opened.
pub(crate) async fn open(
    entrance: &Entrance,
    mut record: Record,
    to: HostPort,
) -> Result<Opening, (Record, Box<Answer>)> {
    let proxy = entrance.proxy();
    let now = record.started();
    let refuse = |word: &str, reason: String| {
        let rejection = Rejection { status: StatusCode::FORBIDDEN, reason: reason.into() };
        let mut answer = proxy.own.rejection(&rejection, now);
        answer.detail = Some(word.to_owned());
        Box::new(answer)
    };
    // What the proxy answers itself is no destination.
    if to.host() != pages::OWN_NAME && !proxy.rules.permits_connect_port(to.port()) {
        let reason = format!(
            "CONNECT may not reach port {}; the operator can allow it with --connect-ports",
            to.port()
        );
        return Err((record, refuse("connect-port", reason)));
    }
    let way = match intercept::verdict(entrance, &to, now) {
        Verdict::Tunnel(learned) => match through(entrance, &to).await {
            Ok((server, hop)) => {
                record.transaction.detail = learned.map(Into::into);
                Way::Through { server, hop }
            }
            Err(error) => {
                let mut answer = proxy.own.upstream_failure(&error, ForwardReason::Method, now);
                answer.forwarded = None;
                return Err((record, Box::new(answer)));
            }
        },
        Verdict::Open { required } => Way::Open { required },
        Verdict::Deny(reason) => return Err((record, refuse("no-certificate", reason))),
    };
    Ok(Opening { record, to, way })
}

/// The connection that a tunnel is to lead to.
async fn through(entrance: &Entrance, to: &HostPort) -> Result<(ByteStream, NextHop), UpstreamError> {
    let (server, hop, early) = entrance.worker.origins.connector().tunnel(to.host(), to.port()).await?;
    Ok((ByteStream::tcp(server).after(early.into()), hop))
}

impl Opening {
    /// What is left to do once the client has its 200, of `head` bytes. Boxed, as a tunnel that is opened holds a connection of
    /// which this is a part.
    pub(crate) fn carry_out(
        self,
        entrance: Arc<Entrance>,
        client: ByteStream,
        head: u64,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let Self { mut record, to, way } = self;
            record.transaction.status = 200;
            record.transaction.outcome = Outcome::Tunnel;
            match way {
                Way::Through { server, hop } => {
                    record.transaction.next_hop = hop;
                    carry(&entrance, record, client, head, server).await;
                }
                Way::Open { required } => look_inside(entrance, record, client, head, to, required).await,
            }
        })
    }

    /// The client did not take its 200.
    pub(crate) fn give_up(self) {
        let Self { mut record, .. } = self;
        record.transaction.status = 200;
        record.transaction.outcome = Outcome::Tunnel;
        record.finish(None, (0, 0), 0, Ending::ClientAborted);
    }
}

/// What the log will be told of a tunnel, whichever way it ends: also one that is cut when the proxy stops.
struct Tally {
    record: Option<Record>,
    head: u64,
    carried: Arc<Carried>,
    ending: Ending,
}

impl Drop for Tally {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        let (up, down) = (self.carried.up(), self.carried.down());
        record.transaction.origin_received = down;
        record.finish(None, (self.head + down, down), up, self.ending);
    }
}

/// Carries bytes both ways until the tunnel ends, and records it. The client has had `head` bytes before.
pub(crate) async fn carry(
    entrance: &Entrance,
    record: Record,
    client: ByteStream,
    head: u64,
    server: ByteStream,
) {
    let _entered = entrance.proxy().metrics.tunnels.enter();
    let carried = Arc::new(Carried::default());
    let record = Some(record);
    let mut tally = Tally { record, head, carried: Arc::clone(&carried), ending: Ending::ClientAborted };
    let idle = entrance.proxy().config.limits.tunnel_idle_timeout;
    let draining = entrance.worker.draining.clone();
    tally.ending = match tunnel::carry(client, server, idle, draining, &carried).await {
        Ended::Both | Ended::Silence => Ending::Complete,
        Ended::Client => Ending::ClientAborted,
        Ended::Server => Ending::OriginAborted,
    };
}

/// A tunnel that is to be opened: TLS ends here, and what is inside is served as any request.
async fn look_inside(
    entrance: Arc<Entrance>,
    mut record: Record,
    mut client: ByteStream,
    head: u64,
    to: HostPort,
    required: bool,
) {
    let deadline = Instant::now() + entrance.proxy().config.limits.handshake_timeout;
    let first = timeout_at(deadline, client.peek()).await;
    match first {
        Ok(Ok(Some(TLS_HANDSHAKE))) => {}
        Ok(Ok(None) | Err(_)) => {
            record.finish(None, (head, 0), 0, Ending::ClientAborted);
            return;
        }
        // Something else than TLS, or a server that speaks first.
        Ok(Ok(Some(_))) | Err(_) if required => {
            record.transaction.outcome = Outcome::Denied;
            record.transaction.detail = Some("not-tls".into());
            record.finish(None, (head, 0), 0, Ending::Complete);
            return;
        }
        Ok(Ok(Some(_))) | Err(_) => {
            match through(&entrance, &to).await {
                Ok((server, hop)) => {
                    record.transaction.next_hop = hop;
                    carry(&entrance, record, client, head, server).await;
                }
                Err(error) => {
                    record.transaction.outcome = Outcome::UpstreamFailure;
                    record.transaction.detail = Some(error.token().into());
                    record.finish(None, (head, 0), 0, Ending::OriginAborted);
                }
            }
            return;
        }
    }
    let accepted = timeout_at(deadline, intercept::accept(&entrance, client, &to)).await;
    let tls = match accepted.unwrap_or(Err(Refused::Slow)) {
        Ok(tls) => tls,
        Err(refused) => {
            intercept::note_refusal(&entrance, &to, required, &refused);
            record.transaction.outcome =
                if required || refused.is_ours() { Outcome::Denied } else { Outcome::Opened };
            record.transaction.detail = Some(refused.word().into());
            record.finish(None, (head, 0), 0, Ending::ClientAborted);
            return;
        }
    };
    record.transaction.outcome = Outcome::Opened;
    record.finish(None, (head, 0), 0, Ending::Complete);
    let _opened = entrance.proxy().metrics.opened_tunnels.enter();
    serve_tls(Arc::new(entrance.inside(to)), tls).await;
}
