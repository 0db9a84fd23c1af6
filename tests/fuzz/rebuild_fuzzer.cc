// SPDX-License-Identifier: Apache-2.0
// Any capture: the input is cut at 0xFF bytes into messages, each led by a byte of flags. Folding,
// deriving, storing, explaining and asking for the next request are safe; order does not matter;
// what is sent reads back.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "sipheal/sip/dialog_codec.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/explain.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/reinvite.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sipheal::sip;  // NOLINT: a fuzz target is one function
  const Endpoint server = *Endpoint::Parse("192.0.2.10:5060");
  const Endpoint peers[] = {*Endpoint::Parse("198.51.100.7:5060"),
                            *Endpoint::Parse("203.0.113.66:5060")};
  ServerIdentity identity;
  identity.addresses.push_back({server.ip, server.port, Transport::kUnknown});
  std::vector<CapturedMessage> messages;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  while (!rest.empty() && messages.size() < 32) {
    const auto flags = static_cast<std::uint8_t>(rest.front());
    rest.remove_prefix(1);
    const std::size_t end = rest.find('\xff');
    CapturedMessage message;
    message.bytes = rest.substr(0, end);
    rest = end == rest.npos ? std::string_view() : rest.substr(end + 1);
    const Endpoint& peer = peers[(flags >> 1) & 1];
    message.source = (flags & 1) != 0 ? server : peer;
    message.destination = (flags & 1) != 0 ? peer : server;
    message.transport = (flags & 4) != 0 ? Transport::kTcp : Transport::kUdp;
    message.time = CaptureTime(std::chrono::microseconds(1'000'000 + (flags >> 3) * 1000));
    message.sequence = messages.size() + 1;
    messages.push_back(std::move(message));
  }
  const std::vector<DialogState> dialogs = Rebuild(messages, identity);
  auto writer =
      ReinviteWriter::Create({.contact = "sips:n@192.0.2.11", .via_sent_by = "192.0.2.11"});
  for (const DialogState& dialog : dialogs) {
    const Verdict verdict = Judge(dialog);
    (void)Explain(dialog, verdict);
    const auto decoded = DecodeDialog(EncodeDialog(dialog));
    Require(decoded.ok() && decoded->dialog == dialog);
    const auto variables = RecoveryVariables(dialog);
    if (verdict.recoverable()) Require(variables.ok() && NextRequest(dialog).ok());
    if (variables.ok()) {
      for (const ChannelVariable& variable : *variables) {
        Require(variable.second.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
      }
    }
    if (const auto text = writer->Write(dialog, {.branch = "z9hG4bKfuzz"}); text.ok()) {
      MessageView view;
      Require(view.Parse(*text).ok());
      Require(view.call_id() == dialog.call_id);
    }
  }
  // Sequence numbers belong to the messages, so the order of arrival is all that changes.
  std::reverse(messages.begin(), messages.end());
  Require(Rebuild(messages, identity) == dialogs);
  std::minstd_rand random(static_cast<unsigned>(size));
  std::shuffle(messages.begin(), messages.end(), random);
  Require(Rebuild(messages, identity) == dialogs);
  // Nor whether they come one by one, and are looked at in between. An answer to an OPTIONS or the
  // like starts nothing in a folder; so of calls that begin otherwise, an INVITE comes first.
  DialogFolder folder(identity);
  std::vector<DialogState> used;
  std::string first_call;
  for (const CapturedMessage& message : messages) {
    const FoldOutcome outcome = folder.Fold(message);
    if (!outcome.changed()) continue;
    if (&message == &messages.front() && message.bytes.starts_with("INVITE ")) {
      first_call = outcome.call_id;
    }
    folder.Snapshot(outcome.call_id, &used);
  }
  const bool one_call = std::all_of(dialogs.begin(), dialogs.end(), [&](const DialogState& dialog) {
    return dialog.call_id == first_call;
  });
  if (!first_call.empty() && one_call) Require(folder.Snapshot(first_call) == dialogs);
  (void)Ladder(messages, identity);
  (void)DecodeDialog(std::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
