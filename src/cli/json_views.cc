// SPDX-License-Identifier: Apache-2.0
#include "cli/json_views.h"

#include <nlohmann/json.hpp>

namespace sipheal::inline v0_1::cli {
namespace {

using Json = nlohmann::ordered_json;

std::int64_t Micros(WallTime time) { return time.time_since_epoch().count(); }

void PutTime(Json& out, const char* name, const std::optional<WallTime>& time) {
  if (time) out[name] = Micros(*time);
}

void PutText(Json& out, const char* name, const std::string& text) {
  if (!text.empty()) out[name] = text;
}

// One name for each kind of event; the closed list of docs/config.md.
const char* Name(HealerEventKind kind) {
  switch (kind) {
    case HealerEventKind::kCrash:
      return "crash";
    case HealerEventKind::kStage:
      return "stage";
    case HealerEventKind::kOutcome:
      return "outcome";
    case HealerEventKind::kDone:
      return "done";
    case HealerEventKind::kReturned:
      return "returned";
  }
  return "unknown";
}

}  // namespace

Json CrashJson(const CrashEvent& crash) {
  Json out;
  out["instance"] = crash.incarnation.instance;
  out["life"] = crash.incarnation.life;
  out["kind"] = std::string(ToString(crash.kind));
  out["detector"] = crash.detector;
  out["last_alive_us"] = Micros(crash.last_alive);
  out["detected_at_us"] = Micros(crash.detected_at);
  out["evidence"] = crash.evidence;
  return out;
}

Json ReportJson(const SessionReport& report) {
  Json out;
  out["session_id"] = report.session.id;
  out["epoch"] = report.session.epoch;
  out["call_id"] = report.call_id;
  PutText(out, "endpoint", report.endpoint);
  out["old_instance"] = report.from.instance;
  out["old_life"] = report.from.life;
  if (!report.to.instance.empty()) {
    out["new_instance"] = report.to.instance;
    out["new_life"] = report.to.life;
  }
  PutText(out, "channel_id", report.channel_id);
  out["attempts"] = report.attempts;
  out["verdict"] = std::string(sip::ToString(report.verdict.token));
  if (!report.verdict.reasons.empty()) out["verdict_reasons"] = report.verdict.reasons;
  PutText(out, "reason", report.reason);
  PutTime(out, "invited_at_us", report.invited_at);
  PutTime(out, "answered_at_us", report.answered_at);
  return out;
}

Json EventJson(const HealerEvent& event) {
  Json out;
  out["event"] = Name(event.kind);
  out["at_us"] = Micros(event.at);
  switch (event.kind) {
    case HealerEventKind::kCrash:
      out.update(CrashJson(event.crash));
      break;
    case HealerEventKind::kStage:
      out["stage"] = std::string(ToString(event.stage));
      out.update(ReportJson(event.session));
      break;
    case HealerEventKind::kOutcome:
      out["outcome"] = std::string(ToString(event.session.outcome));
      out.update(ReportJson(event.session));
      out["finished_at_us"] = Micros(event.session.finished_at);
      break;
    case HealerEventKind::kDone:
      if (event.report != nullptr) {
        out.update(CrashJson(event.report->crash));
        Json outcomes = Json::object();
        for (const SessionReport& session : event.report->sessions) {
          const std::string outcome(ToString(session.outcome));
          outcomes[outcome] = outcomes.value(outcome, 0) + 1;
        }
        out["sessions"] = event.report->sessions.size();
        out["taken_by_others"] = event.report->taken_by_others;
        out["outcomes"] = outcomes;
      }
      break;
    case HealerEventKind::kReturned:
      out["instance"] = event.incarnation.instance;
      out["life"] = event.incarnation.life;
      break;
  }
  return out;
}

Json SessionJson(const Session& session) {
  Json out;
  out["session_id"] = session.id;
  out["epoch"] = session.epoch;
  out["instance"] = session.incarnation.instance;
  out["life"] = session.incarnation.life;
  out["state"] = std::string(ToString(session.state));
  out["call_id"] = session.call_id;
  PutText(out, "local_tag", session.local_tag);
  PutText(out, "remote_tag", session.remote_tag);
  PutText(out, "channel_id", session.channel_id);
  PutText(out, "channel_name", session.channel_name);
  PutText(out, "endpoint", session.endpoint);
  PutText(out, "group", session.group);
  out["created_at_us"] = Micros(session.created_at);
  PutTime(out, "answered_at_us", session.answered_at);
  PutTime(out, "ends_at_us", session.ends_at);
  PutTime(out, "recovered_at_us", session.recovered_at);
  out["recover"] = session.recover;
  const FlowState& flow = session.flow;
  Json shown = Json::object();
  PutText(shown, "stasis_app", flow.stasis_app);
  if (flow.bridge) {
    shown["bridge"] = {{"id", flow.bridge->id},
                       {"name", flow.bridge->name},
                       {"type", flow.bridge->type},
                       {"conference", flow.bridge->conference}};
  }
  if (flow.playback) {
    shown["playback"] = {{"id", flow.playback->id},
                         {"media", flow.playback->media},
                         {"item", flow.playback->item},
                         {"paused", flow.playback->paused}};
  }
  if (!flow.recordings.empty()) {
    Json names = Json::array();
    for (const Recording& recording : flow.recordings) names.push_back(recording.name);
    shown["recordings"] = names;
  }
  if (flow.held_by_us) shown["held_by_us"] = true;
  if (flow.held_by_peer) shown["held_by_peer"] = true;
  if (flow.music_on_hold) shown["music_on_hold"] = true;
  PutText(shown, "dialplan_application", flow.dialplan.application);
  out["flow"] = shown;
  return out;
}

Json PlanJson(const RecoveryPlan& plan) {
  Json out;
  out["session"] = SessionJson(plan.session);
  out["verdict"] = std::string(sip::ToString(plan.verdict.token));
  out["reasons"] = plan.verdict.reasons;
  out["action"] = plan.variables.empty()                   ? "none"
                  : plan.action == DialogAction::kReinvite ? "reinvite"
                                                           : "bye";
  Json variables = Json::object();
  for (const auto& [name, value] : plan.variables) variables[name] = value;
  out["variables"] = variables;
  PutText(out, "reason", plan.reason);
  return out;
}

Json MetricsJson(const std::vector<MetricValue>& metrics) {
  Json out = Json::array();
  for (const MetricValue& metric : metrics) {
    Json item;
    item["name"] = metric.name;
    if (!metric.labels.empty()) {
      Json labels = Json::object();
      for (const auto& [name, value] : metric.labels) labels[name] = value;
      item["labels"] = labels;
    }
    if (metric.kind == MetricValue::Kind::kHistogram) {
      item["count"] = metric.count;
      item["sum"] = metric.value;
      item["min"] = metric.least;
      item["max"] = metric.most;
    } else {
      item["value"] = metric.value;
    }
    out.push_back(item);
  }
  return out;
}

std::string Dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace sipheal::inline v0_1::cli
