// SPDX-License-Identifier: Apache-2.0
#include "cli/dialogs_command.h"

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "cli/dialogs_json.h"
#include "cli/dialogs_notes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/hep/test_call.h"
#include "tests/pcap/pcap_builder.h"
#include "tests/support/source_dir.h"

namespace sipheal::cli {
namespace {

using nlohmann::json;
using testing::Append;
using testing::Ethernet;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::PcapFile;
using testing::TempFile;
using testing::TestCall;
using testing::Udp;

struct Ran {
  int status = -1;
  std::string out;
  std::string err;
};

Ran RunCommand(const DialogsOptions& options) {
  std::ostringstream out;
  std::ostringstream err;
  Ran ran;
  ran.status = RunDialogs(options, out, err);
  ran.out = out.str();
  ran.err = err.str();
  return ran;
}

// One frame for each message, between two hosts of 192.0.2.0/24.
std::vector<std::string> Frames(const std::vector<sip::CapturedMessage>& messages) {
  std::vector<std::string> frames;
  for (const sip::CapturedMessage& message : messages) {
    frames.push_back(
        Ethernet(testing::Ip4(message.source.ip.bytes()[3], message.destination.ip.bytes()[3], 17,
                              Udp(message.source.port, message.destination.port, message.bytes))));
  }
  return frames;
}

TestCall Call() {
  TestCall call;
  call.peer = "192.0.2.20:5060";
  call.server_is_uac = true;
  return call;
}

DialogsOptions OptionsFor(const TempFile& file) {
  DialogsOptions options;
  options.files = {file.path()};
  options.servers = {"192.0.2.10:5060/udp"};
  options.format = "json";
  return options;
}

TEST(DialogsCommand, PrintsTheDialogOfTheServerAsJson) {
  TestCall call = Call();
  const TempFile file(PcapFile(Frames(call.Setup())));
  const Ran ran = RunCommand(OptionsFor(file));
  ASSERT_EQ(ran.status, 0) << ran.err;
  const json document = json::parse(ran.out);
  ASSERT_EQ(document.at("dialogs").size(), 1u);
  const json& dialog = document.at("dialogs")[0];
  EXPECT_EQ(dialog.at("call_id"), call.call_id);
  EXPECT_EQ(dialog.at("role"), "uac");
  EXPECT_EQ(dialog.at("state"), "confirmed");
  EXPECT_EQ(dialog.at("verdict"), "recoverable") << dialog.at("reasons");
  EXPECT_EQ(dialog.at("local").at("tag"), call.server_tag);
  EXPECT_EQ(dialog.at("remote").at("display"), "\"Phone\"");
  EXPECT_EQ(dialog.at("local_cseq"), 100);
  EXPECT_EQ(dialog.at("remote_cseq"), nullptr);
  EXPECT_EQ(dialog.at("request_uri"), call.PeerUri());
  EXPECT_EQ(dialog.at("next_hop"), "192.0.2.20:5060");
  EXPECT_EQ(dialog.at("evidence").at("remote_target").at("frame"), 4);
  EXPECT_EQ(dialog.at("local_sdp").at("origin"), "- 77 100 IN IP4 192.0.2.10");
  EXPECT_EQ(dialog.at("variables").at("PJSIP_RECOVERY_CALL-ID"), call.call_id);
  EXPECT_EQ(dialog.at("not_utf8"), false);
}

TEST(DialogsCommand, AtAFrameTheServerIsTakenToHaveDiedThere) {
  TestCall call = Call();
  std::vector<sip::CapturedMessage> messages = call.Setup();
  Append(messages, call.Bye(1, false));
  const std::vector<std::string> frames = Frames(messages);
  const TempFile whole(PcapFile(frames));
  DialogsOptions options = OptionsFor(whole);
  EXPECT_EQ(json::parse(RunCommand(options).out).at("dialogs")[0].at("verdict"), "ended");
  options.at = "5";
  EXPECT_EQ(json::parse(RunCommand(options).out).at("dialogs")[0].at("verdict"), "recoverable");
  options.at = "1970-01-01T00:16:46Z";  // before the sixth frame, at second 1006 and 250 us
  EXPECT_EQ(json::parse(RunCommand(options).out).at("dialogs")[0].at("verdict"), "recoverable");
  options.at = "1970-01-01T00:16:47.5Z";
  EXPECT_EQ(json::parse(RunCommand(options).out).at("dialogs")[0].at("verdict"), "ended");

  // The same capture in two files.
  const TempFile one(PcapFile({frames.begin(), frames.begin() + 3}));
  const TempFile two(PcapFile({frames.begin() + 3, frames.end()}));
  options.files = {one.path(), two.path()};
  options.at = "5";
  const json dialog = json::parse(RunCommand(options).out).at("dialogs")[0];
  EXPECT_EQ(dialog.at("verdict"), "recoverable");
  EXPECT_EQ(dialog.at("evidence").at("remote_target").at("frame"), 4);
}

TEST(DialogsCommand, PrintsReasonsAndALadderAsText) {
  TestCall call = Call();
  const TempFile file(PcapFile(Frames(call.Setup())));
  DialogsOptions options = OptionsFor(file);
  options.format = "text";
  const Ran ran = RunCommand(options);
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("recoverable"));
  EXPECT_THAT(ran.out, HasSubstr("INVITE"));
  EXPECT_THAT(ran.out, HasSubstr("200"));
  options.call_id = "another";
  EXPECT_THAT(RunCommand(options).out, HasSubstr("no dialogs"));
}

TEST(DialogsCommand, BytesThatAreNoUtf8AreShownAndFlagged) {
  sip::DialogState dialog;
  dialog.call_id = "c";
  dialog.remote.display = "\"J\xfcrgen \xc3\xa9 \xed\xa0\x80\"";  // Latin-1, UTF-8, a surrogate
  const json document = json::parse(DialogJson(dialog, {}, {}).dump());
  EXPECT_EQ(document.at("remote").at("display"), "\"J\u00fcrgen \u00e9 \u00ed\u00a0\u0080\"");
  EXPECT_EQ(document.at("not_utf8"), true);
}

TEST(DialogsCommand, WrongOptionsAreNamedWithStatus2) {
  const TempFile file(PcapFile({}));
  const auto complaint = [&](DialogsOptions options) {
    const Ran ran = RunCommand(options);
    EXPECT_EQ(ran.status, 2) << ran.err;
    EXPECT_EQ(ran.out, "");
    return ran.err;
  };
  DialogsOptions options = OptionsFor(file);
  options.servers = {};
  EXPECT_THAT(complaint(options), HasSubstr("--server"));
  options.servers = {"nowhere"};
  EXPECT_THAT(complaint(options), HasSubstr("nowhere"));
  options.servers = {"192.0.2.1/sctp"};
  EXPECT_THAT(complaint(options), HasSubstr("sctp"));
  options = OptionsFor(file);
  options.at = "yesterday";
  EXPECT_THAT(complaint(options), HasSubstr("--at yesterday"));
  options = OptionsFor(file);
  options.format = "xml";
  EXPECT_THAT(complaint(options), HasSubstr("--format xml"));
  options = OptionsFor(file);
  options.allow_targets = {"10.0.0.0/8", "10.0.0.0/33"};
  EXPECT_THAT(complaint(options), HasSubstr("--allow 10.0.0.0/33"));
  options = OptionsFor(file);
  options.files = {};
  EXPECT_THAT(complaint(options), HasSubstr("no capture file"));
}

TEST(DialogsCommand, WhyNothingWasFoundIsSaid) {
  TestCall call = Call();
  const std::vector<sip::CapturedMessage> setup = call.Setup();
  const TempFile good(PcapFile(Frames(setup)));
  const auto hint = [](const DialogsOptions& options) {
    const Ran ran = RunCommand(options);
    EXPECT_EQ(ran.status, 0) << ran.err;
    EXPECT_EQ(json::parse(ran.out).at("dialogs").size(), 0u);
    return ran.err;
  };

  const TempFile no_sip(PcapFile({Ethernet(testing::Ip4(1, 2, 17, Udp(53, 53, "no sip")))}));
  EXPECT_THAT(hint(OptionsFor(no_sip)), HasSubstr("no SIP in 1 frame"));

  DialogsOptions options = OptionsFor(good);
  options.call_id = "Of-No-Call";
  EXPECT_THAT(hint(options), HasSubstr("--call-id Of-No-Call: no dialog"));

  options = OptionsFor(good);
  options.servers.clear();
  options.agents = {"pbx1"};
  EXPECT_THAT(hint(options), HasSubstr("--agent pbx1: no message came from it; there is no HEP"));

  // An agent may call itself anything: its name is shown, and does nothing to a terminal.
  sip::CapturedMessage named = setup[0];
  named.agent = "pbx\x1b[2J\nsipheal: pbx1";
  EXPECT_THAT(NoteAgents({"pbx1"}, std::span(&named, 1)),
              HasSubstr("there are pbx\\x1b[2J\\x0asipheal: pbx1"));

  std::vector<sip::CapturedMessage> malformed = setup;
  for (sip::CapturedMessage& message : malformed) {
    message.bytes.replace(message.bytes.find("CSeq:"), 5, "XSeq:");
  }
  const TempFile unreadable(PcapFile(Frames(malformed)));
  const std::string told = hint(OptionsFor(unreadable));
  EXPECT_THAT(told, HasSubstr(std::to_string(setup.size()) + " messages are malformed"));
  EXPECT_THAT(told, HasSubstr("frame 1"));
  EXPECT_THAT(told, HasSubstr("CSeq"));
  // What keeps a message out after its fields were read is told, too; that of others is not.
  malformed = {setup[0]};
  malformed[0].bytes.replace(malformed[0].bytes.find("<sip:2000"), 1, "\"\x01\" <");
  EXPECT_THAT(hint(OptionsFor(TempFile(PcapFile(Frames(malformed))))), HasSubstr("1 message is"));
  malformed[0].source.ip = *sip::IpAddress::Parse("192.0.2.77");
  EXPECT_THAT(hint(OptionsFor(TempFile(PcapFile(Frames(malformed))))), Not(HasSubstr("malformed")));

  // One that can be read needs no hint.
  EXPECT_EQ(RunCommand(OptionsFor(good)).err, "");
}

TEST(DialogsCommand, AFileThatCannotBeReadGivesStatus1AndTheOthersAreRead) {
  TestCall call = Call();
  const std::string bytes = PcapFile(Frames(call.Setup()));
  const TempFile good(bytes);
  const TempFile cut(bytes.substr(0, bytes.size() - 5));
  DialogsOptions options = OptionsFor(good);
  options.files = {"/nonexistent.pcap", good.path()};
  Ran ran = RunCommand(options);
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("/nonexistent.pcap"));
  EXPECT_EQ(json::parse(ran.out).at("dialogs").size(), 1u);
  options.files = {cut.path()};
  ran = RunCommand(options);
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("frame 5"));
  EXPECT_EQ(json::parse(ran.out).at("dialogs").size(), 1u);
}

