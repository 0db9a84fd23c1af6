// SPDX-License-Identifier: Apache-2.0
#include "hep/receiver.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/thread.h"
#include "model/store_rules.h"

namespace sipheal::inline v0_1::hep {
namespace {

constexpr std::chrono::seconds kSweepInterval{3};
// Batches of datagrams between two chances for others to have the lock.
constexpr int kBatchesPerTurn = 4;
// Calls that are looked up under one hold of the lock.
constexpr std::size_t kCallsPerTurn = 64;

Intake::Options IntakeOptions(const HepOptions& options) {
  Intake::Options intake;
  intake.auth_key = options.auth_key;
  intake.rebuild = options.rebuild;
  intake.ended_linger = options.ended_linger;
  intake.tombstone_ttl = options.tombstone_ttl;
  intake.keep_records = options.store != nullptr;
  return intake;
}

}  // namespace

Receiver::Receiver(HepOptions options)
    : options_(std::move(options)),
      clock_(options_.clock != nullptr ? *options_.clock : SystemClock()),
      log_(options_.log != nullptr ? options_.log : NullLogSink()),
      telemetry_(options_.telemetry != nullptr ? options_.telemetry : NullTelemetrySink()),
      intake_(IntakeOptions(options_)) {}

Receiver::~Receiver() { Stop(); }

absl::Status Receiver::AddInstance(HepInstanceOptions instance) {
  const std::string name = instance.instance;
  auto cell = std::make_shared<HeardCell>(kNeverHeard);
  CallerLock lock(mutex_, callers_);
  if (absl::Status status = intake_.AddInstance(std::move(instance), cell); !status.ok()) {
    return status;
  }
  internal::MutexLock heard_lock(heard_mutex_);
  heard_[name] = std::move(cell);
  return absl::OkStatus();
}

absl::Status Receiver::RemoveInstance(const std::string& instance) {
  CallerLock lock(mutex_, callers_);
  if (absl::Status status = intake_.RemoveInstance(instance); !status.ok()) return status;
  internal::MutexLock heard_lock(heard_mutex_);
  heard_.erase(instance);
  return absl::OkStatus();
}

void Receiver::Forget(const std::string& instance, const std::vector<std::string>& call_ids) {
  CallerLock lock(mutex_, callers_);
  for (const std::string& call_id : call_ids) intake_.Forget(instance, call_id);
}

absl::Status Receiver::OpenSockets() {
  if (options_.forward.has_value()) {
    forward_.Reset(::socket(options_.forward->ip.is_v6() ? AF_INET6 : AF_INET,
                            SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!forward_.valid()) {
      return absl::UnavailableError(
          absl::StrFormat("hep: forward: no socket: %s", std::strerror(errno)));
    }
  }
  if (options_.udp.has_value()) {
    if (absl::Status status = udp_.Open(*options_.udp, options_.receive_buffer_bytes);
        !status.ok()) {
      return status;
    }
    Watch(udp_.fd());
  }
  if (options_.tcp.has_value()) {
    TcpHandlers handlers;
    // Called from within the server, which is only used under the lock.
    handlers.admit = [this](const sip::IpAddress& source)
                         ABSL_NO_THREAD_SAFETY_ANALYSIS { return intake_.AllowsSource(source); };
    handlers.take = [this](std::string_view packet, const sip::IpAddress& source)
                        ABSL_NO_THREAD_SAFETY_ANALYSIS { TakeStreamPacket(packet, source); };
    handlers.refuse = [this](sip::HepError error)
                          ABSL_NO_THREAD_SAFETY_ANALYSIS { intake_.CountRefused(error); };
    handlers.watch = [this](int fd) { Watch(fd); };
    if (absl::Status status =
            tcp_.Open(*options_.tcp, options_.max_tcp_connections, std::move(handlers));
        !status.ok()) {
      udp_.Close();
      return status;
    }
    Watch(tcp_.fd());
  }
  return absl::OkStatus();
}

void Receiver::Watch(int fd) const {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

absl::Status Receiver::Start() {
  {
    internal::MutexLock lock(mutex_);
    if (phase_ != Phase::kNew) {
      return absl::FailedPreconditionError("hep: Start: was called before: make a new receiver");
    }
    epoll_.Reset(::epoll_create1(EPOLL_CLOEXEC));
    wake_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!epoll_.valid() || !wake_.valid()) {
      return absl::UnavailableError(
          absl::StrFormat("hep: no descriptors: %s: raise the limit", std::strerror(errno)));
    }
    Watch(wake_.get());
    if (absl::Status status = OpenSockets(); !status.ok()) return status;
    phase_ = Phase::kRunning;
  }
  if (options_.store != nullptr) loaded_ = LoadStored();
  receiver_ = internal::StartThread("sipheal-hep", [this] { Receive(); });
  if (options_.store != nullptr) {
    writer_ = internal::StartThread("sipheal-save", [this] { WriteBehind(); });
  }
  return absl::OkStatus();
}

void Receiver::Stop() {
  {
    internal::MutexLock lock(mutex_);
    if (phase_ != Phase::kRunning) {
      phase_ = Phase::kStopped;
      return;
    }
    phase_ = Phase::kStopped;
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof(one));
  if (receiver_.joinable()) receiver_.join();
  {
    std::lock_guard lock(writer_mutex_);
    writer_stop_ = true;
  }
  writer_wake_.notify_all();
  if (writer_.joinable()) writer_.join();
  internal::MutexLock lock(mutex_);
  udp_.Close();
  tcp_.Close();
}

sip::Endpoint Receiver::udp_address() const {
  internal::MutexLock lock(mutex_);
  return udp_.address();
}

sip::Endpoint Receiver::tcp_address() const {
  internal::MutexLock lock(mutex_);
  return tcp_.address();
}

std::optional<MonotonicTime> Receiver::LastHeard(const std::string& instance) const {
  internal::MutexLock lock(heard_mutex_);
  const auto found = heard_.find(instance);
  if (found == heard_.end()) return std::nullopt;
  const std::int64_t at = found->second->load(std::memory_order_relaxed);
  if (at == kNeverHeard) return std::nullopt;
  return MonotonicTime(MonotonicTime::duration(at));
}

// --- receiving ---------------------------------------------------------------------------------

void Receiver::Receive() {
  std::array<epoll_event, 64> events;
  std::vector<int> ready;
  for (;;) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                   500);  // wakes for the maintenance, too
    ready.clear();
    for (int i = 0; i < count; ++i) ready.push_back(events[static_cast<std::size_t>(i)].data.fd);
    {
      internal::MutexLock lock(mutex_);
      if (phase_ != Phase::kRunning) {
        // What had come by now is still taken in: the last state is then written.
        if (options_.udp.has_value()) {
          ReadReady({udp_.fd()});
        }
        return;
      }
      ReadReady(ready);
    }
    Maintain(clock_.Monotonic());
    YieldToCallers();
  }
}

