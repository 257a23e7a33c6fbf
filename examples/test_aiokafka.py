"""Lesson 15: consumer groups in asyncio programs, with aiokafka."""

import asyncio
import uuid

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError

from helpers import DEADLINE_SECONDS

PARTITIONS = 4


@pytest.fixture
def group():
    return f"async-{uuid.uuid4().hex[:8]}"


def lesson(coroutine):
    """Runs one asynchronous lesson to its end, but not for ever."""
    asyncio.run(asyncio.wait_for(coroutine, 2 * DEADLINE_SECONDS))


def new_consumer(bootstrap, group, *topics, **settings):
    defaults = {
        "bootstrap_servers": bootstrap,
        "group_id": group,
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "session_timeout_ms": 6_000,
        "heartbeat_interval_ms": 300,
    }
    return AIOKafkaConsumer(*topics, **(defaults | settings))


async def write(bootstrap, topic, values):
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True) as producer:
        sent = [
            await producer.send(topic, value, partition=number % PARTITIONS) for number, value in enumerate(values)
        ]
        return await asyncio.gather(*sent)


async def read(consumer, count):
    messages = []
    while len(messages) < count:
        for batch in (await consumer.getmany(timeout_ms=500, max_records=count - len(messages))).values():
            messages += batch
    return messages


def test_an_asyncio_producer_and_a_group_of_one(bootstrap, make_topic, group):
    topic = make_topic(PARTITIONS)
    values = [str(number).encode() for number in range(200)]

    async def story():
        written = await write(bootstrap, topic, values)
        assert sorted(place.offset for place in written) == sorted(n // PARTITIONS for n in range(200))
        async with new_consumer(bootstrap, group, topic) as consumer:
            messages = await read(consumer, 200)
            assert sorted(message.value for message in messages) == sorted(values)
            # What is committed is where the next consumer begins: all but the last of each partition.
            await consumer.commit({TopicPartition(topic, number): 49 for number in range(PARTITIONS)})
        async with new_consumer(bootstrap, group, topic) as successor:
            assert {message.offset for message in await read(successor, PARTITIONS)} == {49}
            assert await successor.committed(TopicPartition(topic, 0)) == 49

    lesson(story())


class Witness(ConsumerRebalanceListener):
    """Notes what a consumer is given and what is taken from it."""

    def __init__(self):
        self.given, self.taken, self.changed = [], [], asyncio.Event()

    async def on_partitions_revoked(self, revoked):
        self.taken.append({partition.partition for partition in revoked})

    async def on_partitions_assigned(self, assigned):
        self.given.append({partition.partition for partition in assigned})
        self.changed.set()


async def until_held(witness, count):
    while not witness.given or len(witness.given[-1]) != count:
        witness.changed.clear()
        await witness.changed.wait()


def test_two_tasks_share_the_partitions_and_hand_them_over(bootstrap, make_topic, group):
    topic = make_topic(PARTITIONS)

    async def story():
        stays, leaves = Witness(), Witness()
        consumers = []
        for witness in (stays, leaves):
            consumer = new_consumer(bootstrap, group)
            consumer.subscribe([topic], listener=witness)
            await consumer.start()
            consumers.append(consumer)
        await asyncio.gather(until_held(stays, 2), until_held(leaves, 2))
        assert stays.given[-1] | leaves.given[-1] == set(range(PARTITIONS))

        await consumers[1].stop()
        await until_held(stays, PARTITIONS)
        assert stays.taken[-1] | stays.given[-1] == set(range(PARTITIONS))
        await consumers[0].stop()

    lesson(story())


def test_a_commit_of_a_lost_partition_is_refused(bootstrap, make_topic, group):
    topic = make_topic(1)

    async def story():
        async with new_consumer(bootstrap, group, topic) as member:
            await until_assigned(member)
            async with new_consumer(bootstrap, group) as stranger:
                # Whoever assigns partitions by hand is no member, and may not commit for a group that has some.
                stranger.assign([TopicPartition(topic, 0)])
                with pytest.raises(CommitFailedError):
                    await stranger.commit({TopicPartition(topic, 0): 5})
            await member.commit({TopicPartition(topic, 0): 0})
            assert await member.committed(TopicPartition(topic, 0)) == 0

    async def until_assigned(consumer):
        while not consumer.assignment():
            await consumer.getmany(timeout_ms=100)

    lesson(story())


def test_seeking_back_reads_again(bootstrap, make_topic, group):
    topic = make_topic(PARTITIONS)

    async def story():
        await write(bootstrap, topic, [str(number).encode() for number in range(40)])
        async with new_consumer(bootstrap, group, topic) as consumer:
            assert len(await read(consumer, 40)) == 40
            consumer.seek(TopicPartition(topic, 1), 7)
            again = await read(consumer, 3)
            assert [message.offset for message in again] == [7, 8, 9]
            assert await consumer.end_offsets([TopicPartition(topic, 1)]) == {TopicPartition(topic, 1): 10}
            await consumer.seek_to_beginning()
            assert len(await read(consumer, 40)) == 40

    lesson(story())
