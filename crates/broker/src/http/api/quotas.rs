//! Quotas of users, clients and addresses.

use super::groups::refuse;
use crate::http::answer::{Answer, done, json};
use crate::http::ask::Ask;
use crate::http::input::Fields;
use crate::http::problem::Problem;
use rustka_client::To;
use rustka_wire::alter_client_quotas_request::{
    AlterClientQuotasRequest, EntityData, EntryData, OpData,
};
use rustka_wire::describe_client_quotas_request::DescribeClientQuotasRequest;
use serde_json::{Map, Value, json};

/// Whatever version both sides know.
const ANY: (i16, i16) = (0, i16::MAX);

/// Every quota that is set. An entity without a name stands for all that have none of their own.
pub async fn list(ask: Ask) -> Result<Answer, Problem> {
    let request = DescribeClientQuotasRequest {
        components: Vec::new(),
        strict: false,
    };
    let answer = ask.client().call_at(To::Any, ANY, &request).await?;
    let told = answer.body()?;
    refuse(told.error_code)?;
    let rows = told.entries.iter().flatten().map(|entry| {
        let entity = entry.entity.iter();
        let entity = entity.map(|one| json!({ "type": one.entity_type, "name": one.entity_name }));
        let values = entry.values.iter();
        let values = values.map(|one| (one.key.to_string(), one.value.into()));
        json!({
            "entity": entity.collect::<Vec<_>>(),
            "quotas": values.collect::<Map<_, _>>(),
        })
    });
    let rows: Vec<Value> = rows.collect();
    Ok(json(&json!({ "quotas": rows })))
}

/// Sets quotas of an entity; null takes one away.
pub async fn alter(ask: Ask) -> Result<Answer, Problem> {
    let mut fields = ask.fields()?;
    let entity = fields.list("entity")?.into_iter().map(|one| {
        let mut one = Fields::of(one, "an entity")?;
        let found = (one.required("type")?, one.text("name")?);
        one.end()?;
        Ok(found)
    });
    let entity: Vec<(String, Option<String>)> = entity.collect::<Result<_, Problem>>()?;
    let quotas = fields.texts("quotas")?;
    fields.end()?;
    let ops = quotas.iter().map(|(key, value)| {
        let number = value.as_deref().map(str::parse::<f64>).transpose();
        let number = number.map_err(|_| Problem::bad(format!("quotas.{key} is no number")))?;
        Ok(OpData {
            key: key.as_str().into(),
            value: number.unwrap_or(0.0),
            remove: number.is_none(),
        })
    });
    let ops = ops.collect::<Result<Vec<_>, Problem>>()?;
    if entity.is_empty() || ops.is_empty() {
        return Err(Problem::bad("entity and quotas must not be empty"));
    }
    let entity = entity.iter().map(|(kind, name)| EntityData {
        entity_type: kind.as_str().into(),
        entity_name: name.as_deref().map(Into::into),
    });
    let request = AlterClientQuotasRequest {
        entries: vec![EntryData {
            entity: entity.collect(),
            ops,
        }],
        validate_only: false,
    };
    let answer = ask.client().call_at(To::Any, ANY, &request).await?;
    for entry in answer.body()?.entries {
        refuse(entry.error_code).map_err(|problem| match &entry.error_message {
            Some(message) if !message.is_empty() => Problem {
                detail: message.to_string(),
                ..problem
            },
            _ => problem,
        })?;
    }
    Ok(done())
}
