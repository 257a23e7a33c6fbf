"""A consumer in a process of its own, to be killed: prints its partitions each time they change.

    member.py BOOTSTRAP TOPIC GROUP SESSION_TIMEOUT_MS
"""

import sys

from confluent_kafka import Consumer


def main(bootstrap, topic, group, session_timeout_ms):
    def assigned(_consumer, partitions):
        print(",".join(str(partition.partition) for partition in partitions), flush=True)

    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "session.timeout.ms": int(session_timeout_ms),
            "heartbeat.interval.ms": 500,
        }
    )
    consumer.subscribe([topic], on_assign=assigned)
    while True:
        consumer.poll(1)


main(*sys.argv[1:])
