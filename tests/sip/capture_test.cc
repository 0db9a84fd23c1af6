// SPDX-License-Identifier: Apache-2.0
// Captures that nobody here made: every one at every prefix, in any order, with repeats and holes,
// and the requests that real devices sent, predicted from what came before.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>
#include <set>

#include "sipheal/adapters/pcap.h"
#include "sipheal/sip/dialog_codec.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/explain.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/uri.h"
#include "sipheal/sip/verdict.h"
#include "tests/sip/evidence.h"
#include "tests/sip/test_data.h"

namespace sipheal::testing {
namespace {

using sip::CapturedMessage;
using sip::DialogState;
using sip::ServerIdentity;

constexpr std::size_t kMostMessages = 400;

struct Capture {
  std::string name;
  std::vector<CapturedMessage> messages;
};

const std::vector<Capture>& Captures() {
  static const std::vector<Capture> captures = [] {
    std::vector<Capture> all;
    const std::string root = TestDataOrSkip("captures");
    if (root.empty()) return all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
      if (!entry.is_regular_file() || entry.path().extension() == ".tsv") continue;
      const auto contents = ReadPcap(entry.path().string(), {.keep_damaged = true});
      if (!contents.ok()) {
        std::cout << "not a capture that can be read: " << entry.path() << '\n';
        continue;
      }
      all.push_back({std::filesystem::relative(entry.path(), root).string(), contents->messages});
    }
    std::sort(all.begin(), all.end(),
              [](const Capture& a, const Capture& b) { return a.name < b.name; });
    return all;
  }();
  return captures;
}

ServerIdentity Server(const sip::Endpoint& endpoint) {
  ServerIdentity server;
  server.addresses.push_back({endpoint.ip, endpoint.port, sip::Transport::kUnknown});
  return server;
}

// Everybody who sent or got an INVITE may have been the server.
std::vector<sip::Endpoint> Candidates(const std::vector<CapturedMessage>& messages) {
  std::set<sip::Endpoint> ends;
  for (const CapturedMessage& message : messages) {
    if (message.bytes.rfind("INVITE", 0) != 0) continue;
    ends.insert(message.source);
    ends.insert(message.destination);
    if (ends.size() >= 8) break;
  }
  return {ends.begin(), ends.end()};
}

std::vector<CapturedMessage> Start(const std::vector<CapturedMessage>& messages) {
  return {messages.begin(),
          messages.begin() + static_cast<std::ptrdiff_t>(std::min(messages.size(), kMostMessages))};
}

std::string Show(const std::vector<DialogState>& dialogs) {
  std::string text;
  for (const DialogState& dialog : dialogs) text += sip::Explain(dialog, sip::Judge(dialog)) + '\n';
  return text;
}

TEST(Captures, EveryPrefixGivesStateThatCanBeStoredExplainedAndJudged) {
  if (Captures().empty()) GTEST_SKIP() << "captures not found: set SIPHEAL_TEST_DATA";
  std::size_t prefixes = 0;
  std::size_t dialogs_seen = 0;
  for (const Capture& capture : Captures()) {
    for (const sip::Endpoint& end : Candidates(capture.messages)) {
      sip::DialogFolder folder(Server(end));
      std::set<std::uint64_t> frames;
      for (const CapturedMessage& message : Start(capture.messages)) {
        const sip::FoldOutcome outcome = folder.Fold(message);
        ++prefixes;
        frames.insert(message.sequence);
        if (!outcome.changed()) continue;
        for (const DialogState& dialog : folder.Snapshot(outcome.call_id)) {
          ++dialogs_seen;
          ASSERT_EQ(WhatLacksEvidence(dialog, frames), "")
              << capture.name << " as " << end.ToString() << '\n'
              << Show({dialog});
          EXPECT_FALSE(sip::Explain(dialog, sip::Judge(dialog)).empty());
          const auto decoded = sip::DecodeDialog(sip::EncodeDialog(dialog));
          ASSERT_TRUE(decoded.ok()) << decoded.status();
          ASSERT_TRUE(decoded->dialog == dialog) << capture.name;
        }
      }
    }
  }
  RecordProperty("prefixes", static_cast<int>(prefixes));
  EXPECT_GT(dialogs_seen, 500u);
}

TEST(Captures, Rule11_8_AnyOrderAndAnyRepeatsGiveTheSameState_F91) {
  if (Captures().empty()) GTEST_SKIP() << "captures not found: set SIPHEAL_TEST_DATA";
  std::mt19937 random(20261123);
  for (const Capture& capture : Captures()) {
    const std::vector<CapturedMessage> start = Start(capture.messages);
    for (const sip::Endpoint& end : Candidates(start)) {
      const ServerIdentity server = Server(end);
      const std::vector<DialogState> expected = sip::Rebuild(start, server);
      for (int round = 0; round < 3; ++round) {
        std::vector<CapturedMessage> shuffled = start;
        if (round > 0) shuffled.insert(shuffled.end(), start.begin(), start.end());
        std::shuffle(shuffled.begin(), shuffled.end(), random);
        const std::vector<DialogState> got = sip::Rebuild(shuffled, server);
        ASSERT_TRUE(got == expected)
            << capture.name << " as " << end.ToString() << "\n--- in order\n"
            << Show(expected) << "--- shuffled\n"
            << Show(got);
      }
    }
  }
}

TEST(Captures, Rule11_9_ALostMessageIsNeverSilentlyWrong_F92) {
  if (Captures().empty()) GTEST_SKIP() << "captures not found: set SIPHEAL_TEST_DATA";
  sip::VerdictOptions anywhere;
  anywhere.targets.allow_targets = {"0.0.0.0/0", "::/0"};
  anywhere.targets.refuse_service_ports = false;
  anywhere.allow_secure_media = true;
  std::size_t drops = 0;
  std::size_t recoverable = 0;
  for (const Capture& capture : Captures()) {
    std::map<std::string, std::vector<CapturedMessage>> by_call;
    sip::MessageView view;
    for (const CapturedMessage& message : Start(capture.messages)) {
      if (view.Parse(std::string_view(message.bytes)).ok()) {
        by_call[std::string(view.call_id())].push_back(message);
      }
    }
    for (const auto& [call_id, messages] : by_call) {
      for (const sip::Endpoint& end : Candidates(messages)) {
        const ServerIdentity server = Server(end);
        std::map<std::pair<std::string, std::string>, DialogState> truth;
        for (DialogState& dialog : sip::Rebuild(messages, server)) {
          truth[{dialog.local.tag, dialog.remote.tag}] = dialog;
        }
        for (std::size_t lost = 0; lost < messages.size(); ++lost) {
          std::vector<CapturedMessage> rest = messages;
          rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(lost));
          ++drops;
          for (const DialogState& dialog : sip::Rebuild(rest, server)) {
            if (!sip::Judge(dialog, anywhere).recoverable()) continue;
            ++recoverable;
            const auto where = capture.name + " as " + end.ToString() + " without message " +
                               std::to_string(messages[lost].sequence) + '\n' + Show({dialog});
            const auto known = truth.find({dialog.local.tag, dialog.remote.tag});
            ASSERT_NE(known, truth.end()) << where;
            const DialogState& full = known->second;
            EXPECT_EQ(dialog.local.uri, full.local.uri) << where;
            EXPECT_EQ(dialog.remote.uri, full.remote.uri) << where;
            EXPECT_EQ(dialog.route_set, full.route_set) << where << Show({full});
            // Without the server's own request the Contact stands, and without the Contact the
            // request; that they differ is the server's choice, and either reaches the phone.
            const auto bare = [](const std::string& uri) { return uri.substr(0, uri.find(';')); };
            EXPECT_TRUE(bare(dialog.remote_target) == bare(full.remote_target) ||
                        dialog.remote_target == full.contact_target)
                << where << Show({full});
            const auto next = sip::NextCseq(dialog, {}, dialog.last_seen);
            if (next.ok() && full.local_seq) {
              EXPECT_GT(*next, *full.local_seq) << where;
            }
          }
        }
      }
    }
  }
  std::cout << drops << " losses, " << recoverable << " recoverable after them\n";
  EXPECT_GT(recoverable, 50u);
}

