//! How a listener checks tokens: rules, and the keys of those who sign, replaced while the broker runs.

use crate::base::rate::LogLimit;
use rustka_core::security::bearer::{Claims, KeySet, Rules, Unfit, key_id};
use rustka_core::sync::{Rank, read_at, write_at};
use std::sync::{Arc, RwLock};
use tokio::sync::Notify;

/// What a listener with OAUTHBEARER goes by.
pub struct Bearer {
    rules: Rules,
    keys: RwLock<Arc<KeySet>>,
    /// Told when a token names a key that is not there: its issuer may have a new one.
    pub wanted: Notify,
    /// Refused tokens are told of now and then.
    lines: LogLimit,
}

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Bearer").field(&self.rules).finish()
    }
}

impl Bearer {
    /// With these keys, until others come.
    pub fn new(rules: Rules, keys: KeySet) -> Bearer {
        Bearer {
            rules,
            keys: RwLock::new(Arc::new(keys)),
            wanted: Notify::new(),
            lines: LogLimit::default(),
        }
    }

    /// What a token says, if it can be believed. No key is fetched for it.
    pub fn check(&self, token: &str, wall_ms: i64, monotonic_ms: i64) -> Result<Claims, Unfit> {
        let keys = read_at(Rank::Leaf, &self.keys).clone();
        let checked = self.rules.check(token, &keys, wall_ms);
        if let Err(unfit) = &checked {
            if key_id(token).is_some_and(|id| !keys.has(&id)) {
                self.wanted.notify_one();
            }
            if let Some(left_out) = self.lines.admits(monotonic_ms) {
                tracing::info!(target: "rustka::listener", "a token was refused: {}{left_out}", unfit.0);
            }
        }
        checked
    }

    /// Goes by other keys from now on; how many there are.
    pub fn replace(&self, keys: KeySet) -> usize {
        let count = keys.count();
        *write_at(Rank::Leaf, &self.keys) = Arc::new(keys);
        count
    }
}
