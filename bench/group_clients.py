#!/usr/bin/env python3
"""How long a rebalance takes with real clients (confluent-kafka, default settings, so heartbeats every 3 s).

    python3 bench/group_clients.py 127.0.0.1:9092 [--runs 5] [--protocol consumer]

Ten consumers start together; later an eleventh joins, then one leaves. Each step ends when every consumer that is
there holds a share and all partitions are given out. One JSON line per run, and the medians at the end, in ms.
"""
import argparse
import json
import random
import statistics
import time

from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic

CONSUMERS = 10
PARTITIONS = 22  # so that eleven have two each
GIVE_UP_S = 40


def settle(consumers):
    """Polls all until they share all partitions evenly; the seconds that took, or None."""
    begun = time.monotonic()
    fair = PARTITIONS // len(consumers)
    while time.monotonic() - begun < GIVE_UP_S:
        for consumer in consumers:
            consumer.poll(0)
        shares = [len(consumer.assignment()) for consumer in consumers]
        if sum(shares) == PARTITIONS and min(shares) >= fair:
            return time.monotonic() - begun
        time.sleep(0.005)
    return None


def keep_polling(consumers, seconds):
    """Leaves the group in peace for a while, as its members may not stop polling."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for consumer in consumers:
            consumer.poll(0)
        time.sleep(0.005)


def one_run(topic, config):
    def member():
        consumer = Consumer(config)
        consumer.subscribe([topic])
        return consumer

    consumers = [member() for _ in range(CONSUMERS)]
    times = {"join_all": settle(consumers)}
    # the next step comes at any moment of the heartbeat interval
    keep_polling(consumers, random.uniform(1, 4))
    consumers.append(member())
    times["join_late"] = settle(consumers)
    keep_polling(consumers, random.uniform(1, 4))
    begun = time.monotonic()
    consumers.pop().close()
    closing = time.monotonic() - begun
    rest = settle(consumers)
    times["leave"] = None if rest is None else closing + rest
    for consumer in consumers:
        consumer.close()
    return {step: None if s is None else round(s * 1000) for step, s in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bootstrap")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--protocol", default="classic", choices=["classic", "consumer"])
    options = parser.parse_args()

    admin = AdminClient({"bootstrap.servers": options.bootstrap})
    topic = f"group-clients-{int(time.time())}"  # a new one, so that a broker can be measured again
    for created in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        created.result()
    runs = []
    for number in range(options.runs):
        runs.append(one_run(topic, {
            "bootstrap.servers": options.bootstrap,
            "group.id": f"{topic}-{number}",
            "group.protocol": options.protocol,
            "auto.offset.reset": "earliest",
        }))
        print(json.dumps(runs[-1]), flush=True)
    summary = {}
    for step in runs[0]:
        settled = [run[step] for run in runs if run[step] is not None]
        summary[step] = {
            "median_ms": statistics.median(settled) if settled else None,
            "max_ms": max(settled, default=None),
            "unsettled": len(runs) - len(settled),
        }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
