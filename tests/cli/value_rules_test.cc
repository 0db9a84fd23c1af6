// SPDX-License-Identifier: Apache-2.0
#include "cli/value_rules.h"

#include <gtest/gtest.h>

namespace sipheal::inline v0_1::cli {
namespace {

using std::chrono::milliseconds;

TEST(Duration, IsReadWithItsUnitAndWrittenTheShortestWay) {
  EXPECT_EQ(ParseDuration("800ms"), milliseconds(800));
  EXPECT_EQ(ParseDuration("5s"), milliseconds(5'000));
  EXPECT_EQ(ParseDuration("1.5s"), milliseconds(1'500));
  EXPECT_EQ(ParseDuration("2m"), milliseconds(120'000));
  EXPECT_EQ(ParseDuration("1h"), milliseconds(3'600'000));
  for (const char* text : {"800ms", "5s", "90s", "2m", "1h", "0ms", "60s"}) {
    EXPECT_EQ(DurationText(*ParseDuration(text)), text);
  }
}

TEST(Duration, IsRefusedWithoutUnitNegativeOrBeyondADay) {
  for (const char* text : {"", "5", "ms", "-5s", "5 s", "5S", "1.2.3s", ".5s", "5.s", "0.5ms",
                           "25h", "999999999999999999999999999h", "5sec", "1e3s", "5s "}) {
    EXPECT_EQ(ParseDuration(text), std::nullopt) << text;
  }
}

TEST(SipAddress, HasAddressPortAndTransport) {
  const auto whole = ParseSipAddress("192.0.2.10:5061/TLS");
  ASSERT_TRUE(whole.has_value());
  EXPECT_EQ(whole->ip.ToString(), "192.0.2.10");
  EXPECT_EQ(whole->port, 5061);
  EXPECT_EQ(whole->transport, sip::Transport::kTls);
  const auto bare = ParseSipAddress("2001:db8::1");
  ASSERT_TRUE(bare.has_value());
  EXPECT_EQ(bare->port, 0);
  EXPECT_EQ(bare->transport, sip::Transport::kUnknown);
  for (const char* text :
       {"", "host", "192.0.2.10:99999", "192.0.2.10/", "192.0.2.10/xyz", "/udp"}) {
    EXPECT_FALSE(ParseSipAddress(text).has_value()) << text;
  }
}

TEST(ListenAddress, HasAnAddressAndAPort) {
  EXPECT_EQ(ParseListen("127.0.0.1:0")->port, 0);
  EXPECT_EQ(ParseListen("0.0.0.0:9060")->port, 9060);
  EXPECT_EQ(ParseListen("[::]:9060")->ToString(), "[::]:9060");
  for (const char* text : {"", ":9060", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:9060",
                           "host:9060", "127.0.0.1:-1", "127.0.0.1:90x"}) {
    EXPECT_FALSE(ParseListen(text).has_value()) << text;
  }
}

TEST(Suggest, FindsASlipOfTheFingerAndNothingElse) {
  const std::vector<std::string> words = {"silence", "probe_interval", "udp", "tcp"};
  EXPECT_EQ(Suggest("silense", words), "silence");
  EXPECT_EQ(Suggest("probe_intervall", words), "probe_interval");
  EXPECT_EQ(Suggest("upd", words), "udp");
  EXPECT_EQ(Suggest("something_else", words), "");
  EXPECT_EQ(Suggest("", {"ab"}), "");
}

TEST(Url, MustBeHttpWithAHostAndWithoutCredentials) {
  for (const char* good : {"http://127.0.0.1:8088", "https://pbx.example.org", "http://[::1]:8088",
                           "http://host:8088/prefix"}) {
    EXPECT_EQ(CheckUrl(good), "") << good;
  }
  for (const char* bad : {"", "ftp://x", "http://", "http://:8088", "http://h:0", "http://h:70000",
                          "http://h:", "http://u:p@h:8088", "http://h:8088/?a=b", "http://a b"}) {
    EXPECT_NE(CheckUrl(bad), "") << bad;
  }
}

}  // namespace
}  // namespace sipheal::inline v0_1::cli
