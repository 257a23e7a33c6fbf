#!/usr/bin/env bash
# The end of a transaction is a record in the log, in a batch whose attributes call it a marker; consumers step over it and
# nobody sees it. kafka-go does not look at the attribute: it hands out each marker as a message with a key of four bytes and a
# value of six, also when told to read committed records alone. Who parses values as text or JSON gets one that is neither.
. "$(dirname "$0")/common/kafka.sh"

start_kafka
package confluent-kafka==2.16.1
tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" --create --topic t --partitions 1 > /dev/null
"$FOLDER/python/bin/python" - "$BOOTSTRAP" <<'P'
import sys, confluent_kafka

producer = confluent_kafka.Producer({"bootstrap.servers": sys.argv[1], "transactional.id": "finding", "log_level": 0})
producer.init_transactions(60)
for value in ["first", "second"]:
    producer.begin_transaction()
    producer.produce("t", value)
    producer.commit_transaction(60)
ordinary = confluent_kafka.Producer({"bootstrap.servers": sys.argv[1]})
ordinary.produce("t", "end")
ordinary.flush(60)
P
cat > "$FOLDER/main.go" <<'G'
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/segmentio/kafka-go"
)

func main() {
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: os.Args[1:], Topic: "t", IsolationLevel: kafka.ReadCommitted})
	for value := ""; value != "end"; {
		message, err := reader.ReadMessage(context.Background())
		if err != nil {
			panic(err)
		}
		value = string(message.Value)
		fmt.Printf("%d: key %x, value %q\n", message.Offset, message.Key, message.Value)
	}
}
G
go_program github.com/segmentio/kafka-go@v0.4.51
java=$(tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$BOOTSTRAP" --topic t --partition 0 --offset earliest \
  --max-messages 3 --isolation-level read_committed | grep -x 'first\|second\|end' | xargs)
go=$(timeout 60 "$FOLDER/main" "$BOOTSTRAP")
echo "Java: $java"
echo "kafka-go v0.4.51:"
echo "$go"
holds "Kafka's consumer reads three records" test "$java" = "first second end"
holds "kafka-go reads five" test "$(wc -l <<< "$go")" -eq 5
for offset in 1 3; do
  holds "the marker at offset $offset is one of them" contains "$go" "$offset: key 00000001, value \"\\x00\\x00\\x00\\x00\\x00\\x00\""
done
