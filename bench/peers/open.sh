#!/bin/bash
# The same program without a lock, to measure what a lock costs.
exec "$(dirname "$0")/rustka.sh" "$@"
