#!/bin/bash
# Kafka that takes 50 MB batches.
KAFKA_EXTRA="message.max.bytes=52428800 ${KAFKA_EXTRA:-}" exec "$(dirname "$0")/kafka.sh" "$@"
