//! One exchange over one stream of an HTTP/2 connection (RFC 9113).
//!
//! The h2 crate is used as it is: hyper's client on top of it hands on no interim responses, and wants a request body that owns
//! all it needs. Fields come in h2's order, lines of one name together, and in lower case, as they were sent.
//!
//! The invariant is HTTP/1.1's: an end is the end only if END_STREAM says so, and a `Content-Length` is kept to the byte.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use larder_policy::Fields;

use super::halves::Gone;
use super::messages::Outbound;
use super::peers::Place;
use crate::error::UpstreamError;
use crate::http1::{self, Framing, HeadLimits, ResponseHead, Version};
use crate::transaction::NextHop;

/// The half that the request goes out by. Once both halves are dropped before the request has ended, h2 resets the stream, so
/// that a request that was cut never looks complete.
pub(super) struct Sending {
    stream: SendStream<Bytes>,
    ended: bool,
    _place: Arc<Place>,
}

/// The half that the response comes in by.
pub(super) struct Receiving {
    response: ResponseFuture,
    content: Option<RecvStream>,
    place: Arc<Place>,
    limits: HeadLimits,
    /// Whether anything of a response has come.
    begun: bool,
}

/// The content of a response.
pub(super) struct Content {
    stream: RecvStream,
    place: Arc<Place>,
    /// How much of the announced length is missing.
    missing: Option<u64>,
    trailers: Option<Fields>,
}

/// A request as HTTP/2 has it (RFC 9113, 8.3.1): `Host` becomes `:authority`, names are lower case. None where the
/// `http` crate's types cannot hold it; HTTP/1.1 can.
pub(super) fn translate(request: &Outbound, framing: Framing) -> Option<Request<()>> {
    let authority = request.fields.first("host")?;
    let uri = Uri::builder()
        .scheme(request.destination.scheme.as_str())
        .authority(authority)
        .path_and_query(request.path.as_str())
        .build()
        .ok()?;
    if uri.path_and_query()?.as_str() != request.path {
        return None;
    }
    let mut translated = Request::new(());
    *translated.method_mut() = request.method.clone();
    *translated.version_mut() = http::Version::HTTP_2;
    *translated.uri_mut() = uri;
    let headers = translated.headers_mut();
    for (name, value) in request.fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        headers.try_append(name_of(name)?, HeaderValue::from_bytes(value).ok()?).ok()?;
    }
    if let Framing::Length(length) = framing {
        headers.insert(http::header::CONTENT_LENGTH, length.into());
    }
    Some(translated)
}

fn name_of(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).ok()
}

/// Sends the head of a request.
pub(super) fn begin(
    mut place: Place,
    request: Request<()>,
    framing: Framing,
    limits: HeadLimits,
    host: &str,
) -> Result<(Sending, Receiving), UpstreamError> {
    let ended = framing == Framing::None;
    let (response, stream) = place.requests().send_request(request, ended).map_err(|error| {
        let host = host.to_owned();
        if error.is_io() || error.is_go_away() {
            // The connection ended meanwhile; the request has not gone out.
            UpstreamError::NotTaken { host }
        } else {
            UpstreamError::Protocol { host, reason: error.to_string() }
        }
    })?;
    let place = Arc::new(place);
    let sending = Sending { stream, ended, _place: Arc::clone(&place) };
    Ok((sending, Receiving { response, content: None, place, limits, begun: false }))
}

impl Sending {
    /// Sends a piece of content, as the peer's windows allow it.
    pub(super) async fn content(&mut self, mut data: Bytes) -> Result<(), Gone> {
        while !data.is_empty() {
            self.stream.reserve_capacity(data.len());
            let room = poll_fn(|context| self.stream.poll_capacity(context)).await;
            let Some(Ok(room)) = room else { return Err(Gone) };
            let piece = data.split_to(room.min(data.len()));
            if !piece.is_empty() {
                self.stream.send_data(piece, false).map_err(|_| Gone)?;
            }
        }
        Ok(())
    }

