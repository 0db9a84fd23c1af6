#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the benchmarks and runs them: sipheal beside libosip2, sofia-sip, libre and PJSIP on one corpus, with the limits of
# the machine, and from HEP packets to dialog state. Prints tables, and writes JSON. Works from a clean clone, as root or
# with sudo. About four minutes; the first time a stock Asterisk is built, too (about five minutes more).
#
#   bench/run.sh                 everything
#   bench/run.sh --quick         shorter rounds, up to 100,000 tracked dialogs (a minute)
#   bench/run.sh --no-install    installs nothing; peers that are not there are left out
#   bench/run.sh --no-asterisk   builds no Asterisk; PJSIP is left out unless one is in the cache
set -euo pipefail

readonly ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly BUILD="$ROOT/build/release"
readonly MAKER="${SIPHEAL_TEST_DATA:-$ROOT/../shared/data}/bench/gen_corpus.py"
readonly DIALOGS=1000
install=1 asterisk=1 seconds=60 tracked=1000000 hep_calls=20000

say() { printf '\n== %s\n' "$*"; }
die() { printf '\nbench/run.sh: %s\n' "$*" >&2; exit 1; }

while (($#)); do
  case "$1" in
    --quick) seconds=15 tracked=100000 hep_calls=5000 ;;
    --no-install) install=0 ;;
    --no-asterisk) asterisk=0 ;;
    --help|-h) sed -n '4,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) die "unknown option $1: see --help" ;;
  esac
  shift
done

[[ -f "$MAKER" ]] || die "no corpus: there is no $MAKER; set SIPHEAL_TEST_DATA to the folder that has bench/gen_corpus.py"

if ((install)); then
  say "installing the Debian packages that are missing"
  "$ROOT/packaging/install-dependencies.sh" || die "packages could not be installed: see above, or use --no-install"
fi

prefix=""
if ((asterisk)); then
  say "a stock Asterisk, for its PJSIP (five minutes the first time, kept in the cache)"
  prefix="$("$ROOT/patches/asterisk/get-asterisk.sh" --print-prefix)" || echo "no Asterisk: PJSIP is left out"
else
  prefix="$("$ROOT/patches/asterisk/get-asterisk.sh" --print-prefix --cached-only 2>/dev/null)" || true
fi

say "building (release)"
mkdir -p "$ROOT/build"
export CCACHE_BASEDIR="$ROOT" CCACHE_NOHASHDIR=1
export CCACHE_DIR="${CCACHE_DIR:-${SIPHEAL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sipheal}/ccache}"
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
cmake --preset release -S "$ROOT" "${launcher[@]}" -DSIPHEAL_BENCH_ASTERISK="$prefix" >"$ROOT/build/release.configure.log" 2>&1 ||
  { cat "$ROOT/build/release.configure.log" >&2; die "the build could not be configured"; }
sed -n 's/^-- bench: //p' "$ROOT/build/release.configure.log"
cmake --build "$BUILD" -j "$(nproc)" --target sip_table hep_bench >"$ROOT/build/release.build.log" 2>&1 ||
  { tail -30 "$ROOT/build/release.build.log" >&2; die "the build failed"; }

say "making the corpus: $DIALOGS dialogs"
python3 "$MAKER" "$DIALOGS" "$BUILD/sip-corpus.bin" >"$BUILD/sip-corpus.log"
head -1 "$BUILD/sip-corpus.log"

say "the SIP layer and its peers"
"$BUILD/bin/sip_table" "$BUILD/sip-corpus.bin" "$BUILD/bin/peers" "$BUILD/bench-sip.json" \
  --seconds "$seconds" --dialogs "$tracked" || die "the table could not be made: see above"

say "the same without AVX2 in the C library"
# glibc then looks for line ends 16 bytes at a time.
GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2 "$BUILD/bin/sip_table" "$BUILD/sip-corpus.bin" /nowhere \
  "$BUILD/bench-sse2.json" --seconds $((seconds / 4)) --dialogs 0 | sed -n '/^limit:\|^sipheal:\|sipheal takes/p'

say "from HEP packets to dialog state, one thread, from the packet's bytes"
"$BUILD/bin/hep_bench" "$hep_calls" 7 | tee "$BUILD/bench-hep.json"

python3 - "$BUILD" <<'PYTHON'
import json, sys
folder = sys.argv[1]
read = lambda name: json.load(open(f"{folder}/bench-{name}.json"))
whole = {"sip": read("sip"), "sip_without_avx2": read("sse2"), "hep": read("hep")}
json.dump(whole, open(f"{folder}/bench.json", "w"), indent=1)
PYTHON
printf '\nall figures: %s\n' "$BUILD/bench.json"
