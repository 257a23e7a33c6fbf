use super::*;
use crate::security::facts::Fact;
use crate::security::scram::{Credential, Strength};
use crate::security::users::Change;
use rustka_wire::voters_record::Voter;

/// Written by `kafka-storage format` of Kafka 4.4 with two passwords of alice.
const KAFKAS: &[u8] = include_bytes!("kafkas.checkpoint");
/// The same of one that is alone (`--standalone`).
const KAFKAS_STANDALONE: &[u8] = include_bytes!("kafkas-standalone.checkpoint");

fn records() -> Vec<Record> {
    let levels = [
        ("metadata.version", 33),
        ("eligible.leader.replicas.version", 1),
        ("group.version", 1),
        ("share.version", 2),
        ("streams.version", 1),
        ("transaction.version", 2),
    ];
    let levels = levels.map(|(name, level)| Record::Feature {
        name: name.into(),
        level,
    });
    let users = [(Strength::Sha256, 4096), (Strength::Sha512, 8192)];
    let users = users.map(|(strength, iterations)| {
        let salt = b"1234567890abcdef";
        Record::from(Fact::User(Change {
            user: "alice".into(),
            strength,
            credential: Some(Credential::of_password(
                strength, "secret", salt, iterations,
            )),
        }))
    });
    levels.into_iter().chain(users).collect()
}

/// Headers of batches without what depends on the moment and the run.
fn shape(bytes: &[u8]) -> Vec<(i64, i32, i16, i32, i64)> {
    let batches = batches(bytes).map(|batch| batch.unwrap().0);
    let shape = batches.map(|it| {
        (
            it.base_offset,
            it.partition_leader_epoch,
            it.attributes,
            it.record_count,
            it.producer_id,
        )
    });
    shape.collect()
}

#[test]
fn what_kafka_has_formatted_is_read() {
    assert_eq!(read(KAFKAS), Ok(records()));
    assert_eq!(read(KAFKAS_STANDALONE), Ok(records()));
}

#[test]
fn what_is_written_looks_like_kafkas() {
    let ours = write(&records(), None, 1_000).unwrap();
    assert_eq!(shape(&ours), shape(KAFKAS));
    assert_eq!(ours.len(), KAFKAS.len());
    assert_eq!(read(&ours), Ok(records()));
    let voters = VotersRecord {
        version: 0,
        voters: vec![Voter::default()],
    };
    let ours = write(&records(), Some(&voters), 1_000).unwrap();
    assert_eq!(shape(&ours), shape(KAFKAS_STANDALONE));
}

#[test]
fn a_damaged_file_is_told_of() {
    let mut torn = KAFKAS.to_vec();
    torn.truncate(KAFKAS.len() - 1);
    let mut changed = KAFKAS.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    for (bytes, why) in [
        (&torn[..], "cannot be read"),
        (&changed, "checksum"),
        (&[], "no records"),
    ] {
        let told = read(bytes).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
}
