// SPDX-License-Identifier: Apache-2.0
// A host that composes a Healer, and serves and speaks sipheal.v1 itself, needs nothing else.
#include <sipheal/adapters/grpc.h>
#include <sipheal/adapters/grpc_healer.h>
#include <sipheal/v1/flow_resumer.grpc.pb.h>

#include <cstdio>

class Host final : public sipheal::v1::FlowResumerService::Service {};

int main() {
  const Host host;
  const auto resumer = sipheal::MakeGrpcFlowResumer({.target = "flows.example.org:7443", .plain_text = true});
  std::printf("grpc: %s\n", std::string(resumer.status().message()).c_str());
  return absl::IsInvalidArgument(resumer.status()) ? 0 : 1;
}
