#!/bin/bash
# The floor with 64 MB kept per partition: its memory is used again and again.
ulimit -n "$(ulimit -Hn)"
exec "${KBENCH:?}" floor --addr "127.0.0.1:$1" --retain 64000000
