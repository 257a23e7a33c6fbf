"""Transactions with confluent-kafka: exactly-once copies, aborts that nobody sees, and zombies that are fenced."""

import uuid

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from helpers import until


def producer(bootstrap, transactional_id, **config):
    made = Producer({"bootstrap.servers": bootstrap, "transactional.id": transactional_id, **config})
    made.init_transactions(30)
    return made


def consumer(bootstrap, group, isolation="read_committed"):
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "isolation.level": isolation,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )


def values(bootstrap, topic, isolation="read_committed"):
    """Every value that a consumer of this isolation level can see now."""
    reader = consumer(bootstrap, uuid.uuid4().hex, isolation)
    reader.assign([TopicPartition(topic, 0, 0)])
    seen = []
    while True:
        message = reader.poll(30)
        assert message is not None, f"no end of {topic} after {seen}"
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            reader.close()
            return seen
        seen.append(message.value().decode())


def write(to, topic, *texts):
    to.begin_transaction()
    for text in texts:
        to.produce(topic, text)
    to.flush(30)


def test_only_committed_records_are_seen(bootstrap, make_topic):
    topic = make_topic()
    writer = producer(bootstrap, f"id-{topic}")
    write(writer, topic, "one", "two")
    assert values(bootstrap, topic) == []
    assert values(bootstrap, topic, "read_uncommitted") == ["one", "two"]
    writer.commit_transaction(30)
    write(writer, topic, "never")
    writer.abort_transaction(30)
    write(writer, topic, "three")
    writer.commit_transaction(30)
    assert values(bootstrap, topic) == ["one", "two", "three"]
    assert values(bootstrap, topic, "read_uncommitted") == ["one", "two", "never", "three"]


def test_a_copy_is_exact_however_often_it_is_aborted(bootstrap, make_topic):
    source, target = make_topic(), make_topic()
    plain = Producer({"bootstrap.servers": bootstrap})
    for number in range(100):
        plain.produce(source, str(number))
    plain.flush(30)
    group = f"copy-{source}"
    copied = 0
    for attempt in range(30):
        reader = consumer(bootstrap, group)
        reader.subscribe([source])
        writer = producer(bootstrap, f"copy-{source}")
        batch = []
        while len(batch) < 10:
            message = reader.poll(30)
            assert message is not None, f"nothing more after {copied}"
            if message.error():
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                break
            batch.append(message.value())
        writer.begin_transaction()
        for value in batch:
            writer.produce(target, value)
        offsets = reader.position(reader.assignment())
        writer.send_offsets_to_transaction(offsets, reader.consumer_group_metadata(), 30)
        # Every third attempt is given up with everything done but the last step.
        if attempt % 3 == 2:
            writer.abort_transaction(30)
        else:
            writer.commit_transaction(30)
            copied += len(batch)
        reader.close()
        if copied == 100:
            break
    assert values(bootstrap, target) == [str(number) for number in range(100)]
    checked = consumer(bootstrap, group)
    committed = checked.committed([TopicPartition(source, 0)], 30)
    checked.close()
    assert committed[0].offset == 100


def test_a_zombie_is_fenced(bootstrap, make_topic):
    topic = make_topic()
    zombie = producer(bootstrap, f"id-{topic}")
    write(zombie, topic, "of the zombie")
    heir = producer(bootstrap, f"id-{topic}")
    with pytest.raises(KafkaException) as refused:
        zombie.commit_transaction(30)
    assert refused.value.args[0].code() == KafkaError._FENCED
    write(heir, topic, "of the heir")
    heir.commit_transaction(30)
    assert values(bootstrap, topic) == ["of the heir"]


def test_a_transaction_that_takes_too_long_is_aborted(bootstrap, make_topic):
    topic = make_topic()
    slow = producer(bootstrap, f"id-{topic}", **{"transaction.timeout.ms": 1000, "message.timeout.ms": 1000})
    write(slow, topic, "too late")
    plain = Producer({"bootstrap.servers": bootstrap})
    plain.produce(topic, "in time")
    plain.flush(30)
    until("its end", lambda seen: seen == ["in time"], lambda: values(bootstrap, topic))
