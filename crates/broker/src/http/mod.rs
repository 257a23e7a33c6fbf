//! The HTTP port: health, readiness, metrics, the dashboard and its API. Its clients cost little whatever they do: there
//! are few of them at a time, each has a while for its next request, from its first byte to the next piece of the answer,
//! and whoever has not asked for longest gives way to newcomers.

mod answer;
mod api;
mod ask;
mod body;
mod filter;
mod guard;
mod history;
mod host;
mod input;
mod line;
mod live;
mod metrics;
mod places;
mod problem;
mod reader;
mod readings;
mod routes;
mod tls;
mod tracks;
mod ui;

use crate::api::parts::Parts;
use crate::base::rate::LogLimit;
use crate::node::{Listener, Node, State, reached};
use answer::{Answer, text, with};
use ask::Asked;
use guard::Guard;
pub use guard::PageOptions;
use history::History;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

pub use places::CONNECTIONS_MAX;
use places::{Place, Places};
use readings::Readings;
use tracks::Tracks;

/// A connection on which no request was completed for this long is closed.
pub const REQUEST_MS: i64 = 15_000;
/// The largest header of a request.
pub const HEADER_BYTES_MAX: usize = 16 << 10;
pub use history::{TASK as HISTORY_TASK, run as keep_history};
pub use routes::ROUTES;
pub use ui::paths as page_files;

/// What the supervisor calls the task that accepts.
pub const TASK: &str = "the HTTP port";
/// The type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Pause after a failed accept.
const ACCEPT_PAUSE_MS: i64 = 100;

/// The HTTP port of one broker.
pub struct Http {
    parts: Arc<Parts>,
    places: Arc<Places>,
    lines: LogLimit,
    guard: Guard,
    readings: Readings,
    history: History,
    tracks: Tracks,
    tls: Option<Arc<Listener>>,
}

impl Http {
    /// A port whose pages are about this broker.
    pub fn new(parts: Arc<Parts>, options: PageOptions) -> Http {
        let with_tls = |listener: &&Arc<Listener>| listener.tls.is_some();
        Http {
            tls: (options
                .tls
                .then(|| parts.node.listeners.iter().find(with_tls).cloned()))
            .flatten(),
            guard: Guard::new(options, &parts.node),
            parts,
            places: Arc::default(),
            lines: LogLimit::default(),
            readings: Readings::default(),
            history: History::default(),
            tracks: Tracks::default(),
        }
    }

    fn node(&self) -> &Arc<Node> {
        &self.parts.node
    }
}

/// Accepts until the broker stops.
pub async fn serve(listener: Arc<TcpListener>, http: Arc<Http>) {
    let node = http.node();
    let mut stopping = node.state.subscribe();
    loop {
        tokio::select! {
            biased;
            () = reached(&mut stopping, |state| state == State::Stopped) => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => match &http.tls {
                    Some(listener) => tls::connected(stream, address, listener, &http),
                    None => connected(stream, address, &http),
                },
                Err(error) => {
                    let now_ms = node.clock.monotonic_ms();
                    if let Some(left_out) = http.lines.admits(now_ms) {
                        tracing::warn!(target: "rustka::http", "cannot accept an HTTP connection: {error}{left_out}");
                    }
                    node.clock.sleep_until(now_ms + ACCEPT_PAUSE_MS).await;
                }
            },
        }
    }
}

/// Serves a connection in a task of its own.
pub fn connected<T>(stream: T, address: SocketAddr, http: &Arc<Http>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let place = http.places.enter(http.node().clock.monotonic_ms());
    tokio::spawn(connection(stream, address, http.clone(), place));
}

async fn connection<T>(stream: T, address: SocketAddr, http: Arc<Http>, place: Place)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let node = http.node();
    let service = service_fn(|request: Request<Incoming>| {
        let usage = place.usage().clone();
        usage.asks(node.clock.monotonic_ms());
        let http = http.clone();
        async move {
            let clock = http.node().clock.clone();
            let answer = answer(request, address, http).await;
            Ok::<_, Infallible>(answer.map(|body| body.of_connection(&usage, &clock)))
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let overdue = async {
        loop {
            let asked_ms = place.asked_ms();
            node.clock.sleep_until(asked_ms + REQUEST_MS).await;
            if place.asked_ms() == asked_ms {
                return;
            }
        }
    };
    let mut stopping = node.state.subscribe();
    tokio::select! {
        biased;
        served = served => {
            if let Err(error) = served {
                tracing::debug!(target: "rustka::http", "HTTP connection ended: {error}");
            }
        }
        () = overdue => tracing::debug!(target: "rustka::http", "HTTP connection closed: no request for {REQUEST_MS} ms"),
        () = place.displaced() => {
            let reason = format!("{CONNECTIONS_MAX} HTTP connections are open, and it has not asked for longest");
            node.closes(address, &reason);
        }
        () = reached(&mut stopping, |state| state == State::Stopped) => {}
    }
}

async fn answer(request: Request<Incoming>, address: SocketAddr, http: Arc<Http>) -> Answer {
    let node = http.node();
    if !host::is_served(&request, node, http.guard.hosts()) {
        let told = node.advertised_hosts();
        let names: String = told.iter().map(|name| format!(" or as {name}")).collect();
        let sentence = format!(
            "not served by this name: ask by address, as localhost{names}, or allow it with --http-allowed-host\n"
        );
        return text(StatusCode::MISDIRECTED_REQUEST, sentence);
    }
    let is_read = request.method() == Method::GET || request.method() == Method::HEAD;
    match request.uri().path() {
        path if path.starts_with("/api/") => routes::answer(Asked { request, address }, http).await,
        _ if !is_read => text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET is served here\n".into(),
        ),
        "/healthz" => text(StatusCode::OK, "ok\n".into()),
        "/readyz" => ready(node),
        "/metrics" => match http.guard.tells_metrics(&request, node) {
            true => {
                let query = request.uri().query().unwrap_or("");
                match metrics::render(&http.parts, query).await {
                    Ok(told) => with(StatusCode::OK, METRICS_TYPE, told),
                    Err(problem) => problem.answer(),
                }
            }
            false => text(
                StatusCode::UNAUTHORIZED,
                "metrics need the token here: send it as 'authorization: Bearer TOKEN', or start with --metrics-open\n".into(),
            ),
        },
        path => ui::answer(path, request.headers()),
    }
}

/// Ready is who serves all that there is and has nothing that keeps failing.
fn ready(node: &Node) -> Answer {
    let failing = node.health.failing();
    let serving = *node.state.borrow() == State::Serving;
    let sentence = match (serving, failing.is_empty(), node.opener.left()) {
        (true, true, 0) => return text(StatusCode::OK, "ready\n".into()),
        (false, ..) => "not serving\n".to_owned(),
        (true, false, _) => format!("these fail: {}\n", failing.join(", ")),
        (true, true, left) => format!("{left} partitions are still being opened\n"),
    };
    text(StatusCode::SERVICE_UNAVAILABLE, sentence)
}
