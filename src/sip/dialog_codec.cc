// SPDX-License-Identifier: Apache-2.0
// The format: "SIPD", one version byte, the number of fields as varint, then for each field a tag
// byte, the size of its payload as varint, the payload, and 16 bits of its hash. Fields may come in
// any order; unknown tags are skipped. Within a payload: numbers as varints, texts as a size and
// bytes.
#include "sipheal/sip/dialog_codec.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_format.h"
#include "sip/text.h"

namespace sipheal::inline v0_1::sip {
namespace {

constexpr std::string_view kMagic = "SIPD";
constexpr std::uint8_t kVersion = 1;
// No list in a dialog is longer; a longer one is damage.
constexpr std::uint64_t kMaxList = 4096;

constexpr Field kLastField = static_cast<Field>(kFieldCount - 1);

// Tags are for ever: never reuse a number.
enum Tag : std::uint8_t {
  kCallId = 1,
  kLocal = 2,
  kRemote = 3,
  kKind = 4,
  kLocalSeq = 5,
  kRemoteSeq = 6,
  kRoutes = 7,
  kTargets = 8,
  kTransportTag = 9,
  kSeenHosts = 10,
  kLocalSdp = 11,
  kRemoteSdp = 12,
  kSession = 13,
  kTimer = 14,
  kOpen = 15,
  kAbilities = 16,
  kTimes = 17,
  kEvidence = 18,
  kConflicts = 19,
  kNotes = 20,
  kUsages = 21,
  kLinks = 22,
  kPace = 23,
};

class Writer {
 public:
  explicit Writer(std::size_t expected) { bytes_.reserve(expected); }
  void Clear() { bytes_.clear(); }
  void Bytes(std::string_view bytes) { bytes_ += bytes; }
  void Number(std::uint64_t value) {
    while (value >= 0x80) {
      bytes_ += static_cast<char>(value | 0x80);
      value >>= 7;
    }
    bytes_ += static_cast<char>(value);
  }
  void Text(std::string_view text) {
    Number(text.size());
    bytes_ += text;
  }
  void Flag(bool flag) { Number(flag ? 1 : 0); }
  void Time(CaptureTime time) {
    Number(static_cast<std::uint64_t>(time.time_since_epoch().count()));
  }
  void Texts(const std::vector<std::string>& texts) {
    Number(texts.size());
    for (const std::string& text : texts) Text(text);
  }
  const std::string& bytes() const { return bytes_; }
  std::string Take() && { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  std::uint64_t Number() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) break;
      const auto byte = static_cast<std::uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    ok_ = false;
    return 0;
  }
  // A number that must not be above `limit`.
  std::uint64_t Below(std::uint64_t limit) {
    const std::uint64_t value = Number();
    if (value <= limit) return value;
    ok_ = false;
    return 0;
  }
  std::string_view View(std::size_t size) {
    if (size > rest_.size()) {
      ok_ = false;
      return {};
    }
    std::string_view view = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return view;
  }
  std::string Text() { return std::string(View(Number())); }
  bool Flag() { return Below(1) == 1; }
  CaptureTime Time() {
    return CaptureTime(std::chrono::microseconds(static_cast<std::int64_t>(Number())));
  }
  std::vector<std::string> Texts() {
    std::vector<std::string> texts;
    for (std::uint64_t left = Below(kMaxList); left > 0 && ok_; --left) texts.push_back(Text());
    return texts;
  }
  template <typename E>
  E Enum(E highest) {
    return static_cast<E>(Below(static_cast<std::uint64_t>(highest)));
  }
  bool ok() const { return ok_; }
  bool empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

// The two directions of each structure stand next to each other, so that they stay the same.

void Put(Writer& w, const DialogParty& party) {
  w.Text(party.display);
  w.Text(party.uri);
  w.Text(party.params);
  w.Text(party.tag);
}
void Get(Reader& r, DialogParty& party) {
  party.display = r.Text();
  party.uri = r.Text();
  party.params = r.Text();
  party.tag = r.Text();
}

void Put(Writer& w, const IpAddress& ip) {
  const std::size_t size = ip.is_v4() ? 4 : ip.is_v6() ? 16 : 0;
  w.Text(std::string_view(reinterpret_cast<const char*>(ip.bytes().data()), size));
}
void Get(Reader& r, IpAddress& ip) {
  const std::string bytes = r.Text();
  if (bytes.size() == 4) {
    std::array<std::uint8_t, 4> v4;
    std::copy(bytes.begin(), bytes.end(), v4.begin());
    ip = IpAddress::V4(v4);
  } else if (bytes.size() == 16) {
    std::array<std::uint8_t, 16> v6;
    std::copy(bytes.begin(), bytes.end(), v6.begin());
    ip = IpAddress::V6(v6);
  }
}

void Put(Writer& w, const Endpoint& endpoint) {
  Put(w, endpoint.ip);
  w.Number(endpoint.port);
}
void Get(Reader& r, Endpoint& endpoint) {
  Get(r, endpoint.ip);
  endpoint.port = static_cast<std::uint16_t>(r.Below(65535));
}

void Put(Writer& w, const MessageRef& message) {
  w.Number(message.sequence);
  w.Time(message.time);
}
void Get(Reader& r, MessageRef& message) {
  message.sequence = r.Number();
  message.time = r.Time();
}

void Put(Writer& w, const SdpSummary& sdp) {
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
void Get(Reader& r, SdpSummary& sdp) {
  for (std::string* text :
       {&sdp.origin_user, &sdp.origin_session_id, &sdp.origin_version, &sdp.origin_net_type,
        &sdp.origin_address_type, &sdp.origin_address, &sdp.address}) {
    *text = r.Text();
  }
  sdp.direction = r.Enum(SdpDirection::kInactive);
  for (std::uint64_t left = r.Below(kMaxList); left > 0 && r.ok(); --left) {
    SdpMedia& media = sdp.media.emplace_back();
    media.type = r.Text();
    media.port = static_cast<std::uint16_t>(r.Below(65535));
    media.protocol = r.Text();
    media.formats = r.Text();
    media.rtpmaps = r.Text();
    media.address = r.Text();
    media.direction = r.Enum(SdpDirection::kInactive);
  }
}

void Put(Writer& w, const OpenTransaction& open) {
  w.Text(open.method);
  w.Number(open.cseq);
  w.Flag(open.sent_by_server);
  w.Flag(open.awaits_ack);
  w.Flag(open.provisional_seen);
  Put(w, open.request);
  w.Flag(open.expires_at.has_value());
  if (open.expires_at) w.Time(*open.expires_at);
}
void Get(Reader& r, OpenTransaction& open) {
  open.method = r.Text();
  open.cseq = static_cast<std::uint32_t>(r.Below(0xffffffffu));
  open.sent_by_server = r.Flag();
  open.awaits_ack = r.Flag();
  open.provisional_seen = r.Flag();
  Get(r, open.request);
  if (r.Flag()) open.expires_at = r.Time();
}

void Put(Writer& w, const DialogUsage& usage) {
  w.Text(usage.event);
  w.Text(usage.id);
  w.Flag(usage.server_subscribes);
  w.Flag(usage.active);
  Put(w, usage.message);
  w.Flag(usage.expires_at.has_value());
  if (usage.expires_at) w.Time(*usage.expires_at);
}
void Get(Reader& r, DialogUsage& usage) {
  usage.event = r.Text();
  usage.id = r.Text();
  usage.server_subscribes = r.Flag();
  usage.active = r.Flag();
  Get(r, usage.message);
  if (r.Flag()) usage.expires_at = r.Time();
}

void Put(Writer& w, const DialogLink& link) {
  w.Text(link.call_id);
  w.Text(link.local_tag);
  w.Text(link.remote_tag);
  w.Text(link.reason);
}
void Get(Reader& r, DialogLink& link) {
  link.call_id = r.Text();
  link.local_tag = r.Text();
  link.remote_tag = r.Text();
  link.reason = r.Text();
}

void Put(Writer& w, const ToldDialog& told) {
  w.Text(told.call_id);
  w.Text(told.notifier_tag);
  w.Text(told.other_tag);
  w.Number(told.notifier_seq);
  w.Number(told.other_seq);
  Put(w, told.message);
}
void Get(Reader& r, ToldDialog& told) {
  told.call_id = r.Text();
  told.notifier_tag = r.Text();
  told.other_tag = r.Text();
  told.notifier_seq = static_cast<std::uint32_t>(r.Below(0xffffffffu));
  told.other_seq = static_cast<std::uint32_t>(r.Below(0xffffffffu));
  Get(r, told.message);
}

void Put(Writer& w, const Evidence& evidence) {
  w.Number(static_cast<std::uint64_t>(evidence.field));
  Put(w, evidence.message);
  w.Text(evidence.reason);
}
void Get(Reader& r, Evidence& evidence) {
  evidence.field = r.Enum(kLastField);
  Get(r, evidence.message);
  evidence.reason = r.Text();
}

void Put(Writer& w, const Conflict& conflict) {
  w.Number(static_cast<std::uint64_t>(conflict.field));
  Put(w, conflict.message);
  w.Text(conflict.loser);
  w.Text(conflict.reason);
  w.Flag(conflict.undecided);
}
void Get(Reader& r, Conflict& conflict) {
  conflict.field = r.Enum(kLastField);
  Get(r, conflict.message);
  conflict.loser = r.Text();
  conflict.reason = r.Text();
  conflict.undecided = r.Flag();
}

template <typename T>
void PutList(Writer& w, const std::vector<T>& list) {
  w.Number(list.size());
  for (const T& entry : list) Put(w, entry);
}
template <typename T>
void GetList(Reader& r, std::vector<T>& list) {
  for (std::uint64_t left = r.Below(kMaxList); left > 0 && r.ok(); --left)
    Get(r, list.emplace_back());
}

void PutSeq(Writer& w, const std::optional<std::uint32_t>& seq) {
  w.Flag(seq.has_value());
  if (seq) w.Number(*seq);
}
void GetSeq(Reader& r, std::optional<std::uint32_t>& seq) {
  if (r.Flag()) seq = static_cast<std::uint32_t>(r.Below(0xffffffffu));
}

// One field of the format: how it is written and read, and what is missing when it cannot be.
struct FieldCodec {
  Tag tag;
  void (*put)(Writer&, const DialogState&);
  void (*get)(Reader&, DialogState&);
  std::optional<Field> needed;
  bool added_later = false;  // records of older releases do not have it, and are not damaged
};

const FieldCodec kFields[] = {
    {kCallId, [](Writer& w, const DialogState& d) { w.Text(d.call_id); },
     [](Reader& r, DialogState& d) { d.call_id = r.Text(); }, Field::kCallId},
    {kLocal, [](Writer& w, const DialogState& d) { Put(w, d.local); },
     [](Reader& r, DialogState& d) { Get(r, d.local); }, Field::kLocalTag},
    {kRemote, [](Writer& w, const DialogState& d) { Put(w, d.remote); },
     [](Reader& r, DialogState& d) { Get(r, d.remote); }, Field::kRemoteTag},
    {kKind,
     [](Writer& w, const DialogState& d) {
       w.Number(static_cast<std::uint64_t>(d.role));
       w.Number(static_cast<std::uint64_t>(d.phase));
       w.Number(static_cast<std::uint64_t>(d.end));
       w.Flag(d.secure);
     },
     [](Reader& r, DialogState& d) {
       d.role = r.Enum(DialogRole::kUas);
       d.phase = r.Enum(DialogPhase::kTerminated);
       d.end = r.Enum(DialogEnd::kReplaced);
       d.secure = r.Flag();
     },
     Field::kPhase},
    {kLocalSeq, [](Writer& w, const DialogState& d) { PutSeq(w, d.local_seq); },
     [](Reader& r, DialogState& d) { GetSeq(r, d.local_seq); }, Field::kLocalSeq},
    {kRemoteSeq, [](Writer& w, const DialogState& d) { PutSeq(w, d.remote_seq); },
     [](Reader& r, DialogState& d) { GetSeq(r, d.remote_seq); }, std::nullopt},
    {kRoutes,
     [](Writer& w, const DialogState& d) {
       w.Texts(d.route_set);
       w.Texts(d.record_route);
     },
     [](Reader& r, DialogState& d) {
       d.route_set = r.Texts();
       d.record_route = r.Texts();
     },
     Field::kRouteSet},
    {kTargets,
     [](Writer& w, const DialogState& d) {
       w.Text(d.remote_target);
       w.Text(d.pending_remote_target);
       w.Text(d.contact_target);
       w.Text(d.local_target);
     },
     [](Reader& r, DialogState& d) {
       d.remote_target = r.Text();
       d.pending_remote_target = r.Text();
       d.contact_target = r.Text();
       d.local_target = r.Text();
     },
     Field::kRemoteTarget},
    {kTransportTag,
     [](Writer& w, const DialogState& d) {
       w.Number(static_cast<std::uint64_t>(d.transport));
       Put(w, d.next_hop);
       Put(w, d.observed_source);
       w.Flag(d.flow_held_by_server);
     },
     [](Reader& r, DialogState& d) {
       d.transport = r.Enum(Transport::kWss);
       Get(r, d.next_hop);
       Get(r, d.observed_source);
       d.flow_held_by_server = r.Flag();
     },
     // Whether the flow died with the server is then not known.
     Field::kInviteUsage},
    {kSeenHosts, [](Writer& w, const DialogState& d) { PutList(w, d.seen_hosts); },
     [](Reader& r, DialogState& d) { GetList(r, d.seen_hosts); }, std::nullopt},
    {kLocalSdp,
     [](Writer& w, const DialogState& d) {
       Put(w, d.local_sdp);
       w.Text(d.highest_local_sdp_version);
     },
     [](Reader& r, DialogState& d) {
       Get(r, d.local_sdp);
       d.highest_local_sdp_version = r.Text();
     },
     Field::kLocalSdp},
    {kRemoteSdp, [](Writer& w, const DialogState& d) { Put(w, d.remote_sdp); },
     [](Reader& r, DialogState& d) { Get(r, d.remote_sdp); }, Field::kRemoteSdp},
    {kSession,
     [](Writer& w, const DialogState& d) {
       w.Flag(d.held_by_local);
       w.Flag(d.held_by_remote);
       w.Flag(d.media_security.sdes);
       w.Flag(d.media_security.dtls);
       w.Flag(d.media_security.ice);
     },
     [](Reader& r, DialogState& d) {
       d.held_by_local = r.Flag();
       d.held_by_remote = r.Flag();
       d.media_security.sdes = r.Flag();
       d.media_security.dtls = r.Flag();
       d.media_security.ice = r.Flag();
     },
     // Whether the media is encrypted is then not known.
     Field::kInviteUsage},
    {kTimer,
     [](Writer& w, const DialogState& d) {
       w.Number(static_cast<std::uint64_t>(d.session_timer.interval.count()));
       w.Flag(d.session_timer.local_refreshes);
       w.Time(d.session_timer.since);
       w.Time(d.session_timer.expires_at);
       w.Flag(d.deadline.has_value());
       if (d.deadline) w.Time(*d.deadline);
       w.Text(d.deadline_reason);
     },
     [](Reader& r, DialogState& d) {
       d.session_timer.interval = std::chrono::seconds(r.Below(0xffffffffu));
       d.session_timer.local_refreshes = r.Flag();
       d.session_timer.since = r.Time();
       d.session_timer.expires_at = r.Time();
       if (r.Flag()) d.deadline = r.Time();
       d.deadline_reason = r.Text();
     },
     Field::kSessionTimer},
    {kOpen, [](Writer& w, const DialogState& d) { PutList(w, d.open_transactions); },
     [](Reader& r, DialogState& d) { GetList(r, d.open_transactions); }, std::nullopt},
    {kAbilities,
     [](Writer& w, const DialogState& d) {
       w.Text(d.remote_supported);
       w.Text(d.remote_allow);
     },
     [](Reader& r, DialogState& d) {
       d.remote_supported = r.Text();
       d.remote_allow = r.Text();
     },
     std::nullopt},
    {kTimes,
     [](Writer& w, const DialogState& d) {
       w.Time(d.created_at);
       w.Time(d.confirmed_at);
       w.Time(d.last_seen);
     },
     [](Reader& r, DialogState& d) {
       d.created_at = r.Time();
       d.confirmed_at = r.Time();
       d.last_seen = r.Time();
     },
     std::nullopt},
    {kEvidence, [](Writer& w, const DialogState& d) { PutList(w, d.evidence); },
     [](Reader& r, DialogState& d) { GetList(r, d.evidence); }, std::nullopt},
    {kConflicts, [](Writer& w, const DialogState& d) { PutList(w, d.conflicts); },
     [](Reader& r, DialogState& d) { GetList(r, d.conflicts); }, std::nullopt},
    {kNotes,
     [](Writer& w, const DialogState& d) {
       w.Number(d.missing.size());
       for (Field field : d.missing) w.Number(static_cast<std::uint64_t>(field));
       w.Texts(d.warnings);
       w.Number(d.quarantined);
       w.Flag(d.limits_reached);
       w.Flag(d.from_stored_state);
     },
     [](Reader& r, DialogState& d) {
       for (std::uint64_t left = r.Below(kMaxList); left > 0 && r.ok(); --left) {
         d.missing.push_back(r.Enum(kLastField));
       }
       d.warnings = r.Texts();
       d.quarantined = static_cast<std::uint32_t>(r.Below(0xffffffffu));
       d.limits_reached = r.Flag();
       d.from_stored_state = r.Flag();
     },
     // What was missing is then not known.
     Field::kInviteUsage},
    {kUsages,
     [](Writer& w, const DialogState& d) {
       PutList(w, d.usages);
       w.Flag(d.resync_needed);
       w.Texts(d.redirect_targets);
     },
     [](Reader& r, DialogState& d) {
       GetList(r, d.usages);
       d.resync_needed = r.Flag();
       d.redirect_targets = r.Texts();
     },
     std::nullopt, true},
    {kLinks,
     [](Writer& w, const DialogState& d) {
       PutList(w, d.links);
       w.Text(d.references.replaces);
       w.Text(d.references.session_id);
       w.Text(d.references.charging_id);
       w.Text(d.references.other_call_id);
       PutList(w, d.references.told);
     },
     [](Reader& r, DialogState& d) {
       GetList(r, d.links);
       d.references.replaces = r.Text();
       d.references.session_id = r.Text();
       d.references.charging_id = r.Text();
       d.references.other_call_id = r.Text();
       GetList(r, d.references.told);
     },
     std::nullopt, true},
    {kPace,
     [](Writer& w, const DialogState& d) {
       w.Number(static_cast<std::uint64_t>(d.local_pace.count()));
       w.Number(static_cast<std::uint64_t>(d.session_timer.min_interval.count()));
     },
     [](Reader& r, DialogState& d) {
       d.local_pace = std::chrono::microseconds(static_cast<std::int64_t>(r.Number()));
       d.session_timer.min_interval = std::chrono::seconds(r.Below(0xffffffffu));
     },
     std::nullopt, true},
};

std::uint16_t Check(std::uint8_t tag, std::string_view payload) {
  return static_cast<std::uint16_t>(HashBytes(payload, tag));
}

}  // namespace

std::string EncodeDialog(const DialogState& dialog) {
  Writer out(3072);
  out.Bytes(kMagic);
  out.Number(kVersion);
  out.Number(std::size(kFields));
  Writer payload(1024);
  for (const FieldCodec& field : kFields) {
    payload.Clear();
    field.put(payload, dialog);
    out.Number(field.tag);
    out.Text(payload.bytes());
    out.Number(Check(field.tag, payload.bytes()));
  }
  return std::move(out).Take();
}

absl::StatusOr<DecodedDialog> DecodeDialog(std::string_view bytes) {
  if (bytes.substr(0, kMagic.size()) != kMagic || bytes.size() < kMagic.size() + 2) {
    return absl::InvalidArgumentError(
        "stored dialog not read: the bytes are no encoded dialog: drop the record");
  }
  const auto version = static_cast<std::uint8_t>(bytes[kMagic.size()]);
  if (version != kVersion) {
    return absl::InvalidArgumentError(
        absl::StrFormat("stored dialog not read: its format is %d, this reads %d: update sipheal",
                        version, kVersion));
  }
  Reader reader(bytes.substr(kMagic.size() + 1));
  const std::uint64_t count = reader.Below(255);
  DecodedDialog result;
  bool seen[256] = {};
  bool met[256] = {};
  std::uint64_t read = 0;
  while (read < count && reader.ok() && !reader.empty()) {
    const auto tag = static_cast<std::uint8_t>(reader.Below(255));
    const std::string_view payload = reader.View(reader.Number());
    const std::uint64_t check = reader.Number();
    if (!reader.ok()) break;
    ++read;
    met[tag] = true;
    auto codec = std::find_if(std::begin(kFields), std::end(kFields),
                              [tag](const FieldCodec& field) { return field.tag == tag; });
    if (codec == std::end(kFields)) {
      ++result.unknown_fields;
      continue;
    }
    if (seen[tag] || check != Check(tag, payload)) continue;
    // Into a copy, so that a field that breaks half-way leaves nothing behind.
    DialogState trial = result.dialog;
    Reader field(payload);
    codec->get(field, trial);
    if (!field.ok()) continue;
    result.dialog = std::move(trial);
    seen[tag] = true;
  }
  for (const FieldCodec& field : kFields) {
    if (seen[field.tag]) continue;
    if (field.added_later && !met[field.tag] && read == count) continue;
    ++result.damaged_fields;
    if (!field.needed) continue;
    result.dialog.missing.push_back(*field.needed);
    if (field.tag == kKind) result.dialog.missing.push_back(Field::kEnd);
  }
  std::vector<Field>& missing = result.dialog.missing;
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  if (result.dialog.call_id.empty() || (!seen[kLocal] && !seen[kRemote])) {
    return absl::DataLossError(
        "stored dialog not read: Call-ID and tags are damaged: the dialog cannot be told from "
        "others");
  }
  return result;
}

}  // namespace sipheal::inline v0_1::sip
