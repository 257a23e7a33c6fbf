//! How a command fails, and the exit code that says so to scripts.

use std::fmt;
use std::io;

use rustka_client::error::Reason;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// The arguments, or a file that they name, make no sense.
    Usage(String),
    /// The broker said no, or an answer cannot be used.
    Refused(String),
    /// No broker can be reached.
    Unreachable(String),
    /// Nobody reads the output any more, so that there is nothing left to do.
    Unread,
}

impl Failure {
    /// What scripts see: sysexits' EX_UNAVAILABLE where there is no broker.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Refused(_) => 1,
            Failure::Unreachable(_) => 69,
            Failure::Unread => 0,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(text) | Failure::Refused(text) | Failure::Unreachable(text) => {
                f.write_str(text)
            }
            Failure::Unread => f.write_str("nobody reads the output"),
        }
    }
}

impl From<rustka_client::Error> for Failure {
    fn from(error: rustka_client::Error) -> Failure {
        match error.reason {
            Reason::Dial(_)
            | Reason::Broken { .. }
            | Reason::HungUp { .. }
            | Reason::TimedOut { .. }
            | Reason::NotKafka { .. } => Failure::Unreachable(error.to_string()),
            Reason::Invalid(sentence) => Failure::Usage(sentence),
            _ => Failure::Refused(error.to_string()),
        }
    }
}

/// An error of the output; of input it is told with the file's name.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Unread,
            _ => Failure::Refused(format!("cannot write the output: {error}")),
        }
    }
}
