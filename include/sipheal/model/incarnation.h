// SPDX-License-Identifier: Apache-2.0
// An instance is one media server by name; an incarnation is one life of it, from start to death.
#pragma once

#include <compare>
#include <string>

namespace sipheal::inline v0_1 {

struct Incarnation {
  // The name under which the host knows the media server; 1 to 64 characters.
  std::string instance;
  // What tells this life from another: for Asterisk the start-up time that ARI reports
  // (GET /ari/asterisk/info, status.startup_time). Opaque; only equality means something.
  std::string life;

  friend auto operator<=>(const Incarnation&, const Incarnation&) = default;
};

}  // namespace sipheal::inline v0_1
