#!/usr/bin/env python3
"""What self-hosted Sentry costs while nothing happens: 50 consumers in groups of their own services, 75 topics, 250 connections.

    target/python/bin/python bench/sentry.py BINARY [SECONDS]

Starts the broker, has the clients join, waits until they are settled, and prints the part of a core that the broker takes, the most
memory it was seen with, and how many connections there were.
"""
import os
import subprocess
import sys
import threading
import time

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

TOPICS = 75
CONSUMERS = 50
# As snuba and the task brokers: several consumers share a group, which reads one topic or two.
GROUPS = 25
CONNECTIONS = 250
SETTLE_SECONDS = 30


def sockets_of(pid):
    """Open sockets of a process, but for those that listen."""
    count = 0
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += os.readlink(f"/proc/{pid}/fd/{descriptor}").startswith("socket:")
        except OSError:
            pass
    return count


def cpu_seconds(pid):
    """Of all threads, to the nanosecond."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
        except OSError:
            pass
    return total / 1e9


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as file:
        lines = dict(line.split(":", 1) for line in file if line.startswith(("VmRSS", "RssAnon")))
    return {name: int(value.split()[0]) / 1024 for name, value in lines.items()}


def consume(consumer, ended):
    """As arroyo polls: short, forever."""
    while not ended.is_set():
        consumer.poll(1.0)
    consumer.close()


def main():
    binary = sys.argv[1]
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 600
    broker = subprocess.Popen(
        [binary, "--port", "0", "--http-port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    ended = threading.Event()
    try:
        address = broker.stdout.readline().split('"bootstrap":"')[1].split('"')[0]
        at = {"bootstrap.servers": address, "log_level": 0}
        admin = AdminClient(at)
        made = admin.create_topics([NewTopic(f"topic-{n}", 1, 1) for n in range(TOPICS)])
        for future in made.values():
            future.result()
        before = sockets_of(broker.pid)
        threads = []
        for n in range(CONSUMERS):
            group = n % GROUPS
            consumer = Consumer(at | {"group.id": f"group-{group}", "enable.auto.commit": False})
            consumer.subscribe([f"topic-{group * 3 + k}" for k in range(1 + group % 3)])
            threads.append(threading.Thread(target=consume, args=(consumer, ended)))
        for thread in threads:
            thread.start()
        # The rest are producers of the services that only send now and then: relay, web workers, symbolicator.
        producers = []
        give_up = time.monotonic() + 120
        while sockets_of(broker.pid) - before < CONNECTIONS and time.monotonic() < give_up:
            producers.append(Producer(at))
            producers[-1].list_topics(timeout=10)
            time.sleep(0.05)
        time.sleep(SETTLE_SECONDS)
        begin, used, most, connections = time.monotonic(), cpu_seconds(broker.pid), {}, []
        while time.monotonic() - begin < seconds:
            time.sleep(min(5, seconds))
            for name, mib in resident_mib(broker.pid).items():
                most[name] = max(most.get(name, 0), mib)
            connections.append(sockets_of(broker.pid) - before)
        part = (cpu_seconds(broker.pid) - used) / (time.monotonic() - begin)
        print(
            f"{seconds:.0f} s: {part * 100:.2f} % of a core, at most "
            f"{most['VmRSS']:.1f} MiB resident ({most['RssAnon']:.1f} its own), "
            f"{min(connections)} to {max(connections)} connections"
        )
    finally:
        ended.set()
        broker.terminate()
        broker.wait()


if __name__ == "__main__":
    main()
