//! The HTTP port: health, readiness, metrics. Its clients cost little whatever they do: there are few of them at a time,
//! and each has a while for its next request, from its first byte to the last one of the answer.

use crate::broker::{Shared, State, reached};
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

/// Who is connected.
pub struct Http {
    places: Arc<Semaphore>,
}

impl Default for Http {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Http { places }
    }
}

/// Accepts until the broker stops.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut stopping = shared.state.subscribe();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => connected(stream, address, &shared),
                Err(error) => {
                    tracing::warn!(target: "rustka::http", "cannot accept an HTTP connection: {error}");
                    let until_ms = shared.clock.monotonic_ms() + ACCEPT_PAUSE_MS;
                    shared.clock.sleep_until(until_ms).await;
                }
            },
            () = reached(&mut stopping, |state| state == State::Stopped) => return,
        }
    }
}

/// Serves a connection in a task of its own, unless there are too many.
pub fn connected<T>(stream: T, address: SocketAddr, shared: &Arc<Shared>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match shared.http.places.clone().try_acquire_owned() {
        Ok(place) => drop(tokio::spawn(connection(stream, shared.clone(), place))),
        Err(_) => {
            let now_ms = shared.clock.monotonic_ms();
            let reason = format!("{CONNECTIONS_MAX} HTTP connections are open already");
            shared.metrics.connection_closed(address, &reason, now_ms);
        }
    }
}

async fn connection<T>(stream: T, shared: Arc<Shared>, _place: OwnedSemaphorePermit)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let due_ms = AtomicI64::new(shared.clock.monotonic_ms() + REQUEST_MS);
    let service = service_fn(|request: Request<Incoming>| {
        due_ms.store(shared.clock.monotonic_ms() + REQUEST_MS, Relaxed);
        let answer = answer(&request, &shared);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let overdue = async {
        loop {
            let until_ms = due_ms.load(Relaxed);
            shared.clock.sleep_until(until_ms).await;
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

fn answer(request: &Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET is served here\n".into(),
        );
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n".into()),
        "/readyz" if *shared.state.borrow() == State::Serving => {
            text(StatusCode::OK, "ready\n".into())
        }
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not serving\n".into()),
        "/metrics" => text(StatusCode::OK, shared.metrics.render(&shared.memory)),
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
