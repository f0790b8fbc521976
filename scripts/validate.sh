#!/usr/bin/env bash
# validate.sh [ROWS]: publishes a simulated run of ROWS=100000 rows of both providers to a file, with rows that change, appear
# late and leave, dead letters and replays, and has every message validated against the released schemas by the Go validator
# and by ajv. Fails unless both find all of them valid, and one that is then broken invalid. Needs Go, Node 18 and npm.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
AJV_PACKAGES=$(scripts/node.sh install)
export AJV_PACKAGES
if ! out=$(go test ./internal/validate -run '^TestPublishedIsValid$' -count=1 -v -rows "${1:-100000}" 2>&1); then
	echo "$out"
	exit 1
fi
sed -n 's/^ *validate_test.go:[0-9]*: //p' <<<"$out"
