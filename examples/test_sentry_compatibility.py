"""Lesson 14: what a self-hosted Sentry asks of its Kafka, with the topics and configs of its own schema package.

Sentry's consumers are built on confluent-kafka: they look up offsets inside the assign callback, commit inside the
revoke callback, pause and seek all the time, and share one group id between services that read different topics.
"""

import socket
import struct
import time
import uuid

import crc32c
import pytest
import sentry_kafka_schemas
from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

from helpers import in_one_of, read_confluent, until

# What Sentry's own services set: an answer that takes longer than a second is a failure to them.
SOCKET_TIMEOUT = {"socket.timeout.ms": 1000}


@pytest.fixture(scope="module")
def topics(bootstrap):
    """All topics of Sentry in one CreateTopics request; {name: config}. Names get a prefix of their own."""
    prefix = f"sentry-{uuid.uuid4().hex[:6]}-"
    configs = {
        prefix + name: {
            key: str(value)
            for key, value in sentry_kafka_schemas.get_topic(name).get("topic_creation_config", {}).items()
        }
        for name in sentry_kafka_schemas.list_topics()
    }
    admin = AdminClient({"bootstrap.servers": bootstrap})
    new_topics = [NewTopic(name, 1, 1, config=config) for name, config in configs.items()]
    for future in admin.create_topics(new_topics, operation_timeout=30).values():
        future.result(30)
    yield configs
    for future in admin.delete_topics(list(configs), operation_timeout=30).values():
        future.result(30)


def named(topics, name):
    """The full name of one of Sentry's topics."""
    [found] = [topic for topic in topics if topic.split("-", 2)[2] == name]
    return found


def new_consumer(bootstrap, group, **config):
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 300,
        }
        | {name.replace("_", "."): value for name, value in config.items()}
    )


def write(bootstrap, topic, values):
    producer = Producer({"bootstrap.servers": bootstrap} | SOCKET_TIMEOUT)
    for value in values:
        producer.produce(topic, value, key=uuid.uuid4().bytes, headers=[("message_type", b"insert")])
    assert producer.flush(30) == 0


def test_creating_the_topics_again_says_they_exist(bootstrap, topics):
    admin = AdminClient({"bootstrap.servers": bootstrap} | SOCKET_TIMEOUT)
    futures = admin.create_topics([NewTopic(name, 1, 1, config=config) for name, config in topics.items()])
    for future in futures.values():
        with pytest.raises(KafkaException) as refused:
            future.result(30)
        assert refused.value.args[0].name() == "TOPIC_ALREADY_EXISTS"


def test_every_config_is_echoed_as_it_was_set(bootstrap, topics):
    admin = AdminClient({"bootstrap.servers": bootstrap} | SOCKET_TIMEOUT)
    resources = {name: ConfigResource(ConfigResource.Type.TOPIC, name) for name in topics}
    answers = admin.describe_configs(list(resources.values()))
    described = 0
    for name, config in topics.items():
        entries = answers[resources[name]].result(30)
        for key, value in config.items():
            assert entries[key].value == value, f"{name}: {key}"
            assert not entries[key].is_default, f"{name}: {key}"
            described += 1
    assert described > 100, "the schema package still sets configs"


def test_subscriptions_are_scheduled_by_the_brokers_clock(bootstrap, topics):
    # The scheduler of alerts refuses to start on a topic that says anything else.
    appended = [name for name, config in topics.items() if config.get("message.timestamp.type") == "LogAppendTime"]
    assert appended
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for name in appended:
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        [answer] = admin.describe_configs([resource]).values()
        assert answer.result(30)["message.timestamp.type"].value == "LogAppendTime"

    # And it relies on times that never run backwards, whatever the writers say.
    topic = appended[0]
    producer = Producer({"bootstrap.servers": bootstrap})
    for hours_ago in (1, 5, 0, 3):
        producer.produce(topic, b"event", timestamp=int(time.time() * 1000) - hours_ago * 3_600_000)
        assert producer.flush(30) == 0
    consumer = new_consumer(bootstrap, "none")
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    stamps = [message.timestamp() for message in read_confluent(consumer, 4)]
    assert all(kind == TIMESTAMP_LOG_APPEND_TIME for kind, _ in stamps)
    assert stamps == sorted(stamps)
    consumer.close()


