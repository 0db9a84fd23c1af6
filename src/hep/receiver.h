// SPDX-License-Identifier: Apache-2.0
// The HEP receiver: sockets and threads around an Intake.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "hep/intake.h"
#include "hep/tcp_server.h"
#include "hep/udp_socket.h"
#include "hep/unique_fd.h"
#include "sipheal/adapters/hep.h"

namespace sipheal::inline v0_1::hep {

// Holds the receiver's lock, and is counted while it waits for it.
class ABSL_SCOPED_LOCKABLE CallerLock {
 public:
  CallerLock(internal::Mutex& mutex, std::atomic<int>& callers) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex)
      : mutex_(mutex) {
    ++callers;
    mutex_.Lock();
    --callers;
  }
  ~CallerLock() ABSL_UNLOCK_FUNCTION() { mutex_.Unlock(); }
  CallerLock(const CallerLock&) = delete;
  CallerLock& operator=(const CallerLock&) = delete;

 private:
  internal::Mutex& mutex_;
};

class Receiver final : public HepReceiver {
 public:
  explicit Receiver(HepOptions options);
  ~Receiver() override;

  absl::Status Start() override;
  void Stop() override;
  sip::Endpoint udp_address() const override;
  sip::Endpoint tcp_address() const override;
  absl::Status AddInstance(HepInstanceOptions instance) override;
  absl::Status RemoveInstance(const std::string& instance) override;
  void Forget(const std::string& instance, const std::vector<std::string>& call_ids) override;
  std::optional<MonotonicTime> LastHeard(const std::string& instance) const override;
  HepStats Stats() const override;
  absl::Status Flush(const CallContext& ctx) override;
  absl::StatusOr<std::vector<DialogCapture>> Fetch(const CallContext& ctx,
                                                   const FetchParams& params) override;

 private:
  enum class Phase { kNew, kRunning, kStopped };

  absl::Status OpenSockets() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Watch(int fd) const;

  // The receiving thread.
  void Receive();
  void ReadReady(const std::vector<int>& ready) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ReadClocks() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeDatagram(const Datagram& datagram) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeStreamPacket(std::string_view packet, const sip::IpAddress& source)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Forward(std::string_view packet) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Maintain(MonotonicTime now);
  void YieldToCallers() const;

  // Takes in what the kernel held when the call was made.
  absl::Status Drain(const CallContext& ctx);

  // The writing thread.
  void WriteBehind();
  bool LoadStored();
  // One pass over all that changed. False when the store failed; what it was about is kept.
  bool WriteChanges();
  absl::Status Save(std::vector<DialogRecord>& records);
  absl::StatusOr<std::vector<DialogRecord>> RemovalsOf(const std::vector<Changes::Gone>& gone);
  void StoreFailed(const absl::Status& status);

  HepStats StatsLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Report(const HepStats& stats);

  const HepOptions options_;
  const Clock& clock_;
  const std::shared_ptr<LogSink> log_;
  const std::shared_ptr<TelemetrySink> telemetry_;

  // Guards the fold and the sockets. Held for one batch at a time, never while the store is asked.
  mutable internal::Mutex mutex_;
  // Who waits for mutex_ that is not the receiving thread, which lets them in between two batches.
  mutable std::atomic<int> callers_{0};
  Intake intake_ ABSL_GUARDED_BY(mutex_);
  UdpSocket udp_ ABSL_GUARDED_BY(mutex_);
  UniqueFd forward_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t forwarded_ ABSL_GUARDED_BY(mutex_) = 0;
  std::uint64_t not_forwarded_ ABSL_GUARDED_BY(mutex_) = 0;
  TcpServer tcp_ ABSL_GUARDED_BY(mutex_);
  Phase phase_ ABSL_GUARDED_BY(mutex_) = Phase::kNew;
  MonotonicTime batch_time_ ABSL_GUARDED_BY(mutex_){};
  WallTime batch_wall_ ABSL_GUARDED_BY(mutex_){};
  WallTime batch_kernel_ ABSL_GUARDED_BY(mutex_){};  // by the clock of the kernel's time stamps
  UniqueFd epoll_;
  UniqueFd wake_;

  mutable internal::Mutex heard_mutex_;
  std::map<std::string, std::shared_ptr<HeardCell>, std::less<>> heard_
      ABSL_GUARDED_BY(heard_mutex_);

  // The writer's own matters: when to run, and how far it has come.
  mutable std::mutex writer_mutex_;
  mutable std::condition_variable writer_wake_;
  bool writer_stop_ = false;
  bool writer_hurry_ = false;
  std::uint64_t passes_begun_ = 0;
  std::uint64_t passes_done_ = 0;
  std::atomic<bool> loaded_{true};
  // Held back when the store failed; only the writing thread looks at it.
  Changes unwritten_;
  std::atomic<std::uint64_t> written_{0};
  std::atomic<std::uint64_t> removed_{0};
  std::atomic<std::uint64_t> store_errors_{0};
  std::atomic<std::uint64_t> refused_records_{0};
  std::atomic<std::size_t> unwritten_calls_{0};
  MonotonicTime store_error_logged_{};

  // Only the receiving thread looks at these.
  MonotonicTime next_sweep_{};
  MonotonicTime next_report_{};
  MonotonicTime next_refusal_log_{};
  HepStats reported_;
  std::uint64_t refusals_logged_ = 0;

  std::thread receiver_;
  std::thread writer_;
};

}  // namespace sipheal::inline v0_1::hep
