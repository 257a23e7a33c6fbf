//! AlterUserScramCredentials, CreateAcls, DeleteAcls, AlterClientQuotas and delegation tokens: who may log in, do
//! what, and how much of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustka_wire::Uuid;

use super::command::CreateAcl;
use super::records::Record;
use super::{Cluster, Effects};
use crate::error::{ErrorCode, Refusal};
use crate::security::acl::Acl;
use crate::security::facts::Fact;
use crate::security::filter::AclFilter;
use crate::security::quota::QuotaEntity;
use crate::security::quota::alter::{self, QuotaOutcome, QuotaWish};
use crate::security::tokens::{CreateToken, TOKENS_MAX, Token};
use crate::security::users::Wish;

/// Users there may be.
const USERS_MAX: usize = 100_000;
/// Entities with quotas that there may be.
const QUOTA_ENTITIES_MAX: usize = 100_000;
/// ACLs there may be.
const ACLS_MAX: usize = 100_000;

/// A name and what became of it.
pub type UserOutcome = (Box<str>, Result<(), Refusal>);

impl Cluster {
    /// Keeps and forgets credentials, each user for itself.
    pub(super) fn alter_users(&mut self, wishes: &[Wish], out: &mut Effects) -> Vec<UserOutcome> {
        let (users, has_users) = (&self.facts.users, self.has_users());
        let mut added = 0;
        let mut records = Vec::new();
        let decided = users.decide(wishes).into_iter();
        let outcomes = decided.map(|(user, change)| {
            let outcome = change.and_then(|change| {
                if !has_users {
                    let message = "The current metadata version does not support SCRAM.";
                    return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
                }
                let is_new = change.credential.is_some() && users.of(user).is_none();
                if is_new && users.count() + added >= USERS_MAX {
                    let message = format!("there may be at most {USERS_MAX} users");
                    return Err(Refusal::new(ErrorCode::PolicyViolation, message));
                }
                if is_new {
                    self.has_memory_for_facts(added + 1)?;
                }
                added += usize::from(is_new);
                records.push(Record::from(Fact::User(change)));
                Ok(())
            });
            (Box::from(user), outcome)
        });
        let outcomes = outcomes.collect();
        self.write(records, out);
        outcomes
    }

    /// Adds ACLs, each for itself. One that is there already stays as it is, under its id.
    pub(super) fn create_acls(
        &mut self,
        creations: Vec<CreateAcl>,
        out: &mut Effects,
    ) -> Vec<Result<(), Refusal>> {
        let known = &self.facts.acls;
        let mut added: BTreeSet<Arc<Acl>> = BTreeSet::new();
        let mut records = Vec::new();
        let outcomes = creations.into_iter().map(|creation| {
            let acl: Arc<Acl> = Arc::new(creation.acl?);
            if known.contains(&acl) || added.contains(&acl) {
                return Ok(());
            }
            if known.count() + added.len() >= ACLS_MAX {
                let message = format!("there may be at most {ACLS_MAX} ACLs");
                return Err(Refusal::new(ErrorCode::PolicyViolation, message));
            }
            if known.get(creation.id).is_some() {
                let message = "the id that was drawn for the ACL is in use: try again";
                return Err(Refusal::new(ErrorCode::UnknownServerError, message));
            }
            self.has_memory_for_facts(added.len() + 1)?;
            added.insert(Arc::clone(&acl));
            records.push(Record::from(Fact::Acl {
                id: creation.id,
                acl: Some(acl),
            }));
            Ok(())
        });
        let outcomes = outcomes.collect();
        self.write(records, out);
        outcomes
    }

    /// Takes ACLs away and tells which, for each filter by what was there before.
    pub(super) fn delete_acls(
        &mut self,
        filters: &[AclFilter],
        out: &mut Effects,
    ) -> Vec<Vec<Arc<Acl>>> {
        let mut gone: BTreeSet<Uuid> = BTreeSet::new();
        let mut records = Vec::new();
        let matching = filters.iter().map(|filter| {
            let fitting = self.facts.acls.with_ids();
            let fitting = fitting.filter(|(acl, _)| filter.fits(acl));
            let told = fitting.map(|(acl, id)| {
                if gone.insert(*id) {
                    let (id, acl) = (*id, None);
                    records.push(Record::from(Fact::Acl { id, acl }));
                }
                Arc::clone(acl)
            });
            told.collect()
        });
        let matching = matching.collect();
        self.write(records, out);
        matching
    }