def test_fifty_megabytes_fit_where_the_topic_allows_it(bootstrap, topics):
    topic = next(name for name, config in topics.items() if int(config.get("max.message.bytes", 0)) >= 50_000_000)
    value = bytes(range(256)) * 190_000
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 50_000_000})
    failures = []
    producer.produce(topic, value, on_delivery=lambda error, _: failures.append(error) if error else None)
    assert producer.flush(60) == 0 and failures == []
    consumer = new_consumer(bootstrap, "none")
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    [message] = read_confluent(consumer, 1)
    assert message.value() == value
    consumer.close()


def batch(value):
    """A record batch with one record, as small as it gets."""
    assert len(value) < 50, "lengths below are one byte each"
    body = b"\0\0\0\x01" + bytes([2 * len(value)]) + value + b"\0"
    record = bytes([2 * len(body)]) + body
    now_ms = int(time.time() * 1000)
    after_crc = struct.pack(">hiqqqhii", 0, 0, now_ms, now_ms, -1, -1, -1, 1) + record
    after_length = struct.pack(">ibI", -1, 2, crc32c.crc32c(after_crc)) + after_crc
    return struct.pack(">qi", 0, len(after_length)) + after_length


def request(key, version, correlation_id, body):
    frame = struct.pack(">hhih", key, version, correlation_id, -1) + body
    return struct.pack(">i", len(frame)) + frame


def test_who_wants_no_answer_gets_none(bootstrap, topics):
    # As kafka-go writes by default: acks=0, so the next bytes on the connection belong to the next request.
    topic = named(topics, "profiles").encode()
    records = batch(b"no answer, please")
    produce = (
        struct.pack(">hhi", -1, 0, 3000)
        + struct.pack(">ih", 1, len(topic))
        + topic
        + struct.pack(">iii", 1, 0, len(records))
        + records
    )
    host, port = bootstrap.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        for number in range(3):
            connection.sendall(request(0, 3, 100 + number, produce))
        connection.sendall(request(18, 0, 777, b""))
        answer = connection.makefile("rb").read(8)
    assert struct.unpack(">ii", answer)[1] == 777

    consumer = new_consumer(bootstrap, "none")
    consumer.assign([TopicPartition(named(topics, "profiles"), 0, OFFSET_BEGINNING)])
    assert [message.value() for message in read_confluent(consumer, 3)] == [b"no answer, please"] * 3
    consumer.close()


def test_offsets_are_looked_up_inside_assign_and_committed_inside_revoke(bootstrap, topics):
    topic, group = named(topics, "ingest-events"), f"ingest-{uuid.uuid4().hex[:6]}"
    write(bootstrap, topic, [str(number).encode() for number in range(10)])
    positions = {}

    def on_assign(consumer, partitions):
        for partition in consumer.committed(partitions, timeout=10):
            low, high = consumer.get_watermark_offsets(partition, timeout=10)
            assert (low, high) == (0, 10)
            partition.offset = partition.offset if partition.offset >= 0 else low
            positions[partition.topic, partition.partition] = partition.offset
        consumer.assign([TopicPartition(name, number, offset) for (name, number), offset in positions.items()])

    def on_revoke(consumer, _partitions):
        offsets = [TopicPartition(name, number, offset) for (name, number), offset in positions.items()]
        consumer.commit(offsets=offsets, asynchronous=False)
        positions.clear()

    def read(count):
        consumer = new_consumer(bootstrap, group)
        consumer.subscribe([topic], on_assign=on_assign, on_revoke=on_revoke)
        values = []
        for message in (read_confluent(consumer, 1)[0] for _ in range(count)):
            positions[message.topic(), message.partition()] = message.offset() + 1
            values.append(int(message.value()))
        # Closing revokes, and revoking commits.
        consumer.close()
        return values

    assert read(4) == [0, 1, 2, 3]
    assert read(6) == [4, 5, 6, 7, 8, 9]


