// SPDX-License-Identifier: Apache-2.0
// ConfigNode: a configuration file as a tree in which every value knows where it was written, so
// that each error can name file and line, or the environment variable.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sipheal::inline v0_1::cli {

struct ConfigNode {
  enum class Kind { kEmpty, kScalar, kMap, kList };
  struct Entry;

  Kind kind = Kind::kEmpty;
  std::string scalar;
  std::vector<Entry> entries;     // of a map, in the order of the file
  std::vector<ConfigNode> items;  // of a list
  std::string origin;             // "sipheal.yaml:12"
};

struct ConfigNode::Entry {
  std::string key;
  std::string origin;
  ConfigNode value;
};

// Reads YAML text; `name` is the file's name in errors. InvalidArgument names file and line.
absl::StatusOr<ConfigNode> ParseYaml(std::string_view text, const std::string& name);
// NotFound or PermissionDenied say why the file cannot be read.
absl::StatusOr<ConfigNode> LoadYaml(const std::string& path);

// Puts SIPHEAL_<SECTION>__<FIELD> over what the file says; a list item is named by its position
// from 0 (SIPHEAL_INSTANCES__0__ARI__PASSWORD). Variables without a double underscore are not
// looked at. InvalidArgument names the variable.
absl::Status ApplyEnvironment(const std::map<std::string, std::string>& environment,
                              ConfigNode& root);
// This process's environment.
std::map<std::string, std::string> ProcessEnvironment();

}  // namespace sipheal::inline v0_1::cli
