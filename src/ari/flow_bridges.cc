// SPDX-License-Identifier: Apache-2.0
#include "ari/flow_bridges.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "ari/ari_json.h"
#include "base/status_macros.h"

namespace sipheal::inline v0_1::internal {
namespace {

using nlohmann::json;

constexpr int kMaxBridgeMoves = 3;
// A bridge that was not there when it was asked for, and made within this time, was made since.
constexpr std::chrono::milliseconds kMadeJustNow{1'000};

// The bridge that these partners are in; `own` when they are in none. Once this channel is in a
// bridge itself (`own`), the smaller id wins, so that two that look for each other at the same
// time meet.
absl::StatusOr<std::string> BridgeOf(const FlowCall& call,
                                     const std::vector<FlowResumer::Partner>& partners,
                                     const std::string& own) {
  ABSL_ASSIGN_OR_RETURN(const json bridges, call.Get("/ari/bridges", "listing the bridges"));
  std::string best = own;
  if (!bridges.is_array()) return best;
  for (const json& bridge : bridges) {
    if (Text(bridge, "bridge_class") != "stasis") continue;
    const std::string id = Text(bridge, "id");
    const std::vector<std::string> members = TextList(bridge, "channels");
    const bool has_partner =
        std::any_of(partners.begin(), partners.end(), [&](const FlowResumer::Partner& partner) {
          return std::find(members.begin(), members.end(), partner.channel_id) != members.end();
        });
    if (has_partner && (best.empty() || id < best)) best = id;
  }
  return best;
}

}  // namespace

absl::Status FlowBridges::Join(const FlowCall& call) {
  const Session& session = call.params.session;
  if (!session.flow.bridge) return FollowPartner(call);
  std::string bridge_id = session.flow.bridge->id;
  const bool hosts_group = !session.group.empty() && session.group != bridge_id;
  if (!hosts_group || call.params.partners.empty()) {
    return Enter(call, bridge_id, call.params.first);
  }
  // The host said who belongs together: a partner that lives here already may be in a bridge of
  // another name.
  for (int move = 0; move < kMaxBridgeMoves; ++move) {
    ABSL_ASSIGN_OR_RETURN(const std::string partners,
                          BridgeOf(call, call.params.partners, move == 0 ? "" : bridge_id));
    if (move > 0 && partners == bridge_id) break;
    if (!partners.empty()) bridge_id = partners;
    ABSL_RETURN_IF_ERROR(Enter(call, bridge_id, call.params.first && move == 0));
  }
  return absl::OkStatus();
}

// A session that was in no bridge did not talk to those that died with it. One that lived here
// meanwhile was reached over another way, and draws it to where it is.
absl::Status FlowBridges::FollowPartner(const FlowCall& call) {
  std::vector<FlowResumer::Partner> lived_here;
  for (const FlowResumer::Partner& partner : call.params.partners) {
    if (partner.lived_there) lived_here.push_back(partner);
  }
  if (lived_here.empty()) return absl::OkStatus();
  ABSL_ASSIGN_OR_RETURN(const std::string bridge_id, BridgeOf(call, lived_here, ""));
  return bridge_id.empty() ? absl::OkStatus() : Enter(call, bridge_id, /*first=*/false);
}

absl::Status FlowBridges::Enter(const FlowCall& call, const std::string& bridge_id, bool first) {
  const std::string path = "/ari/bridges/" + EscapeUri(bridge_id);
  json bridge;
  if (!first) {
    ABSL_ASSIGN_OR_RETURN(bridge, call.Get(path, "looking for the bridge"));
  }
  // Adding it a second time would take it out first: a gap, and events for the host.
  const std::vector<std::string> members = TextList(bridge, "channels");
  if (std::find(members.begin(), members.end(), call.params.channel_id) != members.end()) {
    return absl::OkStatus();
  }
  const std::string key = call.params.instance + "\nbridge\n" + bridge_id;
  if (bridge.is_null()) {
    // One makes it while its partners wait: Asterisk knows the id for a moment before the bridge
    // can be entered.
    const MonotonicTime just_now = SystemClock().Monotonic() - kMadeJustNow;
    const DoneOnce::Turn turn(done_, call.ctx, key, first ? std::nullopt : std::optional(just_now));
    ABSL_RETURN_IF_ERROR(turn.status());
    if (!turn.done()) ABSL_RETURN_IF_ERROR(Make(call, bridge_id, path, key));
  }
  const std::string what = absl::StrFormat("adding the channel to bridge \"%s\"", bridge_id);
  const json channel = {{"channel", call.params.channel_id}};
  const MonotonicTime asked = SystemClock().Monotonic();
  ABSL_ASSIGN_OR_RETURN(AriReply added, call.Ask("POST", path + "/addChannel", channel));
  if (added.http_status == 404 && first) {  // made here, and gone since
    {
      // Unless a partner has made it again meanwhile.
      const DoneOnce::Turn turn(done_, call.ctx, key, asked);
      ABSL_RETURN_IF_ERROR(turn.status());
      if (!turn.done()) ABSL_RETURN_IF_ERROR(Make(call, bridge_id, path, key));
    }
    ABSL_ASSIGN_OR_RETURN(added, call.Ask("POST", path + "/addChannel", channel));
  }
  // A bridge that another process makes in the same moment may not be seen yet: worth another try.
  if (added.http_status == 404) {
    return absl::UnavailableError(absl::StrFormat("%s: the bridge is not there yet", what));
  }
  return ToFlowStatus(added, what);
}

absl::Status FlowBridges::Make(const FlowCall& call, const std::string& bridge_id,
                               const std::string& path, const std::string& key) {
  const std::optional<BridgeMembership>& before = call.params.session.flow.bridge;
  json body = {{"type", before && !before->type.empty() ? before->type : "mixing"}};
  if (before && !before->name.empty() && before->id == bridge_id) body["name"] = before->name;
  ABSL_ASSIGN_OR_RETURN(const AriReply made, call.Ask("POST", path, body));
  // 409: a partner's resume made it in the same moment.
  if (made.http_status != 409) {
    ABSL_RETURN_IF_ERROR(ToFlowStatus(made, "making the bridge"));
  }
  done_.Add(key);
  return absl::OkStatus();
}

}  // namespace sipheal::inline v0_1::internal
