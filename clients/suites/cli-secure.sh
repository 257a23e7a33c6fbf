#!/bin/bash
# The checks of cli.sh over SASL_SSL, by somebody who logs in by SCRAM-SHA-512 and may do everything, against a broker of its own
# (BROKER_BINARY) with an authorizer: nobody else may do anything.
set -- none "${2:?usage: $0 - outdir}"
. "$(dirname "$0")/lib.sh"
CONFIG=$OUT/cli-secure.properties; SAID=$OUT/cli-secure.out; : > "$SAID"
RUST_LOG=warn "${BROKER_BINARY:?}" --strict --port 0 --http-port 0 --tls-self-signed --user admin:admin-secret \
  -c num.partitions=1 -c group.initial.rebalance.delay.ms=0 -c super.users=User:admin \
  -c authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer > "$SAID" 2> "$OUT/cli-secure-broker.log" & broker=$!
trap 'kill $broker' EXIT
for _ in {1..100}; do grep -q '"ready":true' "$SAID" && break; sleep 0.1; done
sed -n '/BEGIN CERTIFICATE/,/END CERTIFICATE/p' "$SAID" > "$OUT/cli-secure-ca.pem"
cat > "$CONFIG" <<P
security.protocol=SASL_SSL
ssl.truststore.type=PEM
ssl.truststore.location=$OUT/cli-secure-ca.pem
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="admin-secret";
P
port=$(sed -n 's/.*"bootstrap":"[^"]*:\([0-9]*\)".*/\1/p' "$SAID"); inner=$(mktemp -d)
CLIENT_CONFIG=$CONFIG WITH_ACLS=1 "$HERE/cli.sh" "localhost:$port" "$inner"
mv "$inner/cli.tsv" "$OUT/cli-secure.tsv"; mv "$inner/cli.log" "$OUT/cli-secure.log"; rm -r "$inner"
