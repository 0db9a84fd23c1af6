// SPDX-License-Identifier: Apache-2.0
// SS-1 to SS-5 and SS-10 to SS-12: what concerns sessions, dialogs and every method.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "conformance/session_store_support.h"

namespace sipheal::inline v0_1::conformance {
namespace {

absl::Status ManyThreadsAtOnce(SessionStoreHarness& harness) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 25;
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  ABSL_RETURN_IF_ERROR(OnThreads(kThreads, [&](int thread) -> absl::Status {
    for (int round = 0; round < kRounds; ++round) {
      const std::string id = absl::StrFormat("t%d.%d", thread, round);
      SIPHEAL_REQUIRE_OK(PutOne(*store, ASession(id)));
      SIPHEAL_TAKE(const Lease lease, ClaimOne(*store, {id, 0}));
      SIPHEAL_REQUIRE_OK(AdvanceOne(*store, AnEntry(lease, RecoveryStage::kRebuilt)));
      SIPHEAL_REQUIRE_OK(store->List({}, {}));
      SIPHEAL_REQUIRE_OK(store->SaveDialogs({}, {ADialog(id, id)}));
    }
    return absl::OkStatus();
  }));
  SIPHEAL_TAKE(const auto sessions, ListAll(*store));
  SIPHEAL_REQUIRE(sessions.size() == kThreads * kRounds, "%d threads put %d sessions, %d are there",
                  kThreads, kThreads * kRounds, sessions.size());
  SIPHEAL_TAKE(const auto dialogs, store->LoadDialogs({}, {}));
  SIPHEAL_REQUIRE(dialogs.size() == kThreads * kRounds, "%d dialogs are there, %d were saved",
                  dialogs.size(), kThreads * kRounds);
  return absl::OkStatus();
}

absl::Status OverContextDoesNothing(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  Canceller canceller;
  canceller.Cancel();
  for (const NamedCall& method : EveryMethod()) {
    const absl::Status late = method.call(*store, OverContext());
    SIPHEAL_REQUIRE(late.code() == absl::StatusCode::kDeadlineExceeded,
                    "%s after its deadline gave \"%s\"", method.name, late.ToString());
    const absl::Status cancelled = method.call(*store, canceller.Context());
    SIPHEAL_REQUIRE(cancelled.code() == absl::StatusCode::kCancelled,
                    "%s with a stop requested gave \"%s\"", method.name, cancelled.ToString());
  }
  SIPHEAL_TAKE(const auto sessions, ListAll(*store));
  SIPHEAL_REQUIRE(sessions.empty(), "a Put that was over before it began wrote a session");
  SIPHEAL_TAKE(const auto dialogs, store->LoadDialogs({}, {}));
  SIPHEAL_REQUIRE(dialogs.empty(), "a SaveDialogs that was over before it began wrote a dialog");
  return absl::OkStatus();
}

absl::Status BlockedStorageEndsInTime(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  ABSL_RETURN_IF_ERROR(harness.BlockStorage());
  absl::Status result;
  for (const NamedCall& method : EveryMethod()) {
    // Reads may go on while a lock keeps writers out.
    if (method.name.starts_with("L") || method.name == "Journal") continue;
    result =
        EndsInTime(method.name, [&](const CallContext& ctx) { return method.call(*store, ctx); });
    if (!result.ok()) break;
  }
  ABSL_RETURN_IF_ERROR(harness.UnblockStorage());
  ABSL_RETURN_IF_ERROR(result);
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("after")));
  SIPHEAL_TAKE(const auto sessions, ListAll(*store));
  SIPHEAL_REQUIRE(sessions.size() == 1, "a Put that ended with its deadline was written later");
  return absl::OkStatus();
}

