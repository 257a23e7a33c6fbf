#!/usr/bin/env bash
# kafka-get-offsets --time max-timestamp tells the offset of the record with the largest timestamp. After DeleteRecords it
# may be below the partition's first offset: the answer comes from what a segment remembers, and that outlives its records.
. "$(dirname "$0")/common/kafka.sh"
offset() { tool org.apache.kafka.tools.GetOffsetShell --bootstrap-server "$BOOTSTRAP" --topic t --time "$1"; }

start_kafka
package confluent-kafka==2.16.1
"$FOLDER/python/bin/python" - "$BOOTSTRAP" <<'P'
import sys, time
from confluent_kafka import Producer

producer = Producer({"bootstrap.servers": sys.argv[1]})
now = int(time.time() * 1000)
for age in [0, 2000, 1000]:
    producer.produce("t", b"value", timestamp=now - age)
    producer.flush(30)
P
cat > "$FOLDER/records.json" <<J
{"partitions": [{"topic": "t", "partition": 0, "offset": 2}], "version": 1}
J
tool org.apache.kafka.tools.DeleteRecordsCommand --bootstrap-server "$BOOTSTRAP" --offset-json-file "$FOLDER/records.json"
earliest=$(offset earliest) newest=$(offset max-timestamp)
echo "earliest: $earliest, with the largest timestamp: $newest"
holds "the partition begins at offset 2" test "$earliest" = t:0:2
holds "its newest record is told to be at offset 0" test "$newest" = t:0:0
