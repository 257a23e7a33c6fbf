//! What is written, in Kafka's order, and that the journal alone says everything.

use std::sync::Arc;

use super::world::*;
use crate::cluster::command::*;
use crate::cluster::place::{Place, Replicas};
use crate::cluster::records::{Record, Together};
use crate::cluster::resource::Resource;
use crate::cluster::resource::ResourceKind::{Broker, ClientMetrics, Group, Topic};
use crate::cluster::{FeatureLevels, PRODUCER_IDS_PER_BLOCK};
use crate::config::{BrokerConfig, TopicConfig};
use crate::error::ErrorCode;
use crate::machine::{JournalRecord, Machine};

fn named(name: &str) -> DeleteTopic {
    DeleteTopic {
        name: Some(name.to_owned()),
        id: id(0),
    }
}

fn with_configs(name: &str, partitions: i32, pairs: &[(&str, &str)]) -> CreateTopic {
    let pairs = pairs.iter();
    CreateTopic {
        partitions,
        configs: pairs
            .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
            .collect(),
        ..by_default(name)
    }
}

#[test]
fn a_new_cluster_writes_down_its_features_and_what_holds_for_all_brokers() {
    let mut w = World::with(&[("min.insync.replicas", "2")], false);
    assert_eq!(w.journal.len(), 2);
    assert!(matches!(&w.journal[0],
        Record::Feature { name, level: 1 } if name == "group.version"));
    assert!(matches!(&w.journal[1],
        Record::Config { resource, name, value: Some(value) }
            if resource.name.is_empty() && name == "min.insync.replicas" && &**value == "2"));
    assert_eq!(
        w.kinds(|w| assert!(w.producer_ids().is_ok())),
        ["ProducerIds"]
    );
}

#[test]
fn records_come_in_kafkas_order() {
    let mut w = World::new();
    let compact = [("segment.ms", "5"), ("cleanup.policy", "compact")];
    let created = w.kinds(|w| drop(w.create_as(with_configs("t", 2, &compact))));
    assert_eq!(
        created,
        ["Topic", "Config", "Config", "Partition", "Partition"]
    );
    let in_sync = [("min.insync.replicas", "1")];
    let created = w.kinds(|w| drop(w.create_as(with_configs("u", 1, &in_sync))));
    assert_eq!(created, ["Topic", "Config", "ClearElr", "Partition"]);
    assert_eq!(
        w.kinds(|w| assert!(w.extend("t", 4, None).is_ok())),
        ["Partition", "Partition"]
    );
    let set = [("retention.ms", Some("7")), ("segment.ms", None)];
    assert_eq!(
        w.kinds(|w| w.set(Topic, "t", &set).unwrap()),
        ["Config", "Config null"]
    );
    let same = [("retention.ms", Some("7"))];
    assert_eq!(w.kinds(|w| w.set(Topic, "t", &same).unwrap()), [""; 0]);
    let all = [("min.insync.replicas", Some("2"))];
    assert_eq!(
        w.kinds(|w| w.set(Broker, "", &all).unwrap()),
        ["Config", "ClearElr"]
    );
    assert_eq!(
        w.kinds(|w| drop(w.delete(&[named("t")]))),
        ["RemoveTopic"],
        "its configs get no null records"
    );
    let up = |w: &mut World| w.update_feature("share.version", 1, Direction::Upgrade);
    assert_eq!(w.kinds(|w| up(w).unwrap()), ["Feature"]);
    assert_eq!(w.kinds(|w| up(w).unwrap()), ["Feature"], "also if it stays");
}

