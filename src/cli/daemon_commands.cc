// SPDX-License-Identifier: Apache-2.0
#include "cli/daemon_commands.h"

#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "cli/control_client.h"
#include "cli/control_server.h"
#include "cli/daemon.h"
#include "cli/exit_code.h"
#include "cli/json_views.h"
#include "cli/log_writer.h"
#include "cli/open_store.h"

namespace sipheal::inline v0_1::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string TextOf(const Json& object, const char* field, const std::string& otherwise = "-") {
  if (!object.contains(field)) return otherwise;
  const Json& value = object[field];
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// The store of the configuration, if it is there: a look must not make one.
absl::StatusOr<std::shared_ptr<SessionStore>> ExistingStore(const DaemonPlace& place,
                                                            const absl::Status& no_daemon) {
  if (!place.loaded) {
    return absl::FailedPreconditionError(std::string(no_daemon.message()) +
                                         "; or give --config FILE, to read its store");
  }
  absl::StatusOr<std::shared_ptr<SessionStore>> store =
      OpenStore(*place.loaded, nullptr, StoreMaking::kLookOnly);
  if (!absl::IsNotFound(store.status())) return store;
  return absl::NotFoundError(absl::StrFormat(
      "no sipheal runs at %s, and there is no store at %s: start sipheal with 'sipheal run'",
      place.socket, StoreName(place.loaded->config.store)));
}

void SayFromStore(const DaemonPlace& place, const Console& console) {
  if (console.format == OutputFormat::kJson) return;
  console.err << "sipheal: no daemon runs at " << place.socket << "; this is what the store "
              << StoreName(place.loaded->config.store) << " holds\n";
}

void PrintStatus(const Json& status, const Console& console) {
  console.out << "sipheal " << TextOf(status, "version") << ", process " << TextOf(status, "pid")
              << ", up " << AgeText(std::chrono::seconds(status.value("uptime_s", 0)))
              << (status.value("paused", false) ? ", " + console.Red("paused") : "")
              << (status.value("dry_run", false) ? ", dry run" : "") << "\n";
  if (status.contains("halted")) {
    console.out << console.Red("nothing is sent: ") << Printable(TextOf(status, "halted")) << "\n";
  }
  console.out << "recoveries under way: " << TextOf(status, "recoveries") << "\n";
  for (const Json& lost : status.value("lost", Json::array())) {
    console.out << console.Red("lost: ") << Printable(TextOf(lost, "instance")) << "\n";
  }
  std::vector<std::vector<std::string>> rows;
  const Json instances = status.value("instances", Json::object());
  for (const auto& [name, one] : instances.items()) {
    const auto ago = [&one = one](const char* field) {
      return one.contains(field) ? TextOf(one, field) + " ms ago" : std::string("never");
    };
    rows.push_back({name, one.value("connected", false) ? "connected" : "not connected",
                    ago("ari_heard_ms_ago"), ago("hep_heard_ms_ago"),
                    TextOf(one, "calls_tracked", "0"), TextOf(one, "life")});
  }
  console.out << "\n"
              << Table({"INSTANCE", "ARI", "ARI HEARD", "HEP HEARD", "CALLS", "LIFE"}, rows);
  rows.clear();
  for (const Json& metric : status.value("metrics", Json::array())) {
    std::string labels;
    const Json pairs = metric.value("labels", Json::object());
    for (const auto& [label, value] : pairs.items()) {
      labels += (labels.empty() ? "" : " ") + label + "=" + value.get<std::string>();
    }
    std::string value = TextOf(metric, "value", "");
    if (metric.contains("count")) {
      const double count = metric["count"].get<double>();
      value = absl::StrFormat("%g times, mean %g, max %g", count,
                              count > 0 ? metric["sum"].get<double>() / count : 0.0,
                              metric["max"].get<double>());
    }
    rows.push_back({TextOf(metric, "name"), labels, value});
  }
  if (!rows.empty()) console.out << "\n" << Table({"METRIC", "LABELS", "VALUE"}, rows);
}

void PrintSessions(const Json& result, const Console& console) {
  std::vector<std::vector<std::string>> rows;
  const WallTime now = SystemClock().Now();
  for (const Json& session : result["sessions"]) {
    const WallTime created(std::chrono::microseconds(session["created_at_us"].get<std::int64_t>()));
    std::string flow;
    const Json doing = session.value("flow", Json::object());
    for (const auto& [what, value] : doing.items()) {
      flow += (flow.empty() ? "" : ",") + what;
    }
    rows.push_back({TextOf(session, "instance"), TextOf(session, "state"),
                    TextOf(session, "endpoint"),
                    AgeText(std::chrono::duration_cast<std::chrono::seconds>(now - created)),
                    TextOf(session, "epoch"), flow.empty() ? "-" : flow,
                    TextOf(session, "channel_id"), TextOf(session, "call_id")});
  }
  console.out << Table(
      {"INSTANCE", "STATE", "ENDPOINT", "AGE", "EPOCH", "FLOW", "CHANNEL", "CALL-ID"}, rows);
  console.out << rows.size() << " sessions\n";
}

absl::StatusOr<Json> StatusFromStore(const DaemonPlace& place, const absl::Status& no_daemon) {
  ABSL_ASSIGN_OR_RETURN(const std::shared_ptr<SessionStore> store, ExistingStore(place, no_daemon));
  ABSL_ASSIGN_OR_RETURN(const std::vector<Session> sessions, ListSessions(*store, "", 1'000'000));
  std::map<std::string, std::size_t> counts;
  for (const Session& session : sessions) ++counts[session.incarnation.instance];
  const CallContext ctx = CallContext::WithTimeout(std::chrono::seconds(10));
  ABSL_ASSIGN_OR_RETURN(const std::vector<UnfinishedRecovery> unfinished,
                        store->ListUnfinished(ctx));
  Json out;
  out["daemon"] = false;
  out["store"] = StoreName(place.loaded->config.store);
  Json by_instance = Json::object();
  for (const auto& [instance, count] : counts) by_instance[instance] = count;
  out["sessions"] = by_instance;
  out["unfinished_recoveries"] = unfinished.size();
  return out;
}

}  // namespace