// Real captures that nobody here made.
TEST(DialogsCommand, ReadsEveryCaptureOfTheCorpus) {
  const char* const given = std::getenv("SIPHEAL_TEST_DATA");
  const std::filesystem::path data =
      given != nullptr ? std::filesystem::path(given)
                       : std::filesystem::path(SourceDir()) / ".." / "shared" / "data";
  const std::filesystem::path captures = data / "captures";
  if (!std::filesystem::exists(captures)) {
    GTEST_SKIP() << "SKIPPED: no captures at " << captures << ": set SIPHEAL_TEST_DATA";
  }
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(captures)) {
    if (!entry.is_regular_file() || entry.path().extension() == ".tsv") continue;
    DialogsOptions options;
    options.files = {entry.path().string()};
    options.servers = {"10.0.0.1", "127.0.0.1"};
    options.format = "json";
    const Ran ran = RunCommand(options);
    ++files;
    EXPECT_FALSE(json::parse(ran.out, nullptr, false).is_discarded()) << entry.path();
    // One is of a format that libpcap does not read (Network Monitor).
    const bool readable = entry.path().filename() != "c07-sip-r2.cap";
    EXPECT_EQ(ran.status, readable ? 0 : 1) << ran.err;
  }
  EXPECT_GT(files, 40);
}

}  // namespace
}  // namespace sipheal::cli
