"""Lesson 2: headers keep their order, their duplicates, their empty and their missing values."""

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPythonPartition

from helpers import read_confluent, read_kafka_python

HEADERS = [
    ("trace-id", b"4bf92f3577b34da6"),
    ("tag", b"first"),
    ("tag", b"second: the same name again"),
    ("empty", b""),
    ("missing", None),
    ("größe", "äöü €".encode()),
    ("binary", bytes(range(256))),
    ("", b"a header without a name"),
]


def test_confluent_kafka_headers_come_back_as_sent(bootstrap, make_topic):
    topic = make_topic()
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topic, b"value", headers=HEADERS)
    producer.produce(topic, b"no headers")
    assert producer.flush(30) == 0

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    with_headers, without = read_confluent(consumer, 2)
    assert with_headers.headers() == HEADERS
    assert not without.headers()
    consumer.close()


def test_kafka_python_headers_come_back_as_sent(bootstrap, make_topic):
    topic = make_topic()
    # This client reads headers without a value, but does not write them.
    headers = [header for header in HEADERS if header[1] is not None]
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    producer.send(topic, b"value", headers=headers)
    producer.send(topic, b"no headers")
    producer.flush(30)
    producer.close()

    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    partition = KafkaPythonPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    with_headers, without = read_kafka_python(consumer, 2)
    assert [tuple(header) for header in with_headers.headers] == headers
    assert not without.headers
    consumer.close()


def test_headers_survive_from_one_client_to_the_other_through_compression(bootstrap, make_topic):
    topic = make_topic()
    producer = Producer({"bootstrap.servers": bootstrap, "compression.type": "lz4"})
    producer.produce(topic, b"value" * 100, headers=HEADERS)
    assert producer.flush(30) == 0

    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    partition = KafkaPythonPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    [record] = read_kafka_python(consumer, 1)
    assert [tuple(header) for header in record.headers] == HEADERS
    consumer.close()


def test_a_thousand_headers_on_one_record(bootstrap, make_topic):
    topic = make_topic()
    headers = [(f"h{number:04}", str(number).encode()) for number in range(1000)]
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topic, b"value", headers=headers)
    assert producer.flush(30) == 0

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    [message] = read_confluent(consumer, 1)
    assert message.headers() == headers
    consumer.close()
