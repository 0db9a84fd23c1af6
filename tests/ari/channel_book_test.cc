// SPDX-License-Identifier: Apache-2.0
#include "ari/channel_book.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "ari/create_request.h"

namespace sipheal::inline v0_1::internal {
namespace {

using nlohmann::json;
using Kind = ChannelEventKind;

constexpr char kId[] = "sipheal-abc-0-1";

json Channel(const std::string& id, const std::string& state = "Up") {
  return {{"id", id}, {"state", state}, {"dialplan", {{"app_name", "Stasis"}}}};
}
json Event(const std::string& type, const std::string& id = kId) {
  return {{"type", type}, {"channel", Channel(id)}};
}
json Variable(const std::string& name, const std::string& value) {
  json event = Event("ChannelVarset");
  event["variable"] = name;
  event["value"] = value;
  return event;
}
json Result(const std::string& value) { return Variable("PJSIP_RECOVERY_RESULT", value); }
json FlowResult(const std::string& value) { return Variable("PJSIP_RECOVERY_FLOW_RESULT", value); }
json Destroyed(const std::string& cause = "Normal Clearing", int tech_cause = 0) {
  json event = Event("ChannelDestroyed");
  event["cause_txt"] = cause;
  if (tech_cause != 0) event["tech_cause"] = tech_cause;
  return event;
}

class ChannelBookTest : public ::testing::Test {
 protected:
  ChannelBookTest() {
    book_.BeginSync("L1");
    book_.EndSync(json::array());
  }
  std::vector<Kind> Kinds(const ChannelBook::Events& events) {
    std::vector<Kind> kinds;
    for (const ChannelEvent& event : events) kinds.push_back(event.kind);
    return kinds;
  }
  // The one event that a re-INVITE ends with that had this result.
  ChannelEvent FailureAfter(const std::string& result,
                            DialogAction action = DialogAction::kReinvite) {
    book_.Expect(kId, action, /*server_flow=*/false);
    book_.OnEvent(Result(result));
    const auto events = book_.OnEvent(Destroyed());
    EXPECT_EQ(events.size(), 1u);
    return events.empty() ? ChannelEvent{} : events[0];
  }
  ChannelBook book_{"a"};
};

TEST_F(ChannelBookTest, ReportsTheAnswerOnceAndTheEndOnce) {
  book_.Expect(kId, DialogAction::kReinvite, /*server_flow=*/false);
  EXPECT_EQ(Kinds(book_.OnEvent(Event("ChannelCreated"))), std::vector<Kind>{});
  EXPECT_EQ(Kinds(book_.OnEvent(Event("ChannelStateChange"))), std::vector<Kind>{})
      << "up, but not in Stasis yet";
  EXPECT_EQ(Kinds(book_.OnEvent(Event("StasisStart"))), std::vector<Kind>{Kind::kAnswered});
  EXPECT_EQ(Kinds(book_.OnEvent(Event("StasisStart"))), std::vector<Kind>{});
  EXPECT_EQ(Kinds(book_.OnEvent(Destroyed())), std::vector<Kind>{Kind::kGone});
  EXPECT_EQ(Kinds(book_.OnEvent(Destroyed())), std::vector<Kind>{});
}

TEST_F(ChannelBookTest, ReportsNoChannelThatIsNotARecovery) {
  for (const char* id : {"1764000000.1", "sipheal", "sipheal-x", "other-abc-0-1"}) {
    EXPECT_EQ(book_.OnEvent(Event("ChannelCreated", id)).size(), 0u) << id;
    EXPECT_EQ(book_.OnEvent(Event("StasisStart", id)).size(), 0u) << id;
    EXPECT_EQ(book_.OnEvent(Event("ChannelDestroyed", id)).size(), 0u) << id;
  }
}

TEST_F(ChannelBookTest, CountsChannelsByEvents) {
  book_.OnEvent(Event("ChannelCreated", "1"));
  book_.OnEvent(Event("ChannelCreated", "2"));
  book_.OnEvent(Event("ChannelCreated", "2"));
  EXPECT_EQ(book_.channels(), 2u);
  book_.OnEvent(Event("ChannelDestroyed", "1"));
  EXPECT_EQ(book_.channels(), 1u);
}

TEST_F(ChannelBookTest, TellsWhyAReinviteFailed) {
  auto event = FailureAfter(
      "outcome=kept;status=488;origin=received;retry_after=0;to_tag=x;reason=Not Acceptable; Here");
  EXPECT_EQ(event.kind, Kind::kFailed);
  EXPECT_EQ(event.sip_status, 488);
  EXPECT_EQ(event.reason, "Not Acceptable; Here");
  EXPECT_TRUE(event.sent);
  EXPECT_FALSE(event.local_timeout);

  event = FailureAfter("outcome=kept;status=503;origin=received;retry_after=7;to_tag=;reason=Busy");
  EXPECT_EQ(event.retry_after, std::chrono::seconds(7));

  event = FailureAfter("outcome=kept;status=408;origin=timeout;retry_after=0;to_tag=;reason=x");
  EXPECT_TRUE(event.local_timeout);
  EXPECT_TRUE(event.sent);

  event = FailureAfter("outcome=refused;status=0;origin=local;retry_after=0;to_tag=;reason=CSEQ");
  EXPECT_FALSE(event.sent) << "MD-5";
  EXPECT_EQ(event.reason, "CSEQ");
}

// A dialog that is over must not be invited again: the engine closes on 481.
TEST_F(ChannelBookTest, SaysThatTheDialogIsOverWhenItIs) {
  EXPECT_EQ(FailureAfter("outcome=gone;status=0;origin=received;reason=BYE received").sip_status,
            481);
  EXPECT_EQ(FailureAfter("outcome=gone;status=481;origin=received;reason=x").sip_status, 481);
  EXPECT_EQ(FailureAfter("outcome=ended;status=488;origin=received;reason=x").sip_status, 481);
  EXPECT_EQ(
      FailureAfter("outcome=kept;status=200;origin=received;reason=answered with another To tag")
          .sip_status,
      481);
}

TEST_F(ChannelBookTest, AnAnswerThatIsFollowedByByeAtOnceIsStillAnAnswer) {
  book_.Expect(kId, DialogAction::kReinvite, /*server_flow=*/false);
  book_.OnEvent(Result("outcome=answered;status=200;origin=received;reason=OK"));
  EXPECT_EQ(Kinds(book_.OnEvent(Destroyed())), (std::vector<Kind>{Kind::kAnswered, Kind::kGone}));
}

TEST_F(ChannelBookTest, AByeIsAnsweredByAnyFinalAnswer) {
  for (const char* status : {"200", "481", "500"}) {
    book_.Expect(kId, DialogAction::kBye, /*server_flow=*/false);
    book_.OnEvent(
        Result(std::string("outcome=ended;status=") + status + ";origin=received;reason=x"));
    EXPECT_EQ(Kinds(book_.OnEvent(Destroyed())), (std::vector<Kind>{Kind::kAnswered, Kind::kGone}));
  }
  EXPECT_TRUE(
      FailureAfter("outcome=ended;status=408;origin=timeout;reason=x", DialogAction::kBye).sent);
  EXPECT_FALSE(
      FailureAfter("outcome=ended;status=0;origin=local;reason=x", DialogAction::kBye).sent);
}

TEST_F(ChannelBookTest, WithoutAResultTheCauseIsTheReason) {
  book_.Expect(kId, DialogAction::kReinvite, /*server_flow=*/false);
  const auto events = book_.OnEvent(Destroyed("User busy", 486));
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].sip_status, 486);
  EXPECT_EQ(events[0].reason, "User busy");
  EXPECT_TRUE(events[0].sent) << "nobody says that nothing was sent";
}

