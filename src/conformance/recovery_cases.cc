// SPDX-License-Identifier: Apache-2.0
// SS-6 to SS-9 and SS-13: claims, fence, journal, take-over and what was taken.
#include <algorithm>

#include "conformance/session_store_support.h"

namespace sipheal::inline v0_1::conformance {
namespace {

constexpr auto kAborted = absl::StatusCode::kAborted;
constexpr auto kAlreadyExists = absl::StatusCode::kAlreadyExists;

absl::Status OneOfManyGetsTheClaim(SessionStoreHarness& harness) {
  constexpr int kThreads = 6;
  constexpr int kSessions = 40;
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SessionStore::PutParams params;
  std::vector<SessionKey> keys;
  for (int i = 0; i < kSessions; ++i) {
    params.sessions.push_back(ASession(absl::StrFormat("s%d", i)));
    keys.push_back(params.sessions.back().key());
  }
  SIPHEAL_REQUIRE_OK(store->Put({}, params));
  std::vector<std::atomic<int>> claimed(kSessions);
  ABSL_RETURN_IF_ERROR(OnThreads(kThreads, [&](int thread) -> absl::Status {
    const std::string owner = absl::StrFormat("owner-%d", thread);
    for (int begin = 0; begin < kSessions; begin += 4) {
      const std::vector<SessionKey> some(keys.begin() + begin, keys.begin() + begin + 4);
      SIPHEAL_TAKE(const auto leases,
                   store->Claim({}, {.sessions = some, .owner = owner, .lease = 60 * kLease}));
      SIPHEAL_REQUIRE(leases.size() == some.size(), "Claim of %d sessions gave %d results",
                      some.size(), leases.size());
      for (std::size_t i = 0; i < leases.size(); ++i) {
        if (!leases[i].ok()) {
          SIPHEAL_REQUIRE_CODE(leases[i], kAlreadyExists);
          continue;
        }
        SIPHEAL_REQUIRE(leases[i]->session == some[i] && leases[i]->owner == owner,
                        "a lease names another session or owner than was asked");
        ++claimed[static_cast<std::size_t>(begin) + i];
      }
    }
    return absl::OkStatus();
  }));
  for (int i = 0; i < kSessions; ++i) {
    const int times = claimed[static_cast<std::size_t>(i)];
    SIPHEAL_REQUIRE(times == 1, "session %d was claimed by %d of %d owners", i, times, kThreads);
  }
  return absl::OkStatus();
}

absl::Status TheOwnerMayClaimAgain(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("s")));
  SIPHEAL_TAKE(const Lease first, ClaimOne(*store, {"s", 0}));
  SIPHEAL_TAKE(const Lease second, ClaimOne(*store, {"s", 0}));
  SIPHEAL_REQUIRE(second.fence > first.fence, "the owner's new lease has fence %d, the old one %d",
                  second.fence, first.fence);
  SIPHEAL_REQUIRE_CODE(ClaimOne(*store, {"s", 0}, "owner-2"), kAlreadyExists);
  return absl::OkStatus();
}

absl::Status AnExpiredLeaseIsFree(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("s")));
  SIPHEAL_TAKE(const Lease first, ClaimOne(*store, {"s", 0}));
  ABSL_RETURN_IF_ERROR(harness.AdvanceClock(kLease / 4));
  SIPHEAL_REQUIRE_CODE(ClaimOne(*store, {"s", 0}, "owner-2"), kAlreadyExists);
  ABSL_RETURN_IF_ERROR(harness.AdvanceClock(kLease));
  SIPHEAL_TAKE(const Lease second, ClaimOne(*store, {"s", 0}, "owner-2"));
  SIPHEAL_REQUIRE(second.owner == "owner-2" && second.fence > first.fence,
                  "the lease after an expired one has fence %d, the old one %d", second.fence,
                  first.fence);
  return absl::OkStatus();
}

