// SPDX-License-Identifier: Apache-2.0
// gRPC: sipheal and a host in any language, in two processes. Three services of the package
// sipheal.v1 (share/sipheal/proto):
//
//   FlowResumerService    the host serves it, MakeGrpcFlowResumer calls it
//   CrashDetectorService  MakeGrpcServer serves it for a MakeGrpcCrashDetector; agents call it
//   RecoveryService       MakeGrpcServer serves it; operators and hosts call it
//
// Trust: a peer may have calls taken from a server and moved, so it must prove who it is. Both
// sides of a connection show a certificate (mutual TLS), unless the options say otherwise; plain
// text is for loopback and Unix sockets only.
//
// Threads: gRPC has its own, as many as it finds useful, from the first Make function on. A server
// has up to four more for calls that may block, a crash detector one between Start and Stop.
//
// No header of gRPC or protobuf is included here. A host in C++ that speaks sipheal.v1 itself
// includes <sipheal/v1/...grpc.pb.h> and links sipheal::grpc_proto: a second copy, made from the
// .proto files, in the same process would end it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/base/call_context.h"
#include "sipheal/base/clock.h"
#include "sipheal/base/log_sink.h"
#include "sipheal/crash_detector.h"
#include "sipheal/export.h"
#include "sipheal/flow_resumer.h"
#include "sipheal/model/crash_event.h"
#include "sipheal/model/recovery.h"
#include "sipheal/session_store.h"

namespace sipheal::inline v0_1 {

// --- the host's flows
// ------------------------------------------------------------------------------

// PEM files. They are read when the connection or server is made; a renewed certificate needs a new
// one.
struct GrpcTlsFiles {
  // Who signed the peer's certificate. Empty at a client: the system's authorities.
  std::string ca_file;
  // Who we are: both, or at a client neither.
  std::string certificate_file;
  std::string key_file;
};

struct GrpcFlowResumerOptions {
  // Where the host serves FlowResumerService, in gRPC's form: "flows.example.org:7443",
  // "dns:///flows:7443", "unix:/run/flows.sock". Of several addresses the first that answers is
  // used.
  std::string target;
  GrpcTlsFiles tls;
  // Without TLS. Only for a loopback address or a Unix socket.
  bool plain_text = false;
  // The name in the host's certificate, when it is not that of `target`. Empty: that of `target`.
  std::string server_name;
  // Calls to the host at a time; as many again wait for their turn. More are ResourceExhausted at
  // once, which the Healer tries again: a host that hangs holds up no more threads than these. 1 to
  // 1,000.
  int max_in_flight = 32;
  // How long a call waits for a connection to come up before it is Unavailable. 0 ms to 60 s.
  std::chrono::milliseconds connect_patience{500};
  // Asked by Accept, besides the rule there. Must return at once; may be called from several
  // threads. None: every session may be resumed.
  std::function<absl::Status(const Session&)> accept;
  const Clock* clock = nullptr;  // none: the system's; for deadlines. Must outlive the resumer