// The event socket was closed in the middle.
TEST_F(ChannelBookTest, TellsWhatWasMissedWhileNobodyListened) {
  book_.Expect("sipheal-answered-0-1", DialogAction::kReinvite, /*server_flow=*/false);
  book_.Expect("sipheal-failed-0-1", DialogAction::kReinvite, /*server_flow=*/false);
  book_.Expect("sipheal-waits-0-1", DialogAction::kReinvite, /*server_flow=*/false);
  book_.Expect("sipheal-gone-0-1", DialogAction::kReinvite, /*server_flow=*/false);
  EXPECT_EQ(book_.OnEvent(Event("StasisStart", "sipheal-gone-0-1")).size(), 1u);
  book_.BeginSync("L1");
  book_.Expect("sipheal-new-0-1", DialogAction::kReinvite,
               /*server_flow=*/false);  // after the snapshot was asked for
  const auto events =
      book_.EndSync(json::array({Channel("sipheal-answered-0-1", "Up"),
                                 Channel("sipheal-waits-0-1", "Ring"), Channel("1.1", "Up")}));
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].channel_id, "sipheal-answered-0-1");
  EXPECT_EQ(events[0].kind, Kind::kAnswered);
  EXPECT_EQ(events[1].channel_id, "sipheal-failed-0-1");
  EXPECT_EQ(events[1].kind, Kind::kFailed);
  EXPECT_EQ(events[2].channel_id, "sipheal-gone-0-1");
  EXPECT_EQ(events[2].kind, Kind::kGone);
  EXPECT_EQ(book_.channels(), 3u);
  EXPECT_EQ(Kinds(book_.OnEvent(Event("StasisStart", "sipheal-new-0-1"))),
            std::vector<Kind>{Kind::kAnswered});
}

