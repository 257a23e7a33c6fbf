//! Record batches as scenarios write them: a small JSON description to bytes, and the batches of an answer to JSON.
//!
//! `{"records": [{"key", "value", "timestamp", "headers": [[k, v]]}], "codec", "producer_id", "producer_epoch",
//! "base_sequence", "transactional", ...}`; every header field can be overridden to make a batch that is wrong, and
//! "packed" has the compressed records themselves, in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustka_core::compression::{Codec, compress, decompress};
use serde_json::{Value, json};

use crate::schema::Error;

/// Bytes before the records of a batch.
const HEADER_BYTES: usize = 61;

/// A record, with what its batch says of its transaction.
pub struct Entry {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// It belongs to a transaction.
    pub transactional: bool,
    /// It is a marker.
    pub control: bool,
    /// The epoch of its producer, or -1.
    pub producer_epoch: i16,
}

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Bytes of one described batch, or of several in a row.
pub fn encode(description: &Value) -> Result<Vec<u8>, Error> {
    if let Some(batches) = description.as_array() {
        return Ok(batches
            .iter()
            .map(encode)
            .collect::<Result<Vec<_>, _>>()?
            .concat());
    }
    let number = |key: &str, default: i64| description[key].as_i64().unwrap_or(default);
    let flag = |key: &str, bit: i64| if description[key] == true { bit } else { 0 };
    let records = description["records"]
        .as_array()
        .ok_or("a batch needs records")?;
    let timestamps: Vec<i64> = records
        .iter()
        .map(|r| r["timestamp"].as_i64().unwrap_or(0))
        .collect();
    let base_timestamp = number("base_timestamp", timestamps.first().copied().unwrap_or(-1));
    let mut body = Vec::new();
    for (index, (record, timestamp)) in records.iter().zip(&timestamps).enumerate() {
        let offset_delta = record["offset_delta"].as_i64().unwrap_or(index as i64);
        body.extend(encode_record(
            record,
            timestamp - base_timestamp,
            offset_delta,
        ));
    }
    let codec = description["codec"].as_str().unwrap_or("none");
    let codec_bits = CODECS
        .iter()
        .position(|c| *c == codec)
        .ok_or("no such codec")? as i64;
    let packer = Codec::from_id(codec_bits as u8).ok_or("no such codec")?;
    body = match description["packed"].as_str() {
        Some(packed) => STANDARD.decode(packed).map_err(|e| e.to_string())?,
        None => compress(packer, None, &body).map_err(|e| e.to_string())?,
    };
    let count = records.len() as i64;
    let attributes =
        codec_bits | flag("log_append_time", 8) | flag("transactional", 16) | flag("control", 32);
    let mut out = Vec::new();
    out.extend_from_slice(&number("base_offset", 0).to_be_bytes());
    out.extend_from_slice(&((HEADER_BYTES - 12 + body.len()) as i32).to_be_bytes());
    out.extend_from_slice(&(number("partition_leader_epoch", -1) as i32).to_be_bytes());
    out.push(number("magic", 2) as u8);
    let mut checked = Vec::new();
    checked.extend_from_slice(&(number("attributes", attributes) as i16).to_be_bytes());
    checked.extend_from_slice(&(number("last_offset_delta", count - 1) as i32).to_be_bytes());
    checked.extend_from_slice(&base_timestamp.to_be_bytes());
    let max_timestamp = timestamps.iter().copied().max().unwrap_or(-1);
    checked.extend_from_slice(&number("max_timestamp", max_timestamp).to_be_bytes());
    checked.extend_from_slice(&number("producer_id", -1).to_be_bytes());
    checked.extend_from_slice(&(number("producer_epoch", -1) as i16).to_be_bytes());
    checked.extend_from_slice(&(number("base_sequence", -1) as i32).to_be_bytes());
    checked.extend_from_slice(&(number("count", count) as i32).to_be_bytes());
    checked.extend_from_slice(&body);
    let crc = crc32c::crc32c(&checked) ^ u32::from(description["corrupt_crc"] == true);
    out.extend_from_slice(&crc.to_be_bytes());
    out.extend_from_slice(&checked);
    Ok(out)
}

