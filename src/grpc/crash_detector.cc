// SPDX-License-Identifier: Apache-2.0
// The crash detector that knows what it is told: a LifeBook, and the thread that tells its
// listener.
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "base/thread.h"
#include "grpc/life_book.h"
#include "sipheal/adapters/grpc.h"

namespace sipheal::inline v0_1 {
namespace {

using internal::LifeBook;
using internal::Moment;
using std::chrono::milliseconds;

// How often the thread looks at the clock while silence may come to mean something, and how much
// later than that means that this process did not run.
constexpr milliseconds kTick{50};
constexpr milliseconds kLate{100};

// Shared with the thread, which may outlive a detector that is destroyed from its listener.
struct Shared {
  Shared(const GrpcCrashDetectorOptions& options)
      : clock(options.clock != nullptr ? *options.clock : SystemClock()),
        log(options.log),
        book(options.silence) {}

  Moment Now() const { return {clock.Now(), clock.Monotonic()}; }

  const Clock& clock;
  const std::shared_ptr<LogSink> log;
  std::mutex mutex;
  std::condition_variable changed;
  LifeBook book;                                          // mutex
  std::set<std::string> touched;                          // mutex; to be looked at
  std::set<std::pair<MonotonicTime, std::string>> later;  // mutex; to be looked at then
  std::map<std::string, MonotonicTime> when;              // mutex; `later` by name
  std::shared_ptr<CrashListener> listener;                // mutex; null: stopped
  std::uint64_t run = 0;                                  // mutex; rises with Start and Stop
  std::thread::id teller;                                 // mutex; who is in the listener
};

void LookLater(Shared& shared, const std::string& name, std::optional<MonotonicTime> when) {
  if (const auto known = shared.when.find(name); known != shared.when.end()) {
    shared.later.erase({known->second, name});
    shared.when.erase(known);
  }
  if (!when) return;
  shared.later.emplace(*when, name);
  shared.when.emplace(name, *when);
}

// Until something is to be looked at. False when this run is over.
bool AwaitWork(Shared& shared, std::unique_lock<std::mutex>& lock, std::uint64_t run) {
  while (shared.run == run) {
    const MonotonicTime now = shared.clock.Monotonic();
    while (!shared.later.empty() && shared.later.begin()->first <= now) {
      const std::string name = shared.later.begin()->second;
      shared.touched.insert(name);
      LookLater(shared, name, std::nullopt);
    }
    if (!shared.touched.empty()) return true;
    // Also when nothing is due: what comes after a stop of the process must find it forgiven.
    const auto before = std::chrono::steady_clock::now();
    shared.changed.wait_for(lock, kTick);
    const auto lost = std::chrono::steady_clock::now() - before - kTick;
    if (lost > kLate) {
      shared.book.Forgive(lost, shared.clock.Monotonic());
      shared.when.clear();
      for (const auto& [when, name] : std::exchange(shared.later, {})) shared.touched.insert(name);
    }
  }
  return false;
}

// Calls the listener without the lock, unless this run is over.
template <typename Call>
void CallListener(Shared& shared, std::unique_lock<std::mutex>& lock, std::uint64_t run,
                  Call call) {
  // The call that a run before was stopped in.
  shared.changed.wait(lock,
                      [&] { return shared.teller == std::thread::id() || shared.run != run; });
  if (shared.run != run) return;
  std::shared_ptr<CrashListener> listener = shared.listener;
  shared.teller = std::this_thread::get_id();
  lock.unlock();
  call(*listener);
  listener.reset();
  lock.lock();
  shared.teller = std::thread::id();
  shared.changed.notify_all();
}

void Tell(const std::shared_ptr<Shared>& shared, std::uint64_t run) {
  std::unique_lock lock(shared->mutex);
  while (AwaitWork(*shared, lock, run)) {
    const std::string name = *shared->touched.begin();
    shared->touched.erase(shared->touched.begin());
    const LifeBook::News news = shared->book.Look(name, shared->Now());
    LookLater(*shared, name, news.look_again);
    for (const std::string& sentence : news.contradictions) {
      if (shared->log == nullptr) break;
      lock.unlock();
      shared->log->Write(
          {LogLevel::kWarning, "reports_contradict", sentence, {{"instance", name}}});
      lock.lock();
    }
    for (const CrashEvent& crash : news.crashes) {
      CallListener(*shared, lock, run, [&](CrashListener& told) { told.OnCrash(crash); });
    }
    for (const ReturnEvent& event : news.returns) {
      CallListener(*shared, lock, run, [&](CrashListener& told) { told.OnReturned(event); });
    }
  }
}

class ToldCrashDetector final : public GrpcCrashDetector {
 public:
  explicit ToldCrashDetector(const GrpcCrashDetectorOptions& options)
      : shared_(std::make_shared<Shared>(options)) {}
  ~ToldCrashDetector() override { Stop(); }

