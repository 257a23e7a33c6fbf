"""Lesson 16: Sentry's stream processing library, arroyo, the way snuba's consumers use it.

A snuba consumer reads events in batches, writes them into its database, says in a commit log how far it has come,
and hands what it cannot understand to a dead letter queue.
"""

import json
import threading
import uuid

import pytest
from arroyo.backends.kafka import KafkaConsumer, KafkaPayload, KafkaProducer, build_kafka_consumer_configuration
from arroyo.backends.kafka.commit import CommitCodec
from arroyo.commit import Commit, CommitPolicy
from arroyo.dlq import DlqPolicy, InvalidMessage, KafkaDlqProducer
from arroyo.errors import ConsumerError, OffsetOutOfRange
from arroyo.processing.processor import StreamProcessor
from arroyo.processing.strategies import BatchStep, CommitOffsets, Produce, RunTask
from arroyo.processing.strategies.abstract import ProcessingStrategyFactory
from arroyo.types import Topic
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from helpers import Deadline, read_confluent, until

EVENTS = 100


@pytest.fixture
def group():
    return f"snuba-{uuid.uuid4().hex[:8]}"


def new_consumer(bootstrap, group, **settings):
    config = build_kafka_consumer_configuration(
        {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 300},
        bootstrap_servers=[bootstrap],
        group_id=group,
        auto_offset_reset="earliest",
    )
    return KafkaConsumer(config | settings)


@pytest.fixture
def producer(bootstrap):
    producer = KafkaProducer({"bootstrap.servers": bootstrap})
    yield producer
    producer.close().result(30)


def write_events(bootstrap, topic, count=EVENTS, broken=()):
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(count):
        value = b"{ no JSON" if number in broken else json.dumps({"event": number}).encode()
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def read_all(bootstrap, topic, count):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    messages = read_confluent(consumer, count)
    consumer.close()
    return messages


def committed(bootstrap, group, topic):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    [partition] = consumer.committed([TopicPartition(topic, 0)], timeout=30)
    consumer.close()
    return partition.offset


class Snuba(ProcessingStrategyFactory):
    """Parses events, collects them in batches of ten, writes them into a table and into the commit log."""

    def __init__(self, group, producer, commit_log):
        self.table = []
        self.group, self.producer, self.commit_log = group, producer, Topic(commit_log)

    def create_with_partitions(self, commit, _partitions):
        written = RunTask(self.write, CommitOffsets(commit))
        return RunTask(self.parse, BatchStep(max_batch_size=10, max_batch_time=60, next_step=written))

    @staticmethod
    def parse(message):
        try:
            return json.loads(message.payload.value)["event"]
        except ValueError:
            raise InvalidMessage.from_value(message.value) from None

    def write(self, message):
        self.table += [row.payload for row in message.payload]
        for partition, offset in message.committable.items():
            commit = Commit(self.group, partition, offset, message.timestamp.timestamp(), None)
            self.producer.produce(self.commit_log, CommitCodec().encode(commit)).result(30)
        return message.payload


def run_until(processor, done):
    """Runs a stream processor as a service does, until `done()` holds."""
    failed = []

    def service():
        try:
            processor.run()
        except Exception as error:  # what ends a service is for its lesson to judge
            failed.append(error)

    thread = threading.Thread(target=service)
    thread.start()
    deadline = Deadline()
    try:
        while not done() and not failed:
            thread.join(0.05)
            deadline.check("the service to do its work")
    finally:
        processor.signal_shutdown()
        thread.join(60)
    if failed:
        raise failed[0]


