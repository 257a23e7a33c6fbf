#!/bin/bash
# Kafka that syncs every batch before it answers, which is what Rustka promises.
KAFKA_EXTRA="log.flush.interval.messages=1 ${KAFKA_EXTRA:-}" exec "$(dirname "$0")/kafka.sh" "$@"
