// SPDX-License-Identifier: Apache-2.0
#include <sipheal/adapters/memory.h>
#include <sipheal/sipheal.h>

#include <cstdio>

int main() {
  const auto store = sipheal::MakeMemorySessionStore();
  sipheal::HealerParts parts;
  parts.store = store;
  const auto healer = sipheal::Healer::Create({}, parts);
  std::printf("core %s: %s\n", SIPHEAL_VERSION, std::string(healer.status().message()).c_str());
  return absl::IsInvalidArgument(healer.status()) ? 0 : 1;
}
