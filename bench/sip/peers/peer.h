// SPDX-License-Identifier: Apache-2.0
// What each parser of the comparison is asked for, the same of all: From and To with their tags,
// Call-ID, CSeq, Contact, Record-Routes, the top Via and Session-Expires, every URI split into
// user, host and port.
//
// Each peer is a shared object of its own that the bench opens at run time, since the libraries
// share names (sip_*, msg_*, ...) and one that is not installed is then left out.
#pragma once

#include <array>
#include <cstddef>
#include <cstdlib>
#include <string_view>

namespace sipheal::bench {

// C strings as peers hand them out: nullptr is an empty text and no number.
inline std::string_view View(const char* text) {
  return text == nullptr ? std::string_view() : text;
}
inline unsigned Number(const char* text) {
  return text == nullptr ? 0 : static_cast<unsigned>(std::strtoul(text, nullptr, 10));
}

struct UriFields {
  std::string_view user;
  std::string_view host;
  unsigned port = 0;  // 0: none written

  friend bool operator==(const UriFields&, const UriFields&) = default;
};

struct Fields {
  static constexpr std::size_t kMaxRoutes = 8;  // more than any message of the corpus has

  UriFields from;
  UriFields to;
  UriFields contact;  // of the first one; empty: none
  std::array<UriFields, kMaxRoutes> record_routes;
  std::size_t record_route_count = 0;
  std::string_view from_tag;
  std::string_view to_tag;
  std::string_view call_id;
  std::string_view cseq_method;
  unsigned cseq = 0;
  std::string_view via_host;
  std::string_view via_branch;
  unsigned via_port = 0;
  unsigned session_expires = 0;  // 0: none
  std::string_view refresher;
};

struct Peer {
  const char* name;
  const char* (*version)();
  // Once, before anything is read. False: it cannot be used.
  bool (*start)();
  // Parses the message, behind which a NUL byte must stand, and reads the fields. They point into
  // the message or into the peer's memory until Release.
  bool (*read)(const char* bytes, std::size_t size, Fields& fields);
  // Frees what the last Read made.
  void (*release)();
};

}  // namespace sipheal::bench

// The one symbol that a peer exports.
#define SIPHEAL_BENCH_PEER_SYMBOL "sipheal_bench_peer"
