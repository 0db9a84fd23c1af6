// SPDX-License-Identifier: Apache-2.0
// Calls of a real Asterisk with real phones, recorded by fixtures/make_captures.py: at every prefix
// of each, the request that Asterisk really sent later is the one that is predicted, and the call
// is over when it was over and not before.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_join.h"
#include "sipheal/adapters/pcap.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/explain.h"
#include "sipheal/sip/message_view.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/uri.h"
#include "sipheal/sip/verdict.h"
#include "tests/sip/test_data.h"
#include "tests/support/source_dir.h"

namespace sipheal::testing {
namespace {

using sip::CapturedMessage;
using sip::DialogState;
using sip::VerdictToken;

// A row of expected.tsv: what Asterisk said of its dialog, and what the phones were told to do.
struct Expected {
  std::string file;
  sip::Endpoint server;
  std::string role;
  std::string call_id;
  std::string local_tag;
  std::string remote_tag;
  std::string remote_target;
  std::string route;
  std::uint64_t frame = 0;  // in mid call: `hold` and `local_cseq` are of then
  std::string hold;         // "none", or who had put the other one on hold: "server", "phone"
  std::string local_cseq;   // empty: the server had sent no request
  std::string verdict;      // from the answer to the BYE
  std::string ended_by;     // "server", "phone"; "cancel": nobody answered
};

std::string Folder() { return SourceDir() + "/tests/sip/fixtures/"; }

std::vector<Expected> ExpectedRows() {
  std::vector<Expected> expected;
  const auto rows = ReadTsv(Folder() + "expected.tsv");
  for (const auto& row : std::span(rows).subspan(1)) {
    if (row.size() != 13) continue;  // as the row of a file would then be missing, a test says so
    expected.push_back({row[0], *sip::Endpoint::Parse(row[1]), row[2], row[3], row[4], row[5],
                        row[6], row[7], std::stoull(row[8]), row[9], row[10], row[11], row[12]});
  }
  return expected;
}

std::vector<Expected> AnsweredCalls() {
  std::vector<Expected> calls = ExpectedRows();
  std::erase_if(calls, [](const Expected& call) { return call.ended_by == "cancel"; });
  return calls;
}

std::vector<CapturedMessage> Messages(const Expected& call) {
  auto contents = ReadPcap(Folder() + call.file + ".pcap");
  EXPECT_TRUE(contents.ok()) << contents.status();
  return contents.ok() ? std::move(contents->messages) : std::vector<CapturedMessage>();
}

// As the server's: the tests' network is loopback, and its capture saw everything.
sip::VerdictOptions OnLoopback() {
  sip::VerdictOptions options;
  options.targets.allow_targets = {"127.0.0.0/8", "2001:db8::/32"};
  options.cseq.capture_is_complete = true;
  return options;
}

bool FromHep(const CapturedMessage& message) { return !message.agent.empty(); }

// At its own hop, not at one behind a proxy.
bool AtServer(const Expected& call, const CapturedMessage& message) {
  return FromHep(message) || message.source.ip == call.server.ip ||
         message.destination.ip == call.server.ip;
}

std::optional<DialogState> DialogOf(const Expected& call, std::span<const CapturedMessage> prefix) {
  sip::ServerIdentity server;
  server.addresses.push_back({call.server.ip, call.server.port, sip::Transport::kUnknown});
  // res_hep names 127.0.0.1 where the server's own address is another one of the loopback network.
  if (FromHep(prefix.front())) server.agents = {"fixture"};
  std::optional<DialogState> found;
  for (const DialogState& dialog : sip::Rebuild(prefix, server)) {
    if (dialog.remote.tag == call.remote_tag) {
      EXPECT_FALSE(found) << "twice: " << dialog.remote.tag;
      found = dialog;
    } else {  // one that has no tag yet, or the phone of a fork that did not answer
      EXPECT_FALSE(sip::Judge(dialog, OnLoopback()).recoverable()) << dialog.remote.tag;
    }
  }
  return found;
}

// A request that the server sent in the dialog.
struct Sent {
  std::size_t at = 0;  // its place among the messages
  sip::Method method = sip::Method::kOther;
  std::uint32_t cseq = 0;
  std::string local_tag;
  std::string remote_tag;
  std::string request_uri;
  std::vector<std::string> route;
};

bool SentBy(const sip::Endpoint& server, const sip::MessageView& request) {
  std::string_view list = request.Get(sip::HeaderId::kVia);
  sip::ViaView via;
  return sip::NextVia(&list, &via) == sip::ListStep::kValue &&
         sip::IpAddress::Parse(via.host) == server.ip;
}

std::vector<Sent> RequestsOfServer(const Expected& call,
                                   const std::vector<CapturedMessage>& messages) {
  std::vector<Sent> requests;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    sip::MessageView view;
    if (!view.Parse(std::string_view(messages[i].bytes)).ok() || !view.is_request() ||
        !SentBy(call.server, view)) {
      continue;
    }
    const auto from = sip::NameAddrView::Parse(view.Get(sip::HeaderId::kFrom));
    const auto to = sip::NameAddrView::Parse(view.Get(sip::HeaderId::kTo));
    if (!from || !to || !to->Param("tag")) continue;
    Sent& sent = requests.emplace_back();
    sent = {i,
            view.method(),
            view.cseq(),
            std::string(*from->Param("tag")),
            std::string(*to->Param("tag")),
            std::string(view.request_uri()),
            {}};
    view.ForEach(sip::HeaderId::kRoute, [&](std::string_view list) {
      sip::NameAddrView entry;
      while (sip::NextNameAddr(&list, &entry) == sip::ListStep::kValue) {
        sent.route.emplace_back(entry.uri);
      }
    });
  }
  return requests;
}

// Places of the 2xx of the first INVITE, of the first BYE and of its 200, at the server's own hop.
struct Milestones {
  std::size_t answered = 0;
  std::size_t bye = 0;
  std::size_t over = 0;
};

Milestones MilestonesOf(const Expected& call, const std::vector<CapturedMessage>& messages) {
  Milestones found;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    sip::MessageView view;
    if (!AtServer(call, messages[i]) || !view.Parse(std::string_view(messages[i].bytes)).ok()) {
      continue;
    }
    if (view.status() == 200 && view.method() == sip::Method::kInvite && found.answered == 0) {
      found.answered = i;
    }
    if (view.method() != sip::Method::kBye) continue;
    if (view.is_request() && found.bye == 0) found.bye = i;
    if (!view.is_request()) found.over = i;
  }
  return found;
}

