// SPDX-License-Identifier: Apache-2.0
#include "cli/config_schema.h"

#include "cli/value_rules.h"

namespace sipheal::inline v0_1::cli {
namespace {

constexpr milliseconds kSecond{1'000};
constexpr milliseconds kMinute{60'000};
constexpr milliseconds kHour{3'600'000};

void DescribeInstance(ConfigVisitor& v, InstanceConfig& c) {
  v.Text("name", c.name, {.required = true, .check = CheckName});
  v.TextList("sip", c.sip, {.required = true, .check = CheckSipAddress});
  v.TextList("sip_names", c.sip_names, {});
  v.TextList("hep_agents", c.hep_agents, {});
  v.TextList("hep_sources", c.hep_sources, {.check = CheckNetwork});
  v.Section("ari", [&](ConfigVisitor& a) {
    a.Text("url", c.ari.url, {.required = true, .check = CheckUrl});
    a.Text("user", c.ari.user, {.required = true});
    a.Text("password", c.ari.password, {.secret = true});
    a.Text("password_file", c.ari.password_file, {});
    a.Text("pid_file", c.ari.pid_file, {});
  });
  v.Flag("target", c.target);
  v.Integer("max_channels", c.max_channels, 0, 1'000'000);
}

void DescribeRecovery(ConfigVisitor& v, RecoveryConfig& c) {
  v.Text("owner", c.owner, {.check = CheckName});
  v.Duration("deadline", c.deadline, kSecond, kHour);
  v.Duration("lease", c.lease, kSecond, 10 * kMinute);
  v.Duration("answer_timeout", c.answer_timeout, milliseconds(100), 32 * kSecond);
  v.Duration("plugin_timeout", c.plugin_timeout, milliseconds(10), 10 * kMinute);
  v.Duration("retry_backoff", c.retry_backoff, milliseconds(1), kMinute);
  v.Integer("max_attempts", c.max_attempts, 1, 100);
  v.Integer("quarantine_after", c.quarantine_after, 1, 100);
  v.Duration("coincidence", c.coincidence, milliseconds(0), kMinute);
  v.Duration("playback_overlap", c.playback_overlap, milliseconds(0), milliseconds(250));
  v.Flag("continue_in_dialplan", c.continue_in_dialplan);
  v.Flag("end_unrecoverable", c.end_unrecoverable);
  v.Flag("dry_run", c.dry_run);
  v.Flag("paused", c.paused);
  v.Text("kill_switch", c.kill_switch, {.check = CheckFilePath});
  v.Integer("threads", c.threads, 1, 256);
}

void DescribeHomer(ConfigVisitor& v, HomerConfig& c) {
  v.Text("url", c.url, {.check = CheckUrl});
  v.Text("postgres", c.postgres, {.secret = true});
  v.Text("token", c.token, {.secret = true});
  v.Text("token_file", c.token_file, {});
  v.Text("user", c.user, {});
  v.Text("password", c.password, {.secret = true});
  v.Text("password_file", c.password_file, {});
  v.Text("ca_file", c.ca_file, {});
  v.Flag("verify_tls", c.verify_tls);
  v.Duration("ingest_delay", c.ingest_delay, milliseconds(0), 2 * kMinute);
  v.Integer("lookback_hours", c.lookback_hours, 1, 90 * 24);
}

void DescribePacing(ConfigVisitor& v, PacingConfig& c) {
  v.Number("rate", c.rate, 0.1, 100'000);
  v.Number("min_rate", c.min_rate, 0.1, 100'000);
  v.Integer("burst", c.burst, 1, 100'000);
  v.Integer("max_inviting", c.max_inviting, 1, 100'000);
  v.Duration("slow", c.slow, milliseconds(1), kMinute);
}

}  // namespace

void DescribeConfig(ConfigVisitor& visitor, Config& config) {
  visitor.List(
      "instances", config.instances.size(), [&](std::size_t n) { config.instances.resize(n); },
      [&](ConfigVisitor& v, std::size_t i) { DescribeInstance(v, config.instances[i]); });
  visitor.Section("hep", [&](ConfigVisitor& v) {
    v.Text("udp", config.hep.udp, {.check = CheckListen});
    v.Text("tcp", config.hep.tcp, {.check = CheckListen});
    v.Text("auth_key", config.hep.auth_key, {.secret = true});
    v.Text("auth_key_file", config.hep.auth_key_file, {});
    v.Text("forward", config.hep.forward, {.check = CheckForward});
  });
  visitor.Section("homer", [&](ConfigVisitor& v) { DescribeHomer(v, config.homer); });
  visitor.Section("capture", [&](ConfigVisitor& v) {
    v.Duration("timeout", config.capture.timeout, milliseconds(10), kMinute);
    v.Duration("hedge", config.capture.hedge, milliseconds(0), kMinute);
    v.Flag("wait_for_all", config.capture.wait_for_all);
  });
  visitor.Section("store", [&](ConfigVisitor& v) {
    v.Text("sqlite", config.store.sqlite, {});
    v.Text("postgres", config.store.postgres, {.secret = true});
    v.Text("schema", config.store.schema, {.check = CheckSchema});
    v.Integer("connections", config.store.connections, 1, 64);
  });
  visitor.Section("ari", [&](ConfigVisitor& v) {
    v.Text("application", config.ari.application, {.check = CheckName});
  });
  visitor.Section("detector", [&](ConfigVisitor& v) {
    v.Duration("silence", config.detector.silence, milliseconds(200), kMinute);
    v.Duration("probe_interval", config.detector.probe_interval, milliseconds(10), 10 * kSecond);
    v.Integer("quorum", config.detector.quorum, 1, 64);
    v.Duration("quorum_window", config.detector.quorum_window, kSecond, kHour);
  });
  visitor.Section("recovery", [&](ConfigVisitor& v) { DescribeRecovery(v, config.recovery); });
  visitor.Section("pacing", [&](ConfigVisitor& v) { DescribePacing(v, config.pacing); });
  visitor.Section("targets", [&](ConfigVisitor& v) {
    v.TextList("allow", config.targets.allow, {.check = CheckNetwork});
    v.TextList("deny", config.targets.deny, {.check = CheckNetwork});
    v.Flag("only_seen_hosts", config.targets.only_seen_hosts);
  });
  visitor.Section("fence", [&](ConfigVisitor& v) {
    v.TextList("command", config.fence.command, {});
    v.Duration("timeout", config.fence.timeout, milliseconds(100), kMinute);
  });
  visitor.Section("flow", [&](ConfigVisitor& v) {
    v.Section("grpc", [&](ConfigVisitor& g) {
      GrpcFlowConfig& c = config.flow.grpc;
      g.Text("target", c.target, {});
      g.Flag("plain_text", c.plain_text);
      g.Text("ca_file", c.ca_file, {.check = CheckFilePath});
      g.Text("certificate_file", c.certificate_file, {.check = CheckFilePath});
      g.Text("key_file", c.key_file, {.check = CheckFilePath});
      g.Text("server_name", c.server_name, {});
      g.Integer("max_in_flight", c.max_in_flight, 1, 100);
    });
  });
  visitor.Section("grpc", [&](ConfigVisitor& v) {
    GrpcConfig& c = config.grpc;
    v.Text("listen", c.listen, {.check = CheckGrpcListen});
    v.Flag("plain_text", c.plain_text);
    v.Text("certificate_file", c.certificate_file, {.check = CheckFilePath});
    v.Text("key_file", c.key_file, {.check = CheckFilePath});
    v.Text("client_ca_file", c.client_ca_file, {.check = CheckFilePath});
    v.Flag("any_client", c.any_client);
    v.Flag("crash_reports", c.crash_reports);
  });
  visitor.Section("control", [&](ConfigVisitor& v) {
    v.Text("socket", config.control.socket, {.check = CheckSocketPath});
  });
  visitor.Section("log", [&](ConfigVisitor& v) {
    v.Choice("level", config.log.level, {"debug", "info", "warning", "error"});
    v.Choice("format", config.log.format, {"text", "json"});
  });
}

}  // namespace sipheal::inline v0_1::cli
