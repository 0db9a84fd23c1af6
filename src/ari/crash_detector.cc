// SPDX-License-Identifier: Apache-2.0
// The CrashDetector over ARI. One thread asks for signs of life, gathers what is seen, lets an
// InstanceWatch judge each instance, and calls the listener. Everything it sees comes to it as a
// note in its inbox, so that the judging needs no lock.
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "ari/connections.h"
#include "ari/instance_watch.h"
#include "ari/process_watch.h"
#include "base/thread.h"
#include "http/transfer.h"
#include "sipheal/adapters/ari.h"

namespace sipheal::inline v0_1 {
namespace internal {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds kConfirmTick{5};          // while a death is being confirmed
constexpr milliseconds kConfirmProbe{10};        // between two connections then: three span 20 ms
constexpr milliseconds kSlowProbe{200};          // while another answer is outstanding, or time is
constexpr int kMaxProbes = 4;                    // outstanding for one instance
constexpr nanoseconds kLate = milliseconds(50);  // the detector was held up

class DetectorCore final : public AriEventHandler,
                           public std::enable_shared_from_this<DetectorCore> {
 public:
  DetectorCore(std::shared_ptr<AriConnections> connections, AriCrashDetectorOptions options)
      : connections_(std::move(connections)),
        options_(std::move(options)),
        clock_(*connections_->options().clock),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~DetectorCore() override { close(wake_); }

  void Begin() { connections_->AddHandler(weak_from_this()); }

  absl::Status Start(std::shared_ptr<CrashListener> listener) {
    if (!listener) return absl::InvalidArgumentError("listener: is null");
    const std::scoped_lock lock(mutex_);
    if (run_)
      return absl::FailedPreconditionError("the detector is started already: stop it first");
    // What the sockets did in the run before is over: Seed looks at them anew.
    std::erase_if(inbox_, [](const Entry& entry) { return !entry.always; });
    run_ = std::make_shared<Run>();
    run_->listener = std::move(listener);
    thread_ = StartThread("sipheal-detect",
                          [self = shared_from_this(), run = run_] { self->Loop(*run); });
    return absl::OkStatus();
  }

  void Stop() {
    std::shared_ptr<Run> run;
    std::thread thread;
    {
      const std::scoped_lock lock(mutex_);
      run.swap(run_);
      thread.swap(thread_);
    }
    if (!run) return;
    run->stopping = true;
    Wake();
    if (thread.get_id() == std::this_thread::get_id()) {
      thread.detach();  // the listener called Stop: its thread ends when that call returns
    } else {
      thread.join();
    }
  }

  absl::Status Expect(const Incarnation& incarnation) {
    if (!Known(incarnation.instance)) return Unknown(incarnation.instance);
    if (incarnation.life.empty()) return absl::InvalidArgumentError("incarnation.life: is empty");
    Note(/*always=*/true, [incarnation](DetectorCore& self) {
      self.At(incarnation.instance).watch.Expect(incarnation.life);
    });
    return absl::OkStatus();
  }

  absl::Status AnnounceStop(const CrashDetector::AnnounceStopParams& params) {
    if (!Known(params.instance)) return Unknown(params.instance);
    Note(/*always=*/true, [params](DetectorCore& self) {
      Node& node = self.At(params.instance);
      node.watch.PlannedStop(params.until);
      node.planned_until = params.until;
    });
    return absl::OkStatus();
  }

  // --- AriEventHandler, on the socket thread ---

  void OnConnected(const Incarnation& incarnation) override {
    Note(false, [incarnation, now = clock_.Monotonic()](DetectorCore& self) {
      self.SawConnected(incarnation, now);
    });
  }
  void OnDisconnected(const Incarnation& incarnation, const absl::Status& why) override {
    if (incarnation.life.empty()) return;  // a try to connect that failed
    Note(false, [incarnation, text = std::string(why.message()),
                 now = clock_.Monotonic()](DetectorCore& self) {
      Node& node = self.At(incarnation.instance);
      ++node.generation;
      node.next_probe = now;
      node.watch.Disconnected(text, now);
    });
  }
  void OnEvent(const Incarnation&, const nlohmann::json&, WallTime) override {}

 private:
  struct Run {
    std::shared_ptr<CrashListener> listener;
    std::atomic<bool> stopping{false};
  };
  struct Node {
    Node(const std::string& name, InstanceWatch::Options options) : watch(name, options) {}
    InstanceWatch watch;
    std::optional<ProcessWatch> process;
    std::string pid_file;
    std::uint64_t generation = 0;  // rises with each change of the event socket
    MonotonicTime next_ping{};
    MonotonicTime next_probe{};
    int probes = 0;  // outstanding
    WallTime planned_until{};
  };
  using Task = std::function<void(DetectorCore&)>;
  struct Entry {
    bool always;  // holds in every run
    Task task;
  };

  bool Known(const std::string& instance) const {
    return connections_->Instance(instance).has_value();
  }
  static absl::Status Unknown(const std::string& instance) {
    return absl::NotFoundError(absl::StrFormat("instance \"%s\" is not configured", instance));
  }

  void Wake() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = write(wake_, &one, sizeof one);
  }

