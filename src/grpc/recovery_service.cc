// SPDX-License-Identifier: Apache-2.0
#include "grpc/recovery_service.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "grpc/model_to_proto.h"
#include "grpc/proto_text.h"
#include "model/store_rules.h"

namespace sipheal::inline v0_1::internal {
namespace {

constexpr std::uint32_t kDefaultPage = 100;
constexpr std::uint32_t kLargestPage = 1'000;
// What a page of sessions may come to: below gRPC's usual limit of 4 MiB for an answer, one session
// of full size more.
constexpr std::size_t kMostPageBytes = 2 * 1024 * 1024;

absl::StatusOr<std::size_t> PageSize(std::uint32_t asked) {
  if (asked > kLargestPage) {
    return absl::InvalidArgumentError(
        absl::StrFormat("page_size is %d: ask for at most %d", asked, kLargestPage));
  }
  return asked == 0 ? kDefaultPage : asked;
}

v1::PlannedAction ToProto(RecoveryControl::Explanation::Action action) {
  switch (action) {
    case RecoveryControl::Explanation::Action::kNone:
      return v1::PLANNED_ACTION_NONE;
    case RecoveryControl::Explanation::Action::kReinvite:
      return v1::PLANNED_ACTION_REINVITE;
    case RecoveryControl::Explanation::Action::kBye:
      return v1::PLANNED_ACTION_BYE;
  }
  return v1::PLANNED_ACTION_UNSPECIFIED;
}

}  // namespace

RecoveryService::RecoveryService(Parts parts, CallRunner& runner, RecoveryBook& book,
                                 EventWatchers& watchers)
    : parts_(std::move(parts)), runner_(runner), book_(book), watchers_(watchers) {}

grpc::ServerUnaryReactor* RecoveryService::ReportCrash(grpc::CallbackServerContext* context,
                                                       const v1::ReportCrashRequest* request,
                                                       v1::ReportCrashResponse* /*response*/) {
  return runner_.RunNow(*context, [this, request](const CallContext&) -> absl::Status {
    if (parts_.detector == nullptr) {
      return absl::FailedPreconditionError(
          "this server takes no reports of crashes: call RecoverInstance");
    }
    LifeReport report;
    report.reporter = "operator";
    report.incarnation = {request->incarnation().instance(), request->incarnation().life()};
    report.state = LifeState::kDeclaredDead;
    if (request->has_last_alive()) {
      report.last_alive = internal::FromProto(request->last_alive());
      if (!report.last_alive) return absl::InvalidArgumentError("last_alive is no time");
    }
    report.evidence = {request->evidence().begin(), request->evidence().end()};
    return parts_.detector->Report(report);
  });
}

grpc::ServerUnaryReactor* RecoveryService::RecoverInstance(
    grpc::CallbackServerContext* context, const v1::RecoverInstanceRequest* request,
    v1::RecoverInstanceResponse* /*response*/) {
  return runner_.Run(*context, [this, request](const CallContext& ctx) -> absl::Status {
    if (request->instance().empty()) return absl::InvalidArgumentError("instance is empty");
    return parts_.control->Recover(ctx, request->instance());
  });
}

grpc::ServerUnaryReactor* RecoveryService::ListSessions(grpc::CallbackServerContext* context,
                                                        const v1::ListSessionsRequest* request,
                                                        v1::ListSessionsResponse* response) {
  return runner_.Run(*context, [this, request, response](const CallContext& ctx) -> absl::Status {
    SessionStore::ListParams params;
    ABSL_ASSIGN_OR_RETURN(params.limit, PageSize(request->page_size()));
    params.page_token = request->page_token();
    // Fewer at a time, when they are large.
    while (true) {
      ABSL_ASSIGN_OR_RETURN(const SessionStore::SessionPage page, parts_.store->List(ctx, params));
      response->Clear();
      for (const Session& session : page.sessions) {
        if (!request->instance().empty() && session.incarnation.instance != request->instance()) {
          continue;
        }
        ProtoText text;
        *response->add_sessions() = internal::ToProto(session, text);
      }
      response->set_next_page_token(page.next_page_token);
      if (response->ByteSizeLong() <= kMostPageBytes || params.limit == 1) return absl::OkStatus();
      params.limit = std::max<std::size_t>(params.limit / 4, 1);
    }
  });
}

absl::StatusOr<Session> RecoveryService::FindSession(const CallContext& ctx,
                                                     const std::string& id) const {
  ABSL_RETURN_IF_ERROR(ValidateKey({id, 0}));
  // A store has no look-up by id: its pages are gone through.
  SessionStore::ListParams params;
  params.limit = 1'000;
  std::optional<Session> newest;
  while (true) {
    ABSL_ASSIGN_OR_RETURN(SessionStore::SessionPage page, parts_.store->List(ctx, params));
    for (Session& session : page.sessions) {
      if (session.id == id && (!newest || session.epoch > newest->epoch)) {
        newest = std::move(session);
      }
    }
    if (page.next_page_token.empty()) break;
    params.page_token = page.next_page_token;
  }
  if (newest) return *std::move(newest);
  return absl::NotFoundError(
      absl::StrFormat("the store has no session '%s' that is not over", OneLine(id, 64)));
}

grpc::ServerUnaryReactor* RecoveryService::GetSession(grpc::CallbackServerContext* context,
                                                      const v1::GetSessionRequest* request,
                                                      v1::GetSessionResponse* response) {
  return runner_.Run(*context, [this, request, response](const CallContext& ctx) -> absl::Status {
    ABSL_ASSIGN_OR_RETURN(const Session session, FindSession(ctx, request->session_id()));
    ProtoText text;
    *response->mutable_session() = internal::ToProto(session, text);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* RecoveryService::ListRecoveries(grpc::CallbackServerContext* context,
                                                          const v1::ListRecoveriesRequest* request,
                                                          v1::ListRecoveriesResponse* response) {
  return runner_.RunNow(*context, [this, request, response](const CallContext&) -> absl::Status {
    ABSL_ASSIGN_OR_RETURN(const std::size_t size, PageSize(request->page_size()));
    const std::string& token = request->page_token();
    std::uint64_t before = 0;
    const auto parsed = std::from_chars(token.data(), token.data() + token.size(), before);
    const bool whole = parsed.ec == std::errc() && parsed.ptr == token.data() + token.size();
    if (!token.empty() && (!whole || before == 0)) {
      return absl::InvalidArgumentError("this page_token was not made here");
    }
    const RecoveryBook::Page page = book_.List(before, size);
    for (const RecoveryReport& report : page.recoveries) {
      *response->add_recoveries() = internal::ToProto(report);
    }
    if (page.next != 0) response->set_next_page_token(std::to_string(page.next));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* RecoveryService::GetRecovery(grpc::CallbackServerContext* context,
                                                       const v1::GetRecoveryRequest* request,
                                                       v1::GetRecoveryResponse* response) {
  return runner_.Run(*context, [this, request, response](const CallContext& ctx) -> absl::Status {
    ABSL_RETURN_IF_ERROR(ValidateKey({request->session_id(), 0}));
    ABSL_ASSIGN_OR_RETURN(const std::vector<JournalEntry> journal,
                          parts_.store->Journal(ctx, request->session_id()));
    if (journal.empty()) {
      return absl::NotFoundError(absl::StrFormat(
          "session '%s' has no journal: it was not recovered", OneLine(request->session_id(), 64)));
    }
    for (const JournalEntry& entry : journal) *response->add_steps() = internal::ToProto(entry);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* RecoveryService::ExplainSession(grpc::CallbackServerContext* context,
                                                          const v1::ExplainSessionRequest* request,
                                                          v1::ExplainSessionResponse* response) {
  return runner_.Run(*context, [this, request, response](const CallContext& ctx) -> absl::Status {
    ABSL_ASSIGN_OR_RETURN(const Session session, FindSession(ctx, request->session_id()));
    ABSL_ASSIGN_OR_RETURN(const RecoveryControl::Explanation explanation,
                          parts_.control->Explain(ctx, session));
    ProtoText text;
    *response->mutable_session() = internal::ToProto(session, text);
    response->set_verdict(ToUtf8(explanation.verdict));
    for (const std::string& reason : explanation.verdict_reasons) {
      response->add_verdict_reasons(ToUtf8(reason));
    }
    response->set_action(ToProto(explanation.action));
    for (const auto& [name, value] : explanation.variables) {
      v1::ChannelVariable& variable = *response->add_variables();
      variable.set_name(ToUtf8(name));
      variable.set_value(value);
    }
    response->set_reason(ToUtf8(explanation.reason));
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<v1::WatchEventsResponse>* RecoveryService::WatchEvents(
    grpc::CallbackServerContext* /*context*/, const v1::WatchEventsRequest* request) {
  return watchers_.Watch(*request);
}

grpc::ServerUnaryReactor* RecoveryService::PauseRecovery(
    grpc::CallbackServerContext* context, const v1::PauseRecoveryRequest* /*request*/,
    v1::PauseRecoveryResponse* /*response*/) {
  return runner_.RunNow(*context, [this](const CallContext&) {
    parts_.control->Pause();
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* RecoveryService::ResumeRecovery(
    grpc::CallbackServerContext* context, const v1::ResumeRecoveryRequest* /*request*/,
    v1::ResumeRecoveryResponse* /*response*/) {
  return runner_.RunNow(*context, [this](const CallContext&) {
    parts_.control->Resume();
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* RecoveryService::GetStatus(grpc::CallbackServerContext* context,
                                                     const v1::GetStatusRequest* /*request*/,
                                                     v1::GetStatusResponse* response) {
  return runner_.RunNow(*context, [this, response](const CallContext&) {
    const RecoveryControl::State state = parts_.control->state();
    response->set_paused(state.paused);
    response->set_recoveries(state.recoveries);
    for (const std::string& name : state.instances) response->add_instances(ToUtf8(name));
    for (const Incarnation& incarnation : state.lost) {
      ProtoText text;
      *response->add_lost() = internal::ToProto(incarnation, text);
    }
    return absl::OkStatus();
  });
}

}  // namespace sipheal::inline v0_1::internal
