//! Delegation tokens (KIP-48): secrets with which somebody logs in as their owner, for a time.

use super::scram::{Credential, ITERATIONS_MIN, Strength};
use crate::error::ErrorCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tokens there may be.
pub const TOKENS_MAX: usize = 100_000;
/// Renewers of one token.
pub const RENEWERS_MAX: usize = 1_000;
/// Bytes of the names of one token's people, together.
pub const NAMES_BYTES_MAX: usize = 64 << 10;

/// How long tokens live, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLives {
    /// Until they have to be renewed (`delegation.token.expiry.time.ms`).
    pub renewal_ms: i64,
    /// In all (`delegation.token.max.lifetime.ms`).
    pub whole_ms: i64,
}

/// One token. Its secret is made from its id and a key that only brokers know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its id, which is the name for a login by it.
    pub id: Box<str>,
    /// Who logs in with it, such as `User:alice`.
    pub owner: Box<str>,
    /// Who had it made.
    pub requester: Box<str>,
    /// Who else may prolong and end it.
    pub renewers: Vec<Box<str>>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub issued_ms: i64,
    /// When it ends unless it is renewed.
    pub expires_ms: i64,
    /// When it ends whatever is done.
    pub ends_ms: i64,
}

/// What a new token is to be.
#[derive(Clone, Debug)]
pub struct CreateToken {
    /// A random id for it.
    pub id: Box<str>,
    /// See [`Token`].
    pub owner: Box<str>,
    /// See [`Token`].
    pub requester: Box<str>,
    /// See [`Token`].
    pub renewers: Vec<Box<str>>,
    /// How long it may live; not above zero for as long as any.
    pub lifetime_ms: i64,
    /// The rules.
    pub lives: TokenLives,
    /// The wall clock's time.
    pub now_ms: i64,
}

/// What is to become of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prolonging {
    /// It lives on for so long from now; not above zero for as long as any.
    Renew(i64),
    /// It ends after so long; below zero now.
    Expire(i64),
}

impl Token {
    /// The token that is asked for.
    pub fn new(asked: CreateToken) -> Token {
        let CreateToken { lives, now_ms, .. } = asked;
        let whole_ms = match asked.lifetime_ms {
            ..=0 => lives.whole_ms,
            lifetime_ms => lifetime_ms.min(lives.whole_ms),
        };
        let ends_ms = now_ms.saturating_add(whole_ms);
        Token {
            id: asked.id,
            owner: asked.owner,
            requester: asked.requester,
            renewers: asked.renewers,
            issued_ms: now_ms,
            expires_ms: now_ms.saturating_add(lives.renewal_ms).min(ends_ms),
            ends_ms,
        }
    }

    /// Whether somebody may see it without further rights.
    pub fn concerns(&self, principal: &str) -> bool {
        *self.requester == *principal || self.is_in_hands_of(principal)
    }

    /// Whether somebody may prolong and end it. Nobody else may, not even super users.
    fn is_in_hands_of(&self, principal: &str) -> bool {
        *self.owner == *principal || self.renewers.iter().any(|renewer| **renewer == *principal)
    }

    /// Whether nobody can log in with it any more.
    pub fn has_expired(&self, now_ms: i64) -> bool {
        self.expires_ms < now_ms || self.ends_ms < now_ms
    }

    /// The token as it is after a wish of somebody; none if it is to end now.
    pub fn after(
        &self,
        wish: Prolonging,
        principal: &str,
        lives: TokenLives,
        now_ms: i64,
    ) -> Result<Option<Token>, ErrorCode> {
        if !self.is_in_hands_of(principal) {
            return Err(ErrorCode::DelegationTokenOwnerMismatch);
        }
        let period_ms = match wish {
            Prolonging::Expire(..0) => return Ok(None),
            _ if self.has_expired(now_ms) => return Err(ErrorCode::DelegationTokenExpired),
            Prolonging::Expire(period_ms) => period_ms,
            Prolonging::Renew(..=0) => lives.renewal_ms,
            Prolonging::Renew(period_ms) => period_ms.min(lives.renewal_ms),
        };
        Ok(Some(Token {
            expires_ms: now_ms.saturating_add(period_ms).min(self.ends_ms),
            ..self.clone()
        }))
    }
}

/// All tokens, by id.
#[derive(Clone, Debug, Default)]
pub struct Tokens(BTreeMap<Box<str>, Arc<Token>>);

impl Tokens {
    /// What there is under an id from now on.
    pub fn set(&mut self, id: &str, token: Option<Arc<Token>>) {
        match token {
            Some(token) => self.0.insert(id.into(), token),
            None => self.0.remove(id),
        };
    }

