// SPDX-License-Identifier: Apache-2.0
// Reads a configuration: YAML with the environment over it, into Config. Every error names file,
// line and key, what was seen, and what to do; all errors of a file are reported at once.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/config.h"
#include "cli/config_node.h"

namespace sipheal::inline v0_1::cli {

struct LoadedConfig {
  Config config;
  // Where a value was written, by its path: "instances[0].ari.url" -> "sipheal.yaml:12". Values
  // that are not written have no entry.
  std::map<std::string, std::string> origins;
  std::string file;

  // "sipheal.yaml:12: hep.udp", or with the file alone when the value is a default.
  std::string Where(const std::string& path) const;
};

absl::StatusOr<LoadedConfig> ReadConfig(const ConfigNode& root, const std::string& file);
// File, then environment, then ReadConfig.
absl::StatusOr<LoadedConfig> LoadConfig(const std::string& path,
                                        const std::map<std::string, std::string>& environment);

// The content of a secret's file without its last newline; `where` begins the error.
absl::StatusOr<std::string> ReadSecretFile(const std::string& path, const std::string& where);
// Checks that the files that the configuration names can be read. Not part of LoadConfig, so that
// a configuration can be looked at on another machine.
absl::Status CheckSecretFiles(const LoadedConfig& loaded);

}  // namespace sipheal::inline v0_1::cli
