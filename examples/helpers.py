"""What every lesson needs: reading until a deadline, and waiting for a condition without sleeping blindly."""

import time

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
