#!/usr/bin/env bash
# Three of Kafka's tools print an error and end with exit code 0, so that no script notices: kafka-consumer-groups for
# groups that are not there and for a time in ISO 8601 with a Z but without milliseconds, and kafka-delete-records.
. "$(dirname "$0")/common/kafka.sh"
groups() { tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$BOOTSTRAP" "$@"; }

start_kafka
tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" --create --topic t --partitions 1
echo "kafka-consumer-groups $(groups --version)"

status=0
answer=$(groups --delete --group nobody) || status=$?
echo "$answer" | grep "nobody"
holds "deleting a group that is not there fails with exit code 0" test "$status" -eq 0
holds "although it says that it failed" contains "$answer" "could not be deleted"

status=0
answer=$(groups --reset-offsets --group g --topic t --to-datetime 2024-01-01T00:00:00Z --execute) || status=$?
echo "$answer" | grep -m1 Error
holds "2024-01-01T00:00:00Z is no time, exit code 0" test "$status" -eq 0
holds "which it says" contains "$answer" "Unparseable date"
answer=$(groups --reset-offsets --group g --topic t --to-datetime 2024-01-01T00:00:00.000 --execute)
holds "2024-01-01T00:00:00.000 is one" lacks "$answer" Error

cat > "$FOLDER/records.json" <<J
{"partitions": [{"topic": "t", "partition": 0, "offset": 5}], "version": 1}
J
status=0
answer=$(tool org.apache.kafka.tools.DeleteRecordsCommand --bootstrap-server "$BOOTSTRAP" --offset-json-file "$FOLDER/records.json") || status=$?
echo "$answer" | grep error
holds "records that could not be deleted are exit code 0" test "$status" -eq 0
holds "although the offset is told to be out of range" contains "$answer" OffsetOutOfRange
