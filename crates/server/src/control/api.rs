//! Requests of the control API to answers.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Body;
use larder_policy::Timestamp;
use larder_storage::{Filter, Repair};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use super::explain::explain;
use super::explained::{Explain, Explained};
use super::guard::Guard;
use super::leasing::{self, Digests, Lend, Release, Released};
use super::messages::{Failure, List, Removed, Selection, Verify, VerifyLine, paced};
use super::server::Services;
use super::stream::{Content, Lines};
use crate::lease::NotLent;
use crate::metrics::{self, Figures, ShadowFigures};

/// Bytes in a request's body.
const BODY_BYTES: usize = 64 * 1024;

/// From the end of a request's head to the end of its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

const OVERVIEW: &str = "\
larder's control API

GET  /health   {\"status\":\"ok\"} while the proxy runs
GET  /metrics  counters and gauges for Prometheus
GET  /stats    the figures of `larder stats`, as JSON
POST /explain  {\"url\": URL, \"method\": \"GET\", \"fields\": [\"Name: value\"]}: how it would be answered, and why
POST /list     {\"select\": SELECTION, \"sort\": \"url\", \"size\" or \"age\", \"limit\": NUMBER}: what is stored, a line each
POST /purge    SELECTION: removes stored responses
POST /verify   {\"repair\": true or false}: compares every stored body with its digest, a line for each finding
POST /lend     {\"offline\": BOOL, \"record\": BOOL, \"parent\": \"HOST:PORT\", \"credentials\": TEXT, \"ca_dir\": PATH,
               \"ca_files\": [PATH]}: a listener of one's own, while the
               answer is read; on the control socket alone
POST /release  {\"lease\": NUMBER}: ends it well

A SELECTION has some of {\"url\": URL, \"host\": HOST, \"glob\": GLOB, \"tag\": TAG, \"older_ms\": TIME, \"newer_ms\": TIME,
\"larger_bytes\": SIZE, \"smaller_bytes\": SIZE}, all of which must hold, or is {\"all\": true}.
Lines are JSON, or empty: a sign of life. An object with the one key \"error\" says that there would be more.

Over TCP, POST needs `Authorization: Bearer TOKEN`.
";

/// What the API works on.
pub(super) struct Api {
    services: Services,
    /// Held by the verification that runs: a second one would read the same disk at half the speed.
    verifying: Arc<Mutex<()>>,
}

/// The way a request came in.
#[derive(Debug)]
pub(super) enum Door {
    /// The control socket, which only the proxy's user can open.
    Socket,
    /// TCP, which anybody may have reached.
    Tcp(Guard),
}

/// An answer that is not a success.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
    /// A field that belongs to the status.
    field: Option<(http::HeaderName, &'static str)>,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), field: None }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(super) fn misdirected(message: &str) -> Self {
        Self::new(StatusCode::MISDIRECTED_REQUEST, message)
    }

    pub(super) fn unauthorized(message: &str) -> Self {
        Self { field: Some((WWW_AUTHENTICATE, "Bearer")), ..Self::new(StatusCode::UNAUTHORIZED, message) }
    }

    fn not_allowed(allow: &'static str) -> Self {
        let message = format!("use {allow}");
        Self { field: Some((ALLOW, allow)), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, message) }
    }
}

type Answer = Response<Content>;

#[derive(Debug, Clone, Copy)]
enum Route {
    Overview,
    Health,
    Metrics,
    Stats,
    Explain,
    List,
    Purge,
    Verify,
    Lend,
    Release,
}

impl Route {
    /// The route of a request, if its method fits.
    fn of(method: &Method, path: &str) -> Result<Self, Refusal> {
        let (route, posted) = match path {
            "/" => (Self::Overview, false),
            "/health" => (Self::Health, false),
            "/metrics" => (Self::Metrics, false),
            "/stats" => (Self::Stats, false),
            "/explain" => (Self::Explain, true),
            "/list" => (Self::List, true),
            "/purge" => (Self::Purge, true),
            "/verify" => (Self::Verify, true),
            "/lend" => (Self::Lend, true),
            "/release" => (Self::Release, true),
            _ => return Err(Refusal::new(StatusCode::NOT_FOUND, "there is no such page; GET / lists all")),
        };
        match *method {
            Method::POST if posted => Ok(route),
            Method::GET | Method::HEAD if !posted => Ok(route),
            _ => Err(Refusal::not_allowed(if posted { "POST" } else { "GET, HEAD" })),
        }
    }

    /// Whether it changes something, or shows what single clients asked for.
    fn needs_trust(self) -> bool {
        matches!(self, Self::Explain | Self::List | Self::Purge | Self::Verify) || self.needs_socket()
    }

    /// Whether it is for the proxy's user on this machine alone.
    fn needs_socket(self) -> bool {
        matches!(self, Self::Lend | Self::Release)
    }
}

impl Api {
    pub(super) fn new(services: Services) -> Self {
        Self { services, verifying: Arc::default() }
    }

    /// The answer to a request, whatever it is.
    pub(super) async fn answer<B>(&self, door: &Door, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let mut answer = self.respond(door, request).await.unwrap_or_else(|refusal| {
            let mut answer = json(&Failure { error: refusal.message });
            *answer.status_mut() = refusal.status;
            if let Some((name, value)) = refusal.field {
                answer.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            answer
        });
        let fields = answer.headers_mut();
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answer
    }

    async fn respond<B>(&self, door: &Door, request: Request<B>) -> Result<Answer, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        if let Door::Tcp(guard) = door {
            guard.admit(&request)?;
        }
        let route = Route::of(request.method(), request.uri().path())?;
        if let Door::Tcp(guard) = door
            && route.needs_trust()
        {
            guard.admit_trusted(&request)?;
            if route.needs_socket() {
                return Err(Refusal::forbidden("listeners are lent on the control socket alone"));
            }
        }
        match route {
            Route::Overview => Ok(text("text/plain; charset=utf-8", OVERVIEW.to_owned())),
            Route::Health => Ok(text("application/json", r#"{"status":"ok"}"#.to_owned())),
            Route::Metrics => {
                let store = self.services.store.stats().into();
                let page = self.services.metrics.render(Some((&store, &self.shadows())));
                Ok(text(metrics::CONTENT_TYPE, page))
            }
            Route::Stats => {
                let store = self.services.store.stats().into();
                let figures = self.services.metrics.figures(self.services.clock.now(), Some(store));
                Ok(json(&Figures { shadows: self.shadows(), ..figures }))
            }
            Route::Explain => Ok(json(&self.explain(&message(request).await?).await?)),
            Route::Purge => Ok(json(&self.purge(message(request).await?).await?)),
            Route::List => self.list(message(request).await?).await,
            Route::Verify => self.verify(message(request).await?),
            Route::Lend => self.lend(message(request).await?).await,
            Route::Release => {
                let Release { lease } = message(request).await?;
                Ok(json(&Released { released: self.services.lender.release(lease) }))
            }
        }
    }

    fn shadows(&self) -> Vec<ShadowFigures> {
        self.services.store.shadows().iter().map(ShadowFigures::from).collect()
    }

    async fn explain(&self, question: &Explain) -> Result<Explained, Refusal> {
        let Services { rules, store, clock, .. } = &self.services;
        explain(rules, store, question, clock.now())
            .await
            .map_err(|invalid| Refusal::bad_request(invalid.to_string()))
    }

    async fn list(&self, list: List) -> Result<Answer, Refusal> {
        let now = self.services.clock.now();
        if let Some(fault) = list.fault() {
            return Err(Refusal::bad_request(fault));
        }
        let filter = self.filter(&list.select, now)?;
        let entries = self.services.store.entries(filter).await.map_err(|error| failed(&error))?;
        let (mut lines, content) = Lines::new();
        tokio::task::spawn_blocking(move || {
            let told = list.tell(entries, now, &mut |listed| match listed {
                Some(listed) => lines.line(&listed),
                None => lines.nothing(),
            });
            if let Err(error) = told {
                lines.line(&Failure { error: failed(&error).message });
            }
            lines.end();
        });
        Ok(streamed(content))
    }

    async fn purge(&self, what: Selection) -> Result<Removed, Refusal> {
        if what.is_empty() {
            return Err(Refusal::bad_request("say what to remove; for everything, `all` must be true"));
        }
        let filter = self.filter(&what, self.services.clock.now())?;
        // What is being fetched now is as old as what is removed.
        match &filter.keys {
            Some(keys) => keys.iter().for_each(|key| self.services.flights.outdate(key)),
            None => self.services.flights.outdate_all(),
        }
        let store = self.services.store.clone();
        let removal = finished(async move { store.remove_where(filter).await }).await?;
        Ok(Removed { removed: removal.responses, bytes: removal.bytes })
    }

    fn filter(&self, what: &Selection, now: Timestamp) -> Result<Filter, Refusal> {
        what.filter(&self.services.rules, now).map_err(|invalid| Refusal::bad_request(invalid.to_string()))
    }

    fn verify(&self, how: Verify) -> Result<Answer, Refusal> {
        let Ok(running) = Arc::clone(&self.verifying).try_lock_owned() else {
            return Err(Refusal::new(StatusCode::CONFLICT, "a verification is already running"));
        };
        let store = self.services.store.clone();
        let repair = if how.repair { Repair::Yes } else { Repair::No };
        let (lines, content) = Lines::new();
        let lines = Arc::new(std::sync::Mutex::new(lines));
        let told = Arc::clone(&lines);
        let tell = paced(move |line| {
            let mut lines = told.lock().unwrap_or_else(PoisonError::into_inner);
            match line {
                Some(line) => lines.line(&line),
                None => lines.nothing(),
            }
        });
        tokio::spawn(async move {
            let last = match store.verify(repair, tell).await {
                Ok(report) => VerifyLine::Verified(report.into()),
                Err(error) => VerifyLine::Error(failed(&error).message),
            };
            drop(running);
            let end = move || {
                // The other holder has gone with the verification.
                if let Some(mut lines) = Arc::into_inner(lines).and_then(|lines| lines.into_inner().ok()) {
                    lines.line(&last);
                    lines.end();
                }
            };
            let _ = tokio::task::spawn_blocking(end).await;
        });
        Ok(streamed(content))
    }

    async fn lend(&self, terms: Lend) -> Result<Answer, Refusal> {
        let lender = Arc::clone(&self.services.lender);
        let opened = tokio::task::spawn_blocking(move || lender.open(&terms)).await;
        let lease = opened.unwrap_or(Err(NotLent::NotNow)).map_err(|not| {
            let status = match not {
                NotLent::NotNow => StatusCode::SERVICE_UNAVAILABLE,
                NotLent::TooMany => StatusCode::TOO_MANY_REQUESTS,
                NotLent::Wrong(_) => StatusCode::BAD_REQUEST,
                NotLent::Start(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            Refusal::new(status, not.to_string())
        })?;
        let Services { store, rules, .. } = &self.services;
        let digests = Digests { store: store.clone(), rules: Arc::clone(rules) };
        Ok(streamed(leasing::answer(lease, digests)))
    }
}

/// What the store could not do.
fn failed(error: &larder_storage::Error) -> Refusal {
    tracing::error!(error = error as &dyn std::error::Error, "the store failed what was asked of it");
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the store failed: {error}"))
}

/// The result of a change of the store, which goes on when the client that asked for it leaves.
async fn finished<T>(
    change: impl Future<Output = Result<T, larder_storage::Error>> + Send + 'static,
) -> Result<T, Refusal>
where
    T: Send + 'static,
{
    match tokio::spawn(change).await {
        Ok(result) => result.map_err(|error| failed(&error)),
        Err(_) => Err(Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the proxy is stopping, or has a fault that its log tells more about",
        )),
    }
}

/// What a request's body says. An empty body is an empty object.
async fn message<T: DeserializeOwned, B>(request: Request<B>) -> Result<T, Refusal>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let body = request.into_body();
    let too_large = || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("more than {BODY_BYTES} bytes"));
    // Told from the announced length, before a client starts to send.
    if body.size_hint().lower() > BODY_BYTES as u64 {
        return Err(too_large());
    }
    let collected =
        tokio::time::timeout(BODY_TIMEOUT, std::pin::pin!(Limited::new(body, BODY_BYTES)).collect()).await;
    let bytes = match collected {
        Err(_) => return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        Ok(Err(_)) => return Err(Refusal::bad_request("the body broke off")),
        Ok(Ok(collected)) => collected.to_bytes(),
    };
    let bytes = if bytes.is_empty() { Bytes::from_static(b"{}") } else { bytes };
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::bad_request(format!("not a valid request: {error}")))
}

fn text(media_type: &'static str, content: String) -> Answer {
    let mut answer = Response::new(Content::Whole(Full::new(Bytes::from(content))));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

fn streamed(lines: Content) -> Answer {
    let mut answer = Response::new(lines);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    answer
}

fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(content) => text("application/json", content),
        // Only maps with keys that are no text could fail, and there are none.
        Err(_) => {
            let mut answer = text("application/json", r#"{"error":"the answer has no JSON"}"#.to_owned());
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            answer
        }
    }
}

#[cfg(test)]
mod tests {
    use larder_storage::{Options, Store};

    use super::*;
    use crate::clock::Clock;
    use crate::collapse::Flights;
    use crate::config::Config;
    use crate::control::explain::Rules;
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn one_verification_runs_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(dir.path())).unwrap();
        let metrics = Arc::new(Metrics::new(Timestamp::from_secs(0)));
        let flights = Arc::new(Flights::new(1, Duration::ZERO));
        let clock = Clock::manual(Timestamp::from_secs(0));
        let api = Api::new(Services {
            metrics,
            store,
            clock,
            flights,
            lender: Arc::default(),
            rules: Arc::new(Rules::of(&Config::default())),
        });
        let running = Arc::clone(&api.verifying).try_lock_owned().unwrap();
        let verify = || Request::post("/verify").body(Full::<Bytes>::default()).unwrap();
        assert_eq!(api.answer(&Door::Socket, verify()).await.status(), StatusCode::CONFLICT);
        drop(running);
        assert_eq!(api.answer(&Door::Socket, verify()).await.status(), StatusCode::OK);
    }
}
