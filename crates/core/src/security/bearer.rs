//! OAUTHBEARER (RFC 7628): a token in the first message says who is there. Tokens are JSON Web Tokens, signed by somebody
//! whose keys are known, or, where that is asked for by name, by nobody.

mod keys;
mod token;

pub use keys::{Key, KeySet};
pub use token::{Claims, Rules, Unfit, key_id};

use super::sasl::{Entrant, Failure, Mechanism, Secrets, Step};

/// What a client is told whose token is not good enough; it answers with one byte and is told once more.
const INVALID: &str = "{\"status\":\"invalid_token\"}";
/// Stands between the parts of a message, and alone in that answer.
const SEPARATOR: char = '\u{1}';

/// A login under way.
#[derive(Debug, Default)]
pub struct BearerExchange {
    is_refused: bool,
}

impl BearerExchange {
    /// Takes the client's next message.
    pub fn step(&mut self, message: &[u8], secrets: &dyn Secrets) -> Result<Step, Failure> {
        if self.is_refused && message == [SEPARATOR as u8] {
            return Err(Failure(INVALID.to_owned()));
        }
        self.is_refused = false;
        let asked = std::str::from_utf8(message).ok().and_then(Asked::parse);
        let asked = asked.ok_or_else(|| Failure::of(Mechanism::Bearer))?;
        let Ok(entrant) = secrets.bearer(asked.token) else {
            self.is_refused = true;
            return Ok(Step::Continue(INVALID.as_bytes().to_vec()));
        };
        let name = entrant.principal.strip_prefix("User:").unwrap_or_default();
        if !asked.identity.is_empty() && asked.identity != name {
            return Err(Failure(format!(
                "Authentication failed: Client requested an authorization id ({}) that is different from the token's principal name ({name})",
                asked.identity
            )));
        }
        Ok(Step::Done(Vec::new(), entrant))
    }
}

/// What the first message says.
struct Asked<'a> {
    identity: &'a str,
    token: &'a str,
}

impl<'a> Asked<'a> {
    /// Reads `n,a=IDENTITY,` and, between separators, `auth=Bearer TOKEN` and extensions, of which each has a name of letters.
    fn parse(text: &'a str) -> Option<Asked<'a>> {
        let (header, rest) = text.split_once(SEPARATOR)?;
        let header = header.strip_prefix("n,")?.strip_suffix(',')?;
        let identity = match header {
            "" => "",
            named => named
                .strip_prefix("a=")
                .filter(|name| !name.contains(','))?,
        };
        let pairs = rest.strip_suffix(SEPARATOR)?.strip_suffix(SEPARATOR)?;
        let mut token = None;
        for pair in pairs.split(SEPARATOR) {
            let (key, value) = pair.split_once('=')?;
            if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                return None;
            }
            if key == "auth" {
                let (scheme, given) = value.split_once(' ')?;
                token = scheme
                    .eq_ignore_ascii_case("bearer")
                    .then_some(given.trim());
            }
        }
        let token = token.filter(|token| !token.is_empty())?;
        Some(Asked { identity, token })
    }
}

/// Makes somebody who comes in of a token's claims.
pub fn entrant(claims: &Claims) -> Entrant {
    Entrant {
        expires_ms: Some(claims.expires_ms),
        ..Entrant::user(&claims.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::super::scram::{Credential, Strength};
    use super::*;

    /// Lets in whoever shows a token that is its own name.
    struct Names;

    impl Secrets for Names {
        fn is_password(&self, _: &str, _: &str) -> bool {
            false
        }

        fn scram(&self, _: Strength, _: &str) -> Option<Credential> {
            None
        }

        fn token(&self, _: Strength, _: &str) -> Option<(Credential, Entrant)> {
            None
        }

        fn bearer(&self, token: &str) -> Result<Entrant, Unfit> {
            match token {
                "bad" => Err(Unfit("it is bad".to_owned())),
                name => Ok(Entrant::user(name)),
            }
        }
    }

    fn step(message: &str) -> Result<Step, Failure> {
        BearerExchange::default().step(message.as_bytes(), &Names)
    }

    #[test]
    fn a_token_says_who_comes_in() {
        let done = |name: &str| Ok(Step::Done(Vec::new(), Entrant::user(name)));
        assert_eq!(step("n,,\u{1}auth=Bearer alice\u{1}\u{1}"), done("alice"));
        let more = "n,a=alice,\u{1}traceId=7\u{1}auth=bearer alice\u{1}\u{1}";
        assert_eq!(step(more), done("alice"));
    }

    #[test]
    fn a_token_that_is_not_good_enough_is_refused_in_two_steps() {
        let mut exchange = BearerExchange::default();
        let bad = b"n,,\x01auth=Bearer bad\x01\x01";
        let told = Ok(Step::Continue(INVALID.as_bytes().to_vec()));
        assert_eq!(exchange.step(bad, &Names), told);
        let end = Err(Failure(INVALID.to_owned()));
        assert_eq!(exchange.step(b"\x01", &Names), end);
        assert_eq!(exchange.step(bad, &Names), told);
        let good = b"n,,\x01auth=Bearer alice\x01\x01";
        assert!(matches!(exchange.step(good, &Names), Ok(Step::Done(..))));
    }

    #[test]
    fn whoever_asks_for_another_name_or_in_other_words_is_refused() {
        let other = step("n,a=bob,\u{1}auth=Bearer alice\u{1}\u{1}").unwrap_err();
        assert_eq!(
            other.0,
            "Authentication failed: Client requested an authorization id (bob) that is different from the token's principal name (alice)"
        );
        for wrong in [
            "",
            "\u{1}",
            "n,,\u{1}auth=Bearer alice\u{1}",
            "y,,\u{1}auth=Bearer alice\u{1}\u{1}",
            "n,,\u{1}auth=Basic alice\u{1}\u{1}",
            "n,,\u{1}auth=Bearer \u{1}\u{1}",
            "n,,\u{1}a b=c\u{1}auth=Bearer alice\u{1}\u{1}",
            "n,,\u{1}\u{1}",
        ] {
            assert_eq!(
                step(wrong),
                Err(Failure::of(Mechanism::Bearer)),
                "{wrong:?}"
            );
        }
        let bytes = BearerExchange::default().step(b"n,,\x01auth=Bearer \xff\x01\x01", &Names);
        assert_eq!(bytes, Err(Failure::of(Mechanism::Bearer)));
    }
}