def test_events_reach_the_table_and_the_commit_log(bootstrap, make_topic, group, producer):
    events = make_topic(1, **{"message.timestamp.type": "LogAppendTime"})
    commit_log = make_topic(1, **{"cleanup.policy": "compact,delete", "min.compaction.lag.ms": "3600000"})
    write_events(bootstrap, events)

    snuba = Snuba(group, producer, commit_log)
    processor = StreamProcessor(
        new_consumer(bootstrap, group), Topic(events), snuba, CommitPolicy(min_commit_frequency_sec=1, min_commit_messages=10)
    )
    run_until(processor, lambda: len(snuba.table) == EVENTS)

    assert snuba.table == list(range(EVENTS))
    assert committed(bootstrap, group, events) == EVENTS
    commits = [CommitCodec().decode(payload(message)) for message in read_all(bootstrap, commit_log, EVENTS // 10)]
    assert [commit.offset for commit in commits] == list(range(10, EVENTS + 1, 10))
    assert {commit.group for commit in commits} == {group}


def payload(message):
    return KafkaPayload(message.key(), message.value(), message.headers() or [])


def test_what_cannot_be_read_goes_to_the_dead_letters(bootstrap, make_topic, group, producer):
    events, dead_letters, commit_log = make_topic(1), make_topic(1), make_topic(1)
    write_events(bootstrap, events, broken={7, 8, 63})

    snuba = Snuba(group, producer, commit_log)
    processor = StreamProcessor(
        new_consumer(bootstrap, group),
        Topic(events),
        snuba,
        CommitPolicy(min_commit_frequency_sec=1, min_commit_messages=1),
        DlqPolicy(KafkaDlqProducer(producer, Topic(dead_letters))),
    )
    run_until(processor, lambda: len(snuba.table) >= 90)

    letters = read_all(bootstrap, dead_letters, 3)
    assert [message.value() for message in letters] == [b"{ no JSON"] * 3
    assert [dict(message.headers())["original_offset"] for message in letters] == [b"7", b"8", b"63"]
    assert not {7, 8, 63} & set(snuba.table)


def test_a_restarted_service_goes_on_where_it_was(bootstrap, make_topic, group, producer):
    events, commit_log = make_topic(1), make_topic(1)
    tables = []
    for round_of_writing in (1, 2, 3):
        write_events(bootstrap, events, count=40)
        snuba = Snuba(group, producer, commit_log)
        processor = StreamProcessor(
            new_consumer(bootstrap, group), Topic(events), snuba, CommitPolicy(min_commit_frequency_sec=1, min_commit_messages=10)
        )
        run_until(processor, lambda: len(snuba.table) >= 40)
        tables.append(snuba.table)
        assert committed(bootstrap, group, events) == 40 * round_of_writing
    assert tables == [list(range(40))] * 3, "nothing twice, nothing left out"


def test_one_service_feeds_the_next(bootstrap, make_topic, group, producer):
    raw, refined = make_topic(1), make_topic(1)
    write_events(bootstrap, raw)
    delivered = []

    class Refine(ProcessingStrategyFactory):
        def create_with_partitions(self, commit, _partitions):
            counted = RunTask(lambda message: delivered.append(message.payload), CommitOffsets(commit))
            return RunTask(self.refine, Produce(producer, Topic(refined), counted))

        @staticmethod
        def refine(message):
            event = json.loads(message.payload.value)["event"]
            return KafkaPayload(str(event).encode(), message.payload.value, [("refined", b"yes")])

    processor = StreamProcessor(new_consumer(bootstrap, group), Topic(raw), Refine(), CommitPolicy(1, None))
    run_until(processor, lambda: len(delivered) == EVENTS)
    messages = read_all(bootstrap, refined, EVENTS)
    assert [message.key() for message in messages] == [str(number).encode() for number in range(EVENTS)]
    assert committed(bootstrap, group, raw) == EVENTS


def test_records_that_are_gone_stop_a_strict_service(bootstrap, make_topic, group, admin):
    # The trouble that most self-hosted Sentrys meet: retention was faster than the consumer.
    events = make_topic(1)
    write_events(bootstrap, events)
    behind = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    behind.commit(offsets=[TopicPartition(events, 0, 10)], asynchronous=False)
    behind.close()
    [deleted] = admin.delete_records([TopicPartition(events, 0, 60)]).values()
    assert deleted.result(30).low_watermark == 60

    strict = new_consumer(bootstrap, group)
    strict.subscribe([Topic(events)])
    with pytest.raises((OffsetOutOfRange, ConsumerError)) as stopped:
        until("the service to stop", lambda message: message is not None, lambda: strict.poll(0.5))
    assert "out of range" in str(stopped.value).lower()
    strict.close()

    # Told not to be strict, it goes on with what is left.
    lenient = new_consumer(bootstrap, group, **{"arroyo.strict.offset.reset": False})
    lenient.subscribe([Topic(events)])
    message = until("a message", lambda message: message is not None, lambda: lenient.poll(0.5))
    assert message.offset == 60
    lenient.close()
