"""Lesson 12: compacted topics keep the newest value of each key.

The broker these run on looks for something to compact twice a second (log.cleaner.backoff.ms=500).
"""

from confluent_kafka import Consumer, Producer, TopicPartition

from helpers import until


def write(bootstrap, topic, *records):
    """Writes (key, value) pairs; the errors of those that were refused."""
    producer = Producer({"bootstrap.servers": bootstrap})
    refused = []
    for key, value in records:
        producer.produce(topic, value, key, on_delivery=lambda error, _: refused.append(error) if error else None)
    assert producer.flush(30) == 0
    return [error.name() for error in refused]


def read_from_the_start(bootstrap, topic):
    """Every record there is now, as (offset, key, value)."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False})
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
    consumer.assign([TopicPartition(topic, 0, low)])
    records = []
    # Offsets of a compacted topic have gaps; only the position says that the end is reached.
    while consumer.position([TopicPartition(topic, 0)])[0].offset < high:
        message = consumer.poll(0.5)
        if message is not None:
            assert message.error() is None, message.error()
            records.append((message.offset(), message.key(), message.value()))
    consumer.close()
    return records


COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "0",
}


def test_a_compacted_topic_keeps_the_newest_value_of_each_key(bootstrap, make_topic):
    topic = make_topic(1, **COMPACTED)
    for generation in range(20):
        write(bootstrap, topic, *((f"key {n}".encode(), f"value {generation}".encode()) for n in range(10)))

    def compacted():
        # Only what is no longer written to is compacted, so one more record closes what is old.
        write(bootstrap, topic, (b"marker", b"x"))
        records = read_from_the_start(bootstrap, topic)
        return [record for record in records if record[1] != b"marker"]

    records = until("compaction", lambda records: len(records) == 10, compacted)
    # The survivors stay at their own offsets.
    assert records == [(190 + n, f"key {n}".encode(), b"value 19") for n in range(10)]


def test_a_value_of_nothing_deletes_its_key(bootstrap, make_topic):
    topic = make_topic(1, **COMPACTED)
    write(bootstrap, topic, (b"goes", b"1"), (b"stays", b"2"), (b"goes", None))

    def keys():
        write(bootstrap, topic, (b"marker", b"x"))
        return {key for _, key, _ in read_from_the_start(bootstrap, topic)}

    assert until("the key to go", lambda keys: b"goes" not in keys, keys) == {b"stays", b"marker"}


def test_a_topic_without_keys_cannot_be_compacted(bootstrap, make_topic):
    topic = make_topic(1, **COMPACTED)
    assert write(bootstrap, topic, (None, b"no key")) == ["INVALID_RECORD"]


def test_what_is_younger_than_the_lag_is_left_alone(bootstrap, make_topic):
    # As Sentry's commit logs have it, next to one that is compacted at once.
    young, other = make_topic(1, **COMPACTED, **{"min.compaction.lag.ms": "3600000"}), make_topic(1, **COMPACTED)
    for generation in range(10):
        for topic in (young, other):
            write(bootstrap, topic, (b"key", b"value %d" % generation))

    def left():
        for topic in (young, other):
            write(bootstrap, topic, (b"marker", b"x"))
        return [key for _, key, _ in read_from_the_start(bootstrap, other)].count(b"key")

    until("compaction", lambda left: left == 1, left)
    values = [value for _, key, value in read_from_the_start(bootstrap, young) if key == b"key"]
    assert values == [b"value %d" % generation for generation in range(10)]
