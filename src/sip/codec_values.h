// SPDX-License-Identifier: Apache-2.0
// The structures of a dialog as a stored dialog's bytes. What is read takes the place of all that
// was there.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sip/codec_bytes.h"
#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip::codec {

inline constexpr Field kLastField = static_cast<Field>(kFieldCount - 1);

// The two directions of each structure stand next to each other, so that they stay the same.

inline void PutSeq(ByteWriter& w, const std::optional<std::uint32_t>& seq) {
  w.Flag(seq.has_value());
  if (seq) w.Number(*seq);
}
inline void GetSeq(ByteReader& r, std::optional<std::uint32_t>& seq) {
  seq.reset();
  if (r.Flag()) seq = r.Number32();
}

inline void PutTime(ByteWriter& w, const std::optional<CaptureTime>& time) {
  w.Flag(time.has_value());
  if (time) w.Time(*time);
}
inline void GetTime(ByteReader& r, std::optional<CaptureTime>& time) {
  time.reset();
  if (r.Flag()) time = r.Time();
}

inline void Put(ByteWriter& w, const DialogParty& party) {
  w.Text(party.display);
  w.Text(party.uri);
  w.Text(party.params);
  w.Text(party.tag);
}
inline void Get(ByteReader& r, DialogParty& party) {
  party.display = r.Text();
  party.uri = r.Text();
  party.params = r.Text();
  party.tag = r.Text();
}

