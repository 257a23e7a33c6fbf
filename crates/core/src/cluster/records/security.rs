//! Facts about security as records: a credential, an ACL, a quota, a token, and their ends.

use std::borrow::Cow;

use rustka_wire::access_control_entry_record::AccessControlEntryRecord;
use rustka_wire::client_quota_record::{ClientQuotaRecord, EntityData};
use rustka_wire::delegation_token_record::DelegationTokenRecord;
use rustka_wire::remove_access_control_entry_record::RemoveAccessControlEntryRecord;
use rustka_wire::remove_delegation_token_record::RemoveDelegationTokenRecord;
use rustka_wire::remove_user_scram_credential_record::RemoveUserScramCredentialRecord;
use rustka_wire::user_scram_credential_record::UserScramCredentialRecord;
use rustka_wire::{DecodeError, Reader, Uuid, Writer};

use super::frame;
use crate::security::acl::{Acl, RawAcl};
use crate::security::facts::Fact;
use crate::security::quota::alter::QuotaChange;
use crate::security::quota::{Name, Part, QuotaEntity, QuotaKey};
use crate::security::scram::{Credential, Strength};
use crate::security::tokens::Token;
use crate::security::users;

pub(super) fn encode(w: &mut Writer, fact: &Fact) {
    match fact {
        Fact::User(change) => encode_user(w, change),
        Fact::Acl { id, acl } => encode_acl(w, *id, acl.as_deref()),
        Fact::Quota(change) => encode_quota(w, change),
        Fact::Token { id, token } => encode_token(w, id, token.as_deref()),
    }
}

fn encode_token(w: &mut Writer, id: &str, token: Option<&Token>) {
    let Some(token) = token else {
        frame(w, RemoveDelegationTokenRecord::KEY, 0);
        let token_id = Cow::Borrowed(id);
        return RemoveDelegationTokenRecord { token_id }.encode(w, 0);
    };
    frame(w, DelegationTokenRecord::KEY, 0);
    let renewers = token.renewers.iter();
    let record = DelegationTokenRecord {
        owner: Cow::Borrowed(&token.owner),
        requester: Cow::Borrowed(&token.requester),
        renewers: renewers.map(|renewer| Cow::Borrowed(&**renewer)).collect(),
        issue_timestamp: token.issued_ms,
        max_timestamp: token.ends_ms,
        expiration_timestamp: token.expires_ms,
        token_id: Cow::Borrowed(id),
    };
    record.encode(w, 0);
}

fn encode_quota(w: &mut Writer, change: &QuotaChange) {
    frame(w, ClientQuotaRecord::KEY, 0);
    let parts = change.entity.parts().map(|(part, name)| EntityData {
        entity_type: Cow::Borrowed(part.name()),
        entity_name: name.get().map(Cow::Borrowed),
    });
    let record = ClientQuotaRecord {
        entity: parts.collect(),
        key: Cow::Borrowed(change.key.name()),
        value: change.value.unwrap_or(0.0),
        remove: change.value.is_none(),
    };
    record.encode(w, 0);
}

fn encode_user(w: &mut Writer, change: &users::Change) {
    let name = Cow::Borrowed(&*change.user);
    let mechanism = change.strength.code();
    let Some(credential) = &change.credential else {
        frame(w, RemoveUserScramCredentialRecord::KEY, 0);
        return RemoveUserScramCredentialRecord { name, mechanism }.encode(w, 0);
    };
    frame(w, UserScramCredentialRecord::KEY, 0);
    let record = UserScramCredentialRecord {
        name,
        mechanism,
        salt: Cow::Borrowed(&credential.salt),
        stored_key: Cow::Borrowed(&credential.stored_key),
        server_key: Cow::Borrowed(&credential.server_key),
        iterations: credential.iterations,
    };
    record.encode(w, 0);
}

fn encode_acl(w: &mut Writer, id: Uuid, acl: Option<&Acl>) {
    let Some(acl) = acl else {
        frame(w, RemoveAccessControlEntryRecord::KEY, 0);
        return RemoveAccessControlEntryRecord { id }.encode(w, 0);
    };
    frame(w, AccessControlEntryRecord::KEY, 0);
    let record = AccessControlEntryRecord {
        id,
        resource_type: acl.kind.code(),
        resource_name: Cow::Borrowed(&acl.name),
        pattern_type: acl.pattern.code(),
        principal: Cow::Borrowed(&acl.principal),
        host: Cow::Borrowed(&acl.host),
        operation: acl.operation,
        permission_type: acl.permission.code(),
    };
    record.encode(w, 0);
}

/// The fact that a record of this key says; `None` where that is something this version knows no use for.
pub(super) fn decode(
    r: &mut Reader<'_>,
    key: i16,
    version: i16,
) -> Result<Option<Fact>, DecodeError> {
    Ok(match key {
        UserScramCredentialRecord::KEY => {
            let record = UserScramCredentialRecord::decode(r, version)?;
            let credential = Credential {
                salt: record.salt.into(),
                stored_key: record.stored_key.into(),
                server_key: record.server_key.into(),
                iterations: record.iterations,
            };
            user(&record.name, record.mechanism, Some(credential))
        }
        RemoveUserScramCredentialRecord::KEY => {
            let record = RemoveUserScramCredentialRecord::decode(r, version)?;
            user(&record.name, record.mechanism, None)
        }
        AccessControlEntryRecord::KEY => {
            let record = AccessControlEntryRecord::decode(r, version)?;
            let raw = RawAcl {
                kind: record.resource_type,
                pattern: record.pattern_type,
                name: &record.resource_name,
                principal: &record.principal,
                host: &record.host,
                operation: record.operation,
                permission: record.permission_type,
            };
            raw.check().ok().map(|acl| Fact::Acl {
                id: record.id,
                acl: Some(acl.into()),
            })
        }
        RemoveAccessControlEntryRecord::KEY => Some(Fact::Acl {
            id: RemoveAccessControlEntryRecord::decode(r, version)?.id,
            acl: None,
        }),
        DelegationTokenRecord::KEY => {
            let record = DelegationTokenRecord::decode(r, version)?;
            let id: Box<str> = record.token_id.into();
            let renewers = record.renewers.into_iter();
            let token = Token {
                id: id.clone(),
                owner: record.owner.into(),
                requester: record.requester.into(),
                renewers: renewers.map(Box::from).collect(),
                issued_ms: record.issue_timestamp,
                expires_ms: record.expiration_timestamp,
                ends_ms: record.max_timestamp,
            };
            Some(Fact::Token {
                id,
                token: Some(token.into()),
            })
        }
        RemoveDelegationTokenRecord::KEY => Some(Fact::Token {
            id: RemoveDelegationTokenRecord::decode(r, version)?
                .token_id
                .into(),
            token: None,
        }),
        ClientQuotaRecord::KEY => quota(ClientQuotaRecord::decode(r, version)?),
        _ => None,
    })
}

fn quota(record: ClientQuotaRecord<'_>) -> Option<Fact> {
    let parts = record.entity.iter().map(|part| {
        let name = Name::of(part.entity_name.as_deref());
        Some((Part::named(&part.entity_type)?, name))
    });
    Some(Fact::Quota(QuotaChange {
        entity: QuotaEntity::of(parts.collect::<Option<Vec<_>>>()?),
        key: QuotaKey::named(&record.key)?,
        value: (!record.remove).then_some(record.value),
    }))
}

fn user(name: &str, mechanism: i8, credential: Option<Credential>) -> Option<Fact> {
    let strength = Strength::from_code(mechanism)?;
    Some(Fact::User(users::Change {
        user: name.into(),
        strength,
        credential,
    }))
}
