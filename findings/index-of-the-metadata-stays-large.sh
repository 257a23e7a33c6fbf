#!/usr/bin/env bash
# Kafka lays out the index files of an open segment in full and cuts them to their entries when it closes the log. After an
# orderly stop those of data are cut. Those of the metadata log are not: 20 MiB that are zeros but for a few entries, which
# take no room on the disk until somebody copies the directory, and are no index of that size to somebody who reads them.
. "$(dirname "$0")/common/kafka.sh"
size() { stat -c %s "$FOLDER/kafka/logs/$1/00000000000000000000.$2"; }

start_kafka
tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" --create --topic t --partitions 1 > /dev/null
echo value | tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$BOOTSTRAP" --topic t
running=$(size t-0 index)
stop_kafka
data="$(size t-0 index) $(size t-0 timeindex)" metadata="$(size __cluster_metadata-0 index) $(size __cluster_metadata-0 timeindex)"
echo "index of t-0 while it runs: $running bytes"
echo "indexes after the stop: t-0 $data, __cluster_metadata-0 $metadata"
holds "the stop was an orderly one" test -e "$FOLDER/kafka/logs/.kafka_cleanshutdown"
holds "an index is laid out in full" test "$running" -eq 10485760
holds "and is cut by the stop" test "$data" = "0 12"
holds "but for the metadata's" test "$metadata" = "10485760 10485756"