def test_services_with_different_topics_share_one_group(bootstrap, topics):
    names = ["ingest-events", "ingest-attachments", "ingest-transactions", "events", "outcomes", "uptime-results", "snuba-items"]
    subscriptions = [named(topics, name) for name in names]
    group = f"snuba-consumers-{uuid.uuid4().hex[:6]}"
    services = []
    for topic in subscriptions:
        service = new_consumer(bootstrap, group)
        service.subscribe([topic])
        services.append(service)

    def holdings():
        for service in services:
            message = service.poll(0.05)
            assert message is None or message.error() is None
        return [{partition.topic for partition in service.assignment()} for service in services]

    each_its_own = [{topic} for topic in subscriptions]
    until("each service to hold its topic", lambda held: held == each_its_own, holdings)

    # One service restarts; the others get their topics back too.
    services.pop().close()
    restarted = new_consumer(bootstrap, group)
    restarted.subscribe([subscriptions[-1]])
    services.append(restarted)
    until("each service to hold its topic again", lambda held: held == each_its_own, holdings)
    for service in services:
        service.close()


def test_back_pressure_pauses_and_resumes_where_it_was(bootstrap, topics):
    topic, group = named(topics, "ingest-replay-events"), f"replays-{uuid.uuid4().hex[:6]}"
    write(bootstrap, topic, [str(number).encode() for number in range(20)])
    consumer = new_consumer(bootstrap, group)
    consumer.subscribe([topic])
    values = [message.value() for message in read_confluent(consumer, 5)]
    assigned = consumer.assignment()
    for _ in range(3):
        # Paused consumers go on polling, to stay in their group, and get nothing.
        consumer.pause(assigned)
        assert consumer.poll(0.1) is None
        [position] = consumer.position(assigned)
        consumer.seek(TopicPartition(topic, 0, position.offset))
        consumer.resume(assigned)
        values += [message.value() for message in read_confluent(consumer, 5)]
    assert values == [str(number).encode() for number in range(20)]
    consumer.close()


def test_asking_for_a_topic_creates_it(bootstrap):
    # Sentry's own installer creates its topics by asking for their metadata.
    topic = f"taskworker-{uuid.uuid4().hex[:6]}"
    admin = AdminClient({"bootstrap.servers": bootstrap, "allow.auto.create.topics": True} | SOCKET_TIMEOUT)
    not_yet = ("UNKNOWN_TOPIC_OR_PART", "LEADER_NOT_AVAILABLE")

    def ask():
        described = in_one_of(5, lambda: admin.list_topics(topic=topic, timeout=1)).topics[topic]
        assert described.error is None or described.error.name() in not_yet, described.error
        return described

    described = until("the topic", lambda described: described.error is None, ask)
    assert len(described.partitions) == 1
    write(bootstrap, topic, [b"task"])
    admin.delete_topics([topic])[topic].result(30)


def test_the_commit_log_is_followed_next_to_the_topic(bootstrap, topics):
    # Post-process forwarders read events only as far as another consumer has come, which they learn from a second topic.
    events, commit_log = named(topics, "events"), named(topics, "snuba-commit-log")
    write(bootstrap, events, [str(number).encode() for number in range(10)])
    follower = new_consumer(bootstrap, "none")
    follower.assign([TopicPartition(commit_log, 0, OFFSET_BEGINNING)])
    reader = new_consumer(bootstrap, f"forwarder-{uuid.uuid4().hex[:6]}")
    reader.subscribe([events])
    seen = []
    for reached in (3, 7, 10):
        producer = Producer({"bootstrap.servers": bootstrap})
        producer.produce(commit_log, struct.pack(">q", reached), key=f"{events}:0:snuba-consumers".encode())
        assert producer.flush(30) == 0
        [commit] = read_confluent(follower, 1)
        [limit] = struct.unpack(">q", commit.value())
        seen += [int(message.value()) for message in read_confluent(reader, limit - len(seen))]
        reader.pause(reader.assignment())
        assert reader.poll(0.1) is None
        reader.resume(reader.assignment())
    assert seen == list(range(10))
    follower.close()
    reader.close()


