// SPDX-License-Identifier: Apache-2.0
#include "cli/dialogs_command.h"

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "cli/dialogs_json.h"
#include "sipheal/adapters/pcap.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/explain.h"
#include "sipheal/sip/server_identity.h"
#include "sipheal/sip/verdict.h"

namespace sipheal::inline v0_1::cli {
namespace {

constexpr int kDone = 0;
constexpr int kUnreadable = 1;
constexpr int kUsage = 2;

absl::StatusOr<sip::ServerAddress> ParseServer(const std::string& text) {
  sip::ServerAddress server;
  const std::size_t slash = text.find('/');
  if (slash != std::string::npos) {
    server.transport = sip::TransportFromString(text.substr(slash + 1));
    if (server.transport == sip::Transport::kUnknown) {
      return absl::InvalidArgumentError(
          absl::StrFormat("--server %s: \"%s\" is no transport: udp, tcp, tls, ws or wss", text,
                          text.substr(slash + 1)));
    }
  }
  const std::optional<sip::Endpoint> endpoint = sip::Endpoint::Parse(text.substr(0, slash));
  if (!endpoint.has_value()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--server %s: is no address: write 192.0.2.10, 192.0.2.10:5060 or [2001:db8::1]:5060",
        text));
  }
  server.ip = endpoint->ip;
  server.port = endpoint->port;
  return server;
}

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

// A frame number, or a time in UTC.
absl::Status ParseAt(const std::string& text, PcapOptions& options) {
  const char* const end = text.data() + text.size();
  std::uint64_t frame = 0;
  if (const auto [stop, error] = std::from_chars(text.data(), end, frame);
      error == std::errc() && stop == end) {
    options.last_frame = frame;
    return absl::OkStatus();
  }
  int year, month, day, hour, minute, used = 0;
  double second = 0;
  if (std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%lfZ%n", &year, &month, &day, &hour, &minute,
                  &second, &used) == 6 &&
      static_cast<std::size_t>(used) == text.size()) {
    const std::chrono::year_month_day date{std::chrono::year(year),
                                           std::chrono::month(static_cast<unsigned>(month)),
                                           std::chrono::day(static_cast<unsigned>(day))};
    if (date.ok() && hour >= 0 && hour < 24 && minute >= 0 && minute < 60 && second >= 0 &&
        second < 61) {
      options.last_time = sip::CaptureTime(std::chrono::sys_days(date)) + std::chrono::hours(hour) +
                          std::chrono::minutes(minute) +
                          std::chrono::microseconds(static_cast<std::int64_t>(second * 1e6 + 0.5));
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "--at %s: is neither a frame number nor a time like 2026-07-01T12:00:00Z", text));
}

struct Messages {
  std::vector<sip::CapturedMessage> all;
  bool damaged = false;
};

// Reads the files as one capture. What can be read is kept; what cannot is told.
Messages ReadFiles(const DialogsOptions& options, PcapOptions pcap, std::ostream& err) {
  Messages messages;
  std::uint64_t frames = 0;
  const std::optional<std::uint64_t> last_frame = pcap.last_frame;
  pcap.keep_damaged = true;
  for (const std::string& file : options.files) {
    if (last_frame.has_value()) {
      if (frames >= *last_frame) break;
      pcap.last_frame = *last_frame - frames;
    }
    absl::StatusOr<PcapContents> contents = ReadPcap(file, pcap);
    if (!contents.ok()) {
      err << "sipheal: " << std::string(contents.status().message()) << "\n";
      messages.damaged = true;
      continue;
    }
    if (!contents->damage.empty()) {
      err << "sipheal: " << contents->damage << ": what stands before it was read\n";
      messages.damaged = true;
    }
    if (contents->lost_fragments > 0 || contents->stream_gaps > 0) {
      err << absl::StrFormat(
          "sipheal: %s: the capture has holes: %d fragmented packets, %d streams\n", file,
          contents->lost_fragments, contents->stream_gaps);
    }
    for (sip::CapturedMessage& message : contents->messages) message.sequence += frames;
    std::move(contents->messages.begin(), contents->messages.end(),
              std::back_inserter(messages.all));
    frames += contents->frames;
  }
  return messages;
}

}  // namespace

int RunDialogs(const DialogsOptions& options, std::ostream& out, std::ostream& err) {
  const auto usage = [&](const absl::Status& status) {
    err << "sipheal: " << std::string(status.message()) << "\n";
    return kUsage;
  };
  const absl::StatusOr<sip::ServerIdentity> identity = ParseIdentity(options);
  if (!identity.ok()) return usage(identity.status());
  if (options.files.empty()) {
    return usage(absl::InvalidArgumentError("dialogs: no capture file given"));
  }
  if (options.format != "text" && options.format != "json") {
    return usage(absl::InvalidArgumentError(
        absl::StrFormat("--format %s: must be text or json", options.format)));
  }
  PcapOptions pcap;
  if (!options.at.empty()) {
    if (const absl::Status status = ParseAt(options.at, pcap); !status.ok()) return usage(status);
  }

  const Messages messages = ReadFiles(options, pcap, err);
  sip::VerdictOptions verdict_options;
  verdict_options.targets.allow_targets = options.allow_targets;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  bool first = true;
  for (const sip::DialogState& dialog : sip::Rebuild(messages.all, *identity)) {
    if (!options.call_id.empty() && dialog.call_id != options.call_id) continue;
    const sip::Verdict verdict = sip::Judge(dialog, verdict_options);
    if (options.format == "json") {
      list.push_back(DialogJson(dialog, verdict));
      continue;
    }
    sip::LadderOptions ladder;
    ladder.call_id = dialog.call_id;
    if (!std::exchange(first, false)) out << "\n";
    out << sip::Explain(dialog, verdict) << "\n" << sip::Ladder(messages.all, *identity, ladder);
  }
  if (options.format == "json") {
    out << nlohmann::ordered_json{{"dialogs", std::move(list)}}.dump(2, ' ', true) << "\n";
  } else if (first) {
    out << absl::StrFormat("no dialogs of this server in %d messages\n", messages.all.size());
  }
  return messages.damaged ? kUnreadable : kDone;
}

}  // namespace sipheal::inline v0_1::cli
