#!/bin/bash
# Rustka where everybody has to log in, with 1,000 ACLs, among them those of alice, as whom kbench logs in (FOLDER/login).
mkdir -p "$2"; ulimit -n "$(ulimit -Hn)"
echo alice:alice-secret > "$2/login"
{
  printf 'users:\n  - name: alice\n    password: alice-secret\nacls:\n'
  printf '  - principal: User:alice\n    allow: [all]\n    topic: "*"\n  - principal: User:alice\n    allow: [all]\n    cluster: true\n'
  for n in {1..499}; do
    printf '  - principal: User:u%d\n    allow: [read, write]\n    topic: other-%d\n' $n $n
  done
} > "$2/init.yaml"
echo "$EPOCHREALTIME" > "$2/t0"
exec "${RUSTKA_BIN:?}" --http-port 0 --memory-limit "${RUSTKA_MEMORY:-8G}" --init-file "$2/init.yaml" \
  -c "listeners=SASL_PLAINTEXT://127.0.0.1:$1" \
  -c authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer ${RUSTKA_FLAGS:-} >"$2/server.log" 2>&1
