// SPDX-License-Identifier: Apache-2.0
#include <sipheal/adapters/sqlite.h>

#include <cstdio>

int main() {
  const auto store = sipheal::MakeSqliteSessionStore({.path = ""});
  std::printf("sqlite: %s\n", std::string(store.status().message()).c_str());
  return absl::IsInvalidArgument(store.status()) ? 0 : 1;
}
