// SPDX-License-Identifier: Apache-2.0
// Every field that has a value says which message gave it: in calls written here, and in the call
// flows of the RFCs, after each of their messages and from each side.
#include "tests/sip/evidence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "sipheal/sip/explain.h"
#include "tests/sip/call_script.h"
#include "tests/sip/test_data.h"

namespace sipheal::testing {
namespace {

using sip::CapturedMessage;
using sip::DialogState;
using sip::Field;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// After each message, from the first on.
void ExpectEvidenceAtEveryPrefix(const std::vector<CapturedMessage>& messages,
                                 const sip::ServerIdentity& server, std::size_t* dialogs) {
  std::set<std::uint64_t> frames;
  for (std::size_t size = 1; size <= messages.size(); ++size) {
    frames.insert(messages[size - 1].sequence);
    for (const DialogState& dialog :
         sip::Rebuild(std::span<const CapturedMessage>(messages).first(size), server)) {
      ++*dialogs;
      EXPECT_EQ(WhatLacksEvidence(dialog, frames), "") << "after " << size << " messages\n"
                                                       << sip::Explain(dialog, sip::Judge(dialog));
    }
  }
}

CallScript BusyCall(bool server_called, sip::Transport transport) {
  CallScript call;
  call.transport = transport;
  Request invite{.uri = "sips:b@h",
                 .sdp = Sdp("192.0.2.10", 20000, "1") + "a=ice-ufrag:x\r\n",
                 .extra = "Supported: timer\r\nAllow: INVITE, UPDATE\r\n"};
  invite = server_called ? call.Send(invite) : call.Receive(invite);
  call.Reply(invite, {.status = 183,
                      .to_tag = "b",
                      .contact = "<sip:n@10.0.0.5>",
                      .extra = "Require: 100rel\r\nRSeq: 1\r\n"});
  call.Reply(invite, {.to_tag = "b",
                      .contact = "<sips:n@10.0.0.5>",
                      .sdp = Sdp("198.51.100.7", 30000, "1"),
                      .extra = "Session-Expires: 1800;refresher=uac\r\nSupported: replaces\r\n"});
  Request in_dialog{.method = "ACK", .to_tag = "b", .uri = "sips:n@198.51.100.7:5060"};
  server_called ? call.Send(in_dialog) : call.Receive(in_dialog);
  for (const bool by_caller : {true, false, true}) {
    Request request{.cseq = 10u + static_cast<unsigned>(call.messages.size()),
                    .to_tag = "b",
                    .contact = "<sip:moved@198.51.100.7:5070>",
                    .sdp = Sdp("198.51.100.7", 30000, "2", "sendonly")};
    if (!by_caller) request = call.FromCallee(request);
    const bool sent = by_caller == server_called;
    request = sent ? call.Send(request) : call.Receive(request);
    call.Reply(request, {.status = 183,
                         .sdp = Sdp("192.0.2.10", 20000, "2"),
                         .extra = "Require: 100rel\r\nRSeq: 9\r\n"});
    call.Reply(request, {.status = by_caller ? 302 : 200,
                         .sdp = Sdp("192.0.2.10", 20000, "2", "recvonly"),
                         .extra = by_caller ? "Contact: <sip:elsewhere@h>\r\n" : ""});
  }
  Request last = server_called ? call.FromCallee({.method = "UPDATE", .cseq = 99})
                               : Request{.method = "UPDATE", .cseq = 99, .to_tag = "b"};
  last.contact = "<sip:pending@198.51.100.7:5071>";
  call.Receive(last);
  Request bye = server_called ? call.FromCallee({.method = "BYE", .cseq = 100})
                              : Request{.method = "BYE", .cseq = 100, .to_tag = "b"};
  bye = call.Receive(bye);
  call.Reply(bye, {});
  return call;
}

TEST(Evidence, NamesTheMessageOfEachFieldAfterEachMessage) {
  std::size_t dialogs = 0;
  for (const bool server_called : {true, false}) {
    for (const auto transport : {sip::Transport::kUdp, sip::Transport::kTls}) {
      const CallScript call = BusyCall(server_called, transport);
      ExpectEvidenceAtEveryPrefix(call.messages, call.server, &dialogs);
    }
  }
  EXPECT_GT(dialogs, 50u);
}

TEST(Evidence, NamesTheMessageOfEachFieldWhereAnyOneWasLost) {
  for (const bool server_called : {true, false}) {
    const CallScript call = BusyCall(server_called, sip::Transport::kUdp);
    std::size_t dialogs = 0;
    for (std::size_t lost = 0; lost < call.messages.size(); ++lost) {
      std::vector<CapturedMessage> rest = call.messages;
      rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(lost));
      ExpectEvidenceAtEveryPrefix(rest, call.server, &dialogs);
    }
    EXPECT_GT(dialogs, 100u);
  }
}

// Its answer was lost; that there was one, shows by what follows it.
TEST(Evidence, OfACallThatRingsWithoutAnyAnswerItIsTheRequestWithin) {
  for (const bool server_called : {true, false}) {
    CallScript call;
    const Request first = server_called ? call.Send({}) : call.Receive({});
    Request prack{.method = "PRACK", .cseq = 2, .to_tag = "b", .extra = "RAck: 1 1 INVITE\r\n"};
    prack = server_called ? call.Send(prack) : call.Receive(prack);
    call.Reply(prack, {});
    const DialogState dialog = call.Only();
    EXPECT_EQ(dialog.phase == sip::DialogPhase::kEarly || dialog.IsMissing(Field::kPhase), true);
    EXPECT_EQ(WhatLacksEvidence(dialog, {1, 2, 3}), "");
  }
}

TEST(Evidence, TheCheckItselfSeesAFieldWithoutEvidence) {
  CallScript call;
  call.AnsweredByPeer();
  const DialogState good = call.Only();
  const std::set<std::uint64_t> frames = {1, 2, 3, 4, 5};
  ASSERT_EQ(WhatLacksEvidence(good, frames), "");
  for (const sip::Evidence& one : good.evidence) {
    DialogState dialog = good;
    std::erase(dialog.evidence, one);
    EXPECT_THAT(WhatLacksEvidence(dialog, frames),
                HasSubstr(std::string(sip::ToString(one.field))));
  }
  EXPECT_THAT(WhatLacksEvidence(good, {1, 2, 3}), HasSubstr("no message that there was"));
}

TEST(Evidence, EachReasonIsASentenceOfItsOwn) {
  std::set<std::string> sentences;
  for (int number = 0; number <= static_cast<int>(sip::kLastReason); ++number) {
    const sip::Reason reason = static_cast<sip::Reason>(number);
    sip::Evidence evidence;
    evidence.reason = {reason, sip::Method::kUpdate, 481};
    evidence.named = "other@h";
    const std::string why = evidence.Why();
    EXPECT_FALSE(why.empty()) << number;
    EXPECT_EQ(why.find_first_of("{}"), std::string::npos) << why;
    EXPECT_TRUE(sentences.insert(why).second) << why;
  }
  EXPECT_EQ(sentences.count("481 to a UPDATE in the dialog (RFC 5057)"), 1u);
  EXPECT_EQ(sentences.count("an accepted INVITE with Replaces of the call other@h (RFC 3891)"), 1u);
  sip::Evidence stored;
  stored.reason = sip::Reason::kRoutesOfInvite;
  stored.reason.stored_earlier = stored.reason.without_own_entry = true;
  EXPECT_EQ(stored.Why(),
            "stored earlier: Record-Route of the INVITE, in order (RFC 3261 12.1.1); the server's "
            "own entry is left out");
}

TEST(Evidence, ExplainPrintsItWithTheLadder) {
  CallScript call;
  call.AnsweredByPeer();
  const DialogState dialog = call.Only();
  const std::string text = sip::Explain(dialog, sip::Judge(dialog));
  for (const sip::Evidence& one : dialog.evidence) {
    EXPECT_THAT(text, HasSubstr(std::string(sip::ToString(one.field))));
    EXPECT_THAT(text, HasSubstr(one.Why()));
    EXPECT_THAT(text, HasSubstr("#" + std::to_string(one.message.sequence) + " "));
  }
  const std::string ladder = sip::Ladder(call.messages, call.server);
  for (const CapturedMessage& message : call.messages) {
    EXPECT_THAT(ladder, HasSubstr("#" + std::to_string(message.sequence) + "\n"));
  }
}

// --- the call flows of the RFCs ---

struct Flow {
  std::vector<CapturedMessage> messages;
  std::map<std::string, sip::Endpoint> ends;
};

sip::ServerIdentity Server(const sip::Endpoint& end) {
  sip::ServerIdentity server;
  server.addresses.push_back({end.ip, end.port, sip::Transport::kUnknown});
  return server;
}

void Add(const std::string& path, const std::string& from, const std::string& to, Flow* flow) {
  for (const std::string& name : {from, to}) {
    const std::string number = std::to_string(flow->ends.size() + 1);
    flow->ends.emplace(name, *sip::Endpoint::Parse("10.9.0." + number + ":5060"));
  }
  CapturedMessage message;
  message.bytes = ReadFileOrDie(path);
  message.source = flow->ends.at(from);
  message.destination = flow->ends.at(to);
  message.sequence = flow->messages.size() + 1;
  message.time = sip::CaptureTime(std::chrono::milliseconds(20 * message.sequence));
  flow->messages.push_back(std::move(message));
}

TEST(RfcFlows, EachFieldHasEvidenceAfterEachMessageFromEachSide) {
  const std::string root = TestDataOrSkip("rfcflows");
  if (root.empty()) GTEST_SKIP() << "call flows not found: set SIPHEAL_TEST_DATA";
  std::map<std::string, Flow> flows;
  for (const std::vector<std::string>& row : ReadTsv(root + "/index.tsv")) {
    if (row.at(0) == "flow" || row.at(2) == "?" || row.at(3) == "?") continue;
    Add(root + "/" + row[0] + "/" + row[1] + ".sip", row[2], row[3], &flows[row[0]]);
  }
  std::size_t dialogs = 0;
  for (const auto& [name, flow] : flows) {
    for (const auto& [who, end] : flow.ends) {
      SCOPED_TRACE(name + " as " + who);
      ExpectEvidenceAtEveryPrefix(flow.messages, Server(end), &dialogs);
    }
  }
  EXPECT_GT(dialogs, 100u);
}

// RFC 4916 5.1 and 5.2: Carol answers, or is put through to.
TEST(RfcFlows, Rule4_8_TheConnectedIdentityOfRfc4916) {
  const std::string root = TestDataOrSkip("rfcflows");
  if (root.empty()) GTEST_SKIP() << "call flows not found: set SIPHEAL_TEST_DATA";
  struct Case {
    std::string flow;
    std::vector<std::pair<std::string, std::string>> hops;
  };
  for (const Case& c : {Case{"rfc4916__5.1_sending-connected-identity-after-answering-a-call",
                             {{"Alice", "Proxy"},
                              {"Proxy", "Carol"},
                              {"Carol", "Proxy"},
                              {"Proxy", "Alice"},
                              {"Alice", "Proxy"},
                              {"Proxy", "Carol"},
                              {"Carol", "Proxy"},
                              {"Proxy", "Alice"},
                              {"Alice", "Proxy"},
                              {"Proxy", "Carol"}}},
                        Case{"rfc4916__5.2_sending-revised-connected-identity-during-a-call",
                             {{"Alice", "B2BUA"},
                              {"B2BUA", "Alice"},
                              {"Alice", "B2BUA"},
                              {"B2BUA", "Alice"},
                              {"Alice", "B2BUA"},
                              {"B2BUA", "Alice"},
                              {"Alice", "B2BUA"},
                              {"B2BUA", "Alice"}}}}) {
    Flow flow;
    for (std::size_t i = 0; i < c.hops.size(); ++i) {
      const std::string number = std::to_string(i + 1);
      const std::string file = (number.size() == 1 ? "F0" : "F") + number + ".sip";
      Add(root + "/" + c.flow + "/" + file, c.hops[i].first, c.hops[i].second, &flow);
    }
    const std::vector<DialogState> alice = sip::Rebuild(flow.messages, Server(flow.ends["Alice"]));
    ASSERT_THAT(alice, SizeIs(1)) << c.flow;
    EXPECT_EQ(alice[0].remote.uri, "sip:Carol@example.com") << c.flow;
    EXPECT_EQ(alice[0].remote.tag, "2ge46ab5");
    EXPECT_EQ(alice[0].local.tag, "13adc987");
  }
}

}  // namespace
}  // namespace sipheal::testing
