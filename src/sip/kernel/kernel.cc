// SPDX-License-Identifier: Apache-2.0
#include "sip/kernel/kernel.h"

#include <algorithm>
#include <array>

namespace sipheal::inline v0_1::sip::kernel {

ParseResult ParseWith(const Kernel& kernel, std::string_view bytes, const ParseLimits& limits,
                      kernel::ParsedMessage* out) {
  out->bytes = bytes;
  out->method_text = out->reason = out->call_id = out->body = {};
  out->request_uri = {};
  out->size = bytes.size();
  out->cseq = 0;
  out->status = 0;
  out->method = Method::kOther;
  out->body_truncated = false;
  out->table.first.fill(0);
  out->table.last.fill(0);
  if (bytes.empty()) return Fail(ParseError::kEmpty, 0);
  // Offsets are 32 bits wide.
  const std::size_t limit = std::min<std::size_t>(limits.max_bytes, 0x7fffffffu);
  if (bytes.size() > limit) return Fail(ParseError::kTooLarge, limit);
  return kernel.parse(bytes, out);
}

std::span<const Kernel* const> RunnableKernels() {
#if defined(__x86_64__)
  static constexpr std::array<const Kernel*, 3> kAll = {&kAvx2, &kSse2, &kPlain};
  static const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                               __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
  return std::span(kAll).subspan(has_avx2 ? 0 : 1);
#else
  static constexpr std::array<const Kernel*, 1> kAll = {&kPlain};
  return kAll;
#endif
}

}  // namespace sipheal::inline v0_1::sip::kernel
