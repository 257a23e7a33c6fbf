//! PLAIN (RFC 4616): name and password in one message. With the words that Kafka has for what may be wrong.

use super::sasl::{Failure, Secrets};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use subtle::ConstantTimeEq;

/// Parts are counted up to here; what follows is not looked at.
const PARTS_MAX: usize = 4;

/// The user that one message logs in.
pub fn login(message: &[u8], secrets: &dyn Secrets) -> Result<String, Failure> {
    let message = String::from_utf8_lossy(message);
    let parts: Vec<&str> = message.split('\0').take(PARTS_MAX).collect();
    let [identity, user, password] = parts[..] else {
        return Err(Failure(format!(
            "Invalid SASL/PLAIN response: expected 3 tokens, got {}",
            parts.len()
        )));
    };
    if user.is_empty() {
        return failed("username not specified");
    }
    if password.is_empty() {
        return failed("password not specified");
    }
    if !secrets.is_password(user, password) {
        return failed("Invalid username or password");
    }
    if !identity.is_empty() && identity != user {
        return Err(Failure::other_identity());
    }
    Ok(user.to_owned())
}

/// The passwords of the users who log in by PLAIN, hashed, so that none is kept as it is.
#[derive(Clone, Default)]
pub struct Passwords(BTreeMap<Box<str>, [u8; 32]>);

impl std::fmt::Debug for Passwords {
    /// Without the passwords: this must be fit for a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Passwords {
    /// Whether nobody has one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives a user a password.
    pub fn set(&mut self, user: &str, password: &str) {
        self.0.insert(user.into(), digest(password));
    }

    /// Whether this is the user's password. A wrong one takes as long as a right one, and a user who is not there as
    /// long as one who is.
    pub fn is(&self, user: &str, password: &str) -> bool {
        let known = self.0.get(user);
        // Nothing is hashed to this.
        let expected = known.unwrap_or(&[0; 32]);
        let is_equal = digest(password).ct_eq(expected);
        bool::from(is_equal) && known.is_some()
    }
}

fn digest(password: &str) -> [u8; 32] {
    Sha256::digest(password.as_bytes()).into()
}

fn failed(why: &str) -> Result<String, Failure> {
    Err(Failure(format!("Authentication failed: {why}")))
}

#[cfg(test)]
mod tests {
    use super::super::bearer::Unfit;
    use super::*;
    use crate::security::sasl::Entrant;
    use crate::security::scram::{Credential, Strength};

    struct Alice;

    impl Secrets for Alice {
        fn is_password(&self, user: &str, password: &str) -> bool {
            (user, password) == ("alice", "secret")
        }

        fn scram(&self, _: Strength, _: &str) -> Option<Credential> {
            None
        }

        fn token(&self, _: Strength, _: &str) -> Option<(Credential, Entrant)> {
            None
        }

        fn bearer(&self, _: &str) -> Result<Entrant, Unfit> {
            Err(Unfit("there are no tokens here".to_owned()))
        }
    }

    #[test]
    fn a_password_is_its_users_alone_and_shown_to_nobody() {
        let mut passwords = Passwords::default();
        assert!(passwords.is_empty());
        passwords.set("alice", "secret");
        passwords.set("bob", "other");
        assert!(passwords.is("alice", "secret") && passwords.is("bob", "other"));
        assert!(!passwords.is("alice", "other") && !passwords.is("carol", "secret"));
        assert!(!passwords.is("alice", "") && !passwords.is("", ""));
        assert_eq!(format!("{passwords:?}"), "{\"alice\", \"bob\"}");
    }

    /// Attacks, row 35: time does not tell who is there. The quickest of several is compared, which nothing else on this
    /// machine makes quicker, and the password is so long that its hash is what takes time.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "time is what is measured")]
    fn a_user_who_is_not_there_takes_as_long_as_a_wrong_password() {
        let long = "x".repeat(1 << 18);
        let mut passwords = Passwords::default();
        passwords.set("alice", "secret");
        let quickest = |user: &str| {
            let times = (0..7).map(|_| {
                let begun = std::time::Instant::now();
                assert!(!passwords.is(user, &long));
                begun.elapsed()
            });
            times.min().expect("several")
        };
        let (known, unknown) = (quickest("alice"), quickest("nobody"));
        assert!(
            unknown * 2 > known && known * 2 > unknown,
            "{known:?} and {unknown:?}"
        );
    }

    #[test]
    fn name_and_password_let_in_and_everything_else_is_told_in_kafkas_words() {
        let told = |message: &[u8]| login(message, &Alice).map_err(|failure| failure.0);
        assert_eq!(told(b"\0alice\0secret"), Ok("alice".to_owned()));
        assert_eq!(told(b"alice\0alice\0secret"), Ok("alice".to_owned()));
        let wrong = [
            (
                &b"\0alice\0wrong"[..],
                "Authentication failed: Invalid username or password",
            ),
            (
                b"\0bob\0secret",
                "Authentication failed: Invalid username or password",
            ),
            (
                b"\0\0secret",
                "Authentication failed: username not specified",
            ),
            (
                b"\0alice\0",
                "Authentication failed: password not specified",
            ),
            (
                b"bob\0alice\0secret",
                "Authentication failed: Client requested an authorization id that is different from username",
            ),
            (
                b"alice",
                "Invalid SASL/PLAIN response: expected 3 tokens, got 1",
            ),
            (
                b"a\0b\0c\0d\0e",
                "Invalid SASL/PLAIN response: expected 3 tokens, got 4",
            ),
            (b"", "Invalid SASL/PLAIN response: expected 3 tokens, got 1"),
        ];
        for (message, words) in wrong {
            assert_eq!(told(message), Err(words.to_owned()));
        }
    }
}