def test_all_topics_are_made_within_a_second_and_an_unknown_config_is_refused(bootstrap):
    # As the bootstrap of Snuba does it, whose socket times out after a second: one request for everything.
    names = sorted(sentry_kafka_schemas.list_topics())
    configs = {name: sentry_kafka_schemas.get_topic(name).get("topic_creation_config", {}) for name in names}
    admin = AdminClient({"bootstrap.servers": bootstrap} | SOCKET_TIMEOUT)

    def made():
        prefix = f"bootstrap-{uuid.uuid4().hex[:6]}-"
        wanted = [
            NewTopic(prefix + name, 1, 1, config={key: str(value) for key, value in config.items()})
            for name, config in configs.items()
        ]
        admin.list_topics(timeout=1)
        begun = time.monotonic()
        for future in admin.create_topics(wanted, operation_timeout=1).values():
            future.result(30)
        seconds = time.monotonic() - begun
        for future in admin.delete_topics([topic.topic for topic in wanted], operation_timeout=30).values():
            future.result(30)
        assert seconds < 1

    in_one_of(5, made)
    unknown = NewTopic(f"odd-{uuid.uuid4().hex[:6]}", 1, 1, config={"retention.msec": "1"})
    [future] = admin.create_topics([unknown]).values()
    with pytest.raises(KafkaException) as refused:
        future.result(30)
    assert refused.value.args[0].name() == "INVALID_CONFIG"


def stored_codecs(bootstrap, topic):
    """The codec of each batch of a topic's partition, by its number, from a Fetch of version 4."""
    body = struct.pack(">iiiib", -1, 500, 1, 50_000_000, 0)
    body += struct.pack(">ih", 1, len(topic)) + topic.encode() + struct.pack(">iiqi", 1, 0, 0, 50_000_000)
    host, port = bootstrap.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(request(1, 4, 5, body))
        stream = connection.makefile("rb")
        answer = stream.read(struct.unpack(">i", stream.read(4))[0])
    # Behind correlation id, throttle time, one topic and one partition with its error, offsets and aborted transactions.
    at = 4 + 4 + 4 + 2 + len(topic) + 4
    _partition, error, _high, _stable, aborted = struct.unpack_from(">ihqqi", answer, at)
    assert error == 0
    at += 26 + max(aborted, 0) * 16
    length = struct.unpack_from(">i", answer, at)[0]
    records, codecs = answer[at + 4 : at + 4 + length], []
    while records:
        size, attributes = struct.unpack_from(">i", records, 8)[0], struct.unpack_from(">h", records, 21)[0]
        codecs.append(attributes & 7)
        records = records[12 + size :]
    return codecs


def test_whatever_a_writer_compresses_with_is_stored_as_lz4(bootstrap, topics):
    # All of Sentry's topics ask for it, and neither Relay nor Vroom compresses by itself.
    topic, lz4 = named(topics, "ingest-occurrences"), 3
    assert topics[topic]["compression.type"] == "lz4"
    codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
    for codec in codecs:
        producer = Producer({"bootstrap.servers": bootstrap, "compression.type": codec})
        producer.produce(topic, codec.encode() * 1_000)
        assert producer.flush(30) == 0
    assert stored_codecs(bootstrap, topic) == [lz4] * len(codecs)
    consumer = new_consumer(bootstrap, "none")
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    assert [message.value() for message in read_confluent(consumer, 5)] == [codec.encode() * 1_000 for codec in codecs]
    consumer.close()


