// SPDX-License-Identifier: Apache-2.0
// The structures of a dialog as a stored dialog's bytes. One function says for both directions what
// there is and in which order: Code(ByteWriter&, value) writes it, Code(ByteReader&, value) puts
// what is read in place of all that was there.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "sip/codec_bytes.h"
#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip::codec {

inline constexpr Field kLastField = static_cast<Field>(kFieldCount - 1);

template <typename Coder>
inline constexpr bool kReads = std::same_as<Coder, ByteReader>;

// T, or what a writer is given: T that is const.
template <typename Value, typename T>
concept Is = std::same_as<std::remove_const_t<Value>, T>;

// --- values ---

inline void Code(ByteWriter& w, const std::string& text) { w.Text(text); }
inline void Code(ByteReader& r, std::string& text) { text = r.Text(); }
inline void Code(ByteWriter& w, const std::vector<std::string>& texts) { w.Texts(texts); }
inline void Code(ByteReader& r, std::vector<std::string>& texts) { r.Texts(texts); }
inline void Code(ByteWriter& w, const CaptureTime& time) { w.Time(time); }
inline void Code(ByteReader& r, CaptureTime& time) { time = r.Time(); }

// `most` of a number is what its type holds, of an enumeration its last value.
template <typename Coder, typename T>
requires(std::integral<T> || std::is_enum_v<T>) void CodeNumber(Coder& coder, T& number,
                                                                std::uint64_t most) {
  if constexpr (kReads<Coder>) {
    number = static_cast<T>(coder.Below(most));
  } else {
    coder.Number(static_cast<std::uint64_t>(number));
  }
}
template <typename Coder, std::unsigned_integral T>
void Code(Coder& coder, T& number) {
  CodeNumber(coder, number, std::numeric_limits<std::remove_const_t<T>>::max());
}
template <typename Coder, typename T>
requires(std::is_enum_v<T>) void CodeEnum(Coder& coder, T& value, std::remove_const_t<T> last) {
  CodeNumber(coder, value, static_cast<std::uint64_t>(last));
}
template <typename Coder, Is<std::chrono::seconds> T>
void Code(Coder& coder, T& interval) {
  if constexpr (kReads<Coder>) {
    interval = std::chrono::seconds(coder.Below(0xffffffffu));
  } else {
    coder.Number(static_cast<std::uint64_t>(interval.count()));
  }
}
template <typename Coder, Is<std::chrono::microseconds> T>
void Code(Coder& coder, T& pace) {
  if constexpr (kReads<Coder>) {
    pace = std::chrono::microseconds(static_cast<std::int64_t>(coder.Number()));
  } else {
    coder.Number(static_cast<std::uint64_t>(pace.count()));
  }
}
template <typename Coder, Is<Field> T>
void Code(Coder& coder, T& field) {
  CodeEnum(coder, field, kLastField);
}

template <typename T>
void Code(ByteWriter& w, const std::optional<T>& value) {
  w.Flag(value.has_value());
  if (value) Code(w, *value);
}
template <typename T>
void Code(ByteReader& r, std::optional<T>& value) {
  value.reset();
  if (r.Flag()) Code(r, value.emplace());
}

// Reads a list, each entry by read(entry).
template <typename T, typename Read>
void ReadList(ByteReader& r, std::vector<T>& list, Read read) {
  list.clear();
  for (std::uint64_t left = r.Below(kMaxList); left > 0 && r.ok(); --left) {
    read(list.emplace_back());
  }
}
template <typename T>
void Code(ByteWriter& w, const std::vector<T>& list) {
  w.Number(list.size());
  for (const T& entry : list) Code(w, entry);
}
template <typename T>
void Code(ByteReader& r, std::vector<T>& list) {
  ReadList(r, list, [&r](T& entry) { Code(r, entry); });
}

template <typename Coder, typename... Values>
void CodeAll(Coder& coder, Values&... values) {
  (Code(coder, values), ...);
}

// --- structures ---

