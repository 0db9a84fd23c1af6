// SPDX-License-Identifier: Apache-2.0
#include "cli/run_command.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "cli/daemon.h"
#include "cli/daemon_commands.h"
#include "cli/embedded_set.h"
#include "cli/exit_code.h"
#include "cli/line_writer.h"
#include "cli/log_writer.h"
#include "cli/metrics.h"
#include "cli/notify.h"

namespace sipheal::inline v0_1::cli {
namespace {

LogLevel LevelOf(const std::string& name) {
  for (const LogLevel level : {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning}) {
    if (name == ToString(level)) return level;
  }
  return LogLevel::kError;
}

void Reload(Daemon& daemon, LogSink& log) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  NotifyServiceManager(absl::StrFormat("RELOADING=1\nMONOTONIC_USEC=%d",
                                       std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1'000));
  const absl::Status reloaded = daemon.Reload();
  if (!reloaded.ok()) {
    log.Write({LogLevel::kError,
               "reload_failed",
               "the configuration was not applied: " + std::string(reloaded.message()),
               {}});
  }
  NotifyServiceManager("READY=1");
}

}  // namespace

int RunCommand(RunOptions options, const Console& console) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // A reader that goes away ends a write, not the daemon.
  signal(SIGPIPE, SIG_IGN);

  const absl::Status secrets = CheckSecretFiles(options.loaded);
  if (!secrets.ok()) {
    Fail(console, secrets);
    return kExitUsage;
  }
  LineWriter log_lines(STDERR_FILENO);
  std::unique_ptr<LineWriter> event_lines;
  LogWriterOptions log_options;
  log_options.level = LevelOf(options.loaded.config.log.level);
  log_options.format =
      options.loaded.config.log.format == "json" ? LogFormat::kJson : LogFormat::kText;
  log_options.colour = console.progress;  // standard error is a terminal
  DaemonOptions daemon_options;
  daemon_options.log = MakeLogWriter(
      [&log_lines](std::string line) { log_lines.Write(std::move(line)); }, log_options);
  daemon_options.metrics = std::make_shared<MemoryMetrics>();
  if (options.events) {
    event_lines = std::make_unique<LineWriter>(STDOUT_FILENO);
    daemon_options.events = [&lines = *event_lines](std::string line) {
      lines.Write(std::move(line));
    };
  }
  daemon_options.read_config = [file = options.config_file] {
    return LoadConfig(file, ProcessEnvironment());
  };
  const std::shared_ptr<LogSink> log = daemon_options.log;

  absl::StatusOr<std::unique_ptr<EmbeddedSet>> set =
      ComposeEmbeddedSet(options.loaded, log, daemon_options.metrics);
  absl::StatusOr<std::unique_ptr<Daemon>> daemon = absl::InternalError("not started");
  if (!set.ok()) {
    daemon = set.status();
  } else {
    daemon_options.loaded = std::move(options.loaded);
    daemon = Daemon::Start(std::move(daemon_options), *std::move(set));
  }
  if (!daemon.ok()) {
    log_lines.Flush(std::chrono::seconds(1));
    return Fail(console, daemon.status());
  }
  NotifyServiceManager("READY=1");
  while (true) {
    int signal = 0;
    sigwait(&signals, &signal);
    if (signal != SIGHUP) break;
    Reload(**daemon, *log);
  }
  NotifyServiceManager("STOPPING=1");
  log->Write({LogLevel::kInfo, "stopping", "stopping", {}});
  (*daemon)->Stop();
  daemon->reset();
  log->Write({LogLevel::kInfo, "stopped", "stopped", {}});
  return kExitOk;
}

}  // namespace sipheal::inline v0_1::cli