absl::Status AFinishedSessionIsNeverClaimedAgain(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("s")));
  SIPHEAL_TAKE(const Lease lease, ClaimOne(*store, {"s", 0}));
  JournalEntry finish = AnEntry(lease, RecoveryStage::kFinished);
  finish.outcome = Outcome::kClosed;
  SIPHEAL_REQUIRE_OK(AdvanceOne(*store, finish));
  SIPHEAL_REQUIRE_CODE(ClaimOne(*store, {"s", 0}), kAlreadyExists);
  ABSL_RETURN_IF_ERROR(harness.AdvanceClock(2 * kLease));
  SIPHEAL_REQUIRE_CODE(ClaimOne(*store, {"s", 0}), kAlreadyExists);
  SIPHEAL_REQUIRE_CODE(ClaimOne(*store, {"s", 0}, "owner-2"), kAlreadyExists);
  // Nor does a late word of the tracker bring it back.
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("s")));
  SIPHEAL_REQUIRE_CODE(ClaimOne(*store, {"s", 0}), kAlreadyExists);
  SIPHEAL_TAKE(const auto sessions, ListAll(*store));
  SIPHEAL_REQUIRE(sessions.empty(), "a session with an outcome is listed");
  return absl::OkStatus();
}

absl::Status AnOlderFenceIsRefused(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_OK(store->Put({}, {.sessions = {ASession("s"), ASession("t")}}));
  SIPHEAL_TAKE(const Lease old, ClaimOne(*store, {"s", 0}));
  ABSL_RETURN_IF_ERROR(harness.AdvanceClock(kLease + kLease / 4));
  SIPHEAL_TAKE(const Lease current, ClaimOne(*store, {"s", 0}, "owner-2"));
  SIPHEAL_TAKE(const Lease other, ClaimOne(*store, {"t", 0}));
  // The old owner wakes up: its step is refused, the step beside it is not.
  SIPHEAL_TAKE(const auto results,
               store->Advance({}, {.steps = {{AnEntry(old, RecoveryStage::kFinished), {}},
                                             {AnEntry(other, RecoveryStage::kRebuilt), {}}},
                                   .lease = kLease}));
  SIPHEAL_REQUIRE(results.size() == 2, "Advance of 2 steps gave %d results", results.size());
  SIPHEAL_REQUIRE_CODE(results[0], kAborted);
  SIPHEAL_REQUIRE_OK(results[1]);
  SIPHEAL_TAKE(const auto journal, store->Journal({}, "s"));
  SIPHEAL_REQUIRE(journal.empty(), "a refused step is in the journal");
  SIPHEAL_REQUIRE_OK(AdvanceOne(*store, AnEntry(current, RecoveryStage::kRebuilt)));
  return absl::OkStatus();
}

absl::Status AStepWithoutAClaimIsRefused(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("s")));
  for (const std::uint64_t fence : {std::uint64_t{0}, std::uint64_t{1}}) {
    const Lease made_up{{"s", 0}, "owner-1", fence, {}};
    SIPHEAL_REQUIRE_CODE(AdvanceOne(*store, AnEntry(made_up, RecoveryStage::kFinished)), kAborted);
  }
  SIPHEAL_TAKE(const auto journal, store->Journal({}, "s"));
  SIPHEAL_REQUIRE(journal.empty(), "a step of a session never claimed is in the journal");
  SIPHEAL_REQUIRE_OK(ClaimOne(*store, {"s", 0}));
  return absl::OkStatus();
}

