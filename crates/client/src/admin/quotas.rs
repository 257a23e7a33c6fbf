//! Quotas of users, clients and addresses.

use rustka_wire::alter_client_quotas_request::{
    AlterClientQuotasRequest, EntityData, EntryData, OpData,
};
use rustka_wire::describe_client_quotas_request::{ComponentData, DescribeClientQuotasRequest};

use crate::client::Client;
use crate::cluster::{check, missing};
use crate::error::Result;

/// Whom a quota is for: `user`, `client-id` or `ip`, each with a name or, without one, as the default of its kind.
pub type QuotaEntity = Vec<(String, Option<String>)>;

/// Which entities are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaMatch<'a> {
    /// That of this name.
    Name(&'a str),
    /// The default.
    Default,
    /// Any, the default among them.
    Any,
}

impl Client {
    /// The quotas of entities that consist of just these parts; keys with their values.
    pub async fn describe_quotas(
        &self,
        parts: &[(&str, QuotaMatch<'_>)],
    ) -> Result<Vec<(QuotaEntity, Vec<(String, f64)>)>> {
        let components = parts.iter().map(|(entity_type, wanted)| {
            let (match_type, name) = match wanted {
                QuotaMatch::Name(name) => (0, Some((*name).into())),
                QuotaMatch::Default => (1, None),
                QuotaMatch::Any => (2, None),
            };
            ComponentData {
                entity_type: (*entity_type).into(),
                match_type,
                r#match: name,
            }
        });
        let request = DescribeClientQuotasRequest {
            components: components.collect(),
            strict: true,
        };
        let answer = self.call(&request).await?;
        let told = answer.body()?;
        check("quotas", told.error_code, told.error_message.as_deref())?;
        let entries = told.entries.unwrap_or_default().into_iter().map(|entry| {
            let entity = entry.entity.into_iter().map(|part| {
                let name = part.entity_name.map(|name| name.into_owned());
                (part.entity_type.into_owned(), name)
            });
            let values = entry.values.into_iter();
            let values = values.map(|value| (value.key.into_owned(), value.value));
            (entity.collect(), values.collect())
        });
        Ok(entries.collect())
    }

    /// Sets quotas of an entity; those without a value hold no longer.
    pub async fn alter_quotas(
        &self,
        entity: &[(&str, Option<&str>)],
        changes: &[(&str, Option<f64>)],
    ) -> Result<()> {
        let parts = entity.iter().map(|(entity_type, name)| EntityData {
            entity_type: (*entity_type).into(),
            entity_name: name.map(Into::into),
        });
        let ops = changes.iter().map(|(key, value)| OpData {
            key: (*key).into(),
            value: value.unwrap_or(0.0),
            remove: value.is_none(),
        });
        let request = AlterClientQuotasRequest {
            entries: vec![EntryData {
                entity: parts.collect(),
                ops: ops.collect(),
            }],
            validate_only: false,
        };
        let answer = self.call(&request).await?;
        let told = answer.body()?;
        let told = told.entries.first();
        let told = told.ok_or_else(|| missing("AlterClientQuotas"))?;
        check("quotas", told.error_code, told.error_message.as_deref())
    }
}
