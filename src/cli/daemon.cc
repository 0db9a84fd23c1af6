// SPDX-License-Identifier: Apache-2.0
#include "cli/daemon.h"

#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "cli/config_printer.h"
#include "cli/control_server.h"
#include "cli/event_log.h"
#include "cli/healer_setup.h"
#include "cli/json_views.h"
#include "sipheal/version.h"

namespace sipheal::inline v0_1::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::chrono::seconds kStoreTimeout(10);

// The part of a configuration that a reload cannot apply, as text to compare.
std::string FixedPart(Config config) {
  config.instances.clear();
  return ConfigToJson(config);
}

std::string OneInstance(const InstanceConfig& instance) {
  Config config;
  config.instances.push_back(instance);
  // The printed form masks secrets, and a changed one counts, too.
  return ConfigToJson(config) + instance.ari.password;
}

std::string NeededText(const nlohmann::json& request, const char* field) {
  return request.contains(field) && request[field].is_string() ? request[field].get<std::string>()
                                                               : std::string();
}

class RealDaemon final : public Daemon {
 public:
  RealDaemon(DaemonOptions options, std::unique_ptr<EmbeddedSet> set)
      : options_(std::move(options)), set_(std::move(set)), started_(SystemClock().Now()) {}

  ~RealDaemon() override { Stop(); }

  absl::Status StartAll() {
    const Config& config = options_.loaded.config;
    parts_ = set_->parts();
    HealerOptions healer = ToHealerOptions(config);
    // One name everywhere: in leases, sightings and the kill switch.
    if (std::string name = set_->controller_name(); !name.empty()) healer.owner = std::move(name);
    ABSL_ASSIGN_OR_RETURN(healer_, Healer::Create(std::move(healer), parts_));
    healer_->AddListener(MakeEventLog(options_.log, options_.events));
    // Before anything is touched: a second daemon on the same socket must not begin to work.
    absl::StatusOr<std::unique_ptr<ControlServer>> control = ControlServer::Listen(
        config.control.socket, [this](const nlohmann::json& request) { return Handle(request); });
    if (!control.ok()) {
      return absl::Status(control.status().code(), options_.loaded.Where("control.socket") + ": " +
                                                       std::string(control.status().message()));
    }
    ABSL_RETURN_IF_ERROR(set_->StartCapture());
    // Before the Healer claims anything: a port that is in use ends it here, and those who watch
    // miss no event.
    ABSL_RETURN_IF_ERROR(set_->StartServing(*healer_));
    ABSL_RETURN_IF_ERROR(healer_->Start());
    ABSL_RETURN_IF_ERROR(set_->StartTracking());
    {
      const std::lock_guard lock(mutex_);
      control_ = *std::move(control);
      ready_ = true;
    }
    Json status = set_->Status();
    const Json hep = status.contains("hep") ? status["hep"] : Json::object();
    if (options_.events != nullptr) {
      Json ready;
      ready["event"] = "ready";
      ready["at_us"] = SystemClock().Now().time_since_epoch().count();
      if (hep.contains("udp")) ready["hep_udp"] = hep["udp"];
      if (hep.contains("tcp")) ready["hep_tcp"] = hep["tcp"];
      if (status.contains("grpc")) ready["grpc"] = status["grpc"]["listen"];
      ready["control"] = config.control.socket;
      ready["pid"] = getpid();
      options_.events(Dump(ready) + "\n");
    }
    options_.log->Write({LogLevel::kInfo,
                         "ready",
                         "ready",
                         {{"instances", std::to_string(config.instances.size())},
                          {"hep_udp", hep.value("udp", "")},
                          {"hep_tcp", hep.value("tcp", "")},
                          {"control", config.control.socket},
                          {"dry_run", config.recovery.dry_run ? "true" : "false"}}});
    return absl::OkStatus();
  }

