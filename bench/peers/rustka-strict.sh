#!/bin/bash
# Rustka as strict as Kafka, taking 50 MB batches: it inflates them to validate.
RUSTKA_FLAGS="--strict -c message.max.bytes=52428800 ${RUSTKA_FLAGS:-}" exec "$(dirname "$0")/rustka.sh" "$@"
