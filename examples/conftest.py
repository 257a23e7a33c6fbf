"""Fixtures of the examples: where the broker is, and topics that nobody else uses."""

import os
import uuid

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from helpers import until


@pytest.fixture(scope="session")
def bootstrap():
    """The broker under test: RUSTKA_BOOTSTRAP, or the port a broker has by default."""
    return os.environ.get("RUSTKA_BOOTSTRAP", "127.0.0.1:9092")


@pytest.fixture(scope="session")
def admin(bootstrap):
    """confluent-kafka's admin client, shared by all tests."""
    return AdminClient({"bootstrap.servers": bootstrap})


@pytest.fixture
def make_topic(admin, request):
    """make_topic(partitions=1, **{"retention.ms": "1000"}) creates a topic of its own and returns its name."""
    created = []

    def make(partitions=1, **config):
        test = request.node.name.split("[")[0].replace("test_", "")
        name = f"{test}-{uuid.uuid4().hex[:8]}"
        futures = admin.create_topics([NewTopic(name, partitions, 1, config=config)])
        futures[name].result(timeout=30)
        created.append(name)
        # Kafka may answer before its brokers know the topic, Rustka does not.
        until("the topic", lambda topic: topic.error is None, lambda: admin.list_topics(name, timeout=30).topics[name])
        return name

    yield make
    if created:
        for future in admin.delete_topics(created).values():
            future.result(timeout=30)
