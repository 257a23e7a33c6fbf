#!/usr/bin/env bash
# In a topic with message.timestamp.type=LogAppendTime the broker's time is the time of every record. It stands in the batch
# alone, beside an attribute that says so: the records keep the time that their producer gave them. @platformatic/kafka and
# kafka-go do not look at the attribute and tell the producer's time, here that of a clock a month late. Kafka's consumer,
# librdkafka, KafkaJS, aiokafka and kafka-python tell the broker's.
. "$(dirname "$0")/common/kafka.sh"

start_kafka
package confluent-kafka==2.16.1 kafka-python==3.0.12 aiokafka==0.14.0
node_packages kafkajs@2.2.4 @platformatic/kafka@1.35.0
tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" --create --topic t --partitions 1 \
  --config message.timestamp.type=LogAppendTime > /dev/null
cat > "$FOLDER/clients.py" <<'P'
import asyncio, sys, time
import aiokafka, confluent_kafka, kafka

servers, late = sys.argv[1], int(time.time() * 1000) - 30 * 24 * 3600 * 1000
producer = confluent_kafka.Producer({"bootstrap.servers": servers})
producer.produce("t", b"value", timestamp=late)
producer.flush(30)
consumer = confluent_kafka.Consumer({"bootstrap.servers": servers, "group.id": "finding"})
consumer.assign([confluent_kafka.TopicPartition("t", 0, 0)])
print("librdkafka", consumer.poll(30).timestamp()[1])
consumer.close()
options = dict(bootstrap_servers=servers, auto_offset_reset="earliest")
print("kafka-python", next(kafka.KafkaConsumer("t", **options)).timestamp)
async def of_aiokafka():
    reader = aiokafka.AIOKafkaConsumer("t", **options)
    await reader.start()
    print("aiokafka", (await reader.getone()).timestamp)
    await reader.stop()
asyncio.run(of_aiokafka())
P
cat > "$FOLDER/read.mjs" <<'J'
import { Kafka, logLevel } from 'kafkajs'
import { Consumer, MessagesStreamModes } from '@platformatic/kafka'

const brokers = [process.argv[2]]
const kafkajs = new Kafka({ brokers, logLevel: logLevel.NOTHING }).consumer({ groupId: 'kafkajs' })
await kafkajs.connect()
await kafkajs.subscribe({ topic: 't', fromBeginning: true })
await new Promise(resolve => kafkajs.run({ eachMessage: async ({ message }) => resolve(console.log('kafkajs', message.timestamp)) }))
await kafkajs.disconnect()
const platformatic = new Consumer({ clientId: 'finding', groupId: 'platformatic', bootstrapBrokers: brokers })
for await (const message of await platformatic.consume({ topics: ['t'], mode: MessagesStreamModes.EARLIEST, autocommit: false })) {
  console.log('platformatic', String(message.timestamp))
  break
}
process.exit(0)
J
cat > "$FOLDER/main.go" <<'G'
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/segmentio/kafka-go"
)

func main() {
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: os.Args[1:], Topic: "t"})
	message, err := reader.ReadMessage(context.Background())
	if err != nil {
		panic(err)
	}
	fmt.Println("kafka-go", message.Time.UnixMilli())
}
G
go_program github.com/segmentio/kafka-go@v0.4.51
times=$(
  timeout 60 "$FOLDER/python/bin/python" "$FOLDER/clients.py" "$BOOTSTRAP" 2> "$FOLDER/python.log"
  timeout 60 node "$FOLDER/read.mjs" "$BOOTSTRAP"
  timeout 60 "$FOLDER/main" "$BOOTSTRAP"
  tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$BOOTSTRAP" --topic t --partition 0 --offset earliest \
    --max-messages 1 --formatter-property print.timestamp=true | sed -n 's/^LogAppendTime:\([0-9]*\)\t.*/java \1/p'
)
yesterday=$(($(date +%s) * 1000 - 24 * 3600 * 1000))
seen=$(while read -r client time; do [ "$time" -gt "$yesterday" ] && echo "$client: broker" || echo "$client: producer"; done <<< "$times")
echo "$seen"
for client in java librdkafka kafkajs aiokafka kafka-python; do
  holds "$client tells the broker's time" contains "$seen" "$client: broker"
done
for client in platformatic kafka-go; do
  holds "$client tells the producer's" contains "$seen" "$client: producer"
done
