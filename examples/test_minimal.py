"""Lesson 1: create a topic, write to it, read it back, with both clients."""

import uuid

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPythonPartition
from kafka.admin import NewTopic as KafkaPythonTopic

from helpers import read_confluent, read_kafka_python, until


def test_confluent_kafka_writes_and_reads(bootstrap):
    topic = f"minimal-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])[topic].result(30)

    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topic, value=b"hello", key=b"greeting")
    assert producer.flush(30) == 0, "every message was answered"

    # A consumer that assigns itself partitions needs no group; librdkafka still wants a name for it.
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    [message] = read_confluent(consumer, 1)
    consumer.close()

    assert (message.key(), message.value()) == (b"greeting", b"hello")
    assert (message.topic(), message.partition(), message.offset()) == (topic, 0, 0)

    admin.delete_topics([topic])[topic].result(30)


def test_kafka_python_writes_and_reads(bootstrap):
    topic = f"minimal-{uuid.uuid4().hex[:8]}"
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([KafkaPythonTopic(topic, num_partitions=1, replication_factor=1)], wait_for_metadata=True)

    producer = KafkaProducer(bootstrap_servers=bootstrap)
    metadata = producer.send(topic, value=b"hello", key=b"greeting").get(timeout=30)
    assert (metadata.topic, metadata.partition, metadata.offset) == (topic, 0, 0)
    producer.close()

    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    partition = KafkaPythonPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    [record] = read_kafka_python(consumer, 1)
    consumer.close()

    assert (record.key, record.value, record.offset) == (b"greeting", b"hello", 0)

    admin.delete_topics([topic])
    admin.close()


def test_one_client_reads_what_the_other_wrote(bootstrap, make_topic):
    topic = make_topic()
    confluent = Producer({"bootstrap.servers": bootstrap})
    confluent.produce(topic, b"from librdkafka")
    confluent.flush(30)
    pure = KafkaProducer(bootstrap_servers=bootstrap)
    pure.send(topic, b"from kafka-python").get(timeout=30)
    pure.close()

    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    consumer.assign([KafkaPythonPartition(topic, 0)])
    consumer.seek(KafkaPythonPartition(topic, 0), 0)
    assert [record.value for record in read_kafka_python(consumer, 2)] == [b"from librdkafka", b"from kafka-python"]
    consumer.close()


def test_a_reader_that_is_there_first_gets_the_message_when_it_comes(bootstrap, make_topic):
    topic = make_topic()
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    assert consumer.poll(0.2) is None, "an empty topic has nothing to say"

    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topic, b"news")
    producer.flush(30)
    [message] = read_confluent(consumer, 1)
    assert message.value() == b"news"
    consumer.close()


def test_writing_to_an_unknown_topic_creates_it(bootstrap, admin):
    topic = f"on-demand-{uuid.uuid4().hex[:8]}"
    producer = Producer({"bootstrap.servers": bootstrap, "allow.auto.create.topics": True})
    producer.produce(topic, b"first")
    assert producer.flush(30) == 0
    until("the new topic in the list", lambda topics: topic in topics, lambda: admin.list_topics(timeout=10).topics)
    admin.delete_topics([topic])[topic].result(30)


def test_acknowledgements_can_be_turned_down_or_off(bootstrap, make_topic):
    topic = make_topic()
    for acks in ("0", "1", "all"):
        producer = Producer({"bootstrap.servers": bootstrap, "acks": acks})
        producer.produce(topic, acks.encode())
        assert producer.flush(30) == 0
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    # With acks=0 nobody promises an order between connections, so only the set counts.
    assert {message.value() for message in read_confluent(consumer, 3)} == {b"0", b"1", b"all"}
    consumer.close()
