// SPDX-License-Identifier: Apache-2.0
// Writes log events to a stream: a line of text for a person, or one JSON object for a machine.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>

#include "sipheal/base/clock.h"
#include "sipheal/base/log_sink.h"

namespace sipheal::inline v0_1::cli {

enum class LogFormat { kText, kJson };

struct LogWriterOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;
  bool colour = false;
  const Clock* clock = nullptr;  // none: the system's
};

// `out` must outlive the sink. Whole lines only, also when several threads write; a control
// character never reaches the stream unescaped.
std::shared_ptr<LogSink> MakeLogWriter(std::ostream& out, LogWriterOptions options);
// Hands whole lines, with their line break, to `write`, which must be thread-safe.
std::shared_ptr<LogSink> MakeLogWriter(std::function<void(std::string)> write,
                                       LogWriterOptions options);

// "2026-01-31T09:08:07.654321Z".
std::string Iso8601(WallTime time);
// Control characters and bytes that are no UTF-8 text become \xNN, so that nothing captured moves
// a terminal.
std::string Printable(std::string_view text);

}  // namespace sipheal::inline v0_1::cli
