#!/bin/bash
# Rustka with three doors: the port without a name, 1,000 above it TLS, 2,000 above it a login by SCRAM-SHA-256. Whoever
# has no name may do everything; all others are looked up in the ACLs.
mkdir -p "$2"; ulimit -n "$(ulimit -Hn)"
. "$(dirname "$0")/certificates.sh"; certificates "$2" || exit 1
echo "$EPOCHREALTIME" > "$2/t0"
at=127.0.0.1
exec "${RUSTKA_BIN:?}" --http-port 0 --memory-limit "${RUSTKA_MEMORY:-8G}" \
  -c "listeners=PLAINTEXT://$at:$1,SSL://$at:$(($1 + 1000)),SASL_PLAINTEXT://$at:$(($1 + 2000))" \
  -c ssl.keystore.type=PEM -c "ssl.keystore.location=$2/own.pem" -c sasl.enabled.mechanisms=SCRAM-SHA-256 \
  -c authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer \
  -c super.users=User:ANONYMOUS -c allow.everyone.if.no.acl.found=true ${RUSTKA_FLAGS:-} >"$2/server.log" 2>&1
