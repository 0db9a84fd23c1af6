// SPDX-License-Identifier: Apache-2.0
#include "cli/config_reader.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "cli/config_schema.h"
#include "cli/value_rules.h"

namespace sipheal::inline v0_1::cli {
namespace {

constexpr std::size_t kMostErrors = 20;

// What all readers of one file share.
struct ReadState {
  std::vector<std::string> errors;
  std::map<std::string, std::string> origins;
};

// Reads the keys of one map, then complains about those that nobody asked for.
class ConfigReader final : public ConfigVisitor {
 public:
  // `node` may be null: then every key has its default.
  ConfigReader(const ConfigNode* node, std::string path, std::string origin, ReadState& state)
      : node_(node), path_(std::move(path)), origin_(std::move(origin)), state_(state) {}

  void Text(std::string_view key, std::string& value, const TextRule& rule) override {
    const ConfigNode* node = Scalar(key);
    if (node == nullptr) {
      if (rule.required && Find(key) == nullptr) Missing(key);
      return;
    }
    value = node->scalar;
    if (rule.required && value.empty()) {
      Fail(*node, key, "is empty: write a value");
    } else {
      Check(*node, key, value, rule);
    }
  }

  void Choice(std::string_view key, std::string& value,
              std::initializer_list<std::string_view> choices) override {
    const ConfigNode* node = Scalar(key);
    if (node == nullptr) return;
    if (std::find(choices.begin(), choices.end(), node->scalar) != choices.end()) {
      value = node->scalar;
      return;
    }
    std::string list;
    for (const std::string_view choice : choices) {
      list += (list.empty() ? "" : ", ") + std::string(choice);
    }
    Fail(*node, key, absl::StrFormat("is '%s': choose one of %s", node->scalar, list));
  }

  void TextList(std::string_view key, std::vector<std::string>& value,
                const TextRule& rule) override {
    const ConfigNode* node = Known(key);
    if (node == nullptr) {
      if (rule.required) Missing(key);
      return;
    }
    value.clear();
    if (node->kind == ConfigNode::Kind::kScalar) {
      // The environment has no lists: commas divide there.
      const bool divide = node->origin.rfind("environment", 0) == 0;
      std::string_view rest = node->scalar;
      while (divide && rest.find(',') != std::string_view::npos) {
        Append(*node, key, rest.substr(0, rest.find(',')), rule, value);
        rest.remove_prefix(rest.find(',') + 1);
      }
      Append(*node, key, rest, rule, value);
    } else if (node->kind == ConfigNode::Kind::kList) {
      for (const ConfigNode& item : node->items) {
        if (item.kind == ConfigNode::Kind::kScalar) {
          Append(item, key, item.scalar, rule, value);
        } else {
          Fail(item, key, "has an item that is no text: write [first, second]");
        }
      }
    } else if (node->kind == ConfigNode::Kind::kMap) {
      Fail(*node, key, "is a section, not a list: write [first, second]");
      return;
    }
    if (rule.required && value.empty()) Fail(*node, key, "is empty: name at least one");
  }

  void Duration(std::string_view key, milliseconds& value, milliseconds least,
                milliseconds most) override {
    const ConfigNode* node = Scalar(key);
    if (node == nullptr) return;
    const std::optional<milliseconds> parsed = ParseDuration(node->scalar);
    if (!parsed) {
      Fail(*node, key,
           absl::StrFormat("is '%s', which is no duration: write a number and a unit, as 800ms, "
                           "5s, 2m or 1h",
                           node->scalar));
    } else if (*parsed < least || *parsed > most) {
      Fail(*node, key,
           absl::StrFormat("is %s: set it from %s to %s", node->scalar, DurationText(least),
                           DurationText(most)));
    } else {
      value = *parsed;
    }
  }

  void Integer(std::string_view key, int& value, int least, int most) override {
    const ConfigNode* node = Scalar(key);
    if (node == nullptr) return;
    int parsed = 0;
    const char* end = node->scalar.data() + node->scalar.size();
    const auto result = std::from_chars(node->scalar.data(), end, parsed);
    if (result.ec != std::errc() || result.ptr != end || parsed < least || parsed > most) {
      Fail(*node, key,
           absl::StrFormat("is '%s': set a whole number from %d to %d", node->scalar, least, most));
    } else {
      value = parsed;
    }
  }

