//! What a coordinator wrote into its topic, record by record. How the records are batched is the broker's own business.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::batch::{self, Entry};
use crate::schema::{Error, Schemas};

/// Types of records in `__consumer_offsets` and, with the number that no group uses any more, in `__transaction_state`, as
/// the first two bytes of a key number them.
const TYPES: [(i16, &str); 10] = [
    (0, "TransactionLog"),
    (1, "OffsetCommit"),
    (2, "GroupMetadata"),
    (3, "ConsumerGroupMetadata"),
    (4, "ConsumerGroupPartitionMetadata"),
    (5, "ConsumerGroupMemberMetadata"),
    (6, "ConsumerGroupTargetAssignmentMetadata"),
    (7, "ConsumerGroupTargetAssignmentMember"),
    (8, "ConsumerGroupCurrentMemberAssignment"),
    (16, "ConsumerGroupRegularExpression"),
];

/// Puts a list of `{type, key, version, value}` in the place of every `records`. Records of a transaction also tell its
/// `epoch`, and its marker stands as `{commit, epoch}`.
pub fn describe(schemas: &Schemas, value: &mut Value) -> Result<(), Error> {
    match value {
        Value::Array(items) => items
            .iter_mut()
            .try_for_each(|item| describe(schemas, item)),
        Value::Object(fields) => fields.iter_mut().try_for_each(|(key, value)| {
            let bytes = value.as_str().filter(|_| key == "records");
            match bytes.map(|text| STANDARD.decode(text)) {
                Some(Ok(bytes)) => {
                    let records = batch::entries(&bytes).ok_or("a malformed journal")?;
                    let records = records.iter().map(|entry| record(schemas, entry));
                    *value = Value::Array(records.collect::<Result<_, _>>()?);
                    Ok(())
                }
                _ => describe(schemas, value),
            }
        }),
        _ => Ok(()),
    }
}

fn record(schemas: &Schemas, entry: &Entry) -> Result<Value, Error> {
    let key = entry.key.as_deref().ok_or("a record without a key")?;
    if entry.control {
        let (_, kind) = versioned(key)?;
        let (kind, _) = versioned(kind)?;
        return Ok(json!({ "commit": kind == 1, "epoch": entry.producer_epoch }));
    }
    let (number, key) = versioned(key)?;
    let (_, name) = TYPES
        .iter()
        .find(|(known, _)| *known == number)
        .ok_or_else(|| format!("records of type {number} are not known"))?;
    let key = schemas.decode(&format!("{name}Key"), 0, key)?;
    let (version, value) = match entry.value.as_deref() {
        None => (Value::Null, Value::Null),
        Some(value) => {
            let (version, value) = versioned(value)?;
            let tree = schemas.decode(&format!("{name}Value"), version, value)?;
            (json!(version), tree)
        }
    };
    let mut described = json!({ "type": name, "key": key, "version": version, "value": value });
    if entry.transactional {
        described["epoch"] = json!(entry.producer_epoch);
    }
    Ok(described)
}

fn versioned(bytes: &[u8]) -> Result<(i16, &[u8]), Error> {
    let (version, rest) = bytes.split_at_checked(2).ok_or("no version")?;
    let version = version.try_into().map_err(|_| "no version")?;
    Ok((i16::from_be_bytes(version), rest))
}
