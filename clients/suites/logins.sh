#!/bin/bash
# Eight clients log in by each mechanism they have (../logins): with TLS and without, right and wrong, with certificates that
# do not fit. Brings its own broker, BROKER_BINARY (a path, or the word kafka), which has four listeners; ONLY=regex of ids.
. "$(dirname "$0")/lib.sh"
L=$HERE/../logins; TOOLS=$WORK/logins
need_venv logins kafka-python==3.0.12 confluent-kafka==2.16.1 aiokafka==0.14.0
mkdir -p "$TOOLS/node" "$TOOLS/java"
for client in franz-go sarama; do (cd "$L/$client" && go build -o "$TOOLS/$client" . >&2) || exit 3; done
cp "$L"/node/* "$TOOLS/node/" && (cd "$TOOLS/node" && npm ci --silent --no-audit --no-fund >&2) || exit 3
"$HERE/../oracle/kafka" classpath tools > "$TOOLS/java-classpath" || exit 3
javac -d "$TOOLS/java" -cp "$(cat "$TOOLS/java-classpath")" "$L/java/Login.java" || exit 3
export BROKER_BINARY=${BROKER_BINARY:?}
timeout "$DEADLINE" "$PY" "$L/logins.py" --tools "$TOOLS" --out "$OUT" --only "${ONLY:-}"
