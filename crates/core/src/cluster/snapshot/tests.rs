use super::super::records::control::Quorum;
use super::*;
use crate::security::facts::Fact;
use crate::security::scram::{Credential, Strength};
use crate::security::users::Change;
use rustka_wire::voters_record::VotersRecord;

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

/// What a snapshot of these records is read as.
fn of(records: Vec<Record>, last_timestamp: i64) -> Result<Snapshot, String> {
    Ok(Snapshot {
        last_timestamp,
        records,
    })
}

/// What Kafka says of the one controller that is alone, and all the rest.
fn standalone() -> Vec<Record> {
    let of_kafka = read(KAFKAS_STANDALONE).unwrap().records;
    let quorum = of_kafka.into_iter().take(2);
    quorum.chain(records()).collect()
}

fn written(records: &[Record], last_timestamp: i64) -> Vec<u8> {
    write(records.iter().cloned(), 0, last_timestamp, 1_000).unwrap()
}

#[test]
fn what_kafka_has_formatted_is_read() {
    assert_eq!(read(KAFKAS).unwrap().records, records());
    let standalone = standalone();
    assert_eq!(read(KAFKAS_STANDALONE).unwrap().records, standalone);
    assert_eq!(standalone[0], Record::Quorum(Quorum::Version(1)));
    let Record::Quorum(Quorum::Voters(voters)) = &standalone[1] else {
        panic!("{:?}", standalone[1]);
    };
    let voters = VotersRecord::decode(&mut Reader::new(voters), 0).unwrap();
    assert_eq!(voters.voters.len(), 1);
}

#[test]
fn what_is_written_looks_like_kafkas() {
    let ours = written(&records(), 0);
    assert_eq!(shape(&ours), shape(KAFKAS));
    assert_eq!(ours.len(), KAFKAS.len());
    assert_eq!(read(&ours), of(records(), 0));
    let ours = written(&standalone(), 0);
    assert_eq!(shape(&ours), shape(KAFKAS_STANDALONE));
    assert_eq!(ours.len(), KAFKAS_STANDALONE.len());
    assert_eq!(read(&ours), of(standalone(), 0));
}

#[test]
fn what_is_long_is_several_batches() {
    let long = records().into_iter().cycle().take(100_000);
    let long: Vec<Record> = long.collect();
    let ours = write(long.iter().cloned(), 7, 55, 1_000).unwrap();
    let batches = shape(&ours);
    assert!(batches.len() > 4, "{}", batches.len());
    let mut next = 0;
    for (base_offset, epoch, _, count, _) in batches {
        assert_eq!((base_offset, epoch), (next, 7));
        next += i64::from(count);
    }
    assert_eq!(read(&ours), of(long, 55));
}

#[test]
fn files_are_called_as_in_kafka() {
    let id = SnapshotId {
        end_offset: 549,
        epoch: 12,
    };
    let name = "00000000000000000549-0000000012.checkpoint";
    assert_eq!(id.to_string(), name);
    assert_eq!(SnapshotId::of_file(name), Some(id));
    let formatted = "00000000000000000000-0000000000.checkpoint";
    assert_eq!(SnapshotId::FORMATTED.to_string(), formatted);
    for other in [
        "00000000000000000549-0000000012.checkpoint.part",
        "00000000000000000549-0000000012.checkpoint.deleted",
        "549-12.checkpoint",
        "99999999999999999999-0000000012.checkpoint",
        "00000000000000000549-9999999999.checkpoint",
        "leader-epoch-checkpoint",
        "bootstrap.checkpoint",
    ] {
        assert_eq!(SnapshotId::of_file(other), None, "{other}");
    }
}

#[test]
fn a_damaged_file_is_told_of() {
    let mut torn = KAFKAS.to_vec();
    torn.truncate(KAFKAS.len() - 1);
    let mut changed = KAFKAS.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let ranges: Vec<_> = batches(KAFKAS).map(|batch| batch.unwrap().1).collect();
    let [first, data, last] = &ranges[..] else {
        panic!("{ranges:?}");
    };
    let empty = [&KAFKAS[first.clone()], &KAFKAS[last.clone()]].concat();
    for (bytes, why) in [
        (&torn[..], "cannot be read"),
        (&changed, "checksum"),
        (&[], "begin"),
        (&KAFKAS[..data.end], "end is missing"),
        (&KAFKAS[data.start..], "begin"),
        (&empty, "no records"),
    ] {
        let told = read(bytes).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
}
