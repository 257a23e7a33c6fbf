#!/bin/bash
# Rustka under a small memory limit, for readers that never read.
RUSTKA_MEMORY=256M exec "$(dirname "$0")/rustka.sh" "$@"
