#!/usr/bin/env bash
# @platformatic/kafka hashes keys with murmur2, as Java's producer does, and still puts nearly half of them into other
# partitions than Java, aiokafka and KafkaJS do. Two writers of the two kinds give one key two orders.
. "$(dirname "$0")/common/kafka.sh"

start_kafka
package confluent-kafka==2.16.1 aiokafka==0.14.0
node_packages kafkajs@2.2.4 @platformatic/kafka@1.35.0
tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" --create --topic t --partitions 12 > /dev/null
cat > "$FOLDER/write.mjs" <<'J'
import { Kafka, logLevel, Partitioners } from 'kafkajs'
import { Producer, stringSerializers } from '@platformatic/kafka'

const keys = Array.from({ length: 200 }, (_, i) => `key-${i}`)
const kafkajs = new Kafka({ brokers: [process.argv[2]], logLevel: logLevel.NOTHING })
  .producer({ createPartitioner: Partitioners.DefaultPartitioner })
await kafkajs.connect()
await kafkajs.send({ topic: 't', messages: keys.map(key => ({ key, value: 'kafkajs' })) })
await kafkajs.disconnect()
const platformatic = new Producer({ clientId: 'finding', bootstrapBrokers: [process.argv[2]], serializers: stringSerializers })
await platformatic.send({ messages: keys.map(key => ({ topic: 't', key, value: 'platformatic' })) })
await platformatic.close()
J
cat > "$FOLDER/java.txt" <<J
$(for i in {0..199}; do echo "key-$i:java"; done)
J
tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$BOOTSTRAP" --topic t \
  --reader-property parse.key=true --reader-property key.separator=: < "$FOLDER/java.txt"
node "$FOLDER/write.mjs" "$BOOTSTRAP"
seen=$("$FOLDER/python/bin/python" - "$BOOTSTRAP" <<'P'
import asyncio, collections, sys
import aiokafka, confluent_kafka

async def write():
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=sys.argv[1])
    await producer.start()
    for i in range(200):
        await producer.send("t", key=b"key-%d" % i, value=b"aiokafka")
    await producer.stop()

asyncio.run(write())
consumer = confluent_kafka.Consumer(
    {"bootstrap.servers": sys.argv[1], "group.id": "finding", "auto.offset.reset": "earliest", "enable.partition.eof": True}
)
consumer.assign([confluent_kafka.TopicPartition("t", partition, 0) for partition in range(12)])
went, ended = collections.defaultdict(dict), 0
while ended < 12:
    message = consumer.poll(30)
    if message is None:
        sys.exit("no answer")
    if message.error():
        ended += 1
    else:
        went[message.value().decode()][message.key()] = message.partition()
java = went["java"]
for client in ("kafkajs", "aiokafka", "platformatic"):
    print(client, "agrees with Java on", sum(went[client][key] == java[key] for key in java), "of", len(java), "keys")
P
)
echo "$seen"
holds "KafkaJS writes where Java does" contains "$seen" "kafkajs agrees with Java on 200 of 200 keys"
holds "so does aiokafka" contains "$seen" "aiokafka agrees with Java on 200 of 200 keys"
holds "platformatic does not" lacks "$seen" "platformatic agrees with Java on 200 of 200 keys"
