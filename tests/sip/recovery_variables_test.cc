// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "sipheal/sip/explain.h"
#include "sipheal/sip/next_request.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogState;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

std::map<std::string, std::string> Variables(const DialogState& dialog) {
  const auto variables = sip::RecoveryVariables(dialog, {.cseq = {.capture_is_complete = true}});
  EXPECT_TRUE(variables.ok()) << variables.status();
  std::map<std::string, std::string> map;
  if (variables.ok()) map.insert(variables->begin(), variables->end());
  return map;
}

TEST(RecoveryVariables, NameBothSidesOfACallThatTheServerAnswered_F01) {
  CallScript call;
  Request invite = call.Receive({.cseq = 41,
                                 .from = "\"A \\\"x\\\", B\" <sip:a@x;p=1>",
                                 .record_route = {"<sip:198.51.100.7;lr;r2=on>", "<sip:p2;lr>"},
                                 .sdp = Sdp("198.51.100.7", 30000, "1")});
  call.Reply(invite, {.to_tag = "b", .sdp = Sdp("192.0.2.10", 20000, "5")});
  Request info = call.FromCallee(
      {.method = "INFO", .cseq = 9, .route = {"<sip:198.51.100.7;lr;r2=on>", "<sip:p2;lr>"}});
  info.to = invite.from;
  call.Reply(call.Send(info), {});
  auto v = Variables(call.Only());
  EXPECT_EQ(v["PJSIP_RECOVERY_FROM_URI"], "sip:bob@example.com");
  EXPECT_EQ(v["PJSIP_RECOVERY_FROM_TAG"], "b");
  EXPECT_EQ(v["PJSIP_RECOVERY_FROM_DISPLAY"], "");
  EXPECT_EQ(v["PJSIP_RECOVERY_TO_URI"], "sip:a@x;p=1");
  EXPECT_EQ(v["PJSIP_RECOVERY_TO_TAG"], "a");
  EXPECT_EQ(v["PJSIP_RECOVERY_TO_DISPLAY"], "A \"x\", B");
  EXPECT_EQ(v["PJSIP_RECOVERY_CALL-ID"], "call-1@example.com");
  EXPECT_EQ(v["PJSIP_RECOVERY_CSEQ"], "10");
  EXPECT_EQ(v["PJSIP_RECOVERY_REMOTE_CSEQ"], "41");
  EXPECT_EQ(v["PJSIP_RECOVERY_REQUEST_URI"], "sip:phone@198.51.100.7:5060");
  EXPECT_EQ(v["PJSIP_RECOVERY_ROUTES"], "<sip:198.51.100.7;lr;r2=on>,<sip:p2;lr>");
  EXPECT_EQ(v["PJSIP_RECOVERY_RECORD-ROUTES"], "<sip:198.51.100.7;lr;r2=on>,<sip:p2;lr>");
  EXPECT_EQ(v["PJSIP_RECOVERY_SDP_ORIGIN"], "- 1000 5 IN IP4 192.0.2.10");
  EXPECT_EQ(v["PJSIP_RECOVERY_SDP_MEDIA"], "audio 20000 RTP/AVP 0 101");
}

TEST(RecoveryVariables, KeepATargetForStrictRoutingUntouched) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b",
                      .contact = "<sip:b@198.51.100.7;method=BYE;x=1?Route=evil>",
                      .record_route = {"<sip:198.51.100.7>"}});
  auto v = Variables(call.Only());
  EXPECT_EQ(v["PJSIP_RECOVERY_REQUEST_URI"], "sip:b@198.51.100.7;x=1");
  EXPECT_EQ(v["PJSIP_RECOVERY_ROUTES"], "<sip:198.51.100.7>");
}

TEST(RecoveryVariables, AnEmptyRouteSetIsSetAndEmpty) {
  CallScript call;
  call.AnsweredByPeer();
  auto v = Variables(call.Only());
  ASSERT_EQ(v.count("PJSIP_RECOVERY_ROUTES"), 1u);
  EXPECT_EQ(v["PJSIP_RECOVERY_ROUTES"], "");
}

