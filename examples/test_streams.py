"""Kafka Streams with exactly_once_v2: words are counted once, although the program that counts them is killed again and again.

Twice, or as often as STREAMS_KILLS says."""

import collections
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

FOLDER = Path(__file__).resolve().parent / "java" / "streams"
LIBRARIES = FOLDER.parents[2] / "target" / "java-streams"
KILLS = int(os.environ.get("STREAMS_KILLS", "2"))
PARTITIONS = 2
WORDS = ["one", "two", "three", "four", "five", "six", "seven"]

# The first run fetches Kafka Streams.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def libraries():
    missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} on this machine")
    command = ["mvn", "-q", "dependency:copy-dependencies", f"-DoutputDirectory={LIBRARIES}"]
    fetched = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert fetched.returncode == 0, fetched.stdout + fetched.stderr


class Reader:
    """Reads what is committed, and notes every count of every word."""

    def __init__(self, bootstrap, topic):
        self.counts = collections.defaultdict(list)
        self.consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"reader-of-{topic}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        self.consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])

    def read_until(self, total, patience_s=90):
        """Until so many counts have been read."""
        deadline = time.monotonic() + patience_s
        while sum(map(len, self.counts.values())) < total:
            assert time.monotonic() < deadline, f"{dict(self.counts)} instead of {total} counts"
            message = self.consumer.poll(1)
            if message is None:
                continue
            assert message.error() is None or message.error().code() == KafkaError._PARTITION_EOF, message.error()
            self.counts[message.key().decode()].append(int(message.value()))


def test_words_are_counted_once_whatever_is_killed(bootstrap, make_topic, libraries, tmp_path):
    lines, counts = make_topic(partitions=PARTITIONS), make_topic(partitions=PARTITIONS)
    writer = Producer({"bootstrap.servers": bootstrap})
    reader = Reader(bootstrap, counts)
    chance = random.Random(17)
    expected = collections.Counter()

    def write(number):
        for at in range(number):
            words = chance.choices(WORDS, k=5)
            expected.update(words)
            writer.produce(lines, " ".join(words), partition=at % PARTITIONS)
        writer.flush(30)

    def start(round_number):
        command = ["java", "-cp", f"{LIBRARIES}/*", "WordCount.java", bootstrap, lines, counts]
        log = open(tmp_path / f"{round_number}.log", "w")
        # A folder of its own: what it has counted is read again from the broker.
        folder = str(tmp_path / str(round_number))
        return subprocess.Popen(command + [folder], cwd=FOLDER, stdout=log, stderr=log)

    for round_number in range(KILLS + 1):
        program = start(round_number)
        try:
            before = sum(expected.values())
            write(100)
            # Some of it is counted, some is in the middle of a transaction.
            reader.read_until(before + chance.randrange(50, 450))
            if round_number == KILLS:
                reader.read_until(sum(expected.values()))
        finally:
            program.kill()
            program.wait()
    assert {word: len(seen) for word, seen in reader.counts.items()} == dict(expected)
    for word, seen in reader.counts.items():
        assert seen == list(range(1, len(seen) + 1)), f"{word} was counted twice or not at all"
    reader.consumer.close()
