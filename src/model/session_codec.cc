// SPDX-License-Identifier: Apache-2.0
#include "model/session_codec.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

namespace sipheal::inline v0_1::internal {
namespace {

constexpr char kMagic = 'S';
constexpr char kOldestReader = 1;

// The fields of each struct, once: writer and reader both walk this list, so that what one puts the
// other takes.
template <typename Visitor, typename Value>
requires std::is_same_v<std::remove_const_t<Value>, BridgeMembership>
void VisitFields(Visitor& visit, Value& value) {
  visit.Field(1, "id", value.id);
  visit.Field(2, "name", value.name);
  visit.Field(3, "type", value.type);
  visit.Field(4, "technology", value.technology);
  visit.Field(5, "conference", value.conference);
}

template <typename Visitor, typename Value>
requires std::is_same_v<std::remove_const_t<Value>, Playback>
void VisitFields(Visitor& visit, Value& value) {
  visit.Field(1, "id", value.id);
  visit.Field(2, "media", value.media);
  visit.Field(3, "item", value.item);
  visit.Field(4, "item_started", value.item_started);
  visit.Field(5, "skipped", value.skipped);
  visit.Field(6, "paused", value.paused);
  visit.Field(7, "paused_at", value.paused_at);
  visit.Field(8, "language", value.language);
  visit.Field(9, "on_bridge", value.on_bridge);
}

template <typename Visitor, typename Value>
requires std::is_same_v<std::remove_const_t<Value>, Recording>
void VisitFields(Visitor& visit, Value& value) {
  visit.Field(1, "name", value.name);
  visit.Field(2, "format", value.format);
  visit.Field(3, "on_bridge", value.on_bridge);
  visit.Field(4, "earlier_parts", value.earlier_parts);
}

template <typename Visitor, typename Value>
requires std::is_same_v<std::remove_const_t<Value>, DialplanLocation>
void VisitFields(Visitor& visit, Value& value) {
  visit.Field(1, "context", value.context);
  visit.Field(2, "extension", value.extension);
  visit.Field(3, "priority", value.priority);
  visit.Field(4, "application", value.application);
  visit.Field(5, "application_data", value.application_data);
}

template <typename Visitor, typename Value>
requires std::is_same_v<std::remove_const_t<Value>, FlowState>
void VisitFields(Visitor& visit, Value& value) {
  visit.Field(1, "stasis_app", value.stasis_app);
  visit.Field(2, "stasis_args", value.stasis_args);
  visit.Field(3, "bridge", value.bridge);
  visit.Field(4, "playback", value.playback);
  visit.Field(5, "recordings", value.recordings);
  visit.Field(6, "held_by_us", value.held_by_us);
  visit.Field(7, "held_by_peer", value.held_by_peer);
  visit.Field(8, "music_on_hold", value.music_on_hold);
  visit.Field(9, "muted_in", value.muted_in);
  visit.Field(10, "muted_out", value.muted_out);
  visit.Field(11, "dialplan", value.dialplan);
  visit.Field(12, "host_data", value.host_data);
}

// Key and incarnation are not among them: they are where the record lies.
template <typename Visitor, typename Value>
requires std::is_same_v<std::remove_const_t<Value>, Session>
void VisitFields(Visitor& visit, Value& value) {
  visit.Enum(1, "state", value.state, SessionState::kEnded);
  visit.Field(2, "call_id", value.call_id);
  visit.Field(3, "local_tag", value.local_tag);
  visit.Field(4, "remote_tag", value.remote_tag);
  visit.Field(5, "channel_id", value.channel_id);
  visit.Field(6, "channel_name", value.channel_name);
  visit.Field(7, "endpoint", value.endpoint);
  visit.Field(8, "group", value.group);
  visit.Field(9, "created_at", value.created_at);
  visit.Field(10, "answered_at", value.answered_at);
  visit.Field(11, "ends_at", value.ends_at);
  visit.Field(12, "recover", value.recover);
  visit.Field(13, "recovered_at", value.recovered_at);
  visit.Field(14, "deaths", value.deaths);
  visit.Field(15, "flow", value.flow);
}

std::uint64_t ZigZag(std::int64_t value) {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}
std::int64_t UnZigZag(std::uint64_t value) {
  return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
}

void AppendVarint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

std::optional<std::uint64_t> TakeVarint(std::string_view& in) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64 && !in.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(in.front());
    in.remove_prefix(1);
    if (shift == 63 && byte > 1) return std::nullopt;
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

template <typename T>
concept Struct = std::is_same_v<T, BridgeMembership> || std::is_same_v<T, Playback> ||
    std::is_same_v<T, Recording> || std::is_same_v<T, DialplanLocation> ||
    std::is_same_v<T, FlowState>;
template <typename T>
concept TimePoint = std::is_same_v<T, WallTime>;
template <typename T>
concept Duration =
    std::is_same_v<T, WallTime::duration> || std::is_same_v<T, std::chrono::milliseconds>;

class Writer {
 public:
  void Field(std::uint32_t tag, std::string_view, const std::string& value) { Put(tag, value); }

  template <typename T>
  requires std::is_arithmetic_v<T>
  void Field(std::uint32_t tag, std::string_view, T value) {
    if constexpr (std::is_signed_v<T>) {
      PutNumber(tag, ZigZag(value));
    } else {
      PutNumber(tag, value);
    }
  }

  template <typename T>
  requires Duration<T>
  void Field(std::uint32_t tag, std::string_view, T value) {
    PutNumber(tag, ZigZag(value.count()));
  }

