#!/usr/bin/env bash
# Who reads Kafka's metadata log record by record may meet the configs of a topic before the topic: Kafka 3.3 writes them
# first, later ones behind it. A reader that drops what belongs to no topic that it knows loses them, from old logs only.
order() { # order VERSION: what is written when a topic with a config is created
  (
    export KAFKA_SERVER_VERSION=$1
    . "$(dirname "$0")/common/kafka.sh"
    start_kafka >&2
    tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" --create --topic orders --partitions 1 \
      --config retention.ms=86400000 > /dev/null
    stop_kafka
    tool org.apache.kafka.tools.DumpLogSegments --cluster-metadata-decoder \
      --files "$FOLDER/kafka/logs/__cluster_metadata-0/00000000000000000000.log" |
      grep '"name":"orders"\|"resourceName":"orders"' | grep -o 'TOPIC_RECORD\|CONFIG_RECORD' | tr '\n' ' '
  )
}

. "$(dirname "$0")/common/kafka.sh"
old=$(order 3.3.2) new=$(order 4.4.0)
echo "3.3.2: $old"
echo "4.4.0: $new"
holds "3.3.2 writes the config before its topic" test "$old" = "CONFIG_RECORD TOPIC_RECORD "
holds "4.4.0 writes it behind" test "$new" = "TOPIC_RECORD CONFIG_RECORD "
