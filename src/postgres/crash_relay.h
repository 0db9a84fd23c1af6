// SPDX-License-Identifier: Apache-2.0
// The CrashDetector that shares what it hears with other controllers. What stands about each
// incarnation is kept in `cases_`; Tell compares that with what was said, and is called whenever
// something changed. Listeners are called from there only, one at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "postgres/sightings.h"
#include "pq/connection.h"
#include "sipheal/adapters/postgres.h"

namespace sipheal::inline v0_1::internal::postgres {

class CrashRelay final : public CrashDetector {
 public:
  CrashRelay(std::shared_ptr<CrashDetector> inner, PostgresCrashRelayOptions options);
  ~CrashRelay() override;

  absl::Status Start(std::shared_ptr<CrashListener> listener) override;
  void Stop() override;
  absl::Status Expect(const Incarnation& incarnation) override;
  absl::Status AnnounceStop(const AnnounceStopParams& params) override;

 private:
  class Ears;  // hears `inner_`

  // What another controller says, while it stands.
  struct Word {
    Sighting sighting;
    std::optional<MonotonicTime> counts_until;  // none: for ever
  };
  struct Case {
    std::optional<CrashEvent> own;       // this controller's sighting, while it stands
    std::map<std::string, Word> others;  // by observer
    bool told = false;                   // to the listener
    bool told_silent = false;            // as kSilent: it may turn out to live
    bool returned = false;               // the listener is to be told so
    bool foreign = false;                // `inner_` did not know the instance when asked
    bool agreed = false;                 // in the database
    bool left = false;                   // there by a former self of this controller, and lapsed
    bool waiting_logged = false;
    bool to_publish = false;    // `own`, or that it does not stand any more
    MonotonicTime affirm_at{};  // when the database must hear again that `own` stands
    // Sightings up to this number are older than the life that was seen since.
    std::int64_t heed_after = 0;
    MonotonicTime vouched_until{};  // until then it is taken for alive, whatever was written
  };

  void HandleCrash(const CrashEvent& event);
  void HandleReturned(const ReturnEvent& event);
  void Tell();
  bool NextDue(std::optional<CrashEvent>* crash, std::optional<ReturnEvent>* returned)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<Sighting> Standing(const Incarnation& incarnation, const Case& one) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsReached(const std::vector<Sighting>& standing) const {
    return standing.size() >= static_cast<std::size_t>(options_.quorum);
  }
  bool IsNews(const Incarnation& incarnation, std::int64_t seq) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Known(const std::string& instance) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsPlanned(const std::string& instance) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Of the thread.
  void Run();
  absl::Status Round();
  absl::Status Connect(const CallContext& ctx);
  absl::Status Publish(const CallContext& ctx);
  absl::Status Learn(const CallContext& ctx);
  void AskDetector(const std::vector<Sighting>& sightings);
  void Learned(std::vector<Sighting> sightings, MonotonicTime asked_at);
  void LearnedOwn(const Sighting& sighting, Case& one) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LearnedWord(Sighting sighting, Case& one, MonotonicTime asked_at)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Forget(const std::map<Incarnation, std::set<std::string>>& read)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CheckLapsed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NumbersReach(std::int64_t last) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LearnedStops(const std::vector<PlannedStop>& stops);
  void NoteOutcome(const absl::Status& status);
  void Wake();
  void Sleep(std::chrono::milliseconds time);
  bool TakeNews();

  const std::shared_ptr<CrashDetector> inner_;
  const PostgresCrashRelayOptions options_;
  const Clock& clock_;
  const std::shared_ptr<LogSink> log_;
  const int wake_;  // an eventfd; -1 when there was none to be had: then only `poll` wakes

  Mutex running_;  // held by Start and Stop
  Mutex telling_;  // held while the listener is called
  Mutex mutex_;
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<CrashListener> listener_ ABSL_GUARDED_BY(mutex_);
  std::map<Incarnation, Case> cases_ ABSL_GUARDED_BY(mutex_);
  std::set<Incarnation> expected_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, WallTime> planned_ ABSL_GUARDED_BY(mutex_);      // by instance
  std::map<std::string, WallTime> to_announce_ ABSL_GUARDED_BY(mutex_);  // to the others
  // What was written before this relay first read counts only for incarnations with sessions.
  std::optional<std::int64_t> first_read_ ABSL_GUARDED_BY(mutex_);

  // Since when each read succeeded: whoever is there had the time to affirm from then on.
  std::optional<MonotonicTime> heard_since_ ABSL_GUARDED_BY(mutex_);
  bool name_logged_ ABSL_GUARDED_BY(mutex_) = false;

  // Of the thread.
  std::unique_ptr<pq::Connection> connection_;
  std::map<std::string, WallTime> known_stops_;
  bool reachable_ = true;
  int failures_ = 0;

  std::stop_source stop_;
  std::thread thread_;
};

}  // namespace sipheal::inline v0_1::internal::postgres