absl::Status CancelledBatchIsWholeOrNothing(SessionStoreHarness& harness) {
  constexpr int kBatch = 300;
  constexpr int kRounds = 12;
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  const auto batch = [](int round) {
    SessionStore::PutParams params;
    for (int i = 0; i < kBatch; ++i) {
      params.sessions.push_back(ASession(absl::StrFormat("r%d.%d", round, i)));
      params.sessions.back().incarnation.life = std::to_string(round);
    }
    return params;
  };
  // What a batch takes here tells when to cancel: the rounds spread over the time of one.
  const auto begin = std::chrono::steady_clock::now();
  SIPHEAL_REQUIRE_OK(store->Put({}, batch(0)));
  const auto whole = std::chrono::steady_clock::now() - begin;
  for (int round = 1; round <= kRounds; ++round) {
    const SessionStore::PutParams params = batch(round);
    Canceller canceller;
    std::atomic<bool> put_begins = false;
    std::thread canceling([&] {
      put_begins.wait(false);
      std::this_thread::sleep_for(whole * (round - 1) / kRounds);
      canceller.Cancel();
    });
    put_begins = true;
    put_begins.notify_one();
    const auto put = store->Put(canceller.Context(), params);
    canceling.join();
    SIPHEAL_REQUIRE(put.ok() || put.status().code() == absl::StatusCode::kCancelled,
                    "a cancelled Put gave \"%s\"", put.status().ToString());
    SIPHEAL_TAKE(const auto sessions, ListAll(*store, Incarnation{"ast1", std::to_string(round)}));
    SIPHEAL_REQUIRE(sessions.empty() || sessions.size() == kBatch,
                    "of a cancelled Put of %d sessions, %d were written", kBatch, sessions.size());
    SIPHEAL_REQUIRE(!put.ok() || sessions.size() == kBatch, "a Put gave OK and wrote nothing");
  }
  return absl::OkStatus();
}

absl::Status UnknownSessionIsNotFound(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("known")));
  SIPHEAL_REQUIRE_CODE(ClaimOne(*store, {"unknown", 0}), absl::StatusCode::kNotFound);
  SIPHEAL_REQUIRE_CODE(ClaimOne(*store, {"known", 1}), absl::StatusCode::kNotFound);
  const Lease lease{{"unknown", 0}, "owner-1", 1, {}};
  SIPHEAL_REQUIRE_CODE(AdvanceOne(*store, AnEntry(lease, RecoveryStage::kRebuilt)),
                       absl::StatusCode::kNotFound);
  SIPHEAL_REQUIRE_CODE(store->Journal({}, "unknown"), absl::StatusCode::kNotFound);
  SIPHEAL_TAKE(const auto journal, store->Journal({}, "known"));
  SIPHEAL_REQUIRE(journal.empty(), "a session that was never claimed has a journal");
  // One unknown session does not spoil the claim of the others.
  SIPHEAL_TAKE(const auto leases,
               store->Claim({}, {.sessions = {{"unknown", 0}, {"known", 0}}, .owner = "o"}));
  SIPHEAL_REQUIRE(leases.size() == 2 && !leases[0].ok() && leases[1].ok(),
                  "Claim of an unknown and a known session gave not one of each");
  return absl::OkStatus();
}

absl::Status BadArgumentsAreInvalid(SessionStoreHarness& harness) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_CODE(PutOne(*store, ASession("")), kInvalid);
  SIPHEAL_REQUIRE_CODE(PutOne(*store, ASession(std::string(65, 'a'))), kInvalid);
  SIPHEAL_REQUIRE_CODE(PutOne(*store, ASession("a'; DROP TABLE sessions; --")), kInvalid);
  Session homeless = ASession("homeless");
  homeless.incarnation.instance.clear();
  SIPHEAL_REQUIRE_CODE(PutOne(*store, homeless), kInvalid);
  Session fat = ASession("fat");
  fat.flow.host_data.assign(64 * 1024 + 1, 'x');
  SIPHEAL_REQUIRE_CODE(PutOne(*store, fat), kInvalid);
  fat.flow.host_data.pop_back();
  SIPHEAL_REQUIRE_OK(PutOne(*store, fat));
  SIPHEAL_REQUIRE_CODE(store->List({}, {.limit = 0}), kInvalid);
  SIPHEAL_REQUIRE_CODE(store->List({}, {.page_token = "\x01 no token of yours"}), kInvalid);
  SIPHEAL_REQUIRE_CODE(ClaimOne(*store, {"fat", 0}, ""), kInvalid);
  SIPHEAL_REQUIRE_CODE(
      store->Claim({}, {.sessions = {{"fat", 0}}, .owner = "o", .lease = kLease - kLease}),
      kInvalid);
  SIPHEAL_REQUIRE_CODE(store->SaveDialogs({}, {ADialog("c", std::string(64 * 1024 + 1, 'x'))}),
                       kInvalid);
  SIPHEAL_REQUIRE_OK(store->SaveDialogs({}, {ADialog("c", std::string(64 * 1024, 'x'))}));
  return absl::OkStatus();
}

