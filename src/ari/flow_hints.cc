// SPDX-License-Identifier: Apache-2.0
#include "ari/flow_hints.h"

#include <algorithm>

#include "ari/ari_json.h"

namespace sipheal::inline v0_1::internal {
namespace {

using nlohmann::json;

// A day: no sound is longer, and a larger number is a mistake.
constexpr std::int64_t kMaxOffsetMs = 86'400'000;

void SetIf(json& object, const char* key, const std::optional<bool>& value) {
  if (value) object[key] = *value;
}

}  // namespace

FlowHints ParseFlowHints(std::string_view text) {
  FlowHints hints;
  const std::optional<json> value = ParseJson(text);
  if (!value) return hints;
  if (const json* stasis = Member(*value, "stasis"); stasis != nullptr && stasis->is_object()) {
    hints.stasis = FlowHints::StasisApp{Text(*stasis, "app"), TextList(*stasis, "args")};
  }
  if (const json* playback = Member(*value, "playback"); playback != nullptr) {
    FlowHints::PlaybackList list;
    list.id = Text(*playback, "id");
    list.media = TextList(*playback, "media");
    list.item =
        static_cast<std::size_t>(std::max<std::int64_t>(0, Integer(*playback, "item").value_or(0)));
    list.offset = std::chrono::milliseconds(
        std::clamp<std::int64_t>(Integer(*playback, "offset_ms").value_or(0), 0, kMaxOffsetMs));
    if (!list.id.empty() && list.item < list.media.size()) hints.playback = std::move(list);
  }
  if (const json* recordings = Member(*value, "recordings");
      recordings != nullptr && recordings->is_array()) {
    for (const json& recording : *recordings) {
      FlowHints::RecordingParts parts{Text(recording, "name"),
                                      TextList(recording, "earlier_parts")};
      if (!parts.name.empty()) hints.recordings.push_back(std::move(parts));
    }
  }
  hints.held = Boolean(*value, "held");
  hints.music_on_hold = Boolean(*value, "music_on_hold");
  hints.muted_in = Boolean(*value, "muted_in");
  hints.muted_out = Boolean(*value, "muted_out");
  return hints;
}

std::string FormatFlowHints(const FlowHints& hints) {
  json value = json::object();
  if (hints.stasis) value["stasis"] = {{"app", hints.stasis->app}, {"args", hints.stasis->args}};
  if (hints.playback) {
    value["playback"] = {{"id", hints.playback->id},
                         {"media", hints.playback->media},
                         {"item", hints.playback->item},
                         {"offset_ms", hints.playback->offset.count()}};
  }
  for (const FlowHints::RecordingParts& parts : hints.recordings) {
    value["recordings"].push_back({{"name", parts.name}, {"earlier_parts", parts.earlier_parts}});
  }
  SetIf(value, "held", hints.held);
  SetIf(value, "music_on_hold", hints.music_on_hold);
  SetIf(value, "muted_in", hints.muted_in);
  SetIf(value, "muted_out", hints.muted_out);
  return ToText(value);
}

}  // namespace sipheal::inline v0_1::internal
