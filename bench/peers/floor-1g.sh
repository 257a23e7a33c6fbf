#!/bin/bash
# The floor with 1 GB kept per partition, the counterpart of rustka-1g.
ulimit -n "$(ulimit -Hn)"
exec "${KBENCH:?}" floor --addr "127.0.0.1:$1" --retain 1000000000
