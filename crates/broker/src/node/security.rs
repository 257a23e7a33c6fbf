//! Who may log in and who may do what, as requests see it: what the cluster has on record and is durable.

use rustka_core::security::acl::{Operation, Resource, ResourceType};
use rustka_core::security::authorizer::{Acls, AuthorizerOptions, Subject};
use rustka_core::security::facts::{Fact, Facts};
use rustka_core::security::scram::{Credential, Strength};
use rustka_core::security::users::ScramUsers;
use rustka_core::sync::{Held, Rank, read_at, write_at};
use std::sync::{RwLock, RwLockReadGuard};

/// Users and ACLs of the cluster.
#[derive(Default)]
pub struct Security {
    /// What ACLs leave open; without it there is no authorizer and everything is allowed.
    pub authorizer: Option<AuthorizerOptions>,
    users: RwLock<ScramUsers>,
    acls: RwLock<Acls>,
}

impl Security {
    /// Nobody and nothing yet.
    pub fn new(authorizer: Option<AuthorizerOptions>) -> Security {
        Security {
            authorizer,
            ..Security::default()
        }
    }

    /// Shows what holds from now on; the next request goes by it.
    pub fn show(&self, fact: &Fact) {
        match fact {
            Fact::User(change) => write_at(Rank::Leaf, &self.users).apply(change),
            Fact::Acl { id, acl } => write_at(Rank::Leaf, &self.acls).set(*id, acl.clone()),
            // Kept beside it, with what was used and what is made of them.
            Fact::Quota(_) | Fact::Token { .. } => {}
        }
    }

    /// Shows all that holds, and nothing that did before.
    pub fn show_all(&self, facts: &Facts) {
        let mut acls = Acls::default();
        for (acl, id) in facts.acls.with_ids() {
            acls.set(*id, Some(acl.clone()));
        }
        *write_at(Rank::Leaf, &self.users) = facts.users.clone();
        *write_at(Rank::Leaf, &self.acls) = acls;
    }

    /// The users who log in by SCRAM.
    pub fn users(&self) -> Held<RwLockReadGuard<'_, ScramUsers>> {
        read_at(Rank::Leaf, &self.users)
    }

    /// What is kept of a user's password.
    pub fn credential(&self, strength: Strength, user: &str) -> Option<Credential> {
        self.users().credential(strength, user).cloned()
    }

    /// The ACLs.
    pub fn acls(&self) -> Held<RwLockReadGuard<'_, Acls>> {
        read_at(Rank::Leaf, &self.acls)
    }

    /// Whether somebody may do this to that, by the ACLs.
    pub fn allow(&self, subject: Subject<'_>, operation: Operation, of: Resource<'_>) -> bool {
        self.authorizer
            .as_ref()
            .is_none_or(|options| self.acls().allow(options, subject, operation, of))
    }

    /// Whether somebody may do this to some resource of a kind.
    pub fn allow_for_some(
        &self,
        subject: Subject<'_>,
        operation: Operation,
        kind: ResourceType,
    ) -> bool {
        self.authorizer.as_ref().is_none_or(|options| {
            self.acls()
                .allow_for_some(options, subject, operation, kind)
        })
    }
}
