// SPDX-License-Identifier: Apache-2.0
// What was open when the server died, and by when the peer gives up (section 13 of the rules),
// against the simulation's own ledger.
#include <optional>

#include "tests/sip/generator/leg_check.h"

namespace sipheal::testing::generator {
namespace {

using sip::OpenTransaction;

constexpr std::int64_t k64T1 = 32'000'000;

// Its last message was never sent.
bool IsOpen(const LedgerEntry& entry) {
  if (entry.final < 0) return true;
  return entry.method == "INVITE" && Accepted(entry) && entry.ack < 0;
}

// The first INVITE is that of all forks, and so are its provisional answers.
bool Rang(const LegCheck& check, const LedgerEntry& entry) {
  const bool opening = check.call.notes[static_cast<std::size_t>(entry.request)].first_invite;
  if (opening && check.call.opening_trying >= 0) return true;
  return std::any_of(check.call.ledger.begin(), check.call.ledger.end(),
                     [&](const LedgerEntry& other) {
                       return other.request == entry.request && !other.provisional.empty();
                     });
}

// Timer F or B fired at whoever sent it (RFC 3261 17.1), if that is still there at all.
bool TimedOut(const LegCheck& check, const LedgerEntry& entry) {
  return entry.final < 0 && check.call.end_us - check.TimeOf(entry.request) > k64T1;
}

// It need not be believed: nothing shows that the host is one of this dialog (rule 12.2).
bool MayBeOffPath(const LegCheck& check, const LedgerEntry& entry) {
  return !entry.by_server &&
         (!check.KnowsHost(entry.hop) || (!check.lossless() && !check.leg.was_confirmed));
}

std::optional<std::int64_t> ExpiresAt(const LegCheck& check, const LedgerEntry& entry) {
  if (entry.final >= 0) return check.TimeOf(entry.final) + k64T1;
  if (entry.method == "INVITE" && Rang(check, entry)) return std::nullopt;
  return check.TimeOf(entry.request) + k64T1;
}

std::string Name(const std::string& method, std::uint32_t cseq, bool by_server) {
  return method + ' ' + std::to_string(cseq) + (by_server ? " by the server" : " by the peer");
}

std::string Name(const LedgerEntry& entry) {
  return Name(entry.method, entry.cseq, entry.by_server);
}

const OpenTransaction* Find(const LegCheck& check, const LedgerEntry& entry) {
  for (const OpenTransaction& open : check.state.open_transactions) {
    if (open.method == entry.method && open.cseq == entry.cseq &&
        open.sent_by_server == entry.by_server) {
      return &open;
    }
  }
  return nullptr;
}

// Where the INVITE was lost, it is not known from where the peer may speak: a forged request is
// then as open as one of the peer.
bool ForgeryCannotBeTold(const LegCheck& check, std::uint64_t sequence) {
  if (check.lossless() || sequence == 0) return false;
  for (std::size_t i = 0; i < check.call.notes.size(); ++i) {
    const bool attempt =
        std::any_of(check.call.attempts.begin(), check.call.attempts.end(),
                    [i](const auto& one) { return static_cast<std::size_t>(one.first) == i; });
    if (check.call.notes[i].first_invite && !attempt && check.call.survives[i]) return false;
  }
  return std::any_of(
      check.call.copies.begin(), check.call.copies.end(),
      [sequence](const Copy& copy) { return copy.forged && copy.message.sequence == sequence; });
}

std::size_t OpenByForgery(const LegCheck& check) {
  return static_cast<std::size_t>(std::count_if(
      check.state.open_transactions.begin(), check.state.open_transactions.end(),
      [&](const OpenTransaction& open) {
        return !open.sent_by_server && ForgeryCannotBeTold(check, open.request.sequence);
      }));
}

void Open(LegCheck& check) {
  std::size_t known = 0;
  for (const LedgerEntry& entry : check.call.ledger) {
    if (entry.leg != check.number) continue;
    const OpenTransaction* found = Find(check, entry);
    if (found != nullptr) ++known;
    if (!IsOpen(entry)) {
      // Nobody can tell that it is over when what ended it was not captured.
      const bool acknowledged =
          check.Survives(entry.ack) && (entry.by_server || check.KnowsHost(check.HopOf(entry.ack)));
      const bool ended = entry.method == "INVITE" && Accepted(entry)
                             ? acknowledged
                             : check.Survives(entry.final) || check.Survives(entry.refusal_ack);
      if (found != nullptr && ended) check.Fail("open", Name(entry), "done, as was captured");
      continue;
    }
    if (TimedOut(check, entry) || MayBeOffPath(check, entry)) continue;
    if (found == nullptr) {
      if (check.Survives(entry.request))
        check.Fail("open", "no " + Name(entry), "one, as was captured");
      continue;
    }
    if (!check.lossless()) continue;
    const std::string what = "open " + Name(entry);
    check.Equal(what + " awaits ACK", found->awaits_ack, entry.final >= 0);
    if (!check.call.flooded)
      check.Equal(what + " rang", found->provisional_seen, Rang(check, entry));
    check.Equal(what + " since", Us(found->request.time), check.TimeOf(entry.request));
    const std::optional<std::int64_t> expires = ExpiresAt(check, entry);
    check.Equal(what + " until",
                found->expires_at ? std::to_string(Us(*found->expires_at)) : "ever",
                expires ? std::to_string(*expires) : "ever");
  }
  known += OpenByForgery(check);
  if (known != check.state.open_transactions.size()) {
    check.Fail("open", std::to_string(check.state.open_transactions.size()) + " transactions",
               std::to_string(known) + " that ever were");
  }
}

// The clocks that run at the peer, each with the messages that show it.
std::optional<std::int64_t> FirstClock(const LegCheck& check, bool captured_only) {
  std::optional<std::int64_t> first;
  const auto clock = [&](std::int64_t at) {
    if (!first || at < *first) first = at;
  };
  for (const LedgerEntry& entry : check.call.ledger) {
    if (entry.leg != check.number || (captured_only && !check.Survives(entry.request))) continue;
    if (captured_only && MayBeOffPath(check, entry)) continue;
    if (IsOpen(entry) && !TimedOut(check, entry)) {
      const bool waits_for_ack = entry.final >= 0;
      if (captured_only && waits_for_ack && !check.Survives(entry.final)) continue;
      const std::optional<std::int64_t> expires = ExpiresAt(check, entry);
      if (entry.by_server == waits_for_ack && expires) clock(*expires);
    }
    if (!entry.by_server || entry.method != "INVITE" || entry.final >= 0) continue;
    for (const auto& [answer, prack] : entry.reliable) {
      if (prack < 0 && (!captured_only || check.Survives(answer)))
        clock(check.TimeOf(answer) + k64T1);
    }
  }
  return first;
}

std::optional<std::int64_t> TimerClock(const LegCheck& check) {
  if (check.leg.timer_seconds == 0) return std::nullopt;
  const std::int64_t interval = check.leg.timer_seconds * 1'000'000;
  return check.leg.timer_since + (check.leg.timer_by_server
                                      ? interval - std::min<std::int64_t>(k64T1, interval / 3)
                                      : interval / 2 + k64T1);
}

void Deadline(LegCheck& check) {
  const auto text = [](const std::optional<std::int64_t>& at) {
    return at ? std::to_string(*at) : "none";
  };
  std::optional<std::int64_t> found;
  if (check.state.deadline) found = Us(*check.state.deadline);
  if (!check.lossless()) {
    // The clock that was captured is not overlooked, though perhaps only from a copy that came
    // later.
    constexpr std::int64_t kCopy = 1'000'000;
    const std::optional<std::int64_t> shown = FirstClock(check, true);
    if (shown && (!found || *found > *shown + kCopy))
      check.Fail("deadline", text(found), text(shown));
    return;
  }
  std::optional<std::int64_t> truth = FirstClock(check, false);
  const std::optional<std::int64_t> timer = TimerClock(check);
  if (timer && (!truth || *timer < *truth)) truth = timer;
  const bool untold = std::any_of(check.call.ledger.begin(), check.call.ledger.end(),
                                  [&](const LedgerEntry& entry) {
                                    return entry.leg == check.number && IsOpen(entry) &&
                                           (TimedOut(check, entry) || MayBeOffPath(check, entry));
                                  });
  if (!untold) check.Equal("deadline", text(found), text(truth));
}

}  // namespace

void CheckClocks(LegCheck& check) {
  // What was lost against a fork ends by that one's clock.
  const bool lost = check.leg.stage == Stage::kEarly && check.call.first_2xx_us != 0;
  if (check.leg.stage != Stage::kOver && !lost) {
    Open(check);
    Deadline(check);
  }
  const sip::Evidence* ended_by = check.state.FindEvidence(sip::Field::kEnd);
  const bool may_be_forged = check.state.end == sip::DialogEnd::kByeUnanswered &&
                             ended_by != nullptr &&
                             ForgeryCannotBeTold(check, ended_by->message.sequence);
  if (check.leg.end == sip::DialogEnd::kNone && !lost && check.state.end != sip::DialogEnd::kNone &&
      !may_be_forged) {
    check.Fail("end", std::string(sip::ToString(check.state.end)), "none");
  }
}

}  // namespace sipheal::testing::generator