  // Puts a note into the inbox; unless `always`, only while the thread runs that reads it.
  void Note(bool always, Task task) {
    {
      const std::scoped_lock lock(mutex_);
      if (!always && !run_) return;
      inbox_.push_back({always, std::move(task)});
    }
    Wake();
  }

  // --- the rest is the detector's thread ---

  Node& At(const std::string& instance) {
    const auto found = nodes_.find(instance);
    if (found != nodes_.end()) return found->second;
    const auto options = connections_->Instance(instance);
    InstanceWatch::Options watch;
    watch.silence = options_.silence;
    Node& node = nodes_.try_emplace(instance, instance, watch).first->second;
    if (options) node.pid_file = options->pid_file;
    return node;
  }

  void SawConnected(const Incarnation& incarnation, MonotonicTime now) {
    Node& node = At(incarnation.instance);
    ++node.generation;
    node.watch.Connected(incarnation.life, now);
    node.process.reset();
    if (node.pid_file.empty()) return;
    // The server that answers now wrote this file before it opened its HTTP port.
    node.process = ProcessWatch::Open(node.pid_file);
    node.watch.Process(node.process.has_value(), false, node.process ? node.process->pid() : 0);
    if (!node.process) {
      connections_->options().log->Write(
          {LogLevel::kWarning,
           "ari_pid_file_unusable",
           absl::StrFormat("The pid file of \"%s\" names no process of this host: its death is "
                           "found by refused connections instead",
                           incarnation.instance),
           {{"instance", incarnation.instance}, {"pid_file", node.pid_file}}});
    }
  }

  // The sockets as they are now: the inbox holds only what changed since Start.
  void Seed() {
    const MonotonicTime now = clock_.Monotonic();
    for (const std::string& instance : connections_->Instances()) {
      const auto connected = connections_->Connected(instance);
      if (connected) {
        SawConnected(*connected, now);
      } else {
        At(instance).watch.Disconnected("the event socket is not open", now);
      }
    }
  }

  void Loop(Run& run) {
    Seed();
    MonotonicTime before = clock_.Monotonic();
    nanoseconds wait{0};
    std::uint64_t turns = 0;
    while (!run.stopping) {
      ReadInbox();
      const MonotonicTime now = clock_.Monotonic();
      nanoseconds late = nanoseconds(now - before) - wait;
      if (late < kLate) late = nanoseconds(0);
      // The socket thread may be the one that was held up: what the servers said lies unread.
      if (pinged_at_ && connections_->SocketThreadTurn() >= *pinged_at_) pinged_at_.reset();
      if (pinged_at_ && now - *pinged_at_ > kLate) late = now - before;
      before = now;
      if (turns++ % 64 == 0) Refresh();
      for (auto& [name, node] : nodes_) {
        if (late.count() > 0) node.watch.Late(late);
        Ask(name, node, now);
        if (!Report(run, node)) return;
      }
      wait = Sleep(now);
    }
  }

