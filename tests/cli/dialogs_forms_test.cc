// SPDX-License-Identifier: Apache-2.0
// What `sipheal dialogs` prints, key by key and line by line, and that nothing captured breaks it.
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "cli/dialogs_command.h"
#include "cli/dialogs_json.h"
#include "cli/dialogs_report.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/hep/test_call.h"
#include "tests/support/source_dir.h"

namespace sipheal::cli {
namespace {

using nlohmann::json;
using testing::Append;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TestCall;

TestCall Call() {
  TestCall call;
  call.server_is_uac = true;
  return call;
}

std::string Print(const std::vector<sip::CapturedMessage>& messages, const std::string& format) {
  DialogsInput input;
  std::uint64_t frame = 0;
  for (const sip::CapturedMessage& message : messages) {
    input.messages.push_back(message);
    input.messages.back().sequence = ++frame;
    input.now = message.time;
  }
  DialogsOptions options;
  options.format = format;
  std::ostringstream out;
  PrintDialogs(options, Call().Identity(), std::move(input), out);
  return out.str();
}

json OnlyDialog(const std::vector<sip::CapturedMessage>& messages) {
  const json document = json::parse(Print(messages, "json"));
  EXPECT_EQ(document.at("dialogs").size(), 1u);
  return document.at("dialogs").at(0);
}

// The keys that the format promises, with the types that each may have.
TEST(DialogsForms, JsonHasEveryKeyWithItsType) {
  const std::set<std::string> kText = {"string"};
  const std::set<std::string> kTextOrNull = {"string", "null"};
  const std::set<std::string> kNumber = {"number"};
  const std::set<std::string> kNumberOrNull = {"number", "null"};
  const std::set<std::string> kList = {"array"};
  const std::set<std::string> kObject = {"object"};
  const std::set<std::string> kObjectOrNull = {"object", "null"};
  const std::set<std::string> kFlag = {"boolean"};
  const std::vector<std::pair<std::string, std::set<std::string>>> keys = {
      {"call_id", kText},
      {"role", kText},
      {"state", kText},
      {"verdict", kText},
      {"reasons", kList},
      {"local", kObject},
      {"remote", kObject},
      {"local_cseq", kNumberOrNull},
      {"remote_cseq", kNumberOrNull},
      {"next_cseq", kNumberOrNull},
      {"route_set", kList},
      {"remote_target", kTextOrNull},
      {"request_uri", kTextOrNull},
      {"route", kList},
      {"transport", kText},
      {"next_hop", kTextOrNull},
      {"secure", kFlag},
      {"session_timer", kObjectOrNull},
      {"local_sdp", kObjectOrNull},
      {"remote_sdp", kObjectOrNull},
      {"open_transactions", kList},
      {"deadline", kNumberOrNull},
      {"evidence", kObject},
      {"conflicts", kList},
      {"missing", kList},
      {"variables", kObject},
      {"end", kText},
      {"hold", kText},
      {"local_target", kTextOrNull},
      {"pending_remote_target", kTextOrNull},
      {"observed_source", kTextOrNull},
      {"record_route", kList},
      {"usages", kList},
      {"links", kList},
      {"resync_needed", kFlag},
      {"redirect_targets", kList},
      {"plan", kObject},
      {"last_seen", kNumber},
      {"warnings", kList},
      {"quarantined", kNumber},
      {"not_utf8", kFlag},
  };
  TestCall call = Call();
  std::vector<sip::CapturedMessage> whole = call.Setup();
  Append(whole, call.Reinvite(3, false));
  Append(whole, call.Bye(4, false));
  for (std::size_t size = 1; size <= whole.size(); ++size) {
    const nlohmann::ordered_json document =
        nlohmann::ordered_json::parse(Print({whole.begin(), whole.begin() + size}, "json"));
    for (const auto& dialog : document.at("dialogs")) {
      ASSERT_EQ(dialog.size(), keys.size());
      auto entry = dialog.begin();
      for (const auto& [key, types] : keys) {
        EXPECT_EQ(entry.key(), key) << "the order is part of what is read by eye";
        EXPECT_TRUE(types.contains(entry.value().type_name())) << key << entry.value();
        ++entry;
      }
      for (const char* side : {"local", "remote"}) {
        for (const char* key : {"uri", "display", "tag"}) {
          EXPECT_TRUE(kTextOrNull.contains(dialog.at(side).at(key).type_name())) << side << key;
        }
      }
    }
  }
}

TEST(DialogsForms, EveryValueHasItsEvidenceAndFrame) {
  TestCall call = Call();
  call.proxy = "198.51.100.30:5060";
  const json dialog = OnlyDialog(call.Setup());
  for (const char* key :
       {"call_id", "role", "state", "local_tag", "remote_tag", "local_uri", "remote_uri",
        "local_cseq", "next_cseq", "route_set", "remote_target", "request_uri", "route",
        "transport", "next_hop", "local_sdp", "remote_sdp", "local_target"}) {
    ASSERT_TRUE(dialog.at("evidence").contains(key)) << key;
    const json& entry = dialog.at("evidence").at(key);
    EXPECT_TRUE(entry.at("frame").is_number_unsigned()) << key;
    EXPECT_GE(entry.at("frame"), 1) << key;
    EXPECT_LE(entry.at("frame"), 5) << key;
    EXPECT_NE(entry.at("why"), "") << key;
  }
  EXPECT_EQ(dialog.at("evidence").at("route").at("frame"), 4);
  EXPECT_EQ(dialog.at("route"), json::array({call.RouteUri()}));
  EXPECT_EQ(dialog.at("variables").at("PJSIP_RECOVERY_CSEQ"),
            std::to_string(dialog.at("next_cseq").get<int>()));
}

TEST(DialogsForms, AStrictRouterIsTheRequestUriAndItsEvidenceSaysSo) {
  sip::DialogState dialog;
  dialog.remote_target = "sip:phone@192.0.2.9";
  dialog.route_set = {"sip:strict.example.com", "sip:p2;lr"};
  dialog.evidence.push_back({sip::Field::kRouteSet, {4, {}}, sip::Reason::kRoutesOf2xx, ""});
  dialog.evidence.push_back({sip::Field::kRemoteTarget, {7, {}}, sip::Reason::kContactOf2xx, ""});
  const nlohmann::ordered_json printed = DialogJson(dialog, {}, {});
  EXPECT_EQ(printed.at("request_uri"), "sip:strict.example.com");
  EXPECT_EQ(printed.at("route"), nlohmann::ordered_json({"sip:p2;lr", "sip:phone@192.0.2.9"}));
  EXPECT_EQ(printed.at("evidence").at("request_uri").at("frame"), 4);
  EXPECT_THAT(printed.at("evidence").at("request_uri").at("why").get<std::string>(),
              HasSubstr("strict"));
}

TEST(DialogsForms, UsagesAndOtherLegsAreListed) {
  sip::DialogState dialog;
  dialog.usages.push_back(
      {"refer", "3", true, true, {9, {}}, sip::CaptureTime(std::chrono::seconds(5))});
  dialog.usages.push_back({"dialog", "", false, false, {}, {}});
  dialog.links.push_back({"other", "l", "", "same Session-ID"});
  dialog.resync_needed = true;
  const json printed = json::parse(DialogJson(dialog, {}, {}).dump());
  EXPECT_EQ(printed.at("usages"), json::parse(R"([
    {"event":"refer","id":"3","subscriber":"local","active":true,"frame":9,"expires_at":5000000},
    {"event":"dialog","id":null,"subscriber":"remote","active":false,"frame":null,"expires_at":null}])"));
  EXPECT_EQ(
      printed.at("links"),
      json::parse(
          R"([{"call_id":"other","local_tag":"l","remote_tag":null,"why":"same Session-ID"}])"));
  EXPECT_EQ(printed.at("resync_needed"), true);
}

TEST(DialogsForms, ThePlanOfATakeoverAndRedirectsAreListed) {
  sip::DialogState dialog;
  dialog.phase = sip::DialogPhase::kConfirmed;
  dialog.role = sip::DialogRole::kUac;
  dialog.call_id = "c@h";
  dialog.local.tag = "a";
  dialog.remote.tag = "b";
  dialog.remote_target = "sip:phone@192.0.2.9";
  dialog.redirect_targets = {"sip:elsewhere@192.0.2.66"};
  dialog.open_transactions.push_back({"INVITE", 7, true, false, true, {}, {}});
  const json printed = json::parse(DialogJson(dialog, {}, {}).dump());
  EXPECT_EQ(printed.at("redirect_targets"), json::parse(R"(["sip:elsewhere@192.0.2.66"])"));
  const json& plan = printed.at("plan");
  EXPECT_EQ(plan.at("request"), "reinvite");
  EXPECT_EQ(plan.at("targets"), json::parse(R"(["sip:phone@192.0.2.9"])"));
  EXPECT_TRUE(plan.at("ack_first").is_null());
  EXPECT_EQ(plan.at("may_cancel"), 7);
  EXPECT_EQ(plan.at("expect_glare"), true);
  EXPECT_EQ(plan.at("glare_wait_ms"), json::parse("[2100,4000]"));
  EXPECT_EQ(plan.at("reasons").size(), 1u);
}

TEST(DialogsForms, ALongReasonPhraseDoesNotHideItsTransaction) {
  TestCall call = Call();
  std::vector<sip::CapturedMessage> messages = call.Setup();
  const std::size_t at = messages[2].bytes.find("Ringing");
  messages[2].bytes.replace(at, 7, "Ringing in a house far away, and nobody comes to it");
  EXPECT_THAT(Print(messages, "text"), HasSubstr("180 Ringing in a house far  (100 INVITE)"));
}

TEST(DialogsForms, WithoutDialogsEveryFormIsWholeAllTheSame) {
  EXPECT_EQ(json::parse(Print({}, "json")), json::parse(R"({"dialogs":[]})"));
  EXPECT_THAT(Print({}, "mermaid"), HasSubstr("sequenceDiagram\n"));
  EXPECT_THAT(Print({}, "svg"), HasSubstr("</svg>"));
  EXPECT_THAT(Print({}, "text"), HasSubstr("no dialogs"));
}

TEST(DialogsForms, MermaidDrawsTheCallWithVerdictAndEvidence) {
  TestCall call = Call();
  const std::string diagram = Print(call.Setup(), "mermaid");
  const std::string begin =
      "sequenceDiagram\n"
      "  participant Server as server\n"
      "  Note over Server: Call-ID call-1@198.51.100.20<br/>verdict#58; recoverable\n"
      "  participant P1 as 198.51.100.20#58;5060\n"
      "  Server->>P1: INVITE (100) SDP frame 1\n"
      "  P1->>Server: 100 Trying (100 INVITE) frame 2\n"
      "  P1->>Server: 180 Ringing (100 INVITE) frame 3\n"
      "  P1->>Server: 200 OK (100 INVITE) SDP frame 4\n"
      "  Server->>P1: ACK (100) frame 5\n"
      "  Note over Server: verdict#58; recoverable<br/>";
  EXPECT_EQ(diagram.substr(0, begin.size()), begin);
  EXPECT_THAT(diagram, HasSubstr("remote_target sip#58;phone@198.51.100.20#58;5060"));
  EXPECT_THAT(diagram, HasSubstr("by #35;4 "));
}

TEST(DialogsForms, SvgDrawsTheCallWithVerdictAndEvidence) {
  TestCall call = Call();
  const std::string svg = Print(call.Setup(), "svg");
  EXPECT_THAT(svg,
              HasSubstr("<text class=\"t\" x=\"20\" y=\"30\">Call-ID call-1@198.51.100.20</text>"));
  EXPECT_THAT(svg, HasSubstr(">recoverable: "));
  EXPECT_THAT(svg, HasSubstr(">INVITE (100) SDP</text>"));
  EXPECT_THAT(svg, HasSubstr(" #4</text>"));
  EXPECT_THAT(svg, HasSubstr("by #4 "));
  std::size_t arrows = 0;
  for (std::size_t at = svg.find("<line class=\"a\""); at != svg.npos;
       at = svg.find("<line class=\"a\"", at + 1)) {
    ++arrows;
  }
  EXPECT_EQ(arrows, 5u);
}

// Everything in a message that a stranger chooses.
std::vector<sip::CapturedMessage> HostileCall() {
  TestCall call = Call();
  call.call_id = "</text><script>alert(1)</script>&amp;]]>\xff;#%%style:x#59;`end`\"'";
  std::vector<sip::CapturedMessage> messages = call.Setup();
  for (sip::CapturedMessage& message : messages) {
    for (const auto& [from, to] :
         {std::pair<std::string, std::string>{"\"Phone\"",
                                              "\"<img src=x>; Note over A\xe2\x80\xae\""},
          {"200 OK", "200 \xc3\xa9</svg> ; P1->>Server: #35; \xed\xa0\x80 \x9b"}}) {
      for (std::size_t at = message.bytes.find(from); at != std::string::npos;
           at = message.bytes.find(from, at + to.size())) {
        message.bytes.replace(at, from.size(), to);
      }
    }
  }
  return messages;
}

TEST(DialogsForms, NothingCapturedBecomesMarkup) {
  const std::string svg = Print(HostileCall(), "svg");
  EXPECT_THAT(svg, HasSubstr("&lt;script&gt;"));
  EXPECT_THAT(svg, Not(HasSubstr("<script")));
  EXPECT_THAT(svg, Not(HasSubstr("<img")));
  EXPECT_EQ(svg.find("</svg>"), svg.size() - 7);
  for (const char c : svg) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
  EXPECT_THAT(svg, HasSubstr("\xc3\xa9"));            // a letter stays
  EXPECT_THAT(svg, Not(HasSubstr("\xe2\x80\xae")));   // what turns the direction does not
  EXPECT_TRUE(json(svg).dump().size() > svg.size());  // throws when it is no UTF-8
}

TEST(DialogsForms, NothingCapturedEndsAStatementOfMermaid) {
  const std::string diagram = Print(HostileCall(), "mermaid");
  std::istringstream lines(diagram);
  std::string line;
  std::size_t messages = 0;
  while (std::getline(lines, line)) {
    const bool known = line == "sequenceDiagram" || line.starts_with("  participant ") ||
                       line.starts_with("  Note over Server: ") ||
                       line.starts_with("  Server->>P1: ") || line.starts_with("  P1->>Server: ");
    EXPECT_TRUE(known) << line;
    messages += line.find("->>") != line.npos;
    // Every # begins an entity, every ; ends one, every < is that of <br/>.
    for (std::size_t at = 0; at < line.size(); ++at) {
      const unsigned char c = static_cast<unsigned char>(line[at]);
      EXPECT_TRUE(c >= 0x20 && c < 0x7f) << line;
      EXPECT_FALSE(c == '%' || c == '`' || c == '"' || c == '&') << line;
      if (c == '<') {
        EXPECT_EQ(line.substr(at, 5), "<br/>");
      }
      if (c == '#') {
        const std::size_t end = line.find_first_not_of("0123456789", at + 1);
        ASSERT_NE(end, line.npos);
        EXPECT_EQ(line[end], ';') << line;
        EXPECT_GT(end, at + 1);
        at = end;
      } else {
        EXPECT_NE(c, ';') << line;
      }
    }
  }
  EXPECT_EQ(messages, 5u);
}

// Whatever the bytes are, each form stays what it is.
TEST(DialogsForms, FlippedBytesNeverBreakAForm) {
  std::mt19937 random(7);  // NOLINT: a fixed seed
  const std::vector<sip::CapturedMessage> whole = HostileCall();
  std::size_t dialogs = 0;
  for (int round = 0; round < 400; ++round) {
    std::vector<sip::CapturedMessage> messages = whole;
    for (unsigned flips = 1 + random() % 4; flips > 0; --flips) {
      std::string& bytes = messages[random() % messages.size()].bytes;
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    const json document = json::parse(Print(messages, "json"), nullptr, false);
    ASSERT_FALSE(document.is_discarded()) << round;
    dialogs += document.at("dialogs").size();
    for (const char* format : {"svg", "mermaid", "text"}) {
      const std::string text = Print(messages, format);
      ASSERT_NO_THROW(json(text).dump()) << format << " is no UTF-8 in round " << round;
      for (const char c : text) {
        ASSERT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20) << format << round;
      }
    }
  }
  EXPECT_GT(dialogs, 300u);
}

TEST(DialogsForms, TextHasNoControlCharactersAndTheLadder) {
  const std::string text = Print(HostileCall(), "text");
  for (const char c : text) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
  EXPECT_THAT(text, Not(HasSubstr("\x9b")));
  EXPECT_THAT(text, HasSubstr("\\xe2\\x80\\xae"));
  EXPECT_THAT(text, HasSubstr("\\xff"));
  EXPECT_THAT(text, HasSubstr("#4"));
}

TEST(DialogsForms, TextExplainsWhatIsEarlyEndedAndMissing) {
  TestCall call = Call();
  std::vector<sip::CapturedMessage> messages = call.Setup();
  EXPECT_THAT(Print({messages.begin(), messages.begin() + 3}, "text"), HasSubstr("verdict: early"));
  EXPECT_THAT(Print({messages.begin() + 4, messages.end()}, "text"), HasSubstr("verdict: "));
  Append(messages, call.Bye(3, false));
  const std::string ended = Print(messages, "text");
  EXPECT_THAT(ended, HasSubstr("verdict: ended"));
  EXPECT_THAT(ended, HasSubstr("bye_answered"));

  TestCall as_uas = Call();
  as_uas.server_is_uac = false;
  const std::vector<sip::CapturedMessage> uas = as_uas.Setup();
  const std::string missing = Print({uas[3]}, "text");  // the server's 2xx alone
  EXPECT_THAT(missing, HasSubstr("MISSING: nothing that was captured proves it"));
  EXPECT_THAT(missing, HasSubstr("verdict: incomplete"));
}

TEST(DialogsForms, DeadlinesAreJudgedByWhenTheServerDied) {
  TestCall call = Call();
  const std::vector<sip::CapturedMessage> setup = call.Setup();
  DialogsInput input;
  // The 2xx was never acknowledged: the peer gives up 32 s later.
  input.messages = {setup.begin(), setup.begin() + 4};
  input.now = setup[3].time + std::chrono::seconds(31);
  DialogsOptions options;
  options.format = "json";
  std::ostringstream early;
  PrintDialogs(options, call.Identity(), input, early);
  EXPECT_EQ(json::parse(early.str()).at("dialogs").at(0).at("verdict"), "recoverable");
  input.now = setup[3].time + std::chrono::seconds(33);
  std::ostringstream late;
  PrintDialogs(options, call.Identity(), input, late);
  const json dialog = json::parse(late.str()).at("dialogs").at(0);
  EXPECT_EQ(dialog.at("verdict"), "expired");
  EXPECT_TRUE(dialog.at("evidence").at("deadline").at("frame").is_null());  // no frame is known
}

// Real captures that nobody here made, at every point at which the server may have died, seen from
// every address in them.
TEST(DialogsForms, EveryCaptureAtEveryPrefixGivesWholeJson) {
  const char* const given = std::getenv("SIPHEAL_TEST_DATA");
  const std::filesystem::path data =
      given != nullptr ? std::filesystem::path(given)
                       : std::filesystem::path(SourceDir()) / ".." / "shared" / "data";
  if (!std::filesystem::exists(data / "captures")) {
    GTEST_SKIP() << "SKIPPED: no captures at " << data << ": set SIPHEAL_TEST_DATA";
  }
  constexpr std::size_t kMostPrefixes = 120;
  std::size_t prefixes = 0;
  std::size_t dialogs = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(data / "captures")) {
    if (!entry.is_regular_file() || entry.path().extension() == ".tsv") continue;
    const auto contents = ReadPcap(entry.path().string(), {.keep_damaged = true});
    if (!contents.ok()) continue;  // another test says which
    std::set<sip::IpAddress> hosts;
    for (const sip::CapturedMessage& message : contents->messages) {
      hosts.insert(message.source.ip);
      hosts.insert(message.destination.ip);
    }
    sip::ServerIdentity identity;
    for (const sip::IpAddress& host : hosts) {
      identity.addresses.assign(1, {host, 0, sip::Transport::kUnknown});
      const std::size_t all = std::min<std::size_t>(contents->messages.size(), 400);
      const std::size_t step = all / kMostPrefixes + 1;
      for (std::size_t size = 1; size <= all; size += step) {
        DialogsInput input;
        input.messages.assign(contents->messages.begin(), contents->messages.begin() + size);
        input.now = input.messages.back().time;
        DialogsOptions options;
        options.format = size + step > all ? "svg" : "json";
        std::ostringstream out;
        PrintDialogs(options, identity, std::move(input), out);
        if (options.format == "svg") continue;
        const json document = json::parse(out.str(), nullptr, false);
        ASSERT_FALSE(document.is_discarded()) << entry.path() << " at message " << size;
        dialogs += document.at("dialogs").size();
        ++prefixes;
      }
    }
  }
  EXPECT_GT(prefixes, 1'000u);
  EXPECT_GT(dialogs, 1'000u);
}

}  // namespace
}  // namespace sipheal::cli
