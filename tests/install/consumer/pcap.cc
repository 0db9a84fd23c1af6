// SPDX-License-Identifier: Apache-2.0
#include <sipheal/adapters/pcap.h>

#include <cstdio>

int main() {
  const auto contents = sipheal::ReadPcap("/nonexistent.pcap");
  std::printf("pcap: %s\n", std::string(contents.status().message()).c_str());
  return absl::IsNotFound(contents.status()) ? 0 : 1;
}
