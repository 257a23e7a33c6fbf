#!/usr/bin/env bash
# A producer that aborts more than once: @platformatic/kafka, which reads committed records alone unless told otherwise,
# leaves out the last of its aborted transactions in an answer and hands the earlier ones to the reader. KafkaJS, aiokafka
# and kafka-python leave out all of them.
. "$(dirname "$0")/common/kafka.sh"

start_kafka
package confluent-kafka==2.16.1 kafka-python==3.0.12 aiokafka==0.14.0
node_packages kafkajs@2.2.4 @platformatic/kafka@1.35.0
tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" --create --topic t --partitions 1 > /dev/null
"$FOLDER/python/bin/python" - "$BOOTSTRAP" <<'P'
import sys, confluent_kafka

producer = confluent_kafka.Producer({"bootstrap.servers": sys.argv[1], "transactional.id": "finding", "log_level": 0})
producer.init_transactions(30)
def transaction(value, end):
    producer.begin_transaction()
    producer.produce("t", value)
    producer.flush(30)
    end(30)
transaction(b"aborted-1", producer.abort_transaction)
transaction(b"committed", producer.commit_transaction)
transaction(b"aborted-2", producer.abort_transaction)
transaction(b"end", producer.commit_transaction)
P
cat > "$FOLDER/read.mjs" <<'J'
import { Kafka, logLevel } from 'kafkajs'
import { Consumer, FetchIsolationLevels, MessagesStreamModes, stringDeserializers } from '@platformatic/kafka'

const brokers = [process.argv[2]]
const kafkajs = new Kafka({ brokers, logLevel: logLevel.NOTHING }).consumer({ groupId: 'kafkajs', readUncommitted: false })
await kafkajs.connect()
await kafkajs.subscribe({ topic: 't', fromBeginning: true })
const read = []
await new Promise(resolve => kafkajs.run({
  eachMessage: async ({ message }) => { if (read.push(String(message.value)) && read.at(-1) === 'end') resolve() }
}))
console.log('kafkajs:', read.join(' '))
await kafkajs.disconnect()
const platformatic = new Consumer({
  clientId: 'finding', groupId: 'platformatic', bootstrapBrokers: brokers, deserializers: stringDeserializers,
  isolationLevel: FetchIsolationLevels.READ_COMMITTED
})
const seen = []
for await (const message of await platformatic.consume({ topics: ['t'], mode: MessagesStreamModes.EARLIEST, autocommit: false })) {
  if (seen.push(message.value) && message.value === 'end') break
}
console.log('platformatic:', seen.join(' '))
process.exit(0)
J
cat > "$FOLDER/read.py" <<'P'
import asyncio, sys
import aiokafka, kafka

options = dict(bootstrap_servers=sys.argv[1], isolation_level="read_committed", auto_offset_reset="earliest")
read = []
for message in kafka.KafkaConsumer("t", **options):
    read.append(message.value.decode())
    if read[-1] == "end":
        break
print("kafka-python:", *read)
async def of_aiokafka():
    consumer, seen = aiokafka.AIOKafkaConsumer("t", **options), []
    await consumer.start()
    while not seen or seen[-1] != "end":
        seen.append((await consumer.getone()).value.decode())
    await consumer.stop()
    print("aiokafka:", *seen)
asyncio.run(of_aiokafka())
P
seen=$(timeout 60 node "$FOLDER/read.mjs" "$BOOTSTRAP" && timeout 60 "$FOLDER/python/bin/python" "$FOLDER/read.py" "$BOOTSTRAP" 2> "$FOLDER/python.log")
echo "$seen"
for client in kafkajs kafka-python aiokafka; do
  holds "$client reads what was committed" contains "$seen" "$client: committed end"
done
holds "platformatic reads the first aborted record too" contains "$seen" "platformatic: aborted-1 committed end"