    /// Sets quotas and takes them away, each entity whole or not at all.
    pub(super) fn alter_quotas(
        &mut self,
        wishes: &[QuotaWish],
        validate_only: bool,
        out: &mut Effects,
    ) -> Vec<QuotaOutcome> {
        let quotas = &self.facts.quotas;
        let (changes, mut outcomes) = alter::decide(quotas, wishes);
        let new = changes.iter().filter(|change| !quotas.has(&change.entity));
        let new: BTreeSet<&QuotaEntity> = new.map(|change| &change.entity).collect();
        let checked = match quotas.count() + new.len() > QUOTA_ENTITIES_MAX {
            true => {
                let message = format!("quotas are kept for at most {QUOTA_ENTITIES_MAX} entities");
                Err(Refusal::new(ErrorCode::PolicyViolation, message))
            }
            false if new.is_empty() => Ok(()),
            false => self.has_memory_for_facts(new.len()),
        };
        if let Err(refusal) = checked {
            for (_, outcome) in &mut outcomes {
                *outcome = Err(refusal.clone());
            }
            return outcomes;
        }
        if !validate_only {
            let records = changes.into_iter().map(Fact::Quota).map(Record::from);
            self.write(records.collect(), out);
        }
        outcomes
    }

    /// Makes a token.
    pub(super) fn create_token(
        &mut self,
        asked: CreateToken,
        out: &mut Effects,
    ) -> Result<Arc<Token>, ErrorCode> {
        if !self.has_tokens() {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let tokens = &self.facts.tokens;
        if tokens.count() >= TOKENS_MAX {
            return Err(ErrorCode::PolicyViolation);
        }
        self.has_memory_for_facts(1)
            .map_err(|refusal| refusal.code)?;
        if tokens.get(&asked.id).is_some() {
            return Err(ErrorCode::UnknownServerError);
        }
        let token = Arc::new(Token::new(asked));
        let record = Record::from(Fact::Token {
            id: token.id.clone(),
            token: Some(Arc::clone(&token)),
        });
        self.write(vec![record], out);
        Ok(token)
    }

    /// Has a token end later or sooner, and tells when.
    pub(super) fn prolong_token(
        &mut self,
        id: &str,
        now_ms: i64,
        prolonged: impl FnOnce(&Token) -> Result<Option<Token>, ErrorCode>,
        out: &mut Effects,
    ) -> Result<i64, ErrorCode> {
        let token = self.facts.tokens.get(id);
        let token = token.ok_or(ErrorCode::DelegationTokenNotFound)?;
        let token = prolonged(token)?.map(Arc::new);
        let expires_ms = token.as_ref().map_or(now_ms, |token| token.expires_ms);
        let id = id.into();
        self.write(vec![Record::from(Fact::Token { id, token })], out);
        Ok(expires_ms)
    }

    /// Forgets tokens that have expired, and tells how many.
    pub(super) fn forget_tokens(&mut self, now_ms: i64, out: &mut Effects) -> usize {
        let tokens = self.facts.tokens.all();
        let expired = tokens.filter(|token| token.has_expired(now_ms));
        let records = expired.map(|token| {
            Record::from(Fact::Token {
                id: token.id.clone(),
                token: None,
            })
        });
        let records: Vec<Record> = records.collect();
        let count = records.len();
        self.write(records, out);
        count
    }

    /// Pays for partitions that are created or deleted, where whoever asks may not do so without end (KIP-599).
    pub(super) fn pay(&self, partitions: usize) -> Result<(), Refusal> {
        match &self.allowance {
            Some(allowance) => allowance.take(partitions),
            None => Ok(()),
        }
    }
}
