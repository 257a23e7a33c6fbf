//! DescribeClientQuotas (key 48) and AlterClientQuotas (key 49): how much clients may use (KIP-546).
//! v1 flexible

use crate::api::access::denied;
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::handlers::answer;
use rustka_core::cluster::command::{Command, Reply};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::security::quota::alter::{QuotaOutcome, QuotaWish, RawEntity};
use rustka_core::security::quota::filter::{QuotaFilter, RawComponent};
use rustka_core::security::quota::{Name, Part, QuotaEntity, QuotaKey};
use rustka_wire::alter_client_quotas_request::{self, AlterClientQuotasRequest};
use rustka_wire::alter_client_quotas_response::{self, AlterClientQuotasResponse};
use rustka_wire::codec::Writer;
use rustka_wire::describe_client_quotas_request::DescribeClientQuotasRequest;
use rustka_wire::describe_client_quotas_response::{
    DescribeClientQuotasResponse, EntityData, EntryData, ValueData,
};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Tells the quotas of the entities that a filter means.
pub fn describe(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: DescribeClientQuotasRequest<'_> = request.decode()?;
    let components = asked.components.iter().map(|component| RawComponent {
        part: &component.entity_type,
        match_type: component.match_type,
        name: component.r#match.as_deref(),
    });
    let components: Vec<RawComponent<'_>> = components.collect();
    let allowed = request.check(Operation::DescribeConfigs, Resource::Cluster);
    let filter = allowed
        // Kafka says this without words.
        .map_err(Refusal::from)
        .and_then(|()| QuotaFilter::of(&components, asked.strict));
    let mut response = DescribeClientQuotasResponse::default();
    match filter {
        Ok(filter) => {
            let meters = request.node.quotas.meters();
            let fitting = meters.quotas().all().filter(|(of, _)| filter.fits(of));
            response.entries = Some(fitting.map(|(of, values)| entry(of, values)).collect());
            response.error_message = Some("".into());
        }
        Err(refusal) => {
            response.error_code = refusal.code.code();
            response.error_message = refusal.message;
            response.entries = None;
        }
    }
    response.throttle_time_ms = request.throttle_time_ms();
    Ok(request.reply(|w| response.encode(w, version)))
}

fn entry(of: &QuotaEntity, values: &BTreeMap<QuotaKey, f64>) -> EntryData<'static> {
    let part = |(part, name): (Part, &Name)| EntityData {
        entity_type: Cow::Borrowed(part.name()),
        entity_name: name.get().map(|name| Cow::Owned(name.to_owned())),
    };
    let value = |(key, value): (&QuotaKey, &f64)| ValueData {
        key: Cow::Borrowed(key.name()),
        value: *value,
    };
    EntryData {
        entity: of.parts().map(part).collect(),
        values: values.iter().map(value).collect(),
    }
}

/// Sets quotas and takes them away, each entity whole or not at all.
pub fn alter(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: AlterClientQuotasRequest<'_> = request.decode()?;
    let wishes: Vec<QuotaWish> = asked.entries.iter().map(wish).collect();
    let entities: Vec<RawEntity> = wishes.iter().map(|wish| wish.entity.clone()).collect();
    let refused = |refusal: &Refusal, entities: Vec<RawEntity>| -> Vec<QuotaOutcome> {
        let refused = entities.into_iter();
        refused.map(|of| (of, Err(refusal.clone()))).collect()
    };
    let respond = request.respond();
    let encode = move |outcomes: Vec<QuotaOutcome>, w: &mut Writer, version| {
        let response = AlterClientQuotasResponse {
            entries: outcomes.into_iter().map(told).collect(),
            throttle_time_ms: respond.throttle_time_ms(),
        };
        response.encode(w, version);
    };
    if let Err(code) = request.check(Operation::AlterConfigs, Resource::Cluster) {
        let outcomes = refused(&denied(code), entities);
        return Ok(request.reply(|w| encode(outcomes, w, version)));
    }
    let answer = request.parts.cluster.call(Command::AlterQuotas {
        wishes,
        validate_only: asked.validate_only,
    });
    answer::respond(request.respond(), answer, move |reply, w, version| {
        let outcomes = match reply {
            Some(Reply::AlterQuotas(outcomes)) => outcomes,
            _ => refused(&ErrorCode::NotController.into(), entities),
        };
        encode(outcomes, w, version);
    })
}

fn wish(entry: &alter_client_quotas_request::EntryData<'_>) -> QuotaWish {
    let entity = entry.entity.iter().map(|part| {
        let name = part.entity_name.as_deref().map(Box::from);
        (Box::from(&*part.entity_type), name)
    });
    let changes = entry.ops.iter().map(|change| {
        let value = (!change.remove).then_some(change.value);
        (Box::from(&*change.key), value)
    });
    QuotaWish {
        entity: entity.collect(),
        changes: changes.collect(),
    }
}

fn told((entity, outcome): QuotaOutcome) -> alter_client_quotas_response::EntryData<'static> {
    let refusal = outcome.err();
    let parts = entity.into_iter();
    alter_client_quotas_response::EntryData {
        error_code: refusal.as_ref().map_or(0, |refusal| refusal.code.code()),
        error_message: refusal.and_then(|refusal| refusal.message),
        entity: parts
            .map(|(part, name)| alter_client_quotas_response::EntityData {
                entity_type: Cow::Owned(part.into()),
                entity_name: name.map(|name| Cow::Owned(name.into())),
            })
            .collect(),
    }
}
