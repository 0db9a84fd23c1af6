// SPDX-License-Identifier: Apache-2.0
// One row of HOMER's: a captured packet, as far as it is of use here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/status.h"

namespace sipheal::inline v0_1::internal::homer {

// The views are valid until the next row is read.
struct Row {
  std::string_view raw;
  std::string_view source_ip;
  std::string_view destination_ip;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  int protocol = 0;      // as in a HEP packet: 6, 17, 22 (Kamailio's TLS and WebSocket), 132
  int payload_type = 1;  // 1: SIP
  std::int64_t time_us = 0;
  std::string_view agent;  // captureId
  std::string_view sid;    // what HOMER filed it under
  std::int64_t id = 0;
};

// The names that a row's fields have.
enum class RowForm { kV3, kV4 };

// Bytes behind a row's text that may be read.
inline constexpr std::size_t kRowPadding = 64;

// Reads rows of JSON. Not thread-safe.
class RowReader {
 public:
  RowReader();
  ~RowReader();
  RowReader(const RowReader&) = delete;
  RowReader& operator=(const RowReader&) = delete;

  // `json`: one object, with kRowPadding readable bytes behind it. Fields that are not there keep
  // their defaults, and so do those of another type than HOMER gives them. InvalidArgument when it
  // is no JSON.
  absl::Status Read(std::string_view json, RowForm form, Row& row);

 private:
  class Parser;
  std::unique_ptr<Parser> parser_;
};

// Microseconds since 1970 of "2026-11-24T01:02:03.000004Z" or "2026-11-24 01:02:03.000004+00"; 0
// when it is neither.
std::int64_t ParseTimestamp(std::string_view text);

}  // namespace sipheal::inline v0_1::internal::homer
