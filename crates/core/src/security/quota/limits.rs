//! Which of several quotas counts, found without making anything.

use std::collections::BTreeMap;

use super::{Name, Part, QuotaEntity};

/// Who is counted together with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// The user with this one client id.
    UserAndClient,
    /// The user, whatever its clients call themselves.
    User,
    /// The client id, whoever uses it.
    Client,
}

/// The limits of one key for users and client ids.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    users: BTreeMap<Box<str>, OfUser>,
    default_user: OfUser,
    /// Where no user is named.
    no_user: OfUser,
}

#[derive(Clone, Debug, Default)]
struct OfUser {
    clients: BTreeMap<Box<str>, f64>,
    default_client: Option<f64>,
    /// Where no client id is named.
    own: Option<f64>,
}

impl OfUser {
    fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.default_client.is_none() && self.own.is_none()
    }

    fn set(&mut self, client: Option<&Name>, value: Option<f64>) {
        match (client, value) {
            (None, value) => self.own = value,
            (Some(Name::Default), value) => self.default_client = value,
            (Some(Name::Named(client)), Some(value)) => {
                self.clients.insert(client.clone(), value);
            }
            (Some(Name::Named(client)), None) => {
                self.clients.remove(client);
            }
        }
    }

    fn of_client(&self, client: &str) -> Option<f64> {
        self.clients.get(client).copied().or(self.default_client)
    }
}

impl Limits {
    /// Whether nobody is limited.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.default_user.is_empty() && self.no_user.is_empty()
    }

    /// Sets the limit of an entity, or takes it away.
    pub fn set(&mut self, entity: &QuotaEntity, value: Option<f64>) {
        let client = entity.part(Part::ClientId);
        match entity.part(Part::User) {
            None => self.no_user.set(client, value),
            Some(Name::Default) => self.default_user.set(client, value),
            Some(Name::Named(user)) => {
                let of_user = self.users.entry(user.clone()).or_default();
                of_user.set(client, value);
                if of_user.is_empty() {
                    self.users.remove(user);
                }
            }
        }
    }

    /// The limit for somebody, the most specific that there is, and who is counted together.
    pub fn of(&self, user: &str, client: &str) -> Option<(f64, Counted)> {
        let of_users = [self.users.get(user), Some(&self.default_user)];
        for of_user in of_users.into_iter().flatten() {
            if let Some(limit) = of_user.of_client(client) {
                return Some((limit, Counted::UserAndClient));
            }
            if let Some(limit) = of_user.own {
                return Some((limit, Counted::User));
            }
        }
        let limit = self.no_user.of_client(client)?;
        Some((limit, Counted::Client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(text: &str) -> QuotaEntity {
        let parts = text.split(' ').map(|part| {
            let (part, name) = part.split_once('=').expect("a part");
            let name = Name::of(Some(name).filter(|name| *name != "<default>"));
            (Part::named(part).expect("a part"), name)
        });
        QuotaEntity::of(parts)
    }

    #[test]
    fn the_most_specific_quota_counts() {
        let mut limits = Limits::default();
        let all = [
            "user=u client-id=c",
            "user=u client-id=<default>",
            "user=u",
            "user=<default> client-id=c",
            "user=<default> client-id=<default>",
            "user=<default>",
            "client-id=c",
            "client-id=<default>",
        ];
        for (limit, text) in (1..).zip(all) {
            limits.set(&entity(text), Some(f64::from(limit)));
        }
        use Counted::*;
        let counted = [
            UserAndClient,
            UserAndClient,
            User,
            UserAndClient,
            UserAndClient,
            User,
            Client,
            Client,
        ];
        for ((limit, text), counted) in (1..).zip(all).zip(counted) {
            assert_eq!(
                limits.of("u", "c"),
                Some((f64::from(limit), counted)),
                "{text}"
            );
            limits.set(&entity(text), None);
        }
        assert_eq!(limits.of("u", "c"), None);
        assert!(limits.is_empty());
    }

    #[test]
    fn somebody_elses_quota_does_not_count() {
        let mut limits = Limits::default();
        limits.set(&entity("user=u client-id=c"), Some(1.0));
        assert_eq!(limits.of("u", "d"), None);
        assert_eq!(limits.of("v", "c"), None);
        limits.set(&entity("user=v"), Some(2.0));
        limits.set(&entity("client-id=c"), Some(3.0));
        assert_eq!(limits.of("v", "c"), Some((2.0, Counted::User)));
        assert_eq!(limits.of("w", "c"), Some((3.0, Counted::Client)));
    }
}
