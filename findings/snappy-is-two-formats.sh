#!/usr/bin/env bash
# "snappy" in a record batch is two formats under one id. Java wraps blocks in the framing of snappy-java, which begins with
# 82 SNAPPY 00; librdkafka writes one bare block. A reader has to look at the bytes to know; the broker does not convert.
. "$(dirname "$0")/common/kafka.sh"

start_kafka
package confluent-kafka==2.16.1
line=$(printf 'the same words again and again %.0s' {1..20})
echo "$line" | tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$BOOTSTRAP" --topic java --compression-codec snappy
"$FOLDER/python/bin/python" - "$BOOTSTRAP" "$line" <<'P'
import sys
import confluent_kafka

print("librdkafka", confluent_kafka.libversion()[0])
producer = confluent_kafka.Producer({"bootstrap.servers": sys.argv[1], "compression.type": "snappy"})
producer.produce("librdkafka", sys.argv[2].encode())
producer.flush(30)
P
stop_kafka
log() { python3 -c 'import sys; d = open(sys.argv[1], "rb").read(); print("codec", d[22] & 7, "first bytes", d[61:69])' "$FOLDER/kafka/logs/$1-0/00000000000000000000.log"; }
java=$(log java) librdkafka=$(log librdkafka)
echo "java: $java"
echo "librdkafka: $librdkafka"
holds "Java's snappy is framed" test "$java" = "codec 2 first bytes b'\\x82SNAPPY\\x00'"
holds "librdkafka's has the same codec" contains "$librdkafka" "codec 2"
holds "and no frame" lacks "$librdkafka" SNAPPY
