#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Gets, builds and caches a stock Asterisk from Debian's source package.
#
# Debian 12 has no Asterisk, Debian unstable has one. The source comes from the mirror that this
# machine's own apt configuration names, from the suite sid, through a source list and a state
# folder that belong to the cache alone: the machine's own package lists stay as they are.
# Signatures are checked by apt against Debian's archive keyring.
#
# The build is kept under a key made of the Asterisk version and of everything below that has a
# say in the result, so a second run finds it and does nothing. Beside the server, the cache
# keeps what an out-of-tree module needs: Asterisk's headers, the bundled pjproject's headers and
# the compiler flags that pjproject was built with.
set -euo pipefail

readonly PROGRAM=get-asterisk
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
readonly CACHE="${SIPHEAL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sipheal}"

# Raise when a step below changes its result without changing one of the lists.
readonly RECIPE=1

readonly CONFIGURE_OPTIONS=(
  --with-pjproject-bundled
  --without-pwlib --without-sdl --without-x11 --without-gtk2
)

# Modules to build; all others are left out. A name ending in '*' takes every source of that name.
readonly MODULES=(
  chan_pjsip 'res_pjsip*' res_pjproject res_rtp_asterisk res_srtp
  'res_sorcery_*' res_crypto 'res_timing_*' res_security_log
  res_http_websocket res_websocket_client 'res_ari*' 'res_stasis*' res_mwi_external
  res_hep res_hep_pjsip res_hep_rtcp
  res_musiconhold res_mutestream res_parking 'res_format_attr_*' res_speech res_agi
  'bridge_*'
  app_stasis app_dial app_playback app_echo app_confbridge app_queue app_verbose app_stack
  app_exec app_controlplayback app_mixmonitor app_record app_read app_bridgewait app_userevent
  app_milliwatt app_senddtmf app_originate app_waitforsilence app_softhangup app_channelredirect
  app_chanspy app_system app_bridgeaddchan app_transfer app_playtones app_while app_if
  pbx_config pbx_spool
  'func_*'
  format_wav format_wav_gsm format_pcm format_gsm format_sln
  codec_ulaw codec_alaw codec_a_mu codec_gsm codec_resample codec_g722
  chan_bridge_media chan_rtp
  cdr_csv cdr_manager
)

# Sources that the patterns above match but whose libraries are not asked for.
readonly LEFT_OUT=(
  res_pjsip_stir_shaken res_pjsip_phoneprov_provider res_pjsip_geolocation
  res_sorcery_realtime res_timing_dahdi res_timing_kqueue res_stasis_test
  func_odbc func_curl func_realtime func_speex func_iconv func_pitchshift
)

# Debian packages that the build needs; the same names stand in packaging/debian-packages.txt.
readonly PACKAGES=(
  build-essential bzip2 ca-certificates debian-archive-keyring dpkg-dev libedit-dev
  libjansson-dev libsqlite3-dev libsrtp2-dev libssl-dev libxml2-dev patch pkg-config uuid-dev
  wget xz-utils
)

usage() {
  cat <<USAGE
usage: get-asterisk.sh [options]

Builds a stock Asterisk into the cache, or finds the one that is there. The last line of standard
output is the install prefix.

  --print-prefix   print nothing but the prefix; build if needed (progress goes to stderr)
  --cached-only    never build: fail when no valid build is in the cache
  --update         look for a newer version in Debian even when a valid build is cached
  --mirror URL     Debian mirror to use instead of the one in the machine's apt configuration
  --install-deps   install the Debian packages that the build needs (as root or with sudo)
  --jobs N         parallel compiler jobs (default: the number of processors)
  --help           this text

The cache is \$SIPHEAL_CACHE, or sipheal/ in \$XDG_CACHE_HOME or ~/.cache.
USAGE
}

quiet=0
say() { if ((quiet)); then echo "$PROGRAM: $*" >&2; else echo "$PROGRAM: $*"; fi; }
die() { echo "$PROGRAM: $*" >&2; exit 1; }

cached_only=0 update=0 install_deps=0 mirror="" jobs="$(nproc)"
while (($#)); do
  case "$1" in
    --print-prefix) quiet=1 ;;
    --cached-only) cached_only=1 ;;
    --update) update=1 ;;
    --install-deps) install_deps=1 ;;
    --mirror) mirror="${2:?--mirror needs a URL}"; shift ;;
    --jobs) jobs="${2:?--jobs needs a number}"; shift ;;
    --help|-h) usage; exit 0 ;;
    *) usage >&2; die "unknown option: $1" ;;
  esac
  shift
