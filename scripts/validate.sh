#!/usr/bin/env bash
# validate.sh [ROWS]: publishes a simulated run of ROWS=100000 rows of both providers to a file, with rows that change, appear
# late and leave, dead letters and replays, and has every message validated against the released schemas by the Go validator
# and by ajv. Fails unless both find all of them valid, and one that is then broken invalid. Needs Go, Node 18 and npm.
# The full output stays in bin/validate.log.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
AJV_PACKAGES=$(scripts/node.sh install)
export AJV_PACKAGES
mkdir -p bin
if ! go test ./internal/validate -run '^TestPublishedIsValid$' -count=1 -v -rows "${1:-100000}" >bin/validate.log 2>&1; then
	cat bin/validate.log
	exit 1
fi
sed -nE 's/^ *validate_test.go:[0-9]*: (published|validated)/\1/p' bin/validate.log