TEST_F(ChannelBookTest, TakesTheServersReportOfTheFlowForTheAnswer) {
  const std::pair<std::string, FlowProgress> reports[] = {
      {"done", FlowProgress::kDone},
      {"failed;reason=the playback did not begin", FlowProgress::kUnknown},
      {"something new", FlowProgress::kUnknown}};
  for (const auto& [report, flow] : reports) {
    book_.Expect(kId, DialogAction::kReinvite, /*server_flow=*/true);
    EXPECT_EQ(book_.OnEvent(Result("outcome=answered;status=200")).size(), 0u);
    const auto events = book_.OnEvent(FlowResult(report));
    ASSERT_EQ(Kinds(events), std::vector<Kind>{Kind::kAnswered}) << report;
    EXPECT_EQ(events[0].flow, flow) << report;
    EXPECT_EQ(events[0].sip_status, 200);
    EXPECT_EQ(Kinds(book_.OnEvent(Destroyed())), std::vector<Kind>{Kind::kGone});
  }
}

TEST_F(ChannelBookTest, AChannelWhoseFlowTheServerLeftAloneIsAnsweredWhenItWaits) {
  book_.Expect(kId, DialogAction::kReinvite, /*server_flow=*/true);
  EXPECT_EQ(book_.OnEvent(FlowResult("none;reason=not there")).size(), 0u);
  const auto events = book_.OnEvent(Event("StasisStart"));
  ASSERT_EQ(Kinds(events), std::vector<Kind>{Kind::kAnswered});
  EXPECT_EQ(events[0].flow, FlowProgress::kNotBegun);
}

TEST_F(ChannelBookTest, IsNotOverdueWhenThePhoneHasAnswered) {
  book_.Expect(kId, DialogAction::kReinvite, /*server_flow=*/true);
  book_.OnEvent(Result("outcome=answered;status=200"));
  EXPECT_FALSE(book_.Overdue(kId)) << "giving it up would leave the phone with nobody";
}

TEST_F(ChannelBookTest, KnowsNothingOfAFlowWhoseReportItMayHaveMissed) {
  book_.Expect(kId, DialogAction::kReinvite, /*server_flow=*/true);
  book_.BeginSync("L1");
  const auto events = book_.EndSync(json::array({Channel(kId, "Up")}));
  ASSERT_EQ(Kinds(events), std::vector<Kind>{Kind::kAnswered});
  EXPECT_EQ(events[0].flow, FlowProgress::kUnknown);
  EXPECT_EQ(book_.OnEvent(FlowResult("done")).size(), 0u);
}

TEST_F(ChannelBookTest, AChannelThatEndedDuringTheSnapshotStaysEnded) {
  book_.BeginSync("L1");
  book_.OnEvent(Event("ChannelDestroyed", "1.1"));
  book_.EndSync(json::array({Channel("1.1"), Channel("1.2")}));
  EXPECT_EQ(book_.channels(), 1u);
}

TEST_F(ChannelBookTest, TheLossOfTheIncarnationGivesNoEvent) {
  book_.Expect(kId, DialogAction::kReinvite, /*server_flow=*/false);
  book_.BeginSync("L2");
  EXPECT_EQ(book_.EndSync(json::array()).size(), 0u) << "MD-4";
}

TEST_F(ChannelBookTest, TakesAnyJson) {
  for (const char* text :
       {"{}", R"({"type":"StasisStart"})", R"({"type":"StasisStart","channel":1})",
        R"({"type":1,"channel":{"id":"sipheal-abc-0-1"}})", R"({"type":"X","channel":{"id":7}})",
        R"({"type":"ChannelVarset","channel":{"id":"sipheal-abc-0-1"},"variable":1,"value":[]})",
        R"({"type":"ChannelDestroyed","channel":{"id":"sipheal-abc-0-1"},"tech_cause":"x"})"}) {
    book_.OnEvent(json::parse(text));
  }
  book_.BeginSync("L1");
  book_.EndSync(json::parse(R"([1,{"id":2},{"id":"sipheal-abc-0-1"},{}])"));
}

