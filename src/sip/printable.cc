// SPDX-License-Identifier: Apache-2.0
#include "sip/printable.h"

#include <chrono>

#include "absl/strings/str_format.h"
#include "base/utf8.h"

namespace sipheal::inline v0_1::sip {

std::string Printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    char32_t code = 0;
    const std::size_t length = internal::DecodeUtf8(text, code);
    if (length > 0 && !internal::IsInvisible(code)) {
      out.append(text.substr(0, length));
      text.remove_prefix(length);
      continue;
    }
    for (std::size_t bytes = length > 0 ? length : 1; bytes > 0; --bytes) {
      out += absl::StrFormat("\\x%02x", static_cast<unsigned char>(text.front()));
      text.remove_prefix(1);
    }
  }
  return out;
}

std::string Clock(CaptureTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::hh_mm_ss<std::chrono::microseconds> clock(time - day);
  return absl::StrFormat("%02d:%02d:%02d.%06d", clock.hours().count(), clock.minutes().count(),
                         clock.seconds().count(), clock.subseconds().count());
}

}  // namespace sipheal::inline v0_1::sip
