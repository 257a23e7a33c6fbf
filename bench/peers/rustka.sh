#!/bin/bash
# Rustka with room for every case. RUSTKA_BIN is the release binary, RUSTKA_FLAGS more flags (the last one wins).
mkdir -p "$2"; ulimit -n "$(ulimit -Hn)"
exec "${RUSTKA_BIN:?}" --port "$1" --http-port 0 --memory-limit "${RUSTKA_MEMORY:-8G}" ${RUSTKA_FLAGS:-} >"$2/server.log" 2>&1
