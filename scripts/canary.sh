#!/usr/bin/env bash
# canary.sh FILE...: fails when one of the files, the output of tests, holds a secret or is empty. The keys, passwords and tokens of tests
# and simulators hold the word canary; it is searched for as it is (percent-encoding and JSON leave it so), in base64 at
# each of its three places among other bytes, and in hex.
set -euo pipefail
mark='[Cc]anary|CANARY|Y2FuYXJ5|NhbmFye|jYW5hcn|63616[Ee]617279'
for file in "$@"; do
	[ -s "$file" ] || { echo "$file is empty, or not there: no output was searched"; exit 1; }
done
if grep -HnE "$mark" "$@" | cut -c1-300 | head -20 | grep .; then
	echo "the output of the tests holds a secret, or something is named like one: see above"
	exit 1
fi
