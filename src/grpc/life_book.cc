// SPDX-License-Identifier: Apache-2.0
#include "grpc/life_book.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/absl_compat.h"
#include "base/status_macros.h"
#include "grpc/proto_text.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kShortestPromise{200};
constexpr milliseconds kLongestPromise{3'600'000};
constexpr std::size_t kMostEvidence = 16;
constexpr std::size_t kLongestEvidence = 500;
constexpr std::size_t kLongestLife = 256;
// What was seen longer ago than this is that old.
constexpr std::chrono::hours kOldest{24};

bool IsName(const std::string& text) { return !text.empty() && text.size() <= 64; }

absl::Status Unknown(const std::string& name) {
  return absl::NotFoundError(
      absl::StrFormat("no instance '%s' is known here: check its name", OneLine(name, 64)));
}

absl::Status Check(const LifeReport& report) {
  if (!IsName(report.reporter)) {
    return absl::InvalidArgumentError("the reporter's name must have 1 to 64 characters");
  }
  if (report.incarnation.life.empty() && report.state != LifeState::kGone) {
    return absl::InvalidArgumentError(
        "a report without a life can only say that none lives: name the life");
  }
  if (report.incarnation.life.size() > kLongestLife) {
    return absl::InvalidArgumentError("the name of a life has at most 256 characters");
  }
  if (report.valid_for != milliseconds(0) &&
      (report.valid_for < kShortestPromise || report.valid_for > kLongestPromise)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("valid_for is %d ms: set it from 200 ms to 1 h, or leave it out",
                        report.valid_for.count()));
  }
  return absl::OkStatus();
}

void LookAgain(std::optional<MonotonicTime>& when, MonotonicTime at) {
  if (!when || at < *when) when = at;
}

}  // namespace

absl::Status LifeBook::Add(const std::string& name) {
  if (!IsName(name)) {
    return absl::InvalidArgumentError("an instance's name must have 1 to 64 characters");
  }
  if (instances_.size() == kMostInstances && !instances_.contains(name)) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("there are %d instances already", instances_.size()));
  }
  if (!instances_.try_emplace(name).second) {
    return absl::AlreadyExistsError(absl::StrFormat("instance '%s' is known already", name));
  }
  return absl::OkStatus();
}

absl::Status LifeBook::Remove(const std::string& name) {
  return instances_.erase(name) > 0 ? absl::OkStatus() : Unknown(name);
}

std::vector<std::string> LifeBook::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, instance] : instances_) names.push_back(name);
  return names;
}

// One more life: what was told of is forgotten first.
absl::Status LifeBook::MakeRoom(Instance& instance, const std::string& life) {
  if (instance.lives.contains(life) || instance.lives.size() < kMostLives) return absl::OkStatus();
  auto oldest = instance.lives.end();
  for (auto it = instance.lives.begin(); it != instance.lives.end(); ++it) {
    if (it->second.told &&
        (oldest == instance.lives.end() || it->second.seen() < oldest->second.seen())) {
      oldest = it;
    }
  }
  if (oldest == instance.lives.end()) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%d lives of one instance are open already", instance.lives.size()));
  }
  instance.lives.erase(oldest);
  return absl::OkStatus();
}

bool LifeBook::Later(const Sign& a, const Sign& b) {
  if (a.reporter == b.reporter && a.said && b.said) return *a.said > *b.said;
  return a.at > b.at;
}

LifeBook::Sign LifeBook::SignOf(const LifeReport& report, const Moment& now) {
  const WallTime observed =
      std::clamp(report.observed_at.value_or(now.wall), now.wall - kOldest, now.wall);
  return {report.reporter, now.monotonic - (now.wall - observed), report.observed_at};
}

bool LifeBook::Life::AliveAfter(const Sign& sign) const {
  if (forgotten_at > sign.at) return true;
  return std::any_of(voices.begin(), voices.end(),
                     [&](const auto& voice) { return Later(voice.second.alive, sign); });
}

