"""A log that outlives its broker.

    rustka --data-dir data

Records are in files, and a producer that asks for acks=all is answered once they are on the disk. So a broker that is
killed in the middle of its work comes back with all that it has confirmed: records, topics, groups and their offsets.
"""

import json
import os
import subprocess

import kafka
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from helpers import Deadline, lasting_port, read_confluent, read_kafka_python, until


class Server:
    """A broker that keeps its records in a directory, and can be killed and started again on the same port."""

    def __init__(self, binary, directory, *arguments):
        self.command = [binary, "--http-port", "0", "--data-dir", str(directory), *arguments]
        self.port = lasting_port()
        self.start()

    def start(self):
        command = [*self.command, "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.bootstrap = json.loads(self.process.stdout.readline())["bootstrap"]

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=30)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=30) == 0


@pytest.fixture
def server(tmp_path):
    """A broker of its own, with an empty data directory."""
    binary = os.environ.get("RUSTKA_BIN")
    if not binary:
        pytest.skip("needs a broker of its own: set RUSTKA_BIN")
    server = Server(binary, tmp_path / "data")
    yield server
    server.kill()


def make_topic(server, name, partitions=1, **config):
    admin = AdminClient({"bootstrap.servers": server.bootstrap})
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(timeout=30)


def write(server, topic, values, **config):
    """Writes values and returns those that the broker has confirmed."""
    confirmed = []

    def delivered(error, message):
        if error is None:
            confirmed.append(message.value().decode())

    producer = Producer({"bootstrap.servers": server.bootstrap, "acks": "all", **config})
    for value in values:
        producer.produce(topic, value.encode(), on_delivery=delivered)
    assert producer.flush(60) == 0
    return confirmed


def read_all(server, topic):
    consumer = kafka.KafkaConsumer(bootstrap_servers=server.bootstrap, auto_offset_reset="earliest")
    partition = kafka.TopicPartition(topic, 0)
    consumer.assign([partition])
    count = consumer.end_offsets([partition])[partition] - consumer.beginning_offsets([partition])[partition]
    records = read_kafka_python(consumer, count)
    consumer.close()
    return [record.value.decode() for record in records]


def test_what_was_confirmed_is_there_after_a_kill(server):
    make_topic(server, "orders")
    written = [f"order {n}" for n in range(2_000)]
    assert write(server, "orders", written) == written
    server.kill()
    server.start()
    assert read_all(server, "orders") == written
    # And it goes on where it was.
    assert write(server, "orders", ["one more"]) == ["one more"]
    assert read_all(server, "orders") == [*written, "one more"]


def test_the_same_after_an_orderly_stop(server):
    make_topic(server, "orders", **{"retention.ms": "86400000"})
    write(server, "orders", ["first", "second"])
    server.stop()
    server.start()
    assert read_all(server, "orders") == ["first", "second"]
    metadata = AdminClient({"bootstrap.servers": server.bootstrap}).list_topics(timeout=30)
    assert len(metadata.topics["orders"].partitions) == 1


def test_a_group_goes_on_where_it_was(server):
    make_topic(server, "orders")
    write(server, "orders", [str(n) for n in range(10)])
    config = {
        "bootstrap.servers": server.bootstrap,
        "group.id": "billing",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    consumer = Consumer(config)
    consumer.subscribe(["orders"])
    assert [message.value() for message in read_confluent(consumer, 6)] == [b"%d" % n for n in range(6)]
    consumer.commit(offsets=[TopicPartition("orders", 0, 6)], asynchronous=False)
    server.kill()
    server.start()
    # The consumer that was there all the time reads on.
    assert [message.value() for message in read_confluent(consumer, 4)] == [b"6", b"7", b"8", b"9"]
    consumer.close()
    # One that comes now begins at what was committed.
    other = Consumer(config)
    other.subscribe(["orders"])
    assert read_confluent(other, 1)[0].value() == b"6"
    other.close()


def test_a_producer_sees_no_gap_when_its_broker_dies(server):
    make_topic(server, "orders")
    producer = Producer({"bootstrap.servers": server.bootstrap, "enable.idempotence": True, "linger.ms": 1})
    confirmed = []

    def delivered(error, message):
        assert error is None, error
        confirmed.append((message.offset(), message.value().decode()))

    values = [str(n) for n in range(5_000)]
    for n, value in enumerate(values):
        producer.produce("orders", value.encode(), on_delivery=delivered)
        producer.poll(0)
        if n == 2_500:
            until("the first confirmations", lambda _: confirmed, lambda: producer.poll(0.1))
            server.kill()
            server.start()
    deadline = Deadline()
    until("the rest", lambda left: left == 0, lambda: producer.flush(1), deadline)
    # Each value once, in order, and where its confirmation says.
    assert read_all(server, "orders") == values
    assert [value for _, value in sorted(confirmed)] == values


def test_a_directory_serves_one_broker_at_a_time(server):
    second = subprocess.run(
        [*server.command, "--port", "0"], capture_output=True, text=True, timeout=30
    )
    assert second.returncode == 1
    assert "is in use by another process" in second.stderr
