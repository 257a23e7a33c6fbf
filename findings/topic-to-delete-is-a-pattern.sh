#!/usr/bin/env bash
# kafka-topics --delete --topic a.b deletes axb as well: but for --create, the name is a regular expression, and the dot,
# the usual separator in names of topics, matches anything.
. "$(dirname "$0")/common/kafka.sh"
topics() { tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" "$@"; }

start_kafka
for name in orders.eu orders-eu ordersXeu orders.eu.dead; do
  topics --create --topic "$name" --partitions 1 > /dev/null
done
echo "kafka-topics $(topics --version)"
before=$(topics --list)
topics --delete --topic orders.eu
after=$(topics --list)
echo "topics before --delete --topic orders.eu:" $before
echo "topics after it:" $after
holds "topics of similar names go, too" test "$after" = orders.eu.dead
