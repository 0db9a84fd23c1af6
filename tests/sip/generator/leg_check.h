// SPDX-License-Identifier: Apache-2.0
// One dialog that was rebuilt beside the leg of the generated call that it should be, and what the
// checks of its parts have in common. Each of them compares one thing, in a file of its own.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "sipheal/sip/dialog_state.h"
#include "sipheal/sip/verdict.h"
#include "tests/sip/generator/call.h"
#include "tests/sip/generator/checker.h"

namespace sipheal::testing::generator {

inline bool Accepted(const LedgerEntry& entry) { return entry.final >= 0 && entry.status < 300; }
inline std::int64_t Us(sip::CaptureTime time) { return time.time_since_epoch().count(); }

class LegCheck {
 public:
  LegCheck(const GeneratedCall& of, int leg_number, const sip::DialogState& rebuilt, Tally* counts,
           std::vector<std::string>* problems);

  const GeneratedCall& call;
  const Leg& leg;
  const int number;
  const sip::DialogState& state;
  Tally* const tally;

  bool lossless() const { return call.loss_percent == 0; }
  // -1: there was no such message.
  bool Survives(int id) const { return id >= 0 && call.survives[static_cast<std::size_t>(id)]; }
  bool Any(const std::vector<int>& ids) const {
    return std::any_of(ids.begin(), ids.end(), [this](int id) { return Survives(id); });
  }
  bool All(const std::vector<int>& ids) const {
    return std::all_of(ids.begin(), ids.end(), [this](int id) { return Survives(id); });
  }
  bool AnyOf(const std::vector<std::vector<int>>& sets) const {
    return std::any_of(sets.begin(), sets.end(), [this](const auto& set) { return All(set); });
  }
  std::int64_t TimeOf(int id) const { return call.times[static_cast<std::size_t>(id)]; }
  // When its first copy was captured; of one that was not, never.
  std::int64_t SeenAt(int id) const {
    return id < 0 ? INT64_MAX : seen_at_[static_cast<std::size_t>(id)];
  }
  const std::string& HopOf(int id) const { return call.hops[static_cast<std::size_t>(id)]; }
  // Those provisional answers that were captured and that make a difference to a dialog: no 100
  // (rule 1.2), and of unreliable ones with the same status, which nothing tells apart, the first.
  std::vector<int> Provisional(const LedgerEntry& entry) const;
  // A first INVITE was captured; `or_attempt`: or one that was refused before it.
  bool OpeningSeen(bool or_attempt) const;
  // What was captured shows this host next to the server in the dialog (rule 12.2): it is that of
  // the opening, or named there by address, or the server spoke to it or agreed with it later.
  bool KnowsHost(const std::string& hop) const;

  void Fail(const std::string& field, const std::string& found, const std::string& truth) {
    problems_->push_back("dialog " + std::to_string(number) + ": " + field + " is " + found +
                         ", not " + truth);
  }
  void Equal(const std::string& field, const std::string& found, const std::string& truth) {
    if (found != truth) Fail(field, '\'' + found + '\'', '\'' + truth + '\'');
  }
  // Of nothing that only converts to bool: a text would, and would always be true.
  template <std::same_as<bool> Bool>
  void Equal(const std::string& field, Bool found, Bool truth) {
    Equal(field, std::string(found ? "yes" : "no"), std::string(truth ? "yes" : "no"));
  }
  template <std::same_as<std::int64_t> Number>
  void Equal(const std::string& field, Number found, Number truth) {
    Equal(field, std::to_string(found), std::to_string(truth));
  }

 private:
  std::vector<std::int64_t> seen_at_;  // by note
  std::vector<std::string>* const problems_;
};

// By which nothing is refused for where it is.
sip::VerdictOptions Anywhere();
const char* NameOf(Fact fact);
bool IsRefresh(const std::string& method);

void CheckIdentity(LegCheck& check);   // who is who
void CheckSequence(LegCheck& check);   // the numbers of both directions
void CheckStage(LegCheck& check);      // early, confirmed, over, and by what
void CheckFacts(LegCheck& check);      // what is replaced in the course of a dialog
void CheckRequest(LegCheck& check);    // what the server would send next, and whether it may
void CheckUsages(LegCheck& check);     // subscriptions
void CheckClocks(LegCheck& check);     // what was open, and by when the peer gives up
void CheckSightings(LegCheck& check);  // who was seen when and where, and what it said of itself
void CheckProof(LegCheck& check);      // what it points to, and its evidence

}  // namespace sipheal::testing::generator
