// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "sipheal/sip/explain.h"
#include "sipheal/sip/next_request.h"
#include "tests/sip/built_reinvite.h"
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
          BuildReinvite(d, {.contact = "sip:n@192.0.2.11", .via_sent_by = "192.0.2.11"}).ok())
          << field;
      EXPECT_NE(sip::Judge(d).token, sip::VerdictToken::kRecoverable) << field;
    }
  }
  for (const char* tag : {"", "a b", "a;b", "a>"}) {
    DialogState d = good;
    d.remote.tag = tag;
    EXPECT_FALSE(sip::RecoveryVariables(d).ok()) << tag;
  }
  for (const char* call_id : {"", " a", "a ", "a b", "a\tb", "a\x7f"}) {
    DialogState d = good;
    d.call_id = call_id;
    EXPECT_FALSE(sip::RecoveryVariables(d).ok()) << call_id;
    EXPECT_NE(sip::Judge(d).token, sip::VerdictToken::kRecoverable) << call_id;
  }
  DialogState unbalanced = good;
  unbalanced.remote.display = "\"open";
  EXPECT_FALSE(sip::RecoveryVariables(unbalanced).ok());
}

TEST(RecoveryVariables, Rule12_9_RefuseUnsafeValuesThatAreForTheRecordAlone) {
  CallScript call;
  call.AnsweredByPeer({"<sip:p1;lr>"});
  const DialogState good = call.Only();
  const std::string bad = "x\r\nRoute: <sip:evil>";
  for (const char* name : {"RECORD-ROUTES", "SDP_ORIGIN", "SDP_MEDIA"}) {
    DialogState d = good;
    if (name == std::string_view("RECORD-ROUTES")) d.record_route.push_back(bad);
    if (name == std::string_view("SDP_ORIGIN")) d.local_sdp.origin_user = bad;
    if (name == std::string_view("SDP_MEDIA")) d.local_sdp.media.back().protocol = bad;
    const absl::Status status = sip::RecoveryVariables(d).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
    EXPECT_NE(sip::Judge(d).token, sip::VerdictToken::kRecoverable) << name;
  }
}

TEST(RecoveryVariables, OneWriterMakesThoseOfAnyDialogAsIfItWereTheFirst) {
  CallScript small;
  small.AnsweredByPeer();
  CallScript large;
  large.AnsweredByServer({"<sip:p2;lr>", "<sip:" + std::string(5000, 'h') + ";lr>"});
  DialogState quoted = large.Only();
  quoted.remote.display = "\"A \\\"x\\\" B\"";
  DialogState refused = large.Only();
  refused.remote.display = "x\r\n";
  sip::RecoveryVariableWriter writer;
  for (const DialogState& dialog : {small.Only(), large.Only(), quoted, refused, small.Only()}) {
    const auto expected = sip::RecoveryVariables(dialog);
    const auto views = writer.Write(dialog);
    ASSERT_EQ(views.status(), expected.status());
    if (!views.ok()) continue;
    std::vector<sip::ChannelVariable> made;
    for (const sip::VariableView& view : *views) made.emplace_back(view.name, view.value);
    EXPECT_EQ(made, *expected);
  }
}

TEST(RecoveryVariables, AWriterUsesItsMemoryAgain) {
  CallScript call;
  call.AnsweredByServer({"<sip:p2;lr>", "<sip:p1;lr>"});
  const DialogState dialog = call.Only();
  sip::RecoveryVariableWriter writer;
  const auto first = writer.Write(dialog);
  ASSERT_TRUE(first.ok()) << first.status();
  const sip::VariableView* const list = first->data();
  const char* const routes = (*first)[8].value.data();
  for (int round = 0; round < 3; ++round) {
    const auto again = writer.Write(dialog);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->data(), list);
    EXPECT_EQ((*again)[8].name, "PJSIP_RECOVERY_ROUTES");
    EXPECT_EQ((*again)[8].value.data(), routes);
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
