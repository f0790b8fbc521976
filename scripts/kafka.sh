#!/usr/bin/env bash
# Runs a real Apache Kafka: one KRaft node on loopback, for tests and for trying things out.
#
#   kafka.sh install             fetch the jars pinned in scripts/kafka/pom.xml (no-op when cached)
#   kafka.sh start DIR [PORT]    start a broker with its data, pid, log and address in DIR; prints 127.0.0.1:PORT
#   kafka.sh stop DIR            stop the broker of DIR
#   kafka.sh run -- CMD...       run CMD with KAFKA_TEST_BROKERS and KAFKA_TEST_PROXIED set to a fresh broker; exits with CMD's code
#   kafka.sh tool CLASS ARGS...  run one of Kafka's own tools, e.g. org.apache.kafka.tools.TopicCommand
#
# A stopped DIR can be started again with its data; name the same PORT to keep its address.
# DIR/proxied has two more addresses, with a comma between: of a second listener, and the one that the broker names to who
# connects there. Nobody listens at that one: a test puts a proxy there, and every connection leads through it.
# Needs Java 17 or newer, Maven for install, and GNU coreutils' timeout. Jars are cached in $TOOLS_CACHE (default ~/.cache/connector).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pom=$here/kafka/pom.xml
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$pom")
cache=${TOOLS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/connector}
libs=$cache/kafka-$version-$(cksum <"$pom" | cut -d' ' -f1)
copy_jars=org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies
start_seconds=180
stop_seconds=60

die() {
	echo "kafka.sh: $*" >&2
	exit 1
}

# need COMMAND PACKAGE: in CI as root a missing command is installed, elsewhere the user is told what to install.
need() {
	command -v "$1" >/dev/null && return
	if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		{ apt-get -qq update && apt-get -qq -y --no-install-recommends install "$2"; } >&2
	fi
	command -v "$1" >/dev/null || die "$1 is not installed: install it (Debian, Ubuntu: apt-get install $2)"
}

need_java() {
	need java openjdk-17-jre-headless
	local major
	major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
	[ "${major:-0}" -ge 17 ] || die "Kafka $version needs Java 17 or newer, found ${major:-an unknown version}"
}

