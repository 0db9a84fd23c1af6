// SPDX-License-Identifier: Apache-2.0
#include <sipheal/adapters/homer.h>

#include <cstdio>

int main() {
  const auto capture = sipheal::MakeHomerCapture({.url = "homer"});
  std::printf("homer: %s\n", std::string(capture.status().message()).c_str());
  return absl::IsInvalidArgument(capture.status()) ? 0 : 1;
}
