"""Lesson 6: large messages, what bounds them, and that a reader with small buffers still gets them whole."""

import random

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPythonPartition
from kafka.errors import MessageSizeTooLargeError

from helpers import read_confluent, read_kafka_python

MIB = 1024 * 1024


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
def test_fifty_megabytes_in_one_message(bootstrap, make_topic, codec):
    topic = make_topic(**{"max.message.bytes": "52428800"})
    value = noise(49_000_000)
    producer = Producer(
        {"bootstrap.servers": bootstrap, "message.max.bytes": 52_000_000, "compression.type": codec}
    )
    failures = []
    producer.produce(topic, value, on_delivery=lambda error, _: failures.append(error) if error else None)
    assert producer.flush(60) == 0 and failures == []

    # fetch.message.max.bytes stays at its 1 MiB: the first batch is handed out whole all the same (KIP-74).
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    [message] = read_confluent(consumer, 1)
    assert len(message.value()) == len(value) and message.value() == value
    consumer.close()


def test_kafka_python_sends_and_reads_twenty_megabytes(bootstrap, make_topic):
    topic = make_topic(**{"max.message.bytes": str(32 * MIB)})
    value = noise(20 * MIB)
    producer = KafkaProducer(bootstrap_servers=bootstrap, max_request_size=32 * MIB)
    producer.send(topic, value).get(timeout=60)
    producer.close()

    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    partition = KafkaPythonPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    [record] = read_kafka_python(consumer, 1)
    assert record.value == value
    consumer.close()


def test_small_messages_behind_a_large_one_are_not_lost(bootstrap, make_topic):
    topic = make_topic(**{"max.message.bytes": str(16 * MIB)})
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 16 * MIB})
    values = [b"before", noise(8 * MIB), b"between", noise(3 * MIB, seed=2), b"after"]
    for value in values:
        producer.produce(topic, value)
        assert producer.flush(60) == 0

    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "none",
            "enable.auto.commit": False,
            "fetch.message.max.bytes": 1000,
        }
    )
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    assert [message.value() for message in read_confluent(consumer, len(values))] == values
    consumer.close()


def test_a_message_over_the_topics_limit_is_refused(bootstrap, make_topic):
    topic = make_topic(**{"max.message.bytes": "10000"})
    # An idempotent kafka-python producer would take the refusal for the end of its sequence and give up.
    producer = KafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=False)
    with pytest.raises(MessageSizeTooLargeError):
        producer.send(topic, noise(10_001)).get(timeout=30)
    # The same producer goes on with what fits.
    assert producer.send(topic, noise(9_000)).get(timeout=30).offset == 0
    producer.close()


def test_the_limit_counts_compressed_bytes(bootstrap, make_topic):
    topic = make_topic(**{"max.message.bytes": "10000"})
    producer = Producer({"bootstrap.servers": bootstrap, "compression.type": "zstd"})
    failures = []
    producer.produce(topic, b"a" * 500_000, on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(30) == 0 and failures == [None]


def test_the_client_refuses_by_itself_what_is_over_its_own_limit(bootstrap, make_topic):
    topic = make_topic()
    producer = Producer({"bootstrap.servers": bootstrap})
    with pytest.raises(KafkaException) as refused:
        producer.produce(topic, noise(2 * MIB))
    assert refused.value.args[0].name() == "MSG_SIZE_TOO_LARGE"