  void Stop() override {
    std::unique_ptr<ControlServer> control;
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return;
      stopped_ = true;
      control = std::move(control_);
    }
    control.reset();
    set_->StopServing();
    if (healer_ != nullptr) healer_->Stop();
    set_->Stop();
    if (ready_ && options_.events != nullptr) {
      Json event;
      event["event"] = "stopped";
      event["at_us"] = SystemClock().Now().time_since_epoch().count();
      options_.events(Dump(event) + "\n");
    }
  }

  absl::Status Reload() override {
    const std::lock_guard reloading(reload_mutex_);
    ABSL_ASSIGN_OR_RETURN(LoadedConfig fresh, options_.read_config());
    ABSL_RETURN_IF_ERROR(CheckSecretFiles(fresh));
    std::vector<InstanceConfig>& now = options_.loaded.config.instances;
    if (FixedPart(fresh.config) != FixedPart(options_.loaded.config)) {
      options_.log->Write({LogLevel::kWarning,
                           "reload_partial",
                           "the configuration changed outside 'instances': those changes need a "
                           "restart",
                           {}});
    }
    std::size_t removed = 0;
    std::size_t added = 0;
    for (std::size_t i = 0; i < now.size();) {
      const auto same = std::find_if(
          fresh.config.instances.begin(), fresh.config.instances.end(),
          [&](const InstanceConfig& other) { return OneInstance(other) == OneInstance(now[i]); });
      if (same != fresh.config.instances.end()) {
        ++i;
        continue;
      }
      const std::string name = now[i].name;
      absl::Status status = healer_->RemoveInstance(name);
      status.Update(set_->RemoveInstance(name));
      if (!status.ok()) LogProblem("instance_remove_failed", name, status);
      now.erase(now.begin() + static_cast<std::ptrdiff_t>(i));
      ++removed;
    }
    absl::Status failed;
    for (const InstanceConfig& instance : fresh.config.instances) {
      const bool known = std::any_of(now.begin(), now.end(), [&](const InstanceConfig& other) {
        return other.name == instance.name;
      });
      if (known) continue;
      absl::Status status = set_->AddInstance(instance);
      if (status.ok()) {
        status = healer_->AddInstance(ToInstanceOptions(instance));
        if (!status.ok()) set_->RemoveInstance(instance.name).IgnoreError();
      }
      if (!status.ok()) {
        LogProblem("instance_add_failed", instance.name, status);
        failed.Update(status);
        continue;
      }
      now.push_back(instance);
      ++added;
    }
    options_.log->Write({LogLevel::kInfo,
                         "reloaded",
                         "the list of instances was read again",
                         {{"added", std::to_string(added)}, {"removed", std::to_string(removed)}}});
    return failed;
  }

  absl::StatusOr<Json> Handle(const nlohmann::json& request) override {
    {
      const std::lock_guard lock(mutex_);
      if (!ready_) {
        return absl::UnavailableError("sipheal is still starting: ask again in a moment");
      }
    }
    const std::string command = NeededText(request, "command");
    if (command == "status") return StatusJson();
    if (command == "sessions") return Sessions(request);
    if (command == "recover") return Recover(request);
    if (command == "planned_stop") return PlannedStop(request);
    if (command == "pause" || command == "resume") {
      command == "pause" ? healer_->Pause() : healer_->Resume();
      options_.log->Write({LogLevel::kInfo, command, "recovery: " + command + " by hand", {}});
      Json out;
      out["paused"] = healer_->status().paused;
      return out;
    }
    if (command == "kill_switch") return ThrowOrClear(request);
    if (command == "reload") {
      ABSL_RETURN_IF_ERROR(Reload());
      return Json::object();
    }
    return absl::UnimplementedError(absl::StrFormat(
        "unknown command '%s': status, sessions, recover, pause, resume, kill_switch, "
        "planned_stop, reload",
        command));
  }

 private:
  void LogProblem(const char* event, const std::string& instance, const absl::Status& status) {
    options_.log->Write(
        {LogLevel::kError, event, std::string(status.message()), {{"instance", instance}}});
  }

  Json StatusJson() {
    const HealerStatus healer = healer_->status();
    Json out;
    out["version"] = SIPHEAL_VERSION;
    out["pid"] = getpid();
    out["uptime_s"] =
        std::chrono::duration_cast<std::chrono::seconds>(SystemClock().Now() - started_).count();
    out["paused"] = healer.paused;
    if (!healer.halted.empty()) out["halted"] = healer.halted;
    out["dry_run"] = options_.loaded.config.recovery.dry_run;
    out["recoveries"] = healer.recoveries;
    Json lost = Json::array();
    for (const Incarnation& incarnation : healer.lost) {
      lost.push_back({{"instance", incarnation.instance}, {"life", incarnation.life}});
    }
    out["lost"] = lost;
    out.update(set_->Status());
    out["metrics"] = MetricsJson(options_.metrics->Snapshot());
    return out;
  }

  absl::StatusOr<Json> Sessions(const nlohmann::json& request) {
    const std::size_t limit = std::clamp<std::int64_t>(request.value("limit", 1'000), 1, 10'000);
    ABSL_ASSIGN_OR_RETURN(const std::vector<Session> sessions,
                          ListSessions(*parts_.store, NeededText(request, "instance"), limit));
    Json list = Json::array();
    for (const Session& session : sessions) list.push_back(SessionJson(session));
    Json out;
    out["sessions"] = std::move(list);
    return out;
  }

  absl::StatusOr<Json> Recover(const nlohmann::json& request) {
    const std::string instance = NeededText(request, "instance");
    if (instance.empty()) {
      return absl::InvalidArgumentError("'recover' needs an instance: recover INSTANCE");
    }
    const CallContext ctx = CallContext::WithTimeout(kStoreTimeout);
    Json out;
    out["instance"] = instance;
    if (request.value("dry_run", false)) {
      ABSL_ASSIGN_OR_RETURN(const std::vector<RecoveryPlan> plans, healer_->Plan(ctx, instance));
      Json list = Json::array();
      for (const RecoveryPlan& plan : plans) list.push_back(PlanJson(plan));
      out["plans"] = std::move(list);
      return out;
    }
    ABSL_RETURN_IF_ERROR(healer_->Recover(ctx, instance));
    options_.log->Write({LogLevel::kWarning,
                         "recover_by_hand",
                         "an operator declared " + instance + " dead",
                         {{"instance", instance}}});
    return out;
  }

  absl::StatusOr<Json> ThrowOrClear(const nlohmann::json& request) {
    if (parts_.kill_switch == nullptr) {
      return absl::FailedPreconditionError(
          "there is no kill switch: set recovery.kill_switch to the path of a file, or use "
          "store.postgres");
    }
    // To leave it out must not clear the switch.
    if (!request.contains("on") || !request["on"].is_boolean()) {
      return absl::InvalidArgumentError(
          "kill_switch needs 'on': true throws the switch, false clears it");
    }
    const bool on = request["on"].get<bool>();
    const std::string reason = NeededText(request, "reason");
    const CallContext ctx = CallContext::WithTimeout(kStoreTimeout);
    ABSL_RETURN_IF_ERROR(on ? parts_.kill_switch->Throw(ctx, reason.empty() ? "by hand" : reason)
                            : parts_.kill_switch->Clear(ctx));
    options_.log->Write({LogLevel::kWarning,
                         "kill_switch",
                         on ? "an operator threw the kill switch" : "an operator cleared it",
                         {{"reason", reason}}});
    Json out;
    out["thrown"] = on;
    return out;
  }

  absl::StatusOr<Json> PlannedStop(const nlohmann::json& request) {
    const std::string instance = NeededText(request, "instance");
    const std::int64_t seconds = request.value("seconds", 0);
    if (instance.empty() || seconds < 1 || seconds > 86'400) {
      return absl::InvalidArgumentError(
          "'planned-stop' needs an instance, and a time from 1s to 24h: planned-stop INSTANCE "
          "--for 10m");
    }
    ABSL_RETURN_IF_ERROR(
        healer_->AnnounceStop(instance, SystemClock().Now() + std::chrono::seconds(seconds)));
    Json out;
    out["instance"] = instance;
    out["seconds"] = seconds;
    return out;
  }

  DaemonOptions options_;
  const std::unique_ptr<EmbeddedSet> set_;
  const WallTime started_;
  HealerParts parts_;
  std::unique_ptr<Healer> healer_;
  std::mutex reload_mutex_;
  std::mutex mutex_;
  bool ready_ = false;
  bool stopped_ = false;
  std::unique_ptr<ControlServer> control_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(DaemonOptions options,
                                                      std::unique_ptr<EmbeddedSet> set) {
  auto daemon = std::make_unique<RealDaemon>(std::move(options), std::move(set));
  ABSL_RETURN_IF_ERROR(daemon->StartAll());
  return daemon;
}

absl::StatusOr<std::vector<Session>> ListSessions(SessionStore& store, const std::string& instance,
                                                  std::size_t limit) {
  const CallContext ctx = CallContext::WithTimeout(kStoreTimeout);
  std::vector<Session> sessions;
  SessionStore::ListParams params;
  while (sessions.size() < limit) {
    ABSL_ASSIGN_OR_RETURN(SessionStore::SessionPage page, store.List(ctx, params));
    for (Session& session : page.sessions) {
      if (!instance.empty() && session.incarnation.instance != instance) continue;
      if (sessions.size() < limit) sessions.push_back(std::move(session));
    }
    if (page.next_page_token.empty()) break;
    params.page_token = page.next_page_token;
  }
  return sessions;
}

}  // namespace sipheal::inline v0_1::cli
