#!/bin/bash
# franz-go's kfake, one broker, memory only. Built on first use with Go (kfake/).
bin=${KFAKE_BIN:-$HOME/.cache/kbench/kfakesrv}
[ -x "$bin" ] || (cd "$(dirname "$0")/kfake" && mkdir -p "$(dirname "$bin")" && go build -o "$bin" .) || exit 3
mkdir -p "$2"; ulimit -n "$(ulimit -Hn)"
exec "$bin" -port "$1" >"$2/server.log" 2>&1
