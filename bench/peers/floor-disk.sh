#!/bin/bash
# The floor with a disk: written, synced by group commit, sent by sendfile. Syncs are counted on the port after its own.
mkdir -p "$2/data"; ulimit -n "$(ulimit -Hn)"
exec "${KBENCH:?}" floor --addr "127.0.0.1:$1" --dir "$2/data"