    /// The token with this id.
    pub fn get(&self, id: &str) -> Option<&Arc<Token>> {
        self.0.get(id)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Token>> {
        self.0.values()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// What brokers know beside the ids of tokens: with it they make their secrets (`delegation.token.secret.key`).
#[derive(Clone)]
pub struct TokenKey(Box<[u8]>);

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey")
    }
}

impl TokenKey {
    /// The key as it is configured.
    pub fn new(key: &str) -> TokenKey {
        TokenKey(key.as_bytes().into())
    }

    /// The secret of the token with this id.
    pub fn secret(&self, id: &str) -> [u8; 64] {
        let mut mac = Hmac::<Sha512>::new_from_slice(&self.0).expect("a key may have any length");
        mac.update(id.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// What is kept of a token's secret for a login by it. Takes milliseconds.
    pub fn credential(&self, id: &str, strength: Strength, salt: &[u8]) -> Credential {
        let password = STANDARD.encode(self.secret(id));
        Credential::of_password(strength, &password, salt, ITERATIONS_MIN)
    }
}

/// What a secret is found by, so that how long it takes tells nothing of other secrets.
pub fn digest(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVES: TokenLives = TokenLives {
        renewal_ms: 100,
        whole_ms: 700,
    };

    fn token(lifetime_ms: i64) -> Token {
        Token::new(CreateToken {
            id: "t".into(),
            owner: "User:alice".into(),
            requester: "User:admin".into(),
            renewers: vec!["User:bob".into()],
            lifetime_ms,
            lives: LIVES,
            now_ms: 1_000,
        })
    }

    fn expires_ms(
        token: &Token,
        wish: Prolonging,
        who: &str,
        now_ms: i64,
    ) -> Result<i64, ErrorCode> {
        let next = token.after(wish, who, LIVES, now_ms)?;
        Ok(next.map_or(now_ms, |token| token.expires_ms))
    }

    #[test]
    fn a_token_ends_in_the_end_and_before_that_unless_it_is_renewed() {
        let lives = |lifetime_ms| (token(lifetime_ms).expires_ms, token(lifetime_ms).ends_ms);
        assert_eq!(lives(-1), (1_100, 1_700));
        assert_eq!(lives(0), (1_100, 1_700));
        assert_eq!(lives(50), (1_050, 1_050));
        assert_eq!(lives(i64::MAX), (1_100, 1_700));
        assert!(!token(0).has_expired(1_100) && token(0).has_expired(1_101));
    }

    #[test]
    fn it_is_prolonged_by_its_owner_and_renewers_and_by_nobody_else() {
        use Prolonging::*;
        let token = token(0);
        let of = |wish, who| expires_ms(&token, wish, who, 1_050);
        assert_eq!(of(Renew(-1), "User:alice"), Ok(1_150));
        assert_eq!(of(Renew(0), "User:bob"), Ok(1_150));
        assert_eq!(of(Renew(10), "User:bob"), Ok(1_060));
        assert_eq!(of(Renew(i64::MAX), "User:bob"), Ok(1_150));
        assert_eq!(of(Expire(i64::MAX), "User:bob"), Ok(1_700));
        assert_eq!(of(Expire(0), "User:bob"), Ok(1_050));
        assert_eq!(token.after(Expire(-7), "User:bob", LIVES, 1_050), Ok(None));
        let other = Err(ErrorCode::DelegationTokenOwnerMismatch);
        assert_eq!(of(Renew(1), "User:admin"), other);
        assert_eq!(of(Expire(-1), "User:carol"), other);
        assert!(token.concerns("User:admin") && !token.concerns("User:carol"));
    }

    #[test]
    fn what_has_expired_can_only_be_taken_away() {
        use Prolonging::*;
        let token = token(0);
        let expired = Err(ErrorCode::DelegationTokenExpired);
        assert_eq!(expires_ms(&token, Renew(1), "User:alice", 1_101), expired);
        assert_eq!(expires_ms(&token, Expire(1), "User:alice", 1_101), expired);
        assert_eq!(
            token.after(Expire(-1), "User:alice", LIVES, 9_000),
            Ok(None)
        );
    }

    #[test]
    fn a_secret_belongs_to_one_id_and_one_key() {
        let key = TokenKey::new("key");
        assert_eq!(key.secret("a"), TokenKey::new("key").secret("a"));
        assert_ne!(key.secret("a"), key.secret("b"));
        assert_ne!(key.secret("a"), TokenKey::new("other").secret("a"));
        assert_eq!(format!("{key:?}"), "TokenKey");
    }
}
