// SPDX-License-Identifier: Apache-2.0
#include "cli/log_writer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>
#include <vector>

namespace sipheal::inline v0_1::cli {
namespace {

class FixedClock final : public Clock {
 public:
  WallTime Now() const override {
    return WallTime(std::chrono::microseconds(1'700'000'000'123'456));
  }
  MonotonicTime Monotonic() const override { return {}; }
};

TEST(LogWriter, WritesOneLineOfTextWithItsFields) {
  FixedClock clock;
  std::ostringstream out;
  const auto log = MakeLogWriter(out, {.clock = &clock});
  log->Write({LogLevel::kWarning, "crash_detected", "pbx1 is dead", {{"instance", "pbx1"}}});
  EXPECT_EQ(out.str(), "2023-11-14T22:13:20.123456Z warning pbx1 is dead instance=pbx1\n");
}

TEST(LogWriter, WritesOneJsonObjectALine) {
  FixedClock clock;
  std::ostringstream out;
  const auto log = MakeLogWriter(out, {.format = LogFormat::kJson, .clock = &clock});
  log->Write(
      {LogLevel::kError, "store_lost", "a \"quoted\"\nline \xff", {{"ts", "mine"}, {"code", "5"}}});
  const auto line = nlohmann::json::parse(out.str());
  EXPECT_EQ(line["ts"], "2023-11-14T22:13:20.123456Z") << "a field cannot replace the time";
  EXPECT_EQ(line["event"], "store_lost");
  EXPECT_EQ(line["level"], "error");
  EXPECT_EQ(line["code"], "5");
  EXPECT_EQ(out.str().find('\n'), out.str().size() - 1);
}

TEST(LogWriter, LeavesOutWhatIsBelowItsLevel) {
  std::ostringstream out;
  const auto log = MakeLogWriter(out, {.level = LogLevel::kWarning});
  log->Write({LogLevel::kInfo, "x", "x", {}});
  EXPECT_EQ(out.str(), "");
}

TEST(LogWriter, KeepsLinesWholeWhenThreadsWrite) {
  std::ostringstream out;
  const auto log = MakeLogWriter(out, {.format = LogFormat::kJson});
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 100; ++k) log->Write({LogLevel::kInfo, "e", "message", {}});
    });
  }
  threads.clear();
  std::istringstream lines(out.str());
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_TRUE(nlohmann::json::accept(line)) << line;
  }
  EXPECT_EQ(count, 400);
}

TEST(Printable, LetsNoControlCharacterThrough) {
  EXPECT_EQ(Printable("a\r\nb\x1b[31m"), "a\\x0d\\x0ab\\x1b[31m");
  EXPECT_EQ(Printable("Zo\xc3\xab \xe2\x82\xac"), "Zo\xc3\xab \xe2\x82\xac");
  EXPECT_EQ(Printable("\xc2\x9b"
                      "31m \xff \xe2\x82"),
            "\\xc2\\x9b31m \\xff \\xe2\\x82");
}

}  // namespace
}  // namespace sipheal::inline v0_1::cli