TEST(RecoveryResult, TakesAnyText) {
  for (const char* text : {"", "=", ";", "outcome", "status=999999999999", "status=-1;origin",
                           "outcome=;status=;origin=;retry_after=;to_tag=;reason="}) {
    const auto result = ParseRecoveryResult(text);
    EXPECT_EQ(result.outcome, RecoveryResult::Outcome::kUnknown) << text;
    EXPECT_EQ(result.status, 0) << text;
  }
  EXPECT_EQ(ParseRecoveryResult("retry_after=2147483647").retry_after, std::chrono::hours(24));
}

class CreateRequestTest : public ::testing::Test {
 protected:
  MediaServerDriver::CreateParams params_{
      "a",
      kId,
      "phone",
      DialogAction::kReinvite,
      {{"PJSIP_RECOVERY_CALL-ID", "x@y"},
       {"PJSIP_RECOVERY_REQUEST_URI", "sip:p@10.0.0.1:5070;a=b"}}};
  absl::StatusOr<CreateRequest> MakeAll() { return MakeCreateRequest(params_, "app"); }
  // The body, of what goes in one request.
  absl::StatusOr<std::string> Make() {
    const auto request = MakeAll();
    if (!request.ok()) return request.status();
    EXPECT_TRUE(request->variables.empty());
    return request->body;
  }
};

TEST_F(CreateRequestTest, DialsTheRemoteTargetThroughTheEndpoint) {
  const auto body = json::parse(*Make());
  EXPECT_EQ(body["endpoint"], "PJSIP/phone/sip:p@10.0.0.1:5070;a=b");
  EXPECT_EQ(body["channelId"], kId);
  EXPECT_FALSE(body.contains("app")) << "it must wait for a controller when there is none";
  EXPECT_EQ(body["context"], "pjsip-recovery");
  EXPECT_EQ(body["extension"], "app-app");
  EXPECT_EQ(body["priority"], 1);
  EXPECT_EQ(body["variables"]["PJSIP_RECOVERY(CALL-ID)"], "x@y");
  EXPECT_EQ(body["variables"]["PJSIP_RECOVERY(METHOD)"], "INVITE");
  EXPECT_EQ(body["variables"]["PJSIP_RECOVERY(ON_FAILURE)"], "keep");
}

TEST_F(CreateRequestTest, LeavesATelephoneUriToTheModule) {
  params_.variables[1].second = "tel:+4930123";
  EXPECT_EQ(json::parse(*Make())["endpoint"], "PJSIP/phone");
}

TEST_F(CreateRequestTest, AByeIsAMethod) {
  params_.action = DialogAction::kBye;
  EXPECT_EQ(json::parse(*Make())["variables"]["PJSIP_RECOVERY(METHOD)"], "BYE");
}