absl::Status LostConnectionIsUnavailable(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("before")));
  ABSL_RETURN_IF_ERROR(harness.BreakConnection());
  absl::Status result;
  for (const NamedCall& method : EveryMethod()) {
    const absl::Status status =
        method.call(*store, CallContext::WithTimeout(std::chrono::seconds(10)));
    if (result.ok() && status.code() != absl::StatusCode::kUnavailable) {
      result = Broken(absl::StrFormat("%s on a storage that cannot be reached gave \"%s\"",
                                      method.name, status.ToString()));
    }
  }
  ABSL_RETURN_IF_ERROR(harness.HealConnection());
  ABSL_RETURN_IF_ERROR(result);
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("after")));
  SIPHEAL_TAKE(const auto sessions, ListAll(*store));
  SIPHEAL_REQUIRE(sessions.size() == 2, "%d sessions are there after the connection healed, not 2",
                  sessions.size());
  return absl::OkStatus();
}

absl::Status EverythingSurvivesReopening(SessionStoreHarness& harness) {
  const Session kept = ASession("kept");
  Lease lease;
  JournalEntry entry;
  {
    ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
    if (!store->capabilities().durable) return absl::UnimplementedError("not durable");
    SIPHEAL_REQUIRE_OK(store->Put({}, {.sessions = {kept, ASession("claimed")}}));
    SIPHEAL_TAKE(lease, ClaimOne(*store, {"claimed", 0}));
    entry = AnEntry(lease, RecoveryStage::kInviting);
    SIPHEAL_REQUIRE_OK(AdvanceOne(*store, entry));
    SIPHEAL_REQUIRE_OK(store->SaveDialogs({}, {ADialog("c1", "state")}));
  }
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_TAKE(const auto sessions, ListAll(*store));
  SIPHEAL_REQUIRE(sessions.size() == 2, "%d of 2 sessions are there again", sessions.size());
  SIPHEAL_REQUIRE(std::find(sessions.begin(), sessions.end(), kept) != sessions.end(),
                  "a session came back changed");
  SIPHEAL_TAKE(const auto journal, store->Journal({}, "claimed"));
  SIPHEAL_REQUIRE(journal.size() == 1 && journal[0] == entry, "the journal did not come back");
  SIPHEAL_REQUIRE_CODE(ClaimOne(*store, {"claimed", 0}, "owner-2"),
                       absl::StatusCode::kAlreadyExists);
  SIPHEAL_TAKE(const auto dialogs, store->LoadDialogs({}, {}));
  SIPHEAL_REQUIRE(dialogs.size() == 1 && dialogs[0] == ADialog("c1", "state"),
                  "the dialog did not come back");
  return absl::OkStatus();
}

absl::Status PutReplacesTheRecord(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  Session session = ASession("s");
  SIPHEAL_REQUIRE_OK(PutOne(*store, session));
  session.endpoint = "other";
  session.flow.playback.reset();
  session.flow.host_data = "new";
  session.incarnation.life = "life2";
  SIPHEAL_REQUIRE_OK(PutOne(*store, session));
  SIPHEAL_TAKE(const auto sessions, ListAll(*store));
  SIPHEAL_REQUIRE(sessions.size() == 1, "one session put twice is %d", sessions.size());
  SIPHEAL_REQUIRE(sessions[0] == session, "the second Put did not replace the whole record");
  SIPHEAL_TAKE(const auto old, ListAll(*store, Incarnation{"ast1", "life1"}));
  SIPHEAL_REQUIRE(old.empty(), "the record is also listed for the incarnation that it left");
  return absl::OkStatus();
}

