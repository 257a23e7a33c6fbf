# Sourced by the scripts of this folder: a folder that goes away, a real Kafka in it, and a way to say what was seen.
set -euo pipefail
REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
FOLDER=$(mktemp -d)
KAFKA_PID=

stop_kafka() { # stops it as an operator would, and waits for it
  [ -n "$KAFKA_PID" ] || return 0
  kill "$KAFKA_PID" 2>/dev/null || true
  wait "$KAFKA_PID" 2>/dev/null || true
  KAFKA_PID=
}
leave() {
  stop_kafka
  chmod -R u+w "$FOLDER" 2>/dev/null || true
  rm -rf "$FOLDER"
}
trap leave EXIT
trap 'exit 130' INT TERM

free_port() { # the first of three ports in a row that nobody uses
  python3 - <<'P'
import random, socket
while True:
    port = random.randrange(20000, 29000)
    try:
        held = [socket.create_server(("127.0.0.1", port + i)) for i in range(3)]
    except OSError:
        continue
    print(port)
    break
P
}

start_kafka() { # start_kafka [key=value ...]: PORT and BOOTSTRAP are set when it serves; a second start opens the same data
  local deadline=$((SECONDS + 90))
  PORT=${PORT:-$(free_port)}
  BOOTSTRAP=127.0.0.1:$PORT
  rm -f "$FOLDER/kafka/server.log"
  "$REPOSITORY/clients/oracle/kafka" start "$PORT" "$FOLDER/kafka" "$@" &
  KAFKA_PID=$!
  until grep -qs "Kafka Server started" "$FOLDER/kafka/server.log"; do
    if [ $SECONDS -ge $deadline ] || ! kill -0 "$KAFKA_PID" 2>/dev/null; then
      echo "Kafka did not start" >&2
      tail -20 "$FOLDER/kafka/server.log" >&2 || true
      exit 2
    fi
    sleep 0.2
  done
  grep -om1 "Kafka version: [0-9.]*[0-9]" "$FOLDER/kafka/server.log"
}

tool() { # tool CLASS ARG...: one of Kafka's command-line tools, its log left out
  "$REPOSITORY/clients/oracle/kafka" tool "$@" 2>&1 | grep -v '^\[.*\] \(ERROR\|WARN\)' || return "${PIPESTATUS[0]}"
  return "${PIPESTATUS[0]}"
}

package() { # package NAME==VERSION: a Python package of this folder alone; python runs with it
  python3 -m venv "$FOLDER/python"
  "$FOLDER/python/bin/pip" install -q --disable-pip-version-check --no-cache-dir "$@"
}

node_packages() { # node_packages NAME@VERSION...: Node packages of this folder alone; scripts in it import them
  (cd "$FOLDER" && npm init -y > /dev/null && npm install --silent --no-fund --no-audit "$@")
}

go_program() { # go_program MODULE@VERSION...: builds main.go of this folder with modules of this folder alone; run it as ./main
  (
    cd "$FOLDER"
    export GOCACHE=$FOLDER/go/cache GOMODCACHE=$FOLDER/go/modules GOTOOLCHAIN=local
    go mod init finding && go get "$@" && go build -o main main.go
  ) > "$FOLDER/go.log" 2>&1 || { cat "$FOLDER/go.log" >&2; exit 2; }
}

holds() { # holds SENTENCE COMMAND...: the sentence stays true as long as the command succeeds
  local sentence=$1
  shift
  if "$@"; then
    echo "so it is: $sentence"
  else
    echo "NO LONGER SO: $sentence"
    exit 1
  fi
}
contains() { [[ $1 == *"$2"* ]]; }
lacks() { [[ $1 != *"$2"* ]]; }
