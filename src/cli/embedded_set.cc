// SPDX-License-Identifier: Apache-2.0
#include "cli/embedded_set.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "cli/adapter_setup.h"
#include "cli/grpc_front.h"
#include "cli/healer_setup.h"
#include "cli/open_store.h"
#include "sipheal/capture_chain.h"

#if SIPHEAL_CLI_HAS_ARI
#include "ari/connections.h"
#include "sipheal/adapters/ari.h"
#endif
#if SIPHEAL_CLI_HAS_HEP
#include "sipheal/adapters/hep.h"
#endif
#if SIPHEAL_CLI_HAS_HOMER
#include "sipheal/adapters/homer.h"
#endif

namespace sipheal::inline v0_1::cli {
namespace {

using Json = nlohmann::ordered_json;

// The status with the place in the configuration that it is about.
[[maybe_unused]] absl::Status At(const LoadedConfig& loaded, const std::string& path,
                                 const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrFormat("%s: %s", loaded.Where(path), std::string(status.message())));
}

#if SIPHEAL_CLI_HAS_ARI && SIPHEAL_CLI_HAS_HEP

[[maybe_unused]] absl::Status Lacks(const char* component, const char* option, const char* what) {
  return absl::UnimplementedError(absl::StrFormat(
      "this build of sipheal has no component '%s', which %s needs: build it with %s=ON", component,
      what, option));
}

bool HasHomer(const Config& config) {
  return !config.homer.url.empty() || !config.homer.postgres.empty();
}

absl::StatusOr<std::shared_ptr<SipCapture>> OpenHomer(
    [[maybe_unused]] const LoadedConfig& loaded, [[maybe_unused]] std::shared_ptr<LogSink> log) {
#if SIPHEAL_CLI_HAS_HOMER
  const HomerConfig& config = loaded.config.homer;
  absl::StatusOr<std::shared_ptr<SipCapture>> homer;
  if (config.url.empty()) {
    HomerSqlOptions options = ToHomerSqlOptions(loaded.config);
    options.log = std::move(log);
    homer = MakeHomerSqlCapture(std::move(options));
  } else {
    HomerOptions options = ToHomerOptions(loaded.config);
    options.log = std::move(log);
    homer = MakeHomerCapture(std::move(options));
  }
  if (!homer.ok()) return At(loaded, "homer", homer.status());
  return homer;
#else
  return Lacks("homer", "SIPHEAL_WITH_HOMER", "the section 'homer'");
#endif
}

// HEP, and HOMER behind it when there is one.
absl::StatusOr<std::shared_ptr<SipCapture>> ChainCaptures(const LoadedConfig& loaded,
                                                          std::shared_ptr<SipCapture> hep,
                                                          const std::shared_ptr<LogSink>& log) {
  if (!HasHomer(loaded.config)) return hep;
  const CaptureConfig& config = loaded.config.capture;
  CaptureChainOptions options;
  options.members.push_back({.name = "hep", .capture = std::move(hep), .timeout = config.timeout});
  ABSL_ASSIGN_OR_RETURN(std::shared_ptr<SipCapture> homer, OpenHomer(loaded, log));
  options.members.push_back(
      {.name = "homer", .capture = std::move(homer), .timeout = config.timeout});
  options.hedge = config.hedge;
  options.enough = config.wait_for_all ? CaptureChainOptions::Enough::kEveryone
                                       : CaptureChainOptions::Enough::kUsable;
  // As many calls at a time as the engine makes, and a thread for each of the two.
  options.executor = MakeThreadPool(options.members.size() *
                                    static_cast<std::size_t>(loaded.config.recovery.threads));
  options.log = log;
  absl::StatusOr<std::shared_ptr<SipCapture>> chain = MakeCaptureChain(std::move(options));
  if (!chain.ok()) return At(loaded, "capture", chain.status());
  return chain;
}

class RealSet final : public EmbeddedSet {
 public:
  static absl::StatusOr<std::unique_ptr<EmbeddedSet>> Make(
      const LoadedConfig& loaded, std::shared_ptr<LogSink> log,
      std::shared_ptr<TelemetrySink> telemetry) {
    auto set = std::make_unique<RealSet>();
    set->loaded_ = loaded;
    set->name_ = ControllerName(loaded.config);
    set->telemetry_ = telemetry;
    set->log_ = log;
    ABSL_ASSIGN_OR_RETURN(set->store_, OpenStore(loaded, log));

    ABSL_ASSIGN_OR_RETURN(set->kill_switch_, OpenKillSwitch(loaded, set->name_));

    ABSL_ASSIGN_OR_RETURN(set->grpc_, GrpcFront::Make(loaded, log));

    HepOptions hep = ToHepOptions(loaded.config);
    hep.store = set->store_;
    hep.log = log;
    hep.telemetry = telemetry;
    absl::StatusOr<std::shared_ptr<HepReceiver>> receiver = MakeHepReceiver(std::move(hep));
    if (!receiver.ok()) return At(loaded, "hep", receiver.status());
    set->receiver_ = *std::move(receiver);
    ABSL_ASSIGN_OR_RETURN(set->capture_, ChainCaptures(loaded, set->receiver_, log));

    AriOptions ari = ToAriOptions(loaded.config);
    ari.log = log;
    ari.telemetry = telemetry;
    absl::StatusOr<std::shared_ptr<AriConnections>> connections = ConnectAri(std::move(ari));
    if (!connections.ok()) return At(loaded, "instances", connections.status());
    set->connections_ = *std::move(connections);

    ABSL_ASSIGN_OR_RETURN(set->driver_, MakeAriDriver(set->connections_));
    AriCrashDetectorOptions detector;
    detector.silence = loaded.config.detector.silence;
    detector.probe_interval = loaded.config.detector.probe_interval;
    detector.last_heard = [receiver = std::weak_ptr(set->receiver_)](
                              const std::string& instance) -> std::optional<MonotonicTime> {
      const std::shared_ptr<HepReceiver> alive = receiver.lock();
      return alive == nullptr ? std::nullopt : alive->LastHeard(instance);
    };
    absl::StatusOr<std::shared_ptr<CrashDetector>> made =
        MakeAriCrashDetector(set->connections_, std::move(detector));
    if (!made.ok()) return At(loaded, "detector", made.status());
    std::shared_ptr<CrashDetector> sees = *std::move(made);
    if (set->grpc_ != nullptr) sees = set->grpc_->Join(std::move(sees));
    ABSL_ASSIGN_OR_RETURN(set->detector_, ShareCrashes(loaded, set->name_, std::move(sees), log));
    ABSL_ASSIGN_OR_RETURN(set->tracker_, MakeAriTracker(set->connections_, set->store_, {}));
    AriFlowResumerOptions resumer;
    resumer.continue_in_dialplan = loaded.config.recovery.continue_in_dialplan;
    resumer.playback_overlap = loaded.config.recovery.playback_overlap;
    if (set->grpc_ != nullptr) set->resumer_ = set->grpc_->resumer();
    if (set->resumer_ == nullptr) {
      ABSL_ASSIGN_OR_RETURN(set->resumer_, MakeAriFlowResumer(set->connections_, resumer));
    }
    return set;
  }

