// SPDX-License-Identifier: Apache-2.0
// LogSink receives what sipheal has to say. The library prints nothing by itself: without a sink it
// is silent. An event has a fixed snake_case name and named fields, so that hosts can filter
// without parsing text.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sipheal/export.h"

namespace sipheal::inline v0_1 {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// "debug", "info", "warning" or "error".
SIPHEAL_EXPORT std::string_view ToString(LogLevel level);

struct LogEvent {
  LogLevel level = LogLevel::kInfo;
  std::string event;    // for example "crash_detected"; stable across patch versions
  std::string message;  // one sentence for a person
  // Names are snake_case with the unit in the name ("gap_ms"). Never raw SIP, credentials or keys.
  std::vector<std::pair<std::string, std::string>> fields;
};

// Thread-safe; called from sipheal's loop and from plug-ins, so it must be quick and must not
// throw.
class SIPHEAL_EXPORT LogSink {
 public:
  LogSink(const LogSink&) = delete;
  LogSink& operator=(const LogSink&) = delete;
  virtual ~LogSink();

  virtual void Write(const LogEvent& event) = 0;

 protected:
  LogSink() = default;
};

// Says nothing.
SIPHEAL_EXPORT std::shared_ptr<LogSink> NullLogSink();

}  // namespace sipheal::inline v0_1
