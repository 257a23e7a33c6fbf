#!/usr/bin/env bash
# log.cleaner.threads is documented as 0 or more, and a running broker takes changes between half and double of what it
# has. 0 passes the first check; the second one divides by the new value, and the tool says "/ by zero".
. "$(dirname "$0")/common/kafka.sh"
change() { tool kafka.admin.ConfigCommand --bootstrap-server "$BOOTSTRAP" --alter --entity-type brokers --entity-name 1 --add-config "$1" || true; }

start_kafka
none=$(change log.cleaner.threads=0)
many=$(change log.cleaner.threads=3)
echo "0: $(grep -m1 -o 'InvalidRequestException.*' <<< "$none")"
echo "3: $(grep -m1 -o 'InvalidRequestException.*' <<< "$many")"
holds "3 of 1 is refused with a sentence" contains "$many" "cannot be increased to more than double the current value 1"
holds "0 with what went wrong inside" contains "$none" "InvalidRequestException: / by zero"