  ~RealSet() override { Stop(); }

  std::string controller_name() const override { return name_; }

  HealerParts parts() override {
    HealerParts parts;
    parts.detector = detector_;
    parts.store = store_;
    parts.kill_switch = kill_switch_;
    parts.capture = capture_;
    parts.driver = driver_;
    parts.resumer = resumer_;
    parts.log = log_;
    parts.telemetry = telemetry_;
    parts.flush_sessions = [tracker = tracker_](const CallContext& ctx) {
      return tracker->Flush(ctx);
    };
    parts.resync_sessions = [tracker = tracker_](const Incarnation& incarnation) {
      tracker->Resync(incarnation.instance);
    };
    return parts;
  }

  absl::Status StartCapture() override { return At(loaded_, "hep", receiver_->Start()); }
  absl::Status StartTracking() override { return tracker_->Start(); }

  absl::Status StartServing(Healer& healer) override {
    return grpc_ == nullptr ? absl::OkStatus() : grpc_->Serve(healer, store_);
  }
  void StopServing() override {
    if (grpc_ != nullptr) grpc_->Stop();
  }

  void Stop() override {
    StopServing();
    if (tracker_ != nullptr) tracker_->Stop();
    if (receiver_ != nullptr) receiver_->Stop();
  }

  absl::Status AddInstance(const InstanceConfig& instance) override {
    ABSL_RETURN_IF_ERROR(receiver_->AddInstance(ToHepInstance(instance)));
    absl::Status added = AddAriInstance(*connections_, ToAriInstance(instance));
    if (added.ok() && grpc_ != nullptr) {
      added = grpc_->AddInstance(instance.name);
      if (!added.ok()) RemoveAriInstance(*connections_, instance.name).IgnoreError();
    }
    if (!added.ok()) receiver_->RemoveInstance(instance.name).IgnoreError();
    return added;
  }

  absl::Status RemoveInstance(const std::string& name) override {
    absl::Status status = RemoveAriInstance(*connections_, name);
    status.Update(receiver_->RemoveInstance(name));
    if (grpc_ != nullptr) status.Update(grpc_->RemoveInstance(name));
    return status;
  }

