# Shared by build, up and down. Sourced, never run.
# shellcheck shell=bash

CLUSTER_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CLUSTER_RUN=${ROUTEMQ_CLUSTER_RUN:-${TMPDIR:-/tmp}/routemq-cluster}
KUBERNETES_VERSION=$(awk '$1 == "k8s.io/kubernetes" { print $2 }' "$CLUSTER_SRC/kubernetes/go.mod")
GO_WANTED=$(awk '$1 == "go" { print $2 }' "$CLUSTER_SRC/kubernetes/go.mod")

say() { printf '%s\n' "$*" >&2; }
die() { say "cluster: $*"; exit 1; }

# Where the built tools are: outside the checkout, keyed by what was pinned.
cluster_cache() {
  local key
  key=$(cat "$CLUSTER_SRC"/*/go.mod "$CLUSTER_SRC"/*/go.sum | sha256sum | cut -c1-16)
  printf '%s\n' "${XDG_CACHE_HOME:-$HOME/.cache}/routemq/cluster/$key"
}

# A loopback TCP port that nobody listens on just now, below those that outgoing connections take.
free_port() {
  local port
  while :; do
    port=$((RANDOM % 20000 + 11000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { printf '%s\n' "$port"; return; }
  done
}

# start NAME COMMAND…: in the background of the cluster in $dir, its own session, pid and log kept.
start() {
  local name=$1; shift
  setsid "$@" >"$dir/log/$name.log" 2>&1 </dev/null &
  printf '%s\n' $! >"$dir/pid/$name"
}

alive() { [ -e "$dir/pid/$1" ] && kill -0 "$(cat "$dir/pid/$1")" 2>/dev/null; }

# await NAME SECONDS COMMAND…: until the command succeeds; dies with the log when NAME dies or time is over.
await() {
  local name=$1 deadline=$((SECONDS + $2)); shift 2
  until "$@" >/dev/null 2>&1; do
    alive "$name" || { tail -n 20 "$dir/log/$name.log" >&2; die "$name ended; its log: $dir/log/$name.log"; }
    [ $SECONDS -lt $deadline ] || { tail -n 20 "$dir/log/$name.log" >&2; die "$name is not ready in time"; }
    sleep 0.1
  done
}

# stop NAME: TERM, then KILL after 10 s.
stop() {
  local pid
  pid=$(cat "$dir/pid/$1" 2>/dev/null) || return 0
  kill -TERM "$pid" 2>/dev/null || { rm -f "$dir/pid/$1"; return 0; }
  for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  kill -KILL "$pid" 2>/dev/null
  rm -f "$dir/pid/$1"
}
