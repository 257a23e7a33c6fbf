//! Answers and the headers that all of them have.

use super::body::Body;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;

/// What goes back to a browser.
pub type Answer = Response<Body>;

/// Nothing from elsewhere, nothing inline, nowhere embedded.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

const ALWAYS: [(&str, &str); 5] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// An answer of this type.
pub fn with(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in ALWAYS {
        set(headers, name, value);
    }
    set(headers, "content-type", content_type);
    set(headers, "cache-control", "no-store");
    answer
}

/// Plain text.
pub fn text(status: StatusCode, body: String) -> Answer {
    with(status, "text/plain; charset=utf-8", body)
}

/// JSON.
pub fn json(value: &Value) -> Answer {
    with(StatusCode::OK, "application/json", value.to_string())
}

/// JSON of something that is there from now on.
pub fn created(value: &Value) -> Answer {
    with(StatusCode::CREATED, "application/json", value.to_string())
}

/// It is done, and there is nothing more to say.
pub fn done() -> Answer {
    let mut answer = with(
        StatusCode::NO_CONTENT,
        "application/json",
        Body::Whole(None),
    );
    answer.headers_mut().remove("content-type");
    answer
}

/// Sets a header that is ours.
pub fn set(headers: &mut HeaderMap, name: &'static str, value: &'static str) {
    headers.insert(
        HeaderName::from_static(name),
        HeaderValue::from_static(value),
    );
}
