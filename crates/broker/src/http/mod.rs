//! The HTTP port: health, readiness, metrics. Its clients cost little whatever they do: there are few of them at a time,
//! each has a while for its next request, from its first byte to the last one of the answer, and whoever has not asked for
//! longest gives way to newcomers.

mod host;
mod metrics;
mod places;

use crate::base::rate::LogLimit;
use crate::node::{Node, State, reached};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

pub use places::CONNECTIONS_MAX;
use places::{Place, Places};

/// A connection on which no request was completed for this long is closed.
pub const REQUEST_MS: i64 = 15_000;
/// The largest header of a request.
pub const HEADER_BYTES_MAX: usize = 16 << 10;
/// What the supervisor calls the task that accepts.
pub const TASK: &str = "the HTTP port";
/// Pause after a failed accept.
const ACCEPT_PAUSE_MS: i64 = 100;

/// The HTTP port of one broker.
pub struct Http {
    node: Arc<Node>,
    places: Arc<Places>,
    lines: LogLimit,
}

impl Http {
    /// A port whose pages are about this node.
    pub fn new(node: Arc<Node>) -> Http {
        Http {
            node,
            places: Arc::default(),
            lines: LogLimit::default(),
        }
    }
}

/// Accepts until the broker stops.
pub async fn serve(listener: Arc<TcpListener>, http: Arc<Http>) {
    let node = &http.node;
    let mut stopping = node.state.subscribe();
    loop {
        tokio::select! {
            biased;
            () = reached(&mut stopping, |state| state == State::Stopped) => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => connected(stream, address, &http),
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
pub fn connected<T>(stream: T, address: SocketAddr, http: &Http)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let place = http.places.enter(http.node.clock.monotonic_ms());
    tokio::spawn(connection(stream, address, http.node.clone(), place));
}

async fn connection<T>(stream: T, address: SocketAddr, node: Arc<Node>, place: Place)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        place.asks(node.clock.monotonic_ms());
        let answer = answer(&request, &node);
        async move { Ok::<_, Infallible>(answer) }
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
    }
}

fn answer(request: &Request<Incoming>, node: &Node) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET is served here\n".into(),
        );
    }
    if !host::is_served(request, node) {
        let told = node.advertised_hosts();
        let names: String = told.iter().map(|name| format!(" or as {name}")).collect();
        let sentence = format!("not served by this name: ask by address, as localhost{names}\n");
        return text(StatusCode::MISDIRECTED_REQUEST, sentence);
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n".into()),
        "/readyz" => ready(node),
        "/metrics" => text(StatusCode::OK, metrics::render(node)),
        _ => text(
            StatusCode::NOT_FOUND,
            "no such page; there are /healthz, /readyz and /metrics\n".into(),
        ),
    }
}

/// Ready is who serves and has nothing that keeps failing.
fn ready(node: &Node) -> Response<Full<Bytes>> {
    let failing = node.health.failing();
    let serving = *node.state.borrow() == State::Serving;
    match (serving, failing.is_empty()) {
        (true, true) => text(StatusCode::OK, "ready\n".into()),
        (false, _) => text(StatusCode::SERVICE_UNAVAILABLE, "not serving\n".into()),
        (true, false) => {
            let sentence = format!("these fail: {}\n", failing.join(", "));
            text(StatusCode::SERVICE_UNAVAILABLE, sentence)
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        "content-type",
        hyper::header::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(
        "x-content-type-options",
        hyper::header::HeaderValue::from_static("nosniff"),
    );
    response
}