TEST(RecoveryVariables, Rule12_9_RefuseUnsafeValues) {
  CallScript call;
  call.AnsweredByPeer();
  const DialogState good = call.Only();
  ASSERT_TRUE(sip::RecoveryVariables(good).ok());
  const std::string bad[] = {"x\r\nRoute: <sip:evil>", "x\ny", std::string("x\0y", 3)};
  for (const std::string& value : bad) {
    for (int field = 0; field < 9; ++field) {
      DialogState d = good;
      std::string* fields[] = {&d.call_id,      &d.local.tag,     &d.remote.tag,
                               &d.local.uri,    &d.remote.uri,    &d.local.display,
                               &d.local.params, &d.remote_target, nullptr};
      if (fields[field] != nullptr) {
        *fields[field] = value;
      } else {
        d.route_set = {value};
      }
      EXPECT_FALSE(sip::RecoveryVariables(d).ok()) << field;
      EXPECT_FALSE(
          sip::BuildReinvite(
              d, {.contact = "sip:n@192.0.2.11", .via_sent_by = "192.0.2.11", .branch = "z9hG4bKx"})
              .ok())
          << field;
      EXPECT_NE(sip::Judge(d).token, sip::VerdictToken::kRecoverable) << field;
    }
  }
  for (const char* tag : {"", "a b", "a;b", "a>"}) {
    DialogState d = good;
    d.remote.tag = tag;
    EXPECT_FALSE(sip::RecoveryVariables(d).ok()) << tag;
  }
  DialogState unbalanced = good;
  unbalanced.remote.display = "\"open";
  EXPECT_FALSE(sip::RecoveryVariables(unbalanced).ok());
}

