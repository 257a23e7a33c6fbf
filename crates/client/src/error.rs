//! What can go wrong, told so that a person knows where, why and what to try.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustka_core::batch::BatchError;
use rustka_core::error::ErrorCode;
use rustka_wire::DecodeError;

/// A failure, and the broker it concerns.
#[derive(Clone, Debug)]
pub struct Error {
    /// The broker's address, where one is concerned.
    pub address: Option<Arc<str>>,
    /// What happened.
    pub reason: Reason,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Reason {
    /// No connection.
    Dial(Arc<io::Error>),
    /// The connection broke while this was going on.
    Broken {
        /// The request's name, or "sending".
        doing: &'static str,
        /// What the stream said.
        error: Arc<io::Error>,
    },
    /// The broker hung up while this was going on.
    HungUp {
        /// The request's name.
        doing: &'static str,
    },
    /// No answer in time.
    TimedOut {
        /// The request's name.
        doing: &'static str,
        /// How long it was waited for.
        limit_ms: i64,
    },
    /// What came back is of another protocol.
    NotKafka {
        /// What it looks like.
        looks_like: &'static str,
    },
    /// An answer longer than the caller takes.
    TooLong {
        /// The length it announces.
        bytes: usize,
        /// The longest that is taken.
        bytes_max: usize,
    },
    /// An answer that is not what it should be.
    Malformed {
        /// The request's name.
        doing: &'static str,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The broker does not speak a version that is needed.
    Unsupported {
        /// The request's name.
        doing: &'static str,
        /// The versions that would do.
        wanted: (i16, i16),
        /// The broker's, if it knows the request at all.
        offered: Option<(i16, i16)>,
    },
    /// The broker said no.
    Refused {
        /// What was asked for: the request's name, a topic, a group.
        about: String,
        /// Kafka's number for it.
        code: i16,
        /// What the broker said in words.
        message: Option<String>,
    },
    /// A batch of records that is not one.
    Batch(BatchError),
    /// The caller asked for what cannot be.
    Invalid(String),
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It cannot be read.
    Decode(DecodeError),
    /// So many bytes follow it.
    LeftOver(usize),
    /// It belongs to another request.
    Correlation {
        /// The request's number.
        expected: i32,
        /// The answer's.
        found: i32,
    },
    /// Nothing was asked.
    Unasked,
    /// It leaves out what was asked for.
    Missing,
    /// Its records are not what their checksum says.
    Checksum,
}

/// What everything here returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The same failure at this address, unless it has one.
    pub(crate) fn at(mut self, address: &Arc<str>) -> Error {
        self.address.get_or_insert_with(|| address.clone());
        self
    }

    /// The code that the broker answered with.
    pub fn code(&self) -> Option<ErrorCode> {
        match &self.reason {
            Reason::Refused { code, .. } => {
                Some(ErrorCode::from_code(*code).unwrap_or(ErrorCode::UnknownServerError))
            }
            _ => None,
        }
    }

    /// Whether to ask again may help, perhaps of another broker.
    pub fn is_retriable(&self) -> bool {
        match &self.reason {
            Reason::Dial(_) | Reason::Broken { .. } | Reason::HungUp { .. } => true,
            Reason::Refused { .. } => self.code().is_some_and(ErrorCode::is_retriable),
            _ => false,
        }
    }
}

impl From<Reason> for Error {
    fn from(reason: Reason) -> Error {
        Error {
            address: None,
            reason,
        }
    }
}

impl From<BatchError> for Error {
    fn from(error: BatchError) -> Error {
        Reason::Batch(error).into()
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = &self.address {
            write!(f, "{address}: ")?;
        }
        self.reason.fmt(f)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Dial(error) => {
                write!(f, "cannot connect: {error}; is a broker listening there?")
            }
            Reason::Broken { doing, error } => {
                write!(f, "the connection broke during {doing}: {error}")
            }
            Reason::HungUp { doing } => write!(
                f,
                "the broker hung up during {doing}; it may want TLS or a login, or not know the request: its log tells"
            ),
            Reason::TimedOut { doing, limit_ms } => write!(
                f,
                "no answer to {doing} within {limit_ms} ms; is the broker busy, or the time too short?"
            ),
            Reason::NotKafka { looks_like } => write!(
                f,
                "this is no Kafka listener, it answers like {looks_like}; is the port right?"
            ),
            Reason::TooLong { bytes, bytes_max } => {
                write!(
                    f,
                    "an answer of {bytes} bytes is more than the {bytes_max} that are taken"
                )
            }
            Reason::Malformed { doing, problem } => {
                write!(f, "the answer to {doing} is malformed: {problem}")
            }
            Reason::Unsupported {
                doing,
                wanted: (low, high),
                offered: None,
            } => write!(
                f,
                "the broker does not know {doing}, of which version {low} to {high} is needed"
            ),
            Reason::Unsupported {
                doing,
                wanted: (low, high),
                offered: Some((from, to)),
            } => write!(
                f,
                "the broker speaks {doing} in versions {from} to {to}, but {low} to {high} is needed"
            ),
            Reason::Refused {
                about,
                code,
                message,
            } => {
                match ErrorCode::from_code(*code) {
                    Some(known) => write!(f, "{about}: {}", known.name())?,
                    None => write!(f, "{about}: error {code}")?,
                }
                match message {
                    Some(message) => write!(f, ": {message}"),
                    None => Ok(()),
                }
            }
            Reason::Batch(error) => write!(f, "a batch of records is malformed: {error}"),
            Reason::Invalid(sentence) => f.write_str(sentence),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Decode(error) => error.fmt(f),
            Problem::LeftOver(bytes) => write!(f, "{bytes} bytes are left over"),
            Problem::Correlation { expected, found } => {
                write!(f, "it has the number {found}, not {expected}")
            }
            Problem::Unasked => f.write_str("nothing was asked"),
            Problem::Checksum => f.write_str("its records do not have their checksum"),
            Problem::Missing => f.write_str("it leaves out what was asked for"),
        }
    }
}