void Receiver::ReadReady(const std::vector<int>& ready) {
  ReadClocks();
  for (const int fd : ready) {
    if (fd == wake_.get()) continue;
    if (fd == udp_.fd()) {
      const auto take = [this](const Datagram& datagram)
                            ABSL_NO_THREAD_SAFETY_ANALYSIS { TakeDatagram(datagram); };
      for (int batch = 0; batch < kBatchesPerTurn; ++batch) {
        if (udp_.ReadBatch(take) < UdpSocket::kBatch) break;
      }
    } else if (fd == tcp_.fd()) {
      tcp_.Accept();
    } else {
      tcp_.Read(fd);
    }
  }
}

void Receiver::ReadClocks() {
  batch_time_ = clock_.Monotonic();
  batch_wall_ = clock_.Now();
  batch_kernel_ = SystemClock().Now();
}

void Receiver::TakeDatagram(const Datagram& datagram) {
  // A packet that lay in the kernel's buffer was a sign of life when it came, not when it is read.
  std::chrono::microseconds waited{0};
  if (datagram.arrived.has_value()) {
    waited = std::clamp<std::chrono::microseconds>(batch_kernel_ - *datagram.arrived, waited,
                                                   std::chrono::minutes(1));
  }
  if (intake_.Take(datagram.bytes, datagram.source, batch_wall_ - waited, batch_time_ - waited)) {
    Forward(datagram.bytes);
  }
}

