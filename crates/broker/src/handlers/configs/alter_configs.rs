//! AlterConfigs (key 33) and IncrementalAlterConfigs (key 44): changes per resource, each made whole or not at all
//! (E37, E38). An error of one resource does not concern the others.
//! AlterConfigs v2 flexible; IncrementalAlterConfigs v1 flexible

use crate::api::request::{Outcome, Request};
use crate::base::hooks::Operation;
use crate::handlers::configs::alter::{Change, Resource, alter, check, kind};
use rustka_core::config::{AlterOperation, Alteration};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_wire::alter_configs_request::AlterConfigsRequest;
use rustka_wire::alter_configs_response::{AlterConfigsResourceResponse, AlterConfigsResponse};
use rustka_wire::codec::Reader;
use rustka_wire::incremental_alter_configs_request::{
    AlterableConfig, IncrementalAlterConfigsRequest,
};
use rustka_wire::incremental_alter_configs_response as incremental;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Replaces what is set for each resource.
pub fn replace(request: Request<'_>) -> Outcome {
    let version = request.header.version;
    let asked = match AlterConfigsRequest::decode(&mut Reader::new(request.body()), version) {
        Ok(asked) => asked,
        Err(error) => return error.into(),
    };
    let names = asked.resources.iter();
    let answers = answer_each(
        &request,
        names.map(|resource| (resource.resource_type, &*resource.resource_name)),
        |at| {
            let configs = asked.resources[at].configs.iter();
            let pairs = configs.map(|config| (&*config.name, config.value.as_deref()));
            Ok(Change::Replace(pairs.collect()))
        },
        asked.validate_only,
    );
    let response = AlterConfigsResponse {
        responses: answers
            .into_iter()
            .map(|answer| AlterConfigsResourceResponse {
                error_code: answer.error_code,
                error_message: answer.message,
                resource_type: answer.kind,
                resource_name: Cow::Borrowed(answer.name),
            })
            .collect(),
        throttle_time_ms: request.throttle_time_ms(),
    };
    request.reply(|w| response.encode(w, version))
}

/// Sets, deletes, appends and subtracts.
pub fn incremental(request: Request<'_>) -> Outcome {
    let version = request.header.version;
    let mut reader = Reader::new(request.body());
    let asked = match IncrementalAlterConfigsRequest::decode(&mut reader, version) {
        Ok(asked) => asked,
        Err(error) => return error.into(),
    };
    let names = asked.resources.iter();
    let answers = answer_each(
        &request,
        names.map(|resource| (resource.resource_type, &*resource.resource_name)),
        |at| {
            let resource = &asked.resources[at];
            let alteration = |config| alteration(resource.resource_type, config);
            let changes = resource.configs.iter().map(alteration);
            Ok(Change::Alter(changes.collect::<Result<_, _>>()?))
        },
        asked.validate_only,
    );
    let response = incremental::IncrementalAlterConfigsResponse {
        responses: answers
            .into_iter()
            .map(|answer| incremental::AlterConfigsResourceResponse {
                error_code: answer.error_code,
                error_message: answer.message,
                resource_type: answer.kind,
                resource_name: Cow::Borrowed(answer.name),
            })
            .collect(),
        throttle_time_ms: request.throttle_time_ms(),
    };
    request.reply(|w| response.encode(w, version))
}

fn alteration(kind: i8, config: &AlterableConfig<'_>) -> Result<Alteration, Refusal> {
    let operation = AlterOperation::from_code(config.config_operation);
    Ok(Alteration {
        name: config.name.to_string(),
        // Kafka's controller knows no answer to an operation without a name.
        operation: operation.map_err(|refusal| match kind {
            kind::BROKER_LOGGER => refusal,
            _ => ErrorCode::UnknownServerError.into(),
        })?,
        value: config.value.as_deref().map(str::to_owned),
    })
}

struct Answer<'a> {
    kind: i8,
    name: &'a str,
    error_code: i16,
    message: Option<Cow<'static, str>>,
}

/// Changes one resource after the other, in the order of the request.
fn answer_each<'a, 'b>(
    request: &Request<'_>,
    resources: impl Iterator<Item = (i8, &'a str)> + Clone,
    change: impl Fn(usize) -> Result<Change<'b>, Refusal>,
    validate_only: bool,
) -> Vec<Answer<'a>> {
    let node = request.node;
    let own_name = node.id.to_string();
    let mut times: BTreeMap<(i8, &str), u32> = BTreeMap::new();
    for resource in resources.clone() {
        *times.entry(resource).or_default() += 1;
    }
    let result = |at: usize, kind: i8, name: &'a str| {
        if times.get(&(kind, name)).is_some_and(|times| *times > 1) {
            let message = "Each resource must appear at most once.";
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        let change = change(at)?;
        change.check()?;
        check(request, Operation::AlterConfigs, kind, name)?;
        let resource = Resource::named(kind, name, node.id)?;
        // Kafka keeps what is set for "01" apart from broker 1, where it has no effect.
        let aside = kind == kind::BROKER && !name.is_empty() && name != own_name;
        alter(node, resource, &change, validate_only || aside)
    };
    let answers = resources.enumerate().map(|(at, (kind, name))| {
        let (error_code, message) = match result(at, kind, name) {
            Ok(()) => (0, None),
            Err(refusal) => (refusal.code.code(), refusal.message),
        };
        Answer {
            kind,
            name,
            error_code,
            message,
        }
    });
    answers.collect()
}