#[test]
fn what_is_refused_or_only_validated_is_not_written() {
    let mut w = World::new();
    w.create("t").unwrap();
    let before = (w.journal.len(), w.told.len());
    assert!(w.create("t").is_err());
    assert!(w.extend("t", 1, None).is_err());
    assert!(w.delete(&[named("x")])[0].is_err());
    assert!(w.set(Topic, "x", &[("retention.ms", Some("1"))]).is_err());
    assert!(w.set(Topic, "t", &[("retention.ms", Some("x"))]).is_err());
    assert!(w.set(Group, "", &[]).is_err());
    let request = CreateTopics {
        topics: vec![by_default("u")],
        validate_only: true,
    };
    assert!(w.run(&request).unwrap()[0].result.is_ok());
    assert_eq!((w.journal.len(), w.told.len()), before);
}

#[test]
fn features_go_up_and_down_within_what_the_broker_can_do() {
    use Direction::{SafeDowngrade, UnsafeDowngrade, Upgrade};
    let mut w = World::new();
    let refused = Err(ErrorCode::InvalidUpdateVersion);
    assert_eq!(w.update_feature("share.version", 3, Upgrade), refused);
    assert_eq!(w.update_feature("share.version", -1, Upgrade), refused);
    assert_eq!(w.update_feature("no.such", 1, Upgrade), refused);
    assert_eq!(w.update_feature("no.such", 0, UnsafeDowngrade), refused);
    assert_eq!(w.update_feature("share.version", 2, SafeDowngrade), refused);
    assert_eq!(w.update_feature("share.version", 2, Upgrade), Ok(()));
    assert_eq!(w.update_feature("share.version", 1, Upgrade), refused);
    assert_eq!(
        w.update_feature("share.version", 1, UnsafeDowngrade),
        Ok(())
    );
    assert_eq!(w.cluster.feature("share.version"), 1);
    assert_eq!(w.update_feature("group.version", 0, SafeDowngrade), Ok(()));
    assert_eq!(w.cluster.feature("group.version"), 0);
}

#[test]
fn no_producer_id_is_given_out_twice_not_even_after_a_restart() {
    let mut w = World::new();
    assert_eq!(w.producer_ids(), Ok(5_000));
    assert_eq!(w.producer_ids(), Ok(5_000 + PRODUCER_IDS_PER_BLOCK));
    let mut again = w.replayed(w.journal.clone());
    assert_eq!(again.producer_ids(), Ok(5_000 + 2 * PRODUCER_IDS_PER_BLOCK));
}

#[test]
fn a_new_leader_gets_a_new_epoch() {
    let mut w = World::new();
    let topic = w.create("t").unwrap().id;
    let elect = |leader, partition| Command::Elect {
        topic,
        partition,
        leader,
    };
    assert!(matches!(w.ask(elect(2, 0)), Reply::Elect(Ok(()))));
    let Some(Change::Topic(told)) = w.told.last() else {
        panic!("the leader is told")
    };
    let place = told.partition(0).unwrap();
    assert_eq!((place.leader, place.leader_epoch), (2, 1));
    assert_eq!(place.partition_epoch, 1);
    assert!(matches!(w.ask(elect(2, 1)), Reply::Elect(Err(_))));
}

#[test]
fn changes_are_told_when_they_are_durable_and_not_before() {
    let mut w = World::new();
    w.create("t").unwrap();
    w.set(
        Group,
        "g",
        &[("consumer.session.timeout.ms", Some("45001"))],
    )
    .unwrap();
    let told = w.told.len();
    w.failing = true;
    assert_eq!(w.create("u").unwrap_err(), ErrorCode::KafkaStorageError);
    assert_eq!(w.producer_ids(), Err(ErrorCode::KafkaStorageError));
    let lost = w.told.split_off(told);
    assert!(lost.iter().all(|change| matches!(change, Change::Lost)));
    assert_eq!(lost.len(), 2);
}

