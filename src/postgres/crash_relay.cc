// SPDX-License-Identifier: Apache-2.0
#include "postgres/crash_relay.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "base/thread.h"
#include "postgres/schema.h"

namespace sipheal::inline v0_1 {
namespace internal::postgres {
namespace {

using std::chrono::milliseconds;

// One round with the database; a server that hangs is left after it.
constexpr milliseconds kRoundTimeout{5'000};
constexpr milliseconds kFirstBackoff{100};
constexpr milliseconds kLongestBackoff{5'000};

}  // namespace

class CrashRelay::Ears final : public CrashListener {
 public:
  explicit Ears(CrashRelay& relay) : relay_(relay) {}
  void OnCrash(const CrashEvent& event) override { relay_.HandleCrash(event); }
  void OnReturned(const ReturnEvent& event) override { relay_.HandleReturned(event); }

 private:
  CrashRelay& relay_;  // its Stop ends all calls
};

CrashRelay::CrashRelay(std::shared_ptr<CrashDetector> inner, PostgresCrashRelayOptions options)
    : inner_(std::move(inner)),
      options_(std::move(options)),
      clock_(options_.clock != nullptr ? *options_.clock : SystemClock()),
      log_(options_.log != nullptr ? options_.log : NullLogSink()),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

CrashRelay::~CrashRelay() {
  Stop();
  if (wake_ >= 0) close(wake_);
}

// --- CrashDetector
// ------------------------------------------------------------------------------

absl::Status CrashRelay::Start(std::shared_ptr<CrashListener> listener) {
  const MutexLock running(running_);
  {
    const MutexLock lock(mutex_);
    if (started_) {
      return absl::FailedPreconditionError("the crash relay is started: stop it first");
    }
    started_ = true;
    listener_ = std::move(listener);
  }
  if (absl::Status status = inner_->Start(std::make_shared<Ears>(*this)); !status.ok()) {
    const MutexLock lock(mutex_);
    started_ = false;
    listener_.reset();
    return status;
  }
  stop_ = std::stop_source();
  thread_ = StartThread("sipheal-relay", [this] { Run(); });
  return absl::OkStatus();
}

void CrashRelay::Stop() {
  const MutexLock running(running_);
  {
    const MutexLock lock(mutex_);
    if (!started_) return;
  }
  inner_->Stop();
  stop_.request_stop();
  Wake();
  if (thread_.joinable()) thread_.join();
  const MutexLock lock(mutex_);
  listener_.reset();
  started_ = false;
}

absl::Status CrashRelay::Expect(const Incarnation& incarnation) {
  ABSL_RETURN_IF_ERROR(inner_->Expect(incarnation));
  {
    const MutexLock lock(mutex_);
    expected_.insert(incarnation);
    Known(incarnation.instance);
  }
  Wake();
  return absl::OkStatus();
}

absl::Status CrashRelay::AnnounceStop(const AnnounceStopParams& params) {
  ABSL_RETURN_IF_ERROR(inner_->AnnounceStop(params));
  {
    const MutexLock lock(mutex_);
    planned_[params.instance] = params.until;
    to_announce_[params.instance] = params.until;
  }
  Wake();
  return absl::OkStatus();
}

// --- what is seen here
// --------------------------------------------------------------------------

void CrashRelay::HandleCrash(const CrashEvent& event) {
  {
    const MutexLock lock(mutex_);
    Case& one = cases_[event.incarnation];
    one.own = event;
    one.to_publish = true;
    Known(event.incarnation.instance);
    // What the others wrote before counts again.
    one.heed_after = 0;
    one.vouched_until = {};
  }
  Wake();
  Tell();
}

void CrashRelay::HandleReturned(const ReturnEvent& event) {
  {
    const MutexLock lock(mutex_);
    Case& one = cases_[event.incarnation];
    one.own.reset();
    one.agreed = false;
    one.to_publish = true;
    one.returned = one.told;
    for (const auto& [observer, word] : one.others) {
      one.heed_after = std::max(one.heed_after, word.sighting.seq);
    }
    // What another wrote of the same silence may not have been read yet.
    one.vouched_until = clock_.Monotonic() + options_.window;
  }
  Wake();
  Tell();
}

// --- what is said
// -------------------------------------------------------------------------------

void CrashRelay::Tell() {
  const MutexLock telling(telling_);
  for (;;) {
    std::optional<CrashEvent> crash;
    std::optional<ReturnEvent> returned;
    std::shared_ptr<CrashListener> listener;
    {
      const MutexLock lock(mutex_);
      if (listener_ == nullptr || !NextDue(&crash, &returned)) return;
      listener = listener_;
    }
    if (crash) listener->OnCrash(*crash);
    if (returned) listener->OnReturned(*returned);
  }
}

bool CrashRelay::NextDue(std::optional<CrashEvent>* crash, std::optional<ReturnEvent>* returned) {
  for (auto& [incarnation, one] : cases_) {
    if (one.told && one.returned) {
      one.told = one.returned = one.waiting_logged = false;
      *returned = ReturnEvent{incarnation, clock_.Now()};
      return true;
    }
    if (one.told || (one.foreign && !one.own)) continue;
    const std::vector<Sighting> standing = Standing(incarnation, one);
    if (standing.empty()) continue;
    if (!IsReached(standing)) {
      if (!std::exchange(one.waiting_logged, true)) {
        log_->Write({LogLevel::kWarning,
                     "crash_waits_for_quorum",
                     absl::StrFormat("%d of %d controllers see %s dead: waiting for the others",
                                     standing.size(), options_.quorum, incarnation.instance),
                     {{"instance", incarnation.instance}}});
      }
      continue;
    }
    if (!one.own && IsPlanned(incarnation.instance)) continue;
    one.told = true;
    *crash = MergeSightings(standing, options_.owner);
    one.told_silent = (*crash)->kind == CrashKind::kSilent;
    return true;
  }
  return false;
}

std::vector<Sighting> CrashRelay::Standing(const Incarnation& incarnation, const Case& one) const {
  std::vector<Sighting> standing;
  if (one.own) standing.push_back({.event = *one.own, .observer = options_.owner});
  const MonotonicTime now = clock_.Monotonic();
  for (const auto& [observer, word] : one.others) {
    const bool counts = !word.counts_until || now < *word.counts_until;
    const bool news = one.own.has_value() || IsNews(incarnation, word.sighting.seq);
    if (counts && news && word.sighting.seq > one.heed_after) standing.push_back(word.sighting);
  }
  return standing;
}

bool CrashRelay::IsNews(const Incarnation& incarnation, std::int64_t seq) const {
  return !first_read_ || seq > *first_read_ || expected_.contains(incarnation);
}

void CrashRelay::Known(const std::string& instance) {
  for (auto& [incarnation, one] : cases_) {
    if (incarnation.instance == instance) one.foreign = false;
  }
}

bool CrashRelay::IsPlanned(const std::string& instance) const {
  const auto planned = planned_.find(instance);
  return planned != planned_.end() && clock_.Now() < planned->second;
}

// --- the thread
// ---------------------------------------------------------------------------------

void CrashRelay::Run() {
  while (!stop_.stop_requested()) {
    const absl::Status status = Round();
    if (stop_.stop_requested()) break;
    NoteOutcome(status);
    Tell();
    // Words are affirmed, and those of others read, well before they lapse.
    Sleep(status.ok() ? std::min(options_.poll, options_.window / 3)
                      : std::min(kLongestBackoff, kFirstBackoff * (1 << std::min(failures_, 6))));
  }
  connection_.reset();
}

absl::Status CrashRelay::Round() {
  const CallContext ctx{.deadline = SystemClock().Monotonic() + kRoundTimeout,
                        .stop = stop_.get_token()};
  absl::Status status = connection_ == nullptr ? Connect(ctx) : absl::OkStatus();
  if (status.ok()) status = Publish(ctx);
  if (status.ok()) status = Learn(ctx);
  if (status.ok()) return status;
  // Begun anew, whatever it was: the schema may have to be made again.
  connection_.reset();
  const MutexLock lock(mutex_);
  heard_since_.reset();
  return status;
}

absl::Status CrashRelay::Connect(const CallContext& ctx) {
  ABSL_ASSIGN_OR_RETURN(auto connection,
                        pq::Connection::Open({.dsn = options_.dsn,
                                              .connect_timeout = options_.connect_timeout,
                                              .clock = &SystemClock()},
                                             ctx));
  const auto bring = options_.make_schema ? MigratePostgres : CheckPostgres;
  ABSL_RETURN_IF_ERROR(bring(*connection, ctx, options_.schema, PostgresMigrations()));
  ABSL_RETURN_IF_ERROR(connection->Run(ctx, absl::StrFormat("LISTEN %s", kNewsChannel)).status());
  ABSL_ASSIGN_OR_RETURN(const std::int64_t last, ReadLastNumber(*connection, ctx, options_.schema));
  connection_ = std::move(connection);
  // Another server may have taken over, without the last that was written.
  const MutexLock lock(mutex_);
  heard_since_.reset();
  NumbersReach(last);
  for (auto& [incarnation, one] : cases_) one.to_publish |= one.own.has_value();
  return absl::OkStatus();
}

absl::Status CrashRelay::Publish(const CallContext& ctx) {
  SightingNews news;
  std::vector<Incarnation> affirmed;
  std::map<std::string, WallTime> stops;
  {
    const MutexLock lock(mutex_);
    const MonotonicTime now = clock_.Monotonic();
    for (auto& [incarnation, one] : cases_) {
      if (std::exchange(one.to_publish, false)) {
        if (one.own) {
          news.seen.push_back(*one.own);
        } else {
          news.withdrawn.push_back(incarnation);
        }
        one.affirm_at = now + options_.window / 3;
      } else if (one.own && (!one.agreed || one.own->kind == CrashKind::kSilent) &&
                 now >= one.affirm_at) {
        affirmed.push_back(incarnation);
        one.affirm_at = now + options_.window / 3;
      }
      if (one.told && !one.agreed && IsReached(Standing(incarnation, one))) {
        news.agreed.push_back(incarnation);
      }
      if (std::exchange(one.left, false) && !one.own) news.left.push_back(incarnation);
    }
    stops = std::exchange(to_announce_, {});
  }
  for (const auto& [instance, until] : stops) news.stops.push_back({instance, until});
  absl::Status status;
  if (!news.empty()) {
    status = WriteSightings(*connection_, ctx, options_.schema, options_.owner, news);
  }
  if (status.ok() && !affirmed.empty()) {
    status = AffirmSightings(*connection_, ctx, options_.schema, options_.owner, affirmed);
  }
  const MutexLock lock(mutex_);
  if (status.ok()) {
    for (const Incarnation& incarnation : news.agreed) cases_[incarnation].agreed = true;
    return status;
  }
  // It is said again, as it then stands.
  for (const CrashEvent& event : news.seen) cases_[event.incarnation].to_publish = true;
  for (const Incarnation& incarnation : news.withdrawn) cases_[incarnation].to_publish = true;
  for (const Incarnation& incarnation : affirmed) cases_[incarnation].affirm_at = {};
  to_announce_.insert(stops.begin(), stops.end());  // a newer announcement stays
  return status;
}

absl::Status CrashRelay::Learn(const CallContext& ctx) {
  const MonotonicTime asked_at = clock_.Monotonic();
  ABSL_ASSIGN_OR_RETURN(std::vector<Sighting> sightings,
                        ReadSightings(*connection_, ctx, options_.schema, options_.window));
  ABSL_ASSIGN_OR_RETURN(const std::vector<PlannedStop> stops,
                        ReadPlannedStops(*connection_, ctx, options_.schema));
  LearnedStops(stops);
  AskDetector(sightings);
  Learned(std::move(sightings), asked_at);
  return absl::OkStatus();
}

// The own detector shall look at what others see dead, too, before anybody is told of it.
void CrashRelay::AskDetector(const std::vector<Sighting>& sightings) {
  std::set<Incarnation> strange;
  {
    const MutexLock lock(mutex_);
    if (!first_read_) {
      first_read_ = 0;
      for (const Sighting& one : sightings) first_read_ = std::max(*first_read_, one.seq);
    }
    for (const Sighting& sighting : sightings) {
      const Incarnation& incarnation = sighting.event.incarnation;
      if (sighting.observer == options_.owner || sighting.withdrawn ||
          !IsNews(incarnation, sighting.seq)) {
        continue;
      }
      const Case& one = cases_[incarnation];
      const auto before = one.others.find(sighting.observer);
      const bool read_before =
          before != one.others.end() && before->second.sighting.seq == sighting.seq;
      // One that was not known may have been configured since.
      if (!read_before || one.foreign) strange.insert(incarnation);
    }
  }
  for (const Incarnation& incarnation : strange) {
    const bool foreign = absl::IsNotFound(inner_->Expect(incarnation));
    const MutexLock lock(mutex_);
    cases_[incarnation].foreign = foreign;
  }
}

void CrashRelay::Learned(std::vector<Sighting> sightings, MonotonicTime asked_at) {
  std::map<Incarnation, std::set<std::string>> read;  // who says something of it
  const MutexLock lock(mutex_);
  if (!heard_since_) heard_since_ = clock_.Monotonic();
  for (Sighting& sighting : sightings) {
    read[sighting.event.incarnation].insert(sighting.observer);
    Case& one = cases_[sighting.event.incarnation];
    if (sighting.observer == options_.owner) {
      LearnedOwn(sighting, one);
    } else {
      LearnedWord(std::move(sighting), one, asked_at);
    }
  }
  Forget(read);
  CheckLapsed();
}

void CrashRelay::LearnedOwn(const Sighting& sighting, Case& one) {
  one.agreed = sighting.agreed && !sighting.withdrawn && !one.to_publish;
  if (one.to_publish) return;  // what stands there is not this relay's last word
  const bool lapsed = sighting.counts_for && sighting.counts_for->count() <= 0;
  one.left = !one.own && !sighting.withdrawn && lapsed && sighting.event.kind == CrashKind::kSilent;
  const bool mine = one.own ? !sighting.withdrawn && sighting.event.kind == one.own->kind &&
                                  sighting.event.detected_at == one.own->detected_at
                            : sighting.withdrawn || sighting.seq <= *first_read_;
  if (mine || std::exchange(name_logged_, true)) return;
  log_->Write({LogLevel::kError,
               "owner_not_unique",
               absl::StrFormat("Another controller bears the name %s, too: both count as one; give "
                               "each a name of its own",
                               options_.owner),
               {{"owner", options_.owner}}});
}

void CrashRelay::LearnedWord(Sighting sighting, Case& one, MonotonicTime asked_at) {
  if (sighting.withdrawn) {
    if (one.others.erase(sighting.observer) == 0) return;
    // Those who know it by others only hear from them that it lives.
    if (one.told && !IsReached(Standing(sighting.event.incarnation, one))) {
      one.returned = true;
      one.agreed = false;
    }
    return;
  }
  if (clock_.Monotonic() < one.vouched_until) {
    one.heed_after = std::max(one.heed_after, sighting.seq);
  }
  Word& word = one.others[sighting.observer];
  word.counts_until.reset();
  if (sighting.counts_for) word.counts_until = asked_at + *sighting.counts_for;
  word.sighting = std::move(sighting);
}

// What the database does not hold any more is over, unless it lost what this relay wrote.
void CrashRelay::Forget(const std::map<Incarnation, std::set<std::string>>& read) {
  const MonotonicTime now = clock_.Monotonic();
  for (auto it = cases_.begin(); it != cases_.end();) {
    const auto& [incarnation, one] = *it;
    const auto said = read.find(incarnation);
    if (said != read.end()) {
      std::erase_if(it->second.others,
                    [&](const auto& word) { return !said->second.contains(word.first); });
      ++it;
      continue;
    }
    it->second.others.clear();
    const bool proof = one.own && one.own->kind != CrashKind::kSilent;
    if (one.own && !(proof && one.agreed)) {
      it->second.to_publish = true;
    }
    const bool open = one.to_publish || now < one.vouched_until || (one.told && one.told_silent);
    if (open) {
      ++it;
      continue;
    }
    expected_.erase(incarnation);
    it = cases_.erase(it);
  }
}

// Who only knew by others that it is silent hears that nobody says so any more.
void CrashRelay::CheckLapsed() {
  if (clock_.Monotonic() - *heard_since_ < options_.window) return;
  for (auto& [incarnation, one] : cases_) {
    if (!one.told || !one.told_silent || one.own) continue;
    if (IsReached(Standing(incarnation, one))) continue;
    one.returned = true;
    one.agreed = false;
  }
}

// Numbers above the last one come again when an older backup of the database was put back.
void CrashRelay::NumbersReach(std::int64_t last) {
  if (first_read_) first_read_ = std::min(*first_read_, last);
  for (auto& [incarnation, one] : cases_) one.heed_after = std::min(one.heed_after, last);
}

void CrashRelay::LearnedStops(const std::vector<PlannedStop>& stops) {
  for (const PlannedStop& stop : stops) {
    const auto known = known_stops_.find(stop.instance);
    if (known != known_stops_.end() && known->second == stop.until) continue;
    {
      const MutexLock lock(mutex_);
      if (to_announce_.contains(stop.instance)) continue;
      WallTime& planned = planned_[stop.instance];
      const bool mine = std::exchange(planned, stop.until) == stop.until;
      if (mine) {
        known_stops_[stop.instance] = stop.until;
        continue;
      }
    }
    if (!absl::IsNotFound(inner_->AnnounceStop({stop.instance, stop.until}))) {
      known_stops_[stop.instance] = stop.until;
      continue;
    }
    // One that is not configured here is no matter of this controller, until it is.
    const MutexLock lock(mutex_);
    if (!to_announce_.contains(stop.instance)) planned_.erase(stop.instance);
  }
}

void CrashRelay::NoteOutcome(const absl::Status& status) {
  failures_ = status.ok() ? 0 : failures_ + 1;
  if (status.ok() == reachable_) return;
  reachable_ = status.ok();
  if (reachable_) {
    log_->Write({LogLevel::kInfo, "crash_relay_back", "The other controllers are heard again", {}});
    return;
  }
  log_->Write({LogLevel::kWarning,
               "crash_relay_failed",
               options_.quorum == 1
                   ? "The other controllers are not heard; what this one sees dead is recovered"
                   : "The other controllers are not heard; without a quorum nothing is recovered",
               {{"status", std::string(status.message())}}});
}

void CrashRelay::Wake() {
  const std::uint64_t one = 1;
  // A counter that is full is as good a signal.
  [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof one);
}

void CrashRelay::Sleep(milliseconds time) {
  const MonotonicTime until = SystemClock().Monotonic() + time;
  while (!stop_.stop_requested()) {
    // What came with the answer to a statement makes the socket readable no more: it is taken
    // first.
    if (TakeNews()) return;
    const auto left = std::chrono::ceil<milliseconds>(until - SystemClock().Monotonic());
    if (left <= milliseconds(0)) return;
    pollfd watched[2] = {{wake_, POLLIN, 0},
                         {connection_ != nullptr ? connection_->descriptor() : -1, POLLIN, 0}};
    if (poll(watched, 2, static_cast<int>(left.count())) <= 0) continue;
    if (watched[0].revents == 0) continue;
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = read(wake_, &count, sizeof count);
    return;
  }
}

// True when there is something to do: another controller wrote, or the connection is lost.
bool CrashRelay::TakeNews() {
  if (connection_ == nullptr) return false;
  const auto news = connection_->TakeNotifications();
  if (!news.ok()) {
    connection_.reset();
    return true;
  }
  return std::find(news->begin(), news->end(), options_.schema) != news->end();
}

}  // namespace internal::postgres

absl::Status PostgresCrashRelayOptions::Validate() const {
  const PostgresOptions common{
      .dsn = dsn, .schema = schema, .make_schema = make_schema, .connect_timeout = connect_timeout};
  ABSL_RETURN_IF_ERROR(common.Validate());
  if (owner.empty() || owner.size() > 256) {
    return absl::InvalidArgumentError(
        absl::StrFormat("PostgresCrashRelayOptions::owner has %d bytes: give 1 to 256 that name "
                        "this controller, as HealerOptions::owner",
                        owner.size()));
  }
  if (quorum < 1 || quorum > 64) {
    return absl::InvalidArgumentError(
        absl::StrFormat("PostgresCrashRelayOptions::quorum is %d: give 1 to 64", quorum));
  }
  const auto within = [](std::chrono::milliseconds value, std::chrono::milliseconds least,
                         std::chrono::milliseconds most) {
    return value >= least && value <= most;
  };
  if (!within(window, std::chrono::seconds(1), std::chrono::hours(1))) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "PostgresCrashRelayOptions::window is %d ms: give 1 s to 1 h", window.count()));
  }
  if (!within(poll, std::chrono::milliseconds(10), std::chrono::minutes(1))) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "PostgresCrashRelayOptions::poll is %d ms: give 10 ms to 60 s", poll.count()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<CrashDetector>> MakePostgresCrashRelay(
    std::shared_ptr<CrashDetector> inner, PostgresCrashRelayOptions options) {
  if (inner == nullptr) {
    return absl::InvalidArgumentError(
        "MakePostgresCrashRelay: there is no detector: give the one whose reports are shared");
  }
  ABSL_RETURN_IF_ERROR(options.Validate());
  return std::make_shared<internal::postgres::CrashRelay>(std::move(inner), std::move(options));
}

}  // namespace sipheal::inline v0_1
