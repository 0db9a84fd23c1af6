// SPDX-License-Identifier: Apache-2.0
// The tracker and the flow resumer on real Asterisks, driven line by line by flow_test.py: one JSON
// command a line on standard input, one JSON answer a line on standard output. The store is the one
// in memory.
//
//   {"do":"connect","instances":[{"name":..,"url":..,"user":..,"password":..}]}
//   {"do":"flush"}                       all that was seen is in the store
//   {"do":"sessions","instance":..}      what the store has of the incarnation that the instance
//   had last
//   {"do":"resume","channel":{..}}       resumes the session that the store has under "session", as
//   the engine would
//   {"do":"succeed",..}                  makes the successor record, as the engine does when it is
//   done
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "ari/connections.h"
#include "sipheal/adapters/ari.h"
#include "sipheal/adapters/memory.h"

namespace sipheal {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

std::int64_t Micros(WallTime time) { return time.time_since_epoch().count(); }

json ToJson(const Session& session) {
  const FlowState& flow = session.flow;
  json value = {{"id", session.id},
                {"epoch", session.epoch},
                {"state", std::string(ToString(session.state))},
                {"call_id", session.call_id},
                {"channel_id", session.channel_id},
                {"endpoint", session.endpoint},
                {"group", session.group},
                {"recover", session.recover},
                {"stasis_app", flow.stasis_app},
                {"stasis_args", flow.stasis_args},
                {"held_by_us", flow.held_by_us},
                {"held_by_peer", flow.held_by_peer},
                {"host_data", flow.host_data},
                {"application", flow.dialplan.application}};
  if (flow.bridge)
    value["bridge"] = {{"id", flow.bridge->id}, {"conference", flow.bridge->conference}};
  if (flow.playback) {
    value["playback"] = {{"id", flow.playback->id},
                         {"media", flow.playback->media},
                         {"item", flow.playback->item},
                         {"item_started_us", Micros(flow.playback->item_started)},
                         {"skipped_ms", flow.playback->skipped.count()},
                         {"paused", flow.playback->paused},
                         {"paused_at_ms", flow.playback->paused_at.count()},
                         {"on_bridge", flow.playback->on_bridge}};
  }
  for (const Recording& recording : flow.recordings) {
    value["recordings"].push_back({{"name", recording.name},
                                   {"earlier_parts", recording.earlier_parts},
                                   {"on_bridge", recording.on_bridge}});
  }
  return value;
}

class Lab {
 public:
  json Do(const json& command) {
    const std::string what = command.at("do");
    if (what == "connect") return Connect(command);
    if (what == "flush")
      return ToJson(tracker_->Flush(CallContext::WithTimeout(milliseconds(5000))));
    if (what == "sessions") return List(command);
    if (what == "resume") return Resume(command);
    if (what == "succeed") return Succeed(command);
    return {{"error", "unknown command"}};
  }

 private:
  static json ToJson(const absl::Status& status) {
    if (status.ok()) return {{"ok", true}};
    return {{"ok", false},
            {"code", std::string(absl::StatusCodeToString(status.code()))},
            {"error", std::string(status.message())}};
  }

  json Connect(const json& command) {
    AriOptions options;
    for (const json& instance : command.at("instances")) {
      options.instances.push_back({.name = instance.at("name"),
                                   .url = instance.at("url"),
                                   .user = instance.at("user"),
                                   .password = instance.at("password"),
                                   .password_file = "",
                                   .pid_file = ""});
    }
    auto connections = ConnectAri(options);
    if (!connections.ok()) return ToJson(connections.status());
    connections_ = *connections;
    store_ = MakeMemorySessionStore();
    auto tracker = MakeAriTracker(connections_, store_, {});
    AriFlowResumerOptions resume;
    resume.continue_in_dialplan = command.value("continue_in_dialplan", false);
    auto resumer = MakeAriFlowResumer(connections_, resume);
    if (!tracker.ok()) return ToJson(tracker.status());
    if (!resumer.ok()) return ToJson(resumer.status());
    tracker_ = *tracker;
    resumer_ = *resumer;
    const absl::Status started = tracker_->Start();
    if (!started.ok()) return ToJson(started);
    // Both sockets open: what is done from now on is seen.
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    for (const AriInstanceOptions& instance : options.instances) {
      while (!connections_->Connected(instance.name)) {
        if (std::chrono::steady_clock::now() > end) {
          return ToJson(absl::DeadlineExceededError("not connected: " + instance.name));
        }
        std::this_thread::sleep_for(milliseconds(5));
      }
      lives_[instance.name] = *connections_->Connected(instance.name);
    }
    return ToJson(absl::OkStatus());
  }

  json List(const json& command) {
    SessionStore::ListParams params;
    params.incarnation = lives_.at(command.at("instance"));
    json list = json::array();
    const auto page = store_->List({}, params);
    if (!page.ok()) return ToJson(page.status());
    for (const Session& session : page->sessions) {
      known_[session.key()] = session;
      list.push_back(sipheal::ToJson(session));
    }
    return {{"ok", true}, {"sessions", list}};
  }

  const Session& Known(const json& command) const {
    return known_.at({command.at("session"), command.at("epoch")});
  }

  json Resume(const json& command) {
    FlowResumer::ResumeParams params;
    params.session = Known(command);
    params.died_at =
        WallTime(std::chrono::microseconds(command.at("died_at_us").get<std::int64_t>()));
    params.instance = command.at("instance");
    params.channel_id = command.at("channel_id");
    for (const json& partner : command.value("partners", json::array())) {
      params.partners.push_back({partner.at("session"), params.instance, partner.at("channel_id"),
                                 partner.value("lived_there", false)});
    }
    const absl::Status accepted = resumer_->Accept(params.session);
    if (!accepted.ok()) return ToJson(accepted);
    return ToJson(resumer_->Resume(CallContext::WithTimeout(milliseconds(5000)), params));
  }

  json Succeed(const json& command) {
    const Session before = Known(command);
    SessionStore::ClaimParams claim;
    claim.sessions = {before.key()};
    claim.owner = "lab";
    const auto leases = store_->Claim({}, claim);
    if (!leases.ok()) return ToJson(leases.status());
    if (!leases->front().ok()) return ToJson(leases->front().status());
    SessionStore::AdvanceParams advance;
    SessionStore::AdvanceParams::Step step;
    step.entry.session = before.key();
    step.entry.fence = leases->front()->fence;
    step.entry.stage = RecoveryStage::kFinished;
    step.entry.outcome = Outcome::kRecovered;
    step.successor = before;
    step.successor->epoch = before.epoch + 1;
    step.successor->incarnation = lives_.at(command.at("instance"));
    step.successor->channel_id = command.at("channel_id");
    advance.steps = {step};
    const auto done = store_->Advance({}, advance);
    return ToJson(done.ok() ? done->front() : done.status());
  }

  std::shared_ptr<AriConnections> connections_;
  std::shared_ptr<SessionStore> store_;
  std::shared_ptr<AriTracker> tracker_;
  std::shared_ptr<FlowResumer> resumer_;
  std::map<std::string, Incarnation> lives_;
  std::map<SessionKey, Session> known_;
};

}  // namespace
}  // namespace sipheal

int main() {
  sipheal::Lab lab;
  std::string line;
  while (std::getline(std::cin, line)) {
    nlohmann::json answer;
    try {
      answer = lab.Do(nlohmann::json::parse(line));
    } catch (const std::exception& error) {
      answer = {{"ok", false}, {"error", error.what()}};
    }
    std::cout << answer.dump() << std::endl;
  }
  return 0;
}
