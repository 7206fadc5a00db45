# Shared by the scripts in tools/: where things are, and how to say what happens. Sourced, not run.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$top/.venv
build=$top/build/release
jobs=$(nproc)
say() { printf '\n== %s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }
# A stamp is fresh when it holds the hash of the files given.
stamp_fresh() { local stamp=$1; shift; [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(cat "$@" | sha256sum)" ]; }
stamp_write() { local stamp=$1; shift; mkdir -p "$(dirname "$stamp")"; cat "$@" | sha256sum > "$stamp"; }
