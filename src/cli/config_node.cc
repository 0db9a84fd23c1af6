// SPDX-License-Identifier: Apache-2.0
#include "cli/config_node.h"

#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"

namespace sipheal::inline v0_1::cli {
namespace {

// Deeper than any real configuration; an alias that contains itself ends here.
constexpr int kMaxDepth = 16;

std::string Where(const std::string& name, const YAML::Mark& mark) {
  return absl::StrFormat("%s:%d", name, mark.line + 1);
}

absl::StatusOr<ConfigNode> Convert(const YAML::Node& yaml, const std::string& name, int depth) {
  ConfigNode node;
  node.origin = Where(name, yaml.Mark());
  if (depth > kMaxDepth) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: the configuration is nested too deeply: at most %d levels", node.origin, kMaxDepth));
  }
  if (yaml.IsScalar()) {
    node.kind = ConfigNode::Kind::kScalar;
    node.scalar = yaml.Scalar();
  } else if (yaml.IsSequence()) {
    node.kind = ConfigNode::Kind::kList;
    for (const YAML::Node& item : yaml) {
      ABSL_ASSIGN_OR_RETURN(ConfigNode child, Convert(item, name, depth + 1));
      node.items.push_back(std::move(child));
    }
  } else if (yaml.IsMap()) {
    node.kind = ConfigNode::Kind::kMap;
    std::set<std::string> seen;
    for (const auto& pair : yaml) {
      const std::string origin = Where(name, pair.first.Mark());
      if (!pair.first.IsScalar()) {
        return absl::InvalidArgumentError(
            absl::StrFormat("%s: a key is a list or a map: write a word before the colon", origin));
      }
      const std::string key = pair.first.Scalar();
      if (!seen.insert(key).second) {
        return absl::InvalidArgumentError(
            absl::StrFormat("%s: '%s' is there twice: keep one of them", origin, key));
      }
      ABSL_ASSIGN_OR_RETURN(ConfigNode child, Convert(pair.second, name, depth + 1));
      node.entries.push_back({key, origin, std::move(child)});
    }
  }
  return node;
}

absl::Status Overlay(const std::string& variable, const std::string& value,
                     const std::vector<std::string>& path, ConfigNode& root) {
  const std::string origin = "environment variable " + variable;
  ConfigNode* node = &root;
  for (const std::string& part : path) {
    if (node->kind == ConfigNode::Kind::kList) {
      const bool number = !part.empty() && part.size() < 6 &&
                          std::all_of(part.begin(), part.end(),
                                      [](unsigned char c) { return std::isdigit(c) != 0; });
      const std::size_t index = number ? std::stoul(part) : 0;
      if (!number || index >= node->items.size()) {
        return absl::InvalidArgumentError(
            absl::StrFormat("%s: '%s' is no item of a list of %d: count from 0", origin, part,
                            static_cast<int>(node->items.size())));
      }
      node = &node->items[index];
      continue;
    }
    if (node->kind != ConfigNode::Kind::kMap) {
      *node = ConfigNode{};
      node->kind = ConfigNode::Kind::kMap;
      node->origin = origin;
    }
    auto entry = std::find_if(node->entries.begin(), node->entries.end(),
                              [&](const ConfigNode::Entry& e) { return e.key == part; });
    if (entry == node->entries.end()) {
      node->entries.push_back({part, origin, ConfigNode{}});
      entry = std::prev(node->entries.end());
      entry->value.origin = origin;
    }
    node = &entry->value;
    if (&part == &path.back()) entry->origin = origin;
  }
  *node = ConfigNode{};
  node->kind = ConfigNode::Kind::kScalar;
  node->scalar = value;
  node->origin = origin;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ConfigNode> ParseYaml(std::string_view text, const std::string& name) {
  try {
    const YAML::Node yaml = YAML::Load(std::string(text));
    ABSL_ASSIGN_OR_RETURN(ConfigNode root, Convert(yaml, name, 0));
    if (root.kind == ConfigNode::Kind::kEmpty) {
      root.kind = ConfigNode::Kind::kMap;
      root.origin = name + ":1";
    }
    if (root.kind != ConfigNode::Kind::kMap) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: the file is not a map of sections: begin with 'instances:'", root.origin));
    }
    return root;
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: this is not YAML: %s: check indentation, quotes and colons of this line and the one "
        "before",
        Where(name, error.mark), error.msg));
  }
}

absl::StatusOr<ConfigNode> LoadYaml(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text;
  if (file) text.assign(std::istreambuf_iterator<char>(file), {});
  if (!file || file.bad()) {
    const int error = errno;
    const std::string message = absl::StrFormat(
        "the configuration %s cannot be read: %s: check the path and the rights of user %d", path,
        std::strerror(error == 0 ? EIO : error), static_cast<int>(geteuid()));
    return error == EACCES ? absl::PermissionDeniedError(message) : absl::NotFoundError(message);
  }
  return ParseYaml(text, path);
}

absl::Status ApplyEnvironment(const std::map<std::string, std::string>& environment,
                              ConfigNode& root) {
  constexpr std::string_view kPrefix = "SIPHEAL_";
  for (const auto& [variable, value] : environment) {
    if (variable.rfind(kPrefix, 0) != 0 || variable.find("__") == std::string::npos) continue;
    std::string rest = variable.substr(kPrefix.size());
    std::transform(rest.begin(), rest.end(), rest.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    std::vector<std::string> path;
    std::size_t begin = 0;
    for (std::size_t end = rest.find("__"); end != std::string::npos;
         begin = end + 2, end = rest.find("__", begin)) {
      path.push_back(rest.substr(begin, end - begin));
    }
    path.push_back(rest.substr(begin));
    ABSL_RETURN_IF_ERROR(Overlay(variable, value, path, root));
  }
  return absl::OkStatus();
}

std::map<std::string, std::string> ProcessEnvironment() {
  std::map<std::string, std::string> environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::size_t equals = text.find('=');
    if (equals != std::string::npos) environment[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return environment;
}

}  // namespace sipheal::inline v0_1::cli
