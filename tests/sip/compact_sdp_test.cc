// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "sipheal/sip/sdp.h"

namespace sipheal::sip {
namespace {

TEST(CompactSdp, ReadsTheSameAfterALineThatEndsWithADoubledCr) {
  const std::string body = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\r\nm=audio 4000 RTP/AVP\r\r\n";
  const auto whole = ParseSdp(body);
  ASSERT_TRUE(whole.has_value());
  EXPECT_EQ(whole->summary.origin_address, "192.0.2.1");
  EXPECT_EQ(whole->summary.media.at(0).protocol, "RTP/AVP");
  std::string compact;
  AppendCompactSdp(body, &compact);
  const auto reduced = ParseSdp(compact);
  ASSERT_TRUE(reduced.has_value());
  EXPECT_EQ(reduced->summary, whole->summary) << compact;
}

}  // namespace
}  // namespace sipheal::sip
