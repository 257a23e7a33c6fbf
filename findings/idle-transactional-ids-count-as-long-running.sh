#!/usr/bin/env bash
# kafka-transactions list --duration-filter MS lists "transactions that run longer than MS". An id that was initialised
# and has never begun one passes every such filter: its start is stored as -1, so it seems to run since 1970.
. "$(dirname "$0")/common/kafka.sh"
transactions() { tool org.apache.kafka.tools.TransactionsCommand --bootstrap-server "$BOOTSTRAP" "$@"; }
DAY_MS=86400000

start_kafka
package confluent-kafka==2.16.1
"$FOLDER/python/bin/python" - "$BOOTSTRAP" <<'P'
import sys
from confluent_kafka import Producer

for name in ["idle", "committed"]:
    producer = Producer({"bootstrap.servers": sys.argv[1], "transactional.id": name})
    producer.init_transactions(30)
    if name == "committed":
        producer.begin_transaction()
        producer.produce("t", b"value")
        producer.commit_transaction(30)
P
echo "kafka-transactions $(transactions --version)"
listed=$(transactions list --duration-filter $((365 * DAY_MS)))
echo "running for a year:"
echo "$listed"
holds "an id without a transaction runs for a year" contains "$listed" idle
holds "one that is through does not" lacks "$listed" committed
