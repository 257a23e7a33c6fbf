//! Our descriptions against those recorded from Apache Kafka.

use std::fmt::Write;

use super::*;

/// Kafka keeps what its users set under unknown names; these are of its own start script.
fn is_known(name: &str) -> bool {
    find_key(Scope::Broker, name).is_some()
}

fn line(resource: &str, entry: &ConfigEntry) -> String {
    let source = |source: ConfigSource| match source {
        ConfigSource::Topic => "DYNAMIC_TOPIC_CONFIG",
        ConfigSource::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
        ConfigSource::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        ConfigSource::Group => "DYNAMIC_GROUP_CONFIG",
        ConfigSource::StaticBroker => "STATIC_BROKER_CONFIG",
        _ => "DEFAULT_CONFIG",
    };
    let mut line = format!(
        "{resource}\t{}\t{}\t{}\t{}\t{}",
        entry.name,
        entry.value.as_deref().unwrap_or("null"),
        entry.read_only,
        source(entry.source),
        entry.sensitive
    );
    if resource == "CREATED" {
        return line;
    }
    let _ = write!(line, "\t{}\t", entry.config_type.unwrap().name());
    for synonym in &entry.synonyms {
        let value = synonym.value.as_deref().unwrap_or("null");
        let _ = write!(line, "{}:{}={value};", source(synonym.source), synonym.name);
    }
    line
}

#[test]
fn every_config_is_described_as_kafka_does() {
    let recorded: Vec<&str> = include_str!("recorded.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let set: Vec<(&str, &str)> = recorded
        .iter()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter(|f| f[0] == "BROKER" && f[4] == "STATIC_BROKER_CONFIG" && is_known(f[1]))
        .map(|fields| (fields[1], fields[2]))
        .collect();
    let broker = BrokerConfig::new(set, true).unwrap();
    let overrides = Overrides::parse(
        Scope::Topic,
        [
            ("cleanup.policy", Some("compact, delete")),
            ("min.cleanable.dirty.ratio", Some("0.50")),
            ("segment.bytes", Some(" 2000000 ")),
        ],
    )
    .unwrap();
    let created = TopicConfig::resolve(&broker, &Overrides::default());
    let group = [("consumer.session.timeout.ms", Some("45001"))];
    let group = Overrides::parse(Scope::Group, group).unwrap();
    let ours = [
        ("GROUP", describe_group(&broker, &group)),
        ("TOPIC", describe_topic(&broker, &overrides)),
        ("BROKER", describe_broker(&broker, false)),
        ("CREATED", created.created_entries(&broker).to_vec()),
    ];
    let mut ours: Vec<String> = ours
        .iter()
        .flat_map(|(resource, entries)| entries.iter().map(|entry| line(resource, entry)))
        .filter(|line| !line.contains("\trustka."))
        .collect();
    ours.sort_unstable();
    let mut kafkas: Vec<&str> = recorded
        .into_iter()
        .filter(|line| {
            let name = line.split('\t').nth(1).unwrap();
            !line.starts_with("BROKER") || is_known(name)
        })
        .collect();
    kafkas.sort_unstable();
    for (ours, kafkas) in ours.iter().zip(&kafkas) {
        assert_eq!(ours, kafkas);
    }
    assert_eq!(ours.len(), kafkas.len());
}