absl::Status PutOfALowerEpochChangesNothing(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("s", 2)));
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("s", 1)));
  Session ended = ASession("s", 1);
  ended.state = SessionState::kEnded;
  SIPHEAL_REQUIRE_OK(PutOne(*store, ended));
  SIPHEAL_TAKE(const auto sessions, ListAll(*store));
  SIPHEAL_REQUIRE(sessions.size() == 1 && sessions[0] == ASession("s", 2),
                  "a record of a lower epoch than the newest was not ignored");
  return absl::OkStatus();
}

absl::Status PutAfterAClaimChangesNothing(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("s")));
  SIPHEAL_TAKE(const Lease lease, ClaimOne(*store, {"s", 0}));
  Session changed = ASession("s");
  changed.endpoint = "other";
  SIPHEAL_REQUIRE_OK(PutOne(*store, changed));
  changed.state = SessionState::kEnded;
  SIPHEAL_REQUIRE_OK(PutOne(*store, changed));
  SIPHEAL_TAKE(const auto sessions, ListAll(*store));
  SIPHEAL_REQUIRE(sessions.size() == 1 && sessions[0] == ASession("s"),
                  "a Put changed a session whose recovery has begun");
  return absl::OkStatus();
}

absl::Status PutOfAnEndedSessionRemovesIt(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_OK(store->Put({}, {.sessions = {ASession("s"), ASession("t")}}));
  Session ended = ASession("s");
  ended.state = SessionState::kEnded;
  SIPHEAL_REQUIRE_OK(PutOne(*store, ended));
  SIPHEAL_REQUIRE_OK(PutOne(*store, ended));
  SIPHEAL_TAKE(const auto sessions, ListAll(*store));
  SIPHEAL_REQUIRE(sessions.size() == 1 && sessions[0].id == "t",
                  "after the end of one of two sessions, %d are listed", sessions.size());
  return absl::OkStatus();
}

absl::Status PutOfOnlyExistingLeavesOthersOut(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_OK(PutOne(*store, ASession("known")));
  Session changed = ASession("known");
  changed.endpoint = "other";
  SIPHEAL_TAKE(const auto result,
               store->Put({}, {.sessions = {ASession("unknown"), changed}, .only_existing = true}));
  SIPHEAL_REQUIRE(result.unknown.size() == 1 && result.unknown[0] == (SessionKey{"unknown", 0}),
                  "Put did not name the one unknown session, but %d", result.unknown.size());
  SIPHEAL_TAKE(const auto sessions, ListAll(*store));
  SIPHEAL_REQUIRE(sessions.size() == 1 && sessions[0] == changed,
                  "Put of only existing sessions did not change exactly those");
  SIPHEAL_TAKE(const auto plain, store->Put({}, {.sessions = {ASession("unknown")}}));
  SIPHEAL_REQUIRE(plain.unknown.empty(), "Put without only_existing named sessions as unknown");
  return absl::OkStatus();
}

absl::Status PagesGiveEachRecordOnce(SessionStoreHarness& harness) {
  constexpr int kSessions = 57;
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SessionStore::PutParams params;
  for (int i = 0; i < kSessions; ++i) {
    params.sessions.push_back(ASession(absl::StrFormat("s%03d", 2 * i)));
  }
  SIPHEAL_REQUIRE_OK(store->Put({}, params));
  std::vector<std::string> seen;
  SessionStore::ListParams page_params{.incarnation = Incarnation{"ast1", "life1"}, .limit = 10};
  for (int pages = 0;; ++pages) {
    SIPHEAL_REQUIRE(pages < 100, "List does not come to an end");
    SIPHEAL_TAKE(const auto page, store->List({}, page_params));
    SIPHEAL_REQUIRE(page.sessions.size() <= 10, "a page has more records than its limit");
    for (const Session& session : page.sessions) seen.push_back(session.id);
    if (page.next_page_token.empty()) break;
    page_params.page_token = page.next_page_token;
    // Meanwhile others come: before, between and after those that were seen.
    SIPHEAL_REQUIRE_OK(PutOne(*store, ASession(absl::StrFormat("s%03d", 20 * pages + 1))));
    SIPHEAL_REQUIRE_OK(PutOne(*store, ASession(absl::StrFormat("a%03d", pages))));
  }
  const std::set<std::string> unique(seen.begin(), seen.end());
  SIPHEAL_REQUIRE(unique.size() == seen.size(), "%d records were listed twice",
                  seen.size() - unique.size());
  for (const Session& session : params.sessions) {
    SIPHEAL_REQUIRE(unique.contains(session.id), "session %s was not listed", session.id);
  }
  SIPHEAL_TAKE(const auto first, ListAll(*store, std::nullopt, 7));
  SIPHEAL_TAKE(const auto second, ListAll(*store, std::nullopt, 1000));
  SIPHEAL_REQUIRE(first == second, "two listings of the same records differ in order or content");
  return absl::OkStatus();
}

