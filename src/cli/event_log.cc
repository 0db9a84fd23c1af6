// SPDX-License-Identifier: Apache-2.0
#include "cli/event_log.h"

#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "cli/json_views.h"

namespace sipheal::inline v0_1::cli {
namespace {

class EventLog final : public HealerListener {
 public:
  EventLog(std::shared_ptr<LogSink> log, std::function<void(std::string)> events)
      : log_(std::move(log)), events_(std::move(events)) {}

  void OnEvent(const HealerEvent& event) override {
    if (events_ != nullptr) events_(Dump(EventJson(event)) + "\n");
    switch (event.kind) {
      case HealerEventKind::kCrash:
        Crash(event.crash);
        break;
      case HealerEventKind::kStage:
        Stage(event);
        break;
      case HealerEventKind::kOutcome:
        Finished(event.session);
        break;
      case HealerEventKind::kDone:
        if (event.report != nullptr) Done(*event.report);
        break;
      case HealerEventKind::kReturned:
        log_->Write({LogLevel::kWarning,
                     "instance_returned",
                     event.incarnation.instance +
                         " was declared dead and answers again: it gives up the calls that were "
                         "taken",
                     {{"instance", event.incarnation.instance}}});
        break;
    }
  }

 private:
  void Crash(const CrashEvent& crash) {
    std::string evidence;
    for (const std::string& sentence : crash.evidence) {
      evidence += (evidence.empty() ? "" : "; ") + sentence;
    }
    log_->Write({LogLevel::kWarning,
                 "crash_detected",
                 absl::StrFormat("%s is dead", crash.incarnation.instance),
                 {{"instance", crash.incarnation.instance},
                  {"kind", std::string(ToString(crash.kind))},
                  {"detector", crash.detector},
                  {"evidence", evidence}}});
  }

  void Stage(const HealerEvent& event) {
    log_->Write({LogLevel::kDebug,
                 "recovery_stage",
                 "a recovery went on",
                 {{"session_id", event.session.session.id},
                  {"call_id", event.session.call_id},
                  {"stage", std::string(ToString(event.stage))},
                  {"target", event.session.to.instance}}});
  }

  void Finished(const SessionReport& report) {
    const bool well = report.outcome == Outcome::kRecovered;
    std::vector<std::pair<std::string, std::string>> fields = {
        {"session_id", report.session.id},
        {"call_id", report.call_id},
        {"endpoint", report.endpoint},
        {"outcome", std::string(ToString(report.outcome))},
        {"instance", report.from.instance},
        {"target", report.to.instance},
        {"attempts", std::to_string(report.attempts)}};
    if (!report.reason.empty()) fields.emplace_back("reason", report.reason);
    log_->Write({well ? LogLevel::kInfo : LogLevel::kWarning, "recovery_finished",
                 well ? "a call lives on" : "a call could not be recovered", std::move(fields)});
  }

  void Done(const CrashReport& report) {
    std::map<std::string, std::size_t> outcomes;
    for (const SessionReport& session : report.sessions) {
      ++outcomes[std::string(ToString(session.outcome))];
    }
    std::vector<std::pair<std::string, std::string>> fields = {
        {"instance", report.crash.incarnation.instance},
        {"sessions", std::to_string(report.sessions.size())}};
    for (const auto& [outcome, count] : outcomes) {
      fields.emplace_back(outcome, std::to_string(count));
    }
    log_->Write({LogLevel::kInfo, "crash_done",
                 "every call of " + report.crash.incarnation.instance + " has its outcome",
                 std::move(fields)});
  }

  const std::shared_ptr<LogSink> log_;
  const std::function<void(std::string)> events_;
};

}  // namespace

std::shared_ptr<HealerListener> MakeEventLog(std::shared_ptr<LogSink> log,
                                             std::function<void(std::string)> events) {
  return std::make_shared<EventLog>(std::move(log), std::move(events));
}

}  // namespace sipheal::inline v0_1::cli
