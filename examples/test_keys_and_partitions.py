"""Lesson 4: keys choose partitions, partitions keep order, and a topic can be given more of them."""

from collections import defaultdict

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import NewPartitions
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPythonPartition

from helpers import read_confluent, read_kafka_python, until

PARTITIONS = 6
KEYS = [f"customer-{number}".encode() for number in range(50)]


def read_everything(bootstrap, topic, count, partitions=PARTITIONS):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
    messages = read_confluent(consumer, count)
    consumer.close()
    return messages


def test_one_key_stays_in_one_partition_and_in_order(bootstrap, make_topic):
    topic = make_topic(PARTITIONS)
    producer = Producer({"bootstrap.servers": bootstrap})
    for round_number in range(20):
        for key in KEYS:
            producer.produce(topic, str(round_number).encode(), key=key)
    assert producer.flush(30) == 0

    partitions_of, values_of = defaultdict(set), defaultdict(list)
    for message in read_everything(bootstrap, topic, 20 * len(KEYS)):
        partitions_of[message.key()].add(message.partition())
        values_of[message.key()].append(int(message.value()))
    assert all(len(partitions) == 1 for partitions in partitions_of.values())
    assert all(values == list(range(20)) for values in values_of.values())
    assert len(set.union(*partitions_of.values())) == PARTITIONS, "fifty keys reach every partition"


def test_both_clients_agree_where_a_key_belongs(bootstrap, make_topic):
    topic = make_topic(PARTITIONS)
    # librdkafka's own default is CRC32; murmur2 is what Java and kafka-python use.
    confluent = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    pure = KafkaProducer(bootstrap_servers=bootstrap)
    for key in KEYS:
        confluent.produce(topic, b"confluent", key=key)
        pure.send(topic, b"pure", key=key)
    assert confluent.flush(30) == 0
    pure.flush(30)
    pure.close()

    partitions_of = defaultdict(set)
    for message in read_everything(bootstrap, topic, 2 * len(KEYS)):
        partitions_of[message.key()].add(message.partition())
    assert all(len(partitions) == 1 for partitions in partitions_of.values())


def test_the_writer_may_name_the_partition(bootstrap, make_topic):
    topic = make_topic(PARTITIONS)
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    sent = [producer.send(topic, str(partition).encode(), partition=partition) for partition in range(PARTITIONS)]
    assert [future.get(timeout=30).offset for future in sent] == [0] * PARTITIONS
    producer.close()

    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    for partition in range(PARTITIONS):
        assigned = KafkaPythonPartition(topic, partition)
        consumer.assign([assigned])
        consumer.seek(assigned, 0)
        [record] = read_kafka_python(consumer, 1)
        assert (record.partition, record.value) == (partition, str(partition).encode())
    consumer.close()


def test_keys_and_values_may_be_missing_and_that_is_not_empty(bootstrap, make_topic):
    topic = make_topic()
    producer = Producer({"bootstrap.servers": bootstrap})
    pairs = [(None, b"value"), (b"key", None), (b"", b""), (None, b""), (b"\x00\xff", b"\x00")]
    for key, value in pairs:
        producer.produce(topic, value, key=key)
    assert producer.flush(30) == 0

    # Read by kafka-python, which tells a missing key from an empty one.
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    partition = KafkaPythonPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    assert [(record.key, record.value) for record in read_kafka_python(consumer, len(pairs))] == pairs
    consumer.close()


def test_a_topic_grows_and_old_messages_stay_where_they_are(bootstrap, make_topic, admin):
    topic = make_topic(1)
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topic, b"before", partition=0)
    assert producer.flush(30) == 0

    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(30)
    until(
        "three partitions in the metadata",
        lambda topics: len(topics[topic].partitions) == 3,
        lambda: admin.list_topics(topic, timeout=10).topics,
    )
    newcomer = Producer({"bootstrap.servers": bootstrap})
    newcomer.produce(topic, b"after", partition=2)
    assert newcomer.flush(30) == 0

    messages = read_everything(bootstrap, topic, 2, partitions=3)
    assert {(message.partition(), message.value()) for message in messages} == {(0, b"before"), (2, b"after")}


def test_a_topic_cannot_shrink(make_topic, admin):
    topic = make_topic(3)
    with pytest.raises(KafkaException) as refused:
        admin.create_partitions([NewPartitions(topic, 2)])[topic].result(30)
    assert refused.value.args[0].name() == "INVALID_PARTITIONS"
