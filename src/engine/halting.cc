// SPDX-License-Identifier: Apache-2.0
// The kill switch, and the orderly end: what is not sent any more, and what others may take over.
#include <algorithm>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "engine/engine.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

constexpr char kHeld[] = "sipheal/held";
constexpr milliseconds kLookAgain{1'000};
// The last words to the store: a host that stops does not wait for one that hangs.
constexpr milliseconds kLastWords{2'000};
constexpr milliseconds kLeaseGivenBack{1};
constexpr std::size_t kMostInOneWrite = 512;

}  // namespace

// --- the kill switch
// ----------------------------------------------------------------------------------

absl::Status MaySend(KillSwitch* kill_switch, const CallContext& ctx) {
  if (kill_switch == nullptr) return absl::OkStatus();
  absl::Status status = kill_switch->Check(ctx);
  if (!status.ok()) status.SetPayload(kHeld, absl::Cord());
  return status;
}

bool WasHeld(const absl::Status& status) { return status.GetPayload(kHeld).has_value(); }

// Nothing was sent: once it may be, the session has its next attempt. This one does not count.
void Engine::Held(const RecoveryPtr& recovery, const absl::Status& status) {
  Halt(status);
  LeaveTarget(*recovery);
  if (++recovery->held == recovery->attempt) recovery->invited_at.reset();
  if (!recovery->plan.dialog) {
    PlanAll({recovery}, recovery->session.incarnation.instance, 0);
    return;
  }
  recovery->stage = RecoveryStage::kRebuilt;
  WantTarget(recovery);
}

void Engine::Halt(const absl::Status& why) {
  if (std::exchange(halted_, true)) return;
  Log(LogLevel::kError, "kill_switch_thrown", "No re-INVITE and no BYE is sent until it is cleared",
      {{"status", std::string(why.message())}});
  {
    const std::lock_guard lock(mutex_);
    status_.halted = std::string(why.message());
  }
  loop_->After(kLookAgain, [this] { LookAtSwitch(); });
}

void Engine::LookAtSwitch() {
  calls_->Call<absl::Status>(
      "KillSwitch::Check", options_.plugin_timeout,
      [kill_switch = parts_.kill_switch](const CallContext& ctx) {
        return kill_switch->Check(ctx);
      },
      [this](const absl::Status& status) {
        if (!status.ok()) {
          loop_->After(kLookAgain, [this] { LookAtSwitch(); });
          return;
        }
        halted_ = false;
        Log(LogLevel::kWarning, "kill_switch_cleared", "Re-INVITEs and BYEs are sent again", {});
        {
          const std::lock_guard lock(mutex_);
          status_.halted.clear();
        }
        SchedulePlacing(clock_.Monotonic());
      });
}

// --- the orderly end
// ----------------------------------------------------------------------------------

// Nothing of this controller runs any more: its leases end now, and others need not wait until they
// run out. A call into the driver that still ran could yet send what another asks for in vain: then
// they keep the rest of their time.
void Engine::HandOver() {
  std::vector<SessionStore::AdvanceParams::Step> steps = journal_->TakeWaiting();
  const std::size_t unwritten = steps.size();
  for (const auto& [key, recovery] : recoveries_) {
    if (recovery->waiting == Waiting::kFinish) continue;  // what was to be said of it is said
    steps.push_back(StepOf(*recovery, recovery->stage, "handed over"));
  }
  if (steps.empty()) return;
  const CallContext ctx{.deadline = SystemClock().Monotonic() +
                                    std::min(kLastWords, options_.plugin_timeout)};
  absl::Status status;
  for (std::size_t begin = 0; begin < steps.size() && status.ok(); begin += kMostInOneWrite) {
    SessionStore::AdvanceParams params;
    params.lease = kLeaseGivenBack;
    const auto from = steps.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto count = std::min(kMostInOneWrite, steps.size() - begin);
    params.steps.assign(from, from + static_cast<std::ptrdiff_t>(count));
    using Result = absl::StatusOr<std::vector<absl::Status>>;
    status = Guarded<Result>("SessionStore::Advance", [&] {
               return parts_.store->Advance(ctx, params);
             }).status();
  }
  if (status.ok()) {
    Log(LogLevel::kInfo, "handed_over", "Recoveries under way are left to other controllers",
        {{"sessions", absl::StrFormat("%d", steps.size() - unwritten)}});
  } else {
    Log(LogLevel::kWarning, "hand_over_failed",
        "Recoveries under way go on elsewhere when their leases have run out",
        {{"status", std::string(status.message())}});
  }
}

}  // namespace sipheal::inline v0_1::internal
