// SPDX-License-Identifier: Apache-2.0
// InstanceWatch judges one instance: it is told what was seen, and says what that means. It does no
// I/O, reads no clock and takes no lock, so that every rule can be tested by itself.
//
// The rules (design: no false alarm, a death found at once):
//  - Gone: the event socket is lost, and either the process has ended (pidfd), or, when no process
//    is held, three connections in a row were refused over 20 ms or more while HEP was quiet, too.
//  - Silent: it was asked (a ping on the event socket, a request over HTTP) and has said nothing on
//    any channel since, for `silence`. Time counts from the asking, not from the last word: who was
//    not asked cannot be silent. Time in which the detector itself did not run does not count.
//  - Restarted: the instance answers with another start-up time.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sipheal/model/crash_event.h"

namespace sipheal::inline v0_1::internal {

class InstanceWatch {
 public:
  struct Options {
    std::chrono::milliseconds silence{900};
  };

  InstanceWatch(std::string instance, Options options)
      : instance_(std::move(instance)), options_(options) {}

  // --- what was seen ---

  // The event socket is open; the life is known.
  void Connected(const std::string& life, MonotonicTime now);
  void Disconnected(const std::string& why, MonotonicTime now);
  // Whether a process is held for the life that was connected last, and whether it has ended.
  void Process(bool held, bool ended, int pid);
  // A ping or an HTTP request went out.
  void Asked(MonotonicTime now);
  // The last sign of life on event socket or HTTP, and by HEP.
  void Heard(std::optional<MonotonicTime> ari, std::optional<MonotonicTime> hep);
  // How an HTTP request ended: the life it told of; a refusal; or neither (slow, cut, an error).
  void Identified(const std::string& life, MonotonicTime now);
  void Refused(MonotonicTime now);
  void AnsweredOtherwise();
  // Something on this side failed: nothing was asked.
  void NotAsked();
  // The detector did not run for this long.
  void Late(std::chrono::nanoseconds lateness);
  void Expect(const std::string& life);
  void PlannedStop(WallTime until) { planned_until_ = until; }

  // --- what it means ---

  struct Verdicts {
    std::vector<CrashEvent> crashes;
    std::vector<ReturnEvent> returns;
  };
  Verdicts Judge(MonotonicTime now, WallTime wall);

  bool connected() const { return connected_; }
  // A life is watched that is neither proved alive by an open socket nor reported: confirm quickly.
  bool suspicious() const { return !connected_ && Watching(); }
  // When it should be asked over HTTP, too: it has not answered for this long.
  std::chrono::nanoseconds Unanswered(MonotonicTime now) const;
  // A life was reported as silent and has not come back: keep asking.
  bool awaits_return() const { return !silent_.empty(); }
  bool Watching() const { return !lives_.empty(); }
  // It was heard after its death by silence was reported: who is it?
  bool NeedsIdentification() const;

 private:
  struct Life {
    bool identified = false;  // seen alive by this detector; else only expected
  };

  void Answered(MonotonicTime at);
  WallTime ToWall(MonotonicTime at, MonotonicTime now, WallTime wall) const;

  const std::string instance_;
  const Options options_;
  std::map<std::string, Life> lives_;            // watched: not reported
  std::set<std::string> reported_;               // dead for good
  std::map<std::string, MonotonicTime> silent_;  // reported as silent: may return
  std::vector<std::string> returned_;            // to be said
  std::string current_;                          // who answered last; empty when unknown
  bool connected_ = false;
  std::string socket_life_;  // of the event socket that is open, or was last
  std::string lost_why_;
  std::optional<MonotonicTime> lost_at_;
  bool process_held_ = false;
  bool process_ended_ = false;
  int pid_ = 0;
  int refusals_ = 0;
  MonotonicTime first_refusal_{};
  MonotonicTime last_refusal_{};
  std::optional<MonotonicTime> asked_at_;  // the first question that is not answered
  std::optional<MonotonicTime> heard_;     // on any channel
  std::optional<MonotonicTime> hep_;
  std::optional<WallTime> planned_until_;
};

}  // namespace sipheal::inline v0_1::internal
