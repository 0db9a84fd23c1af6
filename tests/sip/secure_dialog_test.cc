// SPDX-License-Identifier: Apache-2.0
// Rule 2.10: whether the dialog is secure (RFC 3261 12.1).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogState;
using ::testing::SizeIs;

TEST(SecureDialog, Rule2_10_WithoutItsInviteADialogOverTlsMayBeSecure) {
  for (const char* scheme : {"sips", "sip"}) {
    CallScript call;
    call.transport = sip::Transport::kTls;
    const std::string phone = "<" + std::string(scheme) + ":phone@198.51.100.7:5061>";
    const Request invite = call.Send({.contact = "<sips:asterisk@192.0.2.10:5061>"});
    call.messages.clear();
    call.Reply(invite, {.to_tag = "b", .contact = phone});
    call.Send({.method = "ACK", .to_tag = "b", .uri = phone.substr(1, phone.size() - 2)});
    // A peer that is in a secure dialog has a sips Contact.
    EXPECT_EQ(call.Only().IsMissing(sip::Field::kSecure), std::string(scheme) == "sips");
    EXPECT_FALSE(call.Only().secure);
  }
}

TEST(SecureDialog, Rule2_10_WithItsInviteItIsKnownWhetherItIsSecure) {
  for (const char* scheme : {"sips", "sip"}) {
    CallScript call;
    call.transport = sip::Transport::kTls;
    const Request invite = call.Send({.uri = std::string(scheme) + ":bob@example.com",
                                      .contact = "<sips:asterisk@192.0.2.10:5061>"});
    call.Reply(invite, {.to_tag = "b", .contact = "<sips:phone@198.51.100.7:5061>"});
    EXPECT_FALSE(call.Only().IsMissing(sip::Field::kSecure));
    EXPECT_EQ(call.Only().secure, std::string(scheme) == "sips");
  }
}

// The INVITE itself was lost; a merged copy of it has the same Request-URI (rule 1.9).
TEST(SecureDialog, Rule2_10_AMergedCopyOfTheInviteShowsWhetherItIsSecure) {
  for (const bool sips : {true, false}) {
    CallScript call;
    call.transport = sip::Transport::kTls;
    const Request invite = call.Receive({.contact = "<sips:phone@198.51.100.7:5061>"});
    call.messages.clear();
    const Request merged = call.Receive({.uri = sips ? "sips:bob@example.com" : "sip:b@example.com",
                                         .contact = "<sips:phone@198.51.100.7:5061>"});
    call.Reply(merged, {.status = 482, .to_tag = "merged"});
    call.Reply(invite, {.to_tag = "b", .contact = "<sips:asterisk@192.0.2.10:5061>"});
    EXPECT_EQ(call.Only().secure, sips);
    EXPECT_FALSE(call.Only().IsMissing(sip::Field::kSecure));
  }
}

TEST(SecureDialog, Rule2_10_AnAnswerAloneShowsTheTransport) {
  CallScript call;
  call.transport = sip::Transport::kTls;
  const Request info = call.Send({.method = "INFO", .cseq = 7, .to_tag = "b"});
  call.messages.clear();
  call.Reply(info, {});
  EXPECT_EQ(call.Only().transport, sip::Transport::kTls);
  EXPECT_TRUE(call.Only().IsMissing(sip::Field::kSecure));
}

TEST(SecureDialog, Rule2_10_AForkWhoseAnswerWasLostIsAsSecureAsTheOthers) {
  CallScript call;
  call.transport = sip::Transport::kTls;
  const std::string phone = "sips:phone@198.51.100.7:5061";
  const Request invite =
      call.Send({.uri = "sips:bob@example.com", .contact = "<sips:s@192.0.2.10>"});
  call.Reply(invite, {.status = 180, .to_tag = "other", .contact = "<" + phone + ">"});
  const Request info = call.Send({.method = "INFO", .cseq = 2, .to_tag = "b", .uri = phone});
  call.Reply(info, {});
  const std::vector<DialogState> forks = call.Rebuild();
  ASSERT_THAT(forks, SizeIs(2));
  for (const DialogState& fork : forks) {
    EXPECT_TRUE(fork.secure) << fork.remote.tag;
    EXPECT_FALSE(fork.IsMissing(sip::Field::kSecure));
  }
}

}  // namespace
}  // namespace sipheal::testing
