// SPDX-License-Identifier: Apache-2.0
#include "bench/sip/others.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "bench/sip/own.h"

namespace sipheal::bench {
namespace {

// oSIP keeps the part before the '@' apart.
bool SameCallId(std::string_view a, std::string_view b) {
  return a == b || (b.substr(0, a.size()) == a && b[a.size()] == '@');
}

// The first field that differs; nullptr: none.
const char* Difference(const Fields& theirs, const Fields& ours) {
  if (theirs.from != ours.from) return "From";
  if (theirs.to != ours.to) return "To";
  if (theirs.from_tag != ours.from_tag) return "From tag";
  if (theirs.to_tag != ours.to_tag) return "To tag";
  if (!SameCallId(theirs.call_id, ours.call_id)) return "Call-ID";
  if (theirs.cseq != ours.cseq || theirs.cseq_method != ours.cseq_method) return "CSeq";
  if (theirs.contact != ours.contact) return "Contact";
  if (theirs.record_route_count != ours.record_route_count ||
      !std::equal(
          theirs.record_routes.begin(),
          theirs.record_routes.begin() + static_cast<std::ptrdiff_t>(theirs.record_route_count),
          ours.record_routes.begin())) {
    return "Record-Route";
  }
  if (theirs.via_host != ours.via_host || theirs.via_port != ours.via_port ||
      theirs.via_branch != ours.via_branch) {
    return "Via";
  }
  if (theirs.session_expires != ours.session_expires || theirs.refresher != ours.refresher) {
    return "Session-Expires";
  }
  return nullptr;
}

// Reads the same as we do, or says what it does not.
void Compare(const Corpus& corpus, const Peer& peer) {
  std::size_t refused = 0;
  std::size_t different = 0;
  std::string first;
  for (const sip::CapturedMessageView& message : corpus.messages) {
    Fields ours;
    Fields theirs;
    ReadOwn(message.bytes, ours);
    const bool read = peer.read(message.bytes.data(), message.bytes.size(), theirs);
    const char* const what = read ? Difference(theirs, ours) : nullptr;
    if (!read) ++refused;
    if (what != nullptr) {
      ++different;
      if (first.empty()) {
        first = std::string(what) + " of message " + std::to_string(message.sequence);
      }
    }
    peer.release();
  }
  std::printf("  %s %s: ", peer.name, peer.version());
  if (refused == 0 && different == 0) {
    std::printf("reads the same fields of all %zu messages\n", corpus.messages.size());
  } else {
    std::printf("refuses %zu messages, reads %zu otherwise than we do (first: %s)\n", refused,
                different, first.empty() ? "-" : first.c_str());
  }
}

}  // namespace

std::vector<Contender> OtherContenders(const Corpus& corpus, const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".so") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Contender> contenders;
  for (const std::string& path : paths) {
    void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    const auto* const peer =
        library == nullptr ? nullptr
                           : static_cast<const Peer*>(::dlsym(library, SIPHEAL_BENCH_PEER_SYMBOL));
    if (peer == nullptr || !peer->start()) {
      const char* const reason = ::dlerror();
      std::printf("  %s cannot be used (%s): left out\n", path.c_str(),
                  reason != nullptr ? reason : "it does not start");
      continue;
    }
    Compare(corpus, *peer);
    Contender contender;
    contender.name = std::string(peer->name) + ' ' + peer->version();
    contender.pass = [&corpus, peer] {
      Fields fields;
      for (const sip::CapturedMessageView& message : corpus.messages) {
        Keep(peer->read(message.bytes.data(), message.bytes.size(), fields));
        Keep(fields);
        peer->release();
      }
    };
    contender.messages = corpus.messages.size();
    contender.dialogs = corpus.dialogs;
    contender.bytes = corpus.bytes;
    contenders.push_back(std::move(contender));
  }
  return contenders;
}

}  // namespace sipheal::bench
