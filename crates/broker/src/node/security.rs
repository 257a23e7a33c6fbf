//! Who may log in and who may do what, as it is now. Changed by few requests, asked by all.

use crate::base::random;
use rustka_core::security::acl::{Operation, Resource, ResourceType};
use rustka_core::security::authorizer::{Acls, AuthorizerOptions, Subject};
use rustka_core::security::scram::{Credential, ITERATIONS_MIN, Strength};
use rustka_core::security::users::{Change, ScramUsers};
use rustka_core::sync::{Held, Rank, read_at, write_at};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

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

    /// The users who log in by SCRAM.
    pub fn users(&self) -> Held<RwLockReadGuard<'_, ScramUsers>> {
        read_at(Rank::Leaf, &self.users)
    }

    /// The same, to be changed.
    pub fn users_mut(&self) -> Held<RwLockWriteGuard<'_, ScramUsers>> {
        write_at(Rank::Leaf, &self.users)
    }

    /// What is kept of a user's password.
    pub fn credential(&self, strength: Strength, user: &str) -> Option<Credential> {
        self.users().credential(strength, user).cloned()
    }

    /// Lets these users in by SCRAM, in every strength. Takes milliseconds for each.
    pub fn add_users(&self, users: &[(String, String)]) {
        for (user, password) in users {
            for strength in Strength::ALL {
                let (salt, rounds) = (random::salt(), ITERATIONS_MIN);
                let credential = Credential::of_password(strength, password, &salt, rounds);
                self.users_mut().apply(Change {
                    user: user.as_str().into(),
                    strength,
                    credential: Some(credential),
                });
            }
        }
    }

    /// The ACLs.
    pub fn acls(&self) -> Held<RwLockReadGuard<'_, Acls>> {
        read_at(Rank::Leaf, &self.acls)
    }

    /// The same, to be changed.
    pub fn acls_mut(&self) -> Held<RwLockWriteGuard<'_, Acls>> {
        write_at(Rank::Leaf, &self.acls)
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
