#!/usr/bin/env bash
# DeleteRecords is answered with the partition's new first offset, and readers begin there at once. The offset is written down
# later, once a minute (log.flush.start.offset.checkpoint.interval.ms) or by an orderly stop. A broker that is killed before
# that, and is alone with the partition, has the deleted records again and hands them out.
. "$(dirname "$0")/common/kafka.sh"
first() { tool org.apache.kafka.tools.GetOffsetShell --bootstrap-server "$BOOTSTRAP" --topic "$1" --time earliest; }
read_all() { # read_all TOPIC COUNT
  tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$BOOTSTRAP" --topic "$1" --partition 0 --offset earliest \
    --max-messages "$2" --timeout-ms 30000 | grep '^record' | xargs
}
write_and_delete() { # write_and_delete TOPIC: three records, the first two of them deleted
  cat > "$FOLDER/records.json" <<J
{"partitions": [{"topic": "$1", "partition": 0, "offset": 2}], "version": 1}
J
  tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" --create --topic "$1" --partitions 1 > /dev/null
  printf 'record-%s\n' 0 1 2 | tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$BOOTSTRAP" --topic "$1"
  local answer
  answer=$(tool org.apache.kafka.tools.DeleteRecordsCommand --bootstrap-server "$BOOTSTRAP" --offset-json-file "$FOLDER/records.json")
  echo "$answer" | grep low_watermark
  holds "the deletion in $1 is acknowledged" contains "$answer" "low_watermark: 2"
}

start_kafka
write_and_delete stopped
stop_kafka
start_kafka log.initial.task.delay.ms=300000 # the minute does not end in the middle of this, however slow the machine
write_and_delete killed
seen=$(read_all killed 1)
echo "read: $seen"
holds "its records are gone" test "$seen" = record-2
kill -9 "$KAFKA_PID"
wait "$KAFKA_PID" 2> /dev/null || true
start_kafka
stopped=$(first stopped) killed=$(first killed) seen=$(read_all killed 3)
echo "first offsets: $stopped $killed, read: $seen"
holds "an orderly stop keeps the deletion" test "$stopped" = stopped:0:2
holds "a kill undoes it" test "$killed" = killed:0:0
holds "and the deleted records are read" test "$seen" = "record-0 record-1 record-2"
