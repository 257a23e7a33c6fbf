#!/bin/bash
# Rustka with its metrics on the port after its own.
RUSTKA_FLAGS="--http-port $(($1 + 1)) ${RUSTKA_FLAGS:-}" exec "$(dirname "$0")/rustka.sh" "$@"