absl::Status TheJournalKeepsEveryEntryInOrder(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("s")));
  SIPHEAL_TAKE(const Lease lease, ClaimOne(*store, {"s", 0}));
  std::vector<JournalEntry> written;
  SessionStore::AdvanceParams params{.lease = kLease};
  for (int i = 0; i < 20; ++i) {
    JournalEntry entry = AnEntry(lease, RecoveryStage::kInviting, absl::StrFormat("step %d", i));
    entry.at -= std::chrono::seconds(i);  // a clock that goes back does not change the order
    written.push_back(entry);
    params.steps.push_back({entry, {}});
    if (i % 5 != 4) continue;
    SIPHEAL_TAKE(const auto results, store->Advance({}, params));
    for (const absl::Status& result : results) SIPHEAL_REQUIRE_OK(result);
    params.steps.clear();
  }
  SIPHEAL_TAKE(const auto journal, store->Journal({}, "s"));
  SIPHEAL_REQUIRE(journal.size() == written.size(), "of %d entries the journal has %d",
                  written.size(), journal.size());
  SIPHEAL_REQUIRE(journal == written, "the journal's entries are changed, or in another order");
  return absl::OkStatus();
}

absl::Status AStepExtendsTheLease(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("s")));
  SIPHEAL_TAKE(const Lease lease, ClaimOne(*store, {"s", 0}));
  ABSL_RETURN_IF_ERROR(harness.AdvanceClock(kLease * 3 / 4));
  SIPHEAL_REQUIRE_OK(AdvanceOne(*store, AnEntry(lease, RecoveryStage::kRebuilt)));
  ABSL_RETURN_IF_ERROR(harness.AdvanceClock(kLease / 2));
  SIPHEAL_REQUIRE_CODE(ClaimOne(*store, {"s", 0}, "owner-2"), kAlreadyExists);
  return absl::OkStatus();
}

absl::Status AnOutcomeNeedsItsStage(SessionStoreHarness& harness) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("s")));
  SIPHEAL_TAKE(const Lease lease, ClaimOne(*store, {"s", 0}));
  JournalEntry without = AnEntry(lease, RecoveryStage::kFinished);
  without.outcome.reset();
  SIPHEAL_REQUIRE_CODE(AdvanceOne(*store, without), kInvalid);
  JournalEntry early = AnEntry(lease, RecoveryStage::kInviting);
  early.outcome = Outcome::kRecovered;
  SIPHEAL_REQUIRE_CODE(AdvanceOne(*store, early), kInvalid);
  const JournalEntry finish = AnEntry(lease, RecoveryStage::kFinished);
  SIPHEAL_REQUIRE_CODE(AdvanceOne(*store, finish, ASession("s", 2)), kInvalid);
  SIPHEAL_REQUIRE_CODE(AdvanceOne(*store, finish, ASession("other", 1)), kInvalid);
  SIPHEAL_TAKE(const auto journal, store->Journal({}, "s"));
  SIPHEAL_REQUIRE(journal.empty(), "an invalid step is in the journal");
  SIPHEAL_REQUIRE_OK(AdvanceOne(*store, finish, ASession("s", 1)));
  return absl::OkStatus();
}

absl::Status TheSuccessorComesWithTheOutcome(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("s")));
  SIPHEAL_TAKE(const Lease lease, ClaimOne(*store, {"s", 0}));
  Session successor = ASession("s", 1);
  successor.incarnation = {"ast2", "life2"};
  // Somebody watches: there is never none of the two, and never both.
  std::atomic<bool> looked = false;
  std::atomic<bool> done = false;
  absl::Status watched;
  std::thread watching([&] {
    while (!done && watched.ok()) {
      const auto sessions = ListAll(*store);
      looked = true;
      looked.notify_one();
      if (!sessions.ok()) {
        watched = AsBroken("List", sessions.status());
      } else if (sessions->size() != 1) {
        watched = Broken(absl::StrFormat("outcome and successor: %d records were there at a time",
                                         sessions->size()));
      }
    }
  });
  looked.wait(false);
  const absl::Status finished =
      AdvanceOne(*store, AnEntry(lease, RecoveryStage::kFinished), successor);
  done = true;
  watching.join();
  ABSL_RETURN_IF_ERROR(watched);
  SIPHEAL_REQUIRE_OK(finished);
  SIPHEAL_TAKE(const auto sessions, ListAll(*store));
  SIPHEAL_REQUIRE(sessions.size() == 1 && sessions[0] == successor,
                  "after the outcome the successor is not what is listed");
  SIPHEAL_TAKE(const Lease next, ClaimOne(*store, {"s", 1}));
  SIPHEAL_REQUIRE(next.fence > lease.fence, "the successor's fence %d is not above %d", next.fence,
                  lease.fence);
  return absl::OkStatus();
}

