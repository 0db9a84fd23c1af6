// SPDX-License-Identifier: Apache-2.0
#include "homer/row.h"

#include <simdjson.h>

#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include "absl/strings/str_format.h"

namespace sipheal::inline v0_1::internal::homer {
namespace {

using simdjson::dom::element;

template <typename Number>
std::optional<Number> ToNumber(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// A number, or the same as text; nothing when it is something else.
std::optional<std::int64_t> GetNumber(const element& value) {
  std::string_view text;
  if (value.get(text) == simdjson::SUCCESS) return ToNumber<std::int64_t>(text);
  std::int64_t number = 0;
  if (value.get(number) == simdjson::SUCCESS) return number;
  double real = 0;  // 1.5e3, which HOMER does not write
  if (value.is_double() && value.get(real) == simdjson::SUCCESS && std::abs(real) < 9e15) {
    return static_cast<std::int64_t>(real);
  }
  return std::nullopt;
}

void SetText(const element& value, std::string_view& out) {
  std::string_view text;
  if (value.get(text) == simdjson::SUCCESS) out = text;
}

template <typename Int>
void Set(const std::optional<std::int64_t>& number, Int& field) {
  if (number && *number >= 0 && *number <= std::numeric_limits<Int>::max()) {
    field = static_cast<Int>(*number);
  }
}

int ProtocolOf(std::string_view text) {
  const auto is = [&](std::string_view name) {
    return text.size() == name.size() && std::equal(text.begin(), text.end(), name.begin(),
                                                    [](char a, char b) { return (a | 0x20) == b; });
  };
  if (is("udp")) return 17;
  if (is("tcp")) return 6;
  if (is("tls") || is("ws") || is("wss")) return 22;
  if (is("sctp")) return 132;
  return 0;
}

// HOMER 11 gives seconds, or parts of them, by size.
std::int64_t ToMicroseconds(std::int64_t number) {
  if (number > 100'000'000'000'000'000) return number / 1000;  // nanoseconds
  if (number > 100'000'000'000'000) return number;
  if (number > 100'000'000'000) return number * 1000;  // milliseconds
  return number * 1'000'000;
}

}  // namespace

std::int64_t ParseTimestamp(std::string_view text) {
  const auto part = [&](std::size_t at, std::size_t size) -> std::optional<int> {
    if (text.size() < at + size) return std::nullopt;
    return ToNumber<int>(text.substr(at, size));
  };
  const auto year = part(0, 4), month = part(5, 2), day = part(8, 2);
  const auto hour = part(11, 2), minute = part(14, 2), second = part(17, 2);
  if (!year || !month || !day || !hour || !minute || !second) return 0;
  if (text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != ' ') || text[13] != ':' ||
      text[16] != ':') {
    return 0;
  }
  using namespace std::chrono;
  const year_month_day date{std::chrono::year(*year),
                            std::chrono::month(static_cast<unsigned>(*month)),
                            std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok() || *hour < 0 || *minute < 0 || *second < 0) return 0;
  std::int64_t us = duration_cast<microseconds>(sys_days(date).time_since_epoch() + hours(*hour) +
                                                minutes(*minute) + seconds(*second))
                        .count();
  std::size_t at = 19;
  if (at < text.size() && text[at] == '.') {
    std::int64_t unit = 100'000;
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, unit /= 10) {
      us += unit * (text[at] - '0');
    }
  }
  if (at < text.size() && (text[at] == '+' || text[at] == '-')) {
    const auto offset_hours = part(at + 1, 2);
    const auto offset_minutes = part(at + 4, 2);
    const std::int64_t offset = offset_hours.value_or(0) * 60 + offset_minutes.value_or(0);
    us -= (text[at] == '+' ? 1 : -1) * offset * 60'000'000;
  }
  return us;
}

class RowReader::Parser {
 public:
  simdjson::error_code Read(std::string_view json, RowForm form, Row& row) {
    row = {};
    agent_.clear();
    simdjson::dom::object object;
    // The document lives in the parser. This form of simdjson's finds the fastest instructions of
    // the machine that it runs on; its "on demand" form those of the machine it was built for.
    if (const auto error =
            parser_.parse(json.data(), json.size(), /*realloc_if_needed=*/false).get(object)) {
      return error;
    }
    std::optional<std::int64_t> seconds, microseconds;
    for (const auto [key, value] : object) {
      if (form == RowForm::kV3) {
        ReadV3(key, value, row, seconds, microseconds);
      } else {
        ReadV4(key, value, row);
      }
    }
    if (seconds && *seconds >= 0 && *seconds < 100'000'000'000) {
      row.time_us = *seconds * 1'000'000;
      if (microseconds && *microseconds >= 0 && *microseconds < 1'000'000) {
        row.time_us += *microseconds;
      }
    }
    return simdjson::SUCCESS;
  }

 private:
  void ReadV3(std::string_view key, const element& value, Row& row,
              std::optional<std::int64_t>& seconds, std::optional<std::int64_t>& microseconds) {
    if (key == "raw") return SetText(value, row.raw);
    if (key == "sid") return SetText(value, row.sid);
    if (key == "srcIp") return SetText(value, row.source_ip);
    if (key == "dstIp") return SetText(value, row.destination_ip);
    if (key == "captureId") return SetAgent(value, row);
    if (key == "timeSeconds") seconds = GetNumber(value);
    if (key == "timeUseconds") microseconds = GetNumber(value);
    if (key == "srcPort") Set(GetNumber(value), row.source_port);
    if (key == "dstPort") Set(GetNumber(value), row.destination_port);
    if (key == "protocol") Set(GetNumber(value), row.protocol);
    if (key == "payloadType") Set(GetNumber(value), row.payload_type);
    if (key == "id") Set(GetNumber(value), row.id);
  }

  void ReadV4(std::string_view key, const element& value, Row& row) {
    if (key == "payload") return SetText(value, row.raw);
    if (key == "session_id") return SetText(value, row.sid);
    if (key == "src_ip") return SetText(value, row.source_ip);
    if (key == "dst_ip") return SetText(value, row.destination_ip);
    if (key == "node_id") return SetAgent(value, row);
    if (key == "src_port") Set(GetNumber(value), row.source_port);
    if (key == "dst_port") Set(GetNumber(value), row.destination_port);
    if (key == "protocol") {
      std::string_view name;
      SetText(value, name);
      Set(GetNumber(value), row.protocol);
      if (row.protocol == 0) row.protocol = ProtocolOf(name);
    } else if (key == "timestamp") {
      std::string_view text;
      SetText(value, text);
      const auto number = GetNumber(value);
      row.time_us = number && *number >= 0 ? ToMicroseconds(*number) : ParseTimestamp(text);
    }
  }

  // As text even where it is a number, which is how it is compared.
  void SetAgent(const element& value, Row& row) {
    SetText(value, row.agent);
    const auto number = GetNumber(value);
    if (!row.agent.empty() || !number) return;
    agent_ = std::to_string(*number);
    row.agent = agent_;
  }

  simdjson::dom::parser parser_;
  std::string agent_;
};

RowReader::RowReader() : parser_(std::make_unique<Parser>()) {
  static_assert(kRowPadding >= simdjson::SIMDJSON_PADDING);
}
RowReader::~RowReader() = default;

absl::Status RowReader::Read(std::string_view json, RowForm form, Row& row) {
  if (const auto error = parser_->Read(json, form, row)) {
    return absl::InvalidArgumentError(simdjson::error_message(error));
  }
  return absl::OkStatus();
}

}  // namespace sipheal::inline v0_1::internal::homer
