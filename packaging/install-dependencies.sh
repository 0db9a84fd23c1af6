#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian packages of packaging/debian-packages.txt that are missing, as root or with
# sudo. Says what it does; does nothing, quickly, when all are there.
set -euo pipefail

readonly HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly LIST="$HERE/debian-packages.txt"

say() { echo "install-dependencies: $*"; }
die() { echo "install-dependencies: $*" >&2; exit 1; }

usage() {
  cat <<USAGE
usage: install-dependencies.sh [--check]

Installs what $LIST names and this machine lacks.
  --check   only say what is missing; exit status 1 when something is
USAGE
}

check=0
while (($#)); do
  case "$1" in
    --check) check=1 ;;
    --help|-h) usage; exit 0 ;;
    *) usage >&2; die "unknown option: $1" ;;
  esac
  shift
done

command -v dpkg-query >/dev/null \
  || die "this is no Debian system: install what $LIST names by hand, then use --no-install"

mapfile -t wanted < <(sed 's/#.*//' "$LIST" | tr -s ' \t' '\n' | sed '/^$/d' | sort -u)
# One query for all; a package that dpkg never heard of is missing, too.
installed="$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null \
  | sed -n 's/^installed //p' | sort -u || true)"
mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}") <(printf '%s\n' "$installed"))

if ((${#missing[@]} == 0)); then
  say "all ${#wanted[@]} packages are installed"
  exit 0
fi
if ((check)); then
  say "missing: ${missing[*]}"
  exit 1
fi

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || die "packages are missing (${missing[*]}): run this as root once"
  as_root=(sudo)
fi
say "installing ${#missing[@]} packages: ${missing[*]}"
"${as_root[@]}" apt-get update -q \
  || die "the package lists could not be fetched: check the network and /etc/apt/sources.list"
# Servers among them (Kamailio) must not be started by their installation.
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
  apt-get install -y -q --no-install-recommends "${missing[@]}" \
  || die "apt-get could not install them: see its message above"
say "done"