  template <typename T>
  requires TimePoint<T>
  void Field(std::uint32_t tag, std::string_view name, T value) {
    Field(tag, name, value.time_since_epoch());
  }

  template <typename T>
  void Field(std::uint32_t tag, std::string_view name, const std::optional<T>& value) {
    if (value) Field(tag, name, *value);
  }

  template <typename T>
  void Field(std::uint32_t tag, std::string_view name, const std::vector<T>& values) {
    for (const T& value : values) Field(tag, name, value);
  }

  template <typename T>
  requires Struct<T>
  void Field(std::uint32_t tag, std::string_view, const T& value) {
    Writer inner;
    VisitFields(inner, value);
    Put(tag, inner.bytes_);
  }

  template <typename T>
  void Enum(std::uint32_t tag, std::string_view, T value, T) {
    PutNumber(tag, static_cast<std::uint64_t>(value));
  }

  std::string bytes_;

 private:
  void PutNumber(std::uint32_t tag, std::uint64_t value) {
    std::string bytes;
    AppendVarint(bytes, value);
    Put(tag, bytes);
  }
  void Put(std::uint32_t tag, std::string_view value) {
    AppendVarint(bytes_, tag);
    AppendVarint(bytes_, value.size());
    bytes_.append(value);
  }
};

// Splits a struct into its fields once; each visit then takes the values of its tag.
class Reader {
 public:
  Reader(std::string_view bytes, std::string path, std::vector<std::string>& damaged)
      : path_(std::move(path)), damaged_(damaged) {
    while (!bytes.empty()) {
      const auto tag = TakeVarint(bytes);
      const auto length = tag ? TakeVarint(bytes) : std::nullopt;
      if (!length || *length > bytes.size()) {
        Damaged("(rest)");  // the fields before it are good
        return;
      }
      fields_.emplace_back(*tag, bytes.substr(0, *length));
      bytes.remove_prefix(*length);
    }
  }

  template <typename T>
  void Field(std::uint32_t tag, std::string_view name, T& value) {
    for (const auto& [known, bytes] : fields_) {
      if (known == tag && !Read(bytes, name, value)) Damaged(name);
    }
  }

  template <typename T>
  void Field(std::uint32_t tag, std::string_view name, std::vector<T>& values) {
    for (const auto& [known, bytes] : fields_) {
      if (known != tag) continue;
      T value{};
      if (!Read(bytes, name, value)) Damaged(name);
      // Also when it is damaged: the places of a list mean something (Playback::item).
      values.push_back(std::move(value));
    }
  }

  template <typename T>
  void Enum(std::uint32_t tag, std::string_view name, T& value, T last) {
    std::uint64_t number = static_cast<std::uint64_t>(value);
    Field(tag, name, number);
    if (number <= static_cast<std::uint64_t>(last)) {
      value = static_cast<T>(number);
    } else {
      Damaged(name);
    }
  }

 private:
  void Damaged(std::string_view name) { damaged_.push_back(path_ + std::string(name)); }

  bool Read(std::string_view bytes, std::string_view, std::string& value) {
    value.assign(bytes);
    return true;
  }

  template <typename T>
  requires std::is_arithmetic_v<T>
  bool Read(std::string_view bytes, std::string_view, T& value) {
    const auto number = TakeVarint(bytes);
    if (!number || !bytes.empty()) return false;
    if constexpr (std::is_signed_v<T>) {
      const std::int64_t wide = UnZigZag(*number);
      if (wide < std::numeric_limits<T>::min() || wide > std::numeric_limits<T>::max())
        return false;
      value = static_cast<T>(wide);
    } else {
      if (*number > std::numeric_limits<T>::max()) return false;
      value = static_cast<T>(*number);
    }
    return true;
  }

  template <typename T>
  requires Duration<T>
  bool Read(std::string_view bytes, std::string_view name, T& value) {
    typename T::rep count{};
    if (!Read(bytes, name, count)) return false;
    value = T(count);
    return true;
  }

  template <typename T>
  requires TimePoint<T>
  bool Read(std::string_view bytes, std::string_view name, T& value) {
    typename T::duration since{};
    if (!Read(bytes, name, since)) return false;
    value = T(since);
    return true;
  }

  template <typename T>
  bool Read(std::string_view bytes, std::string_view name, std::optional<T>& value) {
    T inner{};
    if (!Read(bytes, name, inner)) return false;
    value = std::move(inner);
    return true;
  }

  template <typename T>
  requires Struct<T>
  bool Read(std::string_view bytes, std::string_view name, T& value) {
    Reader inner(bytes, path_ + std::string(name) + ".", damaged_);
    VisitFields(inner, value);
    return true;
  }

  const std::string path_;
  std::vector<std::string>& damaged_;
  std::vector<std::pair<std::uint64_t, std::string_view>> fields_;
};

}  // namespace

std::string EncodeSession(const Session& session) {
  Writer writer;
  writer.bytes_ = {kMagic, kOldestReader};
  VisitFields(writer, session);
  return std::move(writer.bytes_);
}

DecodedSession DecodeSession(const SessionKey& key, const Incarnation& incarnation,
                             std::string_view bytes) {
  DecodedSession decoded;
  decoded.session.id = key.id;
  decoded.session.epoch = key.epoch;
  decoded.session.incarnation = incarnation;
  if (bytes.size() < 2 || bytes[0] != kMagic || bytes[1] != kOldestReader) {
    decoded.damaged.emplace_back("record");
    return decoded;
  }
  Reader reader(bytes.substr(2), "", decoded.damaged);
  VisitFields(reader, decoded.session);
  return decoded;
}

}  // namespace sipheal::inline v0_1::internal
