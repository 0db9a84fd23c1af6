// SPDX-License-Identifier: Apache-2.0
#include "sipheal/model/session.h"

#include <charconv>

#include "absl/strings/str_format.h"
#include "base/absl_compat.h"

namespace sipheal::inline v0_1 {
namespace {

constexpr std::string_view kChannelPrefix = "sipheal-";

// FNV-1a, 64 bit, with a basis of choice: stable across processes and machines, which std::hash is
// not.
std::uint64_t Fnv1a(std::uint64_t hash, std::string_view text) {
  for (const unsigned char c : text) {
    hash ^= c;
    hash *= 0x100000001b3u;
  }
  // A separator, so that ("ab","c") and ("a","bc") differ.
  hash ^= 0xff;
  return hash * 0x100000001b3u;
}

std::uint64_t Hash(std::uint64_t basis, const Incarnation& incarnation,
                   std::string_view channel_id) {
  return Fnv1a(Fnv1a(Fnv1a(basis, incarnation.instance), incarnation.life), channel_id);
}

std::optional<std::uint32_t> ParseNumber(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string_view ToString(SessionState state) {
  switch (state) {
    case SessionState::kRinging:
      return "ringing";
    case SessionState::kUp:
      return "up";
    case SessionState::kEnded:
      return "ended";
  }
  return "unknown";
}

std::string MakeSessionId(const Incarnation& incarnation, std::string_view channel_id) {
  // Two independent 64-bit hashes: 128 bits are enough that two calls never share an id by
  // accident.
  return absl::StrFormat("%016x%016x", Hash(0xcbf29ce484222325u, incarnation, channel_id),
                         Hash(0x84222325cbf29ce4u, incarnation, channel_id));
}

std::string ToChannelId(const RecoveryChannel& channel) {
  return absl::StrFormat("%s%s-%d-%d", internal::AbslView(kChannelPrefix), channel.session.id,
                         channel.session.epoch, channel.attempt);
}

std::optional<RecoveryChannel> ParseRecoveryChannelId(std::string_view channel_id) {
  if (channel_id.substr(0, kChannelPrefix.size()) != kChannelPrefix) return std::nullopt;
  channel_id.remove_prefix(kChannelPrefix.size());
  const std::size_t last = channel_id.rfind('-');
  if (last == std::string_view::npos || last == 0) return std::nullopt;
  const std::size_t middle = channel_id.rfind('-', last - 1);
  if (middle == std::string_view::npos || middle == 0) return std::nullopt;
  const auto epoch = ParseNumber(channel_id.substr(middle + 1, last - middle - 1));
  const auto attempt = ParseNumber(channel_id.substr(last + 1));
  if (!epoch || !attempt) return std::nullopt;
  return RecoveryChannel{{std::string(channel_id.substr(0, middle)), *epoch}, *attempt};
}

}  // namespace sipheal::inline v0_1
