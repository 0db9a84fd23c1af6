// SPDX-License-Identifier: Apache-2.0
#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "cli/config_printer.h"
#include "cli/config_reader.h"
#include "cli/conformance_command.h"
#include "cli/daemon_commands.h"
#include "cli/doctor_command.h"
#include "cli/embedded_set.h"
#include "cli/exit_code.h"
#include "cli/json_views.h"
#include "cli/run_command.h"
#include "cli/value_rules.h"
#include "sipheal/version.h"

#if SIPHEAL_CLI_HAS_PCAP
#include "cli/dialogs_command.h"
#endif

namespace sipheal::inline v0_1::cli {
namespace {

constexpr char kDefaultConfig[] = "/etc/sipheal/sipheal.yaml";

struct Arguments {
  std::string config;
  std::string socket;
  std::string format = "text";
  std::string colour = "auto";
  std::string instance;
  std::string duration = "10m";
  std::string kill_switch;
  std::string reason;
  std::size_t limit = 1'000;
  bool print_config = false;
  bool dry_run = false;
  bool events = false;
};

absl::StatusOr<LoadedConfig> ReadNamedConfig(const Arguments& arguments) {
  return LoadConfig(arguments.config.empty() ? kDefaultConfig : arguments.config,
                    ProcessEnvironment());
}

// Configuration errors are wrong usage, whatever their code.
int FailUsage(const Console& console, const absl::Status& status) {
  Fail(console, status);
  return kExitUsage;
}

int Run(const Arguments& arguments, const Console& console) {
  absl::StatusOr<LoadedConfig> loaded = ReadNamedConfig(arguments);
  if (!loaded.ok()) return FailUsage(console, loaded.status());
  if (arguments.dry_run) loaded->config.recovery.dry_run = true;
  if (arguments.print_config) {
    console.out << (console.format == OutputFormat::kJson ? ConfigToJson(loaded->config)
                                                          : ConfigToYaml(loaded->config));
    return kExitOk;
  }
  RunOptions options;
  options.config_file = loaded->file;
  options.loaded = *std::move(loaded);
  options.events = arguments.events;
  return RunCommand(std::move(options), console);
}

int Doctor(const Arguments& arguments, const Console& console) {
  const absl::StatusOr<LoadedConfig> loaded = ReadNamedConfig(arguments);
  if (!loaded.ok()) return FailUsage(console, loaded.status());
  return DoctorCommand(*loaded, console);
}

// Where the daemon is: --socket, or the configuration that is named or installed. A configuration
// that was not named and is not there leaves the default socket.
absl::StatusOr<DaemonPlace> FindDaemon(const Arguments& arguments) {
  DaemonPlace place;
  place.socket = Config().control.socket;
  absl::StatusOr<LoadedConfig> loaded = ReadNamedConfig(arguments);
  if (loaded.ok()) {
    place.socket = loaded->config.control.socket;
    place.loaded = *std::move(loaded);
  } else if (!arguments.config.empty()) {
    return loaded.status();
  }
  if (!arguments.socket.empty()) place.socket = arguments.socket;
  return place;
}

// `sipheal dialogs`; `exit_code` must outlive the parse.
void AddDialogs(CLI::App& app, [[maybe_unused]] const Console& console,
                [[maybe_unused]] const Arguments& given, int& exit_code) {
  CLI::App* dialogs =
      app.add_subcommand("dialogs", "rebuild the dialogs of a server from capture files");
#if SIPHEAL_CLI_HAS_PCAP
  const auto options = std::make_shared<DialogsOptions>();
  // An empty value, as of a variable that is not set, must not be taken for no option at all.
  const CLI::Validator not_empty(
      [](const std::string& value) { return value.empty() ? std::string("is empty") : ""; }, "");
  dialogs->add_option("FILE", options->files, "pcap or pcapng, with SIP or HEP")->required();
  // May be repeated, but takes one value each time: what follows may be a FILE.
  const auto add_list = [&](const char* name, std::vector<std::string>& values, const char* what) {
    dialogs->add_option(name, values, what)->allow_extra_args(false)->check(not_empty);
  };
  add_list("--server", options->servers, "an address of the server: ADDR[:PORT][/TRANSPORT]");
  add_list("--server-name", options->server_names,
           "a host name in its Via, Contact or Record-Route");
  add_list("--agent", options->agents, "its HEP agent, for captures that hold HEP");
  dialogs
      ->add_option("--at", options->at,
                   "as if it had died then: the last frame read, or a time as "
                   "2026-07-01T12:00:00Z or 1782907200.5")
      ->check(not_empty);
  options->format.clear();
  dialogs->add_option("--format", options->format, "text, json, mermaid or svg")
      ->check(CLI::IsMember({"text", "json", "mermaid", "svg"}));
  dialogs->add_option("--call-id", options->call_id, "only this one")->check(not_empty);
  add_list("--allow", options->allow_targets,
           "a network that requests may be sent to, as targets.allow");
  dialogs->callback([options, &console, &given, &exit_code] {
    if (options->format.empty()) options->format = given.format;
    exit_code = RunDialogs(*options, console.out, console.err);
  });
#else
  dialogs->allow_extras();
  dialogs->callback([&console, &exit_code] {
    exit_code = Fail(console, absl::UnimplementedError(
                                  "this build of sipheal has no component 'pcap', which 'dialogs' "
                                  "needs: build it with SIPHEAL_WITH_PCAP=ON"));
  });
#endif
}

int Version(const Console& console) {
  const std::vector<std::string> components = BuiltComponents();
  if (console.format == OutputFormat::kJson) {
    nlohmann::ordered_json out;
    out["version"] = SIPHEAL_VERSION;
    out["components"] = components;
    console.out << Dump(out) << "\n";
    return kExitOk;
  }
  console.out << "sipheal " << SIPHEAL_VERSION << "\ncomponents:";
  for (const std::string& component : components) console.out << " " << component;
  console.out << "\n";
  return kExitOk;
}

// `sipheal conformance`; `exit_code` must outlive the parse.
void AddConformance(CLI::App& app, const Console& console, int& exit_code) {
  const auto options = std::make_shared<ConformanceOptions>();
  CLI::App* conformance =
      app.add_subcommand("conformance", "ask the contract of an interface of what is deployed");
  conformance->require_subcommand(1);
  const auto suite = [&](const char* name, const char* what, auto run) {
    CLI::App* command = conformance->add_subcommand(name, what);
    command->callback([&console, &exit_code, options, run] { exit_code = run(*options, console); });
    CLI::Option_group* const where = command->add_option_group("where", "one of:");
    where->require_option(1);
    where->add_flag("--memory", options->memory, "the implementation in memory");
    return std::pair(command, where);
  };
  const auto [store_command, store] =
      suite("session-store", "sessions, claims, journal", SessionStoreConformance);
  store->add_option("--sqlite", options->sqlite, "beside this file, in one that is removed");
  store->add_option("--postgres", options->postgres,
                    "libpq's DSN; in a schema of its own that is removed");
  const auto [capture_command, capture] =
      suite("sip-capture", "captured messages", SipCaptureConformance);
  capture->add_option("--homer", options->homer, "URL of HOMER; only what needs no writing");
  capture->add_option("--homer-postgres", options->homer_postgres,
                      "libpq's DSN; on HOMER's tables in a schema of its own that is removed");
  capture_command->add_option("--token-file", options->token_file, "HOMER's token");
  capture_command->add_option("--user", options->user, "HOMER's user, in place of a token");
  capture_command->add_option("--password-file", options->password_file, "and the password");
}

}  // namespace

int RunCommandLine(std::vector<std::string> arguments, Console console) {
  Arguments given;
  CLI::App app("Brings live SIP calls back when an Asterisk dies.", "sipheal");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--format", given.format, "text, or json for machines")
      ->check(CLI::IsMember({"text", "json"}));
  app.add_option("--color,--colour", given.colour, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}));
  app.add_option("-c,--config", given.config,
                 absl::StrFormat("configuration (default: %s)", kDefaultConfig));
  app.footer(
      "Exit status: 0 done; 1 failed; 2 wrong arguments or configuration; 3 no sipheal runs.");

  int exit_code = kExitOk;
  CLI::App* run = app.add_subcommand("run", "watch the media servers and recover their calls");
  run->add_flag("--print-config", given.print_config,
                "show the effective configuration, secrets masked, and end");
  run->add_flag("--dry-run", given.dry_run, "do everything but claim and send");
  run->add_flag("--events", given.events, "write machine events to standard output, as JSON lines");
  run->callback([&] { exit_code = Run(given, console); });

  const auto with_socket = [&](CLI::App* command) {
    command->add_option("--socket", given.socket, "control socket of the running sipheal");
    return command;
  };
  // A command that needs the place of the daemon.
  const auto asks = [&](CLI::App* command, auto action) {
    with_socket(command)->callback([&, action] {
      const absl::StatusOr<DaemonPlace> place = FindDaemon(given);
      exit_code = place.ok() ? action(*place) : FailUsage(console, place.status());
    });
    return command;
  };
  asks(app.add_subcommand("status", "how the running sipheal stands"),
       [&](const DaemonPlace& place) { return StatusCommand(place, console); });
  CLI::App* sessions = asks(app.add_subcommand("sessions", "the calls that could be recovered"),
                            [&](const DaemonPlace& place) {
                              return SessionsCommand(place, given.instance, given.limit, console);
                            });
  sessions->add_option("--instance", given.instance, "only those of this media server");
  sessions->add_option("--limit", given.limit, "at most this many")->check(CLI::Range(1, 10'000));
  CLI::App* recover =
      asks(app.add_subcommand("recover", "declare a media server dead and recover its calls"),
           [&](const DaemonPlace& place) {
             return RecoverCommand(place, given.instance, given.dry_run, console);
           });
  recover->add_option("INSTANCE", given.instance, "the media server")->required();
  recover->add_flag("--dry-run", given.dry_run, "show what would be done");
  asks(app.add_subcommand("pause", "begin no more recoveries"),
       [&](const DaemonPlace& place) { return PauseCommand(place, true, console); });
  asks(app.add_subcommand("resume", "go on after pause"),
       [&](const DaemonPlace& place) { return PauseCommand(place, false, console); });
  CLI::App* kill_switch =
      asks(app.add_subcommand("kill-switch",
                              "stop all controllers from sending any re-INVITE or BYE, at once"),
           [&](const DaemonPlace& place) {
             return KillSwitchCommand(place, given.kill_switch == "on", given.reason, console);
           });
  kill_switch->add_option("STATE", given.kill_switch, "on or off")
      ->required()
      ->check(CLI::IsMember({"on", "off"}));
  kill_switch->add_option("--reason", given.reason, "why, for the logs of all controllers");
  asks(app.add_subcommand("reload", "read the list of media servers again, as SIGHUP does"),
       [&](const DaemonPlace& place) { return ReloadCommand(place, console); });
  CLI::App* planned =
      asks(app.add_subcommand("planned-stop", "a media server is about to stop: that is no crash"),
           [&](const DaemonPlace& place) {
             const auto duration = ParseDuration(given.duration);
             if (!duration) {
               return FailUsage(
                   console,
                   absl::InvalidArgumentError(absl::StrFormat(
                       "--for is '%s', which is no duration: write 10m or 90s", given.duration)));
             }
             return PlannedStopCommand(place, given.instance,
                                       std::chrono::duration_cast<std::chrono::seconds>(*duration),
                                       console);
           });
  planned->add_option("INSTANCE", given.instance, "the media server")->required();
  planned->add_option("--for", given.duration, "for how long (default: 10m)");

  AddDialogs(app, console, given, exit_code);
  AddConformance(app, console, exit_code);
  app.add_subcommand("doctor", "check configuration, media servers, HEP and store")->callback([&] {
    exit_code = Doctor(given, console);
  });
  app.add_subcommand("version", "version, and the components of this build")->callback([&] {
    exit_code = Version(console);
  });
  // Before any command's callback: options may stand before or after the command.
  app.parse_complete_callback([&] {
    console.format = given.format == "json" ? OutputFormat::kJson : OutputFormat::kText;
    if (given.colour != "auto") console.colour = given.colour == "always";
  });

  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    console.out << app.help();
  } catch (const CLI::CallForAllHelp&) {
    console.out << app.help("", CLI::AppFormatMode::All);
  } catch (const CLI::ParseError& error) {
    console.err << "sipheal: " << error.what() << "\nsipheal: see 'sipheal --help'\n";
    return kExitUsage;
  }
  return exit_code;
}

}  // namespace sipheal::inline v0_1::cli
