// SPDX-License-Identifier: Apache-2.0
#include "ari/server_flow.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "ari/ari_json.h"
#include "ari/flow_plan.h"

namespace sipheal::inline v0_1::internal {
namespace {

using nlohmann::json;

// More would make the request that creates the channel too long, with the dialog's own variables.
constexpr std::size_t kMaxLength = 4096;

bool IsPlain(const Session& session, const std::string& own_app) {
  const FlowState& flow = session.flow;
  if (flow.stasis_app.empty() || flow.stasis_app == own_app) return false;
  if (flow.held_by_us || flow.music_on_hold || flow.muted_in || flow.muted_out) return false;
  if (!flow.recordings.empty()) return false;
  if (flow.playback && (flow.playback->on_bridge || flow.playback->paused)) return false;
  const std::string bridge = flow.bridge ? flow.bridge->id : "";
  return session.group.empty() || session.group == bridge;
}

}  // namespace

std::string ServerFlowOf(const Session& session, WallTime died_at, const std::string& own_app,
                         std::chrono::milliseconds overlap) {
  if (!IsPlain(session, own_app)) return "";
  const FlowState& flow = session.flow;
  json wanted = {{"stasis", {{"app", flow.stasis_app}, {"args", flow.stasis_args}}}};
  if (flow.bridge) {
    wanted["bridge"] = {{"id", flow.bridge->id},
                        {"type", flow.bridge->type.empty() ? "mixing" : flow.bridge->type},
                        {"name", flow.bridge->name}};
  }
  if (flow.playback && flow.playback->item < flow.playback->media.size()) {
    const std::vector<std::string> rest(
        flow.playback->media.begin() + static_cast<std::ptrdiff_t>(flow.playback->item),
        flow.playback->media.end());
    wanted["playback"] = {{"id", flow.playback->id},
                          {"media", rest},
                          {"offset_ms", ResumeOffset(*flow.playback, died_at, overlap).count()},
                          {"language", flow.playback->language}};
  }
  std::string text = ToText(wanted);
  return text.size() > kMaxLength ? "" : text;
}

FlowProgress ParseServerFlowResult(std::string_view text) {
  const std::string_view word = text.substr(0, text.find(';'));
  // "left": the host has sent the call elsewhere meanwhile, which is as good as done.
  if (word == "done" || word == "left") return FlowProgress::kDone;
  if (word == "none") return FlowProgress::kNotBegun;
  return FlowProgress::kUnknown;
}

}  // namespace sipheal::inline v0_1::internal
