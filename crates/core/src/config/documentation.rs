//! What each config does here, in one sentence.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::broker::BrokerSettings;
use super::table::{ConfigKey, Scope, keys};
use super::topic::broker_keys_behind;

/// Told for keys that are accepted, checked and shown but change nothing.
const INERT: &str = "Accepted, checked and shown; changes nothing in Rustka.";

/// The sentence that DescribeConfigs tells about a key.
pub fn documentation(key: &ConfigKey) -> &'static str {
    static TEXTS: OnceLock<BTreeMap<(Scope, &'static str), String>> = OnceLock::new();
    let texts = TEXTS.get_or_init(texts);
    texts
        .get(&(key.scope, key.name))
        .map_or(INERT, String::as_str)
}

/// Whether the key has an effect.
pub fn is_honoured(key: &ConfigKey) -> bool {
    documentation(key) != INERT
}

/// Keys whose values are there, typed, but that nothing obeys yet.
const NOT_YET: &[&str] = &[
    "min.insync.replicas",
    "share.coordinator.state.topic.num.partitions",
];

fn texts() -> BTreeMap<(Scope, &'static str), String> {
    let mut texts = BTreeMap::new();
    // A broker's key has an effect when the topic's key before which it stands has one.
    for topic in keys(Scope::Topic) {
        if TOPIC.iter().all(|(name, _)| *name != topic.name) {
            continue;
        }
        for broker in broker_keys_behind(topic.name) {
            let text = format!("The {} of topics that set none.", topic.name);
            texts.insert((Scope::Broker, broker), text);
        }
    }
    for (_, name, text) in BrokerSettings::FIELDS {
        if !NOT_YET.contains(name) {
            texts.insert((Scope::Broker, *name), text.trim().to_owned());
        }
    }
    let tables = [
        (Scope::Topic, TOPIC),
        (Scope::Broker, BROKER),
        (Scope::ClientMetrics, CLIENT_METRICS),
    ];
    for (scope, table) in tables {
        for (name, text) in table {
            texts.insert((scope, *name), (*text).to_owned());
        }
    }
    texts
}

const TOPIC: &[(&str, &str)] = &[
    (
        "cleanup.policy",
        "Whether old records are deleted (delete), only the newest of each key are kept (compact), or both.",
    ),
    (
        "compression.gzip.level",
        "The level with which the broker compresses in gzip.",
    ),
    (
        "compression.lz4.level",
        "The level with which the broker compresses in lz4; 9 stands for the fast compressor, any other for LZ4 HC.",
    ),
    (
        "compression.type",
        "The codec batches are stored in, whatever the producer used; producer keeps them as they come.",
    ),
    (
        "compression.zstd.level",
        "The level with which the broker compresses in zstd.",
    ),
    (
        "delete.retention.ms",
        "How long tombstones stay readable after they were first compacted.",
    ),
    (
        "max.compaction.lag.ms",
        "After how long a closed part of a log is compacted even if little of the log is dirty.",
    ),
    (
        "max.decompressed.message.bytes",
        "The largest record of a compressed batch, once inflated, where the broker looks into it. All records of a batch \
         together may have 64 MiB, whatever is set here.",
    ),
    (
        "max.message.bytes",
        "The largest record batch, compressed, with its header.",
    ),
    (
        "message.timestamp.after.max.ms",
        "How far a record's own time may lie in the future.",
    ),
    (
        "message.timestamp.before.max.ms",
        "How far a record's own time may lie in the past.",
    ),
    (
        "message.timestamp.type",
        "Whether records keep the producer's time (CreateTime) or get the broker's (LogAppendTime).",
    ),
    (
        "flush.messages",
        "With --data-dir, after how many records a partition is synced, also where --fsync would wait longer; acks=all is answered after that.",
    ),
    (
        "flush.ms",
        "With --data-dir, after how many milliseconds a partition is synced at the latest, also where --fsync would wait longer.",
    ),
    (
        "min.cleanable.dirty.ratio",
        "Which share of a log has to be dirty before it is compacted.",
    ),
    (
        "min.compaction.lag.ms",
        "How long a record is safe from compaction.",
    ),
    (
        "rustka.damaged.skip",
        "Offsets of records that are known to be damaged and that consumers pass over, such as 0:17-20; to set or append * means all that are known. rustka topic skip-damaged does that and tells which they are.",
    ),
    (
        "rustka.retention.consumers",
        "What consumer groups have to do with retention: hold keeps what a group has not read from it, drop lets go early what every group has read, none does neither.",
    ),
    (
        "retention.bytes",
        "How large a partition grows before its oldest records are deleted; -1 is no limit.",
    ),
    (
        "retention.ms",
        "How old records grow before they are deleted; -1 is forever.",
    ),
    (
        "segment.bytes",
        "Batches larger than this are refused; storage is divided by chunks, not by this size.",
    ),
    (
        "segment.ms",
        "After how long the active part of a partition is closed, so that retention can delete it.",
    ),
];

