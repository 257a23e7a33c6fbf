//! DescribeAcls (key 29), CreateAcls (key 30) and DeleteAcls (key 31): who may do what.
//! v1 pattern types (KIP-290) · v2 flexible · v3 users as resources (KIP-373)

use crate::api::access::denied;
use crate::api::request::{Handled, Outcome, Request};
use crate::base::hooks::{Operation, Resource};
use crate::base::random;
use crate::handlers::answer;
use rustka_core::cluster::command::{Command, CreateAcl, Reply};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::security::acl::{Acl, Pattern, RawAcl, ResourceType};
use rustka_core::security::filter::AclFilter;
use rustka_wire::codec::Writer;
use rustka_wire::create_acls_request::{AclCreation, CreateAclsRequest};
use rustka_wire::create_acls_response::{AclCreationResult, CreateAclsResponse};
use rustka_wire::delete_acls_request::{DeleteAclsFilter, DeleteAclsRequest};
use rustka_wire::delete_acls_response::{
    DeleteAclsFilterResult, DeleteAclsMatchingAcl, DeleteAclsResponse,
};
use rustka_wire::describe_acls_request::DescribeAclsRequest;
use rustka_wire::describe_acls_response::{
    AclDescription, DescribeAclsResource, DescribeAclsResponse,
};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a request with a number that means nothing has no answer, as in Kafka.
const UNKNOWN: &str = "an ACL or a filter with an unknown type, pattern, operation or permission";

/// Refuses who may not do this to ACLs, and everybody where there is no authorizer that has any.
fn check(request: &Request<'_>, operation: Operation) -> Result<(), Refusal> {
    let disabled = || {
        let words = "No authorizer with ACLs is configured: set authorizer.class.name";
        Refusal::new(ErrorCode::SecurityDisabled, words)
    };
    if request.may_do_everything() {
        return Err(disabled());
    }
    request
        .check(operation, Resource::Cluster)
        .map_err(denied)?;
    match request.node.security.authorizer.is_some() && request.node.hooks.authorizer.is_none() {
        true => Ok(()),
        false => Err(disabled()),
    }
}

/// Tells the ACLs that a filter means, those of one resource together.
pub fn describe(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: DescribeAclsRequest<'_> = request.decode()?;
    let filter = AclFilter {
        kind: asked.resource_type_filter,
        pattern: asked.pattern_type_filter,
        name: asked.resource_name_filter.map(Box::from),
        principal: asked.principal_filter.map(Box::from),
        host: asked.host_filter.map(Box::from),
        operation: asked.operation,
        permission: asked.permission_type,
    };
    if filter.is_unknown() {
        return Ok(Outcome::Close(UNKNOWN.to_owned()));
    }
    let mut response = DescribeAclsResponse::default();
    match check(&request, Operation::Describe) {
        Ok(()) => {
            response.error_message = Some("".into());
            response.resources = resources(request.node.security.acls().all(), &filter);
        }
        Err(refusal) => {
            response.error_code = refusal.code.code();
            response.error_message = refusal.message;
        }
    }
    response.throttle_time_ms = request.throttle_time_ms();
    Ok(request.reply(|w| response.encode(w, version)))
}

fn resources<'a>(
    acls: impl Iterator<Item = &'a Arc<Acl>>,
    filter: &AclFilter,
) -> Vec<DescribeAclsResource<'static>> {
    let mut grouped: BTreeMap<(ResourceType, Pattern, &str), Vec<AclDescription<'static>>> =
        BTreeMap::new();
    for acl in acls.filter(|acl| filter.fits(acl)) {
        let resource = grouped.entry((acl.kind, acl.pattern, &acl.name));
        resource.or_default().push(AclDescription {
            principal: Cow::Owned(acl.principal.to_string()),
            host: Cow::Owned(acl.host.to_string()),
            operation: acl.operation,
            permission_type: acl.permission.code(),
        });
    }
    let grouped = grouped.into_iter();
    let resources = grouped.map(|((kind, pattern, name), acls)| DescribeAclsResource {
        resource_type: kind.code(),
        resource_name: Cow::Owned(name.to_owned()),
        pattern_type: pattern.code(),
        acls,
    });
    resources.collect()
}