void Receiver::TakeStreamPacket(std::string_view packet, const sip::IpAddress& source) {
  if (intake_.Take(packet, source, batch_wall_, batch_time_)) Forward(packet);
}

void Receiver::Forward(std::string_view packet) {
  if (!forward_.valid()) return;
  sockaddr_storage address{};
  const socklen_t size = ToSockaddr(*options_.forward, address);
  const ssize_t sent = ::sendto(forward_.get(), packet.data(), packet.size(), MSG_DONTWAIT,
                                reinterpret_cast<const sockaddr*>(&address), size);
  ++(sent >= 0 ? forwarded_ : not_forwarded_);
}

// std::mutex is not fair: under a flood of packets the receiving thread would have it back before a
// caller wakes up.
void Receiver::YieldToCallers() const {
  for (int turn = 0; turn < 1000 && callers_.load(std::memory_order_relaxed) > 0; ++turn) {
    std::this_thread::yield();
  }
}

void Receiver::Maintain(MonotonicTime now) {
  if (now >= next_sweep_) {
    next_sweep_ = now + kSweepInterval;
    internal::MutexLock lock(mutex_);
    // Without a store nobody else asks what changed, and what ended.
    if (options_.store == nullptr) intake_.TakeChanges(SIZE_MAX, clock_.Now());
    intake_.Sweep(clock_.Now());
  }
  if (now >= next_report_) {
    next_report_ = now + std::chrono::seconds(1);
    Report(Stats());
  }
}

void Receiver::Report(const HepStats& stats) {
  const auto count = [&](const char* result, std::uint64_t now, std::uint64_t before) {
    if (now > before) {
      telemetry_->Count("sipheal_hep_packets_total", {{"result", result}},
                        static_cast<double>(now - before));
    }
  };
  std::uint64_t refusals = stats.unknown_agent + stats.wrong_source + stats.wrong_key;
  std::uint64_t refused = 0;
  std::uint64_t refused_before = 0;
  for (std::size_t i = 0; i < stats.refused.size(); ++i) {
    refused += stats.refused[i];
    refused_before += reported_.refused[i];
  }
  refusals += refused;
  count("refused", refused, refused_before);
  count("unknown_agent", stats.unknown_agent, reported_.unknown_agent);
  count("wrong_source", stats.wrong_source, reported_.wrong_source);
  count("wrong_key", stats.wrong_key, reported_.wrong_key);
  count("not_sip", stats.not_sip, reported_.not_sip);
  count("kernel_dropped", stats.kernel_dropped, reported_.kernel_dropped);
  for (const HepInstanceStats& instance : stats.instances) {
    telemetry_->Gauge("sipheal_hep_calls", {{"instance", instance.instance}},
                      static_cast<double>(instance.calls));
    telemetry_->Gauge("sipheal_hep_bytes", {{"instance", instance.instance}},
                      static_cast<double>(instance.bytes));
  }
  telemetry_->Gauge("sipheal_hep_store_backlog", {}, static_cast<double>(stats.store_backlog));
  // At most once a minute, whatever comes in.
  const MonotonicTime now = clock_.Monotonic();
  const bool dropped = stats.kernel_dropped > reported_.kernel_dropped;
  if ((refusals > refusals_logged_ || dropped) && now >= next_refusal_log_) {
    next_refusal_log_ = now + std::chrono::minutes(1);
    refusals_logged_ = refusals;
    LogEvent event;
    event.level = LogLevel::kWarning;
    event.event = "hep_refused";
    event.message = "HEP packets were not taken: compare agents, sources and auth key";
    const auto add = [&](std::string name, std::uint64_t value) {
      if (value > 0) event.fields.emplace_back(std::move(name), absl::StrFormat("%d", value));
    };
    for (std::size_t i = 0; i < stats.refused.size(); ++i) {
      add(std::string(sip::ToString(static_cast<sip::HepError>(i))), stats.refused[i]);
    }
    add("unknown_agent", stats.unknown_agent);
    add("wrong_source", stats.wrong_source);
    add("wrong_key", stats.wrong_key);
    add("kernel_dropped", stats.kernel_dropped);
    log_->Write(event);
  }
  reported_ = stats;
}