def test_commits_of_those_who_give_up_partitions_count_while_the_group_rebalances(bootstrap, topics):
    topic, group = named(topics, "transactions"), f"transactions-{uuid.uuid4().hex[:6]}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    [grown] = admin.create_partitions([NewPartitions(topic, 3)]).values()
    grown.result(30)
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(30):
        producer.produce(topic, str(number).encode(), partition=number % 3)
    assert producer.flush(30) == 0
    read, members = [], []

    def member():
        consumer, positions = new_consumer(bootstrap, group), {}

        def on_revoke(consumer, _partitions):
            # The generation is over already; the commit has to count all the same.
            offsets = [TopicPartition(topic, partition, offset) for partition, offset in positions.items()]
            if offsets:
                consumer.commit(offsets=offsets, asynchronous=False)
            positions.clear()

        consumer.subscribe([topic], on_revoke=on_revoke)
        members.append((consumer, positions))

    def poll():
        for consumer, positions in members:
            message = consumer.poll(0.05)
            if message is not None:
                assert message.error() is None, message.error()
                positions[message.partition()] = message.offset() + 1
                read.append((message.partition(), message.offset()))
        return [len(consumer.assignment()) for consumer, _ in members]

    member()
    until("the first member to read", lambda _: len(read) >= 5, poll)
    for count in (2, 3):
        member()
        until(f"{count} members to share", lambda held: sum(held) == 3 and all(held), poll)
    until("everything to be read", lambda _: len(read) >= 30, poll)
    assert len(read) == len(set(read)) == 30, "nothing was read twice"
    for consumer, _ in members:
        consumer.close()


def test_an_offset_that_is_gone_is_out_of_range_until_it_is_repaired(bootstrap, topics):
    # The trouble that self-hosted Sentry's users know best, and the way out that its manual names.
    topic, group = named(topics, "ingest-monitors"), f"monitors-{uuid.uuid4().hex[:6]}"
    write(bootstrap, topic, [str(number).encode() for number in range(10)])
    admin = AdminClient({"bootstrap.servers": bootstrap})

    def commit(offset):
        places = [TopicPartition(topic, 0, offset)]
        [done] = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)]).values()
        done.result(30)

    commit(2)
    [deleted] = admin.delete_records([TopicPartition(topic, 0, 6)]).values()
    assert deleted.result(30).low_watermark == 6
    consumer = new_consumer(bootstrap, group, auto_offset_reset="error")
    consumer.subscribe([topic])
    message = until("an answer", lambda message: message is not None, lambda: consumer.poll(0.5))
    assert message.error().code() == KafkaError._AUTO_OFFSET_RESET
    consumer.close()
    commit(6)
    consumer = new_consumer(bootstrap, group, auto_offset_reset="error")
    consumer.subscribe([topic])
    assert [message.value() for message in read_confluent(consumer, 4)] == [b"6", b"7", b"8", b"9"]
    consumer.close()


def test_answers_come_within_a_second_while_fifty_consumers_read(bootstrap, topics):
    names = sorted(topics)[:25]
    consumers = [new_consumer(bootstrap, f"busy-{uuid.uuid4().hex}", session_timeout_ms=30_000) for _ in range(50)]
    for n, consumer in enumerate(consumers):
        consumer.subscribe([names[n % 25]])

    def assigned():
        for consumer in consumers:
            consumer.poll(0)
        time.sleep(0.05)
        return sum(len(consumer.assignment()) for consumer in consumers)

    # Groups of one each.
    until("all to have their partitions", lambda count: count == 50, assigned)
    admin = AdminClient({"bootstrap.servers": bootstrap} | SOCKET_TIMEOUT)

    def answered():
        seconds = []
        producer = Producer({"bootstrap.servers": bootstrap} | SOCKET_TIMEOUT)

        def delivered(error, message):
            assert error is None, error
            seconds.append(message.latency())

        def timed(call):
            began = time.monotonic()
            call()
            seconds.append(time.monotonic() - began)

        read = 0
        for n in range(5_000):
            producer.produce(names[n % 25], bytes(500), key=b"%d" % n, on_delivery=delivered)
            producer.poll(0)
            if n % 100 == 0:
                consumer = consumers[n // 100]
                messages = consumer.consume(100, timeout=0.2)
                read += len(messages)
                if messages:
                    timed(lambda consumer=consumer, last=messages[-1]: consumer.commit(message=last, asynchronous=False))
                timed(lambda: admin.list_topics(timeout=1))
        assert producer.flush(30) == 0
        seconds.sort()
        assert read > 0 and len(seconds) >= 5_050
        assert seconds[int(len(seconds) * 0.999)] < 1, seconds[-10:]

    in_one_of(3, answered)
    for consumer in consumers:
        consumer.close()
