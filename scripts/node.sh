#!/usr/bin/env bash
# Runs the checks that exist for Node only, with the packages pinned in scripts/node/package-lock.json.
#
#   node.sh install             fetch the packages (no-op when cached) and print their folder
#   node.sh run SCRIPT ARGS...  run a CommonJS script, which finds them by require
#
# Packages are cached in $TOOLS_CACHE (default ~/.cache/connector); their install scripts are not run. Needs Node 18 and npm:
# apt-get when it may (root), else a message.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${TOOLS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/connector}
packages=$cache/node-$(cksum <"$here/node/package-lock.json" | cut -d' ' -f1)

need_node() {
	{ command -v node && command -v npm; } >/dev/null && return
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "node.sh: Node and npm are not installed: install them (Debian, Ubuntu: apt-get install nodejs npm)" >&2
		exit 1
	fi
	{ apt-get -qq update && apt-get -qq -y --no-install-recommends install nodejs npm; } >&2
}

install() {
	local tmp
	need_node
	if [ ! -d "$packages" ]; then
		mkdir -p "$cache"
		tmp=$(mktemp -d "$cache/node.XXXXXX")
		cp "$here/node/package.json" "$here/node/package-lock.json" "$tmp"
		(cd "$tmp" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
		mv "$tmp" "$packages" # complete or absent, never half
	fi
}

case "${1:-}" in
install)
	install
	echo "$packages"
	;;
run)
	[ $# -ge 2 ] || { echo "usage: node.sh run SCRIPT ARGS..." >&2; exit 2; }
	install
	shift
	NODE_PATH=$packages/node_modules exec node "$@"
	;;
*)
	echo "usage: node.sh install | run SCRIPT ARGS..." >&2
	exit 2
	;;
esac
