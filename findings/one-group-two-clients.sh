#!/usr/bin/env bash
# A member of a group says in its subscription which version it writes. @platformatic/kafka says 1 by default and leaves
# out the field that version 1 added, so that whoever leads the group cannot read it: a Java consumer that shares a group
# with it gives up with an error as soon as it joins. The broker only passes the bytes on.
. "$(dirname "$0")/common/kafka.sh"

start_kafka
node_packages @platformatic/kafka@1.35.0
tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" --create --topic t --partitions 2 > /dev/null
cat > "$FOLDER/join.mjs" <<'J'
import { Consumer } from '@platformatic/kafka'

const consumer = new Consumer({
  clientId: 'finding', groupId: 'shared', bootstrapBrokers: [process.argv[2]],
  sessionTimeout: 10000, rebalanceTimeout: 10000, heartbeatInterval: 500
})
const stream = await consumer.consume({ topics: ['t'], autocommit: false })
stream.on('data', () => {})
console.log('platformatic is in, with', consumer.assignments.flatMap(of => of.partitions).length, 'of 2 partitions')
process.exit(0)
J
tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$BOOTSTRAP" --topic t --group shared --timeout-ms 40000 \
  --command-property partition.assignment.strategy=org.apache.kafka.clients.consumer.RoundRobinAssignor > "$FOLDER/java.log" 2>&1 &
java=$!
deadline=$((SECONDS + 30))
until grep -qs "group shared in Stable state\|Stabilized group shared" "$FOLDER/kafka/server.log"; do
  [ $SECONDS -lt $deadline ] || { tail "$FOLDER/java.log"; exit 2; }
  sleep 0.2
done
timeout 60 node "$FOLDER/join.mjs" "$BOOTSTRAP"
wait $java || true
seen=$(grep -o 'SchemaException.*\|BufferUnderflowException.*' "$FOLDER/java.log" | sort -u)
echo "the Java consumer: $seen"
holds "the Java consumer ended with an error about the subscription" contains "$seen" "BufferUnderflowException"
