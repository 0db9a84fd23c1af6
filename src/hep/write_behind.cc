// SPDX-License-Identifier: Apache-2.0
// The receiver's writing thread: what changed goes to the store, in batches; what the store does
// not take is kept and tried again.
#include <algorithm>
#include <chrono>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "hep/receiver.h"
#include "model/store_rules.h"

namespace sipheal::inline v0_1::hep {
namespace {

// Calls that are encoded under one hold of the lock, and calls of one write.
constexpr std::size_t kCallsPerTurn = 32;
constexpr std::size_t kCallsPerWrite = 512;
constexpr std::chrono::milliseconds kRetryMin{100};
constexpr std::chrono::milliseconds kRetryMax{2000};

}  // namespace

// What a dead controller left. Records so old that they are of no call any more are removed.
bool Receiver::LoadStored() {
  absl::StatusOr<std::vector<DialogRecord>> records =
      options_.store->LoadDialogs(CallContext::WithTimeout(options_.store_timeout), {});
  if (!records.ok()) {
    StoreFailed(records.status());
    return false;
  }
  const WallTime oldest = clock_.Now() - options_.stored_max_age;
  std::vector<DialogRecord> expired;
  std::erase_if(*records, [&](DialogRecord& record) {
    if (record.updated_at >= oldest) return false;
    record.removed = true;
    record.bytes.clear();
    expired.push_back(std::move(record));
    return true;
  });
  {
    internal::MutexLock lock(mutex_);
    intake_.SetStored(*std::move(records));
    loaded_ = true;
  }
  if (!expired.empty()) {
    const absl::Status status =
        options_.store->SaveDialogs(CallContext::WithTimeout(options_.store_timeout), expired);
    if (!status.ok()) StoreFailed(status);  // they are found again at the next start
  }
  return true;
}

void Receiver::WriteBehind() {
  std::chrono::milliseconds retry = kRetryMin;
  bool failed = false;
  for (;;) {
    bool stopping;
    {
      std::unique_lock lock(writer_mutex_);
      if (failed) {
        writer_wake_.wait_for(lock, retry, [this] { return writer_stop_; });
      } else {
        writer_wake_.wait_for(lock, options_.write_behind,
                              [this] { return writer_stop_ || writer_hurry_; });
      }
      writer_hurry_ = false;
      stopping = writer_stop_;
      ++passes_begun_;
    }
    const std::uint64_t pass = passes_begun_;
    failed = !(loaded_ || LoadStored()) || !WriteChanges();
    retry = failed ? std::min(retry * 2, kRetryMax) : kRetryMin;
    if (!failed) {
      std::lock_guard lock(writer_mutex_);
      passes_done_ = pass;
    }
    writer_wake_.notify_all();
    if (stopping) return;
  }
}

bool Receiver::WriteChanges() {
  bool more = true;
  while (more || !unwritten_.records.empty() || !unwritten_.gone.empty()) {
    while (more && unwritten_.calls < kCallsPerWrite) {
      CallerLock lock(mutex_, callers_);
      Changes taken = intake_.TakeChanges(kCallsPerTurn, clock_.Now());
      more = taken.more;
      unwritten_.calls += taken.calls;
      std::move(taken.records.begin(), taken.records.end(), std::back_inserter(unwritten_.records));
      std::move(taken.gone.begin(), taken.gone.end(), std::back_inserter(unwritten_.gone));
      unwritten_calls_ = unwritten_.calls;
    }
    if (!unwritten_.gone.empty()) {
      absl::StatusOr<std::vector<DialogRecord>> removals = RemovalsOf(unwritten_.gone);
      if (!removals.ok()) {
        StoreFailed(removals.status());
        return false;
      }
      std::move(removals->begin(), removals->end(), std::back_inserter(unwritten_.records));
      unwritten_.gone.clear();
    }
    if (!unwritten_.records.empty()) {
      if (const absl::Status status = Save(unwritten_.records); !status.ok()) {
        StoreFailed(status);
        return false;
      }
      const auto removed = static_cast<std::uint64_t>(
          std::count_if(unwritten_.records.begin(), unwritten_.records.end(),
                        [](const DialogRecord& record) { return record.removed; }));
      removed_ += removed;
      written_ += unwritten_.records.size() - removed;
    }
    unwritten_ = Changes();
    unwritten_calls_ = 0;
  }
  return true;
}

// One record that the store refuses for what it is must not hold up the others for ever.
absl::Status Receiver::Save(std::vector<DialogRecord>& records) {
  const absl::Status status =
      options_.store->SaveDialogs(CallContext::WithTimeout(options_.store_timeout), records);
  if (!absl::IsInvalidArgument(status)) return status;
  absl::Status failure;
  std::erase_if(records, [&](const DialogRecord& record) {
    if (!failure.ok()) return false;
    const absl::Status alone =
        options_.store->SaveDialogs(CallContext::WithTimeout(options_.store_timeout), {record});
    if (alone.ok()) return false;
    if (!absl::IsInvalidArgument(alone)) {
      failure = alone;
      return false;
    }
    ++refused_records_;
    StoreFailed(alone);
    return true;
  });
  return failure;
}

absl::StatusOr<std::vector<DialogRecord>> Receiver::RemovalsOf(
    const std::vector<Changes::Gone>& gone) {
  std::vector<std::string> call_ids;
  std::set<std::pair<std::string, std::string>> wanted;
  for (const Changes::Gone& entry : gone) {
    call_ids.push_back(entry.call_id);
    wanted.emplace(entry.instance, entry.call_id);
  }
  absl::StatusOr<std::vector<DialogRecord>> records =
      options_.store->LoadDialogs(CallContext::WithTimeout(options_.store_timeout), call_ids);
  if (!records.ok()) return records;
  std::erase_if(*records, [&](const DialogRecord& record) {
    return !wanted.contains({record.instance, record.call_id});
  });
  for (DialogRecord& record : *records) {
    record.removed = true;
    record.bytes.clear();
    record.updated_at = clock_.Now();
  }
  return records;
}

void Receiver::StoreFailed(const absl::Status& status) {
  ++store_errors_;
  const MonotonicTime now = clock_.Monotonic();
  if (store_error_logged_ != MonotonicTime{} &&
      now < store_error_logged_ + std::chrono::minutes(1)) {
    return;
  }
  store_error_logged_ = now;
  LogEvent event;
  event.level = LogLevel::kError;
  event.event = "hep_store_failed";
  event.message =
      "The session store did not take dialog state; it is kept and tried again until it does";
  event.fields.emplace_back("error", status.ToString());
  event.fields.emplace_back("errors", absl::StrFormat("%d", store_errors_.load()));
  event.fields.emplace_back("calls_waiting", absl::StrFormat("%d", unwritten_calls_.load()));
  log_->Write(event);
}

absl::Status Receiver::Flush(const CallContext& ctx) {
  if (options_.store == nullptr) return absl::OkStatus();
  if (absl::Status status = Drain(ctx); !status.ok()) return status;
  std::unique_lock lock(writer_mutex_);
  // A pass that has begun may have looked before the drain.
  const std::uint64_t wanted = passes_begun_ + 1;
  while (passes_done_ < wanted) {
    if (absl::Status status = internal::CheckContext(ctx, clock_, "hep: flush"); !status.ok())
      return status;
    if (writer_stop_) return absl::UnavailableError("hep: the receiver was stopped");
    writer_hurry_ = true;
    writer_wake_.notify_all();
    // The context may be cancelled without a sign to this thread.
    writer_wake_.wait_for(lock, std::chrono::milliseconds(10));
  }
  return absl::OkStatus();
}

}  // namespace sipheal::inline v0_1::hep