void LifeBook::HearAlive(Life& life, const LifeReport& report, const Moment& now) {
  // Those who have been silent longest make room.
  if (life.voices.size() >= kMostReporters && !life.voices.contains(report.reporter)) {
    const auto oldest = std::min_element(
        life.voices.begin(), life.voices.end(),
        [](const auto& a, const auto& b) { return a.second.heard < b.second.heard; });
    life.forgotten_at = std::max(life.forgotten_at, oldest->second.alive.at);
    life.voices.erase(oldest);
  }
  const Sign sign = SignOf(report, now);
  const auto [found, fresh] = life.voices.try_emplace(report.reporter);
  Voice& voice = found->second;
  const std::optional<WallTime> before = std::exchange(voice.alive.said, sign.said);
  // Older than what this reporter said last: it was long on its way. Where its clock was set back,
  // this is so once.
  if (!fresh && before && sign.said && *sign.said < *before) return;
  const bool by_its_own_clock = before && sign.said && *sign.said > *before;
  if (fresh ? sign.at > life.alive_at : by_its_own_clock || sign.at > voice.alive.at) ++life.signs;
  voice.alive = {sign.reporter, fresh ? sign.at : std::max(voice.alive.at, sign.at), sign.said};
  life.alive_at = std::max(life.alive_at, sign.at);
  voice.heard = now.monotonic;
  voice.promised_until.reset();
  if (report.valid_for > milliseconds(0)) voice.promised_until = now.monotonic + report.valid_for;
}

absl::Status LifeBook::Report(const LifeReport& report, const Moment& now) {
  ABSL_RETURN_IF_ERROR(Check(report));
  const auto found = instances_.find(report.incarnation.instance);
  if (found == instances_.end()) return Unknown(report.incarnation.instance);
  Instance& instance = found->second;
  if (report.state == LifeState::kAlive) {
    ABSL_RETURN_IF_ERROR(MakeRoom(instance, report.incarnation.life));
    HearAlive(instance.lives[report.incarnation.life], report, now);
    return absl::OkStatus();
  }
  Death death;
  death.state = report.state;
  death.sign = SignOf(report, now);
  const WallTime observed = std::min(report.observed_at.value_or(now.wall), now.wall);
  death.last_alive = std::min(report.last_alive.value_or(observed), observed);
  for (const std::string& sentence : report.evidence) {
    if (death.evidence.size() == kMostEvidence) break;
    death.evidence.push_back(OneLine(sentence, kLongestEvidence));
  }
  std::optional<Death>* place = &instance.empty;
  if (!report.incarnation.life.empty()) {
    ABSL_RETURN_IF_ERROR(MakeRoom(instance, report.incarnation.life));
    place = &instance.lives[report.incarnation.life].death;
  }
  // "Silent" said after "gone" takes nothing back.
  const bool weaker =
      *place && (*place)->state != LifeState::kSilent && death.state == LifeState::kSilent;
  if (!*place || (!Later((*place)->sign, death.sign) && !weaker)) *place = std::move(death);
  return absl::OkStatus();
}

absl::Status LifeBook::Expect(const Incarnation& incarnation, const Moment& now) {
  const auto found = instances_.find(incarnation.instance);
  if (found == instances_.end()) return Unknown(incarnation.instance);
  ABSL_RETURN_IF_ERROR(MakeRoom(found->second, incarnation.life));
  // Without a sign of its own it counts as seen now: what is said from now on decides.
  Life& life = found->second.lives[incarnation.life];
  if (life.expected_at == MonotonicTime::min()) life.expected_at = now.monotonic;
  return absl::OkStatus();
}

absl::Status LifeBook::AnnounceStop(const std::string& name, WallTime until) {
  const auto found = instances_.find(name);
  if (found == instances_.end()) return Unknown(name);
  found->second.planned_until = until;
  return absl::OkStatus();
}