// --- the oracle: what the device really sent next ---

std::string Plain(std::string text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 5, ":5060") == 0 && (i + 5 == text.size() || !std::isdigit(text[i + 5]))) {
      i += 4;
      continue;
    }
    if (text[i] != ' ') out += static_cast<char>(std::tolower(static_cast<unsigned char>(text[i])));
  }
  return out;
}

TEST(Captures, Oracle_PredictsTheRequestThatTheDeviceSent) {
  const std::string root = TestDataOrSkip("captures");
  if (root.empty()) GTEST_SKIP() << "captures not found: set SIPHEAL_TEST_DATA";
  std::map<std::string, const Capture*> by_name;
  for (const Capture& capture : Captures()) by_name[capture.name] = &capture;
  const auto rows = ReadTsv(root + "/oracle.tsv");
  int must = 0;
  int met = 0;
  int others_met = 0;
  int others = 0;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const auto& row = rows[i];
    ASSERT_GE(row.size(), 17u);
    const bool needed = row[15] == "True" && row[16] == "True";
    const Capture* capture = by_name[row[0]];
    ASSERT_NE(capture, nullptr) << row[0];
    const auto frame = static_cast<std::uint64_t>(std::stoull(row[1]));
    std::vector<CapturedMessage> before;
    for (const CapturedMessage& message : capture->messages) {
      if (message.sequence < frame) before.push_back(message);
    }
    sip::Endpoint sender =
        *sip::Endpoint::Parse(row[2].find(':') == std::string::npos ? row[2] + ":" + row[3]
                                                                    : "[" + row[2] + "]:" + row[3]);
    // A row of a tunnelled capture names the tunnel's outer address; the device has the inner one
    // (rule 11.4).
    const bool outer = std::none_of(
        capture->messages.begin(), capture->messages.end(), [&](const CapturedMessage& message) {
          return message.source.ip == sender.ip || message.destination.ip == sender.ip;
        });
    for (const CapturedMessage& message : capture->messages) {
      if (outer && message.sequence == frame) sender = message.source;
    }
    const DialogState* found = nullptr;
    const std::vector<DialogState> dialogs = sip::Rebuild(before, Server(sender));
    for (const DialogState& dialog : dialogs) {
      if (dialog.call_id == row[6] && dialog.local.tag == row[7] && dialog.remote.tag == row[8]) {
        found = &dialog;
      }
    }
    std::string problem;
    if (found == nullptr) {
      problem = "no such dialog\n" + Show(dialogs);
    } else {
      const auto request = sip::NextRequest(*found);
      if (!request.ok()) {
        problem = std::string(request.status().message());
      } else {
        std::string route;
        for (const std::string& uri : request->route) route += (route.empty() ? "" : ",") + uri;
        if (Plain(request->request_uri) != Plain(row[11])) {
          problem += "Request-URI " + request->request_uri + ", not " + row[11] + "; ";
        }
        if (Plain(route) != Plain(row[12])) problem += "Route " + route + ", not " + row[12] + "; ";
        if (row[5] != "ACK" && found->local_seq && *found->local_seq >= std::stoul(row[9])) {
          problem +=
              "CSeq " + std::to_string(*found->local_seq) + ", the device used " + row[9] + "; ";
        }
        const bool uac = found->role == sip::DialogRole::kUac;
        if (row[4] != (uac ? "UAC" : "UAS")) problem += "role; ";
      }
    }
    if (needed) {
      ++must;
      met += problem.empty() ? 1 : 0;
      EXPECT_EQ(problem, "") << row[0] << " frame " << frame << ' ' << row[5];
    } else {
      ++others;
      others_met += problem.empty() ? 1 : 0;
      if (!problem.empty()) {
        std::cout << "not asked for: " << row[0] << " frame " << frame << ' ' << row[5] << ": "
                  << problem << '\n';
      }
    }
  }
  std::cout << met << " of " << must << " rows that must be met; " << others_met << " of " << others
            << " others\n";
  EXPECT_GT(must, 15);
}

