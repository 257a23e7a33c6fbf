#!/bin/bash
# Rustka that looks for what is older than retention.ms each second, not each five minutes.
RUSTKA_FLAGS="-c log.retention.check.interval.ms=1000 ${RUSTKA_FLAGS:-}" exec "$(dirname "$0")/rustka.sh" "$@"
