// SPDX-License-Identifier: Apache-2.0
#include "cli/dialogs_command.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>
#include <span>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "cli/capture_moment.h"
#include "cli/dialogs_json.h"
#include "cli/dialogs_notes.h"
#include "cli/dialogs_report.h"
#include "cli/dialogs_server.h"
#include "cli/exit_code.h"
#include "cli/value_rules.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/explain.h"
#include "sipheal/sip/link_legs.h"
#include "sipheal/sip/message_view.h"
#include "sipheal/sip/verdict.h"

namespace sipheal::inline v0_1::cli {
namespace {

absl::StatusOr<sip::ServerIdentity> ParseIdentity(const DialogsOptions& options) {
  sip::ServerIdentity identity;
  for (const std::string& text : options.servers) {
    ABSL_ASSIGN_OR_RETURN(const sip::ServerAddress server, ParseServer(text));
    identity.addresses.push_back(server);
  }
  identity.host_names = options.server_names;
  identity.agents = options.agents;
  if (identity.addresses.empty() && identity.host_names.empty() && identity.agents.empty()) {
    return absl::InvalidArgumentError(
        "dialogs: whose side is wanted? Give --server ADDR[:PORT] of the media server");
  }
  return identity;
}

void TellHoles(const PcapContents& contents, std::ostream& err) {
  const auto note = [&](const std::string& text) { err << "sipheal: " << text << "\n"; };
  if (contents.lost_fragments > 0 || contents.stream_gaps > 0) {
    note(absl::StrFormat("the capture has holes: %d fragmented packets, %d streams",
                         contents.lost_fragments, contents.stream_gaps));
  }
  if (contents.cut_messages > 0) {
    note(
        absl::StrFormat("%d messages were cut, so their bodies do not count: capture whole packets "
                        "(tcpdump -s 0) and all fragments (no filter by port alone)",
                        contents.cut_messages));
  }
  if (contents.hep_refused > 0) {
    note(absl::StrFormat("%d HEP packets could not be read", contents.hep_refused));
  }
  if (!contents.unread_links.empty()) {
    note("frames of link type " + contents.unread_links + " were passed over");
  }
}

// Reads the files as one capture. What can be read is kept; what cannot is told.
DialogsInput ReadFiles(const DialogsOptions& options, const CaptureMoment& at, std::ostream& err) {
  PcapOptions pcap;
  pcap.last_frame = at.frame;
  pcap.last_time = at.time;
  PcapReader reader(pcap);
  DialogsInput input;
  for (const std::string& file : options.files) {
    const absl::Status status = reader.Add(file);
    if (status.ok()) continue;
    err << "sipheal: " << std::string(status.message())
        << (absl::IsDataLoss(status) ? "; what stands before it was read\n" : "\n");
    input.damaged = true;
  }
  PcapContents contents = reader.Finish();
  TellHoles(contents, err);
  input.messages = std::move(contents.messages);
  input.tunnelled = std::move(contents.tunnelled);
  input.frames = contents.frames;
  input.now = contents.last_time;
  if (contents.hep_packets > 0) {
    // Their clocks are not that of the file; what they saw last is what is known of the time.
    input.now = {};
    for (const sip::CapturedMessage& message : input.messages) {
      input.now = std::max(input.now, message.time);
    }
  }
  if (at.time.has_value()) input.now = *at.time;
  return input;
}

// The messages of each Call-ID, so that each dialog's ladder costs no more than its own call.
std::map<std::string, std::vector<sip::CapturedMessage>, std::less<>> ByCall(
    std::vector<sip::CapturedMessage> messages) {
  std::map<std::string, std::vector<sip::CapturedMessage>, std::less<>> calls;
  sip::MessageView view;
  for (sip::CapturedMessage& message : messages) {
    if (!view.Parse(std::string_view(message.bytes)).ok()) continue;
    auto call = calls.find(view.call_id());
    if (call == calls.end()) call = calls.emplace(std::string(view.call_id()), 0).first;
    call->second.push_back(std::move(message));
  }
  return calls;
}

}  // namespace

std::vector<std::string> PrintDialogs(const DialogsOptions& options, sip::ServerIdentity identity,
                                      DialogsInput input, std::ostream& out) {
  std::vector<std::string> notes;
  const auto note = [&](std::string text) {
    if (!text.empty()) notes.push_back(std::move(text));
  };
  if (input.messages.empty() && input.frames > 0) note(NoteNoSip(input.frames));
  if (!input.messages.empty() && !options.agents.empty()) {
    note(NoteAgents(options.agents, input.messages));
  }
  ServerSearch search = FindServer(input.messages, input.tunnelled, identity);
  for (std::string& text : search.notes) note(std::move(text));
  note(NoteMalformed(std::span(input.messages).first(search.own), identity));
  std::vector<sip::DialogState> dialogs =
      sip::Rebuild(std::span(input.messages).first(search.own), identity);
  sip::LinkLegs(dialogs);
  sip::VerdictOptions verdict_options;
  verdict_options.targets.allow_targets = options.allow_targets;
  verdict_options.now = input.now;
  const std::size_t message_count = input.messages.size();
  const bool json = options.format == "json";
  const bool text = options.format == "text";
  const auto calls = ByCall(json ? std::vector<sip::CapturedMessage>() : std::move(input.messages));

  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  std::vector<DialogReport> reports;
  bool any = false;
  bool found = false;
  for (const sip::DialogState& dialog : dialogs) {
    if (!options.call_id.empty() && dialog.call_id != options.call_id) continue;
    found = true;
    const sip::Verdict verdict = sip::Judge(dialog, verdict_options);
    if (json) {
      list.push_back(DialogJson(dialog, verdict, input.now));
      continue;
    }
    const auto call = calls.find(dialog.call_id);
    const std::span<const sip::CapturedMessage> messages =
        call != calls.end() ? std::span(call->second) : std::span<const sip::CapturedMessage>();
    if (text) {
      if (std::exchange(any, true)) out << "\n";
      out << sip::Explain(dialog, verdict) << "\n" << sip::Ladder(messages, identity);
    } else {
      reports.push_back({dialog, verdict, sip::LadderRungs(messages, identity)});
    }
  }
  if (json) {
    out << nlohmann::ordered_json{{"dialogs", std::move(list)}}.dump(2, ' ', true) << "\n";
  } else if (options.format == "svg") {
    out << DialogsSvg(reports);
  } else if (options.format == "mermaid") {
    MermaidWriter writer(out);
    for (const DialogReport& report : reports) writer.Add(report);
    writer.Finish();
  } else if (!any) {
    out << absl::StrFormat("no dialogs of this server in %d messages\n", message_count);
  }
  if (!found && !options.call_id.empty()) {
    note(absl::StrFormat("--call-id %s: no dialog of this server has it", options.call_id));
  }
  return notes;
}

int RunDialogs(const DialogsOptions& options, std::ostream& out, std::ostream& err) {
  const auto usage = [&](const absl::Status& status) {
    err << "sipheal: " << std::string(status.message()) << "\n";
    return kExitUsage;
  };
  absl::StatusOr<sip::ServerIdentity> identity = ParseIdentity(options);
  if (!identity.ok()) return usage(identity.status());
  if (options.files.empty()) {
    return usage(absl::InvalidArgumentError("dialogs: no capture file given"));
  }
  constexpr std::array<std::string_view, 4> kFormats = {"text", "json", "mermaid", "svg"};
  if (std::find(kFormats.begin(), kFormats.end(), options.format) == kFormats.end()) {
    return usage(absl::InvalidArgumentError(
        absl::StrFormat("--format %s: must be text, json, mermaid or svg", options.format)));
  }
  for (const std::string& network : options.allow_targets) {
    if (const std::string wrong = CheckNetwork(network); !wrong.empty()) {
      return usage(absl::InvalidArgumentError("--allow " + network + ": " + wrong));
    }
  }
  CaptureMoment at;
  if (!options.at.empty()) {
    absl::StatusOr<CaptureMoment> moment = ParseMoment(options.at);
    if (!moment.ok()) return usage(moment.status());
    at = *moment;
  }
  DialogsInput input = ReadFiles(options, at, err);
  const bool damaged = input.damaged;
  for (const std::string& note :
       PrintDialogs(options, *std::move(identity), std::move(input), out)) {
    err << "sipheal: " << note << "\n";
  }
  return damaged ? kExitFailed : kExitOk;
}

}  // namespace sipheal::inline v0_1::cli
