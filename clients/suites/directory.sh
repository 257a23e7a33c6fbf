#!/bin/bash
# One data directory goes from BROKER_BINARY to Apache Kafka 4.4 and back: what one wrote the other reads, after a stop and
# after a kill, and kafka-dump-log has nothing to complain of. Then directories of older Kafkas, and one whose controllers
# vote as KIP-853 says, come here and go back. Needs Java 17 and Maven (the jars come through ../oracle/kafka); a version
# that cannot be had is named as skipped. VERSIONS has those that are tried; 4.4.0 is the first part.
set -- none "${2:?usage: $0 - outdir}"
. "$(dirname "$0")/lib.sh"
R=${BROKER_BINARY:?}; W=$(mktemp -d) ours=
VERSIONS=${VERSIONS-"4.4.0 4.4.0-standalone 4.0.0 3.6.2 3.3.2"}
K="$HERE/../oracle/kafka"; "$K" classpath server > /dev/null && "$K" classpath tools > /dev/null || exit 3
fresh_tsv directory
at() { # at NAME: the directory at hand
  N=$1 H=$W/$1 D=$W/$1/logs port=$((20000 + RANDOM % 5000 * 2)); A=127.0.0.1:$port
  export RUSTKA_BOOTSTRAP_SERVER=$A
  mkdir -p "$H"
}
kafka_pid() { pgrep -f "kafka.Kafka $H/server.properties"; }
stop_all() { kill -9 $ours $(kafka_pid) 2>/dev/null; wait 2>/dev/null; rm -rf "$W"; }
trap stop_all EXIT
wait_for() { for _ in {1..1800}; do "$@" && return; sleep 0.1; done; return 1; }
# Rights are asked for, and the metadata's log gets snapshots often and loses what they tell.
CONFIGS="authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer super.users=User:ANONYMOUS
metadata.log.max.record.bytes.between.snapshots=6000 metadata.max.retention.bytes=30000 metadata.max.idle.interval.ms=0"
ours() { # ours: it serves the directory
  rm -f "$W/out"
  RUST_LOG=info "$R" --port $port --http-port 0 --data-dir "$D" $(printf -- '-c %s ' $CONFIGS) > "$W/out" 2> "$W/err" & ours=$!
  wait_for grep -q '"ready":true' "$W/out"
  cat "$W/err" >> "$LOG"
}
kafka() { # kafka: it serves the directory
  "$K" start $port "$H" $CONFIGS >> "$LOG" 2>&1 &
  rm -f "$H/server.log"
  wait_for grep -qs 'Kafka Server started' "$H/server.log"
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
tool() { "$K" tool "$@" 2>> "$LOG"; }
has_group() {
  tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server $A --describe --group billing |
    awk '$2 == "orders" { sum += $4 } END { exit sum != 120 }'
}
has_config() { "$R" config describe topic orders | grep -q 'retention.ms.*86400000'; }
has_security() { # has_security [WITHOUT_USERS]
  local configs
  configs=$(tool kafka.admin.ConfigCommand --bootstrap-server $A --describe --entity-type users)
  echo "$configs" | grep -q "alice.*producer_byte_rate=1048576" &&
    { [ -n "${1:-}" ] || echo "$configs" | grep -q 'SCRAM-SHA-256=iterations=4096'; } &&
    tool org.apache.kafka.tools.AclCommand --bootstrap-server $A --list --topic orders | grep -q 'principal=User:alice.*operation=READ'
}
level() { # what metadata.version is
  tool org.apache.kafka.tools.FeatureCommand --bootstrap-server $A describe |
    awk '/metadata.version/ { for (i = 1; i < NF; i++) if ($i == "FinalizedVersionLevel:") print $(i + 1) }'
}
has_level() { [ -n "$1" ] && [ "$(level)" = "$1" ]; }
has_open_transaction() { # and nobody who reads what is committed sees it
  tool org.apache.kafka.tools.TransactionsCommand --bootstrap-server $A list | grep -q '^left-open .*Ongoing' &&
    tool org.apache.kafka.tools.TransactionsCommand --bootstrap-server $A describe-producers --topic open --partition 0 |
      awk 'NR > 1 && $6 != "None" { open = 1 } END { exit !open }'
}
dumps() { # every file, as Kafka's tool reads it
  local files
  files=$(find "$D" -size +0 \( -name '*.log' -o -name '*.index' -o -name '*.timeindex' -o -name '*.txnindex' -o -name '*.snapshot' \) |
    paste -sd,)
  tool org.apache.kafka.tools.DumpLogSegments --files "$files" > "$W/dump" 2>&1 &&
    grep -q '^Dumping' "$W/dump" && ! grep -iE 'mismatch|isvalid: false|exception|error|corrupt|non-consecutive|out of order' "$W/dump"
}
dumps_metadata() { # its log and snapshots, record by record
  local files
  files=$(find "$D/__cluster_metadata-0" -size +0 \( -name '*.log' -o -name '*.checkpoint' \) | paste -sd,)
  tool org.apache.kafka.tools.DumpLogSegments --cluster-metadata-decoder --files "$files" > "$W/dump" 2>&1 &&
    grep -q 'SnapshotHeader' "$W/dump" && grep -q 'SnapshotFooter' "$W/dump" && grep -q '"name":"orders"' "$W/dump" &&
    ! grep -iE 'mismatch|isvalid: false|exception|error|corrupt|could not' "$W/dump"
}
is_short() { # the metadata's log begins behind a snapshot
  [ ! -e "$D/__cluster_metadata-0/00000000000000000000.log" ] && [ "$(du -bc "$D"/__cluster_metadata-0/*.log "$D"/__cluster_metadata-0/*.checkpoint | awk 'END { print $1 }')" -lt 60000 ]
}
churn() { # topics that come and go, until the metadata's log has lost its beginning
  for n in {1..60}; do
    "$R" topic create passing --partitions 12 && "$R" topic delete passing || return
  done >> "$LOG" 2>&1
  wait_for test ! -e "$D/__cluster_metadata-0/00000000000000000000.log"
}
skips_recovery() { grep -q 'Skipping recovery of .* logs' "$H/server.log" && ! grep -q 'Found corrupted' "$H/server.log"; }
is_quiet() { ! grep -E 'WARN|ERROR' "$W/err"; }
is_in_use() { # nobody else gets it meanwhile
  local why status=0
  why=$("$R" --port 0 --http-port 0 --data-dir "$D" 2>&1) || status=$?
  [ $status = 1 ] && [[ $why == *"is in use by another process"* ]]
}
tells_of_kafka() { grep -q 'was last served by Apache Kafka, as node 1 of cluster' "$W/err"; }
fill() { # fill [WITHOUT_USERS]
  "$R" topic create orders --partitions 3 --config retention.ms=86400000 --config segment.bytes=1048576 >> "$LOG"
  seq 1 3000 | "$R" produce orders >> "$LOG"
  "$R" consume orders --group billing -n 120 > /dev/null
  [ -n "${1:-}" ] || tool kafka.admin.ConfigCommand --bootstrap-server $A --alter --entity-type users --entity-name alice \
    --add-config 'SCRAM-SHA-256=[iterations=4096,password=secret]' >> "$LOG"
  tool kafka.admin.ConfigCommand --bootstrap-server $A --alter --entity-type users --entity-name alice \
    --add-config producer_byte_rate=1048576 >> "$LOG"
  tool org.apache.kafka.tools.AclCommand --bootstrap-server $A --add --allow-principal User:alice --operation Read --topic orders >> "$LOG"
}
leave_open() { # a transaction whose producer is killed
  "$R" topic create open --partitions 1 >> "$LOG"
  "$K" tool org.apache.kafka.tools.ProducerPerformance --topic open --num-records 100000 --record-size 100 --throughput 200 \
    --transactional-id left-open --transaction-duration-ms 600000 --command-property transaction.timeout.ms=600000 \
    --bootstrap-server $A >> "$LOG" 2>&1 & local producer=$!
  wait_for eval '"$R" topic describe open 2>> "$LOG" | grep -q . && tool org.apache.kafka.tools.TransactionsCommand --bootstrap-server $A list | grep -q "^left-open .*Ongoing"'
  kill -9 $producer
}

there_and_back() { # a directory that is ours first
  at kafka
  ours
  fill
  "$K" tool org.apache.kafka.tools.ProducerPerformance --topic perf --num-records 5000 --record-size 1000 --throughput -1 \
    --transactional-id perf --transaction-duration-ms 50 --bootstrap-server $A >> "$LOG" 2>&1
  churn
  check stopped/metadata-is-short is_short
  leave_open
  stop -TERM $ours
  check stopped/dump-log dumps
  check stopped/dump-metadata dumps_metadata
  kafka
  check stopped/kafka-believes-it skips_recovery
  check stopped/records has_records 3000
  check stopped/group has_group
  check stopped/config has_config
  check stopped/security has_security
  check stopped/open-transaction has_open_transaction
  check stopped/in-use-by-kafka is_in_use
  seq 3001 3500 | "$R" produce orders >> "$LOG"
  stop -9 "$(kafka_pid)"
  ours
  check kafka-killed/told tells_of_kafka
  check kafka-killed/records has_records 3500
  check kafka-killed/group has_group
  check kafka-killed/security has_security
  check kafka-killed/open-transaction has_open_transaction
  seq 3501 4000 | "$R" produce orders >> "$LOG"
  stop -9 $ours
  kafka
  check killed/records has_records 4000
  check killed/group has_group
  check killed/config has_config
  check killed/security has_security
  check killed/open-transaction has_open_transaction
  stop -TERM "$(kafka_pid)"
  ours
  check kafka-stopped/quiet is_quiet
  check kafka-stopped/records has_records 4000
  check kafka-stopped/group has_group
  check kafka-stopped/security has_security
  check kafka-stopped/open-transaction has_open_transaction
  stop -TERM $ours
  check again/dump-log dumps
  check again/dump-metadata dumps_metadata
}
visits() { # visits VERSION: one that is Kafka's first
  local version=$1 without wanted
  export KAFKA_SERVER_VERSION=${version%-standalone} KAFKA_ORACLE_STANDALONE=
  [ "$version" = "$KAFKA_SERVER_VERSION" ] || KAFKA_ORACLE_STANDALONE=1
  if ! "$K" classpath server > /dev/null 2>> "$LOG"; then
    echo "directory: $version skipped, Maven does not have it"
    return
  fi
  # Users with passwords came with 3.5.
  case $version in 3.[0-4].*) without=users ;; *) without= ;; esac
  at "$version"
  kafka
  fill $without
  wanted=$(level)
  stop -TERM "$(kafka_pid)"
  ours
  check $version/told tells_of_kafka
  check $version/quiet is_quiet
  check $version/records has_records 3000
  check $version/group has_group
  check $version/config has_config
  check $version/security has_security $without
  check $version/level has_level "$wanted"
  seq 3001 3500 | "$R" produce orders >> "$LOG"
  churn
  check $version/metadata-is-short is_short
  stop -TERM $ours
  kafka
  check $version/back/records has_records 3500
  check $version/back/group has_group
  check $version/back/config has_config
  check $version/back/security has_security $without
  check $version/back/level has_level "$wanted"
  seq 3501 4000 | "$R" produce orders >> "$LOG"
  stop -9 "$(kafka_pid)"
  ours
  check $version/killed/records has_records 4000
  check $version/killed/group has_group
  stop -9 $ours
  kafka
  check $version/again/records has_records 4000
  check $version/again/group has_group
  check $version/again/security has_security $without
  stop -9 "$(kafka_pid)"
}

for version in $VERSIONS; do
  case $version in 4.4.0) there_and_back ;; *) visits "$version" ;; esac
done
echo "directory: $(grep -c pass "$TSV") of $(wc -l < "$TSV") pass"
