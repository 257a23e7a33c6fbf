#!/bin/bash
# Rustka taking 50 MB batches.
RUSTKA_FLAGS="-c message.max.bytes=52428800 ${RUSTKA_FLAGS:-}" exec "$(dirname "$0")/rustka.sh" "$@"
