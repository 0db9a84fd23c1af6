// SPDX-License-Identifier: Apache-2.0
#include "sipheal/base/log_sink.h"

namespace sipheal::inline v0_1 {
namespace {

class Null final : public LogSink {
 public:
  void Write(const LogEvent&) override {}
};

}  // namespace

LogSink::~LogSink() = default;

std::string_view ToString(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "unknown";
}

std::shared_ptr<LogSink> NullLogSink() { return std::make_shared<Null>(); }

}  // namespace sipheal::inline v0_1
