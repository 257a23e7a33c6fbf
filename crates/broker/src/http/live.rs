//! What somebody looks at, told again whenever it has changed: one stream of server-sent events for all of a page. The
//! answers are those of the API, asked for by the broker itself, so that nothing is sent while nothing happens.

use super::answer::{Answer, with};
use super::ask::{Ask, Viewer};
use super::body::{Body, Pieces};
use super::problem::Problem;
use super::routes::Watched;
use crate::node::{State, reached};
use http_body_util::BodyExt;
use hyper::StatusCode;
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Answers that one stream watches.
const WATCHED_MAX: usize = 8;
/// Between two looks at what is to be told.
const LOOK_MS: i64 = 1_000;
/// An answer that takes long is told less often: of the time until the next look, one part in so many at most goes into it.
const PAUSE_FACTOR: i64 = 20;
/// A stream that has nothing to say says so after this long, so that both ends know of each other.
const QUIET_MS: i64 = 5_000;

/// The answers to `watch`, a list of paths with spaces between them, at once and whenever one has changed.
pub async fn events(ask: Ask) -> Result<Answer, Problem> {
    let asked = ask.query.text("watch").unwrap_or("/overview");
    let paths: Vec<&str> = asked.split(' ').filter(|path| !path.is_empty()).collect();
    if paths.len() > WATCHED_MAX {
        let sentence = format!("one stream watches {WATCHED_MAX} answers at most");
        return Err(Problem::bad(sentence));
    }
    let watched = paths.into_iter().map(|path| {
        Ok(Subject {
            name: path.to_owned(),
            watched: Watched::parse(path)?,
            due_ms: i64::MIN,
            told: None,
        })
    });
    let live = Live {
        viewer: ask.viewer(),
        subjects: watched.collect::<Result<_, Problem>>()?,
    };
    let (body, pieces) = Body::stream();
    tokio::spawn(live.run(pieces));
    Ok(with(StatusCode::OK, "text/event-stream", body))
}

struct Live {
    viewer: Viewer,
    subjects: Vec<Subject>,
}

/// One answer that is watched.
struct Subject {
    /// As it was asked for.
    name: String,
    watched: Watched,
    due_ms: i64,
    /// What was told last, as a number.
    told: Option<u64>,
}

impl Live {
    async fn run(mut self, pieces: Pieces) {
        let node = self.viewer.http.node().clone();
        let mut stopping = node.state.subscribe();
        let mut said_ms = node.clock.monotonic_ms();
        loop {
            let now_ms = node.clock.monotonic_ms();
            let mut news = String::new();
            for subject in &mut self.subjects {
                if now_ms >= subject.due_ms {
                    let begun_ms = node.clock.monotonic_ms();
                    subject.look(&self.viewer, &mut news).await;
                    let took_ms = node.clock.monotonic_ms().saturating_sub(begun_ms);
                    let pause_ms = took_ms.saturating_mul(PAUSE_FACTOR);
                    let every_ms = subject.watched.every_ms().max(pause_ms);
                    subject.due_ms = now_ms.saturating_add(every_ms);
                }
            }
            if news.is_empty() && now_ms.saturating_sub(said_ms) >= QUIET_MS {
                news.push_str(": nothing new\n\n");
            }
            if !news.is_empty() {
                said_ms = now_ms;
                if !pieces.send(news).await {
                    return;
                }
            }
            // Whoever has been logged out is told so by every answer, and by the end of them.
            if self.viewer.who().is_err() {
                return;
            }
            tokio::select! {
                biased;
                () = pieces.closed() => return,
                () = reached(&mut stopping, |state| state >= State::Stopping) => return,
                () = node.clock.sleep_until(now_ms.saturating_add(LOOK_MS)) => {}
            }
        }
    }
}

impl Subject {
    /// Asks, and tells what came of it unless that was told before.
    async fn look(&mut self, viewer: &Viewer, news: &mut String) {
        let answer = match self.watched.ask(viewer).await {
            Ok(answer) => answer,
            Err(problem) => problem.answer(),
        };
        let status = answer.status().as_u16();
        let Ok(body) = answer.into_body().collect().await else {
            return;
        };
        let body = body.to_bytes();
        let mut hasher = DefaultHasher::new();
        (status, &body).hash(&mut hasher);
        let told = Some(hasher.finish());
        let Some(body) = std::str::from_utf8(&body)
            .ok()
            .filter(|_| self.told != told)
        else {
            return;
        };
        self.told = told;
        if self.watched.tells_news()
            && let Ok(said) = serde_json::from_str::<Value>(body)
            && let Some(next) = said["next"].as_str()
        {
            self.watched.go_on(next);
        }
        let wall_ms = viewer.http.node().clock.now().wall_ms;
        let of = Value::from(self.name.as_str());
        news.push_str(&format!(
            "event: news\ndata: {{\"of\":{of},\"atMs\":\"{wall_ms}\",\"status\":{status},\"body\":{body}}}\n\n"
        ));
    }
}