    /// Ends the content.
    pub(super) fn end(&mut self) -> Result<(), Gone> {
        if !self.ended {
            self.ended = true;
            self.stream.send_data(Bytes::new(), true).map_err(|_| Gone)?;
        }
        Ok(())
    }
}

impl Receiving {
    /// The next head, interim or final. Cancel-safe.
    pub(super) async fn head(&mut self, host: &str) -> Result<ResponseHead, UpstreamError> {
        let response = &mut self.response;
        let read = poll_fn(|context| match response.poll_informational(context) {
            Poll::Ready(Some(Ok(interim))) => Poll::Ready(Ok((interim, None))),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(error)),
            Poll::Ready(None) => Pin::new(&mut *response).poll(context).map_ok(|head| {
                let (parts, content) = head.into_parts();
                (http::Response::from_parts(parts, ()), Some(content))
            }),
            Poll::Pending => Poll::Pending,
        });
        let (head, content) = self.place.pulse().late(read).await.map_err(|error| {
            if self.place.pulse().is_lost() && !self.begun {
                return UpstreamError::Lost { host: host.to_owned() };
            }
            if error.reason() == Some(Reason::HTTP_1_1_REQUIRED) {
                self.place.avoid();
            }
            failure(&error, host, self.begun)
        })?;
        self.begun = true;
        self.content = content;
        let fields = self.fields(head.headers(), host)?;
        let status = head.status();
        // HTTP/2 has no reason phrase: the usual one goes to clients that want it.
        let reason = status.canonical_reason().unwrap_or_default().as_bytes().to_vec();
        Ok(ResponseHead { version: Version::Http11, status, reason, fields })
    }

    /// The fields of a head, within its limits.
    fn fields(&self, headers: &HeaderMap, host: &str) -> Result<Fields, UpstreamError> {
        let fields =
            fields_of(headers).map_err(|reason| UpstreamError::Protocol { host: host.to_owned(), reason })?;
        if fields.len() > self.limits.fields || fields.as_wire().len() > self.limits.bytes {
            return Err(UpstreamError::HeadTooLarge { host: host.to_owned() });
        }
        Ok(fields)
    }

    pub(super) fn hop(&self) -> &NextHop {
        self.place.hop()
    }

    /// The connection may be dead: it gets no more requests.
    pub(super) fn give_up(self) {
        self.place.retire();
    }

    /// What the final head says of the content.
    pub(super) fn content(
        self,
        method: &Method,
        head: &ResponseHead,
        host: &str,
    ) -> Result<(Framing, Content), UpstreamError> {
        let protocol = |reason: String| UpstreamError::Protocol { host: host.to_owned(), reason };
        let length = http1::content_length(&head.fields).map_err(|error| protocol(error.to_string()))?;
        let stream = self.content.ok_or_else(|| protocol("its answer has no end".to_owned()))?;
        let bodiless = *method == Method::HEAD
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let framing = match length {
            _ if bodiless => Framing::None,
            Some(length) => Framing::Length(length),
            None if stream.is_end_stream() => Framing::Length(0),
            None => Framing::Chunked,
        };
        let missing = length.filter(|_| !bodiless);
        Ok((framing, Content { stream, place: self.place, missing, trailers: None }))
    }
}

impl Content {
    pub(super) fn is_done(&self) -> bool {
        self.stream.is_end_stream() && self.missing.is_none_or(|missing| missing == 0)
    }