install() {
	[ -d "$libs" ] && return
	need_java
	need mvn maven
	mkdir -p "$cache"
	local tmp
	tmp=$(mktemp -d "$cache/kafka.XXXXXX")
	if ! mvn -q -B -Dstyle.color=never -f "$pom" "$copy_jars" -DoutputDirectory="$tmp" >&2; then
		rm -rf "$tmp"
		die "fetching Kafka $version from the Maven repository: see the message above"
	fi
	mv "$tmp" "$libs" # complete or absent, never half
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port prints a port below the range the kernel hands out by itself.
free_port() {
	local port
	while port=$((20000 + RANDOM % 12000)) && listening "$port"; do :; done
	echo "$port"
}

# answers PORT: true once a Metadata (v0, all topics) request lists exactly one live broker.
answers() {
	local reply
	reply=$({
		exec 3<>"/dev/tcp/127.0.0.1/$1"
		printf '\0\0\0\x0e\0\x03\0\0\0\0\0\x01\xff\xff\0\0\0\0' >&3
		timeout 10 head -c 12 <&3 | od -An -tx1 | tr -d ' \n'
	} 2>/dev/null) || return 1
	[ "${reply:8}" = 0000000100000001 ] # correlation id, number of brokers
}

# alive DIR: true while DIR's broker runs (a recycled pid is not taken for it).
alive() {
	[ -f "$1/pid" ] && ps -ww -o command= -p "$(cat "$1/pid")" 2>/dev/null | grep -qF "$1/server.properties"
}

write_config() { # DIR PORT
	local -A taken=([$2]=1)
	local port ports=()
	while [ ${#ports[@]} -lt 3 ]; do
		port=$(free_port)
		[ -n "${taken[$port]:-}" ] || ports+=("$port")
		taken[$port]=1
	done
	local controller=${ports[0]} proxied=127.0.0.1:${ports[1]} proxy=127.0.0.1:${ports[2]}
	echo "$proxied,$proxy" >"$1/proxied"
	cat >"$1/server.properties" <<-END
		process.roles=broker,controller
		node.id=1
		controller.quorum.voters=1@127.0.0.1:$controller
		controller.listener.names=CONTROLLER
		listeners=PLAINTEXT://127.0.0.1:$2,PROXIED://$proxied,CONTROLLER://127.0.0.1:$controller
		advertised.listeners=PLAINTEXT://127.0.0.1:$2,PROXIED://$proxy
		listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
		inter.broker.listener.name=PLAINTEXT
		log.dirs=$1/data
		auto.create.topics.enable=false
		broker.session.timeout.ms=120000
		default.replication.factor=1
		min.insync.replicas=1
		offsets.topic.replication.factor=1
		offsets.topic.num.partitions=4
		transaction.state.log.replication.factor=1
		transaction.state.log.min.isr=1
		transaction.state.log.num.partitions=4
		transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
		share.coordinator.state.topic.replication.factor=1
		share.coordinator.state.topic.min.isr=1
		group.initial.rebalance.delay.ms=0
		log.segment.bytes=16777216
		log.index.size.max.bytes=1048576
		log.cleaner.dedupe.buffer.size=16777216
		log.cleaner.backoff.ms=200
		num.network.threads=2
		num.io.threads=4
	END
}

launch() { # DIR
	java -XX:TieredStopAtLevel=1 -cp "$libs/*" kafka.tools.StorageTool format --ignore-formatted \
		--cluster-id Y29ubmVjdG9yLXRlc3QtMQ --config "$1/server.properties" >"$1/log" 2>&1 || return 1
	java -Xmx512m -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError -Dlog4j2.level=INFO -cp "$libs/*" \
		kafka.Kafka "$1/server.properties" >>"$1/log" 2>&1 </dev/null &
	echo $! >"$1/pid"
}

start() { # DIR [PORT]
	mkdir -p "$1"
	local dir port=${2:-}
	dir=$(cd "$1" && pwd)
	if alive "$dir"; then die "a broker already runs in $dir: stop it first"; fi
	[ -n "$port" ] || port=$(free_port)
	if listening "$port"; then die "port $port is taken: name another one"; fi
	need_java
	install
	write_config "$dir" "$port"
	if launch "$dir" && await "$dir" "$port"; then
		echo "127.0.0.1:$port" | tee "$dir/brokers"
		return
	fi
	{ echo "--- $dir/log"; tail -n 40 "$dir/log"; } >&2
	stop "$dir"
	die "Kafka ended or did not answer on 127.0.0.1:$port within ${start_seconds}s: the end of its log is above"
}

await() { # DIR PORT
	local deadline=$((SECONDS + start_seconds))
	until answers "$2"; do
		alive "$1" && [ $SECONDS -lt $deadline ] || return 1
		sleep 0.2
	done
}

stop() { # DIR
	local dir deadline=$((SECONDS + stop_seconds)) signal=TERM
	dir=$(cd "$1" && pwd)
	while alive "$dir"; do
		[ $SECONDS -lt $deadline ] || signal=KILL
		kill -s $signal "$(cat "$dir/pid")" 2>/dev/null || true
		sleep 0.2
	done
	rm -f "$dir/pid" "$dir/brokers" "$dir/proxied"
}

run() { # CMD...
	scratch=$(mktemp -d "${TMPDIR:-/tmp}/kafka.XXXXXX")
	trap 'stop "$scratch"; rm -rf "$scratch"' EXIT
	KAFKA_TEST_BROKERS=$(start "$scratch") || exit 1
	KAFKA_TEST_PROXIED=$(cat "$scratch/proxied")
	export KAFKA_TEST_BROKERS KAFKA_TEST_PROXIED
	"$@"
}

tool() { # CLASS ARGS...
	need_java
	install
	exec java -XX:TieredStopAtLevel=1 -cp "$libs/*" "$@"
}

usage() {
	sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}" >&2
	exit 2
}

verb=${1:-}
[ $# -eq 0 ] || shift
[ "$verb" != run ] || [ "${1:-}" != -- ] || shift
[ "$verb" = install ] || [ $# -gt 0 ] || usage
case $verb in
install | start | stop | run | tool) "$verb" "$@" ;;
*) usage ;;
esac
