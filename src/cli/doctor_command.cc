// SPDX-License-Identifier: Apache-2.0
#include "cli/doctor_command.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "ari/connections.h"
#include "cli/adapter_setup.h"
#include "cli/control_client.h"
#include "cli/daemon_commands.h"
#include "cli/doctor.h"
#include "cli/embedded_set.h"
#include "cli/open_store.h"
#include "cli/options_probe.h"
#include "cli/value_rules.h"

namespace sipheal::inline v0_1::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::chrono::seconds kAriTimeout(3);
constexpr std::chrono::milliseconds kOptionsTimeout(700);
constexpr std::chrono::milliseconds kHepWait(2'000);

// Runs the tasks on at most 8 threads, and waits for all.
void RunAll(std::vector<std::function<void()>> tasks) {
  std::mutex mutex;
  std::size_t next = 0;
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < std::min<std::size_t>(8, tasks.size()); ++i) {
    threads.emplace_back([&] {
      while (true) {
        std::size_t mine = 0;
        {
          const std::lock_guard lock(mutex);
          if (next == tasks.size()) return;
          mine = next++;
        }
        tasks[mine]();
      }
    });
  }
}

// A file that is not there yet: making it here could give it to the wrong user.
Finding MissingFile(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const bool writable = access(folder.empty() ? "." : folder.c_str(), W_OK | X_OK) == 0;
  return {writable ? FindingLevel::kOk : FindingLevel::kFail, "store", "store",
          absl::StrFormat("%s is not there yet, and its folder %s", path,
                          writable ? "can be written" : "is missing or cannot be written"),
          writable ? "" : "make the folder, owned by the user that runs sipheal"};
}

void CheckStore(const LoadedConfig& loaded, std::vector<Finding>& findings) {
  const StoreConfig& config = loaded.config.store;
  const absl::StatusOr<std::shared_ptr<SessionStore>> store =
      OpenStore(loaded, nullptr, StoreMaking::kLookOnly);
  absl::Status status = store.status();
  if (absl::IsNotFound(status)) {
    findings.push_back(config.postgres.empty()
                           ? MissingFile(config.sqlite)
                           : Finding{FindingLevel::kOk, "store", "store",
                                     StoreName(config) + " is not there yet: run makes it", ""});
    return;
  }
  if (status.ok()) {
    // A write that changes nothing: it forgets a dialog that nobody has.
    DialogRecord record;
    record.instance = "sipheal-doctor";
    record.call_id = "sipheal-doctor";
    record.removed = true;
    status = (*store)->SaveDialogs(CallContext::WithTimeout(kAriTimeout), {record});
  }
  if (status.ok()) {
    findings.push_back({FindingLevel::kOk, "store", "store",
                        absl::StrFormat("%s can be written, its schema fits", StoreName(config)),
                        ""});
  } else {
    findings.push_back({FindingLevel::kFail, "store", "store", std::string(status.message()),
                        "see what the sentence says; the user that runs sipheal must be able to "
                        "write there"});
  }
}

// HOMER is asked only when a call needs it: here it is seen beforehand whether it would answer.
void CheckCaptures([[maybe_unused]] const LoadedConfig& loaded,
                   [[maybe_unused]] std::vector<Finding>& findings) {
#if SIPHEAL_CLI_HAS_HOMER
  const HomerConfig& config = loaded.config.homer;
  if (config.url.empty() && config.postgres.empty()) return;
  const CallContext ctx = CallContext::WithTimeout(kAriTimeout);
  const bool tables = config.url.empty();
  const absl::Status status = tables ? CheckHomerSql(ctx, ToHomerSqlOptions(loaded.config))
                                     : CheckHomer(ctx, ToHomerOptions(loaded.config));
  if (status.ok()) {
    findings.push_back(
        {FindingLevel::kOk, "homer", "homer",
         tables ? std::string("HOMER's tables can be read")
                : absl::StrFormat("HOMER at %s answers and can read its data", config.url),
         ""});
    return;
  }
  findings.push_back(
      {FindingLevel::kFail, "homer", "homer",
       loaded.Where("homer") + ": " + std::string(status.message()),
       "see what the sentence says; without HOMER, calls that HEP has not seen whole "
       "wait for it until their deadline"});
#endif
}

// What is known of one instance's HEP.
struct HepSeen {
  std::optional<std::chrono::milliseconds> heard_ago;
  std::optional<std::chrono::microseconds> clock_offset;
};

// Where HEP is looked at: at the running daemon, or at a receiver of our own.
class HepWatch {
 public:
  virtual ~HepWatch() = default;
  virtual std::map<std::string, HepSeen> Look() = 0;
};

class DaemonHepWatch final : public HepWatch {
 public:
  explicit DaemonHepWatch(std::string socket) : socket_(std::move(socket)) {}

