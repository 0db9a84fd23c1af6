// SPDX-License-Identifier: Apache-2.0
#include "homer/rounds.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/absl_compat.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "model/store_rules.h"

namespace sipheal::inline v0_1::internal::homer {
namespace {

using std::chrono::milliseconds;

// A server that has been dead for this long beyond the delay has all of its messages in HOMER.
constexpr std::chrono::minutes kLongAgo{1};
// Without a deadline: what does not settle within this is given up.
constexpr std::chrono::seconds kPatience{10};
// What a round after the first leaves of the time, so that the one before can be handed over.
constexpr milliseconds kHandOver{30};
constexpr milliseconds kBetweenLooks{25};  // at a clock that cannot wake this thread
// HOMER compares whole seconds of the agents' clocks: `to` must lie well ahead.
constexpr std::chrono::minutes kAhead{10};
// No capture is older, and no sum of times overflows.
constexpr std::chrono::hours kOldest{24 * 365 * 20};

// HOMER's text is PostgreSQL's: what is not in it cannot have been stored, and cannot be asked for.
bool CanBeStored(std::string_view call_id) {
  if (call_id.empty() || call_id.find('\0') != call_id.npos) return false;
  while (!call_id.empty()) {
    char32_t code = 0;
    const std::size_t size = DecodeUtf8(call_id, code);
    if (size == 0) return false;
    call_id.remove_prefix(size);
  }
  return true;
}

class Rounds {
 public:
  Rounds(const CallContext& ctx, const SipCapture::FetchParams& params,
         const HomerReadOptions& options, const Clock& clock, Source& source)
      : ctx_(ctx), params_(params), options_(options), clock_(clock), source_(source) {
    const WallTime now = clock_.Now();
    const WallTime death = std::clamp(params.until.value_or(now), now - kOldest, now);
    settles_ = death + options.ingest_delay;
    long_ago_ = now >= settles_ + kLongAgo;
    // `since` is the host's word, by its own clock.
    from_ = std::clamp(params.since.value_or(now - options.lookback), now - kOldest, now) -
            options.clock_skew;
    give_up_ =
        clock_.Monotonic() + (settles_ > now ? settles_ - now : WallTime::duration(0)) + kPatience;
    for (const std::string& call_id : params.call_ids) {
      if (CanBeStored(call_id)) calls_.try_emplace(call_id);
    }
    for (const HomerInstanceOptions& instance : options.instances) {
      if (instance.instance == params.instance) agents_ = instance.agents;
    }
  }

  absl::StatusOr<std::vector<DialogCapture>> Run() {
    for (;;) {
      ABSL_RETURN_IF_ERROR(CheckContext(ctx_, clock_, "HOMER: fetch"));
      if (Pending().empty()) break;
      const MonotonicTime began = clock_.Monotonic();
      last_error_ = Round();
      if (absl::IsCancelled(last_error_)) return last_error_;
      // Nothing is known yet: who asks may have another source.
      if (!last_error_.ok() && rounds_ == 0) return last_error_;
      if (last_error_.ok()) {
        ++rounds_;
        too_early_ = last_began_ < settles_;
      }
      if (Pending().empty()) break;
      const auto next = NextRound(clock_.Monotonic() - began);
      if (!next) break;
      ABSL_RETURN_IF_ERROR(WaitUntil(*next));
    }
    return Captures();
  }

 private:
  struct Call {
    Gatherer::Found found;
    bool asked = false;
    bool settled = false;   // two rounds said the same, the second late enough
    bool believed = false;  // when nothing was found: that there is nothing
  };

  std::vector<std::string> Pending() const {
    std::vector<std::string> pending;
    for (const auto& [call_id, call] : calls_) {
      const bool done = call.settled && (call.believed || !call.found.messages.empty());
      if (!done) pending.push_back(call_id);
    }
    return pending;
  }

  absl::Status Round() {
    const std::vector<std::string> pending = Pending();
    Gatherer gatherer(agents_, options_.max_rows, options_.max_bytes);
    for (const std::string& call_id : pending) gatherer.Want(call_id);
    CallContext ctx = ctx_;
    if (rounds_ > 0 && ctx.deadline != MonotonicTime::max()) ctx.deadline -= kHandOver;
    const WallTime began = clock_.Now();
    last_began_ = began;
    const Window window{from_, began + std::max<std::chrono::minutes>(kAhead, options_.clock_skew)};
    ABSL_ASSIGN_OR_RETURN(const auto believed, source_.Ask(ctx, pending, window, gatherer));
    gatherer.Sort();
    for (const std::string& call_id : pending) {
      Call& call = calls_.at(call_id);
      Gatherer::Found found = gatherer.Take(call_id);
      call.believed = believed.contains(call_id);
      const bool same = call.asked && found.fingerprint == call.found.fingerprint &&
                        found.messages.size() == call.found.messages.size();
      call.settled = began >= settles_ && (same || long_ago_);
      // Rows do not go away, but a database that fails looks as if they did.
      if (found.messages.size() >= call.found.messages.size()) {
        call.found = std::move(found);
      } else {
        call.settled = false;
      }
      call.asked = true;
    }
    return absl::OkStatus();
  }

