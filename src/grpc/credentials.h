// SPDX-License-Identifier: Apache-2.0
// Who may talk to whom: certificates from files, and where plain text is allowed.
#pragma once

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/adapters/grpc.h"

namespace sipheal::inline v0_1::internal {

// Whether bytes sent there stay on this machine: a Unix socket, 127.0.0.0/8, ::1 or localhost, in
// gRPC's forms of naming.
bool IsLocalTarget(std::string_view target);

// Keeps gRPC up for the rest of the process, from the first call on. When its last object goes,
// gRPC 1.51 ends its threads, which now and then takes ten seconds, and races with its next
// beginning.
void KeepGrpc();

// NotFound and InvalidArgument name the file.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ClientCredentials(
    const GrpcFlowResumerOptions& options);
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const GrpcServerOptions& options);

}  // namespace sipheal::inline v0_1::internal
