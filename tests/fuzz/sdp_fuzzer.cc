// SPDX-License-Identifier: Apache-2.0
// Any text as a session description: reducing it to what is kept loses nothing that is read.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sipheal/sip/sdp.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sipheal::sip;  // NOLINT: a fuzz target is one function
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto whole = ParseSdp(text);
  std::string compact;
  AppendCompactSdp(text, &compact);
  if (compact.size() > text.size() + 64) std::abort();
  const auto reduced = ParseSdp(compact);
  if (whole.has_value() != reduced.has_value()) std::abort();
  if (whole && (!(whole->summary == reduced->summary) || !(whole->security == reduced->security) ||
                whole->zero_connection != reduced->zero_connection)) {
    std::abort();
  }
  return 0;
}
