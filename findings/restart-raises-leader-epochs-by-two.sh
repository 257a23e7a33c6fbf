#!/usr/bin/env bash
# A restart of a one-node KRaft cluster, also a clean one, raises every partition's leader epoch by two: stopping takes
# the leader away (one epoch), starting gives it back (another). Epoch 1 never has a leader.
. "$(dirname "$0")/lib.sh"

start_kafka
tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" --create --topic t --partitions 1
produce() { echo value | tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$BOOTSTRAP" --topic t; }
produce
stop_kafka
start_kafka
produce
stop_kafka
epochs=$(tail -n +3 "$FOLDER/kafka/logs/t-0/leader-epoch-checkpoint")
echo "epoch and first offset:" $epochs
holds "the record after a clean restart has epoch 2" test "$(echo $epochs)" = "0 0 2 1"