TEST(Reinvite,
     Rule3_16_Rule11_11_IsTheOldDialogWithTheSuccessorsContactAndABranchOfItsOwn_F08_F20) {
  CallScript call;
  call.AnsweredByServer({"<sip:p2;lr>", "<sip:p1;lr>"});
  sip::ReinviteOptions options;
  options.contact = "sip:asterisk@192.0.2.11:5060";
  options.via_sent_by = "192.0.2.11:5060";
  options.branch = "z9hG4bKnew";
  options.now = sip::CaptureTime(std::chrono::seconds(1'700'000'000));
  options.sdp = Sdp("192.0.2.11", 20000, "2");
  const auto text = sip::BuildReinvite(call.Only(), options);
  ASSERT_TRUE(text.ok()) << text.status();
  sip::MessageView view;
  ASSERT_TRUE(view.Parse(std::string_view(*text)).ok());
  EXPECT_EQ(view.request_uri(), "sip:phone@198.51.100.7:5060");
  EXPECT_EQ(view.Get(sip::HeaderId::kFrom), "<sip:bob@example.com>;tag=b");
  EXPECT_EQ(view.Get(sip::HeaderId::kTo), "<sip:alice@example.com>;tag=a");
  EXPECT_EQ(view.cseq(), 850'000'001u);
  EXPECT_FALSE(view.Has(sip::HeaderId::kRecordRoute));
  EXPECT_EQ(view.Get(sip::HeaderId::kMaxForwards), "70");
  int vias = 0;
  view.ForEach(sip::HeaderId::kVia, [&](std::string_view) { ++vias; });
  EXPECT_EQ(vias, 1);
  std::vector<std::string> routes;
  view.ForEach(sip::HeaderId::kRoute, [&](std::string_view value) { routes.emplace_back(value); });
  EXPECT_THAT(routes, ElementsAre("<sip:p2;lr>", "<sip:p1;lr>"));
  EXPECT_EQ(view.body(), options.sdp);
  // Rule 11.11: a branch of its own.
  for (const sip::CapturedMessage& message : call.messages) {
    EXPECT_THAT(message.bytes, Not(HasSubstr(options.branch)));
  }
}

TEST(Reinvite, Rule3_17_AContactWithoutAUserTakesOverTheOldOnes) {
  CallScript call;
  Request invite = call.Receive({});
  call.Reply(invite, {.to_tag = "b", .contact = "<sip:conf123@192.0.2.10>"});
  sip::ReinviteOptions options;
  options.via_sent_by = "192.0.2.11:5060";
  options.branch = "z9hG4bKnew";
  for (const auto& [given, written] :
       {std::pair("sip:192.0.2.11:5060", "Contact: <sip:conf123@192.0.2.11:5060>\r\n"),
        std::pair("sips:192.0.2.11;x=1", "Contact: <sips:conf123@192.0.2.11;x=1>\r\n"),
        std::pair("sip:asterisk@192.0.2.11", "Contact: <sip:asterisk@192.0.2.11>\r\n")}) {
    options.contact = given;
    const auto text = sip::BuildReinvite(call.Only(), options);
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_THAT(*text, HasSubstr(written));
  }
}

// The address of the dead server lives on in the o= line alone, whose user, id and address must not
// change (RFC 3264 8).
TEST(Reinvite, F30_HoldsTheSuccessorsAddressesAndNoneOfTheDeadServer) {
  const std::string dead = "192.0.2.10";
  for (bool server_called : {true, false}) {
    CallScript call;
    if (server_called) {
      call.AnsweredByPeer({"<sip:198.51.100.7;lr>"});
    } else {
      // The server stands in the route that it was told, too.
      call.AnsweredByServer({"<sip:" + dead + ";lr>", "<sip:198.51.100.7;lr>"});
    }
    const DialogState dialog = call.Only();
    ASSERT_THAT(dialog.local_target, HasSubstr(dead)) << "there is something to be left out";
    sip::ReinviteOptions options;
    options.contact = "sip:asterisk@203.0.113.5:5060";
    options.via_sent_by = "203.0.113.5:5060";
    options.branch = "z9hG4bKnew";
    options.sdp = Sdp("203.0.113.5", 20000, "2");
    const auto text = sip::BuildReinvite(dialog, options);
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_THAT(*text, Not(HasSubstr(dead)));
    EXPECT_THAT(*text, HasSubstr("Contact: <sip:asterisk@203.0.113.5:5060>"));
    EXPECT_THAT(*text, HasSubstr("Via: SIP/2.0/UDP 203.0.113.5:5060"));
    for (const auto& [name, value] : Variables(dialog)) {
      if (name == "PJSIP_RECOVERY_SDP_ORIGIN") {
        EXPECT_THAT(value, HasSubstr("IN IP4 " + dead));
      } else if (name != "PJSIP_RECOVERY_RECORD-ROUTES") {  // for the record, never sent (M4)
        EXPECT_THAT(value, Not(HasSubstr(dead))) << name;
      }
    }
  }
}

TEST(RecoveryVariables, F25_KeepTheContactsParametersByteByByte) {
  for (const char* target :
       {"sip:198.51.100.7:5060;transport=udp;ob;line=a%20b+c", "sip:u@198.51.100.7;x;Y=1;z=%22Q%22",
        "sip:u:p@198.51.100.7:5080;user=phone;rinstance=5E"}) {
    CallScript call;
    Request invite = call.Receive({.contact = std::string("<") + target + ">;expires=60"});
    call.Reply(invite, {.to_tag = "b"});
    EXPECT_EQ(Variables(call.Only())["PJSIP_RECOVERY_REQUEST_URI"], target);
  }
}

TEST(RecoveryVariables, F13_NumberEachDirectionByItself) {
  for (const auto& [own, theirs] : {std::pair(2594u, 5u), std::pair(5u, 2594u)}) {
    CallScript call;
    call.AnsweredByPeer();
    Request ours = call.Send({.method = "INFO", .cseq = own, .to_tag = "b"});
    call.Reply(ours, {});
    // The peer has the last word.
    Request info = call.Receive({.method = "INFO", .cseq = theirs, .from_tag = "b", .to_tag = "a"});
    call.Reply(info, {});
    auto v = Variables(call.Only());
    EXPECT_EQ(v["PJSIP_RECOVERY_CSEQ"], std::to_string(own + 1));
    EXPECT_EQ(v["PJSIP_RECOVERY_REMOTE_CSEQ"], std::to_string(theirs));
  }
}

TEST(Reinvite, IsAFixedPointOfTheRebuild_F18_F74) {
  for (bool server_called : {true, false}) {
    CallScript call;
    if (server_called) {
      call.AnsweredByPeer({"<sip:p2;lr>", "<sip:p1;lr>"});
    } else {
      call.AnsweredByServer({"<sip:p2;lr>", "<sip:p1;lr>"});
    }
    const DialogState first = call.Only();
    sip::ReinviteOptions options;
    options.contact = "sip:asterisk@192.0.2.10:5060";
    options.via_sent_by = "192.0.2.10:5060";
    options.branch = "z9hG4bKnew";
    const auto text = sip::BuildReinvite(first, options);
    ASSERT_TRUE(text.ok());
    sip::CapturedMessage message = call.messages.back();
    message.bytes = *text;
    message.source = *sip::Endpoint::Parse(kServer);
    message.destination = *sip::Endpoint::Parse(kPeer);
    message.time += std::chrono::seconds(1);
    call.messages.push_back(message);
    const DialogState again = call.Only();
    EXPECT_EQ(again.role, first.role);
    EXPECT_EQ(again.local, first.local);
    EXPECT_EQ(again.remote, first.remote);
    EXPECT_EQ(again.route_set, first.route_set);
    EXPECT_EQ(again.remote_target, first.remote_target);
    EXPECT_GT(*again.local_seq, first.local_seq.value_or(0));
  }
}

TEST(Explain, ShowsVerdictFieldsAndTheLadder) {
  CallScript call;
  call.AnsweredByPeer({"<sip:p1;lr>"});
  const std::string text = sip::Explain(call.Only(), call.Judge());
  for (const char* part :
       {"verdict: ", "local_tag", "Record-Route of the 2xx", "sip:p1;lr", "#4"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  sip::LadderOptions options;
  options.marks.push_back({call.messages.back().time, "killed"});
  const std::string ladder = sip::Ladder(call.messages, call.server, options);
  EXPECT_THAT(ladder, HasSubstr("INVITE (1) SDP"));
  EXPECT_THAT(ladder, HasSubstr("killed"));
  EXPECT_EQ(std::count(ladder.begin(), ladder.end(), '\n'), 7);
}

}  // namespace
}  // namespace sipheal::testing
