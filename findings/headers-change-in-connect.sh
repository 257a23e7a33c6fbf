#!/usr/bin/env bash
# Connect's header converter, unless another one is named, guesses what a header is: the id 0007 arrives as 7, the version 1.10
# as 1.1, the commit 12e45 as 1.2E46, midnight in ISO 8601 as a date. And it writes bytes as base64: MirrorMaker's source
# connector in a worker that copies keys and values as bytes delivers the header 0007 as MDAwNw==.
. "$(dirname "$0")/common/kafka.sh"
cat > "$FOLDER/Guess.java" <<'J'
import org.apache.kafka.connect.storage.SimpleHeaderConverter;

public class Guess {
    public static void main(String[] arguments) {
        var converter = new SimpleHeaderConverter();
        for (var text : arguments) {
            var header = converter.toConnectHeader("t", "h", text.getBytes());
            System.out.println(text + " -> " + new String(converter.fromConnectHeader("t", "h", header.schema(), header.value())));
        }
    }
}
J
seen=$(java -cp "$("$REPOSITORY/clients/oracle/kafka" classpath mirror)" "$FOLDER/Guess.java" \
  first 0007 1.10 12e45 2024-01-01T00:00:00.000Z 2>> "$FOLDER/connect.log")
echo "$seen"
holds "a word stays" contains "$seen" "first -> first"
holds "0007 loses its zeros" contains "$seen" "0007 -> 7"
holds "1.10 loses one" contains "$seen" "1.10 -> 1.1"$'\n'
holds "12e45 is a number" contains "$seen" "12e45 -> 1.2E46"
holds "midnight is a date" contains "$seen" "2024-01-01T00:00:00.000Z -> 2024-01-01"

start_kafka
leave_both() {
  [ -z "${CONNECT_PID:-}" ] || { kill "$CONNECT_PID" && wait "$CONNECT_PID"; } 2> /dev/null || true
  leave
}
trap leave_both EXIT
for topic in t source.t; do
  tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" --create --topic "$topic" --partitions 1 > /dev/null
done
printf 'id:0007\tvalue\n' |
  tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$BOOTSTRAP" --topic t --reader-property parse.headers=true
cat > "$FOLDER/worker.properties" <<P
bootstrap.servers=$BOOTSTRAP
key.converter=org.apache.kafka.connect.converters.ByteArrayConverter
value.converter=org.apache.kafka.connect.converters.ByteArrayConverter
offset.storage.file.filename=$FOLDER/offsets
listeners=HTTP://127.0.0.1:$((PORT + 2))
P
cat > "$FOLDER/mirror.properties" <<P
name=mirror
connector.class=org.apache.kafka.connect.mirror.MirrorSourceConnector
source.cluster.alias=source
target.cluster.alias=target
source.cluster.bootstrap.servers=$BOOTSTRAP
target.cluster.bootstrap.servers=$BOOTSTRAP
topics=t
replication.factor=1
offset-syncs.topic.replication.factor=1
P
java -Xmx512m -cp "$("$REPOSITORY/clients/oracle/kafka" classpath mirror)" org.apache.kafka.connect.cli.ConnectStandalone \
  "$FOLDER/worker.properties" "$FOLDER/mirror.properties" > "$FOLDER/connect.log" 2>&1 &
CONNECT_PID=$!
read_one() {
  tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$BOOTSTRAP" --topic "$1" --partition 0 --offset earliest \
    --max-messages 1 --timeout-ms 90000 --formatter-property print.headers=true | grep '^id:' | tr '\t' ' '
}
original=$(read_one t) copy=$(read_one source.t)
echo "$original, copied by MirrorMaker 4.3.1: $copy"
holds "the header was 0007" test "$original" = "id:0007 value"
holds "its copy is base64" test "$copy" = "id:MDAwNw== value"