const BROKER: &[(&str, &str)] = &[
    (
        "advertised.listeners",
        "The addresses told to clients, to each that of the listener at which it came in.",
    ),
    (
        "authorizer.class.name",
        "Set to anything, ACLs decide who may do what.",
    ),
    (
        "auto.create.topics.enable",
        "Whether Metadata requests create topics that do not exist.",
    ),
    ("broker.id", "The same as node.id, by its older name."),
    ("broker.rack", "The rack told to clients."),
    (
        "connection.failed.authentication.delay.ms",
        "How long a failed login waits for its answer.",
    ),
    (
        "connections.max.idle.ms",
        "After how long a silent connection is closed.",
    ),
    (
        "connections.max.reauth.ms",
        "How long a login holds before it has to be repeated.",
    ),
    (
        "controller.listener.names",
        "The listeners that are not for clients, and not served.",
    ),
    (
        "default.replication.factor",
        "The replication factor of topics that name none.",
    ),
    ("delete.topic.enable", "Whether topics can be deleted."),
    (
        "fetch.max.bytes",
        "The largest answer to one Fetch request.",
    ),
    (
        "group.initial.rebalance.delay.ms",
        "How long the first rebalance of an empty group waits for further members.",
    ),
    (
        "group.max.size",
        "How many members a classic group may have.",
    ),
    (
        "group.min.session.timeout.ms",
        "The shortest session timeout a classic member may ask for.",
    ),
    (
        "listener.security.protocol.map",
        "The protocols of listeners; PLAINTEXT and SASL_PLAINTEXT are served.",
    ),
    (
        "listeners",
        "Where the broker listens: every listener but those for controllers.",
    ),
    ("log.dir", "The same as log.dirs, where that is not set."),
    (
        "log.dirs",
        "Where records are kept in files, as with --data-dir: the one of these directories that holds data, or else the first.",
    ),
    (
        "log.cleaner.dedupe.buffer.size",
        "Bytes of memory for the keys of one round of compaction; more than 64 MiB are never used.",
    ),
    (
        "log.cleaner.io.max.bytes.per.second",
        "With --data-dir, how many bytes compaction reads and writes in a second at most.",
    ),
    (
        "log.cleaner.backoff.ms",
        "How often every compacted log is looked at; a log that grows is looked at more often.",
    ),
    ("log.cleaner.enable", "Whether logs are compacted at all."),
    (
        "log.retention.check.interval.ms",
        "How often retention is looked at.",
    ),
    (
        "log.retention.hours",
        "The retention of topics that set none, in hours; minutes and milliseconds stand before it.",
    ),
    (
        "log.retention.minutes",
        "The retention of topics that set none, in minutes; milliseconds stand before it.",
    ),
    (
        "log.roll.hours",
        "The segment.ms of topics that set none, in hours; milliseconds stand before it.",
    ),
    ("max.connections", "How many connections may be open."),
    (
        "max.connections.per.ip",
        "How many connections one address may have open.",
    ),
    (
        "max.incremental.fetch.session.cache.slots",
        "How many fetch sessions are kept.",
    ),
    (
        "max.request.partition.size.limit",
        "How many partitions one DescribeTopicPartitions answer holds.",
    ),
    ("node.id", "This broker's id, told to clients."),
    (
        "num.partitions",
        "The partitions of topics that name no number.",
    ),
    (
        "offset.metadata.max.bytes",
        "The largest metadata of a committed offset.",
    ),
    (
        "delegation.token.secret.key",
        "What the secrets of delegation tokens are made with; without it there are none.",
    ),
    (
        "delegation.token.expiry.time.ms",
        "How long a delegation token lives until it has to be renewed.",
    ),
    (
        "delegation.token.max.lifetime.ms",
        "How long a delegation token lives in all.",
    ),
    (
        "delegation.token.expiry.check.interval.ms",
        "How often expired delegation tokens are looked for.",
    ),
    (
        "quota.window.num",
        "In how many samples quotas of clients count what was used.",
    ),
    (
        "quota.window.size.seconds",
        "How long each of these samples is.",
    ),
    (
        "controller.quota.window.num",
        "In how many samples quotas count partitions created and deleted.",
    ),
    (
        "controller.quota.window.size.seconds",
        "How long each of these samples is.",
    ),
    (
        "offsets.retention.check.interval.ms",
        "How often expired offsets are looked for.",
    ),
    (
        "offsets.retention.minutes",
        "How long the offsets of an empty group are kept.",
    ),
    (
        "offsets.topic.num.partitions",
        "The partitions of __consumer_offsets.",
    ),
    ("process.roles", "Whether this is a broker; it has to be."),
    (
        "producer.id.expiration.check.interval.ms",
        "How often silent producers are looked for.",
    ),
    (
        "producer.id.expiration.ms",
        "How long the state of a silent producer is kept.",
    ),
    (
        "rustka.fetch.sessions.fair.share",
        "Whether a principal with few fetch sessions displaces one with many when all slots are taken.",
    ),
    (
        "rustka.groups.initial.rebalance.delay.max.ms",
        "The longest wait of a group's first rebalance when each new member prolongs it.",
    ),
    (
        "rustka.groups.pending.ids.max",
        "How many member ids of a group may be given out and not yet used; beyond that the oldest is given up.",
    ),
    (
        "rustka.groups.pending.ids.per.address.max",
        "How many member ids may be given out to one address and not yet used; beyond that the oldest is given up.",
    ),
    (
        "rustka.groups.pending.rebalance.wait.ms",
        "How long a member id that is not used holds up a rebalance.",
    ),
    (
        "rustka.memory.limit",
        "Bytes of memory in all; 0 chooses a quarter of what the process may use, at least 128 MiB where there is so much.",
    ),
    (
        "rustka.retention.total.bytes",
        "Bytes of all records together; beyond that the oldest of all topics that delete go first, whatever their own retention says. -1 is no limit.",
    ),
    (
        "rustka.scrub.bytes.per.second",
        "With --data-dir, how many bytes of files are read each second only to find out whether they are whole; what is damaged is then told of before anybody wants it. 0 reads none.",
    ),
    (
        "rustka.scrub.interval.ms",
        "From the beginning of one such round over all files to that of the next, in milliseconds at least.",
    ),
    (
        "rustka.topic.ids",
        "Where topic ids come from: random, or by-name so that a topic made again after a restart has the id it had.",
    ),
    (
        "rustka.validate.compressed",
        "Whether compressed batches are inflated to check their records.",
    ),
    (
        "rustka.oauthbearer.unsecured",
        "Has OAUTHBEARER believe tokens that nobody has signed, and no others: for tests.",
    ),
    (
        "sasl.oauthbearer.allow.unverified.audience",
        "Has tokens believed for whomever they are meant, where no audience is expected.",
    ),
    (
        "sasl.oauthbearer.allow.unverified.issuer",
        "Has tokens believed whoever has issued them, where no issuer is expected.",
    ),
    (
        "sasl.oauthbearer.clock.skew.seconds",
        "How far the clock of whoever issues tokens may be from this one.",
    ),
    (
        "sasl.oauthbearer.expected.audience",
        "For whom a token has to be meant, for one of them; needed where tokens are signed.",
    ),
    (
        "sasl.oauthbearer.expected.issuer",
        "Who has to have issued a token; needed where tokens are signed.",
    ),
    (
        "sasl.oauthbearer.jwks.endpoint.refresh.ms",
        "How often the keys of those who sign tokens are read again.",
    ),
    (
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
        "The longest pause before reading keys is tried again, and the shortest before a token with an unknown key has it done early.",
    ),
    (
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms",
        "The first pause before reading keys is tried again; it doubles.",
    ),
    (
        "sasl.oauthbearer.jwks.endpoint.url",
        "Where the keys of those who sign tokens are: a file (file:///PATH), https, or http on this machine.",
    ),
    (
        "sasl.oauthbearer.scope.claim.name",
        "The claim of a token with its scope, which has to be a text or a list of texts.",
    ),
    (
        "sasl.oauthbearer.sub.claim.name",
        "The claim of a token that names the user.",
    ),
    (
        "ssl.key.password",
        "Opens a private key in PEM that is encrypted by itself.",
    ),
    (
        "sasl.enabled.mechanisms",
        "The ways to log in: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512.",
    ),
    (
        "sasl.server.max.receive.size",
        "The largest message of a login.",
    ),
    (
        "socket.request.max.bytes",
        "The largest request; a larger one closes the connection.",
    ),
    (
        "ssl.cipher.suites",
        "The cipher suites of TLS; the log names those that are not here.",
    ),
    (
        "ssl.client.auth",
        "Whether clients show a certificate: none, requested or required. With a login only as a listener's own config.",
    ),
    (
        "ssl.enabled.protocols",
        "The versions of TLS: TLSv1.2, TLSv1.3.",
    ),
    (
        "ssl.keystore.certificate.chain",
        "The certificate and those that lead to its authority, in PEM.",
    ),
    (
        "ssl.keystore.key",
        "The key of the certificate, in PEM and not encrypted.",
    ),
    (
        "ssl.keystore.location",
        "A file with the key and the certificate, PEM or PKCS12 whatever its type is said to be. It is read again when it changes.",
    ),
    (
        "ssl.keystore.password",
        "The password of a PKCS12 keystore.",
    ),
    (
        "ssl.principal.mapping.rules",
        "How the name in a client's certificate becomes a user's.",
    ),
    (
        "ssl.truststore.certificates",
        "Who may sign clients' certificates, in PEM.",
    ),
    (
        "ssl.truststore.location",
        "A file with those who may sign clients' certificates, PEM or PKCS12. It is read again when it changes.",
    ),
    (
        "ssl.truststore.password",
        "The password of a PKCS12 truststore.",
    ),
    (
        "telemetry.max.bytes",
        "The largest push of metrics by a client, before and after inflating.",
    ),
];