// --- asking ------------------------------------------------------------------------------------

// A crash's last messages may still lie in the kernel. UDP is read until it is empty or gives a
// datagram that came after the call; of each connection what it holds now.
absl::Status Receiver::Drain(const CallContext& ctx) {
  const WallTime called = SystemClock().Now();
  bool first = true;
  for (;;) {
    if (absl::Status status = internal::CheckContext(ctx, clock_, "hep: fetch"); !status.ok())
      return status;
    CallerLock lock(mutex_, callers_);
    if (phase_ != Phase::kRunning) {
      return absl::UnavailableError("hep: the receiver does not run: call Start");
    }
    ReadClocks();
    if (std::exchange(first, false) && options_.tcp.has_value()) tcp_.DrainAll();
    if (!options_.udp.has_value()) return absl::OkStatus();
    bool later = false;
    const std::size_t count =
        udp_.ReadBatch([&](const Datagram& datagram) ABSL_NO_THREAD_SAFETY_ANALYSIS {
          later = later || (datagram.arrived.has_value() && *datagram.arrived > called);
          TakeDatagram(datagram);
        });
    if (count < UdpSocket::kBatch || later) return absl::OkStatus();
  }
}

absl::StatusOr<std::vector<DialogCapture>> Receiver::Fetch(const CallContext& ctx,
                                                           const FetchParams& params) {
  if (absl::Status status = Drain(ctx); !status.ok()) return status;
  // Before the store has answered once, it is asked for just these.
  bool store_known = loaded_;
  if (!store_known) {
    absl::StatusOr<std::vector<DialogRecord>> records =
        options_.store->LoadDialogs(ctx, params.call_ids);
    store_known = records.ok();
    if (records.ok()) {
      internal::MutexLock lock(mutex_);
      if (!loaded_) intake_.SetStored(*std::move(records));
    }
  }
  std::vector<DialogCapture> captures;
  captures.reserve(params.call_ids.size());
  while (captures.size() < params.call_ids.size()) {
    if (absl::Status status = internal::CheckContext(ctx, clock_, "hep: fetch"); !status.ok())
      return status;
    const std::size_t end = std::min(captures.size() + kCallsPerTurn, params.call_ids.size());
    CallerLock lock(mutex_, callers_);
    while (captures.size() < end) {
      captures.push_back(intake_.Fetch(params.call_ids[captures.size()], params.instance));
      if (!store_known && captures.back().completeness == Completeness::kMissing) {
        return absl::UnavailableError(
            "hep: a call that was not seen may be in the store, which does not answer: try again");
      }
    }
  }
  return captures;
}

HepStats Receiver::StatsLocked() const {
  HepStats stats;
  intake_.AddTo(stats);
  stats.kernel_dropped = udp_.dropped();
  stats.receive_buffer_bytes = udp_.receive_buffer_bytes();
  stats.tcp_connections = tcp_.accepted();
  stats.tcp_refused = tcp_.refused();
  stats.forwarded = forwarded_;
  stats.not_forwarded = not_forwarded_;
  stats.store_written = written_;
  stats.store_removed = removed_;
  stats.store_errors = store_errors_;
  stats.store_skipped += refused_records_;
  stats.store_backlog += unwritten_calls_;
  return stats;
}

HepStats Receiver::Stats() const {
  CallerLock lock(mutex_, callers_);
  return StatsLocked();
}

}  // namespace sipheal::inline v0_1::hep

namespace sipheal::inline v0_1 {

HepReceiver::~HepReceiver() = default;

}  // namespace sipheal::inline v0_1
