//! A cluster with a journal in the test's hand.

use std::sync::Arc;

use rustka_wire::Uuid;

use crate::cluster::command::*;
use crate::cluster::records::Record;
use crate::cluster::resource::{Resource, ResourceKind};
use crate::cluster::{Cluster, ClusterOptions, Effects, FeatureLevels};
use crate::config::{AlterOperation, Alteration, BrokerConfig};
use crate::error::{ErrorCode, Refusal};
use crate::machine::tests::encoded;
use crate::machine::{JournalRecord, Machine, Release, Ticket};
use crate::security::facts::Fact;
use crate::security::users;
use crate::time::Now;

pub(super) const NOW: Now = Now {
    monotonic_ms: 0,
    wall_ms: 1_700_000_000_000,
    aging_ms: 0,
};

pub(super) const FEATURES: &[FeatureLevels] = &[
    FeatureLevels {
        name: "group.version",
        min: 0,
        max: 1,
        first: 1,
        falls: true,
    },
    FeatureLevels {
        name: "share.version",
        min: 0,
        max: 2,
        first: 0,
        falls: true,
    },
];

pub(super) fn id(n: u128) -> Uuid {
    Uuid((n << 32).to_be_bytes())
}

pub(super) struct World {
    pub(super) cluster: Cluster,
    pub(super) journal: Vec<Record>,
    /// What was told, in order.
    pub(super) told: Vec<Change>,
    /// Whether the next entries are lost.
    pub(super) failing: bool,
    release: Release<Cluster>,
    pairs: Vec<(&'static str, &'static str)>,
    strict: bool,
    features: &'static [FeatureLevels],
    pub(super) ids: u128,
}

impl World {
    pub(super) fn new() -> World {
        World::with(&[], false)
    }

    pub(super) fn with(pairs: &[(&'static str, &'static str)], strict: bool) -> World {
        let mut world = World::blank(pairs, strict);
        world.load();
        world
    }

    /// A cluster with these features, otherwise as Kafka's own.
    pub(super) fn with_features(features: &'static [FeatureLevels]) -> World {
        let mut world = World::made_of(&[], true, features);
        world.load();
        world
    }

    fn blank(pairs: &[(&'static str, &'static str)], strict: bool) -> World {
        World::made_of(pairs, strict, FEATURES)
    }

    fn made_of(
        pairs: &[(&'static str, &'static str)],
        strict: bool,
        features: &'static [FeatureLevels],
    ) -> World {
        let options = ClusterOptions {
            node_id: 1,
            nodes: vec![1],
            directory: id(1 << 64),
            first_producer_id: 5_000,
            bootstrap: Default::default(),
            features,
            topic_ids: None,
            account: Arc::default(),
        };
        let broker = BrokerConfig::new(pairs.iter().copied(), strict).unwrap();
        World {
            cluster: Cluster::new(options, broker),
            journal: Vec::new(),
            told: Vec::new(),
            failing: false,
            release: Release::default(),
            pairs: pairs.to_vec(),
            strict,
            features,
            ids: 0,
        }
    }

    fn load(&mut self) {
        let mut out = Effects::default();
        self.cluster.loaded(NOW, &mut out);
        self.settle(out);
    }

    /// A cluster that has read these records, each through its bytes.
    pub(super) fn replayed(&self, records: impl IntoIterator<Item = Record>) -> World {
        let mut world = World::made_of(&self.pairs, self.strict, self.features);
        for record in records {
            for (one, (key, value)) in std::iter::zip(singly(&record), encoded(&record)) {
                assert_eq!(key, None);
                let decoded = Record::decode(None, value.as_deref()).unwrap().unwrap();
                assert_eq!(decoded, one);
                world.cluster.apply(decoded);
            }
        }
        world.load();
        world
    }

    fn settle(&mut self, mut out: Effects) {
        let mut entries = self.release.take(&mut out);
        while !entries.is_empty() {
            for entry in entries {
                let result = match self.failing {
                    true => Err(ErrorCode::KafkaStorageError),
                    false => Ok(()),
                };
                self.cluster
                    .committed(NOW, entry.position, result, &mut out);
                match result {
                    Ok(()) => self.release.durable(entry.position, &()),
                    Err(_) => self.release.failed(entry.position, &()),
                }
                if result.is_ok() {
                    self.journal.extend(entry.records.iter().flat_map(singly));
                }
            }
            entries = self.release.take(&mut out);
        }
        self.told.append(&mut out.events);
    }

    pub(super) fn ask(&mut self, command: Command) -> Reply {
        let mut out = Effects::default();
        self.cluster.handle(NOW, Ticket(0), command, &mut out);
        self.settle(out);
        self.release.pop().expect("an answer").1
    }

    pub(super) fn new_id(&mut self) -> Uuid {
        self.ids += 1;
        id(self.ids)
    }