  absl::Status Start(std::shared_ptr<CrashListener> listener) override {
    const std::lock_guard lock(shared_->mutex);
    if (shared_->listener != nullptr) {
      return absl::FailedPreconditionError("the crash detector is started already: stop it first");
    }
    if (listener == nullptr) return absl::InvalidArgumentError("a crash detector needs a listener");
    shared_->listener = std::move(listener);
    for (std::string& name : shared_->book.Names()) shared_->touched.insert(std::move(name));
    thread_ = internal::StartThread(
        "sipheal-reports", [shared = shared_, run = ++shared_->run] { Tell(shared, run); });
    return absl::OkStatus();
  }

  // Waits for the thread, and also where another one ends it, without the lock: the listener may
  // stop it, too.
  void Stop() override {
    std::shared_ptr<CrashListener> listener;  // may end here, without the lock
    std::thread ended;
    {
      std::unique_lock lock(shared_->mutex);
      if (shared_->listener != nullptr) {
        listener = std::exchange(shared_->listener, nullptr);
        ended = std::move(thread_);
        ++shared_->run;
        shared_->changed.notify_all();
      }
      const auto me = std::this_thread::get_id();
      shared_->changed.wait(
          lock, [&] { return shared_->teller == std::thread::id() || shared_->teller == me; });
    }
    if (!ended.joinable()) return;
    if (ended.get_id() == std::this_thread::get_id()) {
      ended.detach();
    } else {
      ended.join();
    }
  }

  absl::Status Expect(const Incarnation& incarnation) override {
    return Change(incarnation.instance,
                  [&] { return shared_->book.Expect(incarnation, shared_->Now()); });
  }
  absl::Status AnnounceStop(const AnnounceStopParams& params) override {
    return Change(params.instance,
                  [&] { return shared_->book.AnnounceStop(params.instance, params.until); });
  }
  absl::Status Report(const LifeReport& report) override {
    return Change(report.incarnation.instance,
                  [&] { return shared_->book.Report(report, shared_->Now()); });
  }
  absl::Status AddInstance(const std::string& name) override {
    return Change(name, [&] { return shared_->book.Add(name); });
  }
  absl::Status RemoveInstance(const std::string& name) override {
    return Change(name, [&] { return shared_->book.Remove(name); });
  }

 private:
  template <typename Work>
  absl::Status Change(const std::string& name, Work work) {
    const std::lock_guard lock(shared_->mutex);
    ABSL_RETURN_IF_ERROR(work());
    shared_->touched.insert(name);
    shared_->changed.notify_all();
    return absl::OkStatus();
  }

  const std::shared_ptr<Shared> shared_;
  std::thread thread_;  // shared_->mutex
};

}  // namespace

absl::Status GrpcCrashDetectorOptions::Validate() const {
  if (silence < milliseconds(200) || silence > std::chrono::hours(1)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("silence is %d ms: set it from 200 ms to 1 h", silence.count()));
  }
  LifeBook book(silence);
  for (const std::string& name : instances) {
    const absl::Status added = book.Add(name);
    if (!added.ok()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("instances: %s", std::string(added.message())));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<GrpcCrashDetector>> MakeGrpcCrashDetector(
    GrpcCrashDetectorOptions options) {
  ABSL_RETURN_IF_ERROR(options.Validate());
  auto detector = std::make_shared<ToldCrashDetector>(options);
  for (const std::string& name : options.instances) {
    ABSL_RETURN_IF_ERROR(detector->AddInstance(name));
  }
  return detector;
}

}  // namespace sipheal::inline v0_1
