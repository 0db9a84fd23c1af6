// SPDX-License-Identifier: Apache-2.0
#include <sipheal/adapters/ari.h>

#include <cstdio>

int main() {
  sipheal::AriOptions options;
  options.instances = {{.name = "one", .url = "gopher://nowhere"}};
  const auto connections = sipheal::ConnectAri(options);
  std::printf("ari: %s\n", std::string(connections.status().message()).c_str());
  return absl::IsInvalidArgument(connections.status()) ? 0 : 1;
}
