#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Writes the patch form of the module: a patch for 'patch -p1' in an Asterisk source tree that
# adds res/res_pjsip_recovery.c. It touches no existing line, so it applies to every branch;
# Asterisk's build finds the new module by itself.
set -euo pipefail

readonly HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly SOURCE="$HERE/res_pjsip_recovery.c"

if [[ "${1:-}" == --help || "${1:-}" == -h ]]; then
  echo "usage: make-patch.sh [FILE]   (default: standard output)"
  exit 0
fi

lines="$(wc -l <"$SOURCE")"
{
  echo "--- /dev/null"
  echo "+++ b/res/res_pjsip_recovery.c"
  echo "@@ -0,0 +1,$lines @@"
  sed 's/^/+/' "$SOURCE"
} >"${1:-/dev/stdout}"
