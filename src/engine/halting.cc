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

// Whether a server may yet do what it was asked. Another controller would not find the channel, and
// ask a second time.
bool OnTheWire(const Recovery& recovery) {
  if (recovery.waiting == Waiting::kFinish) return false;
  if (recovery.hang_up && *recovery.hang_up == Sending::kUnknown) return true;
  const bool creating =
      recovery.stage == RecoveryStage::kInviting || recovery.stage == RecoveryStage::kEnding;
  return creating && recovery.create && *recovery.create == Sending::kUnknown;
}

// The attempt was written down, and then came the stop.
bool NeverSent(const Recovery& recovery) {
  if (!recovery.create || *recovery.create != Sending::kNotBegun) return false;
  return recovery.stage == RecoveryStage::kInviting || recovery.stage == RecoveryStage::kEnding;
}

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
  journal_->Append(StepOf(*recovery, RecoveryStage::kRebuilt, kNotSent),
                   [this, recovery](const absl::Status& written) {
                     if (!written.ok() && IsOpen(*recovery)) LeaseLost(recovery);
                   });
  recovery->stage = RecoveryStage::kRebuilt;
  if (!recovery->plan.dialog) {
    PlanAll({recovery}, recovery->session.incarnation.instance, 0);
    return;
  }
  WantTarget(recovery);
}

void Engine::Halt(const absl::Status& why) {
  if (stopping_) return;
  const bool thrown = absl::IsFailedPrecondition(why);
  const bool news = !halted_ || thrown != thrown_;
  const bool look = !std::exchange(halted_, true);
  thrown_ = thrown;
  {
    const std::lock_guard lock(mutex_);
    status_.halted = std::string(why.message());
  }
  if (news && thrown) {
    Log(LogLevel::kError, "kill_switch_thrown",
        "No re-INVITE and no BYE is sent until it is cleared",
        {{"status", std::string(why.message())}});
  } else if (news) {
    Log(LogLevel::kError, "kill_switch_unreadable",
        "No re-INVITE and no BYE is sent until the kill switch can be read",
        {{"status", std::string(why.message())}});
  }
  if (look) loop_->After(kLookAgain, [this] { LookAtSwitch(); });
}

void Engine::LookAtSwitch() {
  calls_->Call<absl::Status>(
      "KillSwitch::Check", options_.plugin_timeout,
      [kill_switch = parts_.kill_switch](const CallContext& ctx) {
        return kill_switch->Check(ctx);
      },
      [this](const absl::Status& status) {
        if (!status.ok()) {
          Halt(status);
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

struct Engine::LastWords {
  std::vector<SessionStore::AdvanceParams::Step> give_back;
  std::size_t unwritten = 0;  // of these, the first: what still waited to be written
  // Of sessions of which something may be on its way to the phone yet.
  std::vector<SessionStore::AdvanceParams::Step> keep;
  std::size_t kept = 0;  // sessions
};

Engine::LastWords Engine::GatherLastWords() {
  LastWords words;
  for (auto& step : journal_->TakeWaiting()) {
    const auto found = recoveries_.find(step.entry.session);
    const bool keep = found != recoveries_.end() && OnTheWire(*found->second);
    (keep ? words.keep : words.give_back).push_back(std::move(step));
  }
  words.unwritten = words.give_back.size();
  for (const auto& [key, recovery] : recoveries_) {
    if (recovery->waiting == Waiting::kFinish) continue;  // what was to be said of it is said
    if (OnTheWire(*recovery)) {
      ++words.kept;
      continue;
    }
    auto step = NoteOn(*recovery, "handed over");
    if (NeverSent(*recovery)) {
      step.entry.stage = RecoveryStage::kRebuilt;
      step.entry.reason = kNotSent;
    }
    words.give_back.push_back(std::move(step));
  }
  return words;
}

// How many of the last `steps` were taken, one by one; `status` is of the store as a whole.
std::size_t Engine::Say(const CallContext& ctx,
                        const std::vector<SessionStore::AdvanceParams::Step>& steps,
                        milliseconds lease, std::size_t uncounted, absl::Status& status) {
  std::size_t taken = 0;
  for (std::size_t begin = 0; begin < steps.size() && status.ok(); begin += kMostInOneWrite) {
    SessionStore::AdvanceParams params;
    params.lease = lease;
    const auto from = steps.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto count = std::min(kMostInOneWrite, steps.size() - begin);
    params.steps.assign(from, from + static_cast<std::ptrdiff_t>(count));
    using Result = absl::StatusOr<std::vector<absl::Status>>;
    const Result result = Guarded<Result>("SessionStore::Advance",
                                          [&] { return parts_.store->Advance(ctx, params); });
    status = result.status();
    if (!result.ok()) return taken;
    for (std::size_t i = 0; i < result->size(); ++i) {
      if (begin + i >= uncounted && (*result)[i].ok()) ++taken;
    }
  }
  return taken;
}

// Nothing of this controller runs any more: its leases end now, and others need not wait until they
// run out. Where something may still be on its way to a phone, they keep their time.
void Engine::HandOver() {
  const LastWords words = GatherLastWords();
  if (words.give_back.empty() && words.keep.empty() && words.kept == 0) return;
  const CallContext ctx{.deadline =
                            clock_.Monotonic() + std::min(kLastWords, options_.plugin_timeout)};
  absl::Status status;
  const std::size_t sessions = words.give_back.size() - words.unwritten;
  const std::size_t handed_over =
      Say(ctx, words.give_back, kLeaseGivenBack, words.unwritten, status);
  Say(ctx, words.keep, options_.lease, 0, status);
  if (!status.ok()) {
    Log(LogLevel::kWarning, "hand_over_failed",
        "Recoveries under way go on elsewhere when their leases have run out",
        {{"status", std::string(status.message())}});
    return;
  }
  Log(LogLevel::kInfo, "handed_over", "Recoveries under way are left to other controllers",
      {{"sessions", absl::StrFormat("%d", handed_over)},
       {"refused", absl::StrFormat("%d", sessions - handed_over)},
       {"keep_their_lease", absl::StrFormat("%d", words.kept)}});
}

}  // namespace sipheal::inline v0_1::internal
