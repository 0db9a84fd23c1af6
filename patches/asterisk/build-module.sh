#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds res_pjsip_recovery.so out of tree, against an Asterisk that is already built.
#
# Without options: against the cached Asterisk of get-asterisk.sh. Against any other installed
# Asterisk, give its headers and those of the pjproject that it was built with (they lie in
# Asterisk's source package; Asterisk's own header package lacks them). The result is cached by
# the hash of all that goes into it.
set -euo pipefail

readonly HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly SOURCE="$HERE/res_pjsip_recovery.c"
readonly CACHE="${SIPHEAL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sipheal}"

usage() {
  cat <<USAGE
usage: build-module.sh [options]

The last line of standard output is the path of the built module.

  --asterisk PREFIX       Asterisk made by get-asterisk.sh (default: the one in the cache)
  --include DIR           folder that holds asterisk.h and asterisk/ of another Asterisk
  --pjproject-source DIR  the pjproject source tree that this Asterisk was built with, configured
                          (Asterisk's third-party/pjproject/source after its build)
  --sanitize              with AddressSanitizer, for a server started with its library preloaded
  --install DIR           copy the module to this modules folder
  --help                  this text
USAGE
}

say() { echo "build-module: $*" >&2; }
die() { say "$*"; exit 1; }

prefix="" include="" pjproject="" install="" extra_flags=()
while (($#)); do
  case "$1" in
    --asterisk) prefix="${2:?--asterisk needs a folder}"; shift ;;
    --include) include="${2:?--include needs a folder}"; shift ;;
    --pjproject-source) pjproject="${2:?--pjproject-source needs a folder}"; shift ;;
    --sanitize) extra_flags+=(-fsanitize=address -fno-omit-frame-pointer) ;;
    --install) install="${2:?--install needs a folder}"; shift ;;
    --help|-h) usage; exit 0 ;;
    *) usage >&2; die "unknown option: $1" ;;
  esac
  shift
done

includes=() definitions=()
if [[ -n "$pjproject" ]]; then
  [[ -n "$include" ]] || include=/usr/include
  [[ -f "$pjproject/build.mak" ]] || die "$pjproject is not a configured pjproject source tree"
  for part in pjlib pjlib-util pjnath pjmedia pjsip; do includes+=(-isystem "$pjproject/$part/include"); done
  # The definitions that pjproject was configured with, lines continued by a backslash
  read -r -a definitions < <(sed -e ':next' -e '/\\$/{N;s/\\\n/ /;b next' -e '}' "$pjproject/build.mak" \
    | sed -n 's/^export APP_CFLAGS *:*= *//p' | tr -s ' \t' '\n' | grep '^-DPJ' | sort -u | tr '\n' ' ') \
    || true  # no newline at the end
else
  [[ -n "$prefix" ]] || prefix="$("$HERE/get-asterisk.sh" --print-prefix --cached-only)"
  [[ -f "$prefix/include/pjproject/module-cflags" ]] \
    || die "$prefix was not made by get-asterisk.sh: give --include and --pjproject-source"
  include="$prefix/include"
  includes+=(-isystem "$include/pjproject")
  read -r -a definitions <"$include/pjproject/module-cflags" || true  # no newline at its end
fi
[[ -f "$include/asterisk.h" && -f "$include/asterisk/buildopts.h" ]] \
  || die "no Asterisk headers in $include"

flags=(-std=gnu99 -O2 -g -fPIC -shared -pthread -Wall -Wextra -Wno-unused-parameter
  -Wno-missing-field-initializers -Wstrict-prototypes -Wmissing-prototypes -Wmissing-declarations
  -Werror
  -DAST_MODULE='"res_pjsip_recovery"' -DAST_MODULE_SELF_SYM=__internal_res_pjsip_recovery_self
  -D_GNU_SOURCE "${extra_flags[@]}" -isystem "$include" "${includes[@]}" "${definitions[@]}")
compiler="${CC:-cc}"

key="$({ cat "$SOURCE" "$include/asterisk/buildopts.h"; printf '%s\n' "$compiler" "${flags[@]}"; } \
  | sha256sum | cut -c1-16)"
output="$CACHE/module-$key/res_pjsip_recovery.so"
if [[ ! -f "$output" ]]; then
  mkdir -p "$(dirname "$output")"
  scratch="$(mktemp "$output.XXXXXX")"
  trap 'rm -f "$scratch"' EXIT
  "$compiler" "${flags[@]}" "$SOURCE" -o "$scratch"
  chmod 644 "$scratch"
  mv "$scratch" "$output"
  say "built $output"
fi
if [[ -n "$install" ]]; then
  # A running Asterisk may have the old file mapped: a new inode leaves it alone.
  cp "$output" "$install/.res_pjsip_recovery.so.new"
  mv "$install/.res_pjsip_recovery.so.new" "$install/res_pjsip_recovery.so"
  say "installed into $install"
fi
echo "$output"
