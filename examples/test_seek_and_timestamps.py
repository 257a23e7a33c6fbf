"""Lesson 5: reading from anywhere: by offset, from either end, by time, and starting over when an offset is gone."""

import time

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec
from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPythonPartition

from helpers import read_confluent, read_kafka_python, until

HOUR_MS = 3_600_000
# A whole second some days ago: near enough to survive the default retention of a week.
START_MS = (int(time.time()) - 3 * 86_400) * 1000


def hourly(bootstrap, topic, hours):
    """One message for each hour from START_MS on."""
    producer = Producer({"bootstrap.servers": bootstrap})
    for hour in hours:
        producer.produce(topic, f"hour {hour}".encode(), partition=0, timestamp=START_MS + hour * HOUR_MS)
        assert producer.flush(30) == 0


def new_consumer(bootstrap, **config):
    return Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False}
        | {name.replace("_", "."): value for name, value in config.items()}
    )


def test_seek_forwards_and_backwards(bootstrap, make_topic):
    topic = make_topic()
    hourly(bootstrap, topic, range(10))
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    partition = KafkaPythonPartition(topic, 0)
    consumer.assign([partition])
    for offset in (7, 2, 9, 0):
        consumer.seek(partition, offset)
        [record] = read_kafka_python(consumer, 1)
        assert (record.offset, record.value) == (offset, f"hour {offset}".encode())
        assert consumer.position(partition) == offset + 1
    consumer.close()


def test_both_ends_are_known(bootstrap, make_topic):
    topic = make_topic()
    hourly(bootstrap, topic, range(5))

    confluent = new_consumer(bootstrap)
    assert confluent.get_watermark_offsets(TopicPartition(topic, 0), timeout=30) == (0, 5)
    confluent.close()

    pure = KafkaConsumer(bootstrap_servers=bootstrap)
    partition = KafkaPythonPartition(topic, 0)
    assert pure.beginning_offsets([partition]) == {partition: 0}
    assert pure.end_offsets([partition]) == {partition: 5}
    pure.close()


def test_from_the_end_only_new_messages_are_seen(bootstrap, make_topic):
    topic = make_topic()
    hourly(bootstrap, topic, range(5))
    consumer = new_consumer(bootstrap, enable_partition_eof=True)
    consumer.assign([TopicPartition(topic, 0, OFFSET_END)])
    # The end is looked up when the assignment takes effect: librdkafka reports it once it has fetched there.
    until("the end of the partition", lambda polled: polled is not None, lambda: consumer.poll(0.5))
    hourly(bootstrap, topic, [5])
    message = until(
        "the new message", lambda polled: polled is not None and polled.error() is None, lambda: consumer.poll(0.5)
    )
    assert (message.offset(), message.value()) == (5, b"hour 5")
    consumer.close()


@pytest.mark.parametrize("client", ["rdkafka", "pure"])
def test_the_first_message_at_or_after_a_time(bootstrap, make_topic, client):
    topic = make_topic()
    hourly(bootstrap, topic, range(10))
    # Exactly on a message, between two, before all, after all.
    asked = {0: 0, 4 * HOUR_MS: 4, 4 * HOUR_MS + 1: 5, -HOUR_MS: 0, 10 * HOUR_MS: None}
    for delta_ms, expected in asked.items():
        if client == "rdkafka":
            consumer = new_consumer(bootstrap)
            [found] = consumer.offsets_for_times([TopicPartition(topic, 0, START_MS + delta_ms)], timeout=30)
            # librdkafka says "the end" where there is no such message.
            assert found.offset == (OFFSET_END if expected is None else expected)
        else:
            consumer = KafkaConsumer(bootstrap_servers=bootstrap)
            partition = KafkaPythonPartition(topic, 0)
            found = consumer.offsets_for_times({partition: START_MS + delta_ms})[partition]
            assert (None if found is None else found.offset) == expected
            if found is not None:
                assert found.timestamp == START_MS + expected * HOUR_MS
        consumer.close()