done

config_key() {
  printf '%s\n' "$RECIPE" "${CONFIGURE_OPTIONS[@]}" -- "${MODULES[@]}" -- "${LEFT_OUT[@]}" \
    "$(. /etc/os-release; echo "$ID-${VERSION_ID:-rolling}")" "$(uname -m)" \
    | sha256sum | cut -c1-12
}

# The newest valid build in the cache, or nothing.
cached_prefix() {
  local dir newest=""
  while IFS= read -r dir; do
    [[ -f "$dir/.complete" && -x "$dir/sbin/asterisk" ]] && newest="$dir"
  done < <(find "$CACHE" -maxdepth 1 -type d -name "asterisk-*-$KEY" 2>/dev/null | sort -V)
  [[ -z "$newest" ]] || printf '%s\n' "$newest"
}

finish() { printf '%s\n' "$1"; exit 0; }

as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }

missing_packages() {
  local name
  for name in "${PACKAGES[@]}"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$name" 2>/dev/null | grep -q '^installed$' \
      || echo "$name"
  done
}

ensure_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]})) || return 0
  ((install_deps)) || die "packages missing: ${missing[*]}: install them, or run with --install-deps"
  say "installing: ${missing[*]}"
  as_root apt-get update -q >&2
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
}

# The machine's own Debian mirror: the archive of its release, security archives aside. apt itself
# reads its configuration, so one-line lists and deb822 .sources files are all the same here.
machine_mirror() {
  local codename
  codename="$(. /etc/os-release; echo "${VERSION_CODENAME:-}")"
  apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 2>/dev/null \
    | awk -v codename="$codename" '
        $1 ~ /-security\/?$/ { next }
        $2 == codename && !own { own = $1 }
        ($2 == "stable" || $2 == "testing" || $2 == "unstable" || $2 == "sid") && !other { other = $1 }
        END { if (own) print own; else if (other) print other }'
}

apt_private() {
  local command="$1"; shift
  "$command" \
    -o Dir::Etc::SourceList="$CACHE/apt/sid.list" -o Dir::Etc::SourceParts=- \
    -o Dir::State::Lists="$CACHE/apt/lists" -o Dir::Cache="$CACHE/apt/cache" \
    -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none "$@"
}

# Writes the source list and fetches sid's source index. False when the mirror does not answer.
refresh_index() {
  [[ -r "$KEYRING" ]] || die "no $KEYRING: install debian-archive-keyring"
  local uri="${mirror:-$(machine_mirror)}"
  [[ -n "$uri" ]] || die "no Debian mirror in this machine's apt configuration: give one by --mirror"
  mkdir -p "$CACHE/apt/lists/partial" "$CACHE/apt/cache/archives/partial"
  echo "deb-src [signed-by=$KEYRING] $uri sid main" >"$CACHE/apt/sid.list"
  say "reading the source index of sid at $uri"
  apt_private apt-get update -q -o APT::Update::Error-Mode=any >&2
}

newest_source_version() {
  apt_private apt-cache showsrc asterisk 2>/dev/null | sed -n 's/^Version: //p' | sort -V | tail -1
}

# Downloads the source package (apt checks every file against the signed index).
fetch_source() {
  local version="$1" dir="$2"
  mkdir -p "$dir"
  say "downloading asterisk $version"
  (cd "$dir" && apt_private apt-get source -q --download-only "asterisk=$version" >&2)
}

expand_modules() {
  local name path skip
  for name in "${MODULES[@]}"; do
    if [[ "$name" != *'*' ]]; then echo "$name"; continue; fi
    for path in {res,funcs,bridges}/${name}.c; do
      [[ -e "$path" ]] || continue
      name="$(basename "$path" .c)"
      for skip in "${LEFT_OUT[@]}"; do [[ "$skip" == "$name" ]] && continue 2; done
      echo "$name"
    done
  done
}

# Asterisk's build unpacks pjproject from a tarball whose checksum it knows; Debian's source
# package has it as a folder instead. Pack that folder and note its checksum.
pack_pjproject() {
  local externals="$1" version
  version="$(sed -n 's/^PJPROJECT_VERSION *= *//p' third-party/versions.mak)"
  mkdir -p "$externals"
  tar -C . --transform "s,^Xpjproject,pjproject-$version," -cf - Xpjproject | bzip2 --fast \
    >"$externals/pjproject-$version.tar.bz2"
  (cd "$externals" && md5sum "pjproject-$version.tar.bz2") \
    >"third-party/pjproject/pjproject-$version.tar.bz2.md5"
}