  // InvalidArgument names the field, what it was and what it may be. Reads no file.
  SIPHEAL_EXPORT absl::Status Validate() const;
};

// Resumes by asking the host. Nothing is asked before Resume: Accept refuses, with InvalidArgument,
// a session whose names cannot be told over gRPC (they are no UTF-8), and what `options.accept`
// refuses; a host that does not want a session back marks it so before (Session::recover), or
// answers Resume with FAILED_PRECONDITION. Prepare gives no variables.
//
// What the host answers: OK and RESULT_RESUMED is OK. FAILED_PRECONDITION and INVALID_ARGUMENT end
// the session. All else, also an answer without a result, is Unavailable or ResourceExhausted,
// which the Healer tries again.
//
// Connects when it is first used. InvalidArgument when the options are wrong; NotFound when a file
// cannot be read.
SIPHEAL_EXPORT absl::StatusOr<std::shared_ptr<FlowResumer>> MakeGrpcFlowResumer(
    GrpcFlowResumerOptions options);

// --- deaths that others see
// ------------------------------------------------------------------------

enum class LifeState {
  kAlive,
  kGone,          // the process has ended
  kSilent,        // it may be alive, but says nothing
  kDeclaredDead,  // somebody said so
};

// What one reporter sees of one instance: a state, said again and again.
struct LifeReport {
  std::string reporter;     // 1 to 64 characters
  Incarnation incarnation;  // `life` may be empty with kGone: none lives now
  LifeState state = LifeState::kAlive;
  // Now, when empty; what is in the future counts as now. One that is earlier than what this
  // reporter said last is no sign of life.
  std::optional<WallTime> observed_at;
  std::optional<WallTime> last_alive;  // `observed_at`, when empty
  std::vector<std::string> evidence;   // at most 16 of 500 bytes
  // With kAlive: silence for this long counts as death. 200 ms to 1 h; zero: never.
  std::chrono::milliseconds valid_for{0};
};

// A CrashDetector that knows what it is told, in this process or over a GrpcServer. An incarnation
// is dead when
//   - a reporter says that it is gone or declared dead, and nobody saw it alive later;
//   - a reporter says that it is silent, and nobody else heard it for `silence`;
//   - another life of its instance was seen alive later, and it was not heard for `silence`;
//   - every promise (`valid_for`) made for it ran out, and nobody heard it for `silence`.
// Who promised a sign of life counts as hearing it until that time. What was told as silent is told
// once more when it is known to have ended. Time during which this process itself did not run does
// not count as silence, and setting a wall clock, here or there, makes none.
class SIPHEAL_EXPORT GrpcCrashDetector : public CrashDetector {
 public:
  // NotFound when there is no such instance, InvalidArgument when the report is wrong. Thread-safe,
  // also before Start.
  virtual absl::Status Report(const LifeReport& report) = 0;
  // AlreadyExists, NotFound; InvalidArgument when it is no name.
  virtual absl::Status AddInstance(const std::string& name) = 0;
  virtual absl::Status RemoveInstance(const std::string& name) = 0;

 protected:
  GrpcCrashDetector() = default;
};

struct GrpcCrashDetectorOptions {
  // The instances that may be reported on, by name. At most 10,000.
  std::vector<std::string> instances;
  // See GrpcCrashDetector. At least three times as long as a reporter takes from one report to the
  // next. 200 ms to 1 h.
  std::chrono::milliseconds silence{3'000};
  std::shared_ptr<LogSink> log;  // none: silent. Contradictions are told here
  const Clock* clock = nullptr;  // none: the system's. Must outlive the detector

  SIPHEAL_EXPORT absl::Status Validate() const;
};

SIPHEAL_EXPORT absl::StatusOr<std::shared_ptr<GrpcCrashDetector>> MakeGrpcCrashDetector(
    GrpcCrashDetectorOptions options);

// --- what a server offers
// --------------------------------------------------------------------------

// Where one recovery stands, or what became of it.
struct RecoveryReport {
  SessionKey session;
  std::string call_id;
  std::string endpoint;
  Incarnation from;
  Incarnation to;  // empty when it lives nowhere
  std::string channel_id;
  std::uint32_t attempts = 0;
  RecoveryStage stage = RecoveryStage::kLost;
  std::optional<Outcome> outcome;
  std::string reason;
  std::string verdict;
  std::vector<std::string> verdict_reasons;
  std::optional<WallTime> invited_at;
  std::optional<WallTime> answered_at;
  std::optional<WallTime> finished_at;
};

struct RecoveryEvent {
  enum class Kind { kCrash, kStep, kOutcome, kDone, kReturned };
  Kind kind = Kind::kStep;
  WallTime at{};
  CrashEvent crash;                                         // kCrash, kDone
  RecoveryReport recovery;                                  // kStep, kOutcome
  std::size_t sessions = 0;                                 // kDone
  std::size_t taken_by_others = 0;                          // kDone
  std::vector<std::pair<Outcome, std::uint64_t>> outcomes;  // kDone
  Incarnation incarnation;                                  // kReturned
};

// What RecoveryService does to the engine. adapters/grpc_healer.h makes one of a Healer. Methods
// are called from several threads at once and must not throw; those with a context, which is a
// minute at most, may block until it ends. The others return at once.
class SIPHEAL_EXPORT RecoveryControl {
 public:
  struct Explanation {
    enum class Action { kNone, kReinvite, kBye };
    std::string verdict;
    std::vector<std::string> verdict_reasons;
    Action action = Action::kNone;
    std::vector<std::pair<std::string, std::string>> variables;
    std::string reason;
  };
  struct State {
    bool paused = false;
    std::size_t recoveries = 0;
    std::vector<std::string> instances;
    std::vector<Incarnation> lost;
  };

