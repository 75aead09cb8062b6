//! What the requests of one connection have in common, and the way of each, whatever carries it: read, permitted, answered.

use std::net::SocketAddr;
use std::sync::Arc;

use larder_policy::{HostPort, TargetUri};

use crate::access::canonical;
use crate::config::ListenerKind;
use crate::http1::RequestHead;
use crate::limits;
use crate::origin::{ClientFailed, Destination, Interim, Switched, Upload};
use crate::pages;
use crate::pipeline::{self, Answered, Place};
use crate::record::Record;
use crate::request::{Arrival, ProxyRequest, Target, Way};
use crate::respond::Answer;
use crate::shared::{ListenerContext, Proxy, Worker};
use crate::upgrade;

/// Where a connection came in.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) worker: Arc<Worker>,
    pub(crate) listener: Arc<ListenerContext>,
    pub(crate) client: SocketAddr,
    /// The proxy's end of its connection.
    pub(crate) local: SocketAddr,
    /// Whether the client came over TLS.
    pub(crate) secure: bool,
    /// The name by which it asked for the port's certificate.
    pub(crate) asked_as: Option<String>,
    /// Its place among the connections, which whatever is under way for it keeps.
    pub(crate) _place: Arc<limits::Place>,
    /// What the tunnel was asked for that this is inside of.
    pub(crate) inside: Option<HostPort>,
}

impl Entrance {
    pub(crate) fn proxy(&self) -> &Proxy {
        &self.worker.proxy
    }

    /// Inside a tunnel that was asked for here, and opened.
    pub(crate) fn inside(&self, tunnel: HostPort) -> Self {
        Self { secure: true, inside: Some(tunnel), ..self.clone() }
    }

    /// Whether clients ask here for whatever they like.
    pub(crate) fn is_forward(&self) -> bool {
        matches!(self.way(), Way::Forward)
    }

    /// Whether a host means the proxy itself, for a client that came over TLS.
    pub(crate) fn is_own(&self, host: &str) -> bool {
        let asked = self.asked_as.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(host));
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        asked || bare.parse() == Ok(self.local.ip()) || host.eq_ignore_ascii_case(pages::OWN_NAME)
    }

    /// Whether the rules of access let this client ask for anything. Whoever may reach a reverse listener may ask there.
    pub(crate) fn permits_client(&self) -> bool {
        matches!(self.listener.kind, ListenerKind::Reverse { .. })
            || self.proxy().rules.permits_client(self.client.ip())
    }

    pub(crate) fn way(&self) -> Way<'_> {
        match (&self.inside, &self.listener.kind) {
            (Some(tunnel), _) => Way::Inside(tunnel),
            (None, ListenerKind::Forward) => Way::Forward,
            (None, ListenerKind::Reverse { origin }) => Way::Reverse(origin),
        }
    }

    /// Reads a request and judges who asks. Else the answer says why it is not carried out.
    pub(crate) fn admit(&self, head: RequestHead, record: &mut Record) -> Result<ProxyRequest, Box<Answer>> {
        let proxy = self.proxy();
        let now = record.started();
        let arrival = Arrival { way: self.way(), client: self.client.ip(), secure: self.secure };
        let request = ProxyRequest::read(head, arrival, &proxy.own.names.pseudonym)
            .map_err(|rejection| Box::new(proxy.own.rejection(&rejection, now)))?;
        record.target(&request);
        if !self.permits_client() {
            return Err(Box::new(proxy.own.denied_client(self.client, now)));
        }
        Ok(request)
    }

    /// Answers a request that is for no tunnel.
    ///
    /// # Errors
    ///
    /// The client's content ended before its end.
    pub(crate) async fn answer<'a, U: Upload>(
        &self,
        request: &ProxyRequest,
        upload: Option<&'a mut U>,
        interim: &mut impl Interim,
    ) -> Result<Answered<'a>, ClientFailed> {
        let (Target::Uri(uri) | Target::Server(uri)) = &request.target else {
            let path = if let Target::Own(path) = &request.target { path } else { "" };
            return Ok(pages::answer(self, request, path).into());
        };
        let answered = pipeline::answer(&self.worker, request, self.place(uri), upload, interim).await?;
        self.learn_from(&answered.answer);
        Ok(answered)
    }

    /// Passes a request to switch to one of `protocols` on. What comes back is the connection behind a 101, or another answer.
    pub(crate) async fn switch(
        &self,
        request: &ProxyRequest,
        uri: &TargetUri,
        protocols: &[u8],
        interim: &mut impl Interim,
    ) -> Result<Box<Switched>, Answer> {
        let place = (uri, self.place(uri));
        let switched = upgrade::answer(&self.worker, request, place, protocols, interim).await;
        switched.inspect_err(|answer| self.learn_from(answer))
    }

    /// Inside a tunnel that was opened, an origin that asks for the client's certificate is tunnelled to from then on.
    fn learn_from(&self, answer: &Answer) {
        let proxy = self.proxy();
        if let (Some(tunnel), Some(interception)) = (&self.inside, &proxy.interception)
            && answer.needs_tunnel
        {
            interception.learned.asks_for_certificate(self.client.ip(), tunnel, proxy.clock.now());
        }
    }

    /// Where a request for this target leads.
    fn place(&self, uri: &TargetUri) -> Place {
        let policy = &self.listener.policy;
        let key = policy.key(uri);
        let (asked, key) = match &self.listener.kind {
            ListenerKind::Forward => (uri, key),
            ListenerKind::Reverse { origin } => (origin, key.asked_of(origin)),
        };
        let destination =
            Destination { scheme: asked.scheme(), host: asked.host().to_owned(), port: asked.port() };
        Place { key, destination, policy: Arc::clone(policy) }
    }

    /// The proxy's own address, as this client would write it.
    pub(crate) fn own_address(&self) -> SocketAddr {
        SocketAddr::new(canonical(self.local.ip()), self.local.port())
    }
}