  std::map<std::string, HepSeen> Look() override {
    std::map<std::string, HepSeen> seen;
    const absl::StatusOr<Json> status = AskDaemon(socket_, {{"command", "status"}});
    if (!status.ok() || !status->contains("instances")) return seen;
    for (const auto& [name, one] : (*status)["instances"].items()) {
      HepSeen& entry = seen[name];
      if (one.contains("hep_heard_ms_ago")) {
        entry.heard_ago = std::chrono::milliseconds(one["hep_heard_ms_ago"].get<std::int64_t>());
      }
      if (one.contains("hep_clock_offset_us")) {
        entry.clock_offset =
            std::chrono::microseconds(one["hep_clock_offset_us"].get<std::int64_t>());
      }
    }
    return seen;
  }

 private:
  const std::string socket_;
};

class OwnHepWatch final : public HepWatch {
 public:
  explicit OwnHepWatch(std::shared_ptr<HepReceiver> receiver) : receiver_(std::move(receiver)) {}
  ~OwnHepWatch() override { receiver_->Stop(); }

  std::map<std::string, HepSeen> Look() override {
    std::map<std::string, HepSeen> seen;
    const MonotonicTime now = SystemClock().Monotonic();
    for (const HepInstanceStats& stats : receiver_->Stats().instances) {
      HepSeen& entry = seen[stats.instance];
      if (const auto heard = receiver_->LastHeard(stats.instance)) {
        entry.heard_ago = std::chrono::duration_cast<std::chrono::milliseconds>(now - *heard);
      }
      entry.clock_offset = stats.clock_offset;
    }
    return seen;
  }

 private:
  const std::shared_ptr<HepReceiver> receiver_;
};

std::unique_ptr<HepWatch> MakeHepWatch(const LoadedConfig& loaded, std::vector<Finding>& findings) {
  const std::string& socket = loaded.config.control.socket;
  const absl::StatusOr<Json> daemon = AskDaemon(socket, {{"command", "status"}});
  if (daemon.ok()) {
    findings.push_back({FindingLevel::kOk, "daemon", "daemon",
                        absl::StrFormat("sipheal runs (process %d)", daemon->value("pid", 0)), ""});
    return std::make_unique<DaemonHepWatch>(socket);
  }
  if (!IsNoDaemon(daemon.status())) {
    findings.push_back({FindingLevel::kFail, "daemon", "daemon",
                        std::string(daemon.status().message()),
                        "run doctor as the user that runs sipheal"});
    return nullptr;
  }
  findings.push_back({FindingLevel::kNote, "daemon", "daemon",
                      "no sipheal runs; doctor listens for HEP itself", ""});
  absl::StatusOr<std::shared_ptr<HepReceiver>> receiver =
      MakeHepReceiver(ToHepOptions(loaded.config));
  absl::Status status = receiver.status();
  if (status.ok()) status = (*receiver)->Start();
  if (status.ok()) return std::make_unique<OwnHepWatch>(*std::move(receiver));
  findings.push_back({FindingLevel::kFail, "hep", "listen",
                      loaded.Where("hep") + ": " + std::string(status.message()),
                      "end the program that has the port (ss -lunp), or choose another"});
  return nullptr;
}

