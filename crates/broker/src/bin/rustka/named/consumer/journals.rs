//! Records of the broker's own topics as JSON, each as Kafka's formatters print it: nothing stands between two of them.

use rustka_client::Record;
use rustka_core::transaction::record::Phase;
use rustka_wire::group_metadata_key::GroupMetadataKey;
use rustka_wire::group_metadata_value::GroupMetadataValue;
use rustka_wire::legacy_offset_commit_key::LegacyOffsetCommitKey;
use rustka_wire::legacy_offset_commit_value::LegacyOffsetCommitValue;
use rustka_wire::offset_commit_key::OffsetCommitKey;
use rustka_wire::offset_commit_value::OffsetCommitValue;
use rustka_wire::transaction_log_key::TransactionLogKey;
use rustka_wire::transaction_log_value::TransactionLogValue;
use rustka_wire::{DecodeError, Reader};
use serde_json::{Value, json};

/// The fields of all these records, in the order of their schemas. None stands before another one in one schema and behind it
/// in another.
const ORDER: [&str; 41] = [
    "key",
    "type",
    "version",
    "data",
    "value",
    "transactionalId",
    "group",
    "topic",
    "partition",
    "offset",
    "leaderEpoch",
    "metadata",
    "commitTimestamp",
    "expireTimestamp",
    "topicId",
    "protocolType",
    "generation",
    "protocol",
    "leader",
    "currentStateTimestamp",
    "members",
    "memberId",
    "groupInstanceId",
    "clientId",
    "clientHost",
    "rebalanceTimeout",
    "sessionTimeout",
    "subscription",
    "assignment",
    "producerId",
    "previousProducerId",
    "nextProducerId",
    "producerEpoch",
    "nextProducerEpoch",
    "transactionTimeoutMs",
    "transactionStatus",
    "transactionPartitions",
    "partitionIds",
    "transactionLastUpdateTimestampMs",
    "transactionStartTimestampMs",
    "clientTransactionVersion",
];

/// Which records of which topic are printed. Others are passed over.
pub enum Journal {
    /// What groups have committed.
    Offsets,
    /// Groups of the classic protocol.
    Groups,
    /// Where transactional ids stand.
    Transactions,
}

/// A key's type and fields, and a value's version and fields; no value if there is none.
type Read = (i16, Value, Option<(i16, Value)>);

impl Journal {
    /// Prints a record, if it is one of this kind. The error says what cannot be read.
    pub fn write(&self, record: &Record, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let Some(key) = &record.key else {
            return Ok(());
        };
        let Some((kind, key, value)) = self.read(key, record.value.as_deref())? else {
            return Ok(());
        };
        let value = value.map(|(version, data)| json!({"version": version, "data": data}));
        let whole = json!({"key": {"type": kind, "data": key}, "value": value});
        write_in_order(&whole, out);
        Ok(())
    }

    fn read(&self, key: &[u8], value: Option<&[u8]>) -> Result<Option<Read>, DecodeError> {
        let mut key = Reader::new(key);
        let kind = key.i16()?;
        let r = &mut key;
        Ok(match (self, kind) {
            (Journal::Offsets, OffsetCommitKey::KEY) => Some((
                kind,
                OffsetCommitKey::decode(r, 0)?.to_json(0),
                versioned(value, |r, version| {
                    Ok(OffsetCommitValue::decode(r, version)?.to_json(version))
                })?,
            )),
            (Journal::Offsets, LegacyOffsetCommitKey::KEY) => Some((
                kind,
                LegacyOffsetCommitKey::decode(r, 0)?.to_json(0),
                versioned(value, |r, version| {
                    Ok(LegacyOffsetCommitValue::decode(r, version)?.to_json(version))
                })?,
            )),
            (Journal::Groups, GroupMetadataKey::KEY) => Some((
                kind,
                GroupMetadataKey::decode(r, 0)?.to_json(0),
                versioned(value, |r, version| {
                    Ok(GroupMetadataValue::decode(r, version)?.to_json(version))
                })?,
            )),
            (Journal::Transactions, TransactionLogKey::KEY) => Some((
                kind,
                TransactionLogKey::decode(r, 0)?.to_json(0),
                versioned(value, |r, version| {
                    let value = TransactionLogValue::decode(r, version)?;
                    let mut fields = value.to_json(version);
                    fields["transactionStatus"] = phase(value.transaction_status).into();
                    Ok(fields)
                })?,
            )),
            _ => None,
        })
    }
}