  void Number(std::string_view key, double& value, double least, double most) override {
    const ConfigNode* node = Scalar(key);
    if (node == nullptr) return;
    double parsed = 0;
    const char* end = node->scalar.data() + node->scalar.size();
    const auto result = std::from_chars(node->scalar.data(), end, parsed);
    // The comparison is written so that NaN fails it.
    const bool in_range = parsed >= least && parsed <= most;
    if (result.ec != std::errc() || result.ptr != end || !in_range) {
      Fail(*node, key,
           absl::StrFormat("is '%s': set a number from %g to %g", node->scalar, least, most));
    } else {
      value = parsed;
    }
  }

  void Flag(std::string_view key, bool& value) override {
    const ConfigNode* node = Scalar(key);
    if (node == nullptr) return;
    if (node->scalar == "true" || node->scalar == "yes" || node->scalar == "on") {
      value = true;
    } else if (node->scalar == "false" || node->scalar == "no" || node->scalar == "off") {
      value = false;
    } else {
      Fail(*node, key, absl::StrFormat("is '%s': write true or false", node->scalar));
    }
  }

  void Section(std::string_view key, const std::function<void(ConfigVisitor&)>& fields) override {
    const ConfigNode* node = Known(key);
    if (node != nullptr && node->kind != ConfigNode::Kind::kMap) {
      Fail(*node, key, "is no section: write its keys below it, indented");
      return;
    }
    // What Known has found, Find finds. NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker)
    ConfigReader reader(node, Path(key), node != nullptr ? Find(key)->origin : origin_, state_);
    fields(reader);
    reader.Finish();
  }

  void List(std::string_view key, std::size_t /*size*/,
            const std::function<void(std::size_t)>& resize,
            const std::function<void(ConfigVisitor&, std::size_t)>& fields) override {
    const ConfigNode* node = Known(key);
    if (node == nullptr) return;
    if (node->kind != ConfigNode::Kind::kList) {
      Fail(*node, key, "is no list: begin each item with '- '");
      return;
    }
    resize(node->items.size());
    for (std::size_t i = 0; i < node->items.size(); ++i) {
      const ConfigNode& item = node->items[i];
      const std::string path = absl::StrFormat("%s[%d]", Path(key), static_cast<int>(i));
      if (item.kind != ConfigNode::Kind::kMap) {
        state_.errors.push_back(absl::StrFormat(
            "%s: %s is no section: write 'name: ...' and the other keys below each other",
            item.origin, path));
        continue;
      }
      ConfigReader reader(&item, path, item.origin, state_);
      fields(reader, i);
      reader.Finish();
    }
  }

  // Complains about keys that the description does not have.
  void Finish() {
    if (node_ == nullptr) return;
    for (const ConfigNode::Entry& entry : node_->entries) {
      if (std::find(known_.begin(), known_.end(), entry.key) != known_.end()) continue;
      const std::string meant = Suggest(entry.key, known_);
      std::string list;
      for (const std::string& key : known_) list += (list.empty() ? "" : ", ") + key;
      state_.errors.push_back(absl::StrFormat(
          "%s: unknown key '%s': %s", entry.origin, Path(entry.key),
          meant.empty() ? "known here are " + list : absl::StrFormat("did you mean '%s'?", meant)));
    }
  }

 private:
  std::string Path(std::string_view key) const {
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
  }

  const ConfigNode::Entry* Find(std::string_view key) const {
    if (node_ == nullptr) return nullptr;
    const auto found = std::find_if(node_->entries.begin(), node_->entries.end(),
                                    [&](const ConfigNode::Entry& e) { return e.key == key; });
    return found == node_->entries.end() ? nullptr : &*found;
  }

  // The value of a key of the description; null when it is not written or left empty.
  const ConfigNode* Known(std::string_view key) {
    known_.emplace_back(key);
    const ConfigNode::Entry* entry = Find(key);
    if (entry == nullptr || entry->value.kind == ConfigNode::Kind::kEmpty) return nullptr;
    // The line of the key: the value of a section begins on a later one.
    state_.origins[Path(key)] = entry->origin;
    return &entry->value;
  }