    /// The next bytes; none at the true end. Cancel-safe.
    pub(super) async fn next(&mut self, host: &str) -> Result<Option<Bytes>, UpstreamError> {
        let incomplete = || UpstreamError::Incomplete { host: host.to_owned() };
        loop {
            match self.stream.data().await {
                Some(Ok(data)) => {
                    // The peer may send as much again. An error means that the stream has ended meanwhile.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    if let Some(missing) = &mut self.missing {
                        *missing = missing.checked_sub(data.len() as u64).ok_or_else(|| {
                            UpstreamError::Protocol {
                                host: host.to_owned(),
                                reason: "more content than it announced".to_owned(),
                            }
                        })?;
                    }
                    if !data.is_empty() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => return Err(failure(&error, host, true)),
                None => break,
            }
        }
        let trailers = self.stream.trailers().await.map_err(|error| failure(&error, host, true))?;
        if self.missing.is_some_and(|missing| missing > 0) {
            return Err(incomplete());
        }
        if let Some(trailers) = trailers {
            let mut fields = fields_of(&trailers).map_err(|_| incomplete())?;
            http1::drop_forbidden_trailers(&mut fields);
            self.trailers = Some(fields).filter(|fields| !fields.is_empty());
        }
        Ok(None)
    }

    pub(super) fn take_trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }

    /// The content was waited for in vain: the connection may be dead and gets no more requests.
    pub(super) fn give_up(self) {
        self.place.retire();
    }
}

fn fields_of(headers: &HeaderMap) -> Result<Fields, String> {
    let mut fields = Fields::with_capacity(headers.len(), 0);
    for (name, value) in headers {
        fields.push(name.as_str(), value.as_bytes()).map_err(|error| error.to_string())?;
    }
    Ok(fields)
}

/// What an error of h2 means. The peer took nothing of a request on a stream that it refused, or that its GOAWAY left out
/// (RFC 9113, 6.8 and 8.7). A stream that it reset otherwise is no sign that the connection had died.
fn failure(error: &h2::Error, host: &str, begun: bool) -> UpstreamError {
    let host = host.to_owned();
    let refused = error.is_remote()
        && (error.is_go_away()
            || matches!(error.reason(), Some(Reason::REFUSED_STREAM | Reason::HTTP_1_1_REQUIRED)));
    if error.is_library() {
        UpstreamError::Protocol { host, reason: error.to_string() }
    } else if begun {
        UpstreamError::Incomplete { host }
    } else if refused {
        UpstreamError::NotTaken { host }
    } else if error.is_reset() {
        UpstreamError::Incomplete { host }
    } else {
        UpstreamError::Terminated { host }
    }
}

#[cfg(test)]
mod tests {
    use larder_policy::Scheme;

    use super::super::connect::Destination;
    use super::*;

    fn outbound(path: &str, lines: &[(&str, &str)]) -> Outbound {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.push(name, value.as_bytes()).unwrap();
        }
        let destination =
            Destination { scheme: Scheme::Https, host: "connected.example".to_owned(), port: 443 };
        Outbound { destination, method: Method::POST, path: path.to_owned(), fields }
    }

    #[test]
    fn host_becomes_the_authority_and_names_lower_case() {
        let fields = [("Host", "asked.example:8443"), ("X-One", "1"), ("x-one", "2"), ("Cookie", "a=b")];
        let request = translate(&outbound("/x?y=%20", &fields), Framing::Length(7)).unwrap();
        assert_eq!(request.uri(), "https://asked.example:8443/x?y=%20");
        let headers: Vec<(&str, &str)> =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(headers, [("x-one", "1"), ("x-one", "2"), ("cookie", "a=b"), ("content-length", "7")]);
    }

    #[test]
    fn a_target_that_would_come_out_changed_is_left_to_http1() {
        let host = [("Host", "a.example")];
        for path in ["/x#y", "/a b", "/\u{7f}<", "*"] {
            let translated = translate(&outbound(path, &host), Framing::None);
            let same = translated
                .is_none_or(|request| request.uri().path_and_query().is_some_and(|found| found == path));
            assert!(same, "{path}");
        }
        assert!(translate(&outbound("/x#y", &host), Framing::None).is_none());
        assert!(translate(&outbound("/x", &[]), Framing::None).is_none());
    }
}
