// SPDX-License-Identifier: Apache-2.0
#include "ari/instance_watch.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr int kRefusals = 3;
constexpr milliseconds kRefusalSpan{20};
// A packet of a process that has just died may still be on its way through our own queues.
constexpr milliseconds kHepQuiet{20};

}  // namespace

void InstanceWatch::Connected(const std::string& life, MonotonicTime now) {
  connected_ = true;
  socket_life_ = life;
  lost_at_.reset();
  lost_why_.clear();
  process_held_ = process_ended_ = false;
  Identified(life, now);
}

void InstanceWatch::Disconnected(const std::string& why, MonotonicTime now) {
  if (!connected_) return;  // a try to connect again that failed
  connected_ = false;
  lost_why_ = why;
  lost_at_ = now;
  refusals_ = 0;
}

void InstanceWatch::Process(bool held, bool ended, int pid) {
  process_held_ = held;
  process_ended_ = held && ended;
  pid_ = pid;
}

void InstanceWatch::Asked(MonotonicTime now) {
  if (!asked_at_) asked_at_ = now;
}

void InstanceWatch::Answered(MonotonicTime at) {
  heard_ = heard_ ? std::max(*heard_, at) : at;
  if (asked_at_ && *heard_ >= *asked_at_) asked_at_.reset();
}

void InstanceWatch::Heard(std::optional<MonotonicTime> ari, std::optional<MonotonicTime> hep) {
  if (ari) Answered(*ari);
  if (hep) {
    hep_ = hep;
    Answered(*hep);
  }
}

void InstanceWatch::Identified(const std::string& life, MonotonicTime now) {
  refusals_ = 0;
  Answered(now);
  if (reported_.count(life) != 0) return;  // an answer that was long on its way
  current_ = life;
  if (const auto silent = silent_.find(life); silent != silent_.end()) {
    silent_.erase(silent);
    returned_.push_back(life);
    // It lives, and will hold calls again: its next death is a new one.
    lives_[life].identified = true;
    return;
  }
  lives_[life].identified = true;
}

void InstanceWatch::Refused(MonotonicTime now) {
  if (refusals_++ == 0) first_refusal_ = now;
  last_refusal_ = now;
}

void InstanceWatch::AnsweredOtherwise() { refusals_ = 0; }

void InstanceWatch::NotAsked() {
  refusals_ = 0;
  asked_at_.reset();
}

void InstanceWatch::Late(nanoseconds lateness) {
  if (asked_at_) *asked_at_ += duration_cast<MonotonicTime::duration>(lateness);
}

void InstanceWatch::Expect(const std::string& life) {
  if (life.empty() || reported_.count(life) != 0 || silent_.count(life) != 0) return;
  lives_.try_emplace(life);
}

nanoseconds InstanceWatch::Unanswered(MonotonicTime now) const {
  return asked_at_ && now > *asked_at_ ? nanoseconds(now - *asked_at_) : nanoseconds(0);
}

bool InstanceWatch::NeedsIdentification() const {
  return std::any_of(silent_.begin(), silent_.end(),
                     [this](const auto& silent) { return heard_ && *heard_ > silent.second; });
}

WallTime InstanceWatch::ToWall(MonotonicTime at, MonotonicTime now, WallTime wall) const {
  return wall - duration_cast<microseconds>(now - at);
}

InstanceWatch::Verdicts InstanceWatch::Judge(MonotonicTime now, WallTime wall) {
  Verdicts verdicts;
  for (const std::string& life : std::exchange(returned_, {})) {
    verdicts.returns.push_back({{instance_, life}, wall});
  }
  if (planned_until_ && wall < *planned_until_) return verdicts;

  const bool refused = refusals_ >= kRefusals && last_refusal_ - first_refusal_ >= kRefusalSpan;
  const bool hep_quiet = !hep_ || now - *hep_ >= kHepQuiet;
  const bool asked_in_vain = asked_at_ && now - *asked_at_ >= options_.silence;

  for (auto life = lives_.begin(); life != lives_.end();) {
    const std::string& name = life->first;
    CrashEvent crash;
    crash.incarnation = {instance_, name};
    crash.detected_at = wall;
    crash.detector = "ari";
    // Socket and process speak of this life alone: the one after it may have been seen over HTTP
    // already.
    const bool mine = name == socket_life_;
    if (!lost_why_.empty() && mine) crash.evidence.push_back("event socket lost: " + lost_why_);
    bool dead = false;
    if (!current_.empty() && current_ != name) {
      dead = true;
      crash.kind = CrashKind::kRestarted;
      crash.evidence.push_back(absl::StrFormat("it answers with start-up time %s now", current_));
    } else if (connected_ && !asked_in_vain) {
      dead = false;
    } else if (!connected_ && mine && process_held_ && process_ended_) {
      dead = true;
      crash.kind = CrashKind::kProcessGone;
      crash.evidence.push_back(absl::StrFormat("process %d has ended", pid_));
    } else if (!connected_ && refused && hep_quiet && !(mine && process_held_)) {
      dead = true;
      crash.kind = CrashKind::kProcessGone;
      crash.evidence.push_back(
          absl::StrFormat("%d connections in a row were refused over %d ms", refusals_,
                          duration_cast<milliseconds>(last_refusal_ - first_refusal_).count()));
    } else if (asked_in_vain) {
      dead = true;
      crash.kind = CrashKind::kSilent;
      crash.evidence.push_back(
          absl::StrFormat("asked for a sign of life, and nothing heard on event socket, HTTP or "
                          "HEP for %d ms",
                          duration_cast<milliseconds>(now - *asked_at_).count()));
    }
    if (!dead) {
      ++life;
      continue;
    }
    // With a lost socket, the loss is the best guess at the moment of death.
    const std::optional<MonotonicTime> alive =
        crash.kind != CrashKind::kSilent && mine && lost_at_ ? lost_at_ : heard_;
    if (alive && life->second.identified) crash.last_alive = ToWall(*alive, now, wall);
    if (crash.kind == CrashKind::kSilent) {
      silent_[name] = now;
    } else {
      reported_.insert(name);
    }
    if (current_ == name) current_.clear();
    verdicts.crashes.push_back(std::move(crash));
    life = lives_.erase(life);
  }
  // A silent one that another has replaced does not come back.
  if (!current_.empty()) {
    for (auto silent = silent_.begin(); silent != silent_.end();) {
      if (silent->first == current_) {
        ++silent;
      } else {
        reported_.insert(silent->first);
        silent = silent_.erase(silent);
      }
    }
  }
  return verdicts;
}

}  // namespace sipheal::inline v0_1::internal
