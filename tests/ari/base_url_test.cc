// SPDX-License-Identifier: Apache-2.0
#include "ari/base_url.h"

#include <gtest/gtest.h>

#include "ari/connections.h"

namespace sipheal::inline v0_1::internal {
namespace {

TEST(BaseUrl, TakesHostPortAndPrefixApart) {
  const auto url = ParseBaseUrl("https://pbx.example.net/asterisk/");
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_TRUE(url->tls);
  EXPECT_EQ(url->host, "pbx.example.net");
  EXPECT_EQ(url->port, 443);
  EXPECT_EQ(url->prefix, "/asterisk");
  EXPECT_EQ(url->ToString(), "https://pbx.example.net:443/asterisk");
}

TEST(BaseUrl, PutsAnIpv6AddressBackIntoBrackets) {
  const auto url = ParseBaseUrl("http://[2001:db8::1]:8088");
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_EQ(url->host, "2001:db8::1");
  EXPECT_EQ(url->ToString(), "http://[2001:db8::1]:8088");
}

TEST(BaseUrl, RefusesWhatItCannotUseAndSaysWhy) {
  for (const char* bad : {"", "127.0.0.1", "ftp://127.0.0.1", "http://u:p@127.0.0.1:8088",
                          "http://127.0.0.1:8088/ari", "http://127.0.0.1:8088?api_key=u:p",
                          "http://127.0.0.1:99999"}) {
    const auto url = ParseBaseUrl(bad);
    EXPECT_EQ(url.status().code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_EQ(url.status().message().find("u:p@"), absl::string_view::npos) << bad;
  }
}

TEST(EscapeUri, LeavesOnlyUnreservedCharacters) {
  EXPECT_EQ(EscapeUri("a-b_c.d~e"), "a-b_c.d~e");
  EXPECT_EQ(EscapeUri("a/b?c=d&e f\r\n\xc3\xbc"), "a%2Fb%3Fc%3Dd%26e%20f%0D%0A%C3%BC");
}

}  // namespace
}  // namespace sipheal::inline v0_1::internal
