//! Logging in by name and password: PLAIN and SCRAM (RFC 4616, RFC 5802).

use rustka_core::security::scram::{Strength, proof};
use rustka_wire::sasl_authenticate_request::SaslAuthenticateRequest;
use rustka_wire::sasl_handshake_request::SaslHandshakeRequest;

use crate::cluster::check;
use crate::connection::Connection;
use crate::dial::{BoxFuture, BoxStream, Login};
use crate::error::{Reason, Result};

/// How a password is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordMechanism {
    /// The password itself is sent.
    Plain,
    /// The broker is shown that the client knows the password, without its being sent.
    Scram(Strength),
}

impl PasswordMechanism {
    /// The mechanism that Kafka calls so.
    pub fn named(name: &str) -> Option<PasswordMechanism> {
        let all = [
            PasswordMechanism::Plain,
            PasswordMechanism::Scram(Strength::Sha256),
            PasswordMechanism::Scram(Strength::Sha512),
        ];
        all.into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            PasswordMechanism::Plain => "PLAIN",
            PasswordMechanism::Scram(strength) => strength.mechanism(),
        }
    }
}

/// Logs in by name and password.
pub struct PasswordLogin {
    mechanism: PasswordMechanism,
    user: String,
    password: String,
    /// Makes what is used once: letters and digits that nobody can guess.
    nonce: Box<dyn Fn() -> String + Send + Sync>,
}

impl PasswordLogin {
    /// A login of this user. `nonce` is called once per connection, for letters and digits that nobody can guess.
    pub fn new(
        mechanism: PasswordMechanism,
        user: impl Into<String>,
        password: impl Into<String>,
        nonce: impl Fn() -> String + Send + Sync + 'static,
    ) -> PasswordLogin {
        PasswordLogin {
            mechanism,
            user: user.into(),
            password: password.into(),
            nonce: Box::new(nonce),
        }
    }

    async fn scram(
        &self,
        strength: Strength,
        connection: &mut Connection<BoxStream>,
    ) -> Result<()> {
        let user = self.user.replace('=', "=3D").replace(',', "=2C");
        let nonce = (self.nonce)();
        let first = format!("n={user},r={nonce}");
        let told = say(connection, format!("n,,{first}").into_bytes()).await?;
        let told = String::from_utf8_lossy(&told);
        // Without this anybody could answer with what was said to somebody else.
        let is_ours = told.starts_with(&format!("r={nonce}"));
        let last = proof(strength, &self.password, &first, &told).filter(|_| is_ours);
        let last = last.ok_or_else(|| {
            Reason::Invalid("the broker's part of the login makes no sense".to_owned())
        })?;
        say(connection, last).await.map(drop)
    }
}

impl Login for PasswordLogin {
    fn login<'a>(&'a self, connection: &'a mut Connection<BoxStream>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let handshake = SaslHandshakeRequest {
                mechanism: self.mechanism.name().into(),
            };
            let answer = connection.call(&handshake).await?;
            let told = answer.body()?;
            let offered = format!("The broker offers {}.", told.mechanisms.join(", "));
            check("SaslHandshake", told.error_code, Some(&offered))?;
            match self.mechanism {
                PasswordMechanism::Scram(strength) => self.scram(strength, connection).await,
                PasswordMechanism::Plain => {
                    let message = format!("\0{}\0{}", self.user, self.password);
                    say(connection, message.into_bytes()).await.map(drop)
                }
            }
        })
    }
}

async fn say(connection: &mut Connection<BoxStream>, message: Vec<u8>) -> Result<Vec<u8>> {
    let request = SaslAuthenticateRequest {
        auth_bytes: message.into(),
    };
    let answer = connection.call(&request).await?;
    let told = answer.body()?;
    check("login", told.error_code, told.error_message.as_deref())?;
    Ok(told.auth_bytes.into_owned())
}