  void ReadInbox() {
    std::deque<Entry> inbox;
    {
      const std::scoped_lock lock(mutex_);
      inbox.swap(inbox_);
    }
    for (const Entry& entry : inbox) entry.task(*this);
  }

  // Instances come and go at run time.
  void Refresh() {
    const std::vector<std::string> instances = connections_->Instances();
    for (const std::string& instance : instances) At(instance);
    std::erase_if(nodes_, [&](const auto& node) {
      return std::find(instances.begin(), instances.end(), node.first) == instances.end();
    });
  }

  void Ask(const std::string& name, Node& node, MonotonicTime now) {
    InstanceWatch& watch = node.watch;
    if (node.process && node.process->Ended()) watch.Process(true, true, node.process->pid());
    watch.Heard(connections_->LastHeard(name),
                options_.last_heard ? options_.last_heard(name) : std::nullopt);
    if (watch.connected() && now >= node.next_ping) {
      node.next_ping = now + options_.probe_interval;
      if (connections_->Ping(name)) {
        watch.Asked(now);
        if (!pinged_at_) pinged_at_ = now;
      }
    }
    const bool planned = clock_.Now() < node.planned_until;
    const bool unanswered = watch.Unanswered(now) >= 2 * options_.probe_interval;
    const bool wanted = watch.suspicious() || unanswered || watch.NeedsIdentification() ||
                        (watch.awaits_return() && !watch.connected());
    if (!wanted || now < node.next_probe || node.probes >= kMaxProbes) return;
    const bool urgent = watch.suspicious() && !planned && node.probes == 0;
    node.next_probe = now + (urgent ? kConfirmProbe : kSlowProbe);
    Probe(name, node, now);
  }

  void Probe(const std::string& name, Node& node, MonotonicTime now) {
    ++node.probes;
    node.watch.Asked(now);
    connections_->RequestAsync(name, "GET", kLifePath, "",
                               std::max(options_.silence, milliseconds(1000)),
                               [weak = weak_from_this(), name,
                                generation = node.generation](absl::StatusOr<AriReply> reply) {
                                 if (const auto self = weak.lock())
                                   self->Probed(name, generation, std::move(reply));
                               });
  }

  // On the HTTP thread.
  void Probed(const std::string& name, std::uint64_t generation, absl::StatusOr<AriReply> reply) {
    const MonotonicTime now = clock_.Monotonic();
    const bool answered = reply.ok();
    const absl::StatusOr<std::string> life =
        answered ? ParseLife(connections_->Instance(name).value_or(AriInstanceOptions{}), *reply)
                 : absl::StatusOr<std::string>(reply.status());
    Note(/*always=*/true, [name, generation, answered, life, now](DetectorCore& self) {
      const auto found = self.nodes_.find(name);
      if (found == self.nodes_.end()) return;
      Node& node = found->second;
      --node.probes;
      // What was asked before the event socket came or went says nothing about who is there now.
      if (generation != node.generation) return node.watch.AnsweredOtherwise();
      if (life.ok()) return node.watch.Identified(*life, now);
      if (answered) return node.watch.AnsweredOtherwise();
      if (WasRefused(life.status())) {
        // The next connection must not wait for the slow pace of a server that does not answer.
        node.next_probe = std::min(node.next_probe, now + kConfirmProbe);
        return node.watch.Refused(now);
      }
      if (WasLocal(life.status())) return node.watch.NotAsked();
      node.watch.AnsweredOtherwise();
    });
  }

  // False when the listener stopped the detector.
  bool Report(Run& run, Node& node) {
    const InstanceWatch::Verdicts verdicts = node.watch.Judge(clock_.Monotonic(), clock_.Now());
    try {
      for (const CrashEvent& crash : verdicts.crashes) {
        if (run.stopping) return false;
        Log(crash);
        run.listener->OnCrash(crash);
      }
      for (const ReturnEvent& event : verdicts.returns) {
        if (run.stopping) return false;
        run.listener->OnReturned(event);
      }
    } catch (const std::exception& error) {
      connections_->options().log->Write(
          {LogLevel::kError, "crash_listener_threw", error.what(), {}});
    }
    return !run.stopping;
  }

