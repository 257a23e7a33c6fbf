//! The HTTP port: health, readiness, metrics. Its clients cost little whatever they do: there are few of them at a time,
//! and each has a while for its next request, from its first byte to the last one of the answer.

mod metrics;

use crate::node::{Node, State, reached};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections served at a time; the next one is closed at once.
pub const CONNECTIONS_MAX: usize = 64;
/// A connection on which no request was completed for this long is closed.
pub const REQUEST_MS: i64 = 15_000;
/// The largest header of a request.
pub const HEADER_BYTES_MAX: usize = 16 << 10;
/// Pause after a failed accept.
const ACCEPT_PAUSE_MS: i64 = 100;

/// The HTTP port of one broker.
pub struct Http {
    node: Arc<Node>,
    places: Arc<Semaphore>,
}

impl Http {
    /// A port whose pages are about this node.
    pub fn new(node: Arc<Node>) -> Http {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Http { node, places }
    }
}

/// Accepts until the broker stops.
pub async fn serve(listener: TcpListener, http: Arc<Http>) {
    let node = &http.node;
    let mut stopping = node.state.subscribe();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => connected(stream, address, &http),
                Err(error) => {
                    tracing::warn!(target: "rustka::http", "cannot accept an HTTP connection: {error}");
                    let until_ms = node.clock.monotonic_ms() + ACCEPT_PAUSE_MS;
                    node.clock.sleep_until(until_ms).await;
                }
            },
            () = reached(&mut stopping, |state| state == State::Stopped) => return,
        }
    }
}

/// Serves a connection in a task of its own, unless there are too many.
pub fn connected<T>(stream: T, address: SocketAddr, http: &Http)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let node = &http.node;
    match http.places.clone().try_acquire_owned() {
        Ok(place) => drop(tokio::spawn(connection(stream, node.clone(), place))),
        Err(_) => {
            let now_ms = node.clock.monotonic_ms();
            let reason = format!("{CONNECTIONS_MAX} HTTP connections are open already");
            node.metrics.connection_closed(address, &reason, now_ms);
        }
    }
}

async fn connection<T>(stream: T, node: Arc<Node>, _place: OwnedSemaphorePermit)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let due_ms = AtomicI64::new(node.clock.monotonic_ms() + REQUEST_MS);
    let service = service_fn(|request: Request<Incoming>| {
        due_ms.store(node.clock.monotonic_ms() + REQUEST_MS, Relaxed);
        let answer = answer(&request, &node);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let overdue = async {
        loop {
            let until_ms = due_ms.load(Relaxed);
            node.clock.sleep_until(until_ms).await;
            if due_ms.load(Relaxed) == until_ms {
                return;
            }
        }
    };
    tokio::select! {
        served = served => {
            if let Err(error) = served {
                tracing::debug!(target: "rustka::http", "HTTP connection ended: {error}");
            }
        }
        () = overdue => tracing::debug!(target: "rustka::http", "HTTP connection closed: no request for {REQUEST_MS} ms"),
    }
}

fn answer(request: &Request<Incoming>, node: &Node) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET is served here\n".into(),
        );
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n".into()),
        "/readyz" if *node.state.borrow() == State::Serving => {
            text(StatusCode::OK, "ready\n".into())
        }
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not serving\n".into()),
        "/metrics" => text(StatusCode::OK, metrics::render(node)),
        _ => text(
            StatusCode::NOT_FOUND,
            "no such page; there are /healthz, /readyz and /metrics\n".into(),
        ),
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
