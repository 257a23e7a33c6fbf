//! A web server with keys, which can be exchanged and counted.

use super::common::World;
use super::scene::comes_in;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What takes longer will not come. Real time; reached only by tests that fail.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What it says to whoever asks.
#[derive(Clone)]
pub enum Answer {
    /// A status, further headers and a body.
    Text(u16, String, String),
    /// Nothing, for as long as the other end waits.
    Nothing,
}

/// What has happened so far.
#[derive(Default)]
struct Seen {
    /// Connections.
    came: usize,
    /// Connections that are still to be answered.
    open: usize,
    /// Paths that were asked for.
    asked: Vec<String>,
}

/// The server, on loopback.
pub struct Web {
    answer: Arc<Mutex<Answer>>,
    seen: Arc<Mutex<Seen>>,
    /// Where the keys are.
    pub url: String,
}

impl Web {
    /// With these keys and without TLS.
    pub async fn new(keys: String) -> Web {
        Web::with(keys, None).await
    }

    /// With these keys, and with TLS if somebody accepts it.
    pub async fn with(keys: String, tls: Option<TlsAcceptor>) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let web = Web {
            answer: Arc::new(Mutex::new(Answer::Text(200, String::new(), keys))),
            seen: Arc::default(),
            url: format!("{scheme}://localhost:{port}/keys"),
        };
        let (answer, seen) = (web.answer.clone(), web.seen.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                {
                    let mut seen = seen.lock().expect("seen");
                    seen.came += 1;
                    seen.open += 1;
                }
                let (answer, seen, tls) = (answer.clone(), seen.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => talk(stream, &answer, &seen).await,
                        // Whoever does not trust the certificate leaves.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                talk(stream, &answer, &seen).await;
                            }
                        }
                    }
                    seen.lock().expect("seen").open -= 1;
                });
            }
        });
        web
    }

    /// Answers so from now on.
    pub fn says(&self, status: u16, body: impl Into<String>) {
        self.answers(Answer::Text(status, String::new(), body.into()));
    }

    /// Answers so from now on.
    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().expect("an answer") = answer;
    }

    /// How often the keys were asked for.
    pub fn asked(&self) -> usize {
        self.paths().len()
    }

    /// What was asked for.
    pub fn paths(&self) -> Vec<String> {
        self.seen.lock().expect("seen").asked.clone()
    }

    /// How many connections came.
    pub fn came(&self) -> usize {
        self.seen.lock().expect("seen").came
    }

    /// Waits until nobody waits for an answer: time must not pass on the broker's clock while bytes are on their way.
    async fn quiet(&self) {
        while self.seen.lock().expect("seen").open > 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Answers one request.
async fn talk<T>(mut stream: T, answer: &Mutex<Answer>, seen: &Mutex<Seen>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = vec![0; 4096];
    let read = stream.read(&mut request).await.expect("a request");
    let text = String::from_utf8(request[..read].to_vec()).expect("text");
    let path = text
        .strip_prefix("GET ")
        .and_then(|rest| rest.split_once(" HTTP/1.1\r\n"));
    let (path, _) = path.expect("a request for something");
    seen.lock().expect("seen").asked.push(path.to_owned());
    let answer = answer.lock().expect("an answer").clone();
    match answer {
        Answer::Text(status, headers, body) => {
            let length = body.len();
            let text =
                format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}");
            // Whoever has read enough does not wait for the rest.
            let written = stream.write_all(text.as_bytes()).await;
            drop(written.and(stream.shutdown().await));
        }
        Answer::Nothing => {
            seen.lock().expect("seen").open -= 1;
            // Until the other end has had enough.
            drop(stream.read(&mut request).await);
            seen.lock().expect("seen").open += 1;
        }
    }
}

/// Tries until somebody comes in, or to no avail.
pub async fn comes_in_soon(world: &World, web: &Web, token: &str) {
    let trying = async {
        while comes_in(world, token).await.is_none() {
            tokio::task::yield_now().await;
            web.quiet().await;
        }
    };
    let tried = tokio::time::timeout(PATIENCE, trying);
    tried.await.expect("the token is good enough at last");
}

/// Lets time pass until the server has been come to once more.
pub async fn until_it_is_come_to(world: &World, web: &Web) {
    let before = web.came();
    let waiting = async {
        while web.came() == before {
            world.advance_ms(1_000).await;
            tokio::task::yield_now().await;
        }
        web.quiet().await;
    };
    let waited = tokio::time::timeout(PATIENCE, waiting);
    waited.await.expect("the keys are asked for again");
}
