#!/usr/bin/env bash
# A SCRAM name may hold commas and equal signs; on the wire they are written as =2C and =3D (RFC 5802). kafka-python sends
# them as they are, and says that no broker can be reached; @platformatic/kafka replaces the first comma only.
# librdkafka, aiokafka and KafkaJS get in.
. "$(dirname "$0")/common/kafka.sh"

PORT=$(free_port)
start_kafka sasl.enabled.mechanisms=SCRAM-SHA-256 \
  "listeners=PLAINTEXT://127.0.0.1:$PORT,CONTROLLER://127.0.0.1:$((PORT + 1)),SASL_PLAINTEXT://127.0.0.1:$((PORT + 2))" \
  "advertised.listeners=PLAINTEXT://127.0.0.1:$PORT,SASL_PLAINTEXT://127.0.0.1:$((PORT + 2))" \
  "listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;"
package confluent-kafka==2.16.1 kafka-python==3.0.12 aiokafka==0.14.0
node_packages kafkajs@2.2.4 @platformatic/kafka@1.35.0
cat > "$FOLDER/login.py" <<'P'
import asyncio, sys
import aiokafka, confluent_kafka, kafka
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

plain, scram = sys.argv[1:]
names = ["ann", "ann,sales", "ann,sales,eu"]
admin = AdminClient({"bootstrap.servers": plain})
for name in names:
    new = UserScramCredentialUpsertion(name, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), b"secret")
    for done in admin.alter_user_scram_credentials([new]).values():
        done.result()

def librdkafka(name):
    AdminClient({"bootstrap.servers": scram, "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256",
                 "sasl.username": name, "sasl.password": "secret", "log_level": 0}).list_topics(timeout=10)
login = dict(bootstrap_servers=scram, security_protocol="SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-256", sasl_plain_password="secret")
def kafka_python(name):
    kafka.KafkaAdminClient(**login, sasl_plain_username=name, bootstrap_timeout_ms=5000).close()
def of_aiokafka(name):
    async def start():
        producer = aiokafka.AIOKafkaProducer(**login, sasl_plain_username=name)
        try:
            await producer.start()
        finally:
            await producer.stop()
    asyncio.run(start())
for client in (librdkafka, kafka_python, of_aiokafka):
    for name in names:
        try:
            client(name)
            print(client.__name__, name, "is in")
        except Exception as refused:
            print(client.__name__, name, "stays out:", refused)
P
cat > "$FOLDER/login.mjs" <<'J'
import { Kafka, logLevel } from 'kafkajs'
import { Admin } from '@platformatic/kafka'

for (const username of ['ann', 'ann,sales', 'ann,sales,eu']) {
  const kafkajs = new Kafka({
    brokers: [process.argv[2]], logLevel: logLevel.NOTHING, retry: { retries: 0 },
    sasl: { mechanism: 'scram-sha-256', username, password: 'secret' }
  }).admin()
  await kafkajs.connect().then(() => console.log('kafkajs', username, 'is in'), () => console.log('kafkajs', username, 'stays out'))
  await kafkajs.disconnect()
  const platformatic = new Admin({
    clientId: 'finding', bootstrapBrokers: [process.argv[2]], retries: 0,
    sasl: { mechanism: 'SCRAM-SHA-256', username, password: 'secret' }
  })
  await platformatic.metadata({}).then(() => console.log('platformatic', username, 'is in'), () => console.log('platformatic', username, 'stays out'))
  await platformatic.close().catch(() => {})
}
process.exit(0)
J
scram=127.0.0.1:$((PORT + 2))
seen=$("$FOLDER/python/bin/python" "$FOLDER/login.py" "$BOOTSTRAP" "$scram" 2> "$FOLDER/python.log") || { tail -3 "$FOLDER/python.log"; exit 2; }
seen+=$'\n'$(node "$FOLDER/login.mjs" "$scram")
echo "$seen"
for client in librdkafka of_aiokafka kafkajs; do
  holds "$client logs in with two commas" contains "$seen" "$client ann,sales,eu is in"
done
holds "kafka-python logs in without a comma" contains "$seen" "kafka_python ann is in"
holds "and not with one" contains "$seen" "kafka_python ann,sales stays out"
holds "platformatic logs in with one" contains "$seen" "platformatic ann,sales is in"
holds "and not with two" contains "$seen" "platformatic ann,sales,eu stays out"
