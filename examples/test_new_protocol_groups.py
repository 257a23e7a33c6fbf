"""Lesson 22: groups of the new protocol (KIP-848): the broker assigns, and a member hears of it with its heartbeats."""

import uuid

import pytest
from confluent_kafka import Consumer, ConsumerGroupType, Producer, TopicPartition

from helpers import until

PARTITIONS = 6


@pytest.fixture
def group():
    return f"new-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def topic(make_topic):
    return make_topic(PARTITIONS)


class Member:
    """A consumer that says group.protocol=consumer. Session and heartbeats are the broker's business then."""

    def __init__(self, bootstrap, group, topics, **config):
        settings = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
        self.values = []
        self.consumer = Consumer(settings | {name.replace("_", "."): value for name, value in config.items()})
        self.consumer.subscribe(topics)

    def poll(self, seconds=0.05):
        message = self.consumer.poll(seconds)
        if message is not None:
            assert message.error() is None, message.error()
            self.values.append(message.value())

    def partitions(self):
        return {(partition.topic, partition.partition) for partition in self.consumer.assignment()}

    def close(self):
        self.consumer.close()


def settle(members, topic):
    """Poll all members until together they hold every partition, none of them twice, and each as many as the others."""
    expected = {(topic, partition) for partition in range(PARTITIONS)}

    def step():
        for member in members:
            member.poll()
        return [member.partitions() for member in members]

    def settled(held):
        is_even = {len(one) for one in held} == {PARTITIONS // len(members)}
        return set().union(*held) == expected and is_even

    return until("the group to settle", settled, step)


def test_one_member_reads_everything(bootstrap, topic, group):
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(30):
        producer.produce(topic, str(number).encode(), partition=number % PARTITIONS)
    producer.flush()
    member = Member(bootstrap, group, [topic])
    until("all records", lambda values: len(values) == 30, lambda: member.poll() or member.values)
    assert sorted(map(int, member.values)) == list(range(30))
    member.close()


def test_members_share_as_they_come_and_go(bootstrap, topic, group):
    members = [Member(bootstrap, group, [topic]) for _ in range(2)]
    settle(members, topic)
    members.append(Member(bootstrap, group, [topic]))
    settle(members, topic)
    members.pop(0).close()
    settle(members, topic)
    for member in members:
        member.close()


def test_a_member_goes_on_where_the_last_one_committed(bootstrap, topic, group):
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(10):
        producer.produce(topic, str(number).encode(), partition=0)
    producer.flush()
    first = Member(bootstrap, group, [topic])
    until("all records", lambda values: len(values) == 10, lambda: first.poll() or first.values)
    first.consumer.commit(offsets=[TopicPartition(topic, 0, 7)], asynchronous=False)
    first.close()
    second = Member(bootstrap, group, [topic])
    until("the rest", lambda values: len(values) == 3, lambda: second.poll() or second.values)
    assert second.values == [b"7", b"8", b"9"]
    second.close()


def test_a_static_member_keeps_its_share_while_it_is_away(bootstrap, topic, group):
    static = Member(bootstrap, group, [topic], group_instance_id="one")
    other = Member(bootstrap, group, [topic])
    settle([static, other], topic)
    mine = static.partitions()
    static.close()
    back = Member(bootstrap, group, [topic], group_instance_id="one")
    settle([back, other], topic)
    assert back.partitions() == mine
    back.close()
    other.close()


def test_topics_may_be_named_by_an_expression(bootstrap, topic, group):
    member = Member(bootstrap, group, [f"^{topic[:-4]}.*"])
    settle([member], topic)
    member.close()


def test_tools_see_of_which_kind_a_group_is(bootstrap, admin, topic, group):
    member = Member(bootstrap, group, [topic])
    settle([member], topic)
    listed = admin.list_consumer_groups(types={ConsumerGroupType.CONSUMER}).result().valid
    assert group in [one.group_id for one in listed]
    described = admin.describe_consumer_groups([group])[group].result()
    assert described.type == ConsumerGroupType.CONSUMER
    [told] = described.members
    held = {(partition.topic, partition.partition) for partition in told.assignment.topic_partitions}
    assert held == member.partitions()
    member.close()