/// A record that could not be written left what it said behind: a topic that was refused could not be created again.
#[test]
fn a_lost_record_leaves_nothing_behind() {
    let mut w = World::new();
    w.create_as(with_configs("t", 2, &[("retention.ms", "5")]))
        .unwrap();
    w.set(ClientMetrics, "m", &[("interval.ms", Some("5000"))])
        .unwrap();
    let before = w.state();
    w.failing = true;
    let storage = |result: Result<(), ErrorCode>| {
        assert_eq!(result, Err(ErrorCode::KafkaStorageError));
    };
    storage(w.create("u").map(drop));
    storage(w.extend("t", 4, None).map(drop));
    storage(w.set(Topic, "t", &[("retention.ms", None)]));
    storage(w.set(Broker, "", &[("log.retention.ms", Some("9"))]));
    storage(w.set(ClientMetrics, "m", &[("interval.ms", None)]));
    storage(w.update_feature("group.version", 0, Direction::SafeDowngrade));
    let deleted = w.ask(Command::DeleteTopics(vec![named("t")]));
    assert!(matches!(deleted, Reply::DeleteTopics(Err(_))));
    storage(w.producer_ids().map(drop));
    assert_eq!(w.state(), before);
    w.failing = false;
    let config = w.create("u").unwrap().config;
    assert_ne!(config.retention_ms, 9, "the broker's configs are back too");
}

/// What comes after such a row would be taken for a part of it.
#[test]
fn a_row_whose_end_is_missing_is_ended_before_anything_else_is_written() {
    let w = World::new();
    let begin = Record::Together(Together::Begin(None));
    let row = w.journal.iter().cloned().chain([begin]);
    let row: Vec<Record> = row.collect();
    let mut again = w.replayed(row.clone());
    again.create("t").unwrap();
    let aborted = again.journal.first();
    assert!(
        matches!(aborted, Some(Record::Together(Together::Abort(Some(_))))),
        "{aborted:?}"
    );
    let all = row.into_iter().chain(again.journal.clone());
    let third = w.replayed(all);
    assert!(third.cluster.topics().by_name("t").is_some());
    assert_eq!(third.journal, []);
}

/// A snapshot without them took configs away that Kafka knew.
#[test]
fn configs_that_are_not_known_here_are_kept_for_those_who_know_them() {
    let mut w = World::new();
    w.create("t").unwrap();
    let config = |kind, name: &str, key: &'static str, value: Option<&str>| Record::Config {
        resource: Resource::new(kind, name),
        name: key.into(),
        value: value.map(Into::into),
    };
    let [on_topic, on_broker, gone] = [
        config(Topic, "t", "some.later.config", Some("1")),
        config(Broker, "1", "listener.of.tomorrow", Some("x")),
        config(Topic, "t", "another", Some("y")),
    ];
    let end = config(Topic, "t", "another", None);
    let unknown = [on_topic.clone(), on_broker.clone(), gone, end];
    let mut w = w.replayed(w.journal.iter().cloned().chain(unknown));
    let has = |w: &World, record: &Record| w.cluster.live().any(|live| live == *record);
    for _ in 0..2 {
        assert!(has(&w, &on_topic) && has(&w, &on_broker));
        assert!(
            !w.cluster
                .live()
                .any(|record| matches!(record, Record::Config { name, .. } if name == "another"))
        );
        w = w.replayed(w.cluster.live().collect::<Vec<_>>());
    }
    w.delete(&[named("t")])[0].as_ref().unwrap();
    assert!(!has(&w, &on_topic) && has(&w, &on_broker));
}

/// Kafka 3.3 writes them in this order.
#[test]
fn configs_that_come_before_their_topic_are_its_own() {
    let mut w = World::new();
    w.create_as(with_configs("t", 1, &[("retention.ms", "5")]))
        .unwrap();
    let (configs, rest): (Vec<Record>, Vec<Record>) = w.journal.iter().cloned().partition(
        |record| matches!(record, Record::Config { resource, .. } if resource.kind == Topic),
    );
    assert_eq!(configs.len(), 1);
    let mut w = w.replayed(configs.into_iter().chain(rest));
    let retention = |w: &World| {
        let topic = w.cluster.topics().by_name("t").unwrap();
        topic.config.get("retention.ms").map(str::to_owned)
    };
    assert_eq!(retention(&w).as_deref(), Some("5"));
    w.delete(&[named("t")])[0].as_ref().unwrap();
    w.create("t").unwrap();
    assert_eq!(retention(&w), None);
}

