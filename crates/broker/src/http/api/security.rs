//! Users, ACLs and quotas.

use super::groups::refuse;
use crate::base::random;
use crate::http::answer::{Answer, created, done, json};
use crate::http::ask::Ask;
use crate::http::input::Fields;
use crate::http::problem::Problem;
use rustka_client::To;
use rustka_core::error::ErrorCode;
use rustka_core::security::acl::{Operation, Pattern, Permission, ResourceType};
use rustka_core::security::scram::{ITERATIONS_MIN, Strength};
use rustka_wire::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialDeletion, ScramCredentialUpsertion,
};
use rustka_wire::create_acls_request::{AclCreation, CreateAclsRequest};
use rustka_wire::delete_acls_request::{DeleteAclsFilter, DeleteAclsRequest};
use rustka_wire::describe_acls_request::DescribeAclsRequest;
use rustka_wire::describe_user_scram_credentials_request::DescribeUserScramCredentialsRequest;
use serde_json::{Value, json};

/// Whatever version both sides know.
const ANY_VERSION: (i16, i16) = (0, i16::MAX);
/// ACL filters' number for anything, and ACLs' for every operation.
const ANY: i8 = 1;
const ALL: i8 = 2;

/// The users who log in by SCRAM, and whether anybody has to log in.
pub async fn users(ask: Ask) -> Result<Answer, Problem> {
    let request = DescribeUserScramCredentialsRequest { users: None };
    let answer = ask.client().call_at(To::Any, ANY_VERSION, &request).await?;
    let told = answer.body()?;
    refuse(told.error_code)?;
    let users = told.results.iter().map(|user| {
        let ways = user.credential_infos.iter().filter_map(|info| {
            let strength = Strength::from_code(info.mechanism)?;
            Some(json!({ "mechanism": strength.mechanism(), "iterations": info.iterations }))
        });
        json!({ "user": user.user, "credentials": ways.collect::<Vec<_>>() })
    });
    Ok(json(&json!({
        "users": users.collect::<Vec<_>>(),
        "hasLogins": ask.http.guard.has_logins(),
        "hasAuthorizer": ask.node().security.authorizer.is_some(),
    })))
}

/// Adds a user, or gives one another password.
pub async fn put_user(ask: Ask) -> Result<Answer, Problem> {
    let mut fields = ask.fields()?;
    let (user, password) = (fields.required("user")?, fields.required("password")?);
    fields.end()?;
    if user.is_empty() || password.is_empty() {
        return Err(Problem::bad("user and password must not be empty"));
    }
    let salting = tokio::task::spawn_blocking(move || {
        let rounds = ITERATIONS_MIN.unsigned_abs();
        Strength::ALL.map(|strength| {
            let salt = random::salt();
            (strength, salt, strength.salted(&password, &salt, rounds))
        })
    });
    let salted = salting.await.map_err(|_| ErrorCode::UnknownServerError)?;
    // Kafka takes one change of a user in a request.
    for (strength, salt, salted) in &salted {
        let upsertion = ScramCredentialUpsertion {
            name: user.as_str().into(),
            mechanism: strength.code(),
            iterations: ITERATIONS_MIN,
            salt: salt.as_slice().into(),
            salted_password: salted.as_slice().into(),
        };
        let request = AlterUserScramCredentialsRequest {
            upsertions: vec![upsertion],
            ..Default::default()
        };
        alter(&ask, &request).await?;
    }
    Ok(created(&json!({ "user": user })))
}

/// Removes a user.
pub async fn delete_user(ask: Ask) -> Result<Answer, Problem> {
    let known = ask
        .node()
        .security
        .users()
        .all()
        .any(|(user, _)| user == ask.name(0));
    let ways: Vec<Strength> = match known {
        true => Strength::ALL
            .into_iter()
            .filter(|way| ask.node().security.credential(*way, ask.name(0)).is_some())
            .collect(),
        // The broker says who is not there, and whether one may ask.
        false => vec![Strength::Sha256],
    };
    for strength in ways {
        let deletion = ScramCredentialDeletion {
            name: ask.name(0).into(),
            mechanism: strength.code(),
        };
        let request = AlterUserScramCredentialsRequest {
            deletions: vec![deletion],
            ..Default::default()
        };
        alter(&ask, &request).await?;
    }
    Ok(done())
}

