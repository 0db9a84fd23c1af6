// SPDX-License-Identifier: Apache-2.0
#include "tests/sip/test_data.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "tests/support/source_dir.h"

namespace sipheal::testing {
std::string TestDataOrSkip(const std::string& name) {
  const char* from_environment = std::getenv("SIPHEAL_TEST_DATA");
  const std::filesystem::path root =
      from_environment != nullptr ? std::filesystem::path(from_environment)
                                  : std::filesystem::path(SourceDir()) / "../shared/data";
  const std::filesystem::path folder = root / name;
  if (std::filesystem::is_directory(folder)) return folder.string();
  std::cerr << "SKIPPED: no test data at " << folder << '\n';
  return {};
}

std::string ReadFileOrDie(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::cerr << "cannot read " << path << '\n';
    std::abort();
  }
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<std::vector<std::string>> ReadTsv(const std::string& path) {
  std::vector<std::vector<std::string>> rows;
  std::istringstream text(ReadFileOrDie(path));
  std::string line;
  while (std::getline(text, line)) {
    std::vector<std::string> cells;
    std::size_t begin = 0;
    for (;;) {
      const std::size_t end = line.find('\t', begin);
      cells.push_back(line.substr(begin, end == line.npos ? line.npos : end - begin));
      if (end == line.npos) break;
      begin = end + 1;
    }
    rows.push_back(std::move(cells));
  }
  return rows;
}

}  // namespace sipheal::testing
