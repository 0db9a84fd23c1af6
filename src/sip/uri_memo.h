// SPDX-License-Identifier: Apache-2.0
// The URIs of a call, read once: the same few texts are asked for again and again.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "sip/server_match.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip {

struct KnownUri {
  std::optional<UriView> view;  // empty: the text is no URI
  std::optional<IpAddress> ip;  // of a host that is an address
  bool of_server = false;       // its host and port name the server
  bool loose = false;
};

// Texts are told apart by where they lie: they must stay where they are until Forget().
class UriMemo {
 public:
  // Valid until the next one is asked for.
  const KnownUri& Read(std::string_view text, const ServerMatcher& server) {
    static const KnownUri kNone;
    if (text.empty()) return kNone;
    Slot& slot =
        slots_[(reinterpret_cast<std::uintptr_t>(text.data()) * 0x9e3779b1u >> 16) % kSlots];
    if (slot.text.data() == text.data() && slot.text.size() == text.size()) return slot.uri;
    slot.text = text;
    KnownUri& uri = slot.uri;
    uri.view = UriView::Parse(text);
    uri.ip = uri.view ? IpAddress::Parse(uri.view->host) : std::nullopt;
    uri.of_server = uri.view && server.NamesServer(uri.view->host, uri.ip, uri.view->port);
    uri.loose = uri.view && uri.view->loose();
    return uri;
  }
  void Forget() {
    for (Slot& slot : slots_) slot.text = {};
  }

 private:
  static constexpr std::size_t kSlots = 16;
  struct Slot {
    std::string_view text;
    KnownUri uri;
  };
  std::array<Slot, kSlots> slots_;
};

}  // namespace sipheal::inline v0_1::sip
