// SPDX-License-Identifier: Apache-2.0
// Config: what `sipheal run` is told, as plain values with the defaults that docs/config.md lists.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace sipheal::inline v0_1::cli {

using std::chrono::milliseconds;

struct AriConfig {
  std::string url;
  std::string user;
  std::string password;
  std::string password_file;
  std::string pid_file;
};

struct InstanceConfig {
  std::string name;
  std::vector<std::string> sip;  // address[:port][/transport]
  std::vector<std::string> sip_names;
  std::vector<std::string> hep_agents;   // none: the instance's name
  std::vector<std::string> hep_sources;  // none: from anywhere
  AriConfig ari;
  bool target = true;
  int max_channels = 0;
};

struct HepConfig {
  std::string udp;
  std::string tcp;
  std::string auth_key;
  std::string auth_key_file;
  std::string forward;  // address:port of HOMER's HEP server; none: nothing is sent on
};

// A source of captures behind HEP: over its API, or from its tables. Neither: HEP alone.
struct HomerConfig {
  std::string url;
  std::string postgres;  // libpq's DSN of homer_data
  std::string token;
  std::string token_file;
  std::string user;
  std::string password;
  std::string password_file;
  std::string ca_file;
  bool verify_tls = true;
  milliseconds ingest_delay{5'000};
  int lookback_hours = 72;
};

// How HEP and HOMER are asked together.
struct CaptureConfig {
  milliseconds timeout{4'000};
  milliseconds hedge{100};
  bool wait_for_all = false;
};

// One of `sqlite` and `postgres`.
struct StoreConfig {
  std::string sqlite;
  std::string postgres;  // libpq's DSN
  std::string schema = "sipheal";
  int connections = 4;
};

struct AriClientConfig {
  std::string application = "sipheal";
};

struct DetectorConfig {
  milliseconds silence{900};
  milliseconds probe_interval{50};
  int quorum = 1;  // controllers on one PostgreSQL that must see a death
  milliseconds quorum_window{30'000};
};

struct RecoveryConfig {
  std::string owner;
  milliseconds deadline{60'000};
  milliseconds lease{30'000};
  milliseconds answer_timeout{8'000};
  milliseconds plugin_timeout{5'000};
  milliseconds retry_backoff{500};
  int max_attempts = 5;
  int quarantine_after = 2;
  milliseconds coincidence{1'000};
  milliseconds playback_overlap{100};
  bool continue_in_dialplan = false;
  bool end_unrecoverable = true;
  bool dry_run = false;
  bool paused = false;
  std::string kill_switch;  // a file; with store.postgres the switch is there
  int threads = 8;
};

struct PacingConfig {
  double rate = 500;
  double min_rate = 10;
  int burst = 50;
  int max_inviting = 250;
  milliseconds slow{500};
};

struct TargetsConfig {
  std::vector<std::string> allow;
  std::vector<std::string> deny;
  bool only_seen_hosts = true;
};

struct FenceConfig {
  std::vector<std::string> command;  // program and its arguments; no shell
  milliseconds timeout{5'000};
};

// A host that puts its flows back itself; none: over ARI.
struct GrpcFlowConfig {
  std::string target;
  bool plain_text = false;
  std::string ca_file;
  std::string certificate_file;
  std::string key_file;
  std::string server_name;
  int max_in_flight = 32;
};

struct FlowConfig {
  GrpcFlowConfig grpc;
};

// What is served over gRPC; nothing when `listen` is empty.
struct GrpcConfig {
  std::string listen;
  bool plain_text = false;
  std::string certificate_file;
  std::string key_file;
  std::string client_ca_file;
  bool any_client = false;
  bool crash_reports = false;
};

struct ControlConfig {
  std::string socket = "/run/sipheal/control.sock";
};

struct LogConfig {
  std::string level = "info";
  std::string format = "text";
};

struct Config {
  std::vector<InstanceConfig> instances;
  HepConfig hep;
  HomerConfig homer;
  CaptureConfig capture;
  StoreConfig store;
  AriClientConfig ari;
  DetectorConfig detector;
  RecoveryConfig recovery;
  PacingConfig pacing;
  TargetsConfig targets;
  FenceConfig fence;
  FlowConfig flow;
  GrpcConfig grpc;
  ControlConfig control;
  LogConfig log;
};

}  // namespace sipheal::inline v0_1::cli
