// SPDX-License-Identifier: Apache-2.0
#include "cli/doctor.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "cli/exit_code.h"
#include "cli/json_views.h"
#include "cli/log_writer.h"
#include "cli/value_rules.h"

namespace sipheal::inline v0_1::cli {
namespace {

// Beyond this, the order of two agents' messages and the deadlines of dialogs go wrong.
constexpr std::chrono::milliseconds kMostSkew(500);
// Silence of HEP that is longer than this, right after an OPTIONS was sent, is no arriving HEP.
constexpr std::chrono::seconds kHepRecent(5);

Finding Ok(std::string subject, std::string check, std::string seen) {
  return {FindingLevel::kOk, std::move(subject), std::move(check), std::move(seen), ""};
}

Finding Bad(std::string subject, std::string check, std::string seen, std::string fix) {
  return {FindingLevel::kFail, std::move(subject), std::move(check), std::move(seen),
          std::move(fix)};
}

std::string Names(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 5;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kShown; ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  if (names.size() > kShown) {
    text += absl::StrFormat(" and %d more", static_cast<int>(names.size() - kShown));
  }
  return text;
}

}  // namespace

Finding JudgeAri(const InstanceConfig& instance, const absl::Status& reached, int http_status,
                 const std::string& server_version) {
  const std::string& url = instance.ari.url;
  if (!reached.ok()) {
    return Bad(
        instance.name, "ari",
        absl::StrFormat("ARI at %s does not answer: %s", url, std::string(reached.message())),
        "is the server up, ari.url right, and 'enabled=yes' in http.conf and ari.conf? On "
        "the server: asterisk -rx 'http show status'");
  }
  if (http_status == 401) {
    return Bad(instance.name, "ari",
               absl::StrFormat("ARI at %s refuses user '%s' (401)", url, instance.ari.user),
               absl::StrFormat(
                   "make the password in %s and that of [%s] in ari.conf the same, "
                   "then on the server: asterisk -rx 'module reload res_ari.so'",
                   instance.ari.password_file.empty() ? "ari.password" : instance.ari.password_file,
                   instance.ari.user));
  }
  if (http_status == 404) {
    return Bad(instance.name, "ari", absl::StrFormat("%s answers, but has no ARI there (404)", url),
               "set ari.url with the 'prefix' of http.conf, if it has one, and see that "
               "res_ari.so is loaded and ari.conf has 'enabled=yes'");
  }
  if (http_status != 200) {
    return Bad(instance.name, "ari",
               absl::StrFormat("ARI at %s answers with status %d", url, http_status),
               "see the server's log");
  }
  return Ok(instance.name, "ari",
            absl::StrFormat("ARI answers at %s (Asterisk %s)", url,
                            server_version.empty() ? "?" : server_version));
}

Finding JudgeRights(const InstanceConfig& instance, int http_status) {
  if (http_status == 404) {
    return Ok(instance.name, "rights",
              absl::StrFormat("ARI user '%s' may create and end channels", instance.ari.user));
  }
  return Bad(instance.name, "rights",
             absl::StrFormat("ARI user '%s' may not change channels (status %d)", instance.ari.user,
                             http_status),
             absl::StrFormat("in ari.conf set 'read_only = no' for [%s], then on the server: "
                             "asterisk -rx 'module reload res_ari.so'",
                             instance.ari.user));
}

Finding JudgeEvents(const InstanceConfig& instance, bool opened) {
  if (opened) return Ok(instance.name, "events", "its event socket opens");
  return Bad(instance.name, "events",
             absl::StrFormat("the event socket of %s does not open, although ARI answers",
                             instance.ari.url),
             "on the server load res_http_websocket.so and res_ari_events.so, and let the proxy "
             "before it, if there is one, pass WebSocket upgrades");
}

Finding JudgeModule(const InstanceConfig& instance, const InstanceStatus& status) {
  if (status.can_recover) {
    return Ok(instance.name, "module",
              absl::StrFormat("res_pjsip_recovery is loaded; %d channels", status.channels));
  }
  return Bad(
      instance.name, "module",
      status.cannot_because.empty() ? "the server cannot take over calls" : status.cannot_because,
      "build it with patches/asterisk/build-module.sh, copy it to the modules folder, then "
      "on the server: asterisk -rx 'module load res_pjsip_recovery.so'");
}

Finding JudgeHep(const InstanceConfig& instance, const Config& config,
                 std::optional<std::chrono::milliseconds> heard_ago, bool options_answered) {
  if (heard_ago && *heard_ago <= kHepRecent) {
    return Ok(instance.name, "hep",
              absl::StrFormat("HEP arrives (last packet %s ago)", DurationText(*heard_ago)));
  }
  std::vector<std::string> agents = instance.hep_agents;
  if (agents.empty()) agents.push_back(instance.name);
  const std::string where = config.hep.udp.empty() ? config.hep.tcp : config.hep.udp;
  const std::string fix = absl::StrFormat(
      "in its hep.conf: enabled=yes, capture_address= the address of this host and the port of %s, "
      "capture_id= or capture_name= one of [%s]%s; load res_hep.so and res_hep_pjsip.so; let UDP "
      "through the firewall",
      where, Names(agents),
      instance.hep_sources.empty()
          ? ""
          : ", and check hep_sources (" + Names(instance.hep_sources) + ")");
  if (heard_ago) {
    return Bad(
        instance.name, "hep",
        absl::StrFormat("no HEP for %s, although the server was sent an OPTIONS",
                        AgeText(std::chrono::duration_cast<std::chrono::seconds>(*heard_ago))),
        fix);
  }
  return Bad(instance.name, "hep",
             options_answered
                 ? "no HEP arrives from it, although it answered an OPTIONS just now"
                 : "no HEP arrives from it (and it answered no OPTIONS at its 'sip' addresses)",
             fix);
}

Finding JudgeClock(const InstanceConfig& instance, std::chrono::microseconds offset) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(offset).count();
  if (std::abs(ms) <= kMostSkew.count()) {
    return Ok(instance.name, "clock",
              absl::StrFormat("its clock differs by %d ms", static_cast<int>(std::abs(ms))));
  }
  return Bad(instance.name, "clock",
             absl::StrFormat("its clock is %d ms %s of this host's", std::abs(ms),
                             ms > 0 ? "ahead" : "behind"),
             "let both follow one time server (chronyc tracking on each)");
}