TEST_F(CreateRequestTest, RefusesWhatWouldMeanSomethingElseAtTheServer) {
  const auto refused = [&](const std::string& name, const std::string& value) {
    const auto good = params_;
    params_.variables.emplace_back(name, value);
    const auto status = Make().status();
    params_ = good;
    return status.code() == absl::StatusCode::kFailedPrecondition;
  };
  EXPECT_FALSE(refused("PJSIP_RECOVERY_FROM_TAG", "x"));
  EXPECT_TRUE(refused("PJSIP_RECOVERY_FROM_TAG", "x\r\nEvil: 1"));
  EXPECT_TRUE(refused("PJSIP_RECOVERY_FROM_TAG", std::string("x\0y", 3)));
  EXPECT_TRUE(refused("PJSIP_RECOVERY_FROM_TAG", "\xff"));
  EXPECT_TRUE(refused("PJSIP_RECOVERY_X(SHELL(ls))", "1"));
  EXPECT_TRUE(refused("SHELL", "1"));
  EXPECT_TRUE(refused("PJSIP_RECOVERY_ROUTES", std::string(41'000, 'x')));
  EXPECT_FALSE(refused("PJSIP_RECOVERY_TO_DISPLAY", "Caf\xe9")) << "left out instead";
  params_.endpoint = "phone&PJSIP/other";
  EXPECT_FALSE(Make().ok());
  params_.endpoint = "a/b";
  EXPECT_FALSE(Make().ok());
  params_.endpoint = "phone";
  params_.channel_id = "a/b";
  EXPECT_FALSE(Make().ok());
}

TEST_F(CreateRequestTest, LeavesOutADisplayNameThatCannotBeCarried) {
  params_.variables.emplace_back("PJSIP_RECOVERY_TO_DISPLAY", "Caf\xe9");
  EXPECT_FALSE(json::parse(*Make())["variables"].contains("PJSIP_RECOVERY(TO_DISPLAY)"));
}

TEST_F(CreateRequestTest, CarriesTheFlowsVariablesAsTheyAre) {
  params_.flow_variables = {{"SIPHEAL_FLOW", R"({"held":true,"stasis":{"app":"a\r\n"}})"},
                            {"HOST_1", ""}};
  const auto variables = json::parse(*Make())["variables"];
  EXPECT_EQ(variables["SIPHEAL_FLOW"], params_.flow_variables[0].second);
  EXPECT_EQ(variables["HOST_1"], "");
  EXPECT_EQ(variables["PJSIP_RECOVERY(CALL-ID)"], "x@y");
}

TEST_F(CreateRequestTest, TellsTheServerItsFlowWithoutAnEvent) {
  params_.flow_variables = {{"PJSIP_RECOVERY_FLOW", R"({"stasis":{"app":"host"}})"}};
  const auto request = MakeAll();
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_TRUE(request->has_server_flow);
  const auto variables = json::parse(request->body)["variables"];
  EXPECT_EQ(variables["PJSIP_RECOVERY(FLOW)"], params_.flow_variables[0].second);
  EXPECT_FALSE(variables.contains("PJSIP_RECOVERY_FLOW"));
}

TEST_F(CreateRequestTest, LeavesTheFlowToTheResumerWhenThereIsNoRoom) {
  params_.flow_variables = {{"PJSIP_RECOVERY_FLOW", R"({"stasis":{"app":"host"}})"},
                            {"HOST", std::string(40'000, 'x')}};
  params_.variables.emplace_back("PJSIP_RECOVERY_ROUTES", std::string(10'000, 'x'));
  const auto request = MakeAll();
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_FALSE(request->has_server_flow);
  EXPECT_EQ(request->body.find("FLOW"), std::string::npos);
  EXPECT_EQ(request->variables.size(), 1u) << "the host's variable alone";
}

TEST_F(CreateRequestTest, LeavesOutFlowVariablesThatWouldMeanSomethingElse) {
  const auto without = Make();
  ASSERT_TRUE(without.ok());
  params_.flow_variables = {{"SHELL(ls)", "1"},
                            {"CHANNEL(hangup_handler_push)", "1"},
                            {"", "1"},
                            {"A B", "1"},
                            {"A-B", "1"},
                            {"__A\n", "1"},
                            {"\xff", "1"},
                            {"PJSIP_RECOVERY_FROM_TAG", "x"},
                            {"PJSIP_RECOVERY_METHOD", "BYE"},
                            {"PJSIP_RECOVERY_", "x"},
                            {"BAD_UTF8", "Caf\xe9"},
                            {"WITH_NUL", std::string("a\0b", 3)}};
  EXPECT_EQ(Make(), without);
}

TEST_F(CreateRequestTest, SetsAllFlowVariablesLaterWhenTheyMakeTheBodyTooLarge) {
  const auto without = Make();
  ASSERT_TRUE(without.ok());
  // The names, quotes and commas of the two take 23 bytes.
  params_.flow_variables = {{"SMALL", "1"},
                            {"LARGE", std::string(40'960 - without->size() - 23, 'x')}};
  const auto largest = Make();
  ASSERT_TRUE(largest.ok());
  EXPECT_EQ(largest->size(), 40'960u);
  params_.flow_variables[1].second += 'x';
  params_.flow_variables.emplace_back("NOT PLAIN", "1");
  const auto split = MakeAll();
  ASSERT_TRUE(split.ok());
  EXPECT_EQ(split->body, *without);
  ASSERT_EQ(split->variables.size(), 2u);
  EXPECT_EQ(json::parse(split->variables[0]), json({{"variable", "SMALL"}, {"value", "1"}}));
  EXPECT_EQ(json::parse(split->variables[1])["variable"], "LARGE");
  params_.flow_variables[1].second.assign(40'960, 'x');
  EXPECT_EQ(MakeAll()->variables.size(), 1u) << "what no request can carry is left out";
}

TEST(GiveUpRequest, NamesAllChannelsInOneFunction) {
  const auto body = json::parse(MakeGiveUpBody({"ast-1-1764.1", "sipheal-a-0-1", "a)b", ""}));
  EXPECT_EQ(body["variable"], "PJSIP_RECOVERY_RELEASE(ast-1-1764.1,sipheal-a-0-1)");
  EXPECT_EQ(body["value"], "1");
  EXPECT_EQ(MakeGiveUpBody({"a)b", "a,b", "a\nb"}), "") << "no channel has such an id";
}

}  // namespace
}  // namespace sipheal::inline v0_1::internal