inline void Put(ByteWriter& w, const IpAddress& ip) {
  const std::size_t size = ip.is_v4() ? 4 : ip.is_v6() ? 16 : 0;
  w.Text(std::string_view(reinterpret_cast<const char*>(ip.bytes().data()), size));
}
inline void Get(ByteReader& r, IpAddress& ip) {
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

inline void Put(ByteWriter& w, const Endpoint& endpoint) {
  Put(w, endpoint.ip);
  w.Number(endpoint.port);
}
inline void Get(ByteReader& r, Endpoint& endpoint) {
  Get(r, endpoint.ip);
  endpoint.port = r.Number16();
}

inline void Put(ByteWriter& w, const MessageRef& message) {
  w.Number(message.sequence);
  w.Time(message.time);
}
inline void Get(ByteReader& r, MessageRef& message) {
  message.sequence = r.Number();
  message.time = r.Time();
}

inline void Put(ByteWriter& w, const SdpSummary& sdp) {
  for (const std::string* text :
       {&sdp.origin_user, &sdp.origin_session_id, &sdp.origin_version, &sdp.origin_net_type,
        &sdp.origin_address_type, &sdp.origin_address, &sdp.address}) {
    w.Text(*text);
  }
  w.Number(static_cast<std::uint64_t>(sdp.direction));
  w.Number(sdp.media.size());
  for (const SdpMedia& media : sdp.media) {
    w.Text(media.type);
    w.Number(media.port);
    w.Text(media.protocol);
    w.Text(media.formats);
    w.Text(media.rtpmaps);
    w.Text(media.address);
    w.Number(static_cast<std::uint64_t>(media.direction));
  }
}
inline void Get(ByteReader& r, SdpSummary& sdp) {
  for (std::string* text :
       {&sdp.origin_user, &sdp.origin_session_id, &sdp.origin_version, &sdp.origin_net_type,
        &sdp.origin_address_type, &sdp.origin_address, &sdp.address}) {
    *text = r.Text();
  }
  sdp.direction = r.Enum(SdpDirection::kInactive);
  sdp.media.clear();
  for (std::uint64_t left = r.Below(kMaxList); left > 0 && r.ok(); --left) {
    SdpMedia& media = sdp.media.emplace_back();
    media.type = r.Text();
    media.port = r.Number16();
    media.protocol = r.Text();
    media.formats = r.Text();
    media.rtpmaps = r.Text();
    media.address = r.Text();
    media.direction = r.Enum(SdpDirection::kInactive);
  }
}

inline void Put(ByteWriter& w, const OpenTransaction& open) {
  w.Text(open.method);
  w.Number(open.cseq);
  w.Flag(open.sent_by_server);
  w.Flag(open.awaits_ack);
  w.Flag(open.provisional_seen);
  Put(w, open.request);
  PutTime(w, open.expires_at);
}
inline void Get(ByteReader& r, OpenTransaction& open) {
  open.method = r.Text();
  open.cseq = r.Number32();
  open.sent_by_server = r.Flag();
  open.awaits_ack = r.Flag();
  open.provisional_seen = r.Flag();
  Get(r, open.request);
  GetTime(r, open.expires_at);
}

inline void Put(ByteWriter& w, const DialogUsage& usage) {
  w.Text(usage.event);
  w.Text(usage.id);
  w.Flag(usage.server_subscribes);
  w.Flag(usage.active);
  Put(w, usage.message);
  PutTime(w, usage.expires_at);
}
inline void Get(ByteReader& r, DialogUsage& usage) {
  usage.event = r.Text();
  usage.id = r.Text();
  usage.server_subscribes = r.Flag();
  usage.active = r.Flag();
  Get(r, usage.message);
  GetTime(r, usage.expires_at);
}

inline void Put(ByteWriter& w, const DialogLink& link) {
  w.Text(link.call_id);
  w.Text(link.local_tag);
  w.Text(link.remote_tag);
  w.Text(link.reason);
}
inline void Get(ByteReader& r, DialogLink& link) {
  link.call_id = r.Text();
  link.local_tag = r.Text();
  link.remote_tag = r.Text();
  link.reason = r.Text();
}

inline void Put(ByteWriter& w, const ToldDialog& told) {
  w.Text(told.call_id);
  w.Text(told.notifier_tag);
  w.Text(told.other_tag);
  w.Number(told.notifier_seq);
  w.Number(told.other_seq);
  Put(w, told.message);
}
inline void Get(ByteReader& r, ToldDialog& told) {
  told.call_id = r.Text();
  told.notifier_tag = r.Text();
  told.other_tag = r.Text();
  told.notifier_seq = r.Number32();
  told.other_seq = r.Number32();
  Get(r, told.message);
}

inline void Put(ByteWriter& w, const Evidence& evidence) {
  w.Number(static_cast<std::uint64_t>(evidence.field));
  Put(w, evidence.message);
  const EvidenceReason& reason = evidence.reason;
  w.Number(static_cast<std::uint64_t>(reason.reason));
  w.Number(static_cast<std::uint64_t>(reason.method));
  w.Number(reason.status);
  w.Flag(reason.without_own_entry);
  w.Flag(reason.stored_earlier);
  w.Text(evidence.named);
}
inline void Get(ByteReader& r, Evidence& evidence) {
  evidence.field = r.Enum(kLastField);
  Get(r, evidence.message);
  EvidenceReason& reason = evidence.reason;
  const std::uint64_t number = r.Below(255);
  reason.reason = number <= static_cast<std::uint64_t>(kLastReason) ? static_cast<Reason>(number)
                                                                    : Reason::kNewer;
  reason.method = r.Enum(Method::kPublish);
  reason.status = r.Number16();
  reason.without_own_entry = r.Flag();
  reason.stored_earlier = r.Flag();
  evidence.named = r.Text();
}
// As older releases wrote it: the reason is a sentence.
inline void GetSentences(ByteReader& r, std::vector<Evidence>& list) {
  list.clear();
  for (std::uint64_t left = r.Below(kMaxList); left > 0 && r.ok(); --left) {
    Evidence& evidence = list.emplace_back();
    evidence.field = r.Enum(kLastField);
    Get(r, evidence.message);
    evidence.named = r.Text();
  }
}

inline void Put(ByteWriter& w, const Conflict& conflict) {
  w.Number(static_cast<std::uint64_t>(conflict.field));
  Put(w, conflict.message);
  w.Text(conflict.loser);
  w.Text(conflict.reason);
  w.Flag(conflict.undecided);
}
inline void Get(ByteReader& r, Conflict& conflict) {
  conflict.field = r.Enum(kLastField);
  Get(r, conflict.message);
  conflict.loser = r.Text();
  conflict.reason = r.Text();
  conflict.undecided = r.Flag();
}

template <typename T>
inline void PutList(ByteWriter& w, const std::vector<T>& list) {
  w.Number(list.size());
  for (const T& entry : list) Put(w, entry);
}
template <typename T>
inline void GetList(ByteReader& r, std::vector<T>& list) {
  list.clear();
  for (std::uint64_t left = r.Below(kMaxList); left > 0 && r.ok(); --left)
    Get(r, list.emplace_back());
}

}  // namespace sipheal::inline v0_1::sip::codec
