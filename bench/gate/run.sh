#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Counts the instructions that parse, rebuild and serialise take (callgrind) and fails when one of them is more than 5 %
# above bench/gate/ceilings.txt. Counts do not depend on what else the machine does, so that CI can hold them.
#
#   bench/gate/run.sh [BUILD_FOLDER]           compares (build/ by default: the preset `dev`, with the target sip_gate)
#   bench/gate/run.sh --renew [BUILD_FOLDER]   writes what is measured now as the new ceilings
set -euo pipefail

readonly HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly CEILINGS="$HERE/ceilings.txt"
readonly WORKS=(parse rebuild serialise)
readonly MARGIN=5 # percent

die() { printf 'bench/gate: %s\n' "$*" >&2; exit 1; }

renew=0
if [[ "${1:-}" == --renew ]]; then renew=1; shift; fi
(($# <= 1)) || die "unknown argument ${*:2}"
gate="${1:-$HERE/../../build}/bin/sip_gate"
[[ -x "$gate" ]] || die "there is no $gate: build the target sip_gate"
command -v valgrind >/dev/null || die "valgrind is not installed: packaging/install-dependencies.sh installs it"
# The counts are those of the parser's widest kernel.
grep -qsw avx2 /proc/cpuinfo && grep -qsw bmi2 /proc/cpuinfo || { echo "bench/gate: SKIPPED: this processor has no AVX2 or BMI2, and the ceilings are of code that uses them"; exit 0; }
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

# The C library's AVX2 functions are left out, since not every machine has them.
count() {  # WORK
  GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2 valgrind --tool=callgrind --callgrind-out-file="$scratch/out" \
    --toggle-collect=GateWork "$gate" "$1" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; return 1; }
  sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$scratch/log"
}

failed=0
for work in "${WORKS[@]}"; do
  now="$(count "$work")" || die "$work could not be counted: see above"
  [[ "$now" =~ ^[1-9][0-9]*$ ]] || die "$work: callgrind counted nothing: $(tail -1 "$scratch/log")"
  printf '%s %s\n' "$work" "$now" >>"$scratch/new"
  ((renew)) && continue
  was="$(sed -n "s/^$work \([0-9]*\)$/\1/p" "$CEILINGS")"
  [[ -n "$was" ]] || die "$CEILINGS has no line for $work: run bench/gate/run.sh --renew"
  printf '%-10s %12d instructions, ceiling %12d (%+.1f %%)\n' "$work" "$now" "$was" \
    "$(awk -v now="$now" -v was="$was" 'BEGIN { print (now - was) * 100 / was }')"
  ((now * 100 <= was * (100 + MARGIN))) || failed=1
done
if ((renew)); then
  cp "$scratch/new" "$CEILINGS"
  cat "$CEILINGS"
elif ((failed)); then
  die "more than $MARGIN % above the ceiling: make it cheaper; or, when the work is worth it, say so in the change and renew the ceilings by bench/gate/run.sh --renew"
fi
