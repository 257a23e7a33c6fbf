#!/bin/bash
# Not a broker but the floor under one (bench/kbench/src/floor): it keeps everything, as a memory engine does.
ulimit -n "$(ulimit -Hn)"
exec "${KBENCH:?}" floor --addr "127.0.0.1:$1"