absl::Status ListGivesOneIncarnationOnly(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  Session other_life = ASession("b");
  other_life.incarnation.life = "life2";
  Session other_instance = ASession("c");
  other_instance.incarnation.instance = "ast2";
  SIPHEAL_REQUIRE_OK(store->Put({}, {.sessions = {ASession("a"), other_life, other_instance}}));
  SIPHEAL_TAKE(const auto one, ListAll(*store, Incarnation{"ast1", "life1"}));
  SIPHEAL_REQUIRE(one.size() == 1 && one[0].id == "a",
                  "%d sessions were listed for an incarnation that holds one", one.size());
  SIPHEAL_TAKE(const auto all, ListAll(*store));
  SIPHEAL_REQUIRE(all.size() == 3, "%d of 3 sessions were listed", all.size());
  return absl::OkStatus();
}

absl::Status DialogsComeBackByteForByte(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  DialogRecord odd = ADialog(std::string("odd\r\n\0id", 8), "");
  for (int byte = 0; byte < 256; ++byte) odd.bytes.push_back(static_cast<char>(byte));
  odd.local_tag.clear();
  DialogRecord other_tag = odd;
  other_tag.remote_tag = "phone2";
  other_tag.bytes = "";
  DialogRecord other_case = odd;
  other_case.call_id = std::string("ODD\r\n\0id", 8);
  SIPHEAL_REQUIRE_OK(store->SaveDialogs({}, {odd, other_tag, other_case}));
  SIPHEAL_TAKE(const auto found, store->LoadDialogs({}, {odd.call_id}));
  SIPHEAL_REQUIRE(found.size() == 2, "%d dialogs of a Call-ID that has 2", found.size());
  SIPHEAL_REQUIRE(std::find(found.begin(), found.end(), odd) != found.end() &&
                      std::find(found.begin(), found.end(), other_tag) != found.end(),
                  "a dialog did not come back byte for byte");
  SIPHEAL_TAKE(const auto all, store->LoadDialogs({}, {}));
  SIPHEAL_REQUIRE(all.size() == 3, "LoadDialogs without Call-IDs gave %d of 3", all.size());
  SIPHEAL_TAKE(const auto none, store->LoadDialogs({}, {"never seen"}));
  SIPHEAL_REQUIRE(none.empty(), "a Call-ID that was never saved has dialogs");
  return absl::OkStatus();
}

absl::Status DialogsKeepTheNewest(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  SIPHEAL_REQUIRE_OK(store->SaveDialogs({}, {ADialog("c", "second", 2)}));
  SIPHEAL_REQUIRE_OK(store->SaveDialogs({}, {ADialog("c", "first", 1)}));
  SIPHEAL_TAKE(auto found, store->LoadDialogs({}, {"c"}));
  SIPHEAL_REQUIRE(found.size() == 1 && found[0].bytes == "second",
                  "an older state of a dialog replaced the newer one");
  SIPHEAL_REQUIRE_OK(store->SaveDialogs({}, {ADialog("c", "third", 3)}));
  SIPHEAL_TAKE(found, store->LoadDialogs({}, {"c"}));
  SIPHEAL_REQUIRE(found.size() == 1 && found[0].bytes == "third",
                  "a newer state of a dialog did not replace the older one");
  DialogRecord removed = ADialog("c", "", 4);
  removed.removed = true;
  SIPHEAL_REQUIRE_OK(store->SaveDialogs({}, {removed, ADialog("d", "stays", 1)}));
  SIPHEAL_TAKE(found, store->LoadDialogs({}, {}));
  SIPHEAL_REQUIRE(found.size() == 1 && found[0].call_id == "d",
                  "a removed dialog is still there, or took another with it");
  return absl::OkStatus();
}

