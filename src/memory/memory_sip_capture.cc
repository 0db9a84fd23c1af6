// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <utility>

#include "base/mutex.h"
#include "base/status_macros.h"
#include "model/store_rules.h"
#include "sipheal/adapters/memory.h"

namespace sipheal::inline v0_1 {
namespace {

using internal::MutexLock;

class MemorySipCaptureImpl final : public MemorySipCapture {
 public:
  explicit MemorySipCaptureImpl(const Clock& clock) : clock_(clock) {}

  void AddMessage(const std::string& call_id, sip::CapturedMessage message) override {
    MutexLock lock(mutex_);
    known_[call_id].messages.push_back(std::move(message));
  }
  void AddDialog(sip::DialogState dialog) override {
    MutexLock lock(mutex_);
    known_[dialog.call_id].dialogs.push_back(std::move(dialog));
  }
  void SetCompleteness(Completeness completeness) override {
    MutexLock lock(mutex_);
    completeness_ = completeness;
  }
  void SetError(absl::Status error) override {
    MutexLock lock(mutex_);
    error_ = std::move(error);
  }
  void Clear() override {
    MutexLock lock(mutex_);
    known_.clear();
  }

  absl::StatusOr<std::vector<DialogCapture>> Fetch(const CallContext& ctx,
                                                   const FetchParams& params) override {
    ABSL_RETURN_IF_ERROR(internal::CheckContext(ctx, clock_, "fetch"));
    std::vector<DialogCapture> captures;
    captures.reserve(params.call_ids.size());
    MutexLock lock(mutex_);
    if (!error_.ok()) return error_;
    for (const std::string& call_id : params.call_ids) {
      DialogCapture& capture = captures.emplace_back();
      capture.call_id = call_id;
      const auto it = known_.find(call_id);
      if (it == known_.end()) continue;
      capture.dialogs = it->second.dialogs;
      for (const sip::CapturedMessage& message : it->second.messages) {
        if (params.since && message.time < *params.since) continue;
        capture.messages.push_back(message);
      }
      if (!capture.dialogs.empty() || !capture.messages.empty()) {
        capture.completeness = completeness_;
      }
    }
    return captures;
  }

 private:
  const Clock& clock_;
  internal::Mutex mutex_;
  std::map<std::string, DialogCapture> known_ ABSL_GUARDED_BY(mutex_);
  Completeness completeness_ ABSL_GUARDED_BY(mutex_) = Completeness::kBestEffort;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::shared_ptr<MemorySipCapture> MakeMemorySipCapture(const Clock* clock) {
  return std::make_shared<MemorySipCaptureImpl>(clock != nullptr ? *clock : SystemClock());
}

}  // namespace sipheal::inline v0_1