int Fail(const Console& console, const absl::Status& status) {
  console.Progress("");
  if (console.format == OutputFormat::kJson) {
    Json error;
    error["code"] = CodeName(status.code());
    error["error"] = std::string(status.message());
    console.out << Dump(error) << "\n";
  } else {
    console.err << "sipheal: " << std::string(status.message()) << "\n";
  }
  return IsNoDaemon(status) ? kExitNoDaemon : kExitFailed;
}

int StatusCommand(const DaemonPlace& place, const Console& console) {
  absl::StatusOr<Json> status = AskDaemon(place.socket, {{"command", "status"}});
  const bool from_store = !status.ok() && IsNoDaemon(status.status());
  if (from_store) {
    absl::StatusOr<Json> stored = StatusFromStore(place, status.status());
    if (!stored.ok()) {
      Fail(console, stored.status());
      return kExitNoDaemon;
    }
    status = std::move(stored);
    SayFromStore(place, console);
  }
  if (!status.ok()) return Fail(console, status.status());
  if (console.format == OutputFormat::kJson) {
    console.out << Dump(*status) << "\n";
  } else if (from_store) {
    for (const auto& [instance, count] : (*status)["sessions"].items()) {
      console.out << Printable(instance) << ": " << count << " sessions\n";
    }
    console.out << "unfinished recoveries: " << (*status)["unfinished_recoveries"] << "\n";
  } else {
    PrintStatus(*status, console);
  }
  return kExitOk;
}

int SessionsCommand(const DaemonPlace& place, const std::string& instance, std::size_t limit,
                    const Console& console) {
  Json request = {{"command", "sessions"}, {"limit", limit}};
  if (!instance.empty()) request["instance"] = instance;
  absl::StatusOr<Json> result = AskDaemon(place.socket, request);
  if (!result.ok() && IsNoDaemon(result.status())) {
    const absl::StatusOr<std::shared_ptr<SessionStore>> store =
        ExistingStore(place, result.status());
    if (!store.ok()) {
      Fail(console, store.status());
      return kExitNoDaemon;
    }
    const absl::StatusOr<std::vector<Session>> sessions = ListSessions(**store, instance, limit);
    if (!sessions.ok()) return Fail(console, sessions.status());
    Json list = Json::array();
    for (const Session& session : *sessions) list.push_back(SessionJson(session));
    Json out;
    out["daemon"] = false;
    out["sessions"] = std::move(list);
    result = std::move(out);
    SayFromStore(place, console);
  }
  if (!result.ok()) return Fail(console, result.status());
  if (console.format == OutputFormat::kJson) {
    console.out << Dump(*result) << "\n";
  } else {
    PrintSessions(*result, console);
  }
  return kExitOk;
}