const METADATA: &[FeatureLevels] = &[FeatureLevels {
    name: "metadata.version",
    min: 7,
    max: 33,
    first: 33,
    falls: false,
}];

/// A cluster at this level of `metadata.version` that has a topic.
pub(super) fn at_level(level: i16) -> World {
    let mut w = World::with_features(METADATA);
    w.create("t").unwrap();
    let records = w.journal.iter().cloned().map(|record| match record {
        Record::Feature { name, .. } => Record::Feature { name, level },
        other => other,
    });
    w.replayed(records.collect::<Vec<_>>())
}

#[test]
fn records_have_the_form_that_the_clusters_level_allows() {
    for (level, version) in [(7, 0), (16, 0), (17, 1), (22, 1), (23, 2), (33, 2)] {
        let mut w = at_level(level);
        let in_sync = with_configs("u", 1, &[("min.insync.replicas", "1")]);
        let created = w.kinds(|w| drop(w.create_as(in_sync)));
        assert_eq!(created.contains(&"ClearElr"), level >= 23, "{level}");
        assert!(matches!(w.ask(Command::Return), Reply::Return(Ok(()))));
        let about_partitions = w.journal.iter().filter(|record| {
            matches!(
                record,
                Record::Partitions { .. } | Record::PartitionChange(_)
            )
        });
        let mut versions = Vec::new();
        for record in about_partitions {
            record.encode_at(level, &mut |_, value| {
                let value = value.unwrap();
                assert!(decode(value).is_ok());
                // Behind the version of the frame and the record's key.
                versions.push(i16::from(value[2]));
            });
        }
        assert_eq!(versions, vec![version; 5], "{level}");
        // Before there were eligible leaders the last one in step stayed so.
        let gone = w.journal.iter().find_map(|record| match record {
            Record::PartitionChange(change) if change.leader == -1 => Some(change.isr.clone()),
            _ => None,
        });
        assert_eq!(gone.unwrap().is_some(), level >= 23, "{level}");
    }
}

#[test]
fn levels_that_this_version_does_not_know_are_refused_by_number() {
    for level in [6, 34] {
        let Reply::Return(Err(refusal)) = at_level(level).ask(Command::Return) else {
            panic!("served");
        };
        let told = refusal.message.unwrap();
        assert!(
            told.contains(&format!("is {level}, and this one knows 7 to 33")),
            "{told}"
        );
    }
    for level in [7, 33] {
        assert!(matches!(
            at_level(level).ask(Command::Return),
            Reply::Return(Ok(()))
        ));
    }
}

fn decode(value: &[u8]) -> Result<Option<Record>, rustka_wire::DecodeError> {
    Record::decode(None, Some(value))
}

#[test]
fn records_of_other_versions_and_kinds_are_read_or_passed_over() {
    // NoOp, RegisterBroker: nothing that is remembered here.
    assert_eq!(decode(&[1, 20, 0, 0]).unwrap(), None);
    assert!(decode(&[1, 27, 4]).unwrap().is_none());
    // A frame and versions from the future.
    assert!(decode(&[2, 2, 0]).is_err());
    assert!(decode(&[1, 2, 9]).is_err());
    assert!(decode(&[]).is_err());
}

