//! Who is looking: logging in, showing the token, and what one may do.

use crate::base::hooks::Event;
use crate::http::answer::{Answer, done, json};
use crate::http::ask::Ask;
use crate::http::guard::{self, COOKIE_NAME, failure_delay_ms};
use crate::http::problem::Problem;
use hyper::StatusCode;
use serde_json::{Value, json};
use std::sync::atomic::Ordering::Relaxed;

/// Who asks, what they may do, and what the page has to ask for.
pub async fn show(ask: Ask) -> Result<Answer, Problem> {
    Ok(json(&state(&ask)))
}

fn state(ask: &Ask) -> Value {
    let guard = &ask.http.guard;
    let is_in = !ask.who.principal.is_empty();
    json!({
        "principal": is_in.then_some(&ask.who.principal),
        "readOnly": ask.who.read_only,
        "hasLogins": guard.has_logins(),
        "hasToken": guard.has_token(),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// Logs in with a user of the broker, or shows the token where there are no logins.
pub async fn begin(ask: Ask) -> Result<Answer, Problem> {
    let mut fields = ask.fields()?;
    let token = fields.text("token")?;
    let (user, password) = (fields.text("user")?, fields.text("password")?);
    fields.end()?;
    let guard = &ask.http.guard;
    let login = match (token, user, password) {
        (Some(token), None, None) if !guard.has_logins() => match guard.is_token(&token) {
            true => None,
            false => return Err(failed(&ask, "that is not the token").await),
        },
        (None, Some(user), Some(password)) if guard.has_logins() => {
            let node = ask.node().clone();
            // Hashing takes milliseconds, and others have requests here.
            let checking =
                tokio::task::spawn_blocking(move || guard::login(&node, &user, &password));
            match checking.await {
                Ok(Some(login)) => Some(login),
                _ => return Err(failed(&ask, "no such user with this password").await),
            }
        }
        _ if guard.has_logins() => return Err(Problem::bad("send user and password")),
        _ => return Err(Problem::bad("send the token")),
    };
    let cookie = guard.begin(login, ask.node().clock.monotonic_ms());
    let mut answer = done();
    if let Ok(cookie) = cookie.parse() {
        answer.headers_mut().insert("set-cookie", cookie);
    }
    Ok(answer)
}

async fn failed(ask: &Ask, why: &str) -> Problem {
    let node = ask.node();
    node.metrics.logins_failed.fetch_add(1, Relaxed);
    node.hooks.saw(|| Event::LoginFailed(why));
    let delay_ms = failure_delay_ms(node).max(100);
    node.clock
        .sleep_until(node.clock.monotonic_ms().saturating_add(delay_ms))
        .await;
    Problem::new(StatusCode::UNAUTHORIZED, why)
}

/// Ends the session.
pub async fn end(ask: Ask) -> Result<Answer, Problem> {
    ask.http.guard.end(&ask.headers);
    let mut answer = done();
    let attributes = ask.http.guard.cookie_attributes();
    let gone = format!("{COOKIE_NAME}={attributes}; Max-Age=0");
    if let Ok(cookie) = gone.parse() {
        answer.headers_mut().insert("set-cookie", cookie);
    }
    Ok(answer)
}