int RecoverCommand(const DaemonPlace& place, const std::string& instance, bool dry_run,
                   const Console& console) {
  const absl::StatusOr<Json> result = AskDaemon(
      place.socket, {{"command", "recover"}, {"instance", instance}, {"dry_run", dry_run}},
      std::chrono::seconds(60));
  if (!result.ok()) return Fail(console, result.status());
  if (console.format == OutputFormat::kJson) {
    console.out << Dump(*result) << "\n";
    return kExitOk;
  }
  if (!dry_run) {
    console.out << "the calls of " << Printable(instance)
                << " are being recovered: see 'sipheal status' and the log\n";
    return kExitOk;
  }
  for (const Json& plan : (*result)["plans"]) {
    const Json& session = plan["session"];
    console.out << TextOf(plan, "action") << "  " << Printable(TextOf(session, "endpoint")) << "  "
                << TextOf(plan, "verdict") << "  " << Printable(TextOf(session, "call_id")) << "\n";
    if (plan.contains("reason")) console.out << "    " << Printable(TextOf(plan, "reason")) << "\n";
    for (const Json& reason : plan["reasons"]) {
      console.out << "    " << Printable(reason.get<std::string>()) << "\n";
    }
    for (const auto& [name, value] : plan["variables"].items()) {
      console.out << "    " << Printable(name) << "=" << Printable(value.get<std::string>())
                  << "\n";
    }
  }
  console.out << (*result)["plans"].size() << " sessions; nothing was sent\n";
  return kExitOk;
}

int PauseCommand(const DaemonPlace& place, bool pause, const Console& console) {
  const absl::StatusOr<Json> result =
      AskDaemon(place.socket, {{"command", pause ? "pause" : "resume"}});
  if (!result.ok()) return Fail(console, result.status());
  if (console.format == OutputFormat::kJson) {
    console.out << Dump(*result) << "\n";
  } else {
    console.out << (pause ? "paused: crashes are noted; 'sipheal resume' begins their recovery\n"
                          : "resumed\n");
  }
  return kExitOk;
}

int KillSwitchCommand(const DaemonPlace& place, bool on, const std::string& reason,
                      const Console& console) {
  const absl::StatusOr<Json> result =
      AskDaemon(place.socket, {{"command", "kill_switch"}, {"on", on}, {"reason", reason}});
  if (!result.ok()) return Fail(console, result.status());
  if (console.format == OutputFormat::kJson) {
    console.out << Dump(*result) << "\n";
  } else {
    console.out << (on ? "thrown: no re-INVITE and no BYE is sent until 'sipheal kill-switch off'\n"
                       : "cleared\n");
  }
  return kExitOk;
}

int PlannedStopCommand(const DaemonPlace& place, const std::string& instance,
                       std::chrono::seconds duration, const Console& console) {
  const absl::StatusOr<Json> result = AskDaemon(
      place.socket,
      {{"command", "planned_stop"}, {"instance", instance}, {"seconds", duration.count()}});
  if (!result.ok()) return Fail(console, result.status());
  if (console.format == OutputFormat::kJson) {
    console.out << Dump(*result) << "\n";
  } else {
    console.out << "a stop of " << Printable(instance) << " is no crash for the next "
                << AgeText(duration) << "\n";
  }
  return kExitOk;
}

int ReloadCommand(const DaemonPlace& place, const Console& console) {
  const absl::StatusOr<Json> result = AskDaemon(place.socket, {{"command", "reload"}});
  if (!result.ok()) return Fail(console, result.status());
  console.out << (console.format == OutputFormat::kJson ? "{}\n" : "reloaded\n");
  return kExitOk;
}

}  // namespace sipheal::inline v0_1::cli
