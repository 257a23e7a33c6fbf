//! `rustka log check` and `rustka log dump`: what lies in a data directory, without a broker and without changing it.

use super::failure::Failure;
use super::log::LogCommand;
use super::output::{Output, Table};
use rustka_core::batch::{BatchError, BatchHeader, Records, record_bytes};
use rustka_core::compression::InflateLimits;
use rustka_storage::disk::{self, Change, Piece};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Does what needs no broker.
pub fn run(command: LogCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        LogCommand::Check { directory } => check(&directory, output),
        LogCommand::Dump { files, records } => {
            let dump = |file: &Path| dump(file, records, output);
            files.iter().map(|file| &**file).try_for_each(dump)
        }
    }
}

fn check(directory: &Path, output: &mut Output) -> Result<(), Failure> {
    let checked = disk::check(directory).map_err(|error| Failure::Refused(error.to_string()))?;
    let damaged = checked.partitions.iter();
    let damaged = damaged.filter(|one| one.wrong.is_some()).count();
    if output.is_json() {
        output.line(&format!("{:#}", as_json(&checked)))?;
    } else {
        let mut partitions = Table::new(&["partition", "first", "next", "bytes", "state"]);
        for one in &checked.partitions {
            partitions.push(vec![
                one.name.clone().into(),
                one.log_start.into(),
                one.log_end.into(),
                one.bytes.into(),
                one.wrong
                    .clone()
                    .unwrap_or_else(|| "whole".to_owned())
                    .into(),
            ]);
        }
        output.table(partitions)?;
        output.line("")?;
        match checked.changes.is_empty() {
            true => output.line("A start would change nothing.")?,
            false => output.line("A start would change:")?,
        }
        for (path, change) in &checked.changes {
            output.line(&format!("  {}: {}", path.display(), told(change)))?;
        }
    }
    match damaged {
        0 => Ok(()),
        1 => Err(Failure::Refused("one partition is damaged".to_owned())),
        _ => Err(Failure::Refused(format!(
            "{damaged} partitions are damaged"
        ))),
    }
}

fn told(change: &Change) -> String {
    match change {
        Change::Cut(from, to) => format!("cut from {from} to {to} bytes"),
        Change::Write => "written anew".to_owned(),
        Change::Make => "made".to_owned(),
        Change::Remove => "removed".to_owned(),
    }
}

fn as_json(checked: &disk::Checked) -> Value {
    let partitions = checked.partitions.iter().map(|one| {
        json!({
            "partition": one.name,
            "first": one.log_start,
            "next": one.log_end,
            "bytes": one.bytes,
            "wrong": one.wrong,
        })
    });
    let changes = checked
        .changes
        .iter()
        .map(|(path, change)| json!({ "path": path.to_string_lossy(), "change": told(change) }));
    json!({
        "node": checked.identity.node_id,
        "cluster": checked.identity.cluster_id,
        "partitions": partitions.collect::<Vec<_>>(),
        "changes": changes.collect::<Vec<_>>(),
    })
}

fn dump(path: &Path, records: bool, output: &mut Output) -> Result<(), Failure> {
    let about = |why: String| Failure::Refused(format!("{}: {why}", path.display()));
    output.done(&format!("{}", path.display()))?;
    let mut failed = None;
    let mut bad = None;
    let known = disk::inspect(path, &mut |piece| {
        if let Piece::Bad { at, why } = &piece {
            bad = Some(format!("byte {at}: {why}"));
            return false;
        }
        if let Piece::Batch {
            is_whole: false,
            at,
            ..
        } = &piece
        {
            // What lies behind it may be whole.
            bad.get_or_insert_with(|| format!("byte {at}: a checksum does not fit"));
        }
        let lines = lines(&piece, records);
        failed = lines.iter().try_for_each(|line| print(line, output)).err();
        failed.is_none()
    });
    if let Some(failure) = failed {
        return Err(failure);
    }
    match (known, bad) {
        (Err(error), _) => Err(about(error.to_string())),
        (Ok(false), _) => Err(about("files of this name are not known".to_owned())),
        (Ok(true), Some(why)) => Err(about(why)),
        (Ok(true), None) => Ok(()),
    }
}

