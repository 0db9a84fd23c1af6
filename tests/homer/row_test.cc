// SPDX-License-Identifier: Apache-2.0
#include "homer/row.h"

#include <gtest/gtest.h>

#include <string>

namespace sipheal::internal::homer {
namespace {

class RowTest : public ::testing::Test {
 protected:
  absl::Status Read(std::string json, RowForm form = RowForm::kV3) {
    text_ = std::move(json);
    text_.reserve(text_.size() + kRowPadding);
    return reader_.Read(text_, form, row_);
  }
  std::string text_;
  RowReader reader_;
  Row row_;
};

TEST_F(RowTest, ReadsARowOfHomer7) {
  ASSERT_TRUE(Read(R"({"id":5162,"sid":"a@h","profile":"1_call","raw":"INVITE sip:x\r\n\"é",
      "create_date":1795392001234,"micro_ts":1795392001234,"protocolFamily":2,"protocol":17,
      "srcIp":"10.0.0.1","srcPort":5060,"dstIp":"10.0.0.2","dstPort":5061,
      "timeSeconds":1795392001,"timeUseconds":234567,"payloadType":1,"captureId":"2001",
      "capturePass":"secret","node":["2001","localnode"],"extra":{"raw":"no"}})")
                  .ok());
  EXPECT_EQ(row_.raw, "INVITE sip:x\r\n\"é");
  EXPECT_EQ(row_.sid, "a@h");
  EXPECT_EQ(row_.id, 5162);
  EXPECT_EQ(row_.source_ip, "10.0.0.1");
  EXPECT_EQ(row_.source_port, 5060);
  EXPECT_EQ(row_.destination_ip, "10.0.0.2");
  EXPECT_EQ(row_.destination_port, 5061);
  EXPECT_EQ(row_.protocol, 17);
  EXPECT_EQ(row_.payload_type, 1);
  EXPECT_EQ(row_.time_us, 1795392001234567);
  EXPECT_EQ(row_.agent, "2001");
}

TEST_F(RowTest, ReadsARowOfHomer11WhateverFormItsTimeHas) {
  for (const char* time :
       {"\"2026-11-24T01:02:03.000004Z\"", "\"2026-11-24 01:02:03.000004\"",
        "\"2026-11-24T02:02:03.000004+01:00\"", "1795482123000004", "1795482123000004000"}) {
    ASSERT_TRUE(Read(std::string(R"({"payload":"BYE","session_id":"s","src_ip":"::1","src_port":1,
        "dst_ip":"10.0.0.2","dst_port":2,"protocol":"UDP","node_id":7,"raw":"no","timestamp":)") +
                         time + "}",
                     RowForm::kV4)
                    .ok());
    EXPECT_EQ(row_.time_us, 1795482123000004) << time;
  }
  EXPECT_EQ(row_.raw, "BYE");
  EXPECT_EQ(row_.protocol, 17);
  EXPECT_EQ(row_.agent, "7");
}

TEST_F(RowTest, AFieldOfAnotherTypeIsAsIfItWereNotThere) {
  ASSERT_TRUE(Read(R"({"raw":7,"srcPort":"5060","dstPort":-1,"protocol":1e99,"payloadType":[5],
      "timeSeconds":99999999999999,"captureId":null,"id":{}})")
                  .ok());
  EXPECT_EQ(row_.raw, "");
  EXPECT_EQ(row_.source_port, 5060);
  EXPECT_EQ(row_.destination_port, 0);
  EXPECT_EQ(row_.protocol, 0);
  EXPECT_EQ(row_.payload_type, 1);
  EXPECT_EQ(row_.time_us, 0);
  EXPECT_EQ(row_.id, 0);
}

TEST_F(RowTest, WhatIsNoJsonIsRefused) {
  for (const char* bad : {"{", "{\"a\":tru}", "{\"a\":1,}", "{\"a\" 1}", "[1]", "{\"a\":\"\xff\"}",
                          "{\"a\":01}", "{} {}"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Read(bad))) << bad;
  }
  EXPECT_TRUE(Read("{}").ok());  // and the reader is of use again
}

TEST(ParseTimestampTest, WhatIsNoTimeIsZero) {
  for (const char* bad : {"", "2026", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z",
                          "2026/02/01T00:00:00Z", "xxxx-xx-xxTxx:xx:xxZ"}) {
    EXPECT_EQ(ParseTimestamp(bad), 0) << bad;
  }
  EXPECT_EQ(ParseTimestamp("1970-01-01T00:00:01.5Z"), 1'500'000);
}

}  // namespace
}  // namespace sipheal::internal::homer
