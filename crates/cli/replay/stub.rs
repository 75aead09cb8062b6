//! The origin that the proxy under test asks: it answers each request as the origin of the log did.
//!
//! Requests say by a field, which proxies pass on, which line of the log they are about. What they ask besides is
//! honoured as an origin does: conditions, a range, HEAD. Nothing of a request decides where an answer comes from, and nothing
//! is read from a disk.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use larder_policy::{Fields, Timestamp, list_members, parse_http_date};

use super::body::SeededBody;
use super::plan::{Planned, Reached, in_real_time};

/// Which line of the log a request is about.
pub(super) const MARK: &str = "larder-replay";

/// Lines that are remembered after their requests have ended: a proxy may ask again behind its clients' backs.
const REMEMBERED: usize = 16_384;

/// What the stub knows and counts.
#[derive(Debug)]
pub(super) struct Stub {
    speed: f64,
    lines: Mutex<Lines>,
    pub(super) requests: AtomicU64,
    pub(super) not_modified: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Requests that are about no line that is known.
    pub(super) strangers: AtomicU64,
}

#[derive(Debug, Default)]
struct Lines {
    plans: HashMap<u64, Arc<Planned>>,
    ended: VecDeque<u64>,
}

impl Stub {
    pub(super) fn new(speed: f64) -> Self {
        Self {
            speed,
            lines: Mutex::default(),
            requests: AtomicU64::new(0),
            not_modified: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            strangers: AtomicU64::new(0),
        }
    }

    /// A line is about to be asked for.
    pub(super) fn begin(&self, number: u64, planned: &Arc<Planned>) {
        self.lock().plans.insert(number, Arc::clone(planned));
    }

    /// Its request has ended.
    pub(super) fn end(&self, number: u64) {
        let mut lines = self.lock();
        lines.ended.push_back(number);
        if lines.ended.len() > REMEMBERED
            && let Some(oldest) = lines.ended.pop_front()
        {
            lines.plans.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<SeededBody> {
        let mark = request.headers().get(MARK).and_then(|mark| mark.to_str().ok()?.parse::<u64>().ok());
        let planned = mark.and_then(|mark| self.lock().plans.get(&mark).cloned());
        let Some(planned) = planned else {
            self.strangers.fetch_add(1, Ordering::Relaxed);
            return bare(StatusCode::BAD_GATEWAY);
        };
        self.requests.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
        let told = in_real_time(&planned.told, planned.at, now, self.speed);
        let reply = reply(&planned, request.method(), request.headers(), &told, now);
        planned.reach(if reply.status == StatusCode::NOT_MODIFIED {
            Reached::Validated
        } else {
            Reached::Answered
        });
        if reply.status == StatusCode::NOT_MODIFIED {
            self.not_modified.fetch_add(1, Ordering::Relaxed);
        }
        self.bytes.fetch_add(reply.end - reply.start, Ordering::Relaxed);
        reply.into_response(&planned, &told)
    }
}

/// What is sent of a representation.
struct Reply {
    status: StatusCode,
    start: u64,
    end: u64,
    content_range: Option<String>,
    /// Content-Length where there is no content.
    length: Option<u64>,
}

/// As an origin answers (RFC 9110, 13.2.2 and 14.2).
fn reply(planned: &Planned, method: &Method, asked: &HeaderMap, told: &Fields, now: Timestamp) -> Reply {
    let nothing = |status| Reply { status, start: 0, end: 0, content_range: None, length: None };
    let of_success = planned.status.is_success() || planned.status == StatusCode::NOT_MODIFIED;
    if of_success && is_unmodified(planned, asked, told, now) {
        return nothing(StatusCode::NOT_MODIFIED);
    }
    let status = match planned.status {
        // Who asks without conditions, or for all of it, gets it.
        StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT => StatusCode::OK,
        status => status,
    };
    if status == StatusCode::NO_CONTENT {
        return nothing(status);
    }
    let size = planned.size;
    if method == Method::HEAD {
        return Reply { length: Some(size), ..nothing(status) };
    }
    let whole = Reply { status, start: 0, end: size, content_range: None, length: None };
    if status != StatusCode::OK || method != Method::GET {
        return whole;
    }
    let range = asked.get(RANGE).and_then(|range| range.to_str().ok());
    match range.and_then(|range| single_range(range, size)) {
        Some((start, end)) => Reply {
            status: StatusCode::PARTIAL_CONTENT,
            start,
            end,
            content_range: Some(format!("bytes {start}-{}/{size}", end - 1)),
            length: None,
        },
        None => whole,
    }
}

fn is_unmodified(planned: &Planned, asked: &HeaderMap, told: &Fields, now: Timestamp) -> bool {
    if asked.contains_key(IF_NONE_MATCH) {
        let strong = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
        let Some(etag) = planned.etag.as_deref().map(|etag| strong(etag.as_bytes())) else { return false };
        let lines = asked.get_all(IF_NONE_MATCH).iter().map(HeaderValue::as_bytes);
        return list_members(lines).any(|tag| tag == b"*" || strong(tag) == etag);
    }
    let date = |value: &[u8]| parse_http_date(value, now);
    let since = asked.get(IF_MODIFIED_SINCE).and_then(|since| date(since.as_bytes()));
    let modified = told.first("last-modified").and_then(date);
    // Last-Modified moves with the time that runs faster, by a second at most.
    since.zip(modified).is_some_and(|(since, modified)| modified.as_secs() <= since.as_secs() + 1)
}

/// `bytes=0-9`, `bytes=5-` or `bytes=-5`, as positions; none for what is to be ignored or cannot be had.
fn single_range(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (first, last) {
        ("", suffix) => (size.saturating_sub(suffix.parse().ok()?), size),
        (first, "") => (first.parse().ok()?, size),
        (first, last) => (first.parse().ok()?, last.parse::<u64>().ok()?.saturating_add(1).min(size)),
    };
    (start < end).then_some((start, end))
}

impl Reply {
    fn into_response(self, planned: &Planned, told: &Fields) -> Response<SeededBody> {
        let mut response = Response::new(SeededBody::new(planned.seed, self.start, self.end));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        for (name, value) in told.iter() {
            if is_framing(name) {
                continue;
            }
            // A log does not show cookies; that there was one is what counts.
            let value = if name.eq_ignore_ascii_case("set-cookie") { b"replayed=1" } else { value };
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value))
            {
                headers.append(name, value);
            }
        }
        let mut set = |name: HeaderName, value: Option<String>| {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                headers.insert(name, value);
            }
        };
        set(http::header::CONTENT_RANGE, self.content_range);
        set(CONTENT_LENGTH, self.length.map(|length| length.to_string()));
        response
    }
}