// Every request that any device sent within a dialog, in any capture, predicted from what came
// before it: as the rows of oracle.tsv, for all that is there. What differs is printed; each
// difference is a device that does not follow RFC 3261 12.2.1.1, a script, or a capture with holes.
TEST(Captures, Oracle_EveryRequestInADialogIsWhatTheRfcMakesOfTheFramesBefore) {
  if (Captures().empty()) GTEST_SKIP() << "captures not found: set SIPHEAL_TEST_DATA";
  int asked = 0;
  int met = 0;
  int unknown = 0;
  std::map<std::string, int> differences;
  for (const Capture& capture : Captures()) {
    const std::vector<CapturedMessage> messages = Start(capture.messages);
    for (std::size_t at = 0; at < messages.size(); ++at) {
      sip::MessageView view;
      if (!view.Parse(std::string_view(messages[at].bytes)).ok() || !view.is_request()) continue;
      if (view.method() == sip::Method::kCancel || view.method() == sip::Method::kRegister)
        continue;
      const auto from = sip::NameAddrView::Parse(view.Get(sip::HeaderId::kFrom));
      const auto to = sip::NameAddrView::Parse(view.Get(sip::HeaderId::kTo));
      if (!from || !to || !to->Param("tag") || !from->Param("tag")) continue;
      std::vector<CapturedMessage> before;
      bool again = false;
      bool refused = false;
      std::string first_uri;  // of the INVITE that opened the call
      for (std::size_t i = 0; i < at; ++i) {
        if (messages[i].sequence == messages[at].sequence) continue;
        before.push_back(messages[i]);
        again |= messages[i].bytes == messages[at].bytes;
        sip::MessageView other;
        if (!other.Parse(std::string_view(messages[i].bytes)).ok() ||
            other.call_id() != view.call_id() || other.method() != sip::Method::kInvite) {
          continue;
        }
        refused |= other.status() >= 300 && other.cseq() == view.cseq();
        if (first_uri.empty()) first_uri = other.request_uri();
      }
      // The ACK of a refusal repeats its INVITE and belongs to no dialog.
      if (again || (refused && view.method() == sip::Method::kAck)) continue;
      sip::ViaView top;
      // Only the sender's own hop shows what it made: one Via.
      int hops = 0;
      view.ForEach(sip::HeaderId::kVia, [&](std::string_view list) {
        while (sip::NextVia(&list, &top) == sip::ListStep::kValue) ++hops;
      });
      if (hops != 1) continue;
      const DialogState* found = nullptr;
      const std::vector<DialogState> dialogs = sip::Rebuild(before, Server(messages[at].source));
      for (const DialogState& dialog : dialogs) {
        if (dialog.call_id == view.call_id() && dialog.local.tag == *from->Param("tag") &&
            dialog.remote.tag == *to->Param("tag")) {
          found = &dialog;
        }
      }
      if (found == nullptr) continue;  // the capture begins within the call
      ++asked;
      const auto request = sip::NextRequest(*found);
      if (!request.ok()) {
        ++unknown;
        continue;
      }
      std::string route;
      for (const std::string& uri : request->route) route += (route.empty() ? "" : ",") + uri;
      std::string sent_route;
      view.ForEach(sip::HeaderId::kRoute, [&](std::string_view list) {
        sip::NameAddrView entry;
        while (sip::NextNameAddr(&list, &entry) == sip::ListStep::kValue) {
          sent_route += (sent_route.empty() ? "" : ",") + std::string(entry.uri);
        }
      });
      const std::string sent_uri(view.request_uri());
      const bool same_number = view.method() == sip::Method::kAck || !found->local_seq ||
                               *found->local_seq < view.cseq();
      if (Plain(request->request_uri) == Plain(sent_uri) && Plain(route) == Plain(sent_route) &&
          same_number) {
        ++met;
        continue;
      }
      // Why a device may send something else than RFC 3261 12.2.1.1 makes.
      const std::string bare = request->request_uri.substr(0, request->request_uri.find(';'));
      std::string why;
      if (Plain(sent_uri) == Plain(first_uri)) {
        why = "it repeats the Request-URI of its first INVITE: a script";
      } else if (Plain(bare) == Plain(sent_uri) && Plain(route) == Plain(sent_route)) {
        why = "it drops the parameters of the Contact (rule 3.11)";
      } else if (found->record_route.empty() && !sent_route.empty()) {
        why = "it keeps the Route of its first INVITE (rule 2.14)";
      }
      const std::string difference = capture.name + ' ' + std::string(view.method_text()) +
                                     ": predicted " + request->request_uri + " Route " + route +
                                     ", sent " + sent_uri + " Route " + sent_route;
      EXPECT_TRUE(same_number) << difference << ", frame " << messages[at].sequence;
      EXPECT_NE(why, "") << difference << ", frame " << messages[at].sequence;
      ++differences[difference + ": " + why];
    }
  }
  for (const auto& [difference, count] : differences) {
    std::cout << difference << " (" << count << " times)\n";
  }
  std::cout << met << " of " << asked << " as predicted, " << unknown << " not predicted\n";
  EXPECT_EQ(unknown, 0);
  EXPECT_GE(met, 28);
}

}  // namespace
}  // namespace sipheal::testing
