"""Lesson 13: consumers share partitions; they come, go, crash and return."""

import struct
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import Consumer, ConsumerGroupState, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka import KafkaConsumer
from kafka import TopicPartition as TopicPartitionOfKafkaPython

from helpers import DEADLINE_SECONDS, Deadline, until

PARTITIONS = 6
# Of those that vanish.
SESSION_TIMEOUT_MS = 6_000
# Of those that do not, also where the machine stands still for a while: all that is waited for comes well before.
LASTING_SESSION_MS = 2 * DEADLINE_SECONDS * 1000


@pytest.fixture
def group():
    return f"group-{uuid.uuid4().hex[:8]}"


class Member:
    """A confluent-kafka consumer that remembers what it was given and what was taken away."""

    def __init__(self, bootstrap, group, topics, **config):
        self.assignments = 0
        self.revocations = 0
        self.values = []
        settings = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": LASTING_SESSION_MS,
            "heartbeat.interval.ms": 300,
        }
        self.consumer = Consumer(settings | {name.replace("_", "."): value for name, value in config.items()})
        self.consumer.subscribe(topics, on_assign=self._assigned, on_revoke=self._revoked)

    def _assigned(self, _consumer, _partitions):
        self.assignments += 1

    def _revoked(self, _consumer, _partitions):
        self.revocations += 1

    def poll(self, seconds=0.05):
        message = self.consumer.poll(seconds)
        if message is not None:
            assert message.error() is None, message.error()
            self.values.append(message.value())
        return message

    def partitions(self):
        return {(partition.topic, partition.partition) for partition in self.consumer.assignment()}

    def close(self):
        self.consumer.close()


def settle(members, expected, deadline=None):
    """Poll all members until together they hold exactly the expected partitions, none of them twice."""

    def step():
        for member in members:
            member.poll()
        return [member.partitions() for member in members]

    def settled(held):
        return set().union(*held) == expected and sum(map(len, held)) == len(expected)

    return until("the group to settle", settled, step, deadline)


def all_of(topic, partitions=PARTITIONS):
    return {(topic, partition) for partition in range(partitions)}


def write(bootstrap, topic, count, partitions=PARTITIONS):
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(count):
        producer.produce(topic, str(number).encode(), partition=number % partitions)
    assert producer.flush(30) == 0


def test_members_share_the_partitions_and_read_each_message_once(bootstrap, make_topic, group):
    topic = make_topic(PARTITIONS)
    members = [Member(bootstrap, group, [topic]) for _ in range(3)]
    held = settle(members, all_of(topic))
    assert [len(partitions) for partitions in held] == [2, 2, 2]

    write(bootstrap, topic, 300)
    until(
        "all messages",
        lambda count: count >= 300,
        lambda: ([member.poll() for member in members], sum(len(member.values) for member in members))[1],
    )
    read = sorted(int(value) for member in members for value in member.values)
    assert read == list(range(300))
    for member in members:
        member.close()


def test_a_late_member_gets_its_share(bootstrap, make_topic, group):
    topic = make_topic(PARTITIONS)
    members = [Member(bootstrap, group, [topic])]
    settle(members, all_of(topic))
    members.append(Member(bootstrap, group, [topic]))
    until(
        "both to have three",
        lambda held: [len(partitions) for partitions in held] == [3, 3],
        lambda: settle(members, all_of(topic)),
    )
    for member in members:
        member.close()


def test_who_leaves_hands_its_partitions_over(bootstrap, make_topic, group):
    topic = make_topic(PARTITIONS)
    members = [Member(bootstrap, group, [topic]) for _ in range(2)]
    until(
        "both to have three",
        lambda held: [len(partitions) for partitions in held] == [3, 3],
        lambda: settle(members, all_of(topic)),
    )
    members.pop().close()
    # Well before a session could have ended: leaving is not the same as vanishing.
    settle(members, all_of(topic), Deadline(LASTING_SESSION_MS / 2000))
    members[0].close()


