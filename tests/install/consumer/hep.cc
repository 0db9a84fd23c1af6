// SPDX-License-Identifier: Apache-2.0
#include <sipheal/adapters/hep.h>

#include <cstdio>

int main() {
  sipheal::HepOptions options;
  options.instances = {{}};  // without a name
  const auto receiver = sipheal::MakeHepReceiver(options);
  std::printf("hep: %s\n", std::string(receiver.status().message()).c_str());
  return absl::IsInvalidArgument(receiver.status()) ? 0 : 1;
}
