// SPDX-License-Identifier: Apache-2.0
// How long it takes to bring back the sessions of one dead instance, with media servers, phones and
// dialogs in memory, and the sessions in a store: what the engine and the store cost.
//
//   recovery_bench STORE [SESSIONS] [CONTROLLERS]
//
// STORE: memory, sqlite:FILE or postgres:DSN; it must be empty. Prints one line: the time from the
// crash to the last outcome, to the first and last re-INVITE, and what a session cost. The exit
// status is 1 when a session was not recovered, or was sent more than one re-INVITE.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "sipheal/adapters/memory.h"
#include "sipheal/healer.h"
#include "sipheal/testing/fake_crash_detector.h"
#include "sipheal/testing/fake_flow_resumer.h"
#include "sipheal/testing/fake_media_server.h"
#include "sipheal/testing/shared_media_servers.h"
#include "tests/support/captured_dialog.h"
#if SIPHEAL_BENCH_HAS_SQLITE
#include "sipheal/adapters/sqlite.h"
#endif
#if SIPHEAL_BENCH_HAS_POSTGRES
#include "sipheal/adapters/postgres.h"
#endif

namespace {

using namespace sipheal;  // NOLINT: a program of its own
using std::chrono::steady_clock;

constexpr int kTargets = 4;

absl::StatusOr<std::shared_ptr<SessionStore>> OpenStore(const std::string& place) {
  if (place == "memory") return MakeMemorySessionStore();
#if SIPHEAL_BENCH_HAS_SQLITE
  if (place.starts_with("sqlite:")) return MakeSqliteSessionStore({.path = place.substr(7)});
#endif
#if SIPHEAL_BENCH_HAS_POSTGRES
  if (place.starts_with("postgres:")) return MakePostgresSessionStore({.dsn = place.substr(9)});
#endif
  return absl::InvalidArgumentError("this build has no store \"" + place +
                                    "\": give memory, sqlite:FILE or postgres:DSN");
}

// Counts the outcomes of all controllers.
class Counter final : public HealerListener {
 public:
  explicit Counter(int wanted) : wanted_(wanted) {}

  void OnEvent(const HealerEvent& event) override {
    if (event.kind != HealerEventKind::kOutcome) return;
    const std::lock_guard lock(mutex_);
    ++outcomes_;
    if (event.session.outcome == Outcome::kRecovered) ++recovered_;
    if (outcomes_ == wanted_) all_.notify_all();
  }
  bool Wait(std::chrono::seconds limit) {
    std::unique_lock lock(mutex_);
    return all_.wait_for(lock, limit, [&] { return outcomes_ >= wanted_; });
  }
  int recovered() {
    const std::lock_guard lock(mutex_);
    return recovered_;
  }

 private:
  const int wanted_;
  std::mutex mutex_;
  std::condition_variable all_;
  int outcomes_ = 0;
  int recovered_ = 0;
};

HealerOptions Options(int controller) {
  HealerOptions options;
  options.owner = absl::StrFormat("controller-%d", controller);
  options.instances = {{"dying", {}}};
  for (int i = 0; i < kTargets; ++i) options.instances.push_back({absl::StrFormat("t%d", i), {}});
  options.pacing = {
      .rate = 100'000, .min_rate = 100'000, .burst = 100'000, .max_inviting = 100'000};
  return options;
}

int Run(const std::string& place, int sessions, int controllers) {
  const auto first = OpenStore(place);
  if (!first.ok()) {
    std::fprintf(stderr, "recovery_bench: %s\n", first.status().ToString().c_str());
    return 2;
  }
  const auto capture = MakeMemorySipCapture();
  const auto servers = std::make_shared<testing::FakeMediaServer>();
  servers->AddInstance({"dying", "life-1"});
  for (int i = 0; i < kTargets; ++i) servers->AddInstance({absl::StrFormat("t%d", i), "life-1"});
  SessionStore::PutParams put;
  for (int i = 0; i < sessions; ++i) {
    put.sessions.push_back(tests::CapturedSession(i, "dying", SystemClock().Now()));
    capture->AddDialog(tests::CapturedDialog(put.sessions.back().call_id));
    if (put.sessions.size() == 1000 || i + 1 == sessions) {
      if (const auto done = (*first)->Put({}, put); !done.ok()) {
        std::fprintf(stderr, "recovery_bench: %s\n", done.status().ToString().c_str());
        return 2;
      }
      put.sessions.clear();
    }
  }

  testing::SharedMediaServers shared(servers);
  const auto counter = std::make_shared<Counter>(sessions);
  std::vector<std::shared_ptr<testing::FakeCrashDetector>> detectors;
  std::vector<std::unique_ptr<Healer>> healers;
  for (int i = 0; i < controllers; ++i) {
    HealerParts parts;
    // Each controller has connections of its own.
    const auto store = i == 0 || place == "memory" ? first : OpenStore(place);
    detectors.push_back(std::make_shared<testing::FakeCrashDetector>());
    detectors.back()->AddInstance({"dying", "life-1"});
    parts.detector = detectors.back();
    parts.store = *store;
    parts.capture = capture;
    parts.driver = shared.Attach();
    parts.resumer = std::make_shared<testing::FakeFlowResumer>();
    auto healer = Healer::Create(Options(i), std::move(parts));
    const absl::Status started = healer.ok() ? (*healer)->Start() : healer.status();
    if (!started.ok()) {
      std::fprintf(stderr, "recovery_bench: %s\n", started.ToString().c_str());
      return 2;
    }
    (*healer)->AddListener(counter);
    healers.push_back(*std::move(healer));
  }

  servers->Kill("dying");
  const WallTime wall = SystemClock().Now();
  const auto begin = steady_clock::now();
  for (const auto& detector : detectors) detector->Kill("dying");
  const bool all = counter->Wait(std::chrono::seconds(300));
  const double seconds = std::chrono::duration<double>(steady_clock::now() - begin).count();
  for (const auto& healer : healers) healer->Stop();

  std::map<std::string, int> invites;
  WallTime earliest = WallTime::max();
  WallTime latest{};
  for (const testing::SentRequest& request : servers->sent()) {
    if (request.action != DialogAction::kReinvite) continue;
    ++invites[request.call_id];
    earliest = std::min(earliest, request.at);
    latest = std::max(latest, request.at);
  }
  int twice = 0;
  for (const auto& [call_id, count] : invites) twice += count > 1 ? 1 : 0;
  const auto after = [&](WallTime at) {
    return std::chrono::duration<double, std::milli>(at - wall).count();
  };
  std::printf(
      "%-8s %7d sessions %d controllers: %7.3f s, first re-INVITE %.0f ms, last %.0f ms, %.0f us a "
      "session; recovered %d, re-INVITEs to %d, twice %d\n",
      place.substr(0, place.find(':')).c_str(), sessions, controllers, seconds, after(earliest),
      after(latest), 1e6 * seconds / sessions, counter->recovered(),
      static_cast<int>(invites.size()), twice);
  return all && counter->recovered() == sessions && twice == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const int sessions = argc > 2 ? std::atoi(argv[2]) : 10'000;
  const int controllers = argc > 3 ? std::atoi(argv[3]) : 1;
  if (argc < 2 || sessions < 1 || controllers < 1) {
    std::fprintf(stderr,
                 "usage: recovery_bench memory|sqlite:FILE|postgres:DSN [SESSIONS] "
                 "[CONTROLLERS]\n");
    return 2;
  }
  return Run(argv[1], sessions, controllers);
}
