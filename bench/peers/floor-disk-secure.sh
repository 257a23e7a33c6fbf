#!/bin/bash
# The floor with a disk, and certificates for whoever wants to know what TLS costs.
. "$(dirname "$0")/certificates.sh"; certificates "$2" || exit 1
exec "$(dirname "$0")/floor-disk.sh" "$@"
