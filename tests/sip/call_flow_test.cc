// SPDX-License-Identifier: Apache-2.0
// The call flows of RFC 3261 section 24.2 and RFC 3665 section 3, captured at every hop, and
// rebuilt for both of their ends: what one end's server would have to know is the mirror image of
// what the other's would.
#include "tests/sip/call_flow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "sipheal/sip/explain.h"
#include "sipheal/sip/message_view.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/uri.h"
#include "tests/sip/built_reinvite.h"

namespace sipheal::testing {
namespace {

using sip::DialogEnd;
using sip::DialogPhase;
using sip::DialogRole;
using sip::DialogState;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Side kBoth[] = {Side::kCaller, Side::kCallee};

// RFC 3665 section 3: its users and proxies, with the addresses that it gives them.
CallFlow::User Alice() {
  return {"192.0.2.101:5060", "Alice", "sip:alice@atlanta.example.com",
          "sip:alice@192.0.2.101:5060", "9fxced76sl"};
}
CallFlow::User Bob() {
  return {"192.0.2.201:5060",         "Bob",    "sip:bob@biloxi.example.com",
          "sip:bob@192.0.2.201:5060", "314159", 300};
}
std::vector<CallFlow::Proxy> TwoProxies() {
  return {{"192.0.2.111:5060", {"sip:192.0.2.111;lr"}},
          {"192.0.2.222:5060", {"sip:192.0.2.222;lr"}}};
}

DialogState Only(const CallFlow& flow, Side side) {
  const std::vector<DialogState> dialogs = flow.SeenBy(side);
  EXPECT_EQ(dialogs.size(), 1u) << (side == Side::kCaller ? "caller" : "callee");
  return dialogs.size() == 1 ? dialogs[0] : DialogState{};
}

std::string Explained(const DialogState& dialog) {
  return sip::Explain(dialog, sip::Judge(dialog));
}

std::string TagOf(const sip::MessageView& view, sip::HeaderId header) {
  const auto party = sip::NameAddrView::Parse(view.Get(header));
  return party ? std::string(party->Param("tag").value_or("")) : "";
}

// What the successor of this side's server would send, and by whom it passes.
void ExpectNextRequestFindsItsWay(const CallFlow& flow, Side side, const DialogState& dialog) {
  sip::ReinviteOptions options;
  options.contact = "sip:new@203.0.113.5";
  options.via_sent_by = "203.0.113.5";
  const auto text = BuildReinvite(dialog, options);
  ASSERT_TRUE(text.ok()) << text.status();
  sip::MessageView view;
  ASSERT_TRUE(view.Parse(std::string_view(*text)).ok());
  std::vector<std::string> routes;
  view.ForEach(sip::HeaderId::kRoute, [&](std::string_view value) { routes.emplace_back(value); });
  std::vector<std::string> expected;
  for (const std::string& uri : flow.RouteSet(side)) expected.push_back("<" + uri + ">");
  EXPECT_EQ(routes, expected);
  EXPECT_EQ(view.request_uri(), flow.user(Other(side)).contact);
  EXPECT_EQ(TagOf(view, sip::HeaderId::kFrom), flow.user(side).tag);
  EXPECT_EQ(TagOf(view, sip::HeaderId::kTo), flow.user(Other(side)).tag);
  EXPECT_FALSE(view.Has(sip::HeaderId::kRecordRoute));
}

// The state of one side is what that user knows of its own call.
void ExpectTruth(const CallFlow& flow, Side side, const DialogState& dialog) {
  const CallFlow::User& own = flow.user(side);
  const CallFlow::User& peer = flow.user(Other(side));
  EXPECT_EQ(dialog.role, side == Side::kCaller ? DialogRole::kUac : DialogRole::kUas);
  EXPECT_EQ(dialog.local.tag, own.tag);
  EXPECT_EQ(dialog.local.uri, own.uri);
  EXPECT_EQ(dialog.local.display, own.display);
  EXPECT_EQ(dialog.remote.tag, peer.tag);
  EXPECT_EQ(dialog.remote.uri, peer.uri);
  EXPECT_EQ(dialog.remote_target, peer.contact);
  EXPECT_EQ(dialog.route_set, flow.RouteSet(side));
}

// An established call that either end's server could go on with.
void ExpectLiveForBoth(const CallFlow& flow) {
  for (const Side side : kBoth) {
    SCOPED_TRACE(side == Side::kCaller ? "the caller's server" : "the callee's server");
    const DialogState dialog = Only(flow, side);
    SCOPED_TRACE(Explained(dialog));
    EXPECT_EQ(dialog.phase, DialogPhase::kConfirmed);
    EXPECT_TRUE(sip::Judge(dialog).recoverable());
    ExpectTruth(flow, side, dialog);
    ExpectNextRequestFindsItsWay(flow, side, dialog);
  }
  ExpectMirrored(Only(flow, Side::kCaller), Only(flow, Side::kCallee));
}

void ExpectEndedForBoth(const CallFlow& flow, DialogEnd of_caller) {
  EXPECT_EQ(Only(flow, Side::kCaller).end, of_caller) << Explained(Only(flow, Side::kCaller));
  for (const Side side : kBoth) {
    EXPECT_EQ(Only(flow, side).phase, DialogPhase::kTerminated);
    EXPECT_FALSE(sip::Judge(Only(flow, side)).recoverable());
  }
  ExpectMirrored(Only(flow, Side::kCaller), Only(flow, Side::kCallee));
}

// 100, 180, 200 and ACK, the offer in the INVITE.
void Establish(CallFlow& flow) {
  const auto invite = flow.Send(Side::kCaller, "INVITE", {flow.Sdp(Side::kCaller, 1)});
  flow.Answer(invite, 100);
  flow.Answer(invite, 180);
  flow.Answer(invite, 200, {flow.Sdp(Side::kCallee, 1)});
  flow.Ack(invite);
}

// RFC 3261 24.2: the proxies do not stay in the call; ACK and BYE go from user to user.
TEST(CallFlows, Rfc3261_24_2_SetUpThroughProxiesThatLeaveTheCall) {
  CallFlow flow(Alice(), Bob(), {{"192.0.2.111:5060", {}}, {"192.0.2.222:5060", {}}});
  Establish(flow);
  ExpectLiveForBoth(flow);
  EXPECT_THAT(Only(flow, Side::kCaller).route_set, IsEmpty());
  EXPECT_EQ(Only(flow, Side::kCallee).remote_seq, 1u);
  EXPECT_EQ(Only(flow, Side::kCallee).local_seq, std::nullopt);
  flow.Exchange(Side::kCallee, "BYE");
  ExpectEndedForBoth(flow, DialogEnd::kByeAnswered);
}

TEST(CallFlows, Rfc3665_3_1_ACallFromUserToUserOverTcp) {
  CallFlow flow(Alice(), Bob(), {}, sip::Transport::kTcp);
  Establish(flow);
  ExpectLiveForBoth(flow);
  flow.Exchange(Side::kCallee, "BYE");
  ExpectEndedForBoth(flow, DialogEnd::kByeAnswered);
}

// Proxy 1 wants credentials before it lets the call through; both proxies stay in it.
TEST(CallFlows, Rfc3665_3_2_ThroughTwoProxiesThatRecordTheRoute_F06_F18) {
  CallFlow flow(Alice(), Bob(), TwoProxies());
  flow.RefusedByProxy(Side::kCaller, "INVITE", 0, 407, {flow.Sdp(Side::kCaller, 1)});
  Establish(flow);
  ExpectLiveForBoth(flow);
  EXPECT_THAT(Only(flow, Side::kCaller).route_set,
              ElementsAre("sip:192.0.2.111;lr", "sip:192.0.2.222;lr"));
  EXPECT_THAT(Only(flow, Side::kCallee).route_set,
              ElementsAre("sip:192.0.2.222;lr", "sip:192.0.2.111;lr"));
  EXPECT_EQ(Only(flow, Side::kCaller).local_seq, 2u);
  flow.Exchange(Side::kCallee, "BYE");
  ExpectEndedForBoth(flow, DialogEnd::kByeAnswered);
}

TEST(CallFlows, Rfc3665_3_3_EachProxyWantsCredentials_F06) {
  CallFlow flow(Alice(), Bob(), TwoProxies());
  flow.RefusedByProxy(Side::kCaller, "INVITE", 0, 407, {flow.Sdp(Side::kCaller, 1)});
  flow.RefusedByProxy(Side::kCaller, "INVITE", 1, 407, {flow.Sdp(Side::kCaller, 1)});
  Establish(flow);
  ExpectLiveForBoth(flow);
  EXPECT_EQ(Only(flow, Side::kCaller).local_seq, 3u);
  EXPECT_EQ(Only(flow, Side::kCallee).remote_seq, 3u);
}

// RFC 3261 22.2: the called server itself wants credentials. The refused INVITE is no dialog.
TEST(CallFlows, Rfc3261_22_2_TheCalleeWantsCredentials_F06) {
  CallFlow flow(Alice(), Bob(), TwoProxies());
  const std::string tag = flow.user(Side::kCallee).tag;
  flow.user(Side::kCallee).tag = "of-the-401";
  const auto first = flow.Send(Side::kCaller, "INVITE", {flow.Sdp(Side::kCaller, 1)});
  flow.Answer(first, 401);
  flow.Ack(first, 401);
  flow.user(Side::kCallee).tag = tag;
  Establish(flow);
  ExpectLiveForBoth(flow);
  EXPECT_EQ(Only(flow, Side::kCallee).remote_seq, 2u);
}

// The offer comes in the 200, the answer in the ACK.
TEST(CallFlows, Rfc3665_3_6_RedirectedAndWithSdpInTheAck) {
  CallFlow flow(Alice(), Bob(), {{"192.0.2.222:5060", {"sip:192.0.2.222;lr"}}});
  flow.RefusedByProxy(Side::kCaller, "INVITE", 0, 302);
  const auto invite = flow.Send(Side::kCaller, "INVITE");
  flow.Answer(invite, 100);
  flow.Answer(invite, 180);
  flow.Answer(invite, 200, {flow.Sdp(Side::kCallee, 1)});
  flow.Ack(invite, 200, {flow.Sdp(Side::kCaller, 1)});
  ExpectLiveForBoth(flow);
  EXPECT_EQ(Only(flow, Side::kCaller).local_sdp.origin_user, "alice");
  EXPECT_EQ(Only(flow, Side::kCaller).remote_sdp.origin_user, "bob");
}

// Bob's address changes: his re-INVITE brings a new Contact and new SDP.
TEST(CallFlows, Rfc3665_3_7_AReinviteAfterBobsAddressChanged_F07) {
  CallFlow flow(Alice(), Bob(), TwoProxies());
  Establish(flow);
  const std::string before = flow.user(Side::kCallee).address;
  flow.user(Side::kCallee).address = "192.0.2.203:5060";
  flow.user(Side::kCallee).contact = "sip:bob@192.0.2.203:5060";
  flow.Exchange(Side::kCallee, "INVITE", {flow.Sdp(Side::kCallee, 2)},
                {flow.Sdp(Side::kCaller, 1)});
  const DialogState alice = Only(flow, Side::kCaller);
  EXPECT_EQ(alice.remote_target, "sip:bob@192.0.2.203:5060");
  EXPECT_EQ(alice.remote_sdp.address, "192.0.2.203");
  EXPECT_EQ(alice.remote_seq, 300u);
  EXPECT_TRUE(sip::Judge(alice).recoverable()) << Explained(alice);
  ExpectNextRequestFindsItsWay(flow, Side::kCaller, alice);
  const std::vector<DialogState> bob = flow.SeenBy(Side::kCallee, {before});
  ASSERT_EQ(bob.size(), 1u);
  ExpectTruth(flow, Side::kCallee, bob[0]);
  ExpectMirrored(alice, bob[0]);
  flow.Exchange(Side::kCaller, "BYE");
  EXPECT_EQ(Only(flow, Side::kCaller).end, DialogEnd::kByeSent);
}

TEST(CallFlows, Rfc3665_3_8_NobodyAnsweredAndTheCallerGaveUp_F10) {
  CallFlow flow(Alice(), Bob(), TwoProxies());
  const auto invite = flow.Send(Side::kCaller, "INVITE", {flow.Sdp(Side::kCaller, 1)});
  flow.Answer(invite, 100);
  flow.Answer(invite, 180);
  ExpectMirrored(Only(flow, Side::kCaller), Only(flow, Side::kCallee));
  for (const Side side : kBoth) {
    EXPECT_EQ(sip::Judge(Only(flow, side)).token, sip::VerdictToken::kEarly);
  }
  const auto cancel = flow.Cancel(invite);
  flow.Answer(cancel, 200);
  flow.Answer(invite, 487);
  flow.Ack(invite, 487);
  ExpectEndedForBoth(flow, DialogEnd::kCancelled);
}

TEST(CallFlows, Rfc3665_3_9_TheCalleeIsBusy_F10) {
  CallFlow flow(Alice(), Bob(), TwoProxies());
  const auto invite = flow.Send(Side::kCaller, "INVITE", {flow.Sdp(Side::kCaller, 1)});
  flow.Answer(invite, 100);
  flow.Answer(invite, 486);
  flow.Ack(invite, 486);
  for (const Side side : kBoth) {
    for (const DialogState& dialog : flow.SeenBy(side)) {
      EXPECT_FALSE(sip::Judge(dialog).recoverable()) << Explained(dialog);
    }
  }
}

// F23: one proxy with two interfaces writes itself twice; each side meets its own interface first.
TEST(CallFlows, Rfc5658_ADoubleRecordRouteIsPassedFromBothSides_F23) {
  CallFlow flow(Alice(), Bob(),
                {{"192.0.2.111:5060",
                  {"sip:192.0.2.111;lr;r2=on", "sip:192.0.2.111;transport=tcp;lr;r2=on"}}});
  Establish(flow);
  ExpectLiveForBoth(flow);
  EXPECT_EQ(Only(flow, Side::kCaller).route_set.front(), "sip:192.0.2.111;lr;r2=on");
  EXPECT_EQ(Only(flow, Side::kCallee).route_set.front(), "sip:192.0.2.111;transport=tcp;lr;r2=on");
}

// F21, F71: the successor of either end's server takes over; every later request of both sides
// keeps the way, and the BYE of each side ends the dialog.
TEST(CallFlows, F21_F71_AfterTheRecoveryRequestsOfBothSidesKeepTheirWayUpToTheBye) {
  for (const Side recovered : kBoth) {
    for (const Side ends : kBoth) {
      SCOPED_TRACE(::testing::Message() << "recovered " << static_cast<int>(recovered)
                                        << ", ended by " << static_cast<int>(ends));
      CallFlow flow(Alice(), Bob(), TwoProxies());
      Establish(flow);
      const std::string dead = flow.user(recovered).address;
      // The successor lives elsewhere, and goes above what was used.
      flow.user(recovered).address = "192.0.2.250:5060";
      flow.user(recovered).contact = "sip:asterisk@192.0.2.250:5060";
      flow.user(recovered).cseq += 1000;
      flow.Exchange(recovered, "INVITE", {flow.Sdp(recovered, 2)}, {flow.Sdp(Other(recovered), 1)});
      for (const char* method : {"INFO", "UPDATE", "INVITE"}) {
        for (const Side side : kBoth) {
          flow.Exchange(side, method);
          const std::vector<DialogState> own = flow.SeenBy(recovered, {dead});
          ASSERT_EQ(own.size(), 1u) << method;
          ExpectTruth(flow, recovered, own[0]);
          EXPECT_EQ(own[0].local_seq, flow.user(recovered).cseq - 1) << method;
          EXPECT_TRUE(sip::Judge(own[0]).recoverable()) << Explained(own[0]);
          ExpectNextRequestFindsItsWay(flow, recovered, own[0]);
          ExpectTruth(flow, Other(recovered), Only(flow, Other(recovered)));
        }
      }
      flow.Exchange(ends, "BYE");
      const std::vector<DialogState> own = flow.SeenBy(recovered, {dead});
      ASSERT_EQ(own.size(), 1u);
      EXPECT_EQ(own[0].end, ends == recovered ? DialogEnd::kByeSent : DialogEnd::kByeAnswered);
      ExpectMirrored(own[0], Only(flow, Other(recovered)));
    }
  }
}

// F94: each message was captured at three hops, with three sets of Via, Route and Record-Route.
TEST(CallFlows, F94_CopiesOfOtherHopsChangeNothing) {
  CallFlow flow(Alice(), Bob(), TwoProxies());
  Establish(flow);
  flow.Exchange(Side::kCallee, "INVITE", {flow.Sdp(Side::kCallee, 2)},
                {flow.Sdp(Side::kCaller, 2)});
  for (const Side side : kBoth) {
    CallFlow alone = flow;
    const sip::Endpoint own = *sip::Endpoint::Parse(flow.user(side).address);
    std::erase_if(alone.messages, [&](const sip::CapturedMessage& message) {
      return message.source != own && message.destination != own;
    });
    ASSERT_LT(alone.messages.size(), flow.messages.size());
    EXPECT_EQ(Only(flow, side), Only(alone, side)) << Explained(Only(flow, side));
  }
}

// F93: the capture ends before the call does, after any message. What is then recoverable is the
// true dialog, and the next number is above all that were used.
TEST(CallFlows, F92_F93_ACaptureThatEndsEarlyIsNeverWrong) {
  CallFlow flow(Alice(), Bob(), TwoProxies());
  Establish(flow);
  const std::size_t established = flow.messages.size();
  for (int i = 0; i < 5; ++i) {
    for (const Side side : kBoth) {
      flow.Exchange(side, i % 2 == 0 ? "INVITE" : "UPDATE", {flow.Sdp(side, 2 + i)},
                    {flow.Sdp(Other(side), 2 + i)});
    }
  }
  int recoverable = 0;
  for (std::size_t length = 1; length <= flow.messages.size(); ++length) {
    CallFlow cut = flow;
    cut.messages.resize(length);
    for (const Side side : kBoth) {
      for (const DialogState& dialog : cut.SeenBy(side)) {
        if (!sip::Judge(dialog).recoverable()) continue;
        ++recoverable;
        SCOPED_TRACE(::testing::Message() << length << " messages\n" << Explained(dialog));
        ExpectTruth(flow, side, dialog);
        const auto next = sip::NextCseq(dialog, {}, dialog.last_seen);
        ASSERT_TRUE(next.ok());
        EXPECT_GE(*next, flow.user(side).cseq);
      }
    }
  }
  EXPECT_GE(recoverable, 2 * static_cast<int>(flow.messages.size() - established));
}

// --- any call ---

class AnyCall {
 public:
  explicit AnyCall(unsigned seed)
      : random_(seed),
        tcp_(Chance(30)),
        flow_(Caller(), Callee(), Proxies(), tcp_ ? sip::Transport::kTcp : sip::Transport::kUdp) {}