std::optional<CrashEvent> LifeBook::CrashOf(const Instance& instance, const Incarnation& who,
                                            const Life& life, const Moment& now, News& news) const {
  CrashEvent crash;
  crash.incarnation = who;
  crash.detected_at = now.wall;
  crash.detector = "grpc";
  const auto wall = [&](MonotonicTime at) {
    return now.wall - std::chrono::duration_cast<std::chrono::microseconds>(now.monotonic - at);
  };
  const auto told_by = [&](const Death& death) {
    crash.last_alive = death.last_alive;
    for (const std::string& sentence : death.evidence) {
      crash.evidence.push_back(
          absl::StrFormat("%s: %s", OneLine(death.sign.reporter, 64), sentence));
    }
    if (crash.evidence.empty()) {
      crash.evidence.push_back(absl::StrFormat("%s said so", OneLine(death.sign.reporter, 64)));
    }
  };
  // Gone, or declared dead: and not seen alive later.
  if (life.death && life.death->state != LifeState::kSilent && !life.AliveAfter(life.death->sign)) {
    crash.kind =
        life.death->state == LifeState::kGone ? CrashKind::kProcessGone : CrashKind::kReported;
    told_by(*life.death);
    return crash;
  }
  if (instance.empty && instance.empty->sign.at >= life.expected_at &&
      !life.AliveAfter(instance.empty->sign)) {
    crash.kind = CrashKind::kProcessGone;
    told_by(*instance.empty);
    if (life.alive_at != MonotonicTime::min()) {
      crash.last_alive = std::min(crash.last_alive, wall(life.alive_at));
    }
    return crash;
  }

  // What follows only when nobody heard it for a while, and no promise stands.
  const auto silent = [&](const std::string& but, const Life* newer) {
    std::optional<MonotonicTime> until;
    for (const auto& [reporter, voice] : life.voices) {
      if (reporter == but) continue;
      MonotonicTime stands = voice.heard + silence_;
      // Who hears the next life has taken back what it promised for this one.
      const bool took_back = newer != nullptr && newer->voices.contains(reporter);
      if (voice.promised_until && !took_back) stands = std::max(stands, *voice.promised_until);
      if (!until || stands > *until) until = stands;
    }
    if (!until || *until <= now.monotonic) return true;
    LookAgain(news.look_again, *until);
    return false;
  };
  // Its own life, or another one in its place.
  const Life* newer = nullptr;
  std::string newer_id;
  for (const auto& [id, other] : instance.lives) {
    if (id == who.life || other.alive_at == MonotonicTime::min()) continue;
    if (other.alive_at > life.seen() && (newer == nullptr || other.alive_at > newer->alive_at)) {
      newer = &other;
      newer_id = id;
    }
  }
  if (newer != nullptr && silent("", newer)) {
    crash.kind = CrashKind::kRestarted;
    crash.last_alive =
        wall(life.alive_at != MonotonicTime::min() ? life.alive_at : newer->alive_at);
    crash.evidence.push_back(
        absl::StrFormat("another life of it is seen alive: %s", OneLine(newer_id, 64)));
    return crash;
  }
  if (life.death && life.death->state == LifeState::kSilent && !life.AliveAfter(life.death->sign) &&
      silent(life.death->sign.reporter, nullptr)) {
    crash.kind = CrashKind::kSilent;
    told_by(*life.death);
    return crash;
  }
  const bool promised = std::any_of(life.voices.begin(), life.voices.end(), [](const auto& voice) {
    return voice.second.promised_until.has_value();
  });
  if (promised && silent("", nullptr)) {
    crash.kind = CrashKind::kSilent;
    crash.last_alive = wall(life.alive_at);
    crash.evidence.push_back("every promise of a sign of life ran out");
    return crash;
  }
  return std::nullopt;
}

LifeBook::News LifeBook::Look(const std::string& name, const Moment& now) {
  News news;
  const auto found = instances_.find(name);
  if (found == instances_.end()) return news;
  Instance& instance = found->second;
  for (auto& [id, life] : instance.lives) {
    const Incarnation who{name, id};
    if (life.told && life.AliveSinceTold()) {
      if (*life.told == CrashKind::kSilent) {
        life.told.reset();
        life.death.reset();
        news.returns.push_back({who, now.wall});
      } else if (!std::exchange(life.contradicted, true)) {
        news.contradictions.push_back(absl::StrFormat(
            "%s (%s) was reported dead (%s) and is reported alive again: its calls were taken",
            name, OneLine(id, 64), AbslView(ToString(*life.told))));
      }
      continue;
    }
    if (life.told && *life.told != CrashKind::kSilent) continue;
    if (now.wall < instance.planned_until) {
      // No further than an hour: the wall clock may be set meanwhile.
      const auto left = std::min<std::chrono::microseconds>(instance.planned_until - now.wall,
                                                            std::chrono::hours(1));
      LookAgain(news.look_again, now.monotonic + left);
      continue;
    }
    std::optional<CrashEvent> crash = CrashOf(instance, who, life, now, news);
    if (!crash || life.told == crash->kind) continue;
    life.told = crash->kind;
    life.told_signs = life.signs;
    life.contradicted = false;
    news.crashes.push_back(*std::move(crash));
  }
  return news;
}

void LifeBook::Forgive(MonotonicTime::duration lost, MonotonicTime now) {
  for (auto& [name, instance] : instances_) {
    for (auto& [id, life] : instance.lives) {
      for (auto& [reporter, voice] : life.voices) {
        voice.heard = std::min(voice.heard + lost, now);
        if (voice.promised_until) *voice.promised_until += lost;
      }
    }
  }
}

}  // namespace sipheal::inline v0_1::internal
