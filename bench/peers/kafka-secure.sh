#!/bin/bash
# Apache Kafka with the three doors of rustka-secure.
ulimit -n "$(ulimit -Hn)"; mkdir -p "$2"
. "$(dirname "$0")/certificates.sh"; certificates "$2" || exit 1
echo "$EPOCHREALTIME" > "$2/t0"
at=127.0.0.1; doors="SSL://$at:$(($1 + 1000)),SASL_PLAINTEXT://$at:$(($1 + 2000))"
exec "$(dirname "$0")/../../clients/oracle/kafka" start "$1" "$2" \
  "listeners=PLAINTEXT://$at:$1,CONTROLLER://$at:$(($1 + 1)),$doors" "advertised.listeners=PLAINTEXT://$at:$1,$doors" \
  ssl.keystore.type=PEM "ssl.keystore.location=$2/own.pem" sasl.enabled.mechanisms=SCRAM-SHA-256 \
  "listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;" \
  authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer \
  super.users=User:ANONYMOUS allow.everyone.if.no.acl.found=true ${KAFKA_EXTRA:-}
