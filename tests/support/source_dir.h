// SPDX-License-Identifier: Apache-2.0
// Where this project's own files lie: ctest says so in the environment; a test started by hand runs at the root. (Not a
// macro: the absolute path in every command line would keep compilers' caches from being shared between clones.)
#pragma once

#include <cstdlib>
#include <string>

namespace sipheal {

inline std::string SourceDir() {
  const char* folder = std::getenv("SIPHEAL_SOURCE_DIR");
  return folder != nullptr ? folder : ".";
}

}  // namespace sipheal
