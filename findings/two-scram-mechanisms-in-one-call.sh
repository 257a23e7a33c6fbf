#!/usr/bin/env bash
# kafka-configs takes several configs in one --add-config, and refuses a user's two SCRAM mechanisms there: the request
# names the user twice, which is a duplicate to the broker. Two calls do; kafka-storage format takes both at once.
. "$(dirname "$0")/common/kafka.sh"
configs() { tool kafka.admin.ConfigCommand --bootstrap-server "$BOOTSTRAP" --entity-type users --entity-name ann "$@"; }

start_kafka
echo "kafka-configs $(configs --version)"
sha256='SCRAM-SHA-256=[iterations=4096,password=a-password]' sha512='SCRAM-SHA-512=[iterations=4096,password=a-password]'
status=0
answer=$(configs --alter --add-config "$sha256,$sha512") || status=$?
echo "$answer" | grep -m1 Exception
holds "both at once is DUPLICATE_RESOURCE" contains "$answer" DuplicateResourceException
holds "and the exit code tells" test "$status" -ne 0
holds "neither is stored" lacks "$(configs --describe)" "SCRAM-SHA"
configs --alter --add-config "$sha256"
configs --alter --add-config "$sha512"
described=$(configs --describe)
echo "$described"
holds "one after the other is fine" contains "$described" "SCRAM-SHA-512=iterations=4096"
