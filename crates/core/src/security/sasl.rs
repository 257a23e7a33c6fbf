//! One login by SASL: which mechanism, what it is told, who came in. The messages around it are the caller's.

use super::bearer::{BearerExchange, Unfit};
use super::plain;
use super::scram::{self, ScramExchange};
use std::fmt;

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    /// The password itself (RFC 4616).
    Plain,
    /// A proof of the password (RFC 5802, 7677).
    Scram(scram::Strength),
    /// A token that somebody else has made (RFC 7628).
    Bearer,
}

impl Mechanism {
    /// All that are understood.
    pub const ALL: [Mechanism; 4] = [
        Mechanism::Plain,
        Mechanism::Scram(scram::Strength::Sha256),
        Mechanism::Scram(scram::Strength::Sha512),
        Mechanism::Bearer,
    ];

    /// Those for which a name and a password are enough.
    pub const BY_PASSWORD: [Mechanism; 3] = [
        Mechanism::Plain,
        Mechanism::Scram(scram::Strength::Sha256),
        Mechanism::Scram(scram::Strength::Sha512),
    ];

    /// The mechanism of this name, which is in capitals.
    pub fn named(name: &str) -> Option<Mechanism> {
        Mechanism::ALL
            .into_iter()
            .find(|mechanism| mechanism.name() == name)
    }

    /// As it stands in `sasl.enabled.mechanisms`.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Scram(strength) => strength.mechanism(),
            Mechanism::Bearer => "OAUTHBEARER",
        }
    }
}

/// Where the secrets are that logins are compared with.
pub trait Secrets {
    /// Whether this is the user's password, found out in the same time whatever is wrong with it.
    fn is_password(&self, user: &str, password: &str) -> bool;

    /// What is kept of a user's password for SCRAM.
    fn scram(&self, strength: scram::Strength, user: &str) -> Option<scram::Credential>;

    /// What is kept of a delegation token's secret, and who logs in with it.
    fn token(&self, strength: scram::Strength, id: &str) -> Option<(scram::Credential, Entrant)>;

    /// Who comes in with a token that somebody else has made.
    fn bearer(&self, token: &str) -> Result<Entrant, Unfit>;
}

/// Somebody who comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrant {
    /// Such as `User:alice`.
    pub principal: String,
    /// When the secret ends that was shown, in milliseconds since the Unix epoch, if it does.
    pub expires_ms: Option<i64>,
    /// Whether it was a delegation token: with one nobody gets another.
    pub by_token: bool,
}

impl Entrant {
    /// A user, for as long as it likes.
    pub fn user(name: &str) -> Entrant {
        Entrant {
            principal: format!("User:{name}"),
            expires_ms: None,
            by_token: false,
        }
    }
}

/// Why a login fails, in the words that the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl Failure {
    /// Nothing is told but that it failed.
    pub fn of(mechanism: Mechanism) -> Failure {
        Failure(format!(
            "Authentication failed during authentication due to invalid credentials with SASL mechanism {}",
            mechanism.name()
        ))
    }

    /// Kafka lets nobody act for somebody else.
    pub fn other_identity() -> Failure {
        Failure(
            "Authentication failed: Client requested an authorization id that is different from username"
                .to_owned(),
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a message of the client leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// This is the answer, and more is to come.
    Continue(Vec<u8>),
    /// This is the answer, and somebody is in.
    Done(Vec<u8>, Entrant),
}

/// A login under way.
pub struct Exchange {
    mechanism: Mechanism,
    kind: Kind,
}

enum Kind {
    Plain,
    Scram(Box<ScramExchange>),
    Bearer(BearerExchange),
}

impl Exchange {
    /// Begins one. `nonce` is for SCRAM, printable and never used before.
    pub fn new(mechanism: Mechanism, nonce: &str) -> Exchange {
        let kind = match mechanism {
            Mechanism::Plain => Kind::Plain,
            Mechanism::Scram(strength) => {
                Kind::Scram(Box::new(ScramExchange::new(strength, nonce)))
            }
            Mechanism::Bearer => Kind::Bearer(BearerExchange::default()),
        };
        Exchange { mechanism, kind }
    }

    /// The mechanism that was chosen.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Takes the client's next message.
    pub fn step(&mut self, message: &[u8], secrets: &dyn Secrets) -> Result<Step, Failure> {
        match &mut self.kind {
            Kind::Scram(scram) => scram.step(message, secrets),
            Kind::Bearer(bearer) => bearer.step(message, secrets),
            Kind::Plain => plain::login(message, secrets)
                .map(|user| Step::Done(Vec::new(), Entrant::user(&user))),
        }
    }
}
