#!/bin/sh
# Runs every fuzz target for a while: tests/fuzz/run.sh [BUILD_FOLDER] [SECONDS_EACH]. Seeds are the torture messages when
# they are found (SIPHEAL_TEST_DATA or ../shared/data) and what the target finds, kept in the build folder.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${1:-$here/../../build/fuzz}
seconds=${2:-20}
data=${SIPHEAL_TEST_DATA:-$here/../../../shared/data}
found=0
for target in "$build"/bin/fuzz_*; do
  [ -x "$target" ] || continue
  found=1
  name=$(basename "$target")
  corpus=$build/corpus/$name
  mkdir -p "$corpus" "$build/crashes"
  seeds=
  for folder in "$here/seeds/${name#fuzz_}" "$data/torture/rfc4475" "$data/torture/rfc5118"; do
    [ -d "$folder" ] && seeds="$seeds $folder"
  done
  echo "$name: $seconds s"
  # shellcheck disable=SC2086  # a list of folders
  "$target" -max_total_time="$seconds" -max_len=16384 -timeout=5 -rss_limit_mb=1024 -seed="${SIPHEAL_FUZZ_SEED:-1}" -print_final_stats=0 -print_funcs=0 -verbosity=0 \
    -dict="$here/sip.dict" -artifact_prefix="$build/crashes/$name-" "$corpus" $seeds
done
if [ "$found" = 0 ]; then
  echo "no fuzz targets in $build/bin: cmake --preset fuzz && cmake --build --preset fuzz" >&2
  exit 1
fi
echo "no target found a crash"