  void Log(const CrashEvent& crash) const {
    std::string evidence;
    for (const std::string& line : crash.evidence) {
      if (!evidence.empty()) evidence += "; ";
      evidence += line;
    }
    connections_->options().log->Write(
        {LogLevel::kWarning,
         "crash_detected",
         absl::StrFormat("\"%s\" is dead: %s", crash.incarnation.instance, evidence),
         {{"instance", crash.incarnation.instance},
          {"life", crash.incarnation.life},
          {"kind", std::string(ToString(crash.kind))}}});
  }

  // Sleeps until something happens or the next look is due; returns how long it meant to sleep at
  // most.
  nanoseconds Sleep(MonotonicTime now) {
    nanoseconds wait = std::chrono::seconds(1);
    std::vector<pollfd> fds{{wake_, POLLIN, 0}};
    for (const auto& [name, node] : nodes_) {
      if (node.watch.connected()) {
        wait = std::min<nanoseconds>(wait, node.next_ping - now);
      } else if (node.watch.awaits_return()) {
        wait = std::min<nanoseconds>(wait, kSlowProbe);
      }
      if (node.watch.suspicious()) wait = std::min<nanoseconds>(wait, kConfirmTick);
      if (node.process && !node.process->Ended()) fds.push_back({node.process->fd(), POLLIN, 0});
    }
    wait = std::max<nanoseconds>(wait, nanoseconds(0));
    const timespec timeout{static_cast<time_t>(wait.count() / 1'000'000'000),
                           static_cast<long>(wait.count() % 1'000'000'000)};
    ppoll(fds.data(), fds.size(), &timeout, nullptr);
    std::uint64_t count;
    [[maybe_unused]] const auto got = read(wake_, &count, sizeof count);
    return wait;
  }

  const std::shared_ptr<AriConnections> connections_;
  const AriCrashDetectorOptions options_;
  const Clock& clock_;
  const int wake_;
  std::mutex mutex_;
  std::shared_ptr<Run> run_;  // guarded by mutex_
  std::thread thread_;        // guarded by mutex_
  std::deque<Entry> inbox_;   // guarded by mutex_

  // The thread's own.
  std::map<std::string, Node> nodes_;
  std::optional<MonotonicTime> pinged_at_;  // the first ping the socket thread has not yet taken
};

class AriCrashDetector final : public CrashDetector {
 public:
  explicit AriCrashDetector(std::shared_ptr<DetectorCore> core) : core_(std::move(core)) {}
  ~AriCrashDetector() override { core_->Stop(); }

  absl::Status Start(std::shared_ptr<CrashListener> listener) override {
    return core_->Start(std::move(listener));
  }
  void Stop() override { core_->Stop(); }
  absl::Status Expect(const Incarnation& incarnation) override {
    return core_->Expect(incarnation);
  }
  absl::Status AnnounceStop(const AnnounceStopParams& params) override {
    return core_->AnnounceStop(params);
  }

 private:
  const std::shared_ptr<DetectorCore> core_;
};

}  // namespace
}  // namespace internal

absl::StatusOr<std::shared_ptr<CrashDetector>> MakeAriCrashDetector(
    std::shared_ptr<AriConnections> connections, AriCrashDetectorOptions options) {
  using std::chrono::milliseconds;
  if (!connections) return absl::InvalidArgumentError("connections: is null");
  if (options.silence < milliseconds(200) || options.silence > milliseconds(60'000)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("silence: is %d ms: use 200 to 60000", options.silence.count()));
  }
  if (options.probe_interval < milliseconds(5) || options.probe_interval * 4 > options.silence) {
    return absl::InvalidArgumentError(
        absl::StrFormat("probe_interval: is %d ms: use 5 ms to a quarter of silence",
                        options.probe_interval.count()));
  }
  auto core = std::make_shared<internal::DetectorCore>(std::move(connections), std::move(options));
  core->Begin();
  return std::shared_ptr<CrashDetector>(
      std::make_shared<internal::AriCrashDetector>(std::move(core)));
}

}  // namespace sipheal::inline v0_1
