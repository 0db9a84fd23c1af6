// SPDX-License-Identifier: Apache-2.0
// The model's values as messages of sipheal.v1, and what of them comes back.
#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <chrono>
#include <optional>

#include "grpc/proto_text.h"
#include "sipheal/adapters/grpc.h"
#include "sipheal/model/session.h"
#include "sipheal/v1/recovery.pb.h"
#include "sipheal/v1/session.pb.h"

namespace sipheal::inline v0_1::internal {

// Times beyond the years 1 to 9999, which a Timestamp cannot say, become the nearest that it can.
google::protobuf::Timestamp ToProto(WallTime time);
google::protobuf::Duration ToProto(std::chrono::milliseconds duration);
// Empty when it is no valid Timestamp or Duration.
std::optional<WallTime> FromProto(const google::protobuf::Timestamp& time);
std::optional<std::chrono::milliseconds> FromProto(const google::protobuf::Duration& duration);

v1::Incarnation ToProto(const Incarnation& incarnation, ProtoText& text);
v1::Session ToProto(const Session& session, ProtoText& text);
v1::Crash ToProto(const CrashEvent& crash);
v1::Recovery ToProto(const RecoveryReport& report);
v1::RecoveryStep ToProto(const JournalEntry& entry);
v1::RecoveryStage ToProto(RecoveryStage stage);
v1::Outcome ToProto(Outcome outcome);
// All but the cursor.
v1::WatchEventsResponse ToProto(const RecoveryEvent& event);

}  // namespace sipheal::inline v0_1::internal
