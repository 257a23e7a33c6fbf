//! AlterConfigs (key 33) and IncrementalAlterConfigs (key 44): changes per resource, each made whole or not at all
//! (E37, E38). An error of one resource does not concern the others.
//! AlterConfigs v2 flexible; IncrementalAlterConfigs v1 flexible

use crate::api::request::{Handled, Request};
use crate::base::config::NamedResource;
use crate::base::hooks::Operation;
use crate::handlers::answer;
use crate::handlers::configs::damaged;
use crate::handlers::configs::resource::{Resource, check, kind};
use rustka_core::cluster::command::{AlterConfigs, Command, ConfigChange, Reply};
use rustka_core::cluster::resource::{Resource as Subject, ResourceKind};
use rustka_core::config::{AlterOperation, Alteration, DynamicLayer};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_wire::alter_configs_request::AlterConfigsRequest;
use rustka_wire::alter_configs_response::{AlterConfigsResourceResponse, AlterConfigsResponse};
use rustka_wire::codec::Writer;
use rustka_wire::incremental_alter_configs_request::{
    AlterableConfig, IncrementalAlterConfigsRequest,
};
use rustka_wire::incremental_alter_configs_response as incremental;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Replaces what is set for each resource.
pub fn replace(request: Request<'_>) -> Handled {
    let asked: AlterConfigsRequest<'_> = request.decode()?;
    let changes = asked.resources.iter().map(|resource| {
        let configs = resource.configs.iter();
        let pairs = configs.map(|config| {
            let value = config.value.as_deref().map(str::to_owned);
            (config.name.to_string(), value)
        });
        Wanted {
            kind: resource.resource_type,
            name: &resource.resource_name,
            change: Ok(ConfigChange::Replace(pairs.collect())),
        }
    });
    let plan = AlterPlan::of(&request, changes.collect(), asked.validate_only);
    plan.carry_out(&request, |answers, throttle_time_ms, w, version| {
        let response = AlterConfigsResponse {
            responses: answers
                .into_iter()
                .map(|answer| AlterConfigsResourceResponse {
                    error_code: answer.error_code,
                    error_message: answer.message,
                    resource_type: answer.kind,
                    resource_name: Cow::Owned(answer.name),
                })
                .collect(),
            throttle_time_ms,
        };
        response.encode(w, version);
    })
}

/// Sets, deletes, appends and subtracts.
pub fn incremental(request: Request<'_>) -> Handled {
    let asked: IncrementalAlterConfigsRequest<'_> = request.decode()?;
    let changes = asked.resources.iter().map(|resource| {
        let alteration = |config| alteration(resource.resource_type, config);
        let changes: Result<Vec<_>, _> = resource.configs.iter().map(alteration).collect();
        Wanted {
            kind: resource.resource_type,
            name: &resource.resource_name,
            change: changes.map(ConfigChange::Alter),
        }
    });
    let plan = AlterPlan::of(&request, changes.collect(), asked.validate_only);
    plan.carry_out(&request, |answers, throttle_time_ms, w, version| {
        let response = incremental::IncrementalAlterConfigsResponse {
            responses: answers
                .into_iter()
                .map(|answer| incremental::AlterConfigsResourceResponse {
                    error_code: answer.error_code,
                    error_message: answer.message,
                    resource_type: answer.kind,
                    resource_name: Cow::Owned(answer.name),
                })
                .collect(),
            throttle_time_ms,
        };
        response.encode(w, version);
    })
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

/// One resource of a request.
struct Wanted<'a> {
    kind: i8,
    name: &'a str,
    change: Result<ConfigChange, Refusal>,
}

/// What a client is told of one resource.
struct ResourceAnswer {
    kind: i8,
    name: String,
    error_code: i16,
    message: Option<Cow<'static, str>>,
}

impl ResourceAnswer {
    fn new(kind: i8, name: &str, result: Result<(), Refusal>) -> ResourceAnswer {
        let (error_code, message) = match result {
            Ok(()) => (0, None),
            Err(refusal) => (refusal.code.code(), refusal.message),
        };
        ResourceAnswer {
            kind,
            name: name.to_owned(),
            error_code,
            message,
        }
    }
}

