#!/usr/bin/env bash
# Installs the pinned command line tools that .ci/run uses, only what is missing, and prints the folder they are in.
# Go tools are cached in $TOOLS_CACHE (default ~/.cache/connector) by the pins below and the Go version that builds
# them. kcat and shellcheck come from the system: apt-get when it may (root), else a message.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${TOOLS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/connector}
pins="
github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
sigs.k8s.io/kustomize/kustomize/v5@v5.8.2
github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
"
key=$({ go env GOVERSION; echo "$pins"; cat "$here/nats-cli/go.mod"; } | cksum | cut -d' ' -f1)
export GOBIN=$cache/bin-$key

for pin in $pins; do
	name=${pin%@*}
	name=${name%/v[0-9]}
	[ -x "$GOBIN/${name##*/}" ] || go install "$pin" >&2
done
# A NATS server before 2.12, which has no atomic batches.
older=v2.11.17
[ -x "$cache/nats-server-$older/nats-server" ] || GOBIN=$cache/nats-server-$older go install "github.com/nats-io/nats-server/v2@$older" >&2
mkdir -p "$GOBIN"
ln -sf "$cache/nats-server-$older/nats-server" "$GOBIN/nats-server-2.11"
# nats has a module of its own: it fixes the versions of everything nats is built from.
[ -x "$GOBIN/nats" ] || (cd "$here/nats-cli" && go install tool >&2)

missing=()
for name in kcat shellcheck; do
	command -v "$name" >/dev/null || missing+=("$name")
done
if [ ${#missing[@]} -gt 0 ]; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "tools.sh: not installed: ${missing[*]}: install them (Debian, Ubuntu: apt-get install ${missing[*]})" >&2
		exit 1
	fi
	{ apt-get -qq update && apt-get -qq -y --no-install-recommends install "${missing[@]}"; } >&2
fi
echo "$GOBIN"
