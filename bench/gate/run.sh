#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Counts the instructions that parse, rebuild and serialise take (callgrind) and fails when one of them is more than 5 %
# above bench/gate/ceilings.txt; and fails when what a hostile sender can make four times as long (header lines, routes, a body,
# a flood) takes more than 4.4 times. Counts do not depend on what else the machine does, so that CI can hold them.
#
#   bench/gate/run.sh [BUILD_FOLDER]           compares (build/ by default: the preset `dev`, with the target sip_gate)
#   bench/gate/run.sh --renew [BUILD_FOLDER]   writes what is measured now as the new ceilings
set -euo pipefail

readonly HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly CEILINGS="$HERE/ceilings.txt"
readonly WORKS=(parse rebuild serialise)
readonly MARGIN=5           # percent
readonly GROWTH=44          # tenths, for four times the size
readonly SMALL_CHANGE=20000 # instructions

die() { printf 'bench/gate: %s\n' "$*" >&2; exit 1; }

renew=0
if [[ "${1:-}" == --renew ]]; then renew=1; shift; fi
(($# <= 1)) || die "unknown argument ${*:2}"
bin="${1:-$HERE/../../build}/bin"
for target in sip_gate sip_growth; do
  [[ -x "$bin/$target" ]] || die "there is no $bin/$target: build the target $target"
done
command -v valgrind >/dev/null || die "valgrind is not installed: packaging/install-dependencies.sh installs it"
# The counts are those of the parser's widest kernel.
grep -qsw avx2 /proc/cpuinfo && grep -qsw bmi2 /proc/cpuinfo || { echo "bench/gate: SKIPPED: this processor has no AVX2 or BMI2, and the ceilings are of code that uses them"; exit 0; }
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

# The C library's AVX2 functions are left out, since not every machine has them.
callgrind() {  # FUNCTION [OPTIONS...] PROGRAM [ARGUMENTS...]
  GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2 valgrind --tool=callgrind --callgrind-out-file="$scratch/out" \
    --toggle-collect="$1" "${@:2}" >"$scratch/printed" 2>"$scratch/log" || { cat "$scratch/log" >&2; return 1; }
}

failed=0
hold() {  # WORK INSTRUCTIONS
  local work="$1" now="$2" was
  [[ "$now" =~ ^[1-9][0-9]*$ ]] || die "$work: callgrind counted nothing: $(tail -1 "$scratch/log")"
  printf '%s %s\n' "$work" "$now" >>"$scratch/new"
  ((renew)) && return
  was="$(sed -n "s/^$work \([0-9]*\)$/\1/p" "$CEILINGS")"
  [[ -n "$was" ]] || die "$CEILINGS has no line for $work: run bench/gate/run.sh --renew"
  printf '%-10s %12d instructions, ceiling %12d (%+.1f %%)\n' "$work" "$now" "$was" \
    "$(awk -v now="$now" -v was="$was" 'BEGIN { print (now - was) * 100 / was }')"
  ((now * 100 <= was * (100 + MARGIN))) || failed=1
}

for work in "${WORKS[@]}"; do
  callgrind GateWork "$bin/sip_gate" "$work" || die "$work could not be counted: see above"
  hold "$work" "$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$scratch/log")"
done

# Each call of GrowthWork is counted into a file of its own, in the order of the printed lines.
callgrind GrowthWork --dump-after=GrowthWork "$bin/sip_growth" || die "growth could not be counted: see above"
grown=0
number=0
while read -r small small_bytes && read -r large large_bytes; do
  [[ "$small" == "$large" ]] || die "sip_growth printed $small where $large was due"
  from="$(sed -n 's/^totals: //p' "$scratch/out.$((number + 1))")"
  to="$(sed -n 's/^totals: //p' "$scratch/out.$((number + 2))")"
  number=$((number + 2))
  [[ "$from" =~ ^[1-9][0-9]*$ && "$to" =~ ^[1-9][0-9]*$ ]] || die "$small: callgrind counted nothing"
  printf '%-24s %7d bytes %12d instructions, %7d bytes %12d (%.2f times)\n' "$small" "$small_bytes" "$from" \
    "$large_bytes" "$to" "$(awk -v from="$from" -v to="$to" 'BEGIN { print to / from }')"
  ((to * 10 <= from * GROWTH + SMALL_CHANGE * 10)) || { grown=1; echo "  it grows faster than it becomes longer"; }
  # What a forged message costs, whatever was kept before it.
  if [[ "$small" == flood ]]; then hold flood "$from"; fi
done <"$scratch/printed"
((number >= 30)) || die "sip_growth did too little: $number pieces of work"
((grown == 0)) || die "a cost grows faster than the bytes: see above"

if ((renew)); then
  cp "$scratch/new" "$CEILINGS"
  cat "$CEILINGS"
elif ((failed)); then
  die "more than $MARGIN % above the ceiling: make it cheaper; or, when the work is worth it, say so in the change and renew the ceilings by bench/gate/run.sh --renew"
fi
