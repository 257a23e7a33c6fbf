#!/bin/bash
# MirrorMaker 2 (Kafka 4.3.1) copies from one broker to another, both BROKER_BINARY with logins and an authorizer: topics with
# configs and records, ACLs, and where groups are. Needs Java 17 and Maven (the jars come through ../oracle/kafka).
set -- none "${2:?usage: $0 - outdir}"
. "$(dirname "$0")/lib.sh"
R=${BROKER_BINARY:?}; W=$(mktemp -d); brokers=() mirror=
CP=$("$HERE/../oracle/kafka" classpath mirror) || exit 3
fresh_tsv mirror
stop() { kill -9 $mirror 2>/dev/null; kill "${brokers[@]}" 2>/dev/null; wait 2>/dev/null; rm -r "$W"; } # by itself it takes half a minute
trap stop EXIT
start() { # start NAME: its address is in $W/NAME.at
  RUST_LOG=warn "$R" --port 0 --http-port 0 --user mirror:mirror-secret -c super.users=User:mirror \
    -c authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer > "$W/$1.out" 2>> "$LOG" & brokers+=($!)
  for _ in {1..100}; do grep -q '"ready":true' "$W/$1.out" && break; sleep 0.1; done
  sed -n 's/.*"bootstrap":"\([^"]*\)".*/\1/p' "$W/$1.out" > "$W/$1.at"
}
start a; start b; A=$(cat "$W/a.at") B=$(cat "$W/b.at")
export RUSTKA_LOGIN=mirror:mirror-secret
a() { RUSTKA_BOOTSTRAP_SERVER=$A "$R" "$@"; }
b() { RUSTKA_BOOTSTRAP_SERVER=$B "$R" "$@"; }

a topic create orders --partitions 3 --config retention.ms=86400000 >> "$LOG"
seq 1 300 | a produce orders >> "$LOG"
a consume orders --group billing -n 120 > /dev/null
a acl allow User:alice read --topic orders >> "$LOG"
a acl allow User:bob write --topic orders >> "$LOG"
a acl allow User:carol all --topic orders >> "$LOG"
a acl deny User:eve read --topic orders >> "$LOG"

jaas='org.apache.kafka.common.security.scram.ScramLoginModule required username="mirror" password="mirror-secret";'
{
  echo clusters=a,b
  for n in a b; do
    printf '%s\n' "$n.bootstrap.servers=$(cat "$W/$n.at")" $n.security.protocol=SASL_PLAINTEXT $n.sasl.mechanism=SCRAM-SHA-256 \
      "$n.sasl.jaas.config=$jaas"
  done
  printf '%s\n' 'a->b.enabled=true' 'a->b.topics=orders' 'a->b.groups=billing' 'b->a.enabled=false' replication.factor=1 \
    {checkpoints,heartbeats,offset-syncs}.topic.replication.factor=1 {offset,status,config}.storage.replication.factor=1 \
    {refresh.topics,refresh.groups,sync.topic.configs,sync.topic.acls,sync.group.offsets,emit.checkpoints}.interval.seconds=2 \
    sync.topic.acls.enabled=true sync.group.offsets.enabled=true offset.lag.max=0 offset.flush.interval.ms=1000
} > "$W/mirror.properties"
cat > "$W/log4j2.xml" <<X
<Configuration><Appenders><Console name="C"><PatternLayout pattern="%d %p %c{1} %m%n"/></Console></Appenders><Loggers><Root level="WARN"><AppenderRef ref="C"/></Root></Loggers></Configuration>
X
java -Xmx400m -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$W/log4j2.xml" -cp "$CP" org.apache.kafka.connect.mirror.MirrorMaker \
  "$W/mirror.properties" >> "$LOG" 2>&1 & mirror=$!

end=$((SECONDS + ${MIRROR_SECONDS:-120}))
check() { # check ID COMMAND...: until it holds, or the time is over
  local id=$1 begun=$SECONDS outcome=fail; shift
  while :; do
    if "$@"; then outcome=pass; break; fi
    [ $SECONDS -lt $end ] && kill -0 $mirror 2>/dev/null || break
    sleep 1
  done
  printf 'mirror/%s\t%s\t%s\n' "$id" $outcome $((SECONDS - begun)) >> "$TSV"
}
has_partitions() { [ "$(b topic describe a.orders --format json 2>/dev/null | grep -o '"leader":' | wc -l)" = 3 ]; }
has_config() { b config describe topic a.orders 2>/dev/null | grep -q 'retention.ms.*86400000'; }
has_records() { [ "$(b consume a.orders -n 300 2>/dev/null | sort -n | md5sum)" = "$(seq 1 300 | md5sum)" ]; }
rights() { b acl list --topic a.orders --format json 2>/dev/null | tr -d '\n" ' | tr '}' '\n'; }
has_right() { rights | grep "principal:User:$1," | grep "operation:$2," | grep -q "permission:$3,"; }
lacks_rights_of() { ! rights | grep -q "principal:User:$1,"; }
has_group() { b group describe billing 2>/dev/null | grep -q 'a\.orders'; }
check partitions has_partitions
check config has_config
check records has_records
check acl-read has_right alice read allow
check acl-all-becomes-read has_right carol read allow
check acl-denial has_right eve read deny
check acl-write-stays lacks_rights_of bob
check group-offsets has_group
rights >> "$LOG"; b group describe billing >> "$LOG" 2>&1
closing
