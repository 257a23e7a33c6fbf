"""What every lesson needs: reading until a deadline, and waiting for a condition without sleeping blindly."""

import random
import socket
import time

from confluent_kafka import KafkaException

# Long enough for a loaded two-core machine; a healthy broker needs milliseconds.
DEADLINE_SECONDS = 60


class Deadline:
    """A point in time by which something must have happened."""

    def __init__(self, seconds=DEADLINE_SECONDS):
        self.ends_at = time.monotonic() + seconds

    def check(self, what):
        """Fail with a sentence once the time is over."""
        if time.monotonic() > self.ends_at:
            raise AssertionError(f"still waiting for {what} when the deadline passed")


def read_confluent(consumer, count, deadline=None):
    """The next `count` messages of a confluent_kafka.Consumer."""
    deadline = deadline or Deadline()
    messages = []
    while len(messages) < count:
        deadline.check(f"message {len(messages) + 1} of {count}")
        for message in consumer.consume(num_messages=count - len(messages), timeout=0.5):
            assert message.error() is None, message.error()
            messages.append(message)
    return messages


def read_kafka_python(consumer, count, deadline=None):
    """The next `count` records of a kafka.KafkaConsumer."""
    deadline = deadline or Deadline()
    records = []
    while len(records) < count:
        deadline.check(f"record {len(records) + 1} of {count}")
        polled = consumer.poll(timeout_ms=500, max_records=count - len(records))
        for batch in polled.values():
            records.extend(batch)
    return records


def until(what, condition, step, deadline=None):
    """Call `step` (which waits by itself, such as a poll) until `condition(step())` holds; returns that value."""
    deadline = deadline or Deadline()
    while True:
        value = step()
        if condition(value):
            return value
        deadline.check(what)


def in_one_of(tries, attempt):
    """What `attempt` returns, which may fail in all of its tries but one: the clock on the wall goes on where a machine stands
    still for a moment, and what is too slow by itself is so every time."""
    for left in reversed(range(tries)):
        try:
            return attempt()
        except (AssertionError, KafkaException):
            if left == 0:
                raise
    raise ValueError("no try is none in which it holds")


# Below those that the system gives to whoever asks for any, each once and in another order for each run.
LASTING_PORTS = iter(random.sample(range(10_000, 15_000), 5_000))


def lasting_port():
    """A free port for a broker that goes and comes back. One that the system has given may be the near end of somebody's
    connection before the broker is there again."""
    for port in LASTING_PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError("no port is free")