def test_times_out_of_order_find_the_first_that_is_late_enough(bootstrap, make_topic):
    topic = make_topic()
    hourly(bootstrap, topic, [3, 9, 1, 5])
    consumer = new_consumer(bootstrap)
    for hour, offset in {0: 0, 3: 0, 4: 1, 9: 1}.items():
        [found] = consumer.offsets_for_times([TopicPartition(topic, 0, START_MS + hour * HOUR_MS)], timeout=30)
        assert found.offset == offset, f"hour {hour}"
    consumer.close()


def test_the_newest_timestamp_is_not_always_the_last_message(bootstrap, make_topic, admin):
    topic = make_topic()
    hourly(bootstrap, topic, [3, 9, 1, 5])
    partition = TopicPartition(topic, 0)
    newest = admin.list_offsets({partition: OffsetSpec.max_timestamp()})[partition].result(30)
    assert (newest.offset, newest.timestamp) == (1, START_MS + 9 * HOUR_MS)


def test_the_writer_sets_the_time_unless_the_topic_says_otherwise(bootstrap, make_topic):
    ours, brokers = make_topic(), make_topic(**{"message.timestamp.type": "LogAppendTime"})
    before_ms = int(time.time() * 1000)
    hourly(bootstrap, ours, [0])
    hourly(bootstrap, brokers, [0])

    consumer = new_consumer(bootstrap)
    consumer.assign([TopicPartition(ours, 0, OFFSET_BEGINNING)])
    [message] = read_confluent(consumer, 1)
    assert message.timestamp() == (TIMESTAMP_CREATE_TIME, START_MS)

    consumer.assign([TopicPartition(brokers, 0, OFFSET_BEGINNING)])
    [message] = read_confluent(consumer, 1)
    kind, stamp_ms = message.timestamp()
    assert kind == TIMESTAMP_LOG_APPEND_TIME
    assert before_ms <= stamp_ms <= int(time.time() * 1000)
    consumer.close()


def test_the_writer_learns_the_time_the_broker_set(bootstrap, make_topic):
    topic = make_topic(**{"message.timestamp.type": "LogAppendTime"})
    delivered = []
    producer = Producer({"bootstrap.servers": bootstrap})
    before_ms = int(time.time() * 1000)
    producer.produce(topic, b"value", on_delivery=lambda error, message: delivered.append(message.timestamp()))
    assert producer.flush(30) == 0
    [(kind, stamp_ms)] = delivered
    assert kind == TIMESTAMP_LOG_APPEND_TIME and stamp_ms >= before_ms


def test_an_offset_that_does_not_exist_starts_over_at_the_chosen_end(bootstrap, make_topic):
    topic = make_topic()
    hourly(bootstrap, topic, range(5))
    consumer = new_consumer(bootstrap, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, 0, 1_000)])
    assert read_confluent(consumer, 1)[0].offset() == 0
    consumer.close()


def test_an_offset_that_does_not_exist_is_an_error_for_those_who_ask(bootstrap, make_topic):
    topic = make_topic()
    hourly(bootstrap, topic, range(5))
    consumer = new_consumer(bootstrap, auto_offset_reset="error")
    consumer.assign([TopicPartition(topic, 0, 1_000)])
    message = until("the error", lambda polled: polled is not None, lambda: consumer.poll(1))
    assert message.error() is not None and message.error().name() in ("_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE")
    consumer.close()


def test_a_paused_partition_is_silent_until_it_is_resumed(bootstrap, make_topic):
    quiet, loud = make_topic(), make_topic()
    for topic in (quiet, loud):
        hourly(bootstrap, topic, range(5))
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    partitions = [KafkaPythonPartition(quiet, 0), KafkaPythonPartition(loud, 0)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    consumer.pause(partitions[0])
    assert {record.topic for record in read_kafka_python(consumer, 5)} == {loud}
    assert consumer.poll(timeout_ms=300) == {}
    consumer.resume(partitions[0])
    assert {record.topic for record in read_kafka_python(consumer, 5)} == {quiet}
    consumer.close()


def test_asking_for_a_partition_that_is_not_there_says_so(bootstrap, make_topic):
    topic = make_topic(2)
    consumer = new_consumer(bootstrap)
    with pytest.raises(KafkaException) as refused:
        consumer.get_watermark_offsets(TopicPartition(topic, 9), timeout=10)
    assert refused.value.args[0].name() in ("_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_OR_PART")
    consumer.close()
