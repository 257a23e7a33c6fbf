//! The users who log in by SCRAM: what AlterUserScramCredentials changes and DescribeUserScramCredentials tells.

use super::scram::{Credential, ITERATIONS_MAX, ITERATIONS_MIN, Strength};
use crate::error::{ErrorCode, Refusal};
use std::collections::BTreeMap;

/// Users with a password, by name and strength.
#[derive(Clone, Debug, Default)]
pub struct ScramUsers(BTreeMap<Box<str>, BTreeMap<Strength, Credential>>);

/// One wish about one user.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The user.
    pub user: Box<str>,
    /// The mechanism's number.
    pub mechanism: i8,
    /// What to keep; without it the credential goes.
    pub upsertion: Option<Upsertion>,
}

/// A salted password to be kept.
#[derive(Clone)]
pub struct Upsertion {
    /// How often it was hashed.
    pub iterations: i32,
    /// What it was salted with.
    pub salt: Box<[u8]>,
    /// The password after that.
    pub salted_password: Box<[u8]>,
}

impl std::fmt::Debug for Upsertion {
    /// Without the password: this must be fit for a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upsertion")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// One change that was decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The user.
    pub user: Box<str>,
    /// Which of its credentials.
    pub strength: Strength,
    /// What is kept from now on, or nothing.
    pub credential: Option<Credential>,
}

impl ScramUsers {
    /// What is kept for a user.
    pub fn credential(&self, strength: Strength, user: &str) -> Option<&Credential> {
        self.0.get(user)?.get(&strength)
    }

    /// Every user with the credentials it has.
    pub fn all(&self) -> impl Iterator<Item = (&str, &BTreeMap<Strength, Credential>)> {
        self.0
            .iter()
            .map(|(user, credentials)| (&**user, credentials))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The credentials of one user.
    pub fn of(&self, user: &str) -> Option<&BTreeMap<Strength, Credential>> {
        self.0.get(user)
    }

    /// Does what was decided.
    pub fn apply(&mut self, change: &Change) {
        let credentials = self.0.entry(change.user.clone()).or_default();
        match &change.credential {
            Some(credential) => drop(credentials.insert(change.strength, credential.clone())),
            None => drop(credentials.remove(&change.strength)),
        }
        if credentials.is_empty() {
            self.0.remove(&change.user);
        }
    }

    /// Decides on the wishes of one request: a result for each user, once and in the order of their first wish. As in
    /// Kafka a user's second wish spoils the first, even if they are about two mechanisms, and what is wrong with the
    /// first is told although there is a second.
    pub fn decide<'a>(&self, wishes: &'a [Wish]) -> Vec<(&'a str, Result<Change, Refusal>)> {
        let mut places = BTreeMap::new();
        let mut results: Vec<(&str, Result<Change, Refusal>)> = Vec::new();
        for wish in wishes {
            let place = *places.entry(&*wish.user).or_insert(results.len());
            match results.get_mut(place) {
                None => results.push((&wish.user, self.decide_one(wish))),
                Some((_, first)) if first.is_ok() => {
                    let why = "A user credential cannot be altered twice in the same request";
                    *first = Err(Refusal::new(ErrorCode::DuplicateResource, why));
                }
                Some(_) => {}
            }
        }
        results
    }

    fn decide_one(&self, wish: &Wish) -> Result<Change, Refusal> {
        let unacceptable = |why: &'static str| Refusal::new(ErrorCode::UnacceptableCredential, why);
        if wish.user.is_empty() {
            return Err(unacceptable("Username must not be empty"));
        }
        let strength = Strength::from_code(wish.mechanism).ok_or_else(|| {
            Refusal::new(
                ErrorCode::UnsupportedSaslMechanism,
                "Unknown SCRAM mechanism",
            )
        })?;
        let credential = match &wish.upsertion {
            None => {
                let known = self.credential(strength, &wish.user);
                known.ok_or_else(|| {
                    let why = "Attempt to delete a user credential that does not exist";
                    Refusal::new(ErrorCode::ResourceNotFound, why)
                })?;
                None
            }
            Some(kept) => {
                if kept.iterations < ITERATIONS_MIN {
                    return Err(unacceptable("Too few iterations"));
                }
                if kept.iterations > ITERATIONS_MAX {
                    return Err(unacceptable("Too many iterations"));
                }
                if kept.salted_password.is_empty() {
                    return Err(unacceptable("The salted password must not be empty"));
                }
                Some(Credential::of_salted(
                    strength,
                    &kept.salted_password,
                    &kept.salt,
                    kept.iterations,
                ))
            }
        };
        Ok(Change {
            user: wish.user.clone(),
            strength,
            credential,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(user: &str, mechanism: i8, iterations: i32) -> Wish {
        Wish {
            user: user.into(),
            mechanism,
            upsertion: Some(Upsertion {
                iterations,
                salt: (*b"salt").into(),
                salted_password: (*b"salted").into(),
            }),
        }
    }

    fn forget(user: &str, mechanism: i8) -> Wish {
        Wish {
            user: user.into(),
            mechanism,
            upsertion: None,
        }
    }

    fn codes(users: &ScramUsers, wishes: &[Wish]) -> Vec<(String, ErrorCode)> {
        let results = users.decide(wishes).into_iter();
        let code =
            |result: Result<Change, Refusal>| result.map_or_else(|r| r.code, |_| ErrorCode::None);
        results
            .map(|(user, result)| (user.to_owned(), code(result)))
            .collect()
    }

    #[test]
    fn each_wish_is_checked_and_a_user_with_two_gets_neither() {
        let users = ScramUsers::default();
        let wishes = [
            keep("a", 1, 4096),
            keep("b", 1, 4095),
            keep("c", 2, 16_385),
            keep("d", 0, 4096),
            keep("", 1, 4096),
            keep("e", 1, 4096),
            keep("e", 2, 4096),
            forget("f", 1),
            keep("f", 1, 4096),
        ];
        let codes: Vec<_> = codes(&users, &wishes)
            .into_iter()
            .map(|(_, code)| code)
            .collect();
        use ErrorCode::*;
        let expected = [
            None,
            UnacceptableCredential,
            UnacceptableCredential,
            UnsupportedSaslMechanism,
            UnacceptableCredential,
            DuplicateResource,
            ResourceNotFound,
        ];
        assert_eq!(codes, expected);
    }

    #[test]
    fn a_user_comes_and_goes_with_its_credentials() {
        let mut users = ScramUsers::default();
        for mechanism in [1, 2] {
            let wishes = [keep("a", mechanism, 5000)];
            let change = users.decide(&wishes).remove(0).1.expect("a change");
            users.apply(&change);
        }
        let credential = users.credential(Strength::Sha512, "a").expect("there");
        assert_eq!(
            (credential.iterations, &*credential.salt),
            (5000, &b"salt"[..])
        );
        for mechanism in [1, 2] {
            assert_eq!(users.all().count(), 1);
            let wishes = [forget("a", mechanism)];
            let change = users.decide(&wishes).remove(0).1.expect("a change");
            users.apply(&change);
        }
        assert_eq!(users.all().count(), 0);
        assert!(users.of("a").is_none());
    }
}