// Subscriptions to what clients measure (KIP-714).
const CLIENT_METRICS: &[(&str, &str)] = &[
    (
        "interval.ms",
        "How often clients push the metrics of this subscription.",
    ),
    (
        "match",
        "Which clients this subscription is for: SELECTOR=REGEX, all of them have to match.",
    ),
    (
        "metrics",
        "The prefixes of the metrics that are pushed; * is all.",
    ),
];

#[cfg(test)]
mod tests {
    use super::super::table::find_key;
    use super::*;

    #[test]
    fn a_brokers_key_has_an_effect_when_the_topics_key_has() {
        let text = |name| documentation(find_key(Scope::Broker, name).unwrap());
        assert_eq!(
            text("log.retention.bytes"),
            "The retention.bytes of topics that set none."
        );
        assert_eq!(text("log.preallocate"), INERT);
    }

    #[test]
    fn every_documented_key_exists() {
        for (name, _) in TOPIC {
            assert!(find_key(Scope::Topic, name).is_some(), "{name}");
        }
        for (name, _) in CLIENT_METRICS {
            assert!(find_key(Scope::ClientMetrics, name).is_some(), "{name}");
        }
        for (name, _) in BROKER {
            assert!(find_key(Scope::Broker, name).is_some(), "{name}");
        }
    }
}
