//! What went wrong, for programs (RFC 9457) and in a sentence for people.

use super::answer::{Answer, with};
use hyper::StatusCode;
use rustka_client::{Error, Reason};
use rustka_core::error::ErrorCode;
use serde_json::json;

/// Why a request is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// HTTP's number for it.
    pub status: StatusCode,
    /// A sentence.
    pub detail: String,
    /// Kafka's name for it, where it comes from there.
    pub code: Option<&'static str>,
}

impl Problem {
    /// A problem in our own words.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            detail: detail.into(),
            code: None,
        }
    }

    /// What was asked for makes no sense.
    pub fn bad(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// What it is about does not exist.
    pub fn missing(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// Not by whoever asks.
    pub fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, detail)
    }

    /// As an answer.
    pub fn answer(&self) -> Answer {
        let title = self.status.canonical_reason().unwrap_or("Problem");
        let mut body = json!({
            "type": "about:blank",
            "title": title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(code) = self.code {
            body["code"] = code.into();
        }
        with(self.status, "application/problem+json", body.to_string())
    }
}

impl From<ErrorCode> for Problem {
    fn from(code: ErrorCode) -> Problem {
        Problem {
            status: status_of(code),
            detail: code.name().to_owned(),
            code: Some(code.name()),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let code = error.code();
        let status = match (&error.reason, code) {
            (_, Some(code)) => status_of(code),
            (Reason::Invalid(_), _) => StatusCode::BAD_REQUEST,
            // Our own connection to ourselves ends only when the broker does.
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let detail = match &error.reason {
            Reason::Refused {
                about,
                message: Some(message),
                ..
            } => format!("{about}: {message}"),
            reason => reason.to_string(),
        };
        Problem {
            status,
            detail,
            code: code.map(ErrorCode::name),
        }
    }
}

fn status_of(code: ErrorCode) -> StatusCode {
    use ErrorCode::*;
    match code {
        UnknownTopicOrPartition
        | UnknownTopicId
        | GroupIdNotFound
        | ResourceNotFound
        | TransactionalIdNotFound
        | UnknownMemberId => StatusCode::NOT_FOUND,
        TopicAlreadyExists | NonEmptyGroup | GroupSubscribedToTopic | DuplicateResource => {
            StatusCode::CONFLICT
        }
        TopicAuthorizationFailed
        | GroupAuthorizationFailed
        | ClusterAuthorizationFailed
        | TransactionalIdAuthorizationFailed => StatusCode::FORBIDDEN,
        MessageTooLarge | RecordListTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        KafkaStorageError
        | CoordinatorNotAvailable
        | CoordinatorLoadInProgress
        | NotCoordinator
        | LeaderNotAvailable
        | NotLeaderOrFollower
        | RequestTimedOut => StatusCode::SERVICE_UNAVAILABLE,
        UnknownServerError => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}