/// Adds ACLs, each for itself. One that is there already stays as it is.
pub fn create(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: CreateAclsRequest<'_> = request.decode()?;
    let raw: Vec<RawAcl<'_>> = asked.creations.iter().map(raw).collect();
    if raw.iter().any(RawAcl::is_unknown) {
        return Ok(Outcome::Close(UNKNOWN.to_owned()));
    }
    let count = raw.len();
    let respond = request.respond();
    let encode = move |results: Vec<Result<(), Refusal>>, w: &mut Writer, version| {
        let response = CreateAclsResponse {
            results: results.into_iter().map(created).collect(),
            throttle_time_ms: respond.throttle_time_ms(),
        };
        response.encode(w, version);
    };
    if let Err(refusal) = check(&request, Operation::Alter) {
        let results = vec![Err(refusal); count];
        return Ok(request.reply(|w| encode(results, w, version)));
    }
    let creations = raw.iter().zip(random::uuids(count));
    let creations = creations.map(|(raw, id)| CreateAcl {
        id,
        acl: raw.check(),
    });
    let command = Command::CreateAcls(creations.collect());
    let answer = request.parts.cluster.call(command);
    answer::respond(request.respond(), answer, move |reply, w, version| {
        let results = match reply {
            Some(Reply::CreateAcls(results)) => results,
            _ => vec![Err(ErrorCode::NotController.into()); count],
        };
        encode(results, w, version);
    })
}

fn created(result: Result<(), Refusal>) -> AclCreationResult<'static> {
    let refusal = result.err();
    AclCreationResult {
        error_code: refusal.as_ref().map_or(0, |refusal| refusal.code.code()),
        error_message: match refusal {
            Some(refusal) => refusal.message,
            None => Some("".into()),
        },
    }
}

fn raw<'a>(creation: &'a AclCreation<'_>) -> RawAcl<'a> {
    RawAcl {
        kind: creation.resource_type,
        pattern: creation.resource_pattern_type,
        name: &creation.resource_name,
        principal: &creation.principal,
        host: &creation.host,
        operation: creation.operation,
        permission: creation.permission_type,
    }
}

/// Takes ACLs away and tells which, for each filter by what was there before the request.
pub fn delete(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: DeleteAclsRequest<'_> = request.decode()?;
    let filters: Vec<AclFilter> = asked.filters.iter().map(filter).collect();
    if filters.iter().any(AclFilter::is_unknown) {
        return Ok(Outcome::Close(UNKNOWN.to_owned()));
    }
    let count = filters.len();
    let respond = request.respond();
    let encode = move |matching: Result<Vec<Vec<Arc<Acl>>>, Refusal>, w: &mut Writer, version| {
        let filter_results = match &matching {
            Ok(matching) => matching.iter().map(|acls| deleted_all(acls)).collect(),
            Err(refusal) => vec![not_deleted(refusal); count],
        };
        let response = DeleteAclsResponse {
            filter_results,
            throttle_time_ms: respond.throttle_time_ms(),
        };
        response.encode(w, version);
    };
    if let Err(refusal) = check(&request, Operation::Alter) {
        return Ok(request.reply(|w| encode(Err(refusal), w, version)));
    }
    let answer = request.parts.cluster.call(Command::DeleteAcls(filters));
    answer::respond(request.respond(), answer, move |reply, w, version| {
        let matching = match reply {
            Some(Reply::DeleteAcls(matching)) => matching,
            _ => Err(ErrorCode::NotController.into()),
        };
        encode(matching, w, version);
    })
}

fn filter(asked: &DeleteAclsFilter<'_>) -> AclFilter {
    AclFilter {
        kind: asked.resource_type_filter,
        pattern: asked.pattern_type_filter,
        name: asked.resource_name_filter.as_deref().map(Box::from),
        principal: asked.principal_filter.as_deref().map(Box::from),
        host: asked.host_filter.as_deref().map(Box::from),
        operation: asked.operation,
        permission: asked.permission_type,
    }
}

fn deleted_all(acls: &[Arc<Acl>]) -> DeleteAclsFilterResult<'_> {
    DeleteAclsFilterResult {
        error_message: None,
        matching_acls: acls.iter().map(|acl| deleted(acl)).collect(),
        ..Default::default()
    }
}

fn not_deleted(refusal: &Refusal) -> DeleteAclsFilterResult<'_> {
    DeleteAclsFilterResult {
        error_code: refusal.code.code(),
        error_message: refusal.message.as_deref().map(Cow::Borrowed),
        ..Default::default()
    }
}

fn deleted(acl: &Acl) -> DeleteAclsMatchingAcl<'_> {
    DeleteAclsMatchingAcl {
        error_message: None,
        resource_type: acl.kind.code(),
        resource_name: Cow::Borrowed(&acl.name),
        pattern_type: acl.pattern.code(),
        principal: Cow::Borrowed(&acl.principal),
        host: Cow::Borrowed(&acl.host),
        operation: acl.operation,
        permission_type: acl.permission.code(),
        ..Default::default()
    }
}
