# Shared by the scripts of this folder. Sourced, never run.
# shellcheck shell=bash

# Where a normal user's PATH does not look.
PATH=$PATH:/usr/sbin:/usr/local/sbin:/sbin

BROKERS_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# What is built or fetched once: outside the checkout.
BROKERS_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/routemq/brokers

say() { printf '%s\n' "$*" >&2; }
die() { say "brokers: $*"; exit 1; }

# One at a time: several test processes may ask at once.
alone() { mkdir -p "$BROKERS_CACHE"; exec 9>"$BROKERS_CACHE/.lock"; flock 9; }
