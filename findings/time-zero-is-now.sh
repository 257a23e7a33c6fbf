#!/usr/bin/env bash
# A record may have any time from 0 on, the first millisecond of 1970; some tools write 0 where they know none. Two clients take a
# 0 that is given for none given, and write the time of now instead, without a word: librdkafka and KafkaJS. Java's, aiokafka
# and kafka-python write 0.
. "$(dirname "$0")/common/kafka.sh"

start_kafka
package confluent-kafka==2.16.1 kafka-python==3.0.12 aiokafka==0.14.0
node_packages kafkajs@2.2.4
tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" --create --topic t --partitions 1 > /dev/null
cat > "$FOLDER/Write.java" <<'J'
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

public class Write {
    public static void main(String[] arguments) {
        var text = new StringSerializer();
        try (var producer = new KafkaProducer<>(Map.of("bootstrap.servers", arguments[0]), text, text)) {
            producer.send(new ProducerRecord<>("t", null, 0L, null, "java"));
        }
    }
}
J
java -cp "$("$REPOSITORY/clients/oracle/kafka" classpath tools)" "$FOLDER/Write.java" "$BOOTSTRAP" 2> "$FOLDER/java.log"
cat > "$FOLDER/write.mjs" <<'J'
import { Kafka, logLevel } from 'kafkajs'

const producer = new Kafka({ brokers: [process.argv[2]], logLevel: logLevel.NOTHING }).producer()
await producer.connect()
await producer.send({ topic: 't', messages: [{ value: 'kafkajs', timestamp: 0 }] })
await producer.disconnect()
J
node "$FOLDER/write.mjs" "$BOOTSTRAP"
seen=$("$FOLDER/python/bin/python" - "$BOOTSTRAP" <<'P'
import asyncio, sys
import aiokafka, confluent_kafka, kafka

servers = sys.argv[1]
librdkafka = confluent_kafka.Producer({"bootstrap.servers": servers})
librdkafka.produce("t", b"librdkafka", timestamp=0)
librdkafka.flush(30)
python = kafka.KafkaProducer(bootstrap_servers=servers)
python.send("t", b"kafka-python", timestamp_ms=0).get(30)
python.close()

async def write():
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    await producer.send_and_wait("t", b"aiokafka", timestamp_ms=0)
    await producer.stop()
asyncio.run(write())

consumer = confluent_kafka.Consumer({"bootstrap.servers": servers, "group.id": "finding", "auto.offset.reset": "earliest"})
consumer.subscribe(["t"])
times = {}
while len(times) < 5:
    for message in consumer.consume(5, 1):
        times[message.value().decode()] = message.timestamp()[1]
consumer.close()
for name, time in sorted(times.items()):
    print(f"{name}: {'0' if time == 0 else 'now'}")
P
)
echo "$seen"
for name in aiokafka java kafka-python; do
  holds "$name writes the time 0" contains "$seen" "$name: 0"
done
for name in kafkajs librdkafka; do
  holds "$name writes the time of now" contains "$seen" "$name: now"
done
