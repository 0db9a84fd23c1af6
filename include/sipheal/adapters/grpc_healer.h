// SPDX-License-Identifier: Apache-2.0
// Joins a Healer and a GrpcServer, for a host that has both. Of the component grpc; only functions
// that the host compiles, since an adapter itself does not know the engine.
//
//   auto healer = Healer::Create(std::move(options), parts);
//   GrpcServerOptions serving{.listen = "0.0.0.0:7443", ...};
//   serving.store = parts.store;
//   serving.control = MakeHealerControl(**healer);
//   auto server = MakeGrpcServer(std::move(serving));
//   (*healer)->AddListener(MakeGrpcEventListener(*server));
//   (*healer)->Start();
//   ...
//   (*server)->Stop();  // before the Healer goes
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/adapters/grpc.h"
#include "sipheal/healer.h"

namespace sipheal::inline v0_1 {

inline RecoveryReport ToRecoveryReport(const SessionReport& from) {
  RecoveryReport report;
  report.session = from.session;
  report.call_id = from.call_id;
  report.endpoint = from.endpoint;
  report.from = from.from;
  report.to = from.to;
  report.channel_id = from.channel_id;
  report.attempts = from.attempts;
  report.reason = from.reason;
  report.verdict = std::string(sip::ToString(from.verdict.token));
  report.verdict_reasons = from.verdict.reasons;
  report.invited_at = from.invited_at;
  report.answered_at = from.answered_at;
  return report;
}

inline RecoveryEvent ToRecoveryEvent(const HealerEvent& from) {
  RecoveryEvent event;
  event.at = from.at;
  switch (from.kind) {
    case HealerEventKind::kCrash:
      event.kind = RecoveryEvent::Kind::kCrash;
      event.crash = from.crash;
      break;
    case HealerEventKind::kStage:
      event.kind = RecoveryEvent::Kind::kStep;
      event.recovery = ToRecoveryReport(from.session);
      event.recovery.stage = from.stage;
      break;
    case HealerEventKind::kOutcome:
      event.kind = RecoveryEvent::Kind::kOutcome;
      event.recovery = ToRecoveryReport(from.session);
      event.recovery.stage = RecoveryStage::kFinished;
      event.recovery.outcome = from.session.outcome;
      event.recovery.finished_at = from.session.finished_at;
      break;
    case HealerEventKind::kDone: {
      event.kind = RecoveryEvent::Kind::kDone;
      if (from.report == nullptr) break;
      event.crash = from.report->crash;
      event.sessions = from.report->sessions.size();
      event.taken_by_others = from.report->taken_by_others;
      std::map<Outcome, std::uint64_t> outcomes;
      for (const SessionReport& session : from.report->sessions) ++outcomes[session.outcome];
      event.outcomes.assign(outcomes.begin(), outcomes.end());
      break;
    }
    case HealerEventKind::kReturned:
      event.kind = RecoveryEvent::Kind::kReturned;
      event.incarnation = from.incarnation;
      break;
  }
  return event;
}

// Publishes what the Healer says, for as long as somebody else keeps the server.
inline std::shared_ptr<HealerListener> MakeGrpcEventListener(
    const std::shared_ptr<GrpcServer>& server) {
  class Listener final : public HealerListener {
   public:
    explicit Listener(std::weak_ptr<GrpcServer> server) : server_(std::move(server)) {}
    void OnEvent(const HealerEvent& event) override {
      if (const auto server = server_.lock()) server->Publish(ToRecoveryEvent(event));
    }

   private:
    const std::weak_ptr<GrpcServer> server_;
  };
  return std::make_shared<Listener>(server);
}

// `healer` must outlive the server's Stop.
inline std::shared_ptr<RecoveryControl> MakeHealerControl(Healer& healer) {
  class Control final : public RecoveryControl {
   public:
    explicit Control(Healer& healer) : healer_(healer) {}

    absl::Status Recover(const CallContext& ctx, const std::string& instance) override {
      return healer_.Recover(ctx, instance);
    }
    absl::StatusOr<Explanation> Explain(const CallContext& ctx, const Session& session) override {
      const auto plans = healer_.Plan(ctx, session.incarnation.instance);
      if (!plans.ok()) return plans.status();
      const auto found = std::find_if(plans->begin(), plans->end(), [&](const RecoveryPlan& plan) {
        return plan.session.key() == session.key();
      });
      if (found == plans->end()) {
        return absl::NotFoundError("session " + session.id + " is over: ask for its recovery");
      }
      Explanation explanation;
      explanation.verdict = std::string(sip::ToString(found->verdict.token));
      explanation.verdict_reasons = found->verdict.reasons;
      explanation.variables = found->variables;
      explanation.reason = found->reason;
      if (!found->variables.empty()) {
        explanation.action = found->action == DialogAction::kReinvite
                                 ? Explanation::Action::kReinvite
                                 : Explanation::Action::kBye;
      }
      return explanation;
    }
    void Pause() override { healer_.Pause(); }
    void Resume() override { healer_.Resume(); }
    State state() const override {
      HealerStatus status = healer_.status();
      return {status.paused, status.recoveries, std::move(status.instances),
              std::move(status.lost)};
    }

   private:
    Healer& healer_;
  };
  return std::make_shared<Control>(healer);
}

}  // namespace sipheal::inline v0_1
