#!/usr/bin/env bash
# A Kafka that is started by mistake on the directory of one that runs says "Failed to acquire lock" and ends. By then it has
# written: its controller has made itself leader of a new epoch and appended to the metadata log of the other, which goes
# on with the epoch before.
. "$(dirname "$0")/common/kafka.sh"
METADATA=$FOLDER/kafka/logs/__cluster_metadata-0
epoch() { grep -o '"leaderEpoch":[0-9]*' "$METADATA/quorum-state"; }
leaders() {
  tool org.apache.kafka.tools.DumpLogSegments --cluster-metadata-decoder --files "$METADATA/00000000000000000000.log" |
    grep -c LeaderChange || true
}

start_kafka
before="$(epoch), LeaderChange records: $(leaders)"
# The same directory, other ports: nothing else is in its way.
mkdir -p "$FOLDER/second/logs"
touch "$FOLDER/second/logs/meta.properties"
"$REPOSITORY/clients/oracle/kafka" start "$(free_port)" "$FOLDER/second" "log.dirs=$FOLDER/kafka/logs" & second=$!
deadline=$((SECONDS + 60))
until grep -qs 'Failed to acquire lock' "$FOLDER/second/server.log"; do
  [ $SECONDS -lt $deadline ] || { tail "$FOLDER/second/server.log"; exit 2; }
  sleep 0.2
done
# It may take its time to end.
kill -9 $second 2> /dev/null || true
wait $second 2> /dev/null || true
after="$(epoch), LeaderChange records: $(leaders)"
grep -om1 'Failed to acquire lock.*' "$FOLDER/second/server.log"
echo "before it: $before"
echo "after it: $after"
holds "the second one never served" lacks "$(cat "$FOLDER/second/server.log")" "Kafka Server started"
holds "one leader was known before it" test "$before" = '"leaderEpoch":1, LeaderChange records: 1'
holds "and another one is written down after it" test "$after" = '"leaderEpoch":2, LeaderChange records: 2'
