// SPDX-License-Identifier: Apache-2.0
// An IP network as text gives it: "192.0.2.7", "10.0.0.0/8", "2001:db8::/32".
#pragma once

#include <optional>
#include <string_view>

#include "sipheal/sip/address.h"

namespace sipheal::inline v0_1::hep {

class Network {
 public:
  // Empty when the text is no address or the prefix does not fit its family.
  static std::optional<Network> Parse(std::string_view text);
  bool Contains(const sip::IpAddress& ip) const;

 private:
  Network(sip::IpAddress base, int prefix) : base_(base), prefix_(prefix) {}

  sip::IpAddress base_;
  int prefix_;
};

}  // namespace sipheal::inline v0_1::hep
