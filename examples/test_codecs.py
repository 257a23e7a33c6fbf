"""Lesson 3: every compression codec, from each client to each client."""

import random

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPythonPartition

from helpers import read_confluent, read_kafka_python

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
MESSAGES_PER_CODEC = 200


def payloads():
    """Some that compress well, some that do not, some empty."""
    noise = random.Random(7)
    values = [b"the same words again and again " * 20 + str(n).encode() for n in range(MESSAGES_PER_CODEC - 20)]
    values += [noise.randbytes(997) for _ in range(10)]
    values += [b""] * 10
    return values


def write_with_confluent(bootstrap, topic, codec, values):
    producer = Producer({"bootstrap.servers": bootstrap, "compression.type": codec, "linger.ms": 50})
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(30) == 0


def write_with_kafka_python(bootstrap, topic, codec, values):
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec, linger_ms=50
    )
    sent = [producer.send(topic, value, partition=0) for value in values]
    producer.flush(30)
    for future in sent:
        future.get(timeout=30)
    producer.close()


def read_with_confluent(bootstrap, topic, count):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    values = [(message.offset(), message.value()) for message in read_confluent(consumer, count)]
    consumer.close()
    return values


def read_with_kafka_python(bootstrap, topic, count):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    partition = KafkaPythonPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    values = [(record.offset, record.value) for record in read_kafka_python(consumer, count)]
    consumer.close()
    return values


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("write", [write_with_confluent, write_with_kafka_python], ids=["rdkafka", "pure"])
def test_what_was_compressed_is_read_by_both_clients(bootstrap, make_topic, codec, write):
    topic = make_topic()
    values = payloads()
    write(bootstrap, topic, codec, values)

    expected = list(enumerate(values))
    assert read_with_confluent(bootstrap, topic, len(values)) == expected
    assert read_with_kafka_python(bootstrap, topic, len(values)) == expected


def test_one_partition_holds_all_codecs_side_by_side(bootstrap, make_topic):
    topic = make_topic()
    for codec in CODECS:
        write_with_confluent(bootstrap, topic, codec, [codec.encode() * 50] * 10)
    expected = [codec.encode() * 50 for codec in CODECS for _ in range(10)]
    assert [value for _, value in read_with_confluent(bootstrap, topic, 50)] == expected
    assert [value for _, value in read_with_kafka_python(bootstrap, topic, 50)] == expected


def test_reading_may_start_in_the_middle_of_a_compressed_batch(bootstrap, make_topic):
    topic = make_topic()
    write_with_confluent(bootstrap, topic, "zstd", [str(number).encode() for number in range(100)])
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 57)])
    messages = read_confluent(consumer, 43)
    assert [message.offset() for message in messages] == list(range(57, 100))
    assert messages[0].value() == b"57"
    consumer.close()


@pytest.mark.parametrize("level", ["1", "9", "17"])
def test_what_the_broker_compresses_with_lz4_is_read_by_both_clients(bootstrap, make_topic, level):
    topic = make_topic(**{"compression.type": "lz4", "compression.lz4.level": level})
    values = payloads()
    write_with_confluent(bootstrap, topic, "none", values)
    expected = list(enumerate(values))
    assert read_with_confluent(bootstrap, topic, len(values)) == expected
    assert read_with_kafka_python(bootstrap, topic, len(values)) == expected
