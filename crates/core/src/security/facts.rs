//! What is on record about security, one fact at a time: a record says one, a lost record takes one back, and whoever
//! serves requests is told one. Knows no bytes: those are `crate::cluster::records`.

use super::acl::{Acl, AclBook};
use super::quota::Quotas;
use super::quota::alter::QuotaChange;
use super::tokens::{Token, Tokens};
use super::users::{self, ScramUsers};
use rustka_wire::Uuid;
use std::sync::Arc;

/// One thing that holds, or no longer holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// What is kept of a user's password in one strength.
    User(users::Change),
    /// The ACL with this id.
    Acl {
        /// Its id.
        id: Uuid,
        /// What it says; without it there is none.
        acl: Option<Arc<Acl>>,
    },
    /// How much of something an entity may use.
    Quota(QuotaChange),
    /// The delegation token with this id.
    Token {
        /// Its id.
        id: Box<str>,
        /// What it is; without it there is none.
        token: Option<Arc<Token>>,
    },
}

impl Fact {
    /// Whether both are about the same thing.
    pub fn is_of_same_place(&self, other: &Fact) -> bool {
        match (self, other) {
            (Fact::User(one), Fact::User(other)) => {
                (&one.user, one.strength) == (&other.user, other.strength)
            }
            (Fact::Acl { id: one, .. }, Fact::Acl { id: other, .. }) => one == other,
            (Fact::Quota(one), Fact::Quota(other)) => {
                (&one.entity, one.key) == (&other.entity, other.key)
            }
            (Fact::Token { id: one, .. }, Fact::Token { id: other, .. }) => one == other,
            _ => false,
        }
    }
}

/// All facts: what a cluster remembers about security.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Who logs in by SCRAM.
    pub users: ScramUsers,
    /// Who may do what.
    pub acls: AclBook,
    /// How much clients may use.
    pub quotas: Quotas,
    /// With what else somebody logs in.
    pub tokens: Tokens,
}

impl Facts {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.users.count() + self.acls.count() + self.quotas.count() + self.tokens.count()
    }

    /// Makes a fact hold.
    pub fn set(&mut self, fact: &Fact) {
        match fact {
            Fact::User(change) => self.users.apply(change),
            Fact::Acl { id, acl } => self.acls.set(*id, acl.clone()),
            Fact::Quota(change) => self.quotas.set(&change.entity, change.key, change.value),
            Fact::Token { id, token } => self.tokens.set(id, token.clone()),
        }
    }

    /// What holds now in the place that a fact is about.
    pub fn now(&self, fact: &Fact) -> Fact {
        match fact {
            Fact::User(change) => {
                let credential = self.users.credential(change.strength, &change.user);
                Fact::User(users::Change {
                    credential: credential.cloned(),
                    ..change.clone()
                })
            }
            Fact::Acl { id, .. } => Fact::Acl {
                id: *id,
                acl: self.acls.get(*id).cloned(),
            },
            Fact::Quota(change) => Fact::Quota(QuotaChange {
                value: self.quotas.get(&change.entity, change.key),
                ..change.clone()
            }),
            Fact::Token { id, .. } => Fact::Token {
                id: id.clone(),
                token: self.tokens.get(id).cloned(),
            },
        }
    }

    /// All quotas.
    pub fn all_quotas(&self) -> impl Iterator<Item = Fact> {
        self.quotas.all().flat_map(|(entity, values)| {
            values.iter().map(|(key, value)| {
                Fact::Quota(QuotaChange {
                    entity: entity.clone(),
                    key: *key,
                    value: Some(*value),
                })
            })
        })
    }

    /// Everything else, in the order of Kafka's snapshots: ACLs, users, tokens.
    pub fn all(&self) -> impl Iterator<Item = Fact> {
        let acls = self.acls.with_ids().map(|(acl, id)| Fact::Acl {
            id: *id,
            acl: Some(Arc::clone(acl)),
        });
        let users = self.users.all().flat_map(|(user, credentials)| {
            credentials.iter().map(|(strength, credential)| {
                Fact::User(users::Change {
                    user: user.into(),
                    strength: *strength,
                    credential: Some(credential.clone()),
                })
            })
        });
        let tokens = self.tokens.all().map(|token| Fact::Token {
            id: token.id.clone(),
            token: Some(Arc::clone(token)),
        });
        acls.chain(users).chain(tokens)
    }
}