async fn alter(ask: &Ask, request: &AlterUserScramCredentialsRequest<'_>) -> Result<(), Problem> {
    let answer = ask.client().call_at(To::Any, ANY_VERSION, request).await?;
    let told = answer.body()?;
    told.results.iter().try_for_each(|result| {
        refuse(result.error_code)
            .map_err(|problem| worded(problem, result.error_message.as_deref()))
    })
}

fn worded(problem: Problem, message: Option<&str>) -> Problem {
    match message.filter(|message| !message.is_empty()) {
        Some(message) => Problem {
            detail: message.to_owned(),
            ..problem
        },
        None => problem,
    }
}

const TYPES: [(ResourceType, &str); 6] = [
    (ResourceType::Topic, "topic"),
    (ResourceType::Group, "group"),
    (ResourceType::Cluster, "cluster"),
    (ResourceType::TransactionalId, "transactional-id"),
    (ResourceType::DelegationToken, "delegation-token"),
    (ResourceType::User, "user"),
];
const OPERATIONS: [(Operation, &str); 13] = [
    (Operation::Read, "read"),
    (Operation::Write, "write"),
    (Operation::Create, "create"),
    (Operation::Delete, "delete"),
    (Operation::Alter, "alter"),
    (Operation::Describe, "describe"),
    (Operation::ClusterAction, "cluster-action"),
    (Operation::DescribeConfigs, "describe-configs"),
    (Operation::AlterConfigs, "alter-configs"),
    (Operation::IdempotentWrite, "idempotent-write"),
    (Operation::CreateTokens, "create-tokens"),
    (Operation::DescribeTokens, "describe-tokens"),
    (Operation::TwoPhaseCommit, "two-phase-commit"),
];

fn type_name(code: i8) -> &'static str {
    let found = TYPES.iter().find(|(kind, _)| kind.code() == code);
    found.map_or("unknown", |(_, name)| name)
}

fn operation_name(code: i8) -> &'static str {
    let found = OPERATIONS
        .iter()
        .find(|(operation, _)| operation.code() == code);
    match code {
        ALL => "all",
        _ => found.map_or("unknown", |(_, name)| name),
    }
}

/// Every ACL.
pub async fn acls(ask: Ask) -> Result<Answer, Problem> {
    let request = DescribeAclsRequest {
        resource_type_filter: ANY,
        resource_name_filter: None,
        pattern_type_filter: ANY,
        principal_filter: None,
        host_filter: None,
        operation: ANY,
        permission_type: ANY,
    };
    let answer = ask.client().call_at(To::Any, ANY_VERSION, &request).await?;
    let told = answer.body()?;
    // Without an authorizer there are none, and that is worth a sentence.
    if told.error_code == ErrorCode::SecurityDisabled.code() {
        return Ok(json(&json!({ "acls": [], "hasAuthorizer": false })));
    }
    refuse(told.error_code).map_err(|problem| worded(problem, told.error_message.as_deref()))?;
    let rows = told.resources.iter().flat_map(|resource| {
        resource.acls.iter().map(|acl| {
            let is_prefix = resource.pattern_type == Pattern::Prefixed.code();
            let is_deny = acl.permission_type == Permission::Deny.code();
            json!({
                "type": type_name(resource.resource_type),
                "name": resource.resource_name,
                "pattern": if is_prefix { "prefixed" } else { "literal" },
                "principal": acl.principal,
                "host": acl.host,
                "operation": operation_name(acl.operation),
                "permission": if is_deny { "deny" } else { "allow" },
            })
        })
    });
    let rows: Vec<Value> = rows.collect();
    Ok(json(&json!({ "acls": rows, "hasAuthorizer": true })))
}

