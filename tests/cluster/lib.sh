# Shared by build, up, load and down. Sourced, never run.
# shellcheck shell=bash

# Where a normal user's PATH does not look.
PATH=$PATH:/usr/sbin:/usr/local/sbin:/sbin

CLUSTER_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CLUSTER_RUN=${ROUTEMQ_CLUSTER_RUN:-${TMPDIR:-/tmp}/routemq-cluster}
# Where the built tools are: outside the checkout.
CLUSTER_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/routemq/cluster
KUBERNETES_VERSION=$(awk '$1 == "k8s.io/kubernetes" { print $2 }' "$CLUSTER_SRC/kubernetes/go.mod")

say() { printf '%s\n' "$*" >&2; }
die() { say "cluster: $*"; exit 1; }

# free_port NAME: sets it to a loopback TCP port that nobody listens on, below those that outgoing connections take and beside those of
# tests/src/port.rs. Every process of the cluster inherits its lock: two clusters that start together never draw the same one.
free_port() {
  local port lock locks=${TMPDIR:-/tmp}/routemq-ports-$UID
  mkdir -p "$locks"
  while :; do
    port=$((RANDOM % 10000 + 22000))
    exec {lock}>"$locks/$port"
    if flock --nonblock "$lock" && ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      printf -v "$1" %s "$port"
      return
    fi
    exec {lock}>&-
  done
}

# What puts a command into the namespaces of the cluster in $dir: nothing for a control plane alone, which has none.
into_namespaces() {
  inside=()
  [ -e "$dir/pid/init" ] || return 0
  inside=(nsenter --target "$(cat "$dir/pid/init")" --mount --net --pid --)
}

# start NAME COMMAND…: in the background of the cluster in $dir, its own session; pid, log and command line kept.
start() {
  local name=$1; shift
  mkdir -p "$dir/command"
  printf '%s\0' "$@" >"$dir/command/$name"
  setsid ${inside[@]+"${inside[@]}"} "$@" >>"$dir/log/$name.log" 2>&1 </dev/null 9>&- &
  local pid=$!
  printf '%s\n' "$pid" >"$dir/pid/$name"
  disown # or bash tells of its end
  # Until it has become that command, it is a copy of this script, and not known by its folder.
  until running "$pid" || ! kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
}

# running PID: whether that process is there and belongs to the cluster in $dir. After a restart of the machine the number may be a stranger's;
# every command of a cluster names its folder.
running() {
  if [ -d /proc/self ]; then grep -qF -- "$dir" "/proc/$1/cmdline" 2>/dev/null; else ps -ww -o args= -p "$1" | grep -qF -- "$dir"; fi
}

# alive NAME: whether it runs. While a process becomes its command the kernel shows no command line of it, and from a cold disk that takes a
# moment.
alive() {
  local pid try
  pid=$(cat "$dir/pid/$1" 2>/dev/null) || return 1
  for try in $(seq 20); do
    if running "$pid"; then return; fi
    kill -0 "$pid" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}

# await NAME SECONDS COMMAND…: until the command succeeds; dies with the log when NAME dies or time is over.
await() {
  local name=$1 deadline=$((SECONDS + $2)); shift 2
  until "$@" >/dev/null 2>&1; do
    alive "$name" || { tail -n 20 "$dir/log/$name.log" >&2; die "$name ended; its log: $dir/log/$name.log"; }
    [ $SECONDS -lt $deadline ] || { tail -n 20 "$dir/log/$name.log" >&2; die "$name is not ready in time"; }
    sleep 0.1
  done
}

# soon COMMAND…: awaits that it succeeds, 10 s at most.
soon() {
  local try
  for try in $(seq 100); do "$@" && return; sleep 0.1; done
  return 1
}

# gone PID: awaits its end, 10 s at most.
gone() { soon stopped "$1"; }
stopped() { ! running "$1"; }

# stop NAME: TERM, then KILL after 10 s.
stop() {
  local pid
  pid=$(cat "$dir/pid/$1" 2>/dev/null) || return 0
  if running "$pid"; then
    kill -TERM "$pid" 2>/dev/null
    gone "$pid" || kill -KILL "$pid" 2>/dev/null
  fi
  rm -f "$dir/pid/$1"
}
