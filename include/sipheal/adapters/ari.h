// SPDX-License-Identifier: Apache-2.0
// Asterisk over ARI (the Asterisk REST Interface): one set of connections, and on it the media
// server driver, the crash detector, the tracker that fills the session store, and the flow
// resumer.
//
// Ownership: each part keeps the connections alive. Threads: Connect starts one thread for all
// event sockets; HTTP requests run on the caller's thread, with keep-alive connections pooled for
// each instance; one more thread carries the requests that nobody waits for (probes, re-reads).
// libwebsockets' own log, which goes to stderr, is turned off for the process.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/base/clock.h"
#include "sipheal/base/log_sink.h"
#include "sipheal/base/telemetry_sink.h"
#include "sipheal/crash_detector.h"
#include "sipheal/export.h"
#include "sipheal/flow_resumer.h"
#include "sipheal/media_server_driver.h"
#include "sipheal/session_store.h"

namespace sipheal::inline v0_1 {

// How to reach one Asterisk.
struct AriInstanceOptions {
  std::string name;      // the instance's name, as everywhere in sipheal
  std::string url;       // "http://127.0.0.1:8088" (the prefix of http.conf included), or https://
  std::string user;      // a user of ari.conf that is not read_only
  std::string password;  // or, better, password_file
  std::string password_file;  // read once at connect; its last newline is dropped
  // The process id file of an Asterisk on this host ("astrundir"/asterisk.pid), or empty. With it
  // the death of the process is seen by pidfd at once, instead of by three refused connections.
  std::string pid_file;
};

struct AriOptions {
  std::vector<AriInstanceOptions> instances;
  // The Stasis application that sipheal registers, subscribed to all events of the server.
  // Recovered channels enter it.
  std::string app = "sipheal";
  std::chrono::milliseconds connect_timeout{1000};  // of one HTTP or socket connection
  std::chrono::milliseconds reconnect_min{50};      // back-off of a lost event socket: from, to
  std::chrono::milliseconds reconnect_max{1000};
  std::shared_ptr<LogSink> log;              // none: silent
  std::shared_ptr<TelemetrySink> telemetry;  // none: dropped
  const Clock* clock = nullptr;              // none: the system's
};

class AriConnections;  // opaque; made by ConnectAri

// Validates the options and begins to connect to every instance; returns before they are connected.
// InvalidArgument names the wrong field.
SIPHEAL_EXPORT absl::StatusOr<std::shared_ptr<AriConnections>> ConnectAri(AriOptions options);

// Instances come and go at run time. Thread-safe. AlreadyExists, NotFound.
SIPHEAL_EXPORT absl::Status AddAriInstance(AriConnections& connections,
                                           AriInstanceOptions instance);
SIPHEAL_EXPORT absl::Status RemoveAriInstance(AriConnections& connections, const std::string& name);

// Creates recovered channels on Asterisks with res_pjsip_recovery loaded.
SIPHEAL_EXPORT absl::StatusOr<std::shared_ptr<MediaServerDriver>> MakeAriDriver(
    std::shared_ptr<AriConnections> connections);

struct AriCrashDetectorOptions {
  // An instance is hung when it has said nothing for this long on the event socket, over HTTP, and
  // by HEP. 200 ms to 60 s. Shorter finds a hang sooner; a server that stalls longer than this
  // loses its calls to another.
  std::chrono::milliseconds silence{900};
  std::chrono::milliseconds probe_interval{50};  // between two signs of life asked for
  // The last sign of life seen elsewhere (a HEP receiver's LastHeard); none when the host has no
  // other channel.
  std::function<std::optional<MonotonicTime>(const std::string& instance)> last_heard;
};
SIPHEAL_EXPORT absl::StatusOr<std::shared_ptr<CrashDetector>> MakeAriCrashDetector(
    std::shared_ptr<AriConnections> connections, AriCrashDetectorOptions options);

struct AriTrackerOptions {
  // Changes are gathered for this long before they are written to the store. 0 to 1 s.
  std::chrono::milliseconds write_behind{100};
  // How long one write to the store may take before it is tried again.
  std::chrono::milliseconds store_timeout{2000};
};

// Fills a session store from ARI's events: every PJSIP channel of every instance, in Stasis or not,
// with its Call-ID, endpoint, bridge, playback, hold, recording and dialplan location. Reads the
// whole state anew after each reconnect.
class SIPHEAL_EXPORT AriTracker {
 public:
  virtual ~AriTracker();
  virtual absl::Status Start() = 0;
  // Writes what is pending, then ends; idempotent.
  virtual void Stop() = 0;
  // Waits until all that was seen before the call is in the store.
  virtual absl::Status Flush(const CallContext& ctx) = 0;
  // Reads the whole state of an instance anew soon, and takes over what the store has of it: for
  // after the instance was silent and its sessions were claimed. Returns at once.
  virtual void Resync(const std::string& instance) = 0;
};
SIPHEAL_EXPORT absl::StatusOr<std::shared_ptr<AriTracker>> MakeAriTracker(
    std::shared_ptr<AriConnections> connections, std::shared_ptr<SessionStore> store,
    AriTrackerOptions options);

struct AriFlowResumerOptions {
  // What to do with a session that was outside Stasis (in Dial, Queue, ConfBridge): `continue` it
  // in the dialplan at its context, extension and priority, or end it with BYE.
  bool continue_in_dialplan = false;
  // A playback begins this much before its position at death, so that no word is lost. 0 to 250 ms.
  std::chrono::milliseconds playback_overlap{100};
};
SIPHEAL_EXPORT absl::StatusOr<std::shared_ptr<FlowResumer>> MakeAriFlowResumer(
    std::shared_ptr<AriConnections> connections, AriFlowResumerOptions options);

}  // namespace sipheal::inline v0_1
