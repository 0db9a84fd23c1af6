// SPDX-License-Identifier: Apache-2.0
// A SessionStore remembers which sessions each incarnation of a media server holds, who recovers
// them, and how that went. sipheal ships one in memory, one on SQLite and one on PostgreSQL; hosts
// map their own database to it. A tracker writes sessions; the Healer claims them and journals
// every step; a SIP receiver keeps dialog state in it.
//
// CONTRACT (each clause has the conformance case of the same id)
//  [Threading]   SS-1   All methods may be called from several threads at once.
//  [Deadlines]   SS-2   A call returns DeadlineExceeded within 100 ms of ctx.deadline, and
//                       Cancelled within 100 ms of ctx.stop being requested; what it had begun
//                       is then done wholly or not at all.
//  [Errors]      SS-3   A store that cannot be reached is Unavailable and may be asked again. An
//                       unknown session is NotFound; bad arguments are InvalidArgument. Nothing
//                       else is reported as those codes. A disk that is full is
//                       ResourceExhausted, and may be asked again when there is room.
//  [Durability]  SS-4   What a method returned OK for is seen by a store opened again on the
//                       same place, if capabilities().durable.
//  [Put]         SS-5   Put replaces the record with the same id and epoch. One with a lower
//                       epoch than the newest record of that id, or one whose recovery has
//                       begun, changes nothing and is no error. kEnded removes the record,
//                       unless its recovery has begun. With `only_existing` unknown sessions are
//                       left out and named in the result. A newer epoch takes the place of older
//                       ones whose recovery has not begun.
//  [Claim]       SS-6   Of many who claim one session, one gets the lease until it expires or
//                       the recovery is finished; the others get AlreadyExists. The same owner
//                       claiming again gets a new lease. A session with an outcome is
//                       AlreadyExists for ever.
//  [Fence]       SS-7   The fence rises with every lease of a session. Advance with an older
//                       one, or of a session never claimed, is Aborted for that entry and
//                       changes nothing; the other entries go on. The fence rises over all epochs
//                       of a session.
//  [Journal]     SS-8   Advance keeps every entry, in order, and extends the lease. kFinished
//                       needs an outcome. When it carries `successor`, the new record is there
//                       at the same moment as the outcome, or neither is. The finishing entry
//                       said again is OK and kept once. Of a session that is over, with no
//                       record left, the journal may be forgotten after a day or more.
//  [Take-over]   SS-9   ListUnfinished returns exactly the claimed sessions without outcome
//                       whose lease has expired, each with its last journal entry. Of a claim
//                       without entries that is one of kClaimed, with the fence of the claim.
//  [Pages]       SS-10  List returns each record once, over all pages, in a stable order, also
//                       while records are added.
//  [Dialogs]     SS-11  SaveDialogs keeps the newest bytes for each instance, Call-ID and tags;
//                       `removed` removes them. LoadDialogs returns them byte for byte.
//  [Exceptions]  SS-12  None may leave a method. sipheal turns one that does into Internal.
//  [Taken]       SS-13  ListTaken returns what `taken` says in the journal's entries, each channel
//                       once, for as long as the entries are kept, whatever came of the sessions.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/base/call_context.h"
#include "sipheal/export.h"
#include "sipheal/model/incarnation.h"
#include "sipheal/model/recovery.h"
#include "sipheal/model/session.h"

namespace sipheal::inline v0_1 {

// The encoded state of one dialog (sip/dialog_codec.h), kept for the time after a controller's
// restart.
struct DialogRecord {
  std::string instance;
  std::string call_id;
  std::string local_tag;
  std::string remote_tag;
  std::string bytes;  // at most 64 KiB
  WallTime updated_at{};
  bool removed = false;  // the dialog ended: forget it

  friend bool operator==(const DialogRecord&, const DialogRecord&) = default;
};

class SIPHEAL_EXPORT SessionStore {
 public:
  struct PutParams {
    std::vector<Session> sessions;
    bool only_existing = false;
  };
  struct PutResult {
    std::vector<SessionKey> unknown;  // left out because of `only_existing`
  };
  struct ListParams {
    // Whose sessions; every incarnation's when empty.
    std::optional<Incarnation> incarnation;
    std::size_t limit = 1000;
    std::string page_token;  // empty for the first page
  };
  struct SessionPage {
    std::vector<Session> sessions;  // those without outcome
    std::string next_page_token;    // empty on the last page
  };
  struct ClaimParams {
    std::vector<SessionKey> sessions;
    std::string owner;  // names this controller; unique among those alive
    std::chrono::milliseconds lease{30'000};
  };
  struct AdvanceParams {
    struct Step {
      JournalEntry entry;
      // With outcome kRecovered: the session as it lives on, with epoch + 1.
      std::optional<Session> successor;
    };
    std::vector<Step> steps;
    std::chrono::milliseconds lease{30'000};  // each lease then ends this much after now
  };
  struct Capabilities {
    bool durable = false;  // survives the process
    bool shared = false;   // several processes may use one place at a time
  };

  SessionStore(const SessionStore&) = delete;
  SessionStore& operator=(const SessionStore&) = delete;
  virtual ~SessionStore();

  virtual absl::StatusOr<PutResult> Put(const CallContext& ctx, const PutParams& params) = 0;
  virtual absl::StatusOr<SessionPage> List(const CallContext& ctx, const ListParams& params) = 0;
  // One result for each key, in order.
  virtual absl::StatusOr<std::vector<absl::StatusOr<Lease>>> Claim(const CallContext& ctx,
                                                                   const ClaimParams& params) = 0;
  // One result for each step, in order.
  virtual absl::StatusOr<std::vector<absl::Status>> Advance(const CallContext& ctx,
                                                            const AdvanceParams& params) = 0;
  virtual absl::StatusOr<std::vector<UnfinishedRecovery>> ListUnfinished(
      const CallContext& ctx) = 0;
  virtual absl::Status SaveDialogs(const CallContext& ctx,
                                   const std::vector<DialogRecord>& records) = 0;
  // All that is kept of these Call-IDs; of every Call-ID when the list is empty.
  virtual absl::StatusOr<std::vector<DialogRecord>> LoadDialogs(
      const CallContext& ctx, const std::vector<std::string>& call_ids) = 0;
  // Every journal entry of one session, oldest first: what the report of a recovery is made of.
  virtual absl::StatusOr<std::vector<JournalEntry>> Journal(const CallContext& ctx,
                                                            const std::string& session_id) = 0;
  // What servers that hung must give up when they wake, also when another controller took it.
  virtual absl::StatusOr<std::vector<TakenChannel>> ListTaken(const CallContext& ctx) = 0;
  virtual Capabilities capabilities() const = 0;

 protected:
  SessionStore() = default;
};

}  // namespace sipheal::inline v0_1