  const CallFlow& flow() const { return flow_; }

  void SetUp() {
    if (Chance(30)) {
      const auto first = flow_.Send(Side::kCaller, "INVITE", {flow_.Sdp(Side::kCaller, 1)});
      flow_.Answer(first, 100);
      const std::string tag = std::exchange(flow_.user(Side::kCallee).tag, "of-the-401");
      flow_.Answer(first, 401);
      flow_.Ack(first, 401);
      flow_.user(Side::kCallee).tag = tag;
    }
    const bool late_offer = Chance(25);
    const std::string timer =
        Chance(40) ? "Session-Expires: 1800;refresher=" + std::string(Chance(50) ? "uac" : "uas") +
                         "\r\nRequire: timer\r\n"
                   : "";
    const auto invite =
        flow_.Send(Side::kCaller, "INVITE", {late_offer ? "" : flow_.Sdp(Side::kCaller, 1)});
    if (Chance(80)) flow_.Answer(invite, 100);
    if (Chance(70)) flow_.Answer(invite, 180);
    flow_.Answer(invite, 200, {flow_.Sdp(Side::kCallee, 1), timer});
    flow_.Ack(invite, 200, {late_offer ? flow_.Sdp(Side::kCaller, 1) : ""});
  }

  void Step() {
    const Side by = Chance(50) ? Side::kCaller : Side::kCallee;
    const Side other = Other(by);
    switch (random_() % 5) {
      case 0: {  // hold, resume, new address: a re-INVITE
        const char* const directions[] = {"sendrecv", "sendonly", "recvonly", "inactive"};
        const char* const answers[] = {"sendrecv", "recvonly", "sendonly", "inactive"};
        const std::size_t way = random_() % 4;
        Move(by);
        flow_.Exchange(by, "INVITE", {flow_.Sdp(by, ++version_, directions[way])},
                       {flow_.Sdp(other, ++version_, answers[way])});
        return;
      }
      case 1: {  // refused: nothing changes
        const std::string contact = flow_.user(by).contact;
        Move(by);
        const auto invite = flow_.Send(by, "INVITE", {flow_.Sdp(by, ++version_)});
        flow_.Answer(invite, 100);
        flow_.Answer(invite, 488);
        flow_.Ack(invite, 488);
        flow_.user(by).contact = contact;
        return;
      }
      case 2:
        Move(by);
        flow_.Exchange(by, "UPDATE");
        return;
      case 3:
        flow_.Exchange(by, "INFO");
        return;
      default:
        flow_.Exchange(by, "OPTIONS");
    }
  }

