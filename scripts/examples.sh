#!/usr/bin/env bash
# Runs the consumers of examples/ over what the connector publishes of a simulated day to a file, to a NATS server and to a
# real Apache Kafka, and compares what each prints with answers that are computed from the simulated rows. Fails when one
# is wrong, and when one could not run.
#
#   examples.sh            install what is missing, run all
#   examples.sh install    only install: Python packages and Flink's jars, as pinned in examples/
#
# Needs Go, Python 3.9 or newer with venv, Java 17 (a JDK) and Maven. Packages are cached in $TOOLS_CACHE (default
# ~/.cache/connector) by what pins them. The full output stays in bin/examples.log.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cache=${TOOLS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/connector}
requirements=(examples/*/requirements.txt)
pom=examples/flink/pom.xml
python=$cache/examples-python-$({ python3 --version; cat "${requirements[@]}"; } | cksum | cut -d' ' -f1)
flink=$cache/examples-flink-$(cksum <"$pom" | cut -d' ' -f1)
copy_jars=org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies

# need PACKAGE COMMAND...: where the command fails, its package is installed in CI as root; elsewhere the user is told.
need() {
	local package=$1
	shift
	"$@" >/dev/null 2>&1 && return
	if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		{ apt-get -qq update && apt-get -qq -y --no-install-recommends install "$package"; } >&2
	fi
	"$@" >/dev/null 2>&1 || { echo "examples.sh: not installed: $package: install it (Debian, Ubuntu: apt-get install $package)" >&2; exit 1; }
}

# venv FOLDER makes a Python environment with all packages. Its path is part of it, so it is marked when complete.
venv() {
	[ -e "$1/complete" ] && return
	rm -rf "$1"
	python3 -m venv "$1"
	local file
	for file in "${requirements[@]}"; do
		"$1/bin/pip" install -q --disable-pip-version-check --require-hashes --no-deps -r "$file" >&2
	done
	touch "$1/complete"
}

jars() {
	[ -d "$1" ] && return
	local tmp
	tmp=$(mktemp -d "$cache/flink.XXXXXX")
	if ! mvn -q -B -Dstyle.color=never -f "$pom" "$copy_jars" -DoutputDirectory="$tmp" >&2; then
		rm -rf "$tmp"
		echo "examples.sh: fetching Flink from the Maven repository: see the message above" >&2
		exit 1
	fi
	mv "$tmp" "$1" # complete or absent, never half
}

mkdir -p "$cache" bin
need python3-venv python3 -c 'import ensurepip'
need openjdk-17-jdk-headless javac -version
need maven mvn -version
venv "$python"
jars "$flink"
[ "${1:-}" != install ] || exit 0

export EXAMPLES_PYTHON=$python/bin EXAMPLES_FLINK=$flink
run=(go test ./examples -run '^TestExamples$' -count=1 -v)
[ -n "${KAFKA_TEST_BROKERS:-}" ] || run=(scripts/kafka.sh run -- "${run[@]}")
if ! "${run[@]}" >bin/examples.log 2>&1; then
	cat bin/examples.log
	exit 1
fi
sed -n 's/.*example: //p' bin/examples.log
if grep -E -A1 '^ *--- SKIP' bin/examples.log; then
	echo "not every example ran: see above" >&2
	exit 1
fi
