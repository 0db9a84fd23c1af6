// SPDX-License-Identifier: Apache-2.0
#include <sipheal/adapters/postgres.h>

#include <cstdio>

int main() {
  const auto store = sipheal::MakePostgresSessionStore({.dsn = ""});
  std::printf("postgres: %s\n", std::string(store.status().message()).c_str());
  return absl::IsInvalidArgument(store.status()) ? 0 : 1;
}
