"""Quotas: a client that sends or reads too much is told how long to wait, and its connection is not read until then.

Here a quota is set with a request made by hand, since neither library has one for it; on a command line it is

    kafka-configs --alter --entity-type clients --entity-name NAME --add-config producer_byte_rate=100000
"""

import socket
import struct
import uuid

import pytest
from confluent_kafka import Consumer, Producer
from kafka import KafkaProducer

from helpers import until

ALTER_CLIENT_QUOTAS = 49
RATE = 100_000


def text(value):
    """A string as Kafka's older requests have it."""
    return struct.pack(">h", len(value)) + value.encode()


def set_quota(bootstrap, client_id, key, rate):
    """Limits a client id."""
    host, port = bootstrap.rsplit(":", 1)
    entity = struct.pack(">i", 1) + text("client-id") + text(client_id)
    change = struct.pack(">i", 1) + text(key) + struct.pack(">d", rate) + b"\0"
    body = struct.pack(">i", 1) + entity + change + b"\0"
    request = struct.pack(">hhi", ALTER_CLIENT_QUOTAS, 0, 7) + text("example") + body
    with socket.create_connection((host.strip("[]"), int(port)), timeout=30) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = connection.makefile("rb")
        (length,) = struct.unpack(">i", answer.read(4))
        # Correlation id, throttle time and the count of entities stand in front of the error code.
        (code,) = struct.unpack_from(">h", answer.read(length), 12)
    assert code == 0


@pytest.fixture
def client_id():
    return f"limited-{uuid.uuid4().hex[:8]}"


def test_a_producer_over_its_quota_hears_how_long_to_wait(bootstrap, make_topic, client_id):
    set_quota(bootstrap, client_id, "producer_byte_rate", RATE)
    heard = []
    config = {"bootstrap.servers": bootstrap, "client.id": client_id, "throttle_cb": heard.append}
    producer = Producer(config)
    topic = make_topic()
    # As much as the quota of ten seconds, and two seconds' more.
    for _ in range(12):
        producer.produce(topic, b"x" * RATE)
        producer.flush(30)

    def polled():
        producer.poll(0.1)
        return heard

    until("the callback", lambda heard: len(heard) > 0, polled)
    assert 0 < max(event.throttle_time for event in heard) < 5


def test_a_consumer_over_its_quota_gets_everything_in_time(bootstrap, make_topic, client_id):
    topic = make_topic()
    producer = Producer({"bootstrap.servers": bootstrap})
    for _ in range(11):
        producer.produce(topic, b"x" * RATE)
    assert producer.flush(30) == 0
    set_quota(bootstrap, client_id, "consumer_byte_rate", RATE)
    heard = []
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "client.id": client_id,
            "group.id": topic,
            "auto.offset.reset": "earliest",
            "throttle_cb": heard.append,
        }
    )
    consumer.subscribe([topic])
    messages = []
    until(
        "all messages",
        lambda messages: len(messages) == 11,
        lambda: messages.extend(consumer.consume(11, timeout=1)) or messages,
    )
    consumer.close()
    assert all(message.error() is None for message in messages)
    assert any(event.throttle_time > 0 for event in heard)


def test_kafka_python_says_how_long_it_is_made_to_wait(bootstrap, make_topic, client_id, caplog):
    set_quota(bootstrap, client_id, "producer_byte_rate", RATE)
    topic = make_topic()
    producer = KafkaProducer(bootstrap_servers=bootstrap, client_id=client_id)
    for _ in range(12):
        producer.send(topic, b"x" * RATE).get(timeout=30)
    producer.close()
    assert "throttled by broker" in caplog.text
