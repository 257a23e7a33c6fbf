#!/bin/bash
# Rustka with its records in files, little of them in memory, and its metrics on the port after its own.
RUSTKA_MEMORY=256M RUSTKA_FLAGS="--http-port $(($1 + 1)) --data-dir $2/data ${RUSTKA_FLAGS:-}" exec "$(dirname "$0")/rustka.sh" "$@"
