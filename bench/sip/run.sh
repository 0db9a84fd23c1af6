#!/bin/sh
# Makes the corpus and runs the SIP benchmarks: bench/sip/run.sh [BUILD_FOLDER] [DIALOGS]. Build with the preset `release`.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${1:-$here/../../build/release}
dialogs=${2:-1000}
maker=${SIPHEAL_TEST_DATA:-$here/../../../shared/data}/bench/gen_corpus.py
if [ ! -f "$maker" ]; then
  echo "no corpus maker at $maker: set SIPHEAL_TEST_DATA" >&2
  exit 1
fi
python3 "$maker" "$dialogs" "$build/sip-corpus.bin" >&2
SIPHEAL_BENCH_CORPUS=$build/sip-corpus.bin exec "$build/bin/sip_bench" --benchmark_min_time=1