/// SplitMix64: small, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Any command; whether the journal takes it is left to chance too. Whether it was carried out.
fn step(w: &mut World, chance: &mut Chance) -> bool {
    let name = chance.of(&["a", "b", "c", "d.e", "d_e"]);
    w.failing = chance.below(8) == 0;
    let result = match chance.below(11) {
        0..3 => {
            let pairs = [("retention.ms", "5"), ("cleanup.policy", "compact")];
            let pairs = &pairs[..chance.below(3)];
            let count = chance.below(3) as i32;
            w.create_as(with_configs(name, count, pairs)).map(drop)
        }
        3 => match w.ask(Command::DeleteTopics(vec![named(name)])) {
            Reply::DeleteTopics(Ok(mut deleted)) => deleted.remove(0).result.map_err(|e| e.code),
            _ => Err(ErrorCode::KafkaStorageError),
        },
        4 => w.extend(name, 1 + chance.below(8) as i32, None).map(drop),
        5 => {
            let value = chance.of(&[Some("1"), Some("2"), None]);
            w.set(Topic, name, &[("retention.ms", value)])
        }
        6 => {
            let value = chance.of(&[Some("700"), Some("800"), None]);
            let broker = chance.of(&["", "1"]);
            w.set(Broker, broker, &[("log.retention.ms", value)])
        }
        7 => {
            let value = chance.of(&[Some("5000"), None]);
            w.set(ClientMetrics, name, &[("interval.ms", value)])
        }
        8 => {
            let level = chance.below(4) as i16;
            let way = chance.of(&[Direction::Upgrade, Direction::UnsafeDowngrade]);
            w.update_feature("share.version", level, way)
        }
        9 => w.producer_ids().map(drop),
        _ => {
            let topic = w.cluster.topics().by_name(name).map(|topic| topic.id);
            let command = Command::Elect {
                topic: topic.unwrap_or(id(0)),
                partition: chance.below(4) as i32,
                leader: chance.of(&[1, 2, -1]),
            };
            match w.ask(command) {
                Reply::Elect(result) => result,
                other => panic!("{other:?}"),
            }
        }
    };
    result.is_ok()
}

/// What whoever heard all changes knows of topics.
fn heard(w: &World) -> Vec<(String, usize, i64)> {
    let mut topics = std::collections::BTreeMap::new();
    let mut broker = None;
    for change in &w.told {
        match change {
            Change::Topic(topic) => drop(topics.insert(&*topic.name, topic)),
            Change::TopicGone(topic) => drop(topics.remove(&*topic.name)),
            Change::Broker(config) => broker = Some(config),
            Change::Configs { .. }
            | Change::Feature { .. }
            | Change::Security(_)
            | Change::SecurityWhole(_)
            | Change::NothingElse(_)
            | Change::Lost => {}
        }
    }
    let broker = broker.unwrap_or(w.cluster.broker());
    topics
        .into_values()
        .map(|topic| told(topic, broker))
        .collect()
}

/// A topic's name, partitions, and how long its records stay.
fn told(topic: &ClusterTopic, broker: &BrokerConfig) -> (String, usize, i64) {
    let config = TopicConfig::resolve(broker, &topic.config);
    let name = topic.name.to_string();
    (name, topic.partitions.len(), config.retention_ms)
}

/// Plays random commands; a failure names its seed.
#[test]
fn replay_and_snapshot_say_what_the_machine_knows() {
    for seed in 0..60 {
        let mut w = World::new();
        let mut chance = Chance(seed);
        let done = (0..150).filter(|_| step(&mut w, &mut chance)).count();
        assert!(
            done > 30,
            "seed {seed}: only {done} commands were carried out"
        );
        let state = w.state();
        let replayed = w.replayed(w.journal.clone());
        assert_eq!(replayed.state(), state, "seed {seed}: replay");
        let snapshot = w.replayed(w.cluster.live().collect::<Vec<_>>());
        assert_eq!(snapshot.state(), state, "seed {seed}: snapshot");
        let twice = w.replayed(w.journal.clone().into_iter().chain(state.clone()));
        assert_eq!(
            twice.state(),
            state,
            "seed {seed}: a snapshot on top changes nothing"
        );
        let topics = w.cluster.topics().topics();
        let broker = w.cluster.broker();
        let known: Vec<_> = topics.map(|topic| told(topic, broker)).collect();
        assert_eq!(heard(&w), known, "seed {seed}: what was told");
        assert_eq!(
            heard(&replayed),
            known,
            "seed {seed}: what was told after a restart"
        );
    }
}

