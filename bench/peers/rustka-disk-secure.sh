#!/bin/bash
# rustka-secure with its records in files and little of them in memory.
RUSTKA_MEMORY=256M RUSTKA_FLAGS="--data-dir $2/data ${RUSTKA_FLAGS:-}" exec "$(dirname "$0")/rustka-secure.sh" "$@"
