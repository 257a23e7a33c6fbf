#!/bin/sh
# Runs the command that the container is given; `redpanda start` and bare flags are a broker's.
case ${1:-} in
    redpanda) exec rpk "$@" ;;
    -*) exec rustka "$@" ;;
    *) exec "$@" ;;
esac
