#!/bin/bash
# Apache Kafka, one KRaft node, page cache, no fsync (clients/oracle/kafka). More key=value words: $KAFKA_EXTRA.
ulimit -n "$(ulimit -Hn)"; mkdir -p "$2"
echo "$EPOCHREALTIME" > "$2/t0"
exec "$(dirname "$0")/../../clients/oracle/kafka" start "$1" "$2" group.consumer.min.heartbeat.interval.ms=100 ${KAFKA_EXTRA:-}