fn encode_record(record: &Value, timestamp_delta: i64, offset_delta: i64) -> Vec<u8> {
    let mut body = vec![0];
    put_varint(&mut body, timestamp_delta);
    put_varint(&mut body, offset_delta);
    put_bytes(&mut body, record["key"].as_str().map(str::as_bytes));
    match record["value_bytes"].as_u64() {
        Some(length) => put_bytes(&mut body, Some(&vec![b'x'; length as usize])),
        None => put_bytes(&mut body, record["value"].as_str().map(str::as_bytes)),
    }
    let headers = record["headers"].as_array().map_or(&[][..], Vec::as_slice);
    put_varint(&mut body, headers.len() as i64);
    for header in headers {
        put_bytes(&mut body, header[0].as_str().map(str::as_bytes));
        put_bytes(&mut body, header[1].as_str().map(str::as_bytes));
    }
    let mut out = Vec::new();
    put_varint(&mut out, body.len() as i64);
    out.extend(body);
    out
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varint(out, bytes.map_or(-1, |b| b.len() as i64));
    out.extend_from_slice(bytes.unwrap_or_default());
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// The batches in the `records` of an answer. One that is cut short counts only when it is alone: after a whole batch, clients
/// skip it, and whether it is sent at all depends on how the broker stores its log.
pub fn decode(mut bytes: &[u8]) -> Value {
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        let length = field::<4>(bytes, 8).and_then(|b| usize::try_from(i32::from_be_bytes(b)).ok());
        match length.and_then(|length| bytes.split_at_checked(length + 12)) {
            Some((batch, rest)) => {
                batches.push(decode_batch(batch).unwrap_or(json!("malformed")));
                bytes = rest;
            }
            None if batches.is_empty() => return json!(["cut short"]),
            None => break,
        }
    }
    Value::Array(batches)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn decode_batch(batch: &[u8]) -> Option<Value> {
    let int = |at| field::<4>(batch, at).map(i32::from_be_bytes);
    let long = |at| field::<8>(batch, at).map(i64::from_be_bytes);
    let attributes = field::<2>(batch, 21).map(i16::from_be_bytes)?;
    let packed = batch.get(HEADER_BYTES..)?;
    let codec = *CODECS.get(usize::try_from(attributes & 7).ok()?)?;
    let body = decompress(Codec::from_id((attributes & 7) as u8)?, packed, usize::MAX);
    let records = match body {
        Ok(body) => decode_records(&body).unwrap_or(json!("malformed")),
        Err(_) => json!(STANDARD.encode(packed)),
    };
    let mut described = json!({
        "base_offset": long(0)?, "partition_leader_epoch": int(12)?, "magic": batch.get(16)?,
        "crc_matches": u32::from_be_bytes(field(batch, 17)?) == crc32c::crc32c(batch.get(21..)?),
        "codec": codec, "log_append_time": attributes & 8 != 0, "transactional": attributes & 16 != 0, "control": attributes & 32 != 0,
        "last_offset_delta": int(23)?, "base_timestamp": long(27)?, "max_timestamp": long(35)?,
        "producer_id": long(43)?, "producer_epoch": field::<2>(batch, 51).map(i16::from_be_bytes)?, "base_sequence": int(53)?,
        "count": int(57)?, "records": records,
    });
    // Only compacted batches have one.
    if attributes & 64 != 0 {
        described["delete_horizon"] = json!(true);
    }
    Some(described)
}

fn decode_records(mut bytes: &[u8]) -> Option<Value> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let input = &mut bytes;
        take_varint(input)?;
        *input = input.get(1..)?;
        let timestamp_delta = take_varint(input)?;
        let offset_delta = take_varint(input)?;
        let (key, value) = (take_text(input)?, take_text(input)?);
        let mut headers = Vec::new();
        for _ in 0..take_varint(input)? {
            headers.push(json!([take_text(input)?, take_text(input)?]));
        }
        out.push(json!({"timestamp_delta": timestamp_delta, "offset_delta": offset_delta, "key": key, "value": value, "headers": headers}));
    }
    Some(Value::Array(out))
}

/// Every record in batches that are not compressed.
pub fn entries(mut bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let length = field::<4>(bytes, 8).map(i32::from_be_bytes)?;
        let (batch, rest) = bytes.split_at_checked(usize::try_from(length).ok()? + 12)?;
        bytes = rest;
        let attributes = field::<2>(batch, 21).map(i16::from_be_bytes)?;
        let producer_epoch = field::<2>(batch, 51).map(i16::from_be_bytes)?;
        let mut records = batch.get(HEADER_BYTES..)?;
        while !records.is_empty() {
            let length = usize::try_from(take_varint(&mut records)?).ok()?;
            let (record, rest) = records.split_at_checked(length)?;
            records = rest;
            let mut record = record.get(1..)?;
            take_varint(&mut record)?;
            take_varint(&mut record)?;
            let (key, value) = (take_bytes(&mut record)?, take_bytes(&mut record)?);
            out.push(Entry {
                key: key.map(<[u8]>::to_vec),
                value: value.map(<[u8]>::to_vec),
                transactional: attributes & 16 != 0,
                control: attributes & 32 != 0,
                producer_epoch,
            });
        }
    }
    Some(out)
}

/// Bytes or, as the inner option, null.
fn take_bytes<'a>(input: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let Ok(length) = usize::try_from(take_varint(input)?) else {
        return Some(None);
    };
    let (taken, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(Some(taken))
}

fn take_text(input: &mut &[u8]) -> Option<Value> {
    let Some(taken) = take_bytes(input)? else {
        return Some(Value::Null);
    };
    Some(match std::str::from_utf8(taken) {
        Ok(text) if taken.len() <= 100 => json!(text),
        Ok(_) => json!({ "bytes": taken.len(), "crc": crc32c::crc32c(taken) }),
        Err(_) => json!(STANDARD.encode(taken)),
    })
}

fn take_varint(input: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}