fn place(w: &World, name: &str) -> (i32, i32) {
    let topic = w.cluster.topics().by_name(name).unwrap();
    (topic.partitions[0].leader, topic.partitions[0].leader_epoch)
}

// Measured on Kafka 4.4: each restart raises every leader's epoch by 2, clean or not.
#[test]
fn a_node_that_comes_back_leads_under_new_epochs() {
    let mut w = World::new();
    w.create("t").unwrap();
    let mut w = w.replayed(w.journal.clone());
    assert_eq!(place(&w, "t"), (1, 0));
    let records = w.kinds(|w| assert!(matches!(w.ask(Command::Return), Reply::Return(Ok(())))));
    assert_eq!(records, ["PartitionChange"; 2]);
    assert_eq!(place(&w, "t"), (1, 2));
    // An orderly stop of Kafka's has written the first half.
    let topic = w.cluster.topics().by_name("t").unwrap().id;
    let stopped = Command::Elect {
        topic,
        partition: 0,
        leader: -1,
    };
    drop(w.ask(stopped));
    assert_eq!(place(&w, "t"), (-1, 3));
    let records = w.kinds(|w| drop(w.ask(Command::Return)));
    assert_eq!(records, ["PartitionChange"]);
    assert_eq!(place(&w, "t"), (1, 4));
}

// There are ten thousands of them, and each kept 300 bytes of its own after a restart.
#[test]
fn partitions_share_their_place_in_each_life_here_and_elsewhere() {
    let mut w = World::new();
    w.create("t").unwrap();
    w.create("u").unwrap();
    let shared = |w: &World| {
        let replicas = |name| {
            let topic = w.cluster.topics().by_name(name).unwrap();
            Arc::clone(&topic.partitions[0].replicas)
        };
        Arc::ptr_eq(&replicas("t"), &replicas("u"))
    };
    let journal = w.journal.clone();
    let mut w = w.replayed(journal.clone());
    assert!(shared(&w));
    drop(w.ask(Command::Return));
    assert!(shared(&w), "after coming back");
    // As another node's directory says it.
    let moved = journal.into_iter().map(|record| match record {
        Record::Partitions {
            topic,
            numbers,
            place,
        } => {
            let replicas = Arc::new(Replicas::on(1, id(99)));
            let place = Place { replicas, ..place };
            Record::Partitions {
                topic,
                numbers,
                place,
            }
        }
        record => record,
    });
    let mut w = w.replayed(moved.collect::<Vec<_>>());
    assert!(shared(&w), "elsewhere");
    drop(w.ask(Command::Return));
    assert!(shared(&w), "after coming back elsewhere");
}

#[test]
fn data_of_one_node_of_several_is_refused() {
    let mut w = World::new();
    w.create("t").unwrap();
    let mut records = w.journal.clone();
    for record in &mut records {
        if let Record::Partitions { place, .. } = record {
            let mut replicas = (*place.replicas).clone();
            replicas.all = vec![1, 2];
            place.replicas = replicas.into();
            place.partition_epoch = 1;
        }
    }
    let mut w = w.replayed(records);
    let Reply::Return(Err(refusal)) = w.ask(Command::Return) else {
        panic!("served");
    };
    assert!(refusal.message.unwrap().contains("[1, 2]"));
}

/// What an election of this kind comes to in partition 0 of "t", and who leads it then.
fn elected(w: &mut World, election: Election) -> (ErrorCode, (i32, i32)) {
    let command = Command::ElectLeaders {
        election,
        topics: Some(vec![("t".into(), vec![0])]),
    };
    let Reply::ElectLeaders(told) = w.ask(command) else {
        panic!("no answer of ElectLeaders");
    };
    let outcome = told[0].partitions[0].1.as_ref();
    let code = outcome.map_or_else(|refusal| refusal.code, |()| ErrorCode::None);
    (code, place(w, "t"))
}