configure_tree() {
  local prefix="$1" externals="$2"
  ./configure --prefix="$prefix" --sysconfdir="$prefix/etc" --localstatedir="$prefix/var" \
    --with-externals-cache="$externals" "${CONFIGURE_OPTIONS[@]}"
  make menuselect.makeopts
  local category module modules
  for category in ADDONS APPS BRIDGES CDR CEL CHANNELS CODECS FORMATS FUNCS PBX RES TESTS UTILS AGIS \
    CORE_SOUNDS MOH EXTRA_SOUNDS; do
    menuselect/menuselect --disable-category "MENUSELECT_$category" menuselect.makeopts
  done
  mapfile -t modules < <(expand_modules)
  for module in "${modules[@]}"; do
    menuselect/menuselect --enable "$module" menuselect.makeopts
  done
  # The cache may outlive the processor it was built on.
  menuselect/menuselect --disable BUILD_NATIVE menuselect.makeopts
}

# What an out-of-tree module needs beside Asterisk's installed headers.
install_module_kit() {
  local prefix="$1" part
  mkdir -p "$prefix/include/pjproject"
  for part in pjlib pjlib-util pjnath pjmedia pjsip; do
    cp -a "third-party/pjproject/source/$part/include/." "$prefix/include/pjproject/"
  done
  # The definitions that pjproject was configured with; include paths are ours, above.
  make -s -C third-party/pjproject echo_cflags 2>/dev/null | tr ' ' '\n' | grep '^-DPJ' \
    | tr '\n' ' ' >"$prefix/include/pjproject/module-cflags"
}

# Runs one step of the build with its output in the log. A subshell of its own, because bash would
# ignore a failing command in the middle of a function called as 'step || die'.
run_logged() {
  local log="$1" status=0
  shift
  set +e
  (set -e; "$@") >>"$log" 2>&1
  status=$?
  set -e
  ((status == 0)) && return 0
  tail -25 "$log" >&2
  die "the build failed: see above, and the whole log in $log"
}

install_tree() {
  local prefix="$1"
  make install
  make install-headers
  install_module_kit "$prefix"
}

build() {
  local version="$1" sources="$2" prefix="$3"
  local work="$CACHE/build-$KEY" log="$CACHE/build-$KEY.log"
  rm -rf "$work" "$prefix" "$log"
  mkdir -p "$work"
  say "unpacking into $work"
  run_logged "$log" dpkg-source --no-check -x "$sources"/*.dsc "$work/source"
  cd "$work/source"
  echo "${version#*:}" >.version
  run_logged "$log" pack_pjproject "$work/externals"
  say "configuring (about a minute; log: $log)"
  run_logged "$log" configure_tree "$prefix" "$work/externals"
  say "compiling with $jobs jobs (a few minutes)"
  run_logged "$log" make -j"$jobs"
  say "installing into $prefix"
  run_logged "$log" install_tree "$prefix"
  mv "$log" "$prefix/build.log"
  cp menuselect.makeopts "$prefix/"
  echo "$version" >"$prefix/.complete"
  cd "$CACHE"
  rm -rf "$work"
}

main() {
  readonly KEY="$(config_key)"
  local prefix
  prefix="$(cached_prefix)"
  if [[ -n "$prefix" ]] && ! ((update)); then
    ((quiet)) || say "found in the cache: $(cat "$prefix/.complete")"
    finish "$prefix"
  fi
  ((cached_only)) && die "no valid build in $CACHE: run get-asterisk.sh once without --cached-only"

  mkdir -p "$CACHE"
  exec 9>"$CACHE/get-asterisk.lock"
  if ! flock --nonblock 9; then
    say "another run is at work: waiting for it"
    flock 9
  fi
  prefix="$(cached_prefix)"
  if [[ -n "$prefix" ]] && ! ((update)); then finish "$prefix"; fi

  ensure_packages
  local version=""
  if refresh_index; then version="$(newest_source_version)"; fi
  if [[ -z "$version" ]]; then
    [[ -n "$prefix" ]] || die "no source index of sid, and no build in the cache: check the network"
    say "sid cannot be read; using the cached build"
    finish "$prefix"
  fi
  local upstream="${version#*:}"
  local target="$CACHE/asterisk-${upstream%%+*}-$KEY"
  if [[ "$prefix" == "$target" ]]; then say "the cached build is the newest"; finish "$prefix"; fi

  local sources="$CACHE/sources/asterisk-${upstream%%+*}"
  fetch_source "$version" "$sources"
  build "$version" "$sources" "$target"
  finish "$target"
}

main
