#!/usr/bin/env bash
# An ACL's host is an address, a network in CIDR notation, or * alone. 127.0.0.* is accepted without a word, listed, and
# matches nobody.
. "$(dirname "$0")/common/kafka.sh"
acls() { tool org.apache.kafka.tools.AclCommand --bootstrap-server "$BOOTSTRAP" "$@"; }
jaas='org.apache.kafka.common.security.plain.PlainLoginModule required username="ann" password="secret" user_ann="secret";'

PORT=$(free_port)
start_kafka authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer super.users=User:ANONYMOUS \
  "listeners=PLAINTEXT://127.0.0.1:$PORT,CONTROLLER://127.0.0.1:$((PORT + 1)),SASL_PLAINTEXT://127.0.0.1:$((PORT + 2))" \
  "advertised.listeners=PLAINTEXT://127.0.0.1:$PORT,SASL_PLAINTEXT://127.0.0.1:$((PORT + 2))" \
  sasl.enabled.mechanisms=PLAIN "listener.name.sasl_plaintext.plain.sasl.jaas.config=$jaas"
cat > "$FOLDER/ann" <<P
security.protocol=SASL_PLAINTEXT
sasl.mechanism=PLAIN
sasl.jaas.config=$jaas
P
as_ann() { tool org.apache.kafka.tools.TopicCommand --bootstrap-server "127.0.0.1:$((PORT + 2))" --command-config "$FOLDER/ann" --list; }
echo "kafka-acls $(acls --version)"
tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" --create --topic t --partitions 1

acls --add --allow-principal User:ann --allow-host '127.0.0.*' --operation Describe --topic t > /dev/null
holds "127.0.0.* is stored as it is" contains "$(acls --list --topic t)" 'host=127.0.0.*'
holds "and lets nobody in" test -z "$(as_ann)"
acls --add --allow-principal User:ann --allow-host 127.0.0.0/24 --operation Describe --topic t > /dev/null
holds "127.0.0.0/24 does" test "$(as_ann)" = t