/// The same where partition 0 has these replicas, of which these are in step, and nobody leads it.
fn elected_among(election: Election, all: &[i32], in_sync: &[i32]) -> (ErrorCode, (i32, i32)) {
    let mut w = World::new();
    w.create("t").unwrap();
    let mut records = w.journal.clone();
    for record in &mut records {
        if let Record::Partitions { place, .. } = record {
            let mut replicas = (*place.replicas).clone();
            replicas.all = all.to_vec();
            replicas.in_sync = in_sync.to_vec();
            place.replicas = replicas.into();
            place.leader = -1;
        }
    }
    elected(&mut w.replayed(records), election)
}

// As in Kafka's controller: the first replica only if it is in step, or anybody where nobody leads.
#[test]
fn an_election_finds_the_leader_that_should_be() {
    use Election::{Preferred, Unclean};
    use ErrorCode::{ElectionNotNeeded, EligibleLeadersNotAvailable, PreferredLeaderNotAvailable};
    let mut w = World::new();
    let topic = w.create("t").unwrap().id;
    let move_to = |leader| Command::Elect {
        topic,
        partition: 0,
        leader,
    };
    assert_eq!(elected(&mut w, Preferred), (ElectionNotNeeded, (1, 0)));
    drop(w.ask(move_to(2)));
    assert_eq!(elected(&mut w, Unclean), (ElectionNotNeeded, (2, 1)));
    assert_eq!(elected(&mut w, Preferred), (ErrorCode::None, (1, 2)));
    drop(w.ask(move_to(-1)));
    assert_eq!(elected(&mut w, Unclean), (ErrorCode::None, (1, 4)));
    let none = (-1, 0);
    for (election, all, in_sync, expected) in [
        (
            Preferred,
            &[9, 1][..],
            &[9, 1][..],
            (PreferredLeaderNotAvailable, none),
        ),
        (
            Preferred,
            &[1, 9],
            &[9],
            (PreferredLeaderNotAvailable, none),
        ),
        (Unclean, &[9, 1], &[9, 1], (ErrorCode::None, (1, 1))),
        (Unclean, &[9, 1], &[9], (ErrorCode::None, (1, 1))),
        (Unclean, &[9], &[9], (EligibleLeadersNotAvailable, none)),
    ] {
        assert_eq!(
            elected_among(election, all, in_sync),
            expected,
            "{election:?} {all:?}"
        );
    }
}

// One leader that was asked for twice would have got two epochs.
#[test]
fn a_leader_that_is_asked_for_twice_is_elected_once() {
    let mut w = World::new();
    let topic = w.create("t").unwrap().id;
    let moved = Command::Elect {
        topic,
        partition: 0,
        leader: 2,
    };
    drop(w.ask(moved));
    let command = Command::ElectLeaders {
        election: Election::Preferred,
        topics: Some(vec![("t".into(), vec![0, 0])]),
    };
    let records = w.kinds(|w| drop(w.ask(command)));
    assert_eq!(records, ["PartitionChange"]);
    assert_eq!(place(&w, "t"), (1, 2));
}

// KIP-868: what Kafka's controller writes in several batches holds once the last of them is there.
#[test]
fn records_that_hold_together_hold_all_or_not_at_all() {
    let mut w = World::new();
    w.create("t").unwrap();
    let all = w.journal.clone();
    let row = |end: Option<Together>| {
        let begin = std::iter::once(Record::Together(Together::Begin(None)));
        begin.chain(all.clone()).chain(end.map(Record::Together))
    };
    let has_topic = |records: &mut dyn Iterator<Item = Record>| {
        let w = w.replayed(records);
        w.cluster.topics().by_name("t").is_some()
    };
    assert!(has_topic(&mut row(Some(Together::End))));
    assert!(!has_topic(&mut row(Some(Together::Abort(None)))));
    assert!(!has_topic(&mut row(None)));
}
