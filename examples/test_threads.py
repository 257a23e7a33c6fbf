"""Lesson 8: many threads, many connections: nothing is lost, nothing doubled, order is kept per writer."""

from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPythonPartition

from helpers import read_confluent, read_kafka_python

THREADS = 8
MESSAGES_PER_THREAD = 500
TOTAL = THREADS * MESSAGES_PER_THREAD


def in_threads(work):
    """Runs work(0) … work(THREADS - 1) at the same time; the first error is raised here."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(THREADS)))


def check_each_writer_in_order(values):
    numbers_of = defaultdict(list)
    for value in values:
        writer, number = value.split(b":")
        numbers_of[writer].append(int(number))
    assert len(numbers_of) == THREADS
    assert all(numbers == list(range(MESSAGES_PER_THREAD)) for numbers in numbers_of.values())


def read_partition(bootstrap, topic, partition, count):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
    messages = read_confluent(consumer, count)
    consumer.close()
    return messages


def test_one_producer_shared_by_all_threads(bootstrap, make_topic):
    topic = make_topic()
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5})

    def write(thread):
        for number in range(MESSAGES_PER_THREAD):
            producer.produce(topic, f"{thread}:{number}".encode())

    in_threads(write)
    assert producer.flush(60) == 0
    check_each_writer_in_order(message.value() for message in read_partition(bootstrap, topic, 0, TOTAL))


def test_a_producer_per_thread_all_into_one_partition(bootstrap, make_topic):
    topic = make_topic()

    def write(thread):
        producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
        for number in range(MESSAGES_PER_THREAD):
            producer.produce(topic, f"{thread}:{number}".encode())
        assert producer.flush(60) == 0

    in_threads(write)
    messages = read_partition(bootstrap, topic, 0, TOTAL)
    assert [message.offset() for message in messages] == list(range(TOTAL))
    check_each_writer_in_order(message.value() for message in messages)


def test_kafka_python_producers_and_consumers_in_threads(bootstrap, make_topic):
    topic = make_topic(THREADS)

    def write_and_read(thread):
        producer = KafkaProducer(bootstrap_servers=bootstrap)
        for number in range(MESSAGES_PER_THREAD):
            producer.send(topic, f"{thread}:{number}".encode(), partition=thread)
        producer.flush(60)
        producer.close()

        consumer = KafkaConsumer(bootstrap_servers=bootstrap)
        partition = KafkaPythonPartition(topic, thread)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        records = read_kafka_python(consumer, MESSAGES_PER_THREAD)
        consumer.close()
        return [record.value for record in records]

    for thread, values in enumerate(in_threads(write_and_read)):
        assert values == [f"{thread}:{number}".encode() for number in range(MESSAGES_PER_THREAD)]


def test_every_reader_sees_everything_while_it_is_written(bootstrap, make_topic):
    topic = make_topic(2)

    def write_or_read(thread):
        if thread < 2:
            producer = Producer({"bootstrap.servers": bootstrap})
            for number in range(MESSAGES_PER_THREAD):
                producer.produce(topic, str(number).encode(), partition=thread)
                producer.poll(0)
            assert producer.flush(60) == 0
            return None
        return [
            message.value()
            for partition in range(2)
            for message in read_partition(bootstrap, topic, partition, MESSAGES_PER_THREAD)
        ]

    expected = [str(number).encode() for _ in range(2) for number in range(MESSAGES_PER_THREAD)]
    writers_and_readers = in_threads(write_or_read)
    assert writers_and_readers[2:] == [expected] * (THREADS - 2)


def test_one_consumer_over_many_partitions_misses_none(bootstrap, make_topic):
    topic = make_topic(50)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    for number in range(TOTAL):
        producer.produce(topic, str(number).encode(), partition=number % 50)
    assert producer.flush(60) == 0

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(50)])
    counted = Counter(message.value() for message in read_confluent(consumer, TOTAL))
    consumer.close()
    assert counted == Counter(str(number).encode() for number in range(TOTAL))
