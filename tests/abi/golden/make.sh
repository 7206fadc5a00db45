#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the plugins of this day and stores them for later hosts to load, and a small host for later plugins:
#   tests/abi/golden/make.sh NAME [BUILD]      into tests/abi/golden/NAME/<machine>, built in BUILD (default: a temporary one)
# NAME is the release, or the stage: 0.1.0. What is stored is never rebuilt: a new stage gets a new name. `reference` and
# `chaos` are built for size, `tiny` as its vendor would build it; all are stripped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../../.." && pwd)
[ $# -ge 1 ] || { echo "make.sh: expected a name for the stage, as in: make.sh 0.1.0" >&2; exit 2; }
out=$here/$1/$(uname -m)
[ ! -e "$out" ] || { echo "make.sh: $out is there already; golden binaries are not rebuilt, take a new name" >&2; exit 1; }
if [ $# -ge 2 ]; then
  work=$2
else
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
jobs=${JOBS:-2}

# Debug is the one build type in which the reference plugin leaves the optimisation level to us.
cmake -S "$top" -B "$work/tree" -G Ninja -DTENGEN_CPU=OFF -DTENGEN_TESTS=OFF -DTENGEN_TOOLS=OFF -DTENGEN_PYTHON=OFF \
  -DCMAKE_BUILD_TYPE=Debug "-DCMAKE_C_FLAGS_DEBUG=-Os -DNDEBUG" \
  "-DCMAKE_CXX_FLAGS_DEBUG=-Os -DNDEBUG -ffunction-sections -fdata-sections" \
  "-DCMAKE_MODULE_LINKER_FLAGS=-Wl,--gc-sections"
cmake --build "$work/tree" -j "$jobs" --target tengen_reference tengen_chaos

cmake -S "$top/kernel_api" -B "$work/kernel_api" -G Ninja
cmake --install "$work/kernel_api" --prefix "$work/prefix"
cmake -S "$here/../outside" -B "$work/tiny" -G Ninja -DCMAKE_BUILD_TYPE=Release "-DCMAKE_CXX_FLAGS_RELEASE=-O2 -DNDEBUG" \
  "-DCMAKE_PREFIX_PATH=$work/prefix"
cmake --build "$work/tiny" -j "$jobs"

mkdir -p "$out"
"${CC:-cc}" -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -I "$top/kernel_api/include" "$here/../host/host.c" -o "$out/tengen_host" -ldl
strip "$out/tengen_host"
for library in "$work"/tree/lib/tengen/plugins/libtengen_{reference,chaos}.so "$work/tiny/libtengen_tiny.so"; do
  name=$(basename "$library" .so)
  strip -o "$out/$name.so" "$library"
  cp "$(dirname "$library")/${name#libtengen_}.plugin.json" "$out"
done
chmod 644 "$out"/*
chmod 755 "$out/tengen_host"
cd "$out"
{
  echo "# Tengen $1, kernel ABI $(awk '/define TG_ABI_M(AJOR|INOR) /{gsub("u", "", $3); v = v sep $3; sep = "."} END{print v}' \
    "$top/kernel_api/include/tengen/kernel_api.h"), $(date -u +%F), $(c++ --version | head -1)"
  sha256sum ./*.so ./tengen_host ./*.json
} > SHA256SUMS
sha256sum --quiet -c SHA256SUMS
du -ch ./* | tail -1