std::string Show(const Expected& call, std::size_t prefix,
                 const std::optional<DialogState>& dialog) {
  return call.file + ", the first " + std::to_string(prefix) + " messages\n" +
         (dialog ? sip::Explain(*dialog, sip::Judge(*dialog, OnLoopback())) : "no dialog");
}

TEST(Fixtures, EveryCaptureHasItsExpectationAndTheOtherWayRound) {
  std::set<std::string> captures;
  for (const auto& entry : std::filesystem::directory_iterator(Folder())) {
    if (entry.path().extension() == ".pcap") captures.insert(entry.path().stem().string());
  }
  std::set<std::string> expected;
  for (const Expected& call : ExpectedRows()) expected.insert(call.file);
  EXPECT_EQ(captures, expected);
  EXPECT_GE(captures.size(), 25u);
}

TEST(Fixtures, InMidCallTheDialogIsWhatAsteriskSaidOfIt) {
  for (const Expected& call : AnsweredCalls()) {
    std::vector<CapturedMessage> before = Messages(call);
    std::erase_if(before, [&](const CapturedMessage& m) { return m.sequence > call.frame; });
    const auto dialog = DialogOf(call, before);
    SCOPED_TRACE(Show(call, before.size(), dialog));
    ASSERT_TRUE(dialog);
    EXPECT_EQ(dialog->phase, sip::DialogPhase::kConfirmed);
    EXPECT_EQ(sip::ToString(dialog->role), call.role);
    EXPECT_EQ(dialog->call_id, call.call_id);
    EXPECT_EQ(dialog->local.tag, call.local_tag);
    EXPECT_EQ(dialog->remote.tag, call.remote_tag);
    EXPECT_EQ(dialog->remote_target, call.remote_target);
    EXPECT_EQ(absl::StrJoin(dialog->route_set, ","), call.route);
    EXPECT_EQ(dialog->held_by_local, call.hold == "server");
    EXPECT_EQ(dialog->held_by_remote, call.hold == "phone");
    EXPECT_EQ(dialog->local_seq ? std::to_string(*dialog->local_seq) : "", call.local_cseq);
    EXPECT_TRUE(dialog->open_transactions.empty());
    EXPECT_TRUE(dialog->conflicts.empty());
  }
}

