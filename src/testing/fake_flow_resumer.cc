// SPDX-License-Identifier: Apache-2.0
#include "sipheal/testing/fake_flow_resumer.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "model/store_rules.h"

namespace sipheal::inline v0_1::testing {

using ::sipheal::internal::CheckContext;
using ::sipheal::internal::Mutex;
using ::sipheal::internal::MutexLock;
using std::chrono::milliseconds;

class FakeFlowResumer::Impl {
 public:
  explicit Impl(const Clock& clock) : clock_(clock) {}

  absl::Status Wait(const CallContext& ctx, milliseconds delay) const {
    const MonotonicTime until = clock_.Monotonic() + delay;
    do {
      ABSL_RETURN_IF_ERROR(CheckContext(ctx, clock_, "resume"));
      if (delay.count() > 0) std::this_thread::sleep_for(milliseconds(1));
    } while (clock_.Monotonic() < until);
    return absl::OkStatus();
  }

  absl::Status Resume(const ResumeParams& params) {
    MutexLock lock(mutex_);
    calls_.push_back(params);
    if (!error_.ok()) return error_;
    if (auto it = failures_.find(params.session.id);
        it != failures_.end() && it->second.second > 0) {
      --it->second.second;
      return it->second.first;
    }
    const FlowState& flow = params.session.flow;
    const bool drawn = std::any_of(params.partners.begin(), params.partners.end(),
                                   [](const Partner& partner) { return partner.lived_there; });
    std::string bridge;
    if (flow.bridge) {
      bridge = flow.bridge->conference ? flow.bridge->name : flow.bridge->id;
    } else if (drawn) {
      bridge = params.session.group;
    }
    if (!bridge.empty()) {
      std::set<std::string>& members = bridges_[params.instance + "/" + bridge];
      members.insert(params.channel_id);
      for (const Partner& partner : params.partners) {
        if (partner.lived_there) members.insert(partner.channel_id);
      }
    }
    if (resumed_.insert(params.channel_id).second && flow.playback) ++playbacks_[params.channel_id];
    return absl::OkStatus();
  }

  const Clock& clock_;
  Mutex mutex_;
  milliseconds delay_ ABSL_GUARDED_BY(mutex_){0};
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, absl::Status> accept_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Variables> prepare_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::pair<absl::Status, int>> failures_ ABSL_GUARDED_BY(mutex_);
  std::vector<ResumeParams> calls_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> resumed_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::set<std::string>> bridges_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int> playbacks_ ABSL_GUARDED_BY(mutex_);
};

FakeFlowResumer::FakeFlowResumer(const Clock* clock)
    : impl_(std::make_unique<Impl>(clock != nullptr ? *clock : SystemClock())) {}
FakeFlowResumer::~FakeFlowResumer() = default;

void FakeFlowResumer::SetAccept(const std::string& session_id, absl::Status status) {
  MutexLock lock(impl_->mutex_);
  impl_->accept_[session_id] = std::move(status);
}
void FakeFlowResumer::SetPrepare(const std::string& session_id, Variables variables) {
  MutexLock lock(impl_->mutex_);
  impl_->prepare_[session_id] = std::move(variables);
}
void FakeFlowResumer::FailResume(const std::string& session_id, absl::Status status, int times) {
  MutexLock lock(impl_->mutex_);
  impl_->failures_[session_id] = {std::move(status), times};
}
void FakeFlowResumer::SetError(absl::Status error) {
  MutexLock lock(impl_->mutex_);
  impl_->error_ = std::move(error);
}
void FakeFlowResumer::SetDelay(milliseconds delay) {
  MutexLock lock(impl_->mutex_);
  impl_->delay_ = delay;
}
std::vector<FlowResumer::ResumeParams> FakeFlowResumer::calls() const {
  MutexLock lock(impl_->mutex_);
  return impl_->calls_;
}
std::set<std::string> FakeFlowResumer::resumed() const {
  MutexLock lock(impl_->mutex_);
  return impl_->resumed_;
}
std::map<std::string, std::set<std::string>> FakeFlowResumer::bridges() const {
  MutexLock lock(impl_->mutex_);
  return impl_->bridges_;
}
std::map<std::string, int> FakeFlowResumer::playbacks() const {
  MutexLock lock(impl_->mutex_);
  return impl_->playbacks_;
}

absl::Status FakeFlowResumer::Accept(const Session& session) {
  MutexLock lock(impl_->mutex_);
  const auto it = impl_->accept_.find(session.id);
  return it == impl_->accept_.end() ? absl::OkStatus() : it->second;
}

FlowResumer::Variables FakeFlowResumer::Prepare(const Session& session, WallTime /*died_at*/) {
  MutexLock lock(impl_->mutex_);
  const auto it = impl_->prepare_.find(session.id);
  return it == impl_->prepare_.end() ? Variables() : it->second;
}

absl::Status FakeFlowResumer::Resume(const CallContext& ctx, const ResumeParams& params) {
  milliseconds delay{0};
  {
    MutexLock lock(impl_->mutex_);
    delay = impl_->delay_;
  }
  ABSL_RETURN_IF_ERROR(impl_->Wait(ctx, delay));
  return impl_->Resume(params);
}

}  // namespace sipheal::inline v0_1::testing
