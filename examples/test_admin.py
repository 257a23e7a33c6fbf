"""Lesson 11: what administrators do: look at the cluster, grow topics, delete records, find offsets."""

import pytest
from confluent_kafka import IsolationLevel, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import NewPartitions, NewTopic, OffsetSpec
from kafka.admin import KafkaAdminClient

from helpers import until


def write(bootstrap, topic, count, **settings):
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(count):
        producer.produce(topic, str(number).encode(), partition=0, **settings)
    assert producer.flush(30) == 0


def test_the_cluster_has_one_node_that_does_everything(admin, bootstrap):
    cluster = admin.describe_cluster(request_timeout=30).result(30)
    [node] = cluster.nodes
    # A client on the broker's own machine is told a name of that machine.
    assert f"{node.host}:{node.port}" in (bootstrap, bootstrap.replace("127.0.0.1", "localhost"))
    assert cluster.controller.id == node.id
    assert cluster.cluster_id


def test_topics_are_described_by_name_and_by_id(admin, make_topic):
    topic = make_topic(3)
    described = admin.describe_topics(TopicCollection([topic]))[topic].result(30)
    assert [partition.id for partition in described.partitions] == [0, 1, 2]
    assert all(partition.leader.id == partition.isr[0].id for partition in described.partitions)
    assert not described.is_internal
    # The id tells a topic from another one that had its name before.
    admin.delete_topics([topic], operation_timeout=30)[topic].result(30)
    admin.create_topics([NewTopic(topic, 1)], operation_timeout=30)[topic].result(30)
    until("the topic", lambda found: found.error is None, lambda: admin.list_topics(topic, timeout=30).topics[topic])
    again = admin.describe_topics(TopicCollection([topic]))[topic].result(30)
    assert str(again.topic_id) != str(described.topic_id)


def test_topics_grow_but_never_shrink(admin, make_topic):
    topic = make_topic(2)
    admin.create_partitions([NewPartitions(topic, 5)])[topic].result(30)
    assert len(admin.list_topics(topic, timeout=30).topics[topic].partitions) == 5
    with pytest.raises(KafkaException) as refused:
        admin.create_partitions([NewPartitions(topic, 3)])[topic].result(30)
    assert refused.value.args[0].name() == "INVALID_PARTITIONS"


@pytest.mark.parametrize(
    "topic, error",
    [
        (NewTopic("no spaces, please", 1), "TOPIC_EXCEPTION"),
        (NewTopic("no-partitions", 0), "INVALID_PARTITIONS"),
        (NewTopic("no-such-config", 1, config={"retention.hours": "1"}), "INVALID_CONFIG"),
    ],
    ids=["name", "partitions", "config"],
)
def test_topics_that_make_no_sense_are_refused(admin, topic, error):
    [future] = admin.create_topics([topic]).values()
    with pytest.raises(KafkaException) as refused:
        future.result(30)
    assert refused.value.args[0].name() == error


def test_trying_out_changes_nothing(admin):
    [future] = admin.create_topics([NewTopic("only-a-trial", 1)], validate_only=True).values()
    future.result(30)
    assert "only-a-trial" not in admin.list_topics(timeout=30).topics


def test_offsets_are_found_by_time(admin, bootstrap, make_topic):
    topic = make_topic()
    for hour in range(5):
        write(bootstrap, topic, 10, timestamp=1_700_000_000_000 + hour * 3_600_000)
    partition = TopicPartition(topic, 0)

    def offset(spec):
        futures = admin.list_offsets({partition: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED)
        return futures[partition].result(30).offset

    assert offset(OffsetSpec.earliest()) == 0
    assert offset(OffsetSpec.latest()) == 50
    assert offset(OffsetSpec.max_timestamp()) == 40
    assert offset(OffsetSpec.for_timestamp(1_700_000_000_000 + 2 * 3_600_000)) == 20
    assert offset(OffsetSpec.for_timestamp(1_700_000_000_000 + 2 * 3_600_000 + 1)) == 30


def test_deleted_records_are_gone_and_offsets_go_on(admin, bootstrap, make_topic):
    topic = make_topic()
    write(bootstrap, topic, 100)
    [deleted] = admin.delete_records([TopicPartition(topic, 0, 40)]).values()
    assert deleted.result(30).low_watermark == 40
    [too_far] = admin.delete_records([TopicPartition(topic, 0, 101)]).values()
    with pytest.raises(KafkaException) as refused:
        too_far.result(30)
    assert refused.value.args[0].name() == "OFFSET_OUT_OF_RANGE"


def test_another_clients_admin_sees_the_same(bootstrap, make_topic):
    topic = make_topic(2, **{"retention.ms": "60000"})
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    assert topic in admin.list_topics()
    [described] = admin.describe_topics([topic])
    assert [partition["partition_index"] for partition in described["partitions"]] == [0, 1]
    admin.close()
