// SPDX-License-Identifier: Apache-2.0
// The call flows of RFC 3665, 3515, 4916 and 5626 as their texts print them: each party that sends
// a request in a dialog is the server in turn, and its request is predicted from the messages
// before.
#include <gtest/gtest.h>

#include <iostream>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/explain.h"
#include "sipheal/sip/message_view.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/uri.h"
#include "sipheal/sip/verdict.h"
#include "tests/sip/test_data.h"

namespace sipheal::testing {
namespace {

using sip::DialogState;

struct Flow {
  std::vector<sip::CapturedMessage> messages;
  std::map<std::string, sip::Endpoint> parties;
};

// Parties by name; an address for each, since the texts name them only.
std::map<std::string, Flow> Flows(const std::string& root) {
  std::map<std::string, Flow> flows;
  for (const std::vector<std::string>& row : ReadTsv(root + "/index.tsv")) {
    if (row.size() < 4 || row[0] == "flow" || row[2] == "?" || row[3] == "?") continue;
    Flow& flow = flows[row[0]];
    for (const std::string& name : {row[2], row[3]}) {
      if (flow.parties.count(name) > 0) continue;
      const std::size_t number = flow.parties.size() + 1;
      flow.parties[name] = *sip::Endpoint::Parse("192.0.2." + std::to_string(number) + ":5060");
    }
    sip::CapturedMessage message;
    message.bytes = ReadFileOrDie(root + '/' + row[0] + '/' + row[1] + ".sip");
    message.source = flow.parties[row[2]];
    message.destination = flow.parties[row[3]];
    message.transport = sip::Transport::kUdp;
    message.sequence = flow.messages.size() + 1;
    message.time =
        sip::CaptureTime(std::chrono::milliseconds(1'700'000'000'000 + 50 * message.sequence));
    flow.messages.push_back(std::move(message));
  }
  return flows;
}

sip::ServerIdentity Server(const sip::Endpoint& endpoint) {
  sip::ServerIdentity server;
  server.addresses.push_back({endpoint.ip, endpoint.port, sip::Transport::kUnknown});
  return server;
}

std::string TagOf(const sip::MessageView& view, sip::HeaderId id) {
  const auto party = sip::NameAddrView::Parse(view.Get(id));
  return party ? std::string(party->Param("tag").value_or("")) : "";
}

std::vector<std::string> Uris(const sip::MessageView& view, sip::HeaderId id) {
  std::vector<std::string> uris;
  view.ForEach(id, [&](std::string_view list) {
    sip::NameAddrView entry;
    while (sip::NextNameAddr(&list, &entry) == sip::ListStep::kValue) uris.emplace_back(entry.uri);
  });
  return uris;
}

TEST(RfcFlows, EachRequestInADialogIsTheOneThatTheTextPrints) {
  const std::string root = TestDataOrSkip("rfcflows");
  if (root.empty()) GTEST_SKIP() << "flows not found: set SIPHEAL_TEST_DATA";
  int met = 0;
  int asked = 0;
  std::set<std::string> with_dialogs;
  for (const auto& [name, flow] : Flows(root)) {
    for (std::size_t at = 0; at < flow.messages.size(); ++at) {
      sip::MessageView view;
      if (!view.Parse(std::string_view(flow.messages[at].bytes)).ok() || !view.is_request())
        continue;
      const std::string local = TagOf(view, sip::HeaderId::kFrom);
      const std::string remote = TagOf(view, sip::HeaderId::kTo);
      int hops = 0;
      view.ForEach(sip::HeaderId::kVia, [&hops](std::string_view) { ++hops; });
      if (local.empty() || remote.empty() || hops != 1) continue;
      const std::vector<sip::CapturedMessage> before(
          flow.messages.begin(), flow.messages.begin() + static_cast<std::ptrdiff_t>(at));
      const auto dialogs = sip::Rebuild(before, Server(flow.messages[at].source));
      for (const DialogState& dialog : dialogs) {
        if (dialog.call_id != view.call_id() || dialog.local.tag != local ||
            dialog.remote.tag != remote || dialog.phase == sip::DialogPhase::kTerminated) {
          continue;
        }
        SCOPED_TRACE(name + " message " + std::to_string(at + 1) + '\n' +
                     sip::Explain(dialog, sip::Judge(dialog)));
        with_dialogs.insert(name);
        ++asked;
        const auto request = sip::NextRequest(dialog);
        EXPECT_TRUE(request.ok()) << request.status();
        if (!request.ok()) continue;
        // RFC 3665 leaves the parameter out that its Contacts have, against RFC 3261 12.2.1.1.
        std::string uri = request->request_uri;
        if (view.request_uri().find(';') == std::string_view::npos)
          uri = uri.substr(0, uri.find(';'));
        EXPECT_EQ(uri, view.request_uri());
        EXPECT_EQ(request->route, Uris(view, sip::HeaderId::kRoute));
        if (view.method() != sip::Method::kAck) {
          EXPECT_GT(view.cseq(), dialog.local_seq.value_or(0));
        }
        met += uri == view.request_uri() ? 1 : 0;
      }
    }
  }
  std::cout << met << " of " << asked << " requests of " << with_dialogs.size() << " flows\n";
  EXPECT_GT(asked, 15);
  for (const char* flow : {"rfc3665__3.04", "rfc3665__3.05"}) {
    const auto found = with_dialogs.lower_bound(flow);
    EXPECT_TRUE(found != with_dialogs.end() && found->rfind(flow, 0) == 0) << flow;
  }
}

TEST(RfcFlows, CallsThatWereNeverAnsweredAreNotRecovered) {
  const std::string root = TestDataOrSkip("rfcflows");
  if (root.empty()) GTEST_SKIP() << "flows not found: set SIPHEAL_TEST_DATA";
  int seen = 0;
  for (const auto& [name, flow] : Flows(root)) {
    bool unanswered = false;
    for (const char* one : {"3.08", "3.09", "3.10", "3.11"}) {
      unanswered |= name.rfind(std::string("rfc3665__") + one, 0) == 0;
    }
    if (!unanswered) continue;
    ++seen;
    for (const auto& [party, endpoint] : flow.parties) {
      if (party.rfind("Proxy", 0) == 0) continue;
      for (std::size_t size = 1; size <= flow.messages.size(); ++size) {
        const auto dialogs = sip::Rebuild(std::span(flow.messages).first(size), Server(endpoint));
        for (const DialogState& dialog : dialogs) {
          EXPECT_FALSE(sip::Judge(dialog).recoverable()) << name << ' ' << party;
          EXPECT_NE(dialog.phase, sip::DialogPhase::kConfirmed) << name << ' ' << party;
        }
        if (size != flow.messages.size()) continue;
        for (const DialogState& dialog : dialogs) {
          EXPECT_EQ(dialog.phase, sip::DialogPhase::kTerminated) << name << ' ' << party;
        }
      }
    }
  }
  EXPECT_EQ(seen, 4);
}

}  // namespace
}  // namespace sipheal::testing