    pub(super) fn run(
        &mut self,
        request: &CreateTopics,
    ) -> Result<Vec<TopicOutcome<Created>>, Refusal> {
        match self.ask(Command::CreateTopics(request.clone())) {
            Reply::CreateTopics(result) => result,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn create_as(&mut self, topic: CreateTopic) -> Result<Created, ErrorCode> {
        let id = self.new_id();
        let request = CreateTopics {
            topics: vec![CreateTopic { id, ..topic }],
            validate_only: false,
        };
        let outcome = self
            .run(&request)
            .map_err(|refusal| refusal.code)?
            .remove(0);
        outcome.result.map_err(|refusal| refusal.code)
    }

    pub(super) fn create(&mut self, name: &str) -> Result<Created, ErrorCode> {
        self.create_as(by_default(name))
    }

    pub(super) fn delete(&mut self, topics: &[DeleteTopic]) -> Vec<Result<Arc<str>, ErrorCode>> {
        let Reply::DeleteTopics(deleted) = self.ask(Command::DeleteTopics(topics.to_vec())) else {
            panic!("an answer to DeleteTopics")
        };
        let results = deleted.unwrap().into_iter();
        results
            .map(|d| d.result.map(|()| d.name.unwrap()).map_err(|e| e.code))
            .collect()
    }

    pub(super) fn extend(
        &mut self,
        name: &str,
        count: i32,
        assignments: Option<Vec<Vec<i32>>>,
    ) -> Result<u32, ErrorCode> {
        let asked = AddPartitions {
            name: name.to_owned(),
            count,
            assignments,
        };
        let command = Command::CreatePartitions {
            topics: vec![asked],
            validate_only: false,
        };
        let Reply::CreatePartitions(mut outcomes) = self.ask(command) else {
            panic!("an answer to CreatePartitions")
        };
        outcomes.remove(0).result.map_err(|e| e.code)
    }

    pub(super) fn set(
        &mut self,
        kind: ResourceKind,
        name: &str,
        pairs: &[(&str, Option<&str>)],
    ) -> Result<(), ErrorCode> {
        let changes = pairs.iter().map(|(name, value)| Alteration {
            name: (*name).to_owned(),
            operation: match value {
                Some(_) => AlterOperation::Set,
                None => AlterOperation::Delete,
            },
            value: value.map(str::to_owned),
        });
        let asked = AlterConfigs {
            resource: Resource::new(kind, name),
            change: ConfigChange::Alter(changes.collect()),
            validate_only: false,
        };
        let Reply::AlterConfigs(mut results) = self.ask(Command::AlterConfigs(vec![asked])) else {
            panic!("an answer to AlterConfigs")
        };
        results.remove(0).map_err(|refusal| refusal.code)
    }

    pub(super) fn update_feature(
        &mut self,
        name: &str,
        level: i16,
        direction: Direction,
    ) -> Result<(), ErrorCode> {
        let update = UpdateFeature {
            name: name.to_owned(),
            level,
            direction: Some(direction),
        };
        let command = Command::UpdateFeatures {
            updates: vec![update],
            validate_only: false,
        };
        match self.ask(command) {
            Reply::UpdateFeatures(result) => result.map_err(|refusal| refusal.code),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn producer_ids(&mut self) -> Result<i64, ErrorCode> {
        match self.ask(Command::AllocateProducerIds) {
            Reply::AllocateProducerIds(first) => first,
            other => panic!("{other:?}"),
        }
    }

    /// Everything that is remembered, in words that can be compared.
    pub(super) fn state(&self) -> Vec<Record> {
        assert!(self.cluster.is_settled());
        self.cluster.live().collect()
    }

    /// The kinds of the records that a call writes.
    pub(super) fn kinds(&mut self, call: impl FnOnce(&mut World)) -> Vec<&'static str> {
        let before = self.journal.len();
        call(self);
        self.journal[before..].iter().map(kind).collect()
    }
}

/// The record as the log has it: partitions each have one of their own.
fn singly(record: &Record) -> Vec<Record> {
    let Record::Partitions {
        topic,
        numbers,
        place,
    } = record
    else {
        return vec![record.clone()];
    };
    let one = |number| Record::Partitions {
        topic: *topic,
        numbers: number..number + 1,
        place: place.clone(),
    };
    numbers.clone().map(one).collect()
}

fn kind(record: &Record) -> &'static str {
    match record {
        Record::Topic { .. } => "Topic",
        Record::RemoveTopic { .. } => "RemoveTopic",
        Record::Partitions { .. } => "Partition",
        Record::PartitionChange(_) => "PartitionChange",
        Record::Config { value: Some(_), .. } => "Config",
        Record::Config { value: None, .. } => "Config null",
        Record::ClearElr { .. } => "ClearElr",
        Record::Together(_) => "Together",
        Record::Feature { .. } => "Feature",
        Record::ProducerIds { .. } => "ProducerIds",
        Record::Security(fact) => kind_of_fact(fact),
        Record::Quorum(_) => "Quorum",
    }
}

fn kind_of_fact(fact: &Fact) -> &'static str {
    match fact {
        Fact::User(users::Change { credential, .. }) => match credential {
            Some(_) => "User",
            None => "RemoveUser",
        },
        Fact::Acl { acl: Some(_), .. } => "Acl",
        Fact::Acl { acl: None, .. } => "RemoveAcl",
        Fact::Quota(change) => match change.value {
            Some(_) => "Quota",
            None => "Quota null",
        },
        Fact::Token { token: Some(_), .. } => "Token",
        Fact::Token { token: None, .. } => "RemoveToken",
    }
}

pub(super) fn by_default(name: &str) -> CreateTopic {
    CreateTopic::by_default(name, Uuid([0; 16]))
}
