// SPDX-License-Identifier: Apache-2.0
#include "engine/journal_writer.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMostInOneWrite = 512;
constexpr milliseconds kFirstBackoff{50};
constexpr milliseconds kLongestBackoff{1'000};

}  // namespace

void JournalWriter::Append(SessionStore::AdvanceParams::Step step, Done done) {
  waiting_.push_back({std::move(step), std::move(done)});
  Schedule();
}

std::vector<SessionStore::AdvanceParams::Step> JournalWriter::TakeWaiting() {
  std::vector<SessionStore::AdvanceParams::Step> steps;
  steps.reserve(waiting_.size());
  for (Entry& entry : waiting_) steps.push_back(std::move(entry.step));
  waiting_.clear();
  return steps;
}

void JournalWriter::Schedule() {
  if (scheduled_ || writing_ || waiting_.empty()) return;
  scheduled_ = true;
  // After what is on the loop now, so that steps that belong together go in one write.
  loop_.After(backoff_, [this] {
    scheduled_ = false;
    Flush();
  });
}

void JournalWriter::Flush() {
  if (writing_ || waiting_.empty()) return;
  writing_ = true;
  const auto count = std::min(waiting_.size(), kMostInOneWrite);
  const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(count);
  auto entries = std::make_shared<std::vector<Entry>>(std::make_move_iterator(waiting_.begin()),
                                                      std::make_move_iterator(end));
  waiting_.erase(waiting_.begin(), end);
  SessionStore::AdvanceParams params;
  params.lease = lease_;
  params.steps.reserve(entries->size());
  for (const Entry& entry : *entries) params.steps.push_back(entry.step);
  using Result = absl::StatusOr<std::vector<absl::Status>>;
  calls_.Call<Result>(
      "SessionStore::Advance", timeout_,
      [store = store_, params = std::move(params)](const CallContext& ctx) {
        return store->Advance(ctx, params);
      },
      [this, entries](const Result& result) { Written(std::move(*entries), result); });
}

void JournalWriter::Written(std::vector<Entry> entries,
                            const absl::StatusOr<std::vector<absl::Status>>& result) {
  writing_ = false;
  if (!result.ok() || result->size() != entries.size()) {
    const absl::Status why =
        result.ok() ? absl::InternalError(
                          "SessionStore::Advance returned another number of results than steps")
                    : result.status();
    log_.Write({LogLevel::kWarning,
                "journal_write_failed",
                "The session store did not take the journal; it is tried again",
                {{"status", std::string(why.message())}}});
    // Whether it was written or not: the same entry written twice is one more line in the journal
    // and no other harm.
    waiting_.insert(waiting_.begin(), std::make_move_iterator(entries.begin()),
                    std::make_move_iterator(entries.end()));
    backoff_ = std::clamp(backoff_ * 2, kFirstBackoff, kLongestBackoff);
    Schedule();
    return;
  }
  backoff_ = milliseconds(0);
  for (std::size_t i = 0; i < entries.size(); ++i) entries[i].done((*result)[i]);
  Schedule();
}

}  // namespace sipheal::inline v0_1::internal