/// Fields that the stub's own answer has, or that would belie its bytes.
fn is_framing(name: &str) -> bool {
    ["content-length", "content-range", "content-encoding", "transfer-encoding", "connection", "keep-alive"]
        .iter()
        .any(|framing| name.eq_ignore_ascii_case(framing))
}

fn bare(status: StatusCode) -> Response<SeededBody> {
    let mut response = Response::new(SeededBody::new(0, 0, 0));
    *response.status_mut() = status;
    response
}

/// Binds the address, so that its port is known.
pub(super) fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!("cannot listen on {address} for the proxy; name another address with `--origin ADDR`")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers for ever.
pub(super) async fn serve(stub: Arc<Stub>, listener: tokio::net::TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or a client that has gone: the next one may fare better.
            tokio::task::yield_now().await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let stub = Arc::clone(&stub);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = stub.answer(&request);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).auto_date_header(false);
            // A proxy that closes its connection is no fault.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use larder_policy::PolicySettings;
    use larder_simulator::http::Assumptions;
    use larder_simulator::log::{Format, Log};

    use super::*;
    use crate::replay::plan::Planner;

    fn stub(status: u16, bytes: u64) -> Stub {
        let line = format!("h - - [17/May/2015:10:05:03 +0000] \"GET /a HTTP/1.1\" {status} {bytes}\n");
        let entry = Log::new(line.as_bytes(), Format::Common).next().unwrap().unwrap();
        let mut planner = Planner::new(Assumptions::default(), PolicySettings::default());
        let stub = Stub::new(1.0);
        stub.begin(5, &Arc::new(planner.plan(&entry, entry.time).unwrap()));
        stub
    }

    fn ask(stub: &Stub, method: Method, fields: &[(&str, &str)]) -> Response<SeededBody> {
        let mut request = Request::builder().method(method).uri("/").header(MARK, "5");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        stub.answer(&request.body(()).unwrap())
    }

    fn length(response: &Response<SeededBody>) -> u64 {
        hyper::body::Body::size_hint(response.body()).exact().unwrap()
    }

    #[test]
    fn conditions_ranges_and_methods_are_honoured() {
        let stub = stub(200, 100);
        let whole = ask(&stub, Method::GET, &[]);
        assert_eq!((whole.status().as_u16(), length(&whole)), (200, 100));
        let etag = whole.headers().get("etag").unwrap().to_str().unwrap().to_owned();
        let modified = whole.headers().get("last-modified").unwrap().to_str().unwrap().to_owned();
        for (name, value) in [
            ("if-none-match", format!("\"x\", W/{etag}")),
            ("if-none-match", "*".to_owned()),
            ("if-modified-since", modified.clone()),
        ] {
            let answer = ask(&stub, Method::GET, &[(name, &value)]);
            assert_eq!((answer.status().as_u16(), length(&answer)), (304, 0), "{name}");
        }
        let answer = ask(&stub, Method::GET, &[("if-none-match", "\"x\""), ("if-modified-since", &modified)]);
        assert_eq!(answer.status(), 200);
        for (range, expected) in [
            ("bytes=0-9", "bytes 0-9/100"),
            ("bytes=90-", "bytes 90-99/100"),
            ("bytes=-5", "bytes 95-99/100"),
        ] {
            let answer = ask(&stub, Method::GET, &[("range", range)]);
            assert_eq!(
                (answer.status().as_u16(), answer.headers().get("content-range").unwrap().to_str().unwrap()),
                (206, expected)
            );
        }
        assert_eq!(ask(&stub, Method::GET, &[("range", "bytes=100-")]).status(), 200);
        let head = ask(&stub, Method::HEAD, &[]);
        assert_eq!(
            (head.headers().get("content-length").unwrap().to_str().unwrap(), length(&head)),
            ("100", 0)
        );
        assert_eq!(
            (stub.requests.into_inner(), stub.not_modified.into_inner(), stub.bytes.into_inner()),
            (10, 3, 200 + 100 + 25)
        );
    }

    #[test]
    fn what_failed_fails_and_a_request_about_no_line_is_told_apart() {
        let stub = stub(503, 7);
        let answer = ask(&stub, Method::GET, &[("if-none-match", "*")]);
        assert_eq!((answer.status().as_u16(), length(&answer)), (503, 7));
        assert_eq!(stub.answer(&Request::builder().uri("/").body(()).unwrap()).status(), 502);
        assert_eq!(stub.strangers.into_inner(), 1);
    }
}