  RecoveryControl(const RecoveryControl&) = delete;
  RecoveryControl& operator=(const RecoveryControl&) = delete;
  virtual ~RecoveryControl();

  virtual absl::Status Recover(const CallContext& ctx, const std::string& instance) = 0;
  virtual absl::StatusOr<Explanation> Explain(const CallContext& ctx, const Session& session) = 0;
  virtual void Pause() = 0;
  virtual void Resume() = 0;
  virtual State state() const = 0;

 protected:
  RecoveryControl() = default;
};

struct GrpcServerOptions {
  // "127.0.0.1:7443", "[::]:7443" or "unix:/run/sipheal/grpc.sock". Port 0: any free one.
  std::string listen;
  // All three are needed, unless `plain_text`.
  GrpcTlsFiles tls;
  // Clients need no certificate (`tls.ca_file` is then not needed): whoever reaches the port may
  // declare servers dead.
  bool any_client = false;
  // Without TLS. Only on a loopback address or a Unix socket: whoever reaches it is trusted.
  bool plain_text = false;
  // Largest request. 16 KiB to 64 MiB.
  std::size_t max_request_bytes = 4 * 1024 * 1024;
  // Events kept for watchers that come back: as many steps, and as many of all other kinds. 100 to
  // 1,000,000; some 500 bytes each.
  std::size_t keep_events = 10'000;
  // Streams of WatchEvents at a time; more are RESOURCE_EXHAUSTED. 1 to 1,000.
  int max_watchers = 32;
  // Other calls under way at a time; more are RESOURCE_EXHAUSTED. What is done at once (pause,
  // resume, status, the list of recoveries, reports of lives and deaths) does not count, nor wait.
  // 1 to 10,000.
  int max_calls = 128;
  // Serve CrashDetectorService and ReportCrash, when given.
  std::shared_ptr<GrpcCrashDetector> detector;
  // Serve RecoveryService, when both are given.
  std::shared_ptr<SessionStore> store;
  std::shared_ptr<RecoveryControl> control;
  const Clock* clock = nullptr;  // none: the system's. Must outlive the server

  SIPHEAL_EXPORT absl::Status Validate() const;
};

// Also serves grpc.health.v1.Health, and reflection (which gRPC then gives to every server of the
// process). Thread-safe.
class SIPHEAL_EXPORT GrpcServer {
 public:
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;
  // Stops.
  virtual ~GrpcServer();

  // For WatchEvents and ListRecoveries. Never blocks; a watcher that does not keep up loses events,
  // and is told so.
  virtual void Publish(const RecoveryEvent& event) = 0;
  // Where it listens, with the port that it got: "127.0.0.1:41763".
  virtual std::string address() const = 0;
  // Ends all calls and closes the port. Idempotent. `store`, `control` and `detector` are not used
  // any more when it has returned.
  virtual void Stop() = 0;

 protected:
  GrpcServer() = default;
};

// Listens. InvalidArgument when the options are wrong, NotFound when a file cannot be read,
// Unavailable when the address cannot be listened on.
SIPHEAL_EXPORT absl::StatusOr<std::shared_ptr<GrpcServer>> MakeGrpcServer(
    GrpcServerOptions options);

}  // namespace sipheal::inline v0_1