/// An ACL as it is sent here.
struct Sent {
    kind: i8,
    name: String,
    pattern: i8,
    principal: String,
    host: String,
    operation: i8,
    permission: i8,
}

impl Sent {
    fn take(mut fields: Fields) -> Result<Sent, Problem> {
        let kind = fields.required("type")?;
        let operation = fields.required("operation")?;
        let sent = Sent {
            kind: TYPES
                .iter()
                .find(|(_, name)| *name == kind)
                .map(|(kind, _)| kind.code())
                .ok_or_else(|| wrong("type", &kind, TYPES.iter().map(|(_, name)| *name)))?,
            operation: match operation.as_str() {
                "all" => ALL,
                operation => OPERATIONS
                    .iter()
                    .find(|(_, name)| *name == operation)
                    .map(|(operation, _)| operation.code())
                    .ok_or_else(|| {
                        let names = OPERATIONS.iter().map(|(_, name)| *name);
                        wrong("operation", operation, names.chain(["all"]))
                    })?,
            },
            name: fields
                .text("name")?
                .unwrap_or_else(|| "kafka-cluster".to_owned()),
            pattern: match fields.text("pattern")?.as_deref() {
                None | Some("literal") => Pattern::Literal.code(),
                Some("prefixed") => Pattern::Prefixed.code(),
                Some(other) => return Err(wrong("pattern", other, ["literal", "prefixed"])),
            },
            principal: fields.required("principal")?,
            host: fields.text("host")?.unwrap_or_else(|| "*".to_owned()),
            permission: match fields.text("permission")?.as_deref() {
                None | Some("allow") => Permission::Allow.code(),
                Some("deny") => Permission::Deny.code(),
                Some(other) => return Err(wrong("permission", other, ["allow", "deny"])),
            },
        };
        fields.end()?;
        Ok(sent)
    }
}

fn wrong<'n>(name: &str, text: &str, expected: impl IntoIterator<Item = &'n str>) -> Problem {
    let expected: Vec<&str> = expected.into_iter().collect();
    Problem::bad(format!(
        "{name} is {text:?}: expected {}",
        expected.join(", ")
    ))
}

/// Adds an ACL.
pub async fn add_acl(ask: Ask) -> Result<Answer, Problem> {
    let sent = Sent::take(ask.fields()?)?;
    let request = CreateAclsRequest {
        creations: vec![AclCreation {
            resource_type: sent.kind,
            resource_name: sent.name.as_str().into(),
            resource_pattern_type: sent.pattern,
            principal: sent.principal.as_str().into(),
            host: sent.host.as_str().into(),
            operation: sent.operation,
            permission_type: sent.permission,
        }],
    };
    let answer = ask.client().call_at(To::Any, ANY_VERSION, &request).await?;
    for result in answer.body()?.results {
        refuse(result.error_code)
            .map_err(|problem| worded(problem, result.error_message.as_deref()))?;
    }
    Ok(created(&json!({})))
}

/// Removes the one ACL that is sent.
pub async fn delete_acl(ask: Ask) -> Result<Answer, Problem> {
    let sent = Sent::take(ask.fields()?)?;
    let request = DeleteAclsRequest {
        filters: vec![DeleteAclsFilter {
            resource_type_filter: sent.kind,
            resource_name_filter: Some(sent.name.as_str().into()),
            pattern_type_filter: sent.pattern,
            principal_filter: Some(sent.principal.as_str().into()),
            host_filter: Some(sent.host.as_str().into()),
            operation: sent.operation,
            permission_type: sent.permission,
        }],
    };
    let answer = ask.client().call_at(To::Any, ANY_VERSION, &request).await?;
    let told = answer.body()?;
    for result in &told.filter_results {
        refuse(result.error_code)
            .map_err(|problem| worded(problem, result.error_message.as_deref()))?;
    }
    match told
        .filter_results
        .iter()
        .any(|result| !result.matching_acls.is_empty())
    {
        true => Ok(done()),
        false => Err(Problem::missing("there is no such ACL")),
    }
}
