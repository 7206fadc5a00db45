#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The types of kernel_api.h (in LIBRARY, of types.c) against those stored here for its ABI version.
#   check.sh LIBRARY            exit status 0: no difference
#   check.sh --store LIBRARY    stores them
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
store=0
if [ "$1" = --store ]; then store=1; shift; fi
header=$here/../../../kernel_api/include/tengen/kernel_api.h
stored=$here/$(awk '/define TG_ABI_M(AJOR|INOR) /{gsub("u", "", $3); v = v sep $3; sep = "."} END{print v}' "$header").$(uname -m).xml
if [ $store = 1 ]; then
  abidw --no-corpus-path --no-comp-dir-path --no-show-locs "$1" | sed "s| path='[^']*'||" > "$stored"
  exit
fi
if [ ! -e "$stored" ]; then
  echo "nothing is stored for this ABI version on this kind of machine: $stored; store it: $0 --store $1" >&2
  exit 1
fi
# --harmless: a new field is a difference, too. If it was meant (appended to a growable struct), store the types anew.
if ! abidiff --harmless --no-show-locs "$stored" "$1"; then
  echo "the types of kernel_api.h differ from the stored ones. What was only appended to growable structs may be stored: $0 --store $1" >&2
  exit 1
fi
