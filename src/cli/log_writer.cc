// SPDX-License-Identifier: Apache-2.0
#include "cli/log_writer.h"

#include <ctime>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/mutex.h"

namespace sipheal::inline v0_1::cli {
namespace {

std::string_view Colour(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "\033[2m";
    case LogLevel::kInfo:
      return "\033[32m";
    case LogLevel::kWarning:
      return "\033[33m";
    case LogLevel::kError:
      return "\033[31m";
  }
  return "";
}

class LogWriter final : public LogSink {
 public:
  LogWriter(std::function<void(std::string)> write, LogWriterOptions options)
      : write_(std::move(write)), options_(options) {
    if (options_.clock == nullptr) options_.clock = &SystemClock();
  }

  void Write(const LogEvent& event) override {
    if (event.level < options_.level) return;
    write_(options_.format == LogFormat::kJson ? Json(event) : Text(event));
  }

 private:
  std::string Json(const LogEvent& event) const {
    nlohmann::ordered_json line;
    line["ts"] = Iso8601(options_.clock->Now());
    line["level"] = std::string(ToString(event.level));
    line["event"] = event.event;
    line["msg"] = event.message;
    for (const auto& [name, value] : event.fields) {
      if (!line.contains(name)) line[name] = value;
    }
    return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  }

  std::string Text(const LogEvent& event) const {
    const std::string_view level = ToString(event.level);
    std::string line = absl::StrFormat("%s %s%-7s%s %s", Iso8601(options_.clock->Now()),
                                       options_.colour ? Colour(event.level) : "", level,
                                       options_.colour ? "\033[0m" : "", Printable(event.message));
    for (const auto& [name, value] : event.fields) {
      line += absl::StrFormat(" %s=%s", Printable(name), Printable(value));
    }
    return line + "\n";
  }

  const std::function<void(std::string)> write_;
  LogWriterOptions options_;
};

}  // namespace

std::shared_ptr<LogSink> MakeLogWriter(std::ostream& out, LogWriterOptions options) {
  auto mutex = std::make_shared<internal::Mutex>();
  return MakeLogWriter(
      [&out, mutex](const std::string& line) {
        internal::MutexLock lock(*mutex);
        out << line << std::flush;
      },
      options);
}

std::shared_ptr<LogSink> MakeLogWriter(std::function<void(std::string)> write,
                                       LogWriterOptions options) {
  return std::make_shared<LogWriter>(std::move(write), options);
}

std::string Iso8601(WallTime time) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(time);
  const std::time_t seconds = std::chrono::system_clock::to_time_t(whole);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return absl::StrFormat("%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", utc.tm_year + 1900, utc.tm_mon + 1,
                         utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, (time - whole).count());
}

std::string Printable(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // The continuation bytes of one well-formed UTF-8 character; 0x80 to 0x9f alone are terminal
    // controls in some encodings, and so are U+0080 to U+009F.
    const std::size_t more = byte >= 0xf0 && byte <= 0xf4   ? 3
                             : byte >= 0xe0 && byte <= 0xef ? 2
                             : byte >= 0xc3 && byte <= 0xdf ? 1
                                                            : 0;
    bool whole = more > 0 && i + more < text.size();
    for (std::size_t k = 1; whole && k <= more; ++k) {
      whole = (static_cast<unsigned char>(text[i + k]) & 0xc0) == 0x80;
    }
    if (whole) {
      out.append(text.substr(i, more + 1));
      i += more;
    } else if (byte >= 0x20 && byte < 0x7f) {
      out.push_back(text[i]);
    } else {
      out += absl::StrFormat("\\x%02x", byte);
    }
  }
  return out;
}

}  // namespace sipheal::inline v0_1::cli