  const ConfigNode* Scalar(std::string_view key) {
    const ConfigNode* node = Known(key);
    if (node == nullptr) {
      if (const ConfigNode::Entry* entry = Find(key)) {
        state_.errors.push_back(absl::StrFormat(
            "%s: %s has no value: write one, or leave the key out", entry->origin, Path(key)));
      }
      return nullptr;
    }
    if (node->kind == ConfigNode::Kind::kScalar) return node;
    Fail(*node, key, "is a list or a section: write one value");
    return nullptr;
  }

  void Append(const ConfigNode& node, std::string_view key, std::string_view item,
              const TextRule& rule, std::vector<std::string>& value) {
    while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
    while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
    if (item.empty()) {
      Fail(node, key, "has an empty item: remove it");
      return;
    }
    value.emplace_back(item);
    Check(node, key, value.back(), rule);
  }

  void Check(const ConfigNode& node, std::string_view key, const std::string& value,
             const TextRule& rule) {
    if (value.find_first_of(std::string("\r\n\0", 3)) != std::string::npos) {
      Fail(node, key, "has a line break in it: write it on one line");
      return;
    }
    if (rule.check == nullptr) return;
    const std::string problem = rule.check(value);
    if (!problem.empty()) {
      Fail(node, key, rule.secret ? problem : absl::StrFormat("'%s' %s", value, problem));
    }
  }

  void Missing(std::string_view key) {
    state_.errors.push_back(absl::StrFormat("%s: %s is missing: add it", origin_, Path(key)));
  }

  void Fail(const ConfigNode& node, std::string_view key, const std::string& problem) {
    state_.errors.push_back(absl::StrFormat("%s: %s %s", node.origin, Path(key), problem));
  }

