#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The demo: real calls on a stock Asterisk live on after kill -9. See examples/README.md.
set -euo pipefail

readonly HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly ROOT="$(dirname "$HERE")"
readonly BUILD="${SIPHEAL_DEMO_BUILD:-$ROOT/build}"

say() { echo "demo: $*"; }
die() { echo "demo: $*" >&2; exit 1; }

usage() {
  cat <<USAGE
usage: examples/demo.sh [--production] [--calls N] [--keep-logs] [--no-install]

Kills the Asterisk that holds N live calls, twice, and shows that they live on.
  --production   with PostgreSQL, three controllers of which one is killed at work, HOMER's tables
  --calls N      how many calls; 14 to 5000, 50 when not given
  --keep-logs    keep the folder with all logs and the capture of the SIP traffic
  --no-install   install no Debian packages
The last line is one line of JSON. Exit status 0: no call was lost, no re-INVITE was wrong, and the
BYE of every phone got its 200.
USAGE
}

install=1
arguments=()
while (($#)); do
  case "$1" in
    --no-install) install=0 ;;
    --calls|--rate) arguments+=("$1" "${2:?$1 needs a number}"); shift ;;
    --keep-logs|--without-sipheal|--production) arguments+=("$1") ;;
    --help|-h) usage; exit 0 ;;
    *) usage >&2; die "unknown option: $1" ;;
  esac
  shift
done

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || die "root is needed to record the loopback traffic: run it as root"
  as_root=(sudo --preserve-env=SIPHEAL_CACHE,XDG_CACHE_HOME,HOME,SIPHEAL_DEMO_TRACE)
fi

if ((install)); then "$ROOT/packaging/install-dependencies.sh"; fi

say "stock Asterisk and its recovery module (the first time takes five minutes)"
prefix="$("$ROOT/patches/asterisk/get-asterisk.sh" --print-prefix | tail -1)"
"$ROOT/patches/asterisk/build-module.sh" --asterisk "$prefix" >/dev/null

say "building sipheal in $BUILD"
launcher=()
if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
log="$(mktemp "${TMPDIR:-/tmp}/sipheal-demo-build.XXXXXX")"
if ! {
  cmake -S "$ROOT" --preset dev -B "$BUILD" "${launcher[@]}" &&
    cmake --build "$BUILD" --target sipheal sipheal_demo_media sipheal_bare_loop
} >"$log" 2>&1; then
  tail -40 "$log" >&2
  die "the build failed: see above, and the whole log in $log"
fi
rm -f "$log"

exec "${as_root[@]}" /usr/bin/python3 "$HERE/demo/show.py" --programs "$BUILD/bin" \
  "${arguments[@]}"
