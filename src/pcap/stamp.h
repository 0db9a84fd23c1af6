// SPDX-License-Identifier: Apache-2.0
// Where in the capture something stands.
#pragma once

#include <cstdint>

#include "sipheal/sip/captured_message.h"

namespace sipheal::inline v0_1::pcap {

struct Stamp {
  std::uint64_t frame = 0;  // counted from 1
  sip::CaptureTime time{};
};

// The later of the two in the file.
inline const Stamp& Later(const Stamp& a, const Stamp& b) { return a.frame < b.frame ? b : a; }

}  // namespace sipheal::inline v0_1::pcap