  void End() { flow_.Exchange(Chance(50) ? Side::kCaller : Side::kCallee, "BYE"); }

 private:
  bool Chance(unsigned percent) { return random_() % 100 < percent; }
  unsigned First() { return Chance(20) ? 1 : static_cast<unsigned>(random_() % 1'000'000'000); }
  CallFlow::User Caller() {
    CallFlow::User user = Alice();
    user.tag = "c" + std::to_string(random_());
    user.cseq = First();
    if (Chance(30)) user.display = "\"A, \\\"the\\\" <first>\"";
    return user;
  }
  CallFlow::User Callee() {
    CallFlow::User user = Bob();
    user.tag = "s" + std::to_string(random_());
    user.cseq = First();
    if (Chance(30)) user.display.clear();
    return user;
  }
  std::vector<CallFlow::Proxy> Proxies() {
    std::vector<CallFlow::Proxy> proxies;
    const unsigned count = random_() % 4;
    for (unsigned i = 1; i <= count; ++i) {
      const std::string address = "192.0.2." + std::to_string(110 + i);
      CallFlow::Proxy proxy{address + ":5060", {}};
      // Over TCP, one that leaves the call cannot be told from a NAT: the verdict is then no.
      if (tcp_ || Chance(80)) proxy.record_route.push_back("sip:" + address + ";lr");
      if (Chance(20)) proxy.record_route.push_back("sip:" + address + ";transport=tcp;lr;r2=on");
      proxies.push_back(std::move(proxy));
    }
    return proxies;
  }
  void Move(Side side) {
    if (!Chance(50)) return;
    const std::string host = side == Side::kCaller ? "alice@192.0.2.101" : "bob@192.0.2.201";
    flow_.user(side).contact = "sip:" + host + ":" + std::to_string(6000 + random_() % 1000);
  }

  std::mt19937 random_;
  const bool tcp_;
  CallFlow flow_;
  int version_ = 1;
};

// F01, F02, F13, F18, F19: whatever happened in a call, and whoever did it last, the two ends'
// states are true and mirror each other.
TEST(CallFlows, F01_F02_F13_F18_F19_AnyCallIsMirroredByItsTwoEnds) {
  for (unsigned seed = 1; seed <= 150 && !HasFailure(); ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    AnyCall call(seed);
    call.SetUp();
    for (int step = 0; step <= 6; ++step) {
      SCOPED_TRACE(::testing::Message() << "step " << step);
      ExpectLiveForBoth(call.flow());
      for (const Side side : kBoth) {
        const DialogState dialog = Only(call.flow(), side);
        const unsigned used = call.flow().user(side).cseq - 1;
        if (dialog.local_seq) {
          EXPECT_EQ(*dialog.local_seq, used);
        } else {
          EXPECT_EQ(side, Side::kCallee);
        }
      }
      if (HasFailure()) return;
      call.Step();
    }
    call.End();
    for (const Side side : kBoth) {
      EXPECT_EQ(Only(call.flow(), side).phase, DialogPhase::kTerminated);
    }
    ExpectMirrored(Only(call.flow(), Side::kCaller), Only(call.flow(), Side::kCallee));
  }
}

}  // namespace
}  // namespace sipheal::testing
