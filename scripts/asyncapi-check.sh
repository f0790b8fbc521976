#!/usr/bin/env bash
# Checks what "connector schema asyncapi" prints, for each sink and content mode, with the official AsyncAPI parser.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

go build -o "$work/connector" "$root/cmd/connector"

# document NAME VARIABLES...
document() {
	env -i HOME="$HOME" "${@:2}" "$work/connector" schema asyncapi >"$work/$1.json"
}

kafka=(CONNECTOR_SINK=kafka "KAFKA_BROKERS=kafka-1:9092,kafka-2:9092")
nats=(CONNECTOR_SINK=nats)
structured=CONNECTOR_CLOUDEVENTS=structured

document kafka-binary "${kafka[@]}"
document kafka-structured "${kafka[@]}" $structured
document kafka-login "${kafka[@]}" KAFKA_TLS=true KAFKA_SASL_MECHANISM=SCRAM-SHA-512 KAFKA_SASL_USERNAME=u KAFKA_SASL_PASSWORD=p KAFKA_PARTITIONS=6
document nats-binary "${nats[@]}"
document nats-structured "${nats[@]}" $structured
document nats-login "${nats[@]}" NATS_URL=tls://nats-1:4222,wss://nats-2 NATS_USER=u NATS_PASSWORD=p

"$root/scripts/node.sh" run "$root/scripts/node/asyncapi.cjs" "$work"/*.json
