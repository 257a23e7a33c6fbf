//! DescribeUserScramCredentials (key 50) and AlterUserScramCredentials (key 51): who logs in by SCRAM (KIP-554).

use crate::api::access::denied;
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::handlers::answer;
use rustka_core::cluster::command::{Command, Reply, UserOutcome};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::security::users::{ScramUsers, Upsertion, Wish};
use rustka_wire::alter_user_scram_credentials_request::AlterUserScramCredentialsRequest;
use rustka_wire::alter_user_scram_credentials_response::{
    AlterUserScramCredentialsResponse, AlterUserScramCredentialsResult,
};
use rustka_wire::codec::Writer;
use rustka_wire::describe_user_scram_credentials_request::DescribeUserScramCredentialsRequest;
use rustka_wire::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResponse, DescribeUserScramCredentialsResult,
};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Tells how often the passwords of users were hashed, and nothing else of them.
pub fn describe(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: DescribeUserScramCredentialsRequest<'_> = request.decode()?;
    let mut response = DescribeUserScramCredentialsResponse::default();
    match request.check(Operation::Describe, Resource::Cluster) {
        Ok(()) => {
            let names = asked.users.unwrap_or_default();
            let names: Vec<&str> = names.iter().map(|user| &*user.name).collect();
            response.results = describe_all(&request.node.security.users(), &names);
        }
        Err(code) => {
            response.error_code = code.code();
            response.error_message = None;
            // Whoever named users gets one result of nobody, as in Kafka.
            let names_any = asked.users.is_some_and(|users| !users.is_empty());
            response.results = names_any.then(|| refused(code)).into_iter().collect();
        }
    }
    response.throttle_time_ms = request.throttle_time_ms();
    Ok(request.reply(|w| response.encode(w, version)))
}

fn refused(code: ErrorCode) -> DescribeUserScramCredentialsResult<'static> {
    DescribeUserScramCredentialsResult {
        error_code: code.code(),
        error_message: None,
        ..Default::default()
    }
}

/// Without names all.
fn describe_all(
    users: &ScramUsers,
    names: &[&str],
) -> Vec<DescribeUserScramCredentialsResult<'static>> {
    if names.is_empty() {
        return users
            .all()
            .map(|(name, _)| describe_one(users, name))
            .collect();
    }
    let mut seen = BTreeSet::new();
    let names_once = names.iter().filter(|name| seen.insert(**name));
    let results = names_once.map(|name| {
        let count = names.iter().filter(|other| *other == name).take(2).count();
        match count {
            1 => describe_one(users, name),
            _ => DescribeUserScramCredentialsResult {
                user: Cow::Owned((*name).to_owned()),
                error_code: ErrorCode::DuplicateResource.code(),
                error_message: Some(
                    format!("Cannot describe SCRAM credentials for the same user twice in a single request: {name}")
                        .into(),
                ),
                ..Default::default()
            },
        }
    });
    results.collect()
}

fn describe_one(users: &ScramUsers, name: &str) -> DescribeUserScramCredentialsResult<'static> {
    let user = Cow::Owned(name.to_owned());
    let Some(credentials) = users.of(name) else {
        let message = format!("Attempt to describe a user credential that does not exist: {name}");
        return DescribeUserScramCredentialsResult {
            user,
            error_code: ErrorCode::ResourceNotFound.code(),
            error_message: Some(message.into()),
            ..Default::default()
        };
    };
    let infos = credentials
        .iter()
        .map(|(strength, credential)| CredentialInfo {
            mechanism: strength.code(),
            iterations: credential.iterations,
        });
    DescribeUserScramCredentialsResult {
        user,
        credential_infos: infos.collect(),
        ..Default::default()
    }
}

/// Keeps and forgets credentials, each user for itself.
pub fn alter(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: AlterUserScramCredentialsRequest<'_> = request.decode()?;
    let deletions = asked.deletions.iter().map(|deletion| Wish {
        user: (*deletion.name).into(),
        mechanism: deletion.mechanism,
        upsertion: None,
    });
    let upsertions = asked.upsertions.iter().map(|upsertion| Wish {
        user: (*upsertion.name).into(),
        mechanism: upsertion.mechanism,
        upsertion: Some(Upsertion {
            iterations: upsertion.iterations,
            salt: (*upsertion.salt).into(),
            salted_password: (*upsertion.salted_password).into(),
        }),
    });
    let wishes: Vec<Wish> = deletions.chain(upsertions).collect();
    let users: BTreeSet<Box<str>> = wishes.iter().map(|wish| wish.user.clone()).collect();
    let refused = move |refusal: Refusal| {
        let refused = users.into_iter().map(|user| (user, Err(refusal.clone())));
        refused.collect::<Vec<UserOutcome>>()
    };
    let respond = request.respond();
    let encode = move |outcomes: Vec<UserOutcome>, w: &mut Writer, version| {
        let results = outcomes.into_iter().map(|(user, outcome)| {
            let refusal = outcome.err();
            AlterUserScramCredentialsResult {
                user: Cow::Owned(user.into()),
                error_code: refusal.as_ref().map_or(0, |refusal| refusal.code.code()),
                error_message: refusal.and_then(|refusal| refusal.message),
            }
        });
        let response = AlterUserScramCredentialsResponse {
            results: results.collect(),
            throttle_time_ms: respond.throttle_time_ms(),
        };
        response.encode(w, version);
    };
    if let Err(code) = request.check(Operation::Alter, Resource::Cluster) {
        let outcomes = refused(denied(code));
        return Ok(request.reply(|w| encode(outcomes, w, version)));
    }
    let answer = request.parts.cluster.call(Command::AlterUsers(wishes));
    answer::respond(request.respond(), answer, move |reply, w, version| {
        let outcomes = match reply {
            Some(Reply::AlterUsers(outcomes)) => outcomes,
            _ => refused(ErrorCode::NotController.into()),
        };
        encode(outcomes, w, version);
    })
}
