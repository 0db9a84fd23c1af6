// SPDX-License-Identifier: Apache-2.0
#include "ari/flow_plan.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/str_format.h"
#include "ari/flow_hints.h"
#include "base/absl_compat.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

// The schemes of res_stasis_playback.c; the first two are files, and can begin anywhere.
constexpr std::string_view kSeekable[] = {"sound:", "recording:"};
constexpr std::string_view kFromBeginning[] = {"number:", "digits:", "characters:", "tone:"};

template <typename List>
bool HasScheme(std::string_view media, const List& schemes) {
  return std::any_of(std::begin(schemes), std::end(schemes), [&](std::string_view scheme) {
    return media.starts_with(scheme) && media.size() > scheme.size();
  });
}

bool HasControl(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

absl::Status AcceptDialplan(const DialplanLocation& at, bool continue_in_dialplan) {
  const std::string where =
      absl::StrFormat("the session was outside Stasis, in %s(%s) at %s,%s,%d", at.application,
                      at.application_data, at.context, at.extension, at.priority);
  if (!continue_in_dialplan) {
    return absl::FailedPreconditionError(
        where + ": set AriFlowResumerOptions::continue_in_dialplan to go on there");
  }
  if (at.application == "AppDial" || at.application == "AppDial2") {
    return absl::FailedPreconditionError(
        where + ": the called leg of a Dial has no place in the dialplan to go on at");
  }
  if (at.context.empty() || at.extension.empty() || at.priority < 1) {
    return absl::FailedPreconditionError(where + ": that is no place in the dialplan");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status AcceptFlow(const Session& session, bool continue_in_dialplan) {
  const FlowState& flow = session.flow;
  if (flow.stasis_app.empty()) return AcceptDialplan(flow.dialplan, continue_in_dialplan);
  if (flow.bridge && flow.bridge->id.empty()) {
    return absl::InvalidArgumentError(
        "flow.bridge.id: is empty: a bridge is made anew under its id");
  }
  if (flow.bridge && flow.bridge->conference) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "the session is in Stasis and in the ConfBridge \"%s\" at once", flow.bridge->name));
  }
  if (flow.playback && flow.playback->item < flow.playback->media.size()) {
    if (flow.playback->id.empty()) return absl::InvalidArgumentError("flow.playback.id: is empty");
    for (std::size_t i = flow.playback->item; i < flow.playback->media.size(); ++i) {
      const std::string& media = flow.playback->media[i];
      if (HasControl(media) ||
          (!HasScheme(media, kSeekable) && !HasScheme(media, kFromBeginning))) {
        return absl::FailedPreconditionError(absl::StrFormat(
            "playback of \"%s\" cannot go on: Asterisk plays sound:, recording:, number:, digits:, "
            "characters: and tone:",
            HasControl(media) ? "(control characters)" : media));
      }
    }
  }
  for (const Recording& recording : flow.recordings) {
    if (recording.name.empty() || HasControl(recording.name)) {
      return absl::InvalidArgumentError(
          "flow.recordings: a name is empty or has control characters");
    }
  }
  return absl::OkStatus();
}

milliseconds ResumeOffset(const Playback& playback, WallTime died_at, milliseconds overlap) {
  if (playback.item >= playback.media.size() ||
      !HasScheme(playback.media[playback.item], kSeekable)) {
    return milliseconds(0);
  }
  // Nothing was heard meanwhile of a paused one.
  const milliseconds back = playback.paused ? milliseconds(0) : overlap;
  return std::max(milliseconds(0), playback.PositionAt(died_at) - back);
}

std::string NextPartName(const Recording& recording) {
  const std::string& first =
      recording.earlier_parts.empty() ? recording.name : recording.earlier_parts.front();
  return absl::StrFormat("%s-part%d", first, static_cast<int>(recording.earlier_parts.size()) + 2);
}

std::string NoteOf(const Session& session, WallTime died_at, const std::string& own_app,
                   milliseconds overlap) {
  const FlowState& flow = session.flow;
  FlowHints hints;
  if (flow.stasis_app != own_app) hints.stasis = {flow.stasis_app, flow.stasis_args};
  if (flow.playback && flow.playback->item < flow.playback->media.size()) {
    const milliseconds offset = ResumeOffset(*flow.playback, died_at, overlap);
    if (offset.count() > 0 || flow.playback->media.size() > 1) {
      hints.playback = {flow.playback->id, flow.playback->media, flow.playback->item, offset};
    }
  }
  for (const Recording& recording : flow.recordings) {
    std::vector<std::string> parts = recording.earlier_parts;
    parts.push_back(recording.name);
    hints.recordings.push_back({NextPartName(recording), std::move(parts)});
  }
  if (flow.held_by_us) hints.held = true;
  if (flow.music_on_hold) hints.music_on_hold = true;
  if (flow.muted_in) hints.muted_in = true;
  if (flow.muted_out) hints.muted_out = true;
  return hints == FlowHints() ? std::string() : FormatFlowHints(hints);
}

std::string JoinArguments(const std::vector<std::string>& arguments) {
  std::string joined;
  for (const std::string& argument : arguments) {
    if (&argument != &arguments.front()) joined += ',';
    joined += argument;
  }
  return joined;
}

}  // namespace sipheal::inline v0_1::internal