/// A request sorted out: what is answered already, and what the cluster has to decide.
#[derive(Default)]
struct AlterPlan {
    /// In the order of the request.
    answers: Vec<ResourceAnswer>,
    changes: Vec<AlterConfigs>,
    /// Whose answer each change is.
    places: Vec<usize>,
}

impl AlterPlan {
    fn of(request: &Request<'_>, resources: Vec<Wanted<'_>>, validate_only: bool) -> AlterPlan {
        let mut times: BTreeMap<(i8, &str), u32> = BTreeMap::new();
        for resource in &resources {
            *times.entry((resource.kind, resource.name)).or_default() += 1;
        }
        let mut plan = AlterPlan::default();
        for wanted in resources {
            let (kind, name) = (wanted.kind, wanted.name);
            let is_single = times.get(&(kind, name)) == Some(&1);
            let result = plan.add(request, wanted, is_single, validate_only);
            plan.answers.push(ResourceAnswer::new(kind, name, result));
        }
        plan
    }

    /// Checks one resource. Log levels change at once, everything else is left to the cluster.
    fn add(
        &mut self,
        request: &Request<'_>,
        wanted: Wanted<'_>,
        is_single: bool,
        validate_only: bool,
    ) -> Result<(), Refusal> {
        if !is_single {
            let message = "Each resource must appear at most once.";
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        let (node, name) = (request.node, wanted.name);
        let mut change = wanted.change?;
        change.check()?;
        check(request, Operation::AlterConfigs, wanted.kind, name)?;
        if wanted.kind == kind::TOPIC {
            damaged::name_all(node, name, &mut change);
        }
        let own_name = node.id.to_string();
        let resource = match Resource::named(wanted.kind, name, node.id)? {
            Resource::Topic(name) => Subject::new(ResourceKind::Topic, name),
            Resource::Broker(DynamicLayer::Default) => Subject::new(ResourceKind::Broker, ""),
            Resource::Broker(DynamicLayer::Broker) => Subject::new(ResourceKind::Broker, &own_name),
            Resource::Named(NamedResource::Group, name) => Subject::new(ResourceKind::Group, name),
            Resource::Named(NamedResource::ClientMetrics, name) => {
                Subject::new(ResourceKind::ClientMetrics, name)
            }
            Resource::Loggers => {
                return match change {
                    ConfigChange::Alter(changes) => node.loggers.alter(&changes, validate_only),
                    ConfigChange::Replace(_) => Err(Refusal::new(
                        ErrorCode::InvalidRequest,
                        "Log levels can only be altered one by one, with IncrementalAlterConfigs.",
                    )),
                };
            }
        };
        // Kafka keeps what is set for "01" apart from broker 1, where it has no effect.
        let aside = wanted.kind == kind::BROKER && !name.is_empty() && name != own_name;
        self.places.push(self.answers.len());
        self.changes.push(AlterConfigs {
            resource,
            change,
            validate_only: validate_only || aside,
        });
        Ok(())
    }

    fn carry_out(
        self,
        request: &Request<'_>,
        encode: impl FnOnce(Vec<ResourceAnswer>, i32, &mut Writer, i16) + Send + 'static,
    ) -> Handled {
        let respond = request.respond();
        let AlterPlan {
            mut answers,
            changes,
            places,
        } = self;
        if changes.is_empty() {
            let (throttle_time_ms, version) = (respond.throttle_time_ms(), respond.version());
            return Ok(request.reply(|w| encode(answers, throttle_time_ms, w, version)));
        }
        let answer = request.parts.cluster.call(Command::AlterConfigs(changes));
        answer::respond(respond.clone(), answer, move |reply, w, version| {
            let results = match reply {
                Some(Reply::AlterConfigs(results)) => results,
                _ => vec![Err(ErrorCode::NotController.into()); places.len()],
            };
            for (at, result) in places.into_iter().zip(results) {
                let ResourceAnswer { kind, name, .. } = &answers[at];
                answers[at] = ResourceAnswer::new(*kind, &name.clone(), result);
            }
            encode(answers, respond.throttle_time_ms(), w, version);
        })
    }
}
