// SPDX-License-Identifier: Apache-2.0
// From and To are kept as they stood in the message where that says the same; what comes out must
// not depend on it.
#include "sip/party_text.h"

#include <gtest/gtest.h>

#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

struct Case {
  const char* from;  // without the tag
  const char* display;
  const char* uri;
  const char* params;
};

TEST(PartyText, IsWhatTheMessageSaidHoweverItIsKept) {
  const Case cases[] = {
      {"<sip:alice@example.com>", "", "sip:alice@example.com", ""},
      {"sip:alice@example.com", "", "sip:alice@example.com", ""},
      {"Alice <sip:alice@example.com>", "Alice", "sip:alice@example.com", ""},
      {"\"Alice\" <sip:alice@example.com>", "\"Alice\"", "sip:alice@example.com", ""},
      {"\"Alice\"<sip:alice@example.com>", "\"Alice\"", "sip:alice@example.com", ""},
      {"\"Alice\"   <sip:alice@example.com>", "\"Alice\"", "sip:alice@example.com", ""},
      {"\"Alice\"\r\n <sip:alice@example.com>", "\"Alice\"", "sip:alice@example.com", ""},
      {"\"<sip:evil@203.0.113.66>\" <sip:alice@example.com>", "\"<sip:evil@203.0.113.66>\"",
       "sip:alice@example.com", ""},
      {"\"a \\\" <sip:evil@203.0.113.66>\" <sip:alice@example.com>",
       "\"a \\\" <sip:evil@203.0.113.66>\"", "sip:alice@example.com", ""},
      {"Alice <sip:alice@example.com>;x=1", "Alice", "sip:alice@example.com", ";x=1"},
      {"<sip:alice@example.com>;x=\"<sip:evil@203.0.113.66>\"", "", "sip:alice@example.com",
       ";x=\"<sip:evil@203.0.113.66>\""},
  };
  for (const Case& one : cases) {
    CallScript script;
    const Request invite = script.Receive({.from = one.from});
    script.Reply(invite, {.to_tag = "b"});
    const std::vector<sip::DialogState> dialogs = script.Rebuild();
    ASSERT_EQ(dialogs.size(), 1u) << one.from;
    const sip::DialogParty& remote = dialogs[0].remote;
    EXPECT_EQ(remote.display, one.display) << one.from;
    EXPECT_EQ(remote.uri, one.uri) << one.from;
    EXPECT_EQ(remote.params, one.params) << one.from;
    EXPECT_EQ(remote.tag, "a") << one.from;
  }
}

TEST(PartyText, AMessageWithTheSeparatorInAPartyIsNoEvidence) {
  for (const char* from : {"\"A\x01\" <sip:alice@example.com>", "<sip:alice@example.com>;x=\x01",
                           "<sip:alice@example.com>;tag=\x01"}) {
    CallScript script;
    const Request invite = script.Receive({.from = from});
    script.Reply(invite, {.to_tag = "b"});
    for (const sip::CapturedMessage& message : script.messages) {
      EXPECT_EQ(sip::DialogFolder(script.server).Fold(message).result, sip::FoldResult::kMalformed)
          << from;
    }
  }
}

TEST(PartyText, NothingKeptIsNobody) {
  EXPECT_EQ(sip::SplitParty("").uri, "");
  EXPECT_EQ(sip::SplitParty("sip:alice@example.com").uri, "");
}

}  // namespace
}  // namespace sipheal::testing