def test_who_crashes_is_replaced_after_its_session(bootstrap, make_topic, group):
    topic = make_topic(PARTITIONS)
    script = Path(__file__).with_name("member.py")
    crashing = subprocess.Popen(
        [sys.executable, script, bootstrap, topic, group, str(SESSION_TIMEOUT_MS)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert crashing.stdout.readline().strip() == "0,1,2,3,4,5", "alone it holds everything"
        survivor = Member(bootstrap, group, [topic])
        until("a half of the partitions", lambda held: len(held) == 3, lambda: (survivor.poll(), survivor.partitions())[1])
    finally:
        crashing.kill()
        crashing.wait()
        crashing.stdout.close()
    settle([survivor], all_of(topic))
    survivor.close()


def test_a_static_member_returns_without_disturbing_the_others(bootstrap, make_topic, group):
    topic = make_topic(PARTITIONS)
    stays = Member(bootstrap, group, [topic], group_instance_id="stays")
    returns = Member(bootstrap, group, [topic], group_instance_id="returns")
    until(
        "both to have three",
        lambda held: [len(partitions) for partitions in held] == [3, 3],
        lambda: settle([stays, returns], all_of(topic)),
    )
    before, revocations = returns.partitions(), stays.revocations

    # A static member does not say goodbye: its place is kept until its session ends.
    returns.close()
    again = Member(bootstrap, group, [topic], group_instance_id="returns")
    until("its old partitions", lambda held: held == before, lambda: (stays.poll(), again.poll(), again.partitions())[2])
    assert stays.revocations == revocations, "the other one never noticed"
    stays.close()
    again.close()


def test_a_second_member_with_the_same_instance_id_fences_the_first(bootstrap, make_topic, group):
    topic = make_topic(PARTITIONS)
    first = Member(bootstrap, group, [topic], group_instance_id="twin")
    settle([first], all_of(topic))
    second = Member(bootstrap, group, [topic], group_instance_id="twin")

    def step():
        second.poll()
        message = first.consumer.poll(0.05)
        return message.error() if message is not None else None

    error = until("the first one to be fenced", lambda error: error is not None, step)
    assert error.name() in ("_FATAL", "FENCED_INSTANCE_ID")
    settle([second], all_of(topic))
    second.close()
    first.close()


def test_a_group_goes_on_where_it_committed(bootstrap, make_topic, group):
    topic = make_topic(1)
    write(bootstrap, topic, 10, partitions=1)
    member = Member(bootstrap, group, [topic])
    until("four messages", lambda count: count == 4, lambda: (member.poll(), len(member.values))[1])
    member.consumer.commit(
        offsets=[TopicPartition(topic, 0, 4, metadata="four of ten")], asynchronous=False
    )
    member.close()

    successor = Member(bootstrap, group, [topic])
    until("the other six", lambda count: count == 6, lambda: (successor.poll(), len(successor.values))[1])
    assert [int(value) for value in successor.values] == [4, 5, 6, 7, 8, 9]
    [committed] = successor.consumer.committed([TopicPartition(topic, 0)], timeout=30)
    assert (committed.offset, committed.metadata) == (4, "four of ten")
    successor.close()


def test_cooperative_members_keep_what_they_need_not_give_away(bootstrap, make_topic, group):
    topic = make_topic(PARTITIONS)
    settings = {"partition_assignment_strategy": "cooperative-sticky"}

    class Cooperative(Member):
        """Counts partitions, which here come and go one by one."""

        def _revoked(self, consumer, partitions):
            self.revocations += len(partitions)

    first = Cooperative(bootstrap, group, [topic], **settings)
    settle([first], all_of(topic))
    second = Cooperative(bootstrap, group, [topic], **settings)
    until(
        "both to have three",
        lambda held: [len(partitions) for partitions in held] == [3, 3],
        lambda: settle([first, second], all_of(topic)),
    )
    assert first.revocations == 3, "only what the newcomer got was taken away"
    first.close()
    second.close()


def test_members_may_want_different_topics(bootstrap, make_topic, group):
    apples, pears = make_topic(2), make_topic(2)
    members = [
        Member(bootstrap, group, [apples]),
        Member(bootstrap, group, [pears]),
        Member(bootstrap, group, [apples, pears]),
    ]
    held = settle(members, all_of(apples, 2) | all_of(pears, 2))
    assert {topic for topic, _ in held[0]} <= {apples}
    assert {topic for topic, _ in held[1]} <= {pears}
    for member in members:
        member.close()


def test_a_group_can_be_described_and_deleted(bootstrap, make_topic, group):
    topic = make_topic(PARTITIONS)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    member = Member(bootstrap, group, [topic], client_id="described")
    settle([member], all_of(topic))
    member.consumer.commit(offsets=[TopicPartition(topic, 0, 0)], asynchronous=False)

    described = admin.describe_consumer_groups([group])[group].result(30)
    assert described.state == ConsumerGroupState.STABLE
    [listed] = described.members
    assert listed.client_id == "described"
    assert {(p.topic, p.partition) for p in listed.assignment.topic_partitions} == all_of(topic)
    assert group in {listing.group_id for listing in admin.list_consumer_groups().result(30).valid}

    member.close()
    admin.delete_consumer_groups([group])[group].result(30)
    assert group not in {listing.group_id for listing in admin.list_consumer_groups().result(30).valid}


def read_name(data, at):
    """A length of two bytes and as many bytes of text, as in the records of __consumer_offsets."""
    (length,) = struct.unpack_from(">h", data, at)
    return data[at + 2 : at + 2 + length].decode(), at + 2 + length


def test_what_a_group_remembers_can_be_read_as_a_topic(bootstrap, make_topic, group):
    """Monitors of lag such as Burrow live on this."""
    topic = make_topic(2)
    member = Member(bootstrap, group, [topic])
    settle([member], all_of(topic, 2))
    member.consumer.commit(offsets=[TopicPartition(topic, 1, 17)], asynchronous=False)
    member.close()

    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    journal = "__consumer_offsets"
    partitions = [TopicPartitionOfKafkaPython(journal, at) for at in consumer.partitions_for_topic(journal)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    committed, generations = [], []

    def step():
        for records in consumer.poll(timeout_ms=200).values():
            for record in records:
                (kind,) = struct.unpack_from(">h", record.key)
                if kind not in (1, 2):
                    continue
                named, at = read_name(record.key, 2)
                if named != group or record.value is None:
                    continue
                if kind == 1:
                    named, at = read_name(record.key, at)
                    (partition,) = struct.unpack_from(">i", record.key, at)
                    _version, offset = struct.unpack_from(">hq", record.value)
                    committed.append((named, partition, offset))
                else:
                    protocol_type, at = read_name(record.value, 2)
                    (generation,) = struct.unpack_from(">i", record.value, at)
                    generations.append((protocol_type, generation))
        return all(consumer.position(partition) >= end for partition, end in ends.items())

    until("the end of the journal", bool, step)
    consumer.close()
    assert committed == [(topic, 1, 17)]
    # Joined, and empty again.
    assert generations[-2:] == [("consumer", 1), ("consumer", 2)]


def test_a_thousand_short_lived_members_do_no_harm(bootstrap, make_topic, group):
    topic = make_topic(PARTITIONS)
    threads, members_per_thread = 10, 100

    def come_and_go(_thread):
        for _ in range(members_per_thread):
            consumer = KafkaConsumer(
                topic,
                bootstrap_servers=bootstrap,
                group_id=group,
                session_timeout_ms=SESSION_TIMEOUT_MS,
                heartbeat_interval_ms=1_000,
            )
            # Long enough to ask for membership, not to get partitions.
            consumer.poll(timeout_ms=20)
            consumer.close(autocommit=False, timeout_ms=1_000)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(come_and_go, range(threads)))

    members = [Member(bootstrap, group, [topic]) for _ in range(2)]
    held = settle(members, all_of(topic))
    assert all(held)
    write(bootstrap, topic, 60)
    until(
        "all messages",
        lambda count: count == 60,
        lambda: ([member.poll() for member in members], sum(len(member.values) for member in members))[1],
    )
    for member in members:
        member.close()
