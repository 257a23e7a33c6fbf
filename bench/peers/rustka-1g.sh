#!/bin/bash
# Rustka that may hold 1 GiB of log, so that memory is used again.
RUSTKA_MEMORY=1G exec "$(dirname "$0")/rustka.sh" "$@"