absl::Status OddArgumentsDoNotThrow(SessionStoreHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto store, harness.Make());
  const std::string odd("\xff\0'\"\r\n%s", 9);
  const Session strange = ASession(odd);
  const Lease lease{{odd, 4'294'967'295u}, odd, ~0ull, WallTime::max()};
  ABSL_RETURN_IF_ERROR(DoesNotThrow("a store given odd arguments", [&] {
    (void)store->Put({}, {});
    (void)store->Put({}, {.sessions = {strange, Session{}}});
    (void)store->List({}, {.limit = ~std::size_t{0}, .page_token = odd});
    (void)store->Claim({}, {});
    (void)store->Claim({}, {.sessions = {lease.session, {}}, .owner = odd});
    (void)store->Advance({}, {});
    (void)store->Advance({}, {.steps = {{AnEntry(lease, RecoveryStage::kFinished), strange}}});
    (void)store->SaveDialogs({}, {DialogRecord{}, ADialog(odd, odd)});
    (void)store->LoadDialogs({}, {"", odd});
    (void)store->Journal({}, odd);
    (void)store->Journal({}, "");
    for (const NamedCall& method : EveryMethod()) (void)method.call(*store, CallContext{});
  }));
  return absl::OkStatus();
}

constexpr Case<SessionStoreHarness> kCases[] = {
    {"SS-1", "ManyThreadsAtOnce", "every method may be called from several threads at once",
     ManyThreadsAtOnce},
    {"SS-2", "OverContextDoesNothing",
     "a context that is over gives DeadlineExceeded or Cancelled, and nothing is written",
     OverContextDoesNothing},
    {"SS-2", "BlockedStorageEndsInTime",
     "a storage that does not answer costs no more than 100 ms beyond deadline or stop",
     BlockedStorageEndsInTime},
    {"SS-2", "CancelledBatchIsWholeOrNothing", "a cancelled batch is written wholly or not at all",
     CancelledBatchIsWholeOrNothing},
    {"SS-3", "UnknownSessionIsNotFound", "an unknown session is NotFound, and only that entry",
     UnknownSessionIsNotFound},
    {"SS-3", "BadArgumentsAreInvalid", "bad arguments are InvalidArgument", BadArgumentsAreInvalid},
    {"SS-3", "LostConnectionIsUnavailable",
     "a storage that cannot be reached is Unavailable, and may be asked again",
     LostConnectionIsUnavailable},
    {"SS-4", "EverythingSurvivesReopening", "a durable store opened again has all it had",
     EverythingSurvivesReopening},
    {"SS-5", "PutReplacesTheRecord", "Put replaces the record with the same id and epoch",
     PutReplacesTheRecord},
    {"SS-5", "PutOfALowerEpochChangesNothing", "a lower epoch than the newest changes nothing",
     PutOfALowerEpochChangesNothing},
    {"SS-5", "PutAfterAClaimChangesNothing",
     "a Put of a session whose recovery has begun changes nothing", PutAfterAClaimChangesNothing},
    {"SS-5", "PutOfAnEndedSessionRemovesIt", "an ended session is removed",
     PutOfAnEndedSessionRemovesIt},
    {"SS-5", "PutOfOnlyExistingLeavesOthersOut",
     "with only_existing, unknown sessions are left out and named",
     PutOfOnlyExistingLeavesOthersOut},
    {"SS-10", "PagesGiveEachRecordOnce",
     "over all pages each record comes once, also while records are added",
     PagesGiveEachRecordOnce},
    {"SS-10", "ListGivesOneIncarnationOnly", "List gives the sessions of the incarnation asked for",
     ListGivesOneIncarnationOnly},
    {"SS-11", "DialogsComeBackByteForByte", "dialogs are told apart by bytes, and come back so",
     DialogsComeBackByteForByte},
    {"SS-11", "DialogsKeepTheNewest", "the newest state of a dialog is kept, a removed one is gone",
     DialogsKeepTheNewest},
    {"SS-12", "OddArgumentsDoNotThrow", "no exception leaves a method", OddArgumentsDoNotThrow},
};

}  // namespace

std::span<const Case<SessionStoreHarness>> SessionCases() { return kCases; }

}  // namespace sipheal::inline v0_1::conformance