  const ConfigNode* node_;
  std::string path_;
  std::string origin_;  // of the section, for keys that are missing in it
  ReadState& state_;
  std::vector<std::string> known_;
};

// The longest capture.timeout that DescribeConfig takes.
constexpr milliseconds kLongestCapture{60'000};
constexpr milliseconds kMargin{1'000};

bool HasHomer(const Config& config) {
  return !config.homer.url.empty() || !config.homer.postgres.empty();
}

// What capture.timeout needs, so that HOMER can be waited for.
milliseconds LeastCapture(const Config& config) {
  return std::min(config.homer.ingest_delay + kMargin, kLongestCapture);
}

// Defaults that depend on other values.
void FillIn(LoadedConfig& loaded) {
  Config& config = loaded.config;
  if (!HasHomer(config)) return;
  if (!loaded.origins.contains("capture.timeout")) {
    config.capture.timeout = std::max(config.capture.timeout, LeastCapture(config));
  }
  if (!loaded.origins.contains("recovery.plugin_timeout")) {
    config.recovery.plugin_timeout =
        std::max(config.recovery.plugin_timeout, config.capture.timeout + kMargin);
  }
}

void CheckTimeouts(const LoadedConfig& loaded, std::vector<std::string>& errors) {
  const Config& config = loaded.config;
  if (!HasHomer(config)) return;
  if (const milliseconds least = LeastCapture(config); config.capture.timeout < least) {
    errors.push_back(absl::StrFormat(
        "%s is %s, shorter than homer.ingest_delay (%s) and a second: HOMER could not be waited "
        "for; set it to %s or more, or leave it out",
        loaded.Where("capture.timeout"), DurationText(config.capture.timeout),
        DurationText(config.homer.ingest_delay), DurationText(least)));
  }
  if (const milliseconds least = config.capture.timeout + kMargin;
      config.recovery.plugin_timeout < least) {
    errors.push_back(absl::StrFormat(
        "%s is %s, shorter than capture.timeout (%s) and a second: what was captured could not be "
        "waited for; set it to %s or more, or leave it out",
        loaded.Where("recovery.plugin_timeout"), DurationText(config.recovery.plugin_timeout),
        DurationText(config.capture.timeout), DurationText(least)));
  }
}

// Rules between several values.
void CheckTogether(const LoadedConfig& loaded, std::vector<std::string>& errors) {
  const Config& config = loaded.config;
  if (config.instances.empty()) {
    errors.push_back(loaded.Where("instances") +
                     " is empty: list at least one media server, with name, sip and ari");
  }
  std::map<std::string, std::string> names;
  std::map<std::string, std::string> agents;
  std::map<std::string, std::string> urls;
  for (std::size_t i = 0; i < config.instances.size(); ++i) {
    const InstanceConfig& instance = config.instances[i];
    const std::string path = absl::StrFormat("instances[%d]", static_cast<int>(i));
    const auto once = [&](std::map<std::string, std::string>& seen, const std::string& value,
                          const std::string& key, const std::string& advice) {
      if (value.empty()) return;
      const auto [first, fresh] = seen.emplace(value, path + key);
      if (!fresh) {
        errors.push_back(absl::StrFormat("%s '%s' is also that of %s: %s", loaded.Where(path + key),
                                         value, first->second, advice));
      }
    };
    once(names, instance.name, ".name", "give each instance its own name");
    once(urls, instance.ari.url, ".ari.url", "each instance has an ARI of its own");
    const std::vector<std::string> own_agents =
        instance.hep_agents.empty() ? std::vector<std::string>{instance.name} : instance.hep_agents;
    for (const std::string& agent : own_agents) {
      once(agents, agent, ".hep_agents",
           "a HEP agent speaks for one instance; set another capture_id or capture_name in its "
           "hep.conf");
    }
    if (instance.ari.password.empty() && instance.ari.password_file.empty()) {
      errors.push_back(absl::StrFormat(
          "%s.password_file is missing: write the password of ARI user '%s' into a file that only "
          "sipheal may read, and name it here",
          loaded.Where(path + ".ari"), instance.ari.user));
    } else if (!instance.ari.password.empty() && !instance.ari.password_file.empty()) {
      errors.push_back(loaded.Where(path + ".ari.password") +
                       " is given beside password_file: keep one of them");
    }
  }
  if (config.hep.udp.empty() && config.hep.tcp.empty()) {
    errors.push_back(loaded.Where("hep") +
                     " names no address: set hep.udp or hep.tcp to where the media servers send "
                     "HEP, for example 127.0.0.1:9060");
  }
  if (config.store.sqlite.empty() && config.store.postgres.empty()) {
    errors.push_back(loaded.Where("store") +
                     " names no database: set store.sqlite to the path of a file, or "
                     "store.postgres to a server that several controllers share");
  } else if (!config.store.sqlite.empty() && !config.store.postgres.empty()) {
    errors.push_back(loaded.Where("store.postgres") + " is given beside sqlite: keep one of them");
  }
  if (!config.homer.url.empty() && !config.homer.postgres.empty()) {
    errors.push_back(loaded.Where("homer.postgres") + " is given beside url: keep one of them");
  }
  if (!config.homer.url.empty() && config.homer.token.empty() && config.homer.token_file.empty() &&
      config.homer.user.empty()) {
    errors.push_back(loaded.Where("homer.url") +
                     " has no credentials: set homer.token_file, or homer.user and "
                     "homer.password_file");
  }
  if (!config.hep.auth_key.empty() && !config.hep.auth_key_file.empty()) {
    errors.push_back(loaded.Where("hep.auth_key") +
                     " is given beside auth_key_file: keep one of them");
  }
  if (config.detector.probe_interval * 3 > config.detector.silence) {
    errors.push_back(absl::StrFormat(
        "%s is %s, more than a third of detector.silence (%s): a live instance could not answer "
        "three times in that silence; make it shorter",
        loaded.Where("detector.probe_interval"), DurationText(config.detector.probe_interval),
        DurationText(config.detector.silence)));
  }
  if (!config.recovery.kill_switch.empty() && !config.store.postgres.empty()) {
    errors.push_back(
        loaded.Where("recovery.kill_switch") +
        " is given beside store.postgres, which has a kill switch for all controllers: "
        "remove it");
  }
  if (config.detector.quorum > 1 && config.store.postgres.empty()) {
    errors.push_back(absl::StrFormat(
        "%s is %d, but only controllers that share a store.postgres hear each other: set "
        "store.postgres, or quorum to 1",
        loaded.Where("detector.quorum"), config.detector.quorum));
  }
  if (config.grpc.crash_reports && config.grpc.listen.empty()) {
    errors.push_back(loaded.Where("grpc.crash_reports") +
                     " is set, but nothing listens for reports: set grpc.listen");
  }
  if (config.pacing.min_rate > config.pacing.rate) {
    errors.push_back(absl::StrFormat("%s is %g, above pacing.rate (%g): make it smaller",
                                     loaded.Where("pacing.min_rate"), config.pacing.min_rate,
                                     config.pacing.rate));
  }
  if (!config.fence.command.empty() && config.fence.command.front().front() != '/') {
    errors.push_back(absl::StrFormat(
        "%s begins with '%s': give the program with its whole path; no shell looks for it",
        loaded.Where("fence.command"), config.fence.command.front()));
  }
}

}  // namespace

std::string LoadedConfig::Where(const std::string& path) const {
  // The nearest place that is written: the value itself, or the section around it.
  std::string at = path;
  while (true) {
    const auto found = origins.find(at);
    if (found != origins.end()) return found->second + ": " + path;
    const std::size_t cut = at.find_last_of(".[");
    if (cut == std::string::npos || cut == 0) return file + ": " + path;
    at.resize(cut);
  }
}

absl::StatusOr<LoadedConfig> ReadConfig(const ConfigNode& root, const std::string& file) {
  LoadedConfig loaded;
  loaded.file = file;
  ReadState state;
  ConfigReader reader(&root, "", root.origin, state);
  DescribeConfig(reader, loaded.config);
  reader.Finish();
  loaded.origins = std::move(state.origins);
  if (state.errors.empty()) {
    FillIn(loaded);
    CheckTogether(loaded, state.errors);
    CheckTimeouts(loaded, state.errors);
  }
  if (state.errors.empty()) return loaded;
  std::string text;
  for (std::size_t i = 0; i < state.errors.size() && i < kMostErrors; ++i) {
    text += (i == 0 ? "" : "\n") + state.errors[i];
  }
  if (state.errors.size() > kMostErrors) {
    text +=
        absl::StrFormat("\n... and %d more", static_cast<int>(state.errors.size() - kMostErrors));
  }
  return absl::InvalidArgumentError(text);
}

absl::StatusOr<LoadedConfig> LoadConfig(const std::string& path,
                                        const std::map<std::string, std::string>& environment) {
  ABSL_ASSIGN_OR_RETURN(ConfigNode root, LoadYaml(path));
  ABSL_RETURN_IF_ERROR(ApplyEnvironment(environment, root));
  return ReadConfig(root, path);
}

absl::StatusOr<std::string> ReadSecretFile(const std::string& path, const std::string& where) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text;
  if (file) text.assign(std::istreambuf_iterator<char>(file), {});
  if (!file || file.bad()) {
    return absl::NotFoundError(absl::StrFormat(
        "%s: the file %s cannot be read: %s: create it with the secret in it, readable by the user "
        "that runs sipheal",
        where, path, std::strerror(errno == 0 ? EIO : errno)));
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  if (!text.empty() && text.back() == '\r') text.pop_back();
  if (text.empty()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: the file %s is empty: write the secret into it", where, path));
  }
  return text;
}

absl::Status CheckSecretFiles(const LoadedConfig& loaded) {
  std::string errors;
  const auto check = [&](const std::string& file, const std::string& path) {
    if (file.empty()) return;
    const absl::StatusOr<std::string> secret = ReadSecretFile(file, loaded.Where(path));
    if (!secret.ok()) {
      errors += (errors.empty() ? "" : "\n") + std::string(secret.status().message());
    }
  };
  for (std::size_t i = 0; i < loaded.config.instances.size(); ++i) {
    check(loaded.config.instances[i].ari.password_file,
          absl::StrFormat("instances[%d].ari.password_file", static_cast<int>(i)));
  }
  check(loaded.config.hep.auth_key_file, "hep.auth_key_file");
  return errors.empty() ? absl::OkStatus() : absl::InvalidArgumentError(errors);
}

}  // namespace sipheal::inline v0_1::cli