absl::Status AFinishSaidTwiceIsOne(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("s")));
  SIPHEAL_TAKE(const Lease lease, ClaimOne(*store, {"s", 0}));
  const JournalEntry finish = AnEntry(lease, RecoveryStage::kFinished);
  SIPHEAL_REQUIRE_OK(AdvanceOne(*store, finish, ASession("s", 1)));
  SIPHEAL_REQUIRE_OK(AdvanceOne(*store, finish, ASession("s", 1)));
  SIPHEAL_REQUIRE_CODE(AdvanceOne(*store, AnEntry(lease, RecoveryStage::kRebuilt)), kAborted);
  SIPHEAL_TAKE(const auto journal, store->Journal({}, "s"));
  SIPHEAL_REQUIRE(journal.size() == 1, "a finish said twice is %d entries", journal.size());
  return absl::OkStatus();
}

absl::Status UnfinishedAreThoseWithAnExpiredLease(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SessionStore::PutParams params;
  for (const char* id : {"free", "bare", "stepped", "finished", "renewed"}) {
    params.sessions.push_back(ASession(id));
  }
  SIPHEAL_REQUIRE_OK(store->Put({}, params));
  SIPHEAL_TAKE(const Lease bare, ClaimOne(*store, {"bare", 0}));
  SIPHEAL_TAKE(const Lease stepped, ClaimOne(*store, {"stepped", 0}));
  SIPHEAL_TAKE(const Lease finished, ClaimOne(*store, {"finished", 0}));
  SIPHEAL_TAKE(const Lease renewed, ClaimOne(*store, {"renewed", 0}));
  const JournalEntry last = AnEntry(stepped, RecoveryStage::kInviting, "the last");
  SIPHEAL_REQUIRE_OK(AdvanceOne(*store, AnEntry(stepped, RecoveryStage::kRebuilt)));
  SIPHEAL_REQUIRE_OK(AdvanceOne(*store, last));
  SIPHEAL_REQUIRE_OK(AdvanceOne(*store, AnEntry(finished, RecoveryStage::kFinished)));
  SIPHEAL_TAKE(auto unfinished, store->ListUnfinished({}));
  SIPHEAL_REQUIRE(unfinished.empty(), "%d recoveries with a good lease were given to take over",
                  unfinished.size());
  ABSL_RETURN_IF_ERROR(harness.AdvanceClock(kLease + kLease / 4));
  SIPHEAL_REQUIRE_OK(ClaimOne(*store, {"renewed", 0}));
  SIPHEAL_TAKE(unfinished, store->ListUnfinished({}));
  std::sort(unfinished.begin(), unfinished.end(),
            [](const auto& a, const auto& b) { return a.session.id < b.session.id; });
  SIPHEAL_REQUIRE(unfinished.size() == 2, "%d recoveries were given to take over, not 2",
                  unfinished.size());
  SIPHEAL_REQUIRE(
      unfinished[0].session == ASession("bare") && unfinished[1].session == ASession("stepped"),
      "the recoveries to take over are others than those whose lease expired");
  SIPHEAL_REQUIRE(unfinished[0].last.stage == RecoveryStage::kClaimed &&
                      unfinished[0].last.session == bare.session &&
                      unfinished[0].last.fence == bare.fence,
                  "a claim without steps is not given as claimed");
  SIPHEAL_REQUIRE(unfinished[1].last == last, "the last entry given is not the last one written");
  return absl::OkStatus();
}