TEST(Fixtures, Rule3_1And3_2_FromTheAnswerOnEveryPrefixPredictsTheRequestThatAsteriskSentNext) {
  int predicted = 0;
  for (const Expected& call : AnsweredCalls()) {
    const auto messages = Messages(call);
    const auto requests = RequestsOfServer(call, messages);
    for (std::size_t prefix = MilestonesOf(call, messages).answered + 1; prefix < messages.size();
         ++prefix) {
      const auto next = std::find_if(requests.begin(), requests.end(),
                                     [&](const Sent& sent) { return sent.at >= prefix; });
      if (next == requests.end()) break;
      const auto dialog = DialogOf(call, std::span(messages).first(prefix));
      SCOPED_TRACE(Show(call, prefix, dialog));
      ASSERT_TRUE(dialog);
      const auto request = sip::NextRequest(*dialog);
      ASSERT_TRUE(request.ok()) << request.status();
      EXPECT_EQ(request->request_uri, next->request_uri);
      EXPECT_EQ(request->route, next->route);
      EXPECT_EQ(dialog->local.tag, next->local_tag);
      EXPECT_EQ(dialog->remote.tag, next->remote_tag);
      if (next->method == sip::Method::kAck) {
        const auto invite =
            std::find_if(dialog->open_transactions.begin(), dialog->open_transactions.end(),
                         [](const sip::OpenTransaction& open) { return open.sent_by_server; });
        // That of a refusal is no request of the dialog: its INVITE is over with the refusal.
        const bool open = invite != dialog->open_transactions.end();
        EXPECT_EQ(open ? invite->cseq : dialog->local_seq, next->cseq);
      } else if (dialog->local_seq) {
        EXPECT_EQ(*dialog->local_seq + 1, next->cseq);  // Asterisk counts without a gap
      }
      ++predicted;
    }
  }
  EXPECT_GE(predicted, 50);
}

TEST(Fixtures, Rule7_1_TheVerdictStandsFromTheAnswerToTheByeAndThenTheCallIsEnded) {
  for (const Expected& call : AnsweredCalls()) {
    const auto messages = Messages(call);
    const Milestones at = MilestonesOf(call, messages);
    ASSERT_GT(at.answered, 0u) << call.file;
    ASSERT_GT(at.bye, at.answered) << call.file;
    ASSERT_GT(at.over, at.bye) << call.file;
    for (std::size_t prefix = 1; prefix <= messages.size(); ++prefix) {
      const auto dialog = DialogOf(call, std::span(messages).first(prefix));
      SCOPED_TRACE(Show(call, prefix, dialog));
      if (prefix <= at.answered) {
        EXPECT_FALSE(dialog && sip::Judge(*dialog, OnLoopback()).recoverable());
        continue;
      }
      ASSERT_TRUE(dialog);
      const VerdictToken verdict = sip::Judge(*dialog, OnLoopback()).token;
      if (prefix <= at.bye) {
        EXPECT_EQ(sip::ToString(verdict), call.verdict);
      } else if (prefix > at.over || call.ended_by == "server") {
        EXPECT_EQ(verdict, VerdictToken::kEnded);
      } else {
        EXPECT_EQ(verdict, VerdictToken::kEnding);
      }
    }
    EXPECT_EQ(DialogOf(call, messages)->end,
              call.ended_by == "server" ? sip::DialogEnd::kByeSent : sip::DialogEnd::kByeAnswered)
        << call.file;
  }
}

TEST(Fixtures, Rule8_2_AnUpdateRefreshesTheSessionForWhoeverIsTheRefresher) {
  int calls = 0;
  for (const Expected& call : AnsweredCalls()) {
    const bool by_server = call.file == "server-refreshes-by-update";
    if (!by_server && call.file != "phone-refreshes-by-update") continue;
    ++calls;
    const auto dialog = DialogOf(call, Messages(call));
    ASSERT_TRUE(dialog) << call.file;
    EXPECT_EQ(dialog->session_timer.interval, std::chrono::seconds(90)) << call.file;
    EXPECT_EQ(dialog->session_timer.local_refreshes, by_server) << call.file;
  }
  EXPECT_EQ(calls, 2);
}

TEST(Fixtures, Rule7_3_ACallThatTheServerCancelsIsEarlyAndThenEndedAndNeverSaved) {
  int calls = 0;
  for (const Expected& call : ExpectedRows()) {
    if (call.ended_by != "cancel") continue;
    ++calls;
    const auto messages = Messages(call);
    for (std::size_t prefix = 1; prefix <= messages.size(); ++prefix) {
      const auto dialog = DialogOf(call, std::span(messages).first(prefix));
      SCOPED_TRACE(Show(call, prefix, dialog));
      if (!dialog) continue;
      EXPECT_FALSE(sip::Judge(*dialog, OnLoopback()).recoverable());
      if (messages[prefix - 1].sequence != call.frame) continue;
      EXPECT_EQ(sip::ToString(sip::Judge(*dialog, OnLoopback()).token), call.verdict);
      EXPECT_EQ(sip::ToString(dialog->role), call.role);
      EXPECT_EQ(dialog->call_id, call.call_id);
      EXPECT_EQ(dialog->local.tag, call.local_tag);
    }
    const auto dialog = DialogOf(call, messages);
    ASSERT_TRUE(dialog);
    EXPECT_EQ(sip::Judge(*dialog, OnLoopback()).token, VerdictToken::kEnded);
  }
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace sipheal::testing