  Json Status() override {
    const HepStats stats = receiver_->Stats();
    Json hep;
    if (receiver_->udp_address().port != 0) hep["udp"] = receiver_->udp_address().ToString();
    if (receiver_->tcp_address().port != 0) hep["tcp"] = receiver_->tcp_address().ToString();
    hep["packets"] = stats.packets;
    hep["kernel_dropped"] = stats.kernel_dropped;
    hep["unknown_agent"] = stats.unknown_agent;
    hep["wrong_source"] = stats.wrong_source;
    hep["wrong_key"] = stats.wrong_key;
    std::uint64_t refused = 0;
    for (const std::uint64_t count : stats.refused) refused += count;
    hep["malformed"] = refused;
    hep["store_backlog"] = stats.store_backlog;
    hep["store_errors"] = stats.store_errors;

    const MonotonicTime now = SystemClock().Monotonic();
    const auto age = [&](const std::optional<MonotonicTime>& heard) {
      return std::chrono::duration_cast<std::chrono::milliseconds>(now - *heard).count();
    };
    Json instances = Json::object();
    for (const std::string& name : connections_->Instances()) {
      Json one;
      const std::optional<Incarnation> connected = connections_->Connected(name);
      one["connected"] = connected.has_value();
      if (connected) one["life"] = connected->life;
      if (const auto heard = connections_->LastHeard(name)) one["ari_heard_ms_ago"] = age(heard);
      if (const auto heard = receiver_->LastHeard(name)) one["hep_heard_ms_ago"] = age(heard);
      instances[name] = std::move(one);
    }
    for (const HepInstanceStats& instance : stats.instances) {
      Json& one = instances[instance.instance];
      one["hep_messages"] = instance.messages;
      one["calls_tracked"] = instance.calls;
      if (instance.clock_offset) one["hep_clock_offset_us"] = instance.clock_offset->count();
    }
    Json out;
    out["hep"] = std::move(hep);
    out["instances"] = std::move(instances);
    if (grpc_ != nullptr && !grpc_->address().empty()) out["grpc"]["listen"] = grpc_->address();
    return out;
  }

 private:
  LoadedConfig loaded_;
  std::string name_;
  std::shared_ptr<LogSink> log_;
  std::shared_ptr<TelemetrySink> telemetry_;
  std::shared_ptr<SessionStore> store_;
  std::shared_ptr<KillSwitch> kill_switch_;
  std::shared_ptr<HepReceiver> receiver_;
  std::shared_ptr<SipCapture> capture_;  // the receiver, or a chain with it
  std::shared_ptr<AriConnections> connections_;
  std::shared_ptr<MediaServerDriver> driver_;
  std::shared_ptr<CrashDetector> detector_;
  std::shared_ptr<AriTracker> tracker_;
  std::shared_ptr<FlowResumer> resumer_;
  std::unique_ptr<GrpcFront> grpc_;
};

#else

[[maybe_unused]] absl::Status Lacks(const char* component, const char* option, const char* what) {
  return absl::UnimplementedError(absl::StrFormat(
      "this build of sipheal has no component '%s', which %s needs: build it with %s=ON", component,
      what, option));
}

#endif

}  // namespace

absl::StatusOr<std::unique_ptr<EmbeddedSet>> ComposeEmbeddedSet(
    [[maybe_unused]] const LoadedConfig& loaded, [[maybe_unused]] std::shared_ptr<LogSink> log,
    [[maybe_unused]] std::shared_ptr<TelemetrySink> telemetry) {
#if !SIPHEAL_CLI_HAS_ARI
  return Lacks("ari", "SIPHEAL_WITH_ARI", "'run'");
#elif !SIPHEAL_CLI_HAS_HEP
  return Lacks("hep", "SIPHEAL_WITH_HEP", "'run'");
#else
  return RealSet::Make(loaded, std::move(log), std::move(telemetry));
#endif
}

std::vector<std::string> BuiltComponents() {
  std::vector<std::string> components = {"core"};
#if SIPHEAL_CLI_HAS_PCAP
  components.emplace_back("pcap");
#endif
#if SIPHEAL_CLI_HAS_HEP
  components.emplace_back("hep");
#endif
#if SIPHEAL_CLI_HAS_HOMER
  components.emplace_back("homer");
#endif
#if SIPHEAL_CLI_HAS_SQLITE
  components.emplace_back("sqlite");
#endif
#if SIPHEAL_CLI_HAS_POSTGRES
  components.emplace_back("postgres");
#endif
#if SIPHEAL_CLI_HAS_ARI
  components.emplace_back("ari");
#endif
#if SIPHEAL_CLI_HAS_GRPC
  components.emplace_back("grpc");
#endif
  return components;
}

}  // namespace sipheal::inline v0_1::cli