void CheckHep(const LoadedConfig& loaded, const Console& console, std::vector<Finding>& findings) {
  const Config& config = loaded.config;
  const std::unique_ptr<HepWatch> watch = MakeHepWatch(loaded, findings);
  if (watch == nullptr) return;
  console.Progress("waiting for HEP ...");
  std::vector<char> answered(config.instances.size(), 0);
  std::vector<std::function<void()>> probes;
  for (std::size_t i = 0; i < config.instances.size(); ++i) {
    probes.emplace_back([&, i] {
      for (const std::string& text : config.instances[i].sip) {
        const auto address = ParseSipAddress(text);
        if (address && ProbeWithOptions(*address, kOptionsTimeout)) answered[i] = 1;
      }
    });
  }
  RunAll(std::move(probes));
  // HEP is sent by a thread of its own at the media server: it may arrive after the answer.
  const auto deadline = std::chrono::steady_clock::now() + kHepWait;
  std::map<std::string, HepSeen> seen;
  while (true) {
    seen = watch->Look();
    const bool all =
        std::all_of(config.instances.begin(), config.instances.end(), [&](const auto& instance) {
          const auto found = seen.find(instance.name);
          return found != seen.end() && found->second.heard_ago &&
                 *found->second.heard_ago < kHepWait;
        });
    if (all || std::chrono::steady_clock::now() >= deadline) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  for (std::size_t i = 0; i < config.instances.size(); ++i) {
    const InstanceConfig& instance = config.instances[i];
    const HepSeen& hep = seen[instance.name];
    findings.push_back(JudgeHep(instance, config, hep.heard_ago, answered[i] != 0));
    if (hep.clock_offset) findings.push_back(JudgeClock(instance, *hep.clock_offset));
  }
}

// What one server said.
struct AriSeen {
  std::vector<Finding> findings;
  std::optional<std::set<std::string>> endpoints;
};

// Whether the event socket opens within kAriTimeout of the first look.
bool WaitForEvents(const AriConnections& connections, const std::string& instance) {
  const auto deadline = std::chrono::steady_clock::now() + kAriTimeout;
  while (!connections.Connected(instance)) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

AriSeen LookAtServer(AriConnections& connections, MediaServerDriver& driver,
                     const InstanceConfig& instance) {
  AriSeen seen;
  const auto request = [&](const char* method, const char* path) {
    return connections.Request(CallContext::WithTimeout(kAriTimeout), instance.name, method, path,
                               "");
  };
  const auto info = request("GET", "/ari/asterisk/info");
  std::string version;
  if (info.ok()) {
    const auto json = nlohmann::json::parse(info->body, nullptr, false);
    if (json.is_object()) {
      const auto system = json.value("system", nlohmann::json::object());
      if (system.is_object() && system.contains("version") && system["version"].is_string()) {
        version = system["version"].get<std::string>();
      }
    }
  }
  seen.findings.push_back(
      JudgeAri(instance, info.status(), info.ok() ? info->http_status : 0, version));
  if (seen.findings.back().level == FindingLevel::kFail) return seen;

  const auto rights = request("DELETE", "/ari/channels/sipheal-doctor-no-such-channel");
  if (rights.ok()) seen.findings.push_back(JudgeRights(instance, rights->http_status));

  seen.findings.push_back(JudgeEvents(instance, WaitForEvents(connections, instance.name)));
  if (seen.findings.back().level == FindingLevel::kFail) return seen;

  const auto status = driver.Inspect(CallContext::WithTimeout(kAriTimeout),
                                     {.instance = instance.name, .endpoints = {}});
  if (status.ok()) {
    seen.findings.push_back(JudgeModule(instance, *status));
  } else {
    seen.findings.push_back({FindingLevel::kFail, instance.name, "module",
                             std::string(status.status().message()), "see the server's log"});
  }

  const auto endpoints = request("GET", "/ari/endpoints/PJSIP");
  const auto list =
      endpoints.ok() ? nlohmann::json::parse(endpoints->body, nullptr, false) : nlohmann::json();
  if (list.is_array()) {
    seen.endpoints.emplace();
    for (const auto& endpoint : list) {
      if (endpoint.is_object() && endpoint.contains("resource") &&
          endpoint["resource"].is_string()) {
        seen.endpoints->insert(endpoint["resource"].get<std::string>());
      }
    }
  }
  return seen;
}

void CheckServers(const LoadedConfig& loaded, const Console& console,
                  std::vector<Finding>& findings) {
  AriOptions options = ToAriOptions(loaded.config);
  // An application of its own: a second event socket of the daemon's would take that over.
  options.app = "sipheal-doctor";
  const absl::StatusOr<std::shared_ptr<AriConnections>> connections =
      ConnectAri(std::move(options));
  if (!connections.ok()) {
    findings.push_back({FindingLevel::kFail, "ari", "ari",
                        std::string(connections.status().message()), "mend the configuration"});
    return;
  }
  const absl::StatusOr<std::shared_ptr<MediaServerDriver>> driver = MakeAriDriver(*connections);
  if (!driver.ok()) {
    findings.push_back({FindingLevel::kFail, "ari", "ari", std::string(driver.status().message()),
                        "mend the configuration"});
    return;
  }
  console.Progress("asking the media servers ...");
  const std::vector<InstanceConfig>& instances = loaded.config.instances;
  std::vector<AriSeen> seen(instances.size());
  std::vector<std::function<void()>> tasks;
  for (std::size_t i = 0; i < instances.size(); ++i) {
    tasks.emplace_back([&, i] { seen[i] = LookAtServer(**connections, **driver, instances[i]); });
  }
  RunAll(std::move(tasks));
  std::map<std::string, std::set<std::string>> endpoints;
  for (std::size_t i = 0; i < instances.size(); ++i) {
    for (Finding& finding : seen[i].findings) findings.push_back(std::move(finding));
    if (seen[i].endpoints) endpoints[instances[i].name] = *std::move(seen[i].endpoints);
  }
  for (Finding& finding : JudgeEndpoints(endpoints)) findings.push_back(std::move(finding));
}

}  // namespace

int DoctorCommand(const LoadedConfig& loaded, const Console& console) {
  std::vector<Finding> findings = JudgeConfig(loaded.config);
  const absl::Status secrets = CheckSecretFiles(loaded);
  if (!secrets.ok()) {
    findings.push_back({FindingLevel::kFail, "config", "secrets", std::string(secrets.message()),
                        "without them no media server can be asked"});
    return PrintFindings(findings, console);
  }
  CheckStore(loaded, findings);
  CheckServers(loaded, console, findings);
  CheckCaptures(loaded, findings);
  CheckHep(loaded, console, findings);
  return PrintFindings(findings, console);
}

}  // namespace sipheal::inline v0_1::cli