/// Kafka's formatter writes where an id stands in words, unlike everything else.
fn phase(number: i8) -> String {
    let phase = usize::try_from(number).ok();
    let phase = phase.and_then(|number| Phase::ALL.get(number));
    phase.map_or_else(|| number.to_string(), |phase| phase.name().to_owned())
}

/// A value behind its version.
fn versioned(
    value: Option<&[u8]>,
    read: impl FnOnce(&mut Reader<'_>, i16) -> Result<Value, DecodeError>,
) -> Result<Option<(i16, Value)>, DecodeError> {
    let Some(value) = value else {
        return Ok(None);
    };
    let mut reader = Reader::new(value);
    let version = reader.i16()?;
    Ok(Some((version, read(&mut reader, version)?)))
}

/// Prints JSON without spaces, fields in the order of the schemas.
fn write_in_order(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| ORDER.iter().position(|known| known == name));
            between(b'{', fields, b'}', out, |(name, value), out| {
                out.extend(Value::from(name.as_str()).to_string().into_bytes());
                out.push(b':');
                write_in_order(value, out);
            });
        }
        Value::Array(items) => between(b'[', items, b']', out, write_in_order),
        plain => out.extend(plain.to_string().into_bytes()),
    }
}

fn between<T>(
    open: u8,
    items: impl IntoIterator<Item = T>,
    close: u8,
    out: &mut Vec<u8>,
    write: impl Fn(T, &mut Vec<u8>),
) {
    out.push(open);
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustka_wire::Writer;
    use rustka_wire::group_metadata_value::MemberMetadata;

    #[test]
    fn fields_stand_in_the_order_of_their_schemas() {
        let of = |kind: i16, encode: &dyn Fn(&mut Writer)| {
            let mut writer = Writer::new();
            writer.i16(kind);
            encode(&mut writer);
            writer.buf
        };
        let key = GroupMetadataKey { group: "g".into() };
        let value = GroupMetadataValue {
            protocol_type: "consumer".into(),
            generation: 3,
            protocol: Some("range".into()),
            leader: None,
            members: vec![MemberMetadata {
                member_id: "m".into(),
                subscription: vec![1, 2].into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let key = of(GroupMetadataKey::KEY, &|w| key.encode(w, 0));
        let value = of(3, &|w| value.encode(w, 3));
        let record = |value: Option<Vec<u8>>| Record {
            offset: 0,
            timestamp: 0,
            is_append_time: false,
            leader_epoch: 0,
            key: Some(key.clone()),
            value,
            headers: Vec::new(),
        };
        let mut out = Vec::new();
        Journal::Groups
            .write(&record(Some(value)), &mut out)
            .unwrap();
        Journal::Groups.write(&record(None), &mut out).unwrap();
        // What is no group is none of this formatter's.
        Journal::Offsets.write(&record(None), &mut out).unwrap();
        let expected = concat!(
            r#"{"key":{"type":2,"data":{"group":"g"}},"value":{"version":3,"data":{"protocolType":"consumer","generation":3,"#,
            r#""protocol":"range","leader":null,"currentStateTimestamp":-1,"members":[{"memberId":"m","groupInstanceId":null,"#,
            r#""clientId":"","clientHost":"","rebalanceTimeout":-1,"sessionTimeout":0,"subscription":"AQI=","assignment":""}]}}}"#,
            r#"{"key":{"type":2,"data":{"group":"g"}},"value":null}"#,
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let torn = record(Some(vec![0]));
        assert!(Journal::Groups.write(&torn, &mut Vec::new()).is_err());
    }
}
