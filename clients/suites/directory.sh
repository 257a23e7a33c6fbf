#!/bin/bash
# One data directory goes from BROKER_BINARY to Apache Kafka 4.4 and back: what one wrote the other reads, after a stop and
# after a kill, and kafka-dump-log has nothing to complain of. Needs Java 17 and Maven (the jars come through ../oracle/kafka).
set -- none "${2:?usage: $0 - outdir}"
. "$(dirname "$0")/lib.sh"
R=${BROKER_BINARY:?}; W=$(mktemp -d); D=$W/kafka/logs ours=; mkdir -p "$W/kafka"
K="$HERE/../oracle/kafka"; "$K" classpath server > /dev/null && "$K" classpath tools > /dev/null || exit 3
fresh_tsv directory
kafka_pid() { pgrep -f "kafka.Kafka $W/kafka/server.properties"; }
stop_all() { kill -9 $ours $(kafka_pid) 2>/dev/null; wait 2>/dev/null; rm -r "$W"; }
trap stop_all EXIT
port=$((20000 + RANDOM % 5000 * 2)); A=127.0.0.1:$port
export RUSTKA_BOOTSTRAP_SERVER=$A
wait_for() { for _ in {1..600}; do "$@" && return; sleep 0.1; done; return 1; }
ours() { # ours: it serves the directory
  RUST_LOG=warn "$R" --port $port --http-port 0 --data-dir "$D" > "$W/out" 2>> "$LOG" & ours=$!
  wait_for grep -q '"ready":true' "$W/out"
}
kafka() { # kafka: it serves the directory
  "$K" start $port "$W/kafka" >> "$LOG" 2>&1 &
  rm -f "$W/kafka/server.log"
  wait_for grep -qs 'Kafka Server started' "$W/kafka/server.log"
}
stop() { kill "$1" $2; wait_for eval "! kill -0 $2 2>/dev/null"; }
check() { # check ID COMMAND...
  local id=$1 begun=$SECONDS outcome=fail; shift
  "$@" >> "$LOG" 2>&1 && outcome=pass
  printf 'directory/%s\t%s\t%s\n' "$id" $outcome $((SECONDS - begun)) >> "$TSV"
}
has_records() { # has_records COUNT
  [ "$("$R" consume orders -n "$1" 2>> "$LOG" | sort -n | md5sum)" = "$(seq 1 "$1" | md5sum)" ]
}
has_group() {
  "$K" tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server $A --describe --group billing |
    awk '$2 == "orders" { sum += $4 } END { exit sum != 120 }'
}
has_config() { "$R" config describe topic orders | grep -q 'retention.ms.*86400000'; }
dumps() { # every file, as Kafka's tool reads it
  local files
  files=$(find "$D" -size +0 \( -name '*.log' -o -name '*.index' -o -name '*.timeindex' -o -name '*.txnindex' -o -name '*.snapshot' \) |
    paste -sd,)
  "$K" tool org.apache.kafka.tools.DumpLogSegments --files "$files" > "$W/dump" 2>&1 &&
    grep -q '^Dumping' "$W/dump" && ! grep -iE 'mismatch|isvalid: false|exception|error|corrupt|non-consecutive|out of order' "$W/dump"
}
skips_recovery() { grep -q 'Skipping recovery of .* logs' "$W/kafka/server.log" && ! grep -q 'Found corrupted' "$W/kafka/server.log"; }

ours
"$R" topic create orders --partitions 3 --config retention.ms=86400000 --config segment.bytes=1048576 >> "$LOG"
seq 1 3000 | "$R" produce orders >> "$LOG"
"$R" consume orders --group billing -n 120 > /dev/null
"$K" tool org.apache.kafka.tools.ProducerPerformance --topic perf --num-records 5000 --record-size 1000 --throughput -1 \
  --transactional-id perf --transaction-duration-ms 50 --bootstrap-server $A >> "$LOG" 2>&1
stop -TERM $ours
check stopped/dump-log dumps
kafka
check stopped/kafka-believes-it skips_recovery
check stopped/records has_records 3000
check stopped/group has_group
check stopped/config has_config
seq 3001 3500 | "$R" produce orders >> "$LOG"
stop -9 "$(kafka_pid)"
ours
check kafka-killed/records has_records 3500
check kafka-killed/group has_group
seq 3501 4000 | "$R" produce orders >> "$LOG"
stop -9 $ours
kafka
check killed/records has_records 4000
check killed/group has_group
check killed/config has_config
stop -TERM "$(kafka_pid)"
ours
check kafka-stopped/records has_records 4000
check kafka-stopped/group has_group
stop -TERM $ours
check again/dump-log dumps
echo "directory: $(grep -c pass "$TSV") of $(wc -l < "$TSV") pass"
