// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "sipheal/adapters/memory.h"

namespace sipheal {
namespace {

sip::CapturedMessage At(int ms, const std::string& bytes) {
  sip::CapturedMessage message;
  message.bytes = bytes;
  message.time = sip::CaptureTime(std::chrono::milliseconds(ms));
  return message;
}

TEST(MemorySipCapture, ReturnsMessagesSinceTheTimeAskedAlsoOfAfterTheDeath) {
  const auto capture = MakeMemorySipCapture();
  for (const int ms : {10, 20, 30}) capture->AddMessage("c1", At(ms, std::to_string(ms)));
  SipCapture::FetchParams params{.call_ids = {"c1"}};
  params.since = WallTime(std::chrono::milliseconds(15));
  params.until = WallTime(std::chrono::milliseconds(25));
  const auto got = capture->Fetch({}, params);
  ASSERT_TRUE(got.ok());
  ASSERT_EQ((*got)[0].messages.size(), 2u);
  EXPECT_EQ((*got)[0].messages[0].bytes, "20");
  EXPECT_EQ((*got)[0].messages[1].bytes, "30");
}

TEST(MemorySipCapture, ReturnsFoldedDialogsToo) {
  const auto capture = MakeMemorySipCapture();
  sip::DialogState dialog;
  dialog.call_id = "c2";
  capture->AddDialog(dialog);
  capture->SetCompleteness(Completeness::kOwnInterface);
  const auto got = capture->Fetch({}, {.call_ids = {"c2"}});
  ASSERT_TRUE(got.ok());
  EXPECT_EQ((*got)[0].completeness, Completeness::kOwnInterface);
  ASSERT_EQ((*got)[0].dialogs.size(), 1u);
  EXPECT_EQ((*got)[0].dialogs[0], dialog);
}

}  // namespace
}  // namespace sipheal
