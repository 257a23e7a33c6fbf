//! Quotas of clients (KIP-13, 124, 546, 599, 612): whose they are, what they limit, which of several counts, and how long
//! somebody over one has to wait.

pub mod alter;
pub mod filter;
pub mod limits;
pub mod meter;
pub mod mutation;
pub mod rate;

use std::collections::BTreeMap;

/// The name of one part of an entity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// Whoever has no quota of their own.
    Default,
    /// This one.
    Named(Box<str>),
}

impl Name {
    /// As requests and records have it: null is the default.
    pub fn of(name: Option<&str>) -> Name {
        name.map_or(Name::Default, |name| Name::Named(name.into()))
    }

    /// The same the other way.
    pub fn get(&self) -> Option<&str> {
        match self {
            Name::Default => None,
            Name::Named(name) => Some(name),
        }
    }
}

/// The kinds of parts that an entity may have, in the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What a client calls itself.
    ClientId,
    /// The address it comes from.
    Ip,
    /// Who it has logged in as.
    User,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 3] = [Part::ClientId, Part::Ip, Part::User];

    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Part::ClientId => "client-id",
            Part::Ip => "ip",
            Part::User => "user",
        }
    }

    /// The part of this name.
    pub fn named(name: &str) -> Option<Part> {
        Part::ALL.into_iter().find(|part| part.name() == name)
    }
}

/// Whose quota it is: a user, a client id, both, or an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuotaEntity(BTreeMap<Part, Name>);

impl QuotaEntity {
    /// The entity of these parts.
    pub fn of(parts: impl IntoIterator<Item = (Part, Name)>) -> QuotaEntity {
        QuotaEntity(parts.into_iter().collect())
    }

    /// Its parts, in order.
    pub fn parts(&self) -> impl Iterator<Item = (Part, &Name)> {
        self.0.iter().map(|(part, name)| (*part, name))
    }

    /// One of them.
    pub fn part(&self, part: Part) -> Option<&Name> {
        self.0.get(&part)
    }

    /// How many it has.
    pub fn part_count(&self) -> usize {
        self.0.len()
    }
}

/// What a quota limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuotaKey {
    /// Connections that an address makes in a second.
    ConnectionRate,
    /// Bytes of fetched answers in a second.
    ConsumerBytes,
    /// Partitions that are created and deleted in a second.
    Mutations,
    /// Bytes of Produce requests in a second.
    ProducerBytes,
    /// The time spent on requests, in hundredths of one thread.
    RequestPercentage,
}

impl QuotaKey {
    /// All of them.
    pub const ALL: [QuotaKey; 5] = [
        QuotaKey::ConnectionRate,
        QuotaKey::ConsumerBytes,
        QuotaKey::Mutations,
        QuotaKey::ProducerBytes,
        QuotaKey::RequestPercentage,
    ];

    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            QuotaKey::ConnectionRate => "connection_creation_rate",
            QuotaKey::ConsumerBytes => "consumer_byte_rate",
            QuotaKey::Mutations => "controller_mutation_rate",
            QuotaKey::ProducerBytes => "producer_byte_rate",
            QuotaKey::RequestPercentage => "request_percentage",
        }
    }

    /// The key of this name.
    pub fn named(name: &str) -> Option<QuotaKey> {
        QuotaKey::ALL.into_iter().find(|key| key.name() == name)
    }
}

/// All quotas that are set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quotas(BTreeMap<QuotaEntity, BTreeMap<QuotaKey, f64>>);

impl Quotas {
    /// What an entity may do from now on; without a value it goes by what others have.
    pub fn set(&mut self, entity: &QuotaEntity, key: QuotaKey, value: Option<f64>) {
        let values = self.0.entry(entity.clone()).or_default();
        match value {
            Some(value) => values.insert(key, value),
            None => values.remove(&key),
        };
        if values.is_empty() {
            self.0.remove(entity);
        }
    }

    /// What is set for an entity.
    pub fn get(&self, entity: &QuotaEntity, key: QuotaKey) -> Option<f64> {
        self.0.get(entity)?.get(&key).copied()
    }

    /// Whether anything is set for an entity.
    pub fn has(&self, entity: &QuotaEntity) -> bool {
        self.0.contains_key(entity)
    }

    /// Every entity with what is set for it.
    pub fn all(&self) -> impl Iterator<Item = (&QuotaEntity, &BTreeMap<QuotaKey, f64>)> {
        self.0.iter()
    }

    /// How many entities there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}
