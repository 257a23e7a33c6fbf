"""Lesson 7: what is too old or too much goes, from the front, and readers notice.

The broker these run on looks for old data twice a second (log.retention.check.interval.ms=500); by default it is
every five minutes, as in Kafka.
"""

import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from helpers import read_confluent, until

HOUR_MS = 3_600_000
MIB = 1024 * 1024


def new_consumer(bootstrap):
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "none",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )


def log_start(consumer, topic):
    return consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[0]


def wait_for_log_start(consumer, topic, what, condition):
    """The broker decides when it looks; the watermark query is a round trip, `poll` the pause between two."""

    def look():
        consumer.poll(0.1)
        return log_start(consumer, topic)

    return until(what, condition, look)


def test_messages_past_retention_ms_go_even_from_the_part_being_written(bootstrap, make_topic):
    topic = make_topic(**{"retention.ms": str(HOUR_MS)})
    producer = Producer({"bootstrap.servers": bootstrap})
    two_hours_ago_ms = int(time.time() * 1000) - 2 * HOUR_MS
    for number in range(10):
        producer.produce(topic, f"old {number}".encode(), timestamp=two_hours_ago_ms + number)
    assert producer.flush(30) == 0

    consumer = new_consumer(bootstrap)
    assert wait_for_log_start(consumer, topic, "the old messages to go", lambda start: start == 10) == 10

    # Offsets are never given out twice: the next message takes the next number.
    producer.produce(topic, b"fresh")
    assert producer.flush(30) == 0
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    [message] = read_confluent(consumer, 1)
    assert (message.offset(), message.value()) == (10, b"fresh")
    consumer.close()


def test_fresh_messages_stay_while_old_ones_in_another_topic_go(bootstrap, make_topic):
    old, fresh = (make_topic(**{"retention.ms": str(HOUR_MS)}) for _ in range(2))
    producer = Producer({"bootstrap.servers": bootstrap})
    now_ms = int(time.time() * 1000)
    producer.produce(fresh, b"stays", timestamp=now_ms)
    producer.produce(old, b"goes", timestamp=now_ms - 2 * HOUR_MS)
    assert producer.flush(30) == 0

    consumer = new_consumer(bootstrap)
    wait_for_log_start(consumer, old, "the old message to go", lambda start: start == 1)
    assert log_start(consumer, fresh) == 0
    consumer.close()


def test_unlimited_retention_keeps_even_the_oldest(bootstrap, make_topic):
    kept, control = make_topic(**{"retention.ms": "-1"}), make_topic(**{"retention.ms": str(HOUR_MS)})
    producer = Producer({"bootstrap.servers": bootstrap})
    for topic in (kept, control):
        producer.produce(topic, b"from 2001", timestamp=1_000_000_000_000)
    assert producer.flush(30) == 0

    consumer = new_consumer(bootstrap)
    # Once the control topic is empty, the broker has looked at both.
    wait_for_log_start(consumer, control, "the control message to go", lambda start: start == 1)
    consumer.assign([TopicPartition(kept, 0, OFFSET_BEGINNING)])
    [message] = read_confluent(consumer, 1)
    assert message.value() == b"from 2001"
    consumer.close()


def test_retention_bytes_keeps_about_the_newest_bytes(bootstrap, make_topic):
    topic = make_topic(**{"retention.bytes": str(2 * MIB), "segment.bytes": str(MIB)})
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "batch.size": 100_000})
    count, size = 80, 100_000
    for number in range(count):
        producer.produce(topic, number.to_bytes(4, "big") + bytes(size))
        assert producer.flush(30) == 0

    consumer = new_consumer(bootstrap)
    # 8 MB were written and 2 MiB may stay: at least half of the messages are over the limit by any measure.
    start = wait_for_log_start(consumer, topic, "the front of the log to go", lambda start: start >= count // 2)
    assert start <= count - 2 * MIB // (size + 200), "never less than the limit is kept"

    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    messages = read_confluent(consumer, count - start)
    assert [message.offset() for message in messages] == list(range(start, count))
    assert all(int.from_bytes(message.value()[:4], "big") == message.offset() for message in messages)
    consumer.close()


def test_records_can_be_deleted_by_hand(bootstrap, make_topic, admin):
    topic = make_topic()
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(10):
        producer.produce(topic, str(number).encode())
    assert producer.flush(30) == 0

    [deleted] = admin.delete_records([TopicPartition(topic, 0, 6)]).values()
    assert deleted.result(30).low_watermark == 6

    consumer = new_consumer(bootstrap)
    assert log_start(consumer, topic) == 6
    # A reader that still wants an old offset starts over at the first one there is.
    consumer.assign([TopicPartition(topic, 0, 2)])
    assert [message.value() for message in read_confluent(consumer, 4)] == [b"6", b"7", b"8", b"9"]
    consumer.close()
