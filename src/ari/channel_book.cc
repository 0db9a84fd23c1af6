// SPDX-License-Identifier: Apache-2.0
#include "ari/channel_book.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "ari/server_flow.h"
#include "sipheal/model/session.h"

namespace sipheal::inline v0_1::internal {
namespace {

using nlohmann::json;
using Outcome = RecoveryResult::Outcome;

std::string Text(const json& object, const char* name) {
  if (!object.is_object()) return "";
  const auto field = object.find(name);
  return field != object.end() && field->is_string() ? field->get<std::string>() : "";
}

int Integer(const json& object, const char* name) {
  const auto field = object.find(name);
  return field != object.end() && field->is_number_integer() ? field->get<int>() : 0;
}

}  // namespace

bool InStasis(const json& channel) {
  if (!channel.is_object()) return false;
  const auto dialplan = channel.find("dialplan");
  return dialplan != channel.end() && Text(*dialplan, "app_name") == "Stasis";
}

void ChannelBook::BeginSync(const std::string& life) {
  if (life != life_) {
    // Another incarnation: the channels of the old one are the detector's to report.
    recovered_.clear();
    life_ = life;
  }
  channels_.clear();
  ended_in_sync_.clear();
  syncing_ = true;
  for (auto& [id, entry] : recovered_) entry.old = true;
}

ChannelBook::Events ChannelBook::EndSync(const json& channels) {
  Events events;
  std::set<std::string, std::less<>> present;
  syncing_ = false;
  if (channels.is_array()) {
    for (const json& channel : channels) {
      std::string id = Text(channel, "id");
      if (id.empty() || ended_in_sync_.count(id) != 0) continue;
      channels_.insert(id);
      if (ParseRecoveryChannelId(id)) {
        const bool up = Text(channel, "state") == "Up" && InStasis(channel);
        const auto found = recovered_.find(id);
        if (found == recovered_.end()) {
          // Made by another controller, which has heard of its answer if there was one.
          recovered_[id].answered = up;
        } else if (up) {
          const FlowProgress flow =
              found->second.server_flow ? FlowProgress::kUnknown : FlowProgress::kNotBegun;
          for (ChannelEvent& event : Answered(id, found->second, flow)) {
            events.push_back(std::move(event));
          }
        }
      }
      present.insert(std::move(id));
    }
  }
  for (auto entry = recovered_.begin(); entry != recovered_.end();) {
    if (!entry->second.old || present.count(entry->first) != 0) {
      entry->second.old = false;
      ++entry;
      continue;
    }
    for (ChannelEvent& event :
         Over(entry->first, entry->second, "channel_gone", 0, /*seen=*/false)) {
      events.push_back(std::move(event));
    }
    entry = recovered_.erase(entry);
  }
  ended_in_sync_.clear();
  return events;
}

void ChannelBook::Expect(const std::string& channel_id, DialogAction action, bool server_flow) {
  Entry& entry = recovered_[channel_id];
  entry.action = action;
  entry.server_flow = server_flow;
}

void ChannelBook::Forget(const std::string& channel_id) {
  if (channels_.count(channel_id) == 0) recovered_.erase(channel_id);
}

ChannelBook::Events ChannelBook::OnEvent(const json& event) {
  const auto channel = event.find("channel");
  if (channel == event.end() || !channel->is_object()) return {};
  const std::string type = Text(event, "type");
  const std::string id = Text(*channel, "id");
  if (id.empty()) return {};
  const bool over = type == "ChannelDestroyed";
  if (over) {
    channels_.erase(id);
    if (syncing_) ended_in_sync_.insert(id);
  } else if (type == "ChannelCreated") {
    channels_.insert(id);
  }
  if (!ParseRecoveryChannelId(id)) return {};

  if (over) {
    const auto found = recovered_.find(id);
    if (found == recovered_.end()) return {};
    Events events = Over(id, found->second, Text(event, "cause_txt"), Integer(event, "tech_cause"),
                         /*seen=*/true);
    recovered_.erase(found);
    return events;
  }
  if (type == "ChannelCreated") {
    recovered_.try_emplace(id);
    return {};
  }
  if (type == "ChannelVarset") {
    const std::string variable = Text(event, "variable");
    if (variable == "PJSIP_RECOVERY_RESULT") {
      recovered_[id].result = ParseRecoveryResult(Text(event, "value"));
    } else if (variable == kServerFlowResult) {
      const FlowProgress flow = ParseServerFlowResult(Text(event, "value"));
      // Otherwise it goes where all others wait, and StasisStart follows.
      if (flow != FlowProgress::kNotBegun) return Answered(id, recovered_[id], flow);
    }
    return {};
  }
  // Not ChannelStateChange: the channel is up then, but not yet in Stasis, where its flow resumes.
  if (type == "StasisStart") return Answered(id, recovered_[id], FlowProgress::kNotBegun);
  return {};
}

ChannelBook::Events ChannelBook::Answered(const std::string& id, Entry& entry, FlowProgress flow) {
  if (std::exchange(entry.answered, true)) return {};
  ChannelEvent event = Event(id, ChannelEventKind::kAnswered, entry);
  event.flow = flow;
  return {std::move(event)};
}

bool ChannelBook::Overdue(const std::string& channel_id) {
  const auto found = recovered_.find(channel_id);
  if (found == recovered_.end() || found->second.answered) return false;
  // The phone has answered: its dialog is here now, whatever the channel waits for.
  if (found->second.result.outcome == Outcome::kAnswered) return false;
  found->second.overdue = true;
  return true;
}

ChannelEvent ChannelBook::Event(const std::string& id, ChannelEventKind kind,
                                const Entry& entry) const {
  const RecoveryResult& result = entry.result;
  ChannelEvent event;
  event.instance = instance_;
  event.channel_id = id;
  event.kind = kind;
  event.sip_status = result.status;
  event.reason = result.reason;
  event.retry_after = result.retry_after;
  return event;
}

ChannelBook::Events ChannelBook::Over(const std::string& id, const Entry& entry,
                                      const std::string& cause, int tech_cause, bool seen) const {
  const RecoveryResult& result = entry.result;
  ChannelEvent gone = Event(id, ChannelEventKind::kGone, entry);
  gone.sip_status = 0;
  gone.reason = cause;
  if (entry.answered) return {gone};
  // The phone said 2xx and hung up before Stasis: a second re-INVITE would raise a dead dialog. A
  // BYE is answered by whatever final answer there is.
  const bool answered =
      result.outcome == Outcome::kAnswered ||
      (entry.action == DialogAction::kBye && result.received && result.outcome == Outcome::kEnded);
  if (answered) return {Event(id, ChannelEventKind::kAnswered, entry), gone};

  ChannelEvent failed = Event(id, ChannelEventKind::kFailed, entry);
  if (failed.reason.empty()) failed.reason = cause;
  switch (result.outcome) {
    case Outcome::kRefused:
      failed.sent = false;
      break;
    case Outcome::kReleased:
      failed.reason = entry.overdue ? "no answer in time" : "released";
      failed.local_timeout = entry.overdue;
      break;
    case Outcome::kGone:
      // Without a status the phone sent BYE: it has no such dialog any more, which is what 481
      // says.
      if (failed.sip_status == 0) failed.sip_status = 481;
      break;
    case Outcome::kEnded:
      if (entry.action == DialogAction::kReinvite) {
        // BYE was sent (someone hung up before the answer): from now on the phone would answer 481.
        failed.sip_status = 481;
      } else {
        failed.sent = result.status != 0;
        failed.local_timeout = true;
      }
      break;
    case Outcome::kUnknown:
      failed.sip_status = tech_cause >= 300 && tech_cause <= 699 ? tech_cause : 0;
      failed.local_timeout = seen && failed.sip_status == 0;
      break;
    default:
      failed.local_timeout = !result.received;
      // A 2xx with a To tag of its own: the phone took it for a new call, it knows no such dialog.
      if (failed.sip_status / 100 == 2) failed.sip_status = 481;
      break;
  }
  return {failed};
}

}  // namespace sipheal::inline v0_1::internal
