//! Delegation tokens as requests and logins see them: what the cluster has on record and is durable, with their secrets.

use crate::base::random;
use rustka_core::config::BrokerConfig;
use rustka_core::security::facts::Facts;
use rustka_core::security::sasl::Entrant;
use rustka_core::security::scram::{Credential, Strength};
use rustka_core::security::tokens::{Token, TokenKey, TokenLives, digest};
use rustka_core::sync::{Rank, read_at, write_at};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, RwLock};

/// The tokens of the cluster.
pub struct Tokens {
    /// What their secrets are made with; without it there are none.
    pub key: Option<TokenKey>,
    /// How long they live.
    pub lives: TokenLives,
    shown: RwLock<Shown>,
}

#[derive(Default)]
struct Shown {
    by_id: BTreeMap<Box<str>, Arc<Known>>,
    /// Their ids by what their secrets are found by.
    ids: BTreeMap<[u8; 32], Box<str>>,
}

/// One token with what is made of its secret at the first login by it.
struct Known {
    token: Arc<Token>,
    digest: [u8; 32],
    credentials: [OnceLock<Credential>; 2],
}

impl Tokens {
    /// No tokens yet, by the configs of a broker.
    pub fn new(config: &BrokerConfig) -> Tokens {
        let key = config.set_value("delegation.token.secret.key");
        let settings = config.settings();
        Tokens {
            key: key.filter(|key| !key.is_empty()).map(TokenKey::new),
            lives: TokenLives {
                renewal_ms: settings.token_renewal_ms,
                whole_ms: settings.token_lifetime_ms_max,
            },
            shown: RwLock::default(),
        }
    }

    /// Shows what there is under an id from now on.
    pub fn show(&self, id: &str, token: Option<&Arc<Token>>) {
        let known = token.and_then(|token| self.known(token));
        let mut shown = write_at(Rank::Leaf, &self.shown);
        shown.set(id, known);
    }

    /// Shows all tokens that there are.
    pub fn show_all(&self, facts: &Facts) {
        let mut all = Shown::default();
        for token in facts.tokens.all() {
            all.set(&token.id, self.known(token));
        }
        *write_at(Rank::Leaf, &self.shown) = all;
    }

    fn known(&self, token: &Arc<Token>) -> Option<Arc<Known>> {
        let key = self.key.as_ref()?;
        Some(Arc::new(Known {
            token: token.clone(),
            digest: digest(&key.secret(&token.id)),
            credentials: [OnceLock::new(), OnceLock::new()],
        }))
    }

    /// Every token.
    pub fn all(&self) -> Vec<Arc<Token>> {
        let shown = read_at(Rank::Leaf, &self.shown);
        shown
            .by_id
            .values()
            .map(|known| known.token.clone())
            .collect()
    }

    /// The id of the token with this secret.
    pub fn id_of(&self, secret: &[u8]) -> Option<Box<str>> {
        let digest = digest(secret);
        read_at(Rank::Leaf, &self.shown).ids.get(&digest).cloned()
    }

    /// What is kept of a token's secret, and who logs in with it; nobody once it has expired. Takes milliseconds at the
    /// first login.
    pub fn login(
        &self,
        strength: Strength,
        id: &str,
        now_ms: i64,
    ) -> Option<(Credential, Entrant)> {
        let known = read_at(Rank::Leaf, &self.shown).by_id.get(id).cloned()?;
        let (key, token) = (self.key.as_ref()?, &known.token);
        if token.has_expired(now_ms) {
            return None;
        }
        let place = match strength {
            Strength::Sha256 => 0,
            Strength::Sha512 => 1,
        };
        let credential =
            known.credentials[place].get_or_init(|| key.credential(id, strength, &random::salt()));
        let entrant = Entrant {
            principal: token.owner.to_string(),
            expires_ms: Some(token.expires_ms),
            by_token: true,
        };
        Some((credential.clone(), entrant))
    }

    /// Whether any token has expired.
    pub fn any_has_expired(&self, now_ms: i64) -> bool {
        let shown = read_at(Rank::Leaf, &self.shown);
        shown
            .by_id
            .values()
            .any(|known| known.token.has_expired(now_ms))
    }
}

impl Shown {
    fn set(&mut self, id: &str, known: Option<Arc<Known>>) {
        let gone = match known {
            Some(known) => {
                self.ids.insert(known.digest, id.into());
                self.by_id.insert(id.into(), known);
                return;
            }
            None => self.by_id.remove(id),
        };
        if let Some(gone) = gone {
            self.ids.remove(&gone.digest);
        }
    }
}
