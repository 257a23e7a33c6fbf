#!/bin/bash
# The checks of cli.sh with the broker's own binary called by the names of Kafka's tools; BROKER_BINARY says where that is.
mkdir -p "$2"; out=$(mktemp -d)
OWN_TOOLS=${BROKER_BINARY:?} "$(dirname "$0")/cli.sh" "$1" "$out"
mv "$out/cli.tsv" "$2/cli-own.tsv"; mv "$out/cli.log" "$2/cli-own.log"; rm -r "$out"