std::vector<Finding> JudgeEndpoints(const std::map<std::string, std::set<std::string>>& endpoints) {
  std::set<std::string> all;
  for (const auto& [instance, names] : endpoints) all.insert(names.begin(), names.end());
  std::vector<Finding> findings;
  for (const auto& [instance, names] : endpoints) {
    std::vector<std::string> missing;
    std::set_difference(all.begin(), all.end(), names.begin(), names.end(),
                        std::back_inserter(missing));
    if (missing.empty()) continue;
    findings.push_back(Bad(instance, "endpoints",
                           absl::StrFormat("%d PJSIP endpoints that others have are missing: %s",
                                           static_cast<int>(missing.size()), Names(missing)),
                           "give all servers the same endpoints: a call is recovered only where "
                           "its endpoint exists"));
  }
  if (findings.empty() && endpoints.size() > 1) {
    findings.push_back(
        Ok("all", "endpoints",
           absl::StrFormat("the same %d PJSIP endpoints on all %d servers",
                           static_cast<int>(all.size()), static_cast<int>(endpoints.size()))));
  }
  return findings;
}

std::vector<Finding> JudgeConfig(const Config& config) {
  std::vector<Finding> findings;
  const auto targets = std::count_if(config.instances.begin(), config.instances.end(),
                                     [](const InstanceConfig& one) { return one.target; });
  if (targets == 0) {
    findings.push_back(Bad("config", "targets", "no instance may take over calls",
                           "set 'target: true' for at least one"));
  } else if (config.instances.size() == 1) {
    findings.push_back({FindingLevel::kNote, "config", "targets",
                        "there is one instance only: its calls wait until it is started again",
                        "add a second one that takes them over"});
  }
  if (config.hep.auth_key.empty() && config.hep.auth_key_file.empty()) {
    for (const std::string& listen : {config.hep.udp, config.hep.tcp}) {
      const auto endpoint = ParseListen(listen);
      if (!endpoint || endpoint->ip.IsLoopback()) continue;
      for (const InstanceConfig& instance : config.instances) {
        if (!instance.hep_sources.empty()) continue;
        findings.push_back(
            {FindingLevel::kNote, instance.name, "hep_sources",
             absl::StrFormat("whoever reaches %s can send HEP in its name", listen),
             "set hep_sources to its address, or hep.auth_key_file (hep.conf: capture_password)"});
      }
    }
  }
  if (!config.grpc.listen.empty() && config.grpc.any_client) {
    findings.push_back(
        {FindingLevel::kNote, "grpc", "any_client",
         absl::StrFormat("whoever reaches %s can have calls moved%s", config.grpc.listen,
                         config.grpc.crash_reports ? ", and can report servers dead" : ""),
         "set grpc.client_ca_file, and leave any_client out"});
  }
  return findings;
}

int PrintFindings(const std::vector<Finding>& findings, const Console& console) {
  const bool failed = std::any_of(findings.begin(), findings.end(), [](const Finding& finding) {
    return finding.level == FindingLevel::kFail;
  });
  console.Progress("");
  if (console.format == OutputFormat::kJson) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const Finding& finding : findings) {
      nlohmann::ordered_json item;
      item["result"] = finding.level == FindingLevel::kOk     ? "ok"
                       : finding.level == FindingLevel::kNote ? "note"
                                                              : "fail";
      item["subject"] = finding.subject;
      item["check"] = finding.check;
      item["seen"] = finding.seen;
      if (!finding.fix.empty()) item["fix"] = finding.fix;
      list.push_back(std::move(item));
    }
    nlohmann::ordered_json out;
    out["ok"] = !failed;
    out["findings"] = std::move(list);
    console.out << Dump(out) << "\n";
    return failed ? kExitFailed : kExitOk;
  }
  std::size_t width = 0;
  for (const Finding& finding : findings) width = std::max(width, finding.subject.size());
  for (const Finding& finding : findings) {
    const std::string mark = finding.level == FindingLevel::kOk     ? console.Green("OK  ")
                             : finding.level == FindingLevel::kNote ? console.Dim("NOTE")
                                                                    : console.Red("FAIL");
    console.out << mark << "  " << finding.subject
                << std::string(width - finding.subject.size(), ' ') << "  "
                << Printable(finding.seen) << "\n";
    if (!finding.fix.empty()) {
      console.out << std::string(width + 8, ' ') << "-> " << Printable(finding.fix) << "\n";
    }
  }
  return failed ? kExitFailed : kExitOk;
}

}  // namespace sipheal::inline v0_1::cli
