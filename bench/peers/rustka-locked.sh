#!/bin/bash
# Rustka where everybody has to log in, with 1,000 ACLs, among them those of alice, as whom kbench logs in (rustka-locked.login).
mkdir -p "$2"; ulimit -n "$(ulimit -Hn)"
IFS=: read -r user password < "$(dirname "$0")/rustka-locked.login"
{
  printf 'users:\n  - name: %s\n    password: %s\nacls:\n' "$user" "$password"
  printf '  - principal: User:%s\n    allow: [all]\n    topic: "*"\n  - principal: User:%s\n    allow: [all]\n    cluster: true\n' \
    "$user" "$user"
  for n in {1..499}; do
    printf '  - principal: User:u%d\n    allow: [read, write]\n    topic: other-%d\n' $n $n
  done
} > "$2/init.yaml"
echo "$EPOCHREALTIME" > "$2/t0"
exec "${RUSTKA_BIN:?}" --http-port 0 --memory-limit "${RUSTKA_MEMORY:-8G}" --init-file "$2/init.yaml" \
  -c "listeners=SASL_PLAINTEXT://127.0.0.1:$1" \
  -c authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer ${RUSTKA_FLAGS:-} >"$2/server.log" 2>&1
