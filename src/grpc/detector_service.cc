// SPDX-License-Identifier: Apache-2.0
#include "grpc/detector_service.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "grpc/call_runner.h"
#include "grpc/model_to_proto.h"
#include "grpc/proto_text.h"

namespace sipheal::inline v0_1::internal {
namespace {

constexpr int kMostReports = 1'000;

grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const absl::Status& status) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

absl::StatusOr<LifeState> StateOf(v1::LifeState state) {
  switch (state) {
    case v1::LIFE_STATE_ALIVE:
      return LifeState::kAlive;
    case v1::LIFE_STATE_GONE:
      return LifeState::kGone;
    case v1::LIFE_STATE_SILENT:
      return LifeState::kSilent;
    case v1::LIFE_STATE_DECLARED_DEAD:
      return LifeState::kDeclaredDead;
    default:
      return absl::InvalidArgumentError(absl::StrFormat(
          "state %d is not known here: say what was seen", static_cast<int>(state)));
  }
}

absl::StatusOr<LifeReport> FromProto(const std::string& reporter, const v1::LifeReport& from) {
  LifeReport report;
  report.reporter = reporter;
  report.incarnation = {from.instance(), from.life()};
  ABSL_ASSIGN_OR_RETURN(report.state, StateOf(from.state()));
  if (from.has_observed_at()) {
    report.observed_at = internal::FromProto(from.observed_at());
    if (!report.observed_at) return absl::InvalidArgumentError("observed_at is no time");
  }
  if (from.has_last_alive()) {
    report.last_alive = internal::FromProto(from.last_alive());
    if (!report.last_alive) return absl::InvalidArgumentError("last_alive is no time");
  }
  if (from.has_valid_for()) {
    const auto valid_for = internal::FromProto(from.valid_for());
    if (!valid_for || *valid_for <= std::chrono::milliseconds(0)) {
      return absl::InvalidArgumentError("valid_for is no time: set it from 200 ms to 1 h");
    }
    report.valid_for = *valid_for;
  }
  report.evidence = {from.evidence().begin(), from.evidence().end()};
  return report;
}

}  // namespace

DetectorService::DetectorService(std::shared_ptr<GrpcCrashDetector> detector)
    : detector_(std::move(detector)) {}

grpc::ServerUnaryReactor* DetectorService::Report(grpc::CallbackServerContext* context,
                                                  const v1::ReportRequest* request,
                                                  v1::ReportResponse* response) {
  if (request->reports_size() > kMostReports) {
    return Answer(context, absl::InvalidArgumentError(
                               absl::StrFormat("%d reports in one request: send at most %d",
                                               request->reports_size(), kMostReports)));
  }
  for (int i = 0; i < request->reports_size(); ++i) {
    const absl::StatusOr<LifeReport> report = FromProto(request->reporter(), request->reports(i));
    const absl::Status status = report.ok() ? detector_->Report(*report) : report.status();
    if (status.ok()) continue;
    v1::ReportProblem& problem = *response->add_problems();
    problem.set_index(static_cast<std::uint32_t>(i));
    problem.set_kind(absl::IsNotFound(status) ? v1::REPORT_PROBLEM_KIND_UNKNOWN_INSTANCE
                                              : v1::REPORT_PROBLEM_KIND_INVALID);
    problem.set_message(OneLine(std::string(status.message())));
  }
  return Answer(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* DetectorService::AnnounceStop(grpc::CallbackServerContext* context,
                                                        const v1::AnnounceStopRequest* request,
                                                        v1::AnnounceStopResponse* /*response*/) {
  const std::optional<WallTime> until =
      request->has_until() ? internal::FromProto(request->until()) : std::nullopt;
  if (!until) return Answer(context, absl::InvalidArgumentError("until is needed: a time"));
  return Answer(context, detector_->AnnounceStop({request->instance(), *until}));
}

}  // namespace sipheal::inline v0_1::internal