  // When to ask again, after a round that took so long; none when there is no time left for it.
  std::optional<MonotonicTime> NextRound(MonotonicTime::duration took) {
    if (was_last_) return std::nullopt;
    const MonotonicTime now = clock_.Monotonic();
    MonotonicTime last = give_up_;
    if (ctx_.deadline != MonotonicTime::max()) last = ctx_.deadline - 2 * took - 2 * kHandOver;
    MonotonicTime next = now + options_.requery_interval;
    // In between it would only be asked in vain: what it has now is read again anyway.
    const WallTime wall = clock_.Now();
    if (settles_ > wall) next = std::max(next, now + (settles_ - wall));
    if (next <= last) return next;
    // The deadline comes before the end of the delay: as late as can be.
    next = now + options_.requery_interval;
    if (next > last) return std::nullopt;
    was_last_ = true;
    return last;
  }

  absl::Status WaitUntil(MonotonicTime when) const {
    std::mutex mutex;
    std::condition_variable_any woken;
    std::unique_lock lock(mutex);
    for (;;) {
      ABSL_RETURN_IF_ERROR(CheckContext(ctx_, clock_, "HOMER: fetch"));
      const auto left = when - clock_.Monotonic();
      if (left <= MonotonicTime::duration(0)) return absl::OkStatus();
      const auto slice =
          &clock_ == &SystemClock() ? left : std::min<MonotonicTime::duration>(left, kBetweenLooks);
      woken.wait_for(lock, ctx_.stop, slice, [] { return false; });
    }
  }

  absl::StatusOr<std::vector<DialogCapture>> Captures() {
    const absl::Status unknown =
        last_error_.ok() ? absl::UnavailableError(source_.WhyNotBelieved()) : last_error_;
    const auto is_known = [&](const Call& call) {
      return !call.found.messages.empty() || (call.asked && call.believed && last_error_.ok());
    };
    // Those that are known do not wait for those that are not.
    const bool all_unknown = std::none_of(calls_.begin(), calls_.end(),
                                          [&](const auto& one) { return is_known(one.second); });
    if (!calls_.empty() && all_unknown) return unknown;
    std::vector<DialogCapture> captures;
    captures.reserve(params_.call_ids.size());
    std::map<std::string_view, std::size_t> first;  // where a Call-ID that is asked twice was
    for (const std::string& call_id : params_.call_ids) {
      const auto [same, is_new] = first.try_emplace(call_id, captures.size());
      if (!is_new) {
        captures.push_back(DialogCapture(captures[same->second]));
        continue;
      }
      DialogCapture& capture = captures.emplace_back();
      capture.call_id = call_id;
      const auto call = calls_.find(call_id);
      if (call == calls_.end()) continue;
      if (!is_known(call->second)) {
        capture.status = unknown;
      } else if (too_early_) {
        capture.status = absl::UnavailableError(
            "HOMER: the time ended before ingest_delay: it may have more of this Call-ID soon");
      }
      if (call->second.found.messages.empty()) continue;
      capture.completeness = Completeness::kBestEffort;
      capture.messages = std::move(call->second.found.messages);
    }
    return captures;
  }

  const CallContext& ctx_;
  const SipCapture::FetchParams& params_;
  const HomerReadOptions& options_;
  const Clock& clock_;
  Source& source_;
  WallTime settles_;
  bool long_ago_ = false;
  WallTime from_;
  MonotonicTime give_up_;
  std::vector<std::string> agents_;
  std::map<std::string, Call> calls_;
  int rounds_ = 0;  // that were answered
  WallTime last_began_{};
  bool too_early_ = true;  // when the last answer came, what was seen may not have been readable
  bool was_last_ = false;  // there is no time for another round
  absl::Status last_error_;
};

}  // namespace

absl::StatusOr<std::vector<DialogCapture>> FetchInRounds(const CallContext& ctx,
                                                         const SipCapture::FetchParams& params,
                                                         const HomerReadOptions& options,
                                                         const Clock& clock, Source& source) {
  return Rounds(ctx, params, options, clock, source).Run();
}

}  // namespace sipheal::inline v0_1::internal::homer
