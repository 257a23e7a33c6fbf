"""Lesson 10: topics do what their configs say, from the moment on they are changed."""

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ConfigSource


def described(admin, topic):
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    return admin.describe_configs([resource])[resource].result(30)


def alter(admin, topic, operation, **values):
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=operation) for name, value in values.items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    admin.incremental_alter_configs([resource])[resource].result(30)


def write(bootstrap, topic, *records):
    """Writes (key, value) pairs; the errors of those that were refused."""
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 10_000_000})
    refused = []
    for key, value in records:
        producer.produce(topic, value, key, on_delivery=lambda error, _: refused.append(error) if error else None)
    assert producer.flush(30) == 0
    return [error.name() for error in refused]


def test_a_config_is_the_topics_own_or_the_brokers(admin, make_topic):
    topic = make_topic(1, **{"retention.ms": "86400000"})
    configs = described(admin, topic)
    assert configs["retention.ms"].value == "86400000"
    assert configs["retention.ms"].source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    # What nobody set, and where else it could be set: for the broker, under another name.
    assert configs["max.message.bytes"].is_default
    assert "message.max.bytes" in configs["max.message.bytes"].synonyms


def test_configs_change_one_by_one(admin, make_topic):
    topic = make_topic(1, **{"retention.ms": "86400000"})
    alter(admin, topic, AlterConfigOpType.SET, segment_bytes="2097152", cleanup_policy="compact")
    configs = described(admin, topic)
    assert (configs["segment.bytes"].value, configs["retention.ms"].value) == ("2097152", "86400000")

    # Lists grow and shrink by their elements.
    alter(admin, topic, AlterConfigOpType.APPEND, cleanup_policy="delete")
    assert set(described(admin, topic)["cleanup.policy"].value.split(",")) == {"compact", "delete"}
    alter(admin, topic, AlterConfigOpType.SUBTRACT, cleanup_policy="compact")
    assert described(admin, topic)["cleanup.policy"].value == "delete"

    # What is deleted falls back to the broker's value.
    alter(admin, topic, AlterConfigOpType.DELETE, segment_bytes=None)
    assert described(admin, topic)["segment.bytes"].is_default


def test_a_smaller_limit_holds_for_the_next_message(bootstrap, admin, make_topic):
    topic = make_topic()
    assert write(bootstrap, topic, (b"k", b"x" * 10_000)) == []
    alter(admin, topic, AlterConfigOpType.SET, max_message_bytes="5000")
    assert write(bootstrap, topic, (b"k", b"x" * 10_000)) == ["MSG_SIZE_TOO_LARGE"]
    alter(admin, topic, AlterConfigOpType.DELETE, max_message_bytes=None)
    assert write(bootstrap, topic, (b"k", b"x" * 10_000)) == []


@pytest.mark.parametrize(
    "name, value",
    [("retention.ms", "soon"), ("cleanup.policy", "shred"), ("retention.mss", "1"), ("min.insync.replicas", "0")],
)
def test_what_makes_no_sense_is_refused_and_nothing_changes(admin, make_topic, name, value):
    topic = make_topic(1, **{"retention.ms": "86400000"})
    before = {entry.name: entry.value for entry in described(admin, topic).values()}
    with pytest.raises(KafkaException) as refused:
        alter(admin, topic, AlterConfigOpType.SET, segment_bytes="2097152", **{name: value})
    assert refused.value.args[0].name() == "INVALID_CONFIG"
    assert name in refused.value.args[0].str(), "the sentence says which one"
    assert {entry.name: entry.value for entry in described(admin, topic).values()} == before
