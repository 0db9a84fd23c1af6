#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing, builds, and passes all tests. Works from a clean clone, as root or with sudo, twice in a row.
#
#   tests/run.sh                everything, in the counts that fit a pull request
#   tests/run.sh --long         the full counts (hours)
#   tests/run.sh --only STEP    one step: see --list
set -euo pipefail

readonly ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly STEPS=(dependencies build unit instructions headers core-only install asterisk module integration demo asan tsan fuzz)
LONG=0
ONLY=""
passed=0

say() { printf '\n== %s\n' "$*"; }
die() { printf '\ntests/run.sh: %s\n' "$*" >&2; printf '%d passed, 1 failed\n' "$passed"; exit 1; }

usage() {
  sed -n '4,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  printf 'steps: %s\n' "${STEPS[*]}"
}

while (($#)); do
  case "$1" in
    --long) LONG=1 ;;
    --only) ONLY="${2:?--only needs the name of a step}"; shift ;;
    --list) printf '%s\n' "${STEPS[@]}"; exit 0 ;;
    --help|-h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
export SIPHEAL_LONG=$LONG

jobs() { nproc; }

# Compilers' results are kept outside the tree, so that the second run is quick.
# A clone elsewhere finds them, too: paths below the clone are taken as relative.
export CCACHE_BASEDIR="$ROOT" CCACHE_NOHASHDIR=1
export CCACHE_DIR="${CCACHE_DIR:-${SIPHEAL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sipheal}/ccache}"

configure() {  # PRESET
  local preset="$1"
  cmake --preset "$preset" -S "$ROOT" -DCMAKE_CXX_COMPILER_LAUNCHER=ccache >"$ROOT/build/$preset.configure.log" 2>&1 ||
    { cat "$ROOT/build/$preset.configure.log" >&2; return 1; }
}

# --- the steps: each says in a sentence what it does ------------------------------------------------------

step_dependencies() {
  say "installing the Debian packages that are missing"
  "$ROOT/packaging/install-dependencies.sh" || die "packages could not be installed: see above"
  export SIPHEAL_REQUIRE_POSTGRES=1
}

step_build() {
  say "building the library, its adapters, the command and the tests"
  configure dev || die "the build could not be configured: see above"
  cmake --build "$ROOT/build" -j "$(jobs)" || die "the build failed: see the first error above"
}

step_unit() {
  say "unit, conformance and layering tests"
  # One at a time: a port that one test's killed server leaves free must not be taken by another test's server.
  ctest --test-dir "$ROOT/build" -LE integration --output-on-failure || die "a unit test failed: see above"
}

step_instructions() {
  say "counting instructions: no more than the committed ceilings, no growth beyond the bytes"
  "$ROOT/bench/gate/run.sh" "$ROOT/build" || die "the SIP layer has become slower, or grows faster than the bytes: see above"
}

step_headers() {
  say "compiling every public header alone"
  cmake --build "$ROOT/build" -j "$(jobs)" --target all_verify_interface_header_sets >/dev/null ||
    die "a public header does not compile alone: cmake --build build --target all_verify_interface_header_sets"
}

step_core-only() {
  say "building the core without any adapter: it must need nothing but Abseil"
  configure core-only || die "the core could not be configured alone"
  cmake --build "$ROOT/build/core-only" -j "$(jobs)" || die "the core does not build alone"
}

step_install() {
  say "installing, and building a consumer of each component against what was installed"
  "$ROOT/tests/install/run.sh" "$ROOT/build" || die "a consumer project failed: see above"
}

step_asterisk() {
  say "a stock Asterisk from Debian's source, and the recovery module (4 minutes the first time, kept in the cache)"
  "$ROOT/patches/asterisk/get-asterisk.sh" || die "Asterisk could not be built: see above"
  "$ROOT/patches/asterisk/build-module.sh" || die "the module could not be built: see above"
  export SIPHEAL_REQUIRE_ASTERISK=1
}

step_module() {
  say "the module's requirements M1 to M21 on a real Asterisk"
  (cd "$ROOT/tests/module" &&
    PYTHONPATH="$ROOT/tests/support/python" /usr/bin/python3 -m unittest discover -s . -p 'test_*.py') ||
    die "a test of the module failed: see above"
}

step_integration() {
  say "integration tests on real servers"
  ctest --test-dir "$ROOT/build" -L integration --output-on-failure || die "an integration test failed: see above"
}

step_demo() {
  local calls=50
  say "the demo with $calls calls: two kills, every call must live on"
  "$ROOT/examples/demo.sh" --no-install --calls "$calls" || die "the demo lost calls: see above"
}

step_asan() {
  say "unit and conformance tests of everything under AddressSanitizer and UndefinedBehaviorSanitizer"
  say "of the 100,000 random dialogs of the step unit, 5,000 are rebuilt here"
  configure asan || die "the sanitizer build could not be configured"
  cmake --build "$ROOT/build/asan" -j "$(jobs)" || die "the sanitizer build failed"
  LSAN_OPTIONS="suppressions=$ROOT/tests/sanitizers/lsan.supp:print_suppressions=0" \
    ctest --test-dir "$ROOT/build/asan" -LE integration --output-on-failure || die "a sanitizer found a fault: see above"
}

step_tsan() {
  say "core and engine under ThreadSanitizer (without the tests of the SIP layer, which has no threads)"
  configure tsan || die "the sanitizer build could not be configured"
  cmake --build "$ROOT/build/tsan" -j "$(jobs)" || die "the sanitizer build failed"
  ctest --test-dir "$ROOT/build/tsan" -LE integration --output-on-failure || die "ThreadSanitizer found a race: see above"
}

step_fuzz() {
  say "a short fuzz of every parser"
  configure fuzz || die "the fuzz build could not be configured"
  cmake --build "$ROOT/build/fuzz" -j "$(jobs)" || die "the fuzz build failed"
  "$ROOT/tests/fuzz/run.sh" "$ROOT/build/fuzz" "$([[ $LONG == 1 ]] && echo 3600 || echo 20)" || die "a fuzzer found a fault: see above"
}

# --- run ------------------------------------------------------------------------------------------------------

mkdir -p "$ROOT/build"
began=$SECONDS
for step in "${STEPS[@]}"; do
  if [[ -n "$ONLY" && "$ONLY" != "$step" ]]; then continue; fi
  step_began=$SECONDS
  "step_$step"
  printf '== %s: done in %d s\n' "$step" "$((SECONDS - step_began))"
  passed=$((passed + 1))
done
((passed > 0)) || die "there is no step '$ONLY': see --list"
printf '\nall steps done in %d s\n%d passed, 0 failed\n' "$((SECONDS - began))" "$passed"
