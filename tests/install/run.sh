#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs a build into a scratch folder and builds one consumer project for each component against it, and one that
# asks for a component that is not there, which must be told so in plain words.
set -euo pipefail

readonly HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly BUILD="${1:?usage: run.sh BUILD_FOLDER}"
readonly SCRATCH="$(mktemp -d)"
trap 'rm -rf "$SCRATCH"' EXIT

cmake --install "$BUILD" --prefix "$SCRATCH/prefix" >"$SCRATCH/install.log" || { cat "$SCRATCH/install.log" >&2; exit 1; }

consume() {  # COMPONENT
  cmake -S "$HERE/consumer" -B "$SCRATCH/$1" -G Ninja -DCMAKE_PREFIX_PATH="$SCRATCH/prefix" -DCOMPONENT="$1" \
    -DCMAKE_CXX_COMPILER_LAUNCHER=ccache >"$SCRATCH/$1.log" 2>&1 &&
    cmake --build "$SCRATCH/$1" >>"$SCRATCH/$1.log" 2>&1
}

for component in core pcap hep sqlite postgres ari homer grpc; do
  if ! consume "$component" || ! "$SCRATCH/$component/consumer"; then
    cat "$SCRATCH/$component.log" >&2
    echo "the consumer of '$component' failed" >&2
    exit 1
  fi
  echo "consumer of $component: ok"
done

for proto in session flow_resumer crash_detector recovery; do
  if [[ ! -f "$SCRATCH/prefix/share/sipheal/proto/sipheal/v1/$proto.proto" ]]; then
    echo "$proto.proto is not installed" >&2
    exit 1
  fi
done

if ldd "$SCRATCH/core/consumer" | grep -E 'libcurl|libwebsockets|libsqlite|libpq|libpcap|libgrpc|libprotobuf'; then
  echo "a host that uses only the core must link nothing but Abseil" >&2
  exit 1
fi
if consume kubernetes; then
  echo "a component that is not there was found" >&2
  exit 1
fi
grep -q "component 'kubernetes' is not part of this sipheal build" "$SCRATCH/kubernetes.log" ||
  { cat "$SCRATCH/kubernetes.log" >&2; echo "the missing component is not named plainly" >&2; exit 1; }
echo "a missing component is named plainly: ok"