inline void Code(ByteWriter& w, const IpAddress& ip) {
  const std::size_t size = ip.is_v4() ? 4 : ip.is_v6() ? 16 : 0;
  w.Text(std::string_view(reinterpret_cast<const char*>(ip.bytes().data()), size));
}
inline void Code(ByteReader& r, IpAddress& ip) {
  const std::string_view bytes = r.Text();
  if (bytes.size() == 4) {
    std::array<std::uint8_t, 4> v4;
    std::copy(bytes.begin(), bytes.end(), v4.begin());
    ip = IpAddress::V4(v4);
  } else if (bytes.size() == 16) {
    std::array<std::uint8_t, 16> v6;
    std::copy(bytes.begin(), bytes.end(), v6.begin());
    ip = IpAddress::V6(v6);
  } else {
    ip = {};
  }
}

template <typename Coder, Is<Endpoint> T>
void Code(Coder& coder, T& endpoint) {
  CodeAll(coder, endpoint.ip, endpoint.port);
}

template <typename Coder, Is<MessageRef> T>
void Code(Coder& coder, T& message) {
  CodeAll(coder, message.sequence, message.time);
}

template <typename Coder, Is<DialogParty> T>
void Code(Coder& coder, T& party) {
  CodeAll(coder, party.display, party.uri, party.params, party.tag);
}

template <typename Coder, Is<SdpMedia> T>
void Code(Coder& coder, T& media) {
  CodeAll(coder, media.type, media.port, media.protocol, media.formats, media.rtpmaps,
          media.address);
  CodeEnum(coder, media.direction, SdpDirection::kInactive);
}

template <typename Coder, Is<SdpSummary> T>
void Code(Coder& coder, T& sdp) {
  CodeAll(coder, sdp.origin_user, sdp.origin_session_id, sdp.origin_version, sdp.origin_net_type,
          sdp.origin_address_type, sdp.origin_address, sdp.address);
  CodeEnum(coder, sdp.direction, SdpDirection::kInactive);
  Code(coder, sdp.media);
}

template <typename Coder, Is<OpenTransaction> T>
void Code(Coder& coder, T& open) {
  CodeAll(coder, open.method, open.cseq, open.sent_by_server, open.awaits_ack,
          open.provisional_seen, open.request, open.expires_at);
}

template <typename Coder, Is<DialogUsage> T>
void Code(Coder& coder, T& usage) {
  CodeAll(coder, usage.event, usage.id, usage.server_subscribes, usage.active, usage.message,
          usage.expires_at);
}

template <typename Coder, Is<DialogLink> T>
void Code(Coder& coder, T& link) {
  CodeAll(coder, link.call_id, link.local_tag, link.remote_tag, link.reason);
}

template <typename Coder, Is<ToldDialog> T>
void Code(Coder& coder, T& told) {
  CodeAll(coder, told.call_id, told.notifier_tag, told.other_tag, told.notifier_seq, told.other_seq,
          told.message);
}

// A reason that only a newer release knows is read as that.
template <typename Coder, Is<Reason> T>
void Code(Coder& coder, T& reason) {
  auto number = static_cast<std::uint8_t>(reason);
  Code(coder, number);
  if constexpr (kReads<Coder>) {
    reason = number <= static_cast<std::uint8_t>(kLastReason) ? static_cast<Reason>(number)
                                                              : Reason::kNewer;
  }
}

template <typename Coder, Is<Evidence> T>
void Code(Coder& coder, T& evidence) {
  auto& reason = evidence.reason;
  CodeAll(coder, evidence.field, evidence.message, reason.reason);
  CodeEnum(coder, reason.method, Method::kPublish);
  CodeAll(coder, reason.status, reason.without_own_entry, reason.stored_earlier, evidence.named);
}
// As older releases wrote it: the reason is a sentence.
inline void ReadSentences(ByteReader& r, std::vector<Evidence>& list) {
  ReadList(r, list, [&r](Evidence& evidence) {
    CodeAll(r, evidence.field, evidence.message, evidence.named);
  });
}

template <typename Coder, Is<Conflict> T>
void Code(Coder& coder, T& conflict) {
  CodeAll(coder, conflict.field, conflict.message, conflict.loser, conflict.reason,
          conflict.undecided);
}

}  // namespace sipheal::inline v0_1::sip::codec