absl::Status WhatWasTakenStaysKnown(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  const TakenChannel first{{"ast1", "life1"}, "chan-1"};
  const TakenChannel second{{"ast2", "life 2"}, "chan-1"};
  for (const char* id : {"s", "t"}) {
    SIPHEAL_REQUIRE_OK(PutOne(*store, ASession(id)));
    SIPHEAL_TAKE(const Lease lease, ClaimOne(*store, {id, 0}));
    SIPHEAL_REQUIRE_OK(AdvanceOne(*store, AnEntry(lease, RecoveryStage::kRebuilt)));
    JournalEntry placed = AnEntry(lease, RecoveryStage::kPlaced);
    placed.taken = first;
    SIPHEAL_REQUIRE_OK(AdvanceOne(*store, placed));
    SIPHEAL_TAKE(const auto journal, store->Journal({}, id));
    SIPHEAL_REQUIRE(!journal.empty() && journal.back() == placed,
                    "the journal lost what an entry takes");
    if (id == std::string("t")) {
      placed.taken = second;
      SIPHEAL_REQUIRE_OK(AdvanceOne(*store, placed));
    }
    JournalEntry finish = AnEntry(lease, RecoveryStage::kFinished);
    finish.outcome = Outcome::kRecovered;
    Session successor = ASession(id, 1);
    SIPHEAL_REQUIRE_OK(AdvanceOne(*store, finish, successor));
    successor.state = SessionState::kEnded;
    SIPHEAL_REQUIRE_OK(PutOne(*store, successor));
  }
  SIPHEAL_TAKE(auto taken, store->ListTaken({}));
  std::sort(taken.begin(), taken.end());
  SIPHEAL_REQUIRE(taken == (std::vector{first, second}),
                  "%d channels were listed as taken, not the two that were", taken.size());
  return absl::OkStatus();
}

constexpr Case<SessionStoreHarness> kCases[] = {
    {"SS-6", "OneOfManyGetsTheClaim", "of many who claim, exactly one gets each session",
     OneOfManyGetsTheClaim},
    {"SS-6", "TheOwnerMayClaimAgain", "the same owner gets a new lease", TheOwnerMayClaimAgain},
    {"SS-6", "AnExpiredLeaseIsFree", "a lease keeps others out until it expires",
     AnExpiredLeaseIsFree},
    {"SS-6", "AFinishedSessionIsNeverClaimedAgain", "a session with an outcome is never claimed",
     AFinishedSessionIsNeverClaimedAgain},
    {"SS-7", "AnOlderFenceIsRefused", "a step with an older fence is Aborted, others go on",
     AnOlderFenceIsRefused},
    {"SS-7", "AStepWithoutAClaimIsRefused", "a step of a session never claimed is Aborted",
     AStepWithoutAClaimIsRefused},
    {"SS-8", "TheJournalKeepsEveryEntryInOrder", "the journal keeps every entry, in order",
     TheJournalKeepsEveryEntryInOrder},
    {"SS-8", "AStepExtendsTheLease", "Advance extends the lease", AStepExtendsTheLease},
    {"SS-8", "AnOutcomeNeedsItsStage", "kFinished needs an outcome, and a fitting successor",
     AnOutcomeNeedsItsStage},
    {"SS-8", "TheSuccessorComesWithTheOutcome", "outcome and successor come at one moment",
     TheSuccessorComesWithTheOutcome},
    {"SS-8", "AFinishSaidTwiceIsOne", "a finish said again is no second one, and no error",
     AFinishSaidTwiceIsOne},
    {"SS-9", "UnfinishedAreThoseWithAnExpiredLease",
     "ListUnfinished gives the claimed without outcome whose lease expired, with their last entry",
     UnfinishedAreThoseWithAnExpiredLease},
    {"SS-13", "WhatWasTakenStaysKnown",
     "what was taken is listed, each channel once, also when the session is over",
     WhatWasTakenStaysKnown},
};

}  // namespace

std::span<const Case<SessionStoreHarness>> RecoveryCases() { return kCases; }

}  // namespace sipheal::inline v0_1::conformance