/// A line for people has the names and values one after the other, one for programs is an object.
fn print(fields: &Map<String, Value>, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.line(&Value::Object(fields.clone()).to_string());
    }
    let words = fields.iter().map(|(name, value)| match value {
        Value::Bool(true) => name.clone(),
        Value::String(text) => {
            let text: String = text.chars().map(super::output::printable).collect();
            format!("{name} {text}")
        }
        Value::Null => format!("{name} -"),
        other => format!("{name} {other}"),
    });
    output.line(&words.collect::<Vec<_>>().join("  "))
}

fn lines(piece: &Piece<'_>, records: bool) -> Vec<Map<String, Value>> {
    let line = match piece {
        Piece::Batch {
            at,
            header,
            bytes,
            is_whole,
        } => {
            let mut lines = vec![of_batch(*at, header, *is_whole)];
            if records && *is_whole {
                lines.extend(of_records(header, bytes));
            }
            return lines;
        }
        Piece::Offset { offset, at } => json!({ "offset": offset, "at": at }),
        Piece::Time { timestamp, offset } => json!({ "timestamp": timestamp, "offset": offset }),
        Piece::Row { partition, offset } => json!({ "partition": partition, "offset": offset }),
        Piece::Aborted {
            transaction,
            last_stable,
        } => json!({
            "producer": transaction.producer_id,
            "first": transaction.first_offset,
            "last": transaction.last_offset,
            "stable": last_stable,
        }),
        Piece::Producer(producer) => json!({
            "producer": producer.producer_id,
            "producer-epoch": producer.epoch,
            "sequence": producer.last_sequence,
            "timestamp": producer.last_timestamp,
            "coordinator-epoch": producer.coordinator_epoch,
            "open-from": producer.txn_first_offset,
        }),
        Piece::Epoch(epoch) => json!({ "epoch": epoch.epoch, "offset": epoch.start_offset }),
        Piece::Bad { .. } => return Vec::new(),
    };
    match line {
        Value::Object(line) => vec![line],
        _ => Vec::new(),
    }
}

fn of_batch(at: u64, header: &BatchHeader, is_whole: bool) -> Map<String, Value> {
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| drop(line.insert(name.to_owned(), value));
    put("at", at.into());
    put("bytes", header.total_bytes().into());
    put("first", header.base_offset.into());
    put("last", header.last_offset().into());
    put("records", header.record_count.into());
    put("epoch", header.partition_leader_epoch.into());
    put("timestamp", header.max_timestamp.into());
    if let Ok(codec) = header.compression()
        && header.is_compressed()
    {
        put("codec", format!("{codec:?}").to_lowercase().into());
    }
    if header.has_producer_id() {
        put("producer", header.producer_id.into());
        put("producer-epoch", header.producer_epoch.into());
        put("sequence", header.base_sequence.into());
    }
    for (name, is_so) in [
        ("transactional", header.is_transactional()),
        ("control", header.is_control()),
        ("append-time", header.log_append_time()),
        ("damaged", !is_whole),
    ] {
        if is_so {
            put(name, true.into());
        }
    }
    line
}

fn of_records(header: &BatchHeader, batch: &[u8]) -> Vec<Map<String, Value>> {
    let limits = InflateLimits::default();
    let read = || -> Result<Vec<Map<String, Value>>, BatchError> {
        let bytes = record_bytes(batch, header, limits.batch_bytes_max)?;
        let mut lines = Vec::new();
        for record in Records::of(header, &bytes, limits) {
            let record = record?;
            let mut line = Map::new();
            line.insert("offset".to_owned(), header.offset_of(&record).into());
            line.insert("timestamp".to_owned(), header.timestamp_of(&record).into());
            line.insert("key".to_owned(), text(record.key));
            line.insert("value".to_owned(), text(record.value));
            for (name, value) in record.headers {
                let name = format!("header {}", String::from_utf8_lossy(name));
                line.insert(name, text(value));
            }
            lines.push(line);
        }
        Ok(lines)
    };
    read().unwrap_or_else(|error| {
        let mut line = Map::new();
        line.insert("damaged".to_owned(), error.to_string().into());
        vec![line]
    })
}

fn text(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| String::from_utf8_lossy(bytes).into())
}
