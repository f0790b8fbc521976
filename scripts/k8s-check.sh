#!/usr/bin/env bash
# Builds every kustomize overlay and checks the result against strict Kubernetes schemas: an unknown or misspelled
# field, a wrong type, a duplicate key or an unknown kind is a fault. Needs kustomize and kubeconform (scripts/tools.sh).
#
#   k8s-check.sh [OVERLAYS_DIR]    default deploy/k8s/overlays
#
# The schemas are made once from the OpenAPI document of the release below and cached.
set -euo pipefail

release=v1.36.3
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${TOOLS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/connector}
schemas=$cache/k8s-schemas-$release-$(cksum <"$root/scripts/k8s-schemas/main.go" | cut -d' ' -f1)
overlays=${1:-$root/deploy/k8s/overlays}

make_schemas() {
	local tmp module
	mkdir -p "$cache"
	tmp=$(mktemp -d "$cache/k8s-schemas.XXXXXX")
	module=$(cd "$tmp" && go mod download -json "k8s.io/kubernetes@$release" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
	(cd "$root" && go run ./scripts/k8s-schemas "$module/api/openapi-spec/swagger.json" "$tmp")
	mv "$tmp" "$schemas" # complete or absent, never half
}

validate() { # reads manifests
	kubeconform -strict -summary -schema-location "$schemas/{{.ResourceKind}}{{.KindSuffix}}.json" -
}

# The check itself is checked: a misspelled field must be refused.
self_test() {
	local pod='{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: [{name: x, image: x}]}}'
	validate <<<"$pod" >/dev/null && ! validate <<<"${pod/image:/imagee:}" >/dev/null
}

[ -d "$schemas" ] || make_schemas
self_test || { echo "k8s-check: the schemas in $schemas do not tell right from wrong: remove that folder and try again" >&2; exit 1; }

failed=0 seen=0
for overlay in "$overlays"/*/; do
	[ -f "$overlay/kustomization.yaml" ] || continue
	seen=1
	name=$(basename "$overlay")
	if ! manifests=$(kustomize build "$overlay") || [ -z "$manifests" ]; then
		echo "$name: FAIL: kustomize build gave nothing to check" && failed=1
	elif result=$(validate <<<"$manifests"); then
		echo "$name: ok: ${result##*Summary: }"
	else
		echo "$name: FAIL: $result" && failed=1
	fi
done
[ $seen = 1 ] || { echo "k8s-check: no overlay in $overlays" >&2; exit 1; }
exit $failed
