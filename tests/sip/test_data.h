// SPDX-License-Identifier: Apache-2.0
// The captures and messages that lie beside the project (SIPHEAL_TEST_DATA, or ../shared/data).
#pragma once

#include <string>
#include <vector>

namespace sipheal::testing {

// The folder `name` of the test data; empty when there is none: the test must skip, loudly.
std::string TestDataOrSkip(const std::string& name);
std::string ReadFileOrDie(const std::string& path);
std::vector<std::vector<std::string>> ReadTsv(const std::string& path);

}  // namespace sipheal::testing
