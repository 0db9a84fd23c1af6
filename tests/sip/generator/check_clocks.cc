// SPDX-License-Identifier: Apache-2.0
// What was open when the server died, by when the peer gives up (section 13 of the rules), and what
// else a dialog says of itself, against the simulation's own ledger.
#include "tests/sip/generator/check_clocks.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>

namespace sipheal::testing::generator {
namespace {

using sip::DialogState;
using sip::OpenTransaction;

constexpr std::int64_t k64T1 = 32'000'000;

std::int64_t Us(sip::CaptureTime time) { return time.time_since_epoch().count(); }

class ClockChecker {
 public:
  ClockChecker(const GeneratedCall& call, const Leg& leg, int number, const DialogState& state,
               std::vector<std::string>* problems)
      : call_(call), leg_(leg), number_(number), state_(state), problems_(problems) {}

  void Run() {
    // What was lost against a fork ends by that one's clock.
    const bool lost = leg_.stage == Stage::kEarly && call_.first_2xx_us != 0;
    if (leg_.stage != Stage::kOver && !lost) {
      Open();
      Deadline();
    }
    const sip::Evidence* ended_by = state_.FindEvidence(sip::Field::kEnd);
    const bool may_be_forged = state_.end == sip::DialogEnd::kByeUnanswered &&
                               ended_by != nullptr &&
                               ForgeryCannotBeTold(ended_by->message.sequence);
    if (leg_.end == sip::DialogEnd::kNone && !lost && state_.end != sip::DialogEnd::kNone &&
        !may_be_forged) {
      Fail("end", std::string(sip::ToString(state_.end)), "none");
    }
    if (lossless() && leg_.stage != Stage::kNone) Rest();
  }

 private:
  bool lossless() const { return call_.loss_percent == 0; }
  bool Survives(int id) const { return id >= 0 && call_.survives[static_cast<std::size_t>(id)]; }
  std::int64_t TimeOf(int id) const { return call_.times[static_cast<std::size_t>(id)]; }
  void Fail(const std::string& field, const std::string& found, const std::string& truth) {
    problems_->push_back("dialog " + std::to_string(number_) + ": " + field + " is " + found +
                         ", not " + truth);
  }
  void Equal(const std::string& field, const std::string& found, const std::string& truth) {
    if (found != truth) Fail(field, '\'' + found + '\'', '\'' + truth + '\'');
  }

  static bool Accepted(const LedgerEntry& entry) { return entry.final >= 0 && entry.status < 300; }
  // Its last message was never sent.
  static bool IsOpen(const LedgerEntry& entry) {
    if (entry.final < 0) return true;
    return entry.method == "INVITE" && Accepted(entry) && entry.ack < 0;
  }
  // The first INVITE is that of all forks, and so are its provisional answers.
  bool Rang(const LedgerEntry& entry) const {
    const bool opening = call_.notes[static_cast<std::size_t>(entry.request)].first_invite;
    if (opening && call_.opening_trying >= 0) return true;
    return std::any_of(call_.ledger.begin(), call_.ledger.end(), [&](const LedgerEntry& other) {
      return other.request == entry.request && !other.provisional.empty();
    });
  }
  // Timer F or B fired at whoever sent it (RFC 3261 17.1), if that is still there at all.
  bool TimedOut(const LedgerEntry& entry) const {
    return entry.final < 0 && call_.end_us - TimeOf(entry.request) > k64T1;
  }
  // It need not be believed (rule 12.2): the peer moved, or the hop that stays in the call is known
  // by one message only, which was lost.
  bool MayBeOffPath(const LedgerEntry& entry) const {
    return !entry.by_server && (entry.from_new_host || (!lossless() && !leg_.was_confirmed));
  }
  std::optional<std::int64_t> ExpiresAt(const LedgerEntry& entry) const {
    if (entry.final >= 0) return TimeOf(entry.final) + k64T1;
    if (entry.method == "INVITE" && Rang(entry)) return std::nullopt;
    return TimeOf(entry.request) + k64T1;
  }

  static std::string Name(const std::string& method, std::uint32_t cseq, bool by_server) {
    return method + ' ' + std::to_string(cseq) + (by_server ? " by the server" : " by the peer");
  }
  static std::string Name(const LedgerEntry& entry) {
    return Name(entry.method, entry.cseq, entry.by_server);
  }
  const OpenTransaction* Find(const LedgerEntry& entry) const {
    for (const OpenTransaction& open : state_.open_transactions) {
      if (open.method == entry.method && open.cseq == entry.cseq &&
          open.sent_by_server == entry.by_server) {
        return &open;
      }
    }
    return nullptr;
  }

  // Where the INVITE was lost, it is not known from where the peer may speak: a forged request is
  // then as open as one of the peer.
  bool ForgeryCannotBeTold(std::uint64_t sequence) const {
    if (lossless() || sequence == 0) return false;
    for (std::size_t i = 0; i < call_.notes.size(); ++i) {
      const bool attempt =
          std::any_of(call_.attempts.begin(), call_.attempts.end(),
                      [i](const auto& one) { return static_cast<std::size_t>(one.first) == i; });
      if (call_.notes[i].first_invite && !attempt && call_.survives[i]) return false;
    }
    return std::any_of(call_.copies.begin(), call_.copies.end(), [sequence](const Copy& copy) {
      return copy.note < 0 && copy.message.sequence == sequence;
    });
  }
  std::size_t OpenByForgery() const {
    return static_cast<std::size_t>(
        std::count_if(state_.open_transactions.begin(), state_.open_transactions.end(),
                      [this](const OpenTransaction& open) {
                        return !open.sent_by_server && ForgeryCannotBeTold(open.request.sequence);
                      }));
  }

  void Open() {
    std::size_t known = 0;
    for (const LedgerEntry& entry : call_.ledger) {
      if (entry.leg != number_) continue;
      const OpenTransaction* found = Find(entry);
      if (found != nullptr) ++known;
      if (!IsOpen(entry)) {
        // Nobody can tell that it is over when what ended it was not captured.
        const bool ended = entry.method == "INVITE" && Accepted(entry)
                               ? Survives(entry.ack)
                               : Survives(entry.final) || Survives(entry.refusal_ack);
        if (found != nullptr && ended) Fail("open", Name(entry), "done, as was captured");
        continue;
      }
      if (TimedOut(entry) || MayBeOffPath(entry)) continue;
      if (found == nullptr) {
        if (Survives(entry.request)) Fail("open", "no " + Name(entry), "one, as was captured");
        continue;
      }
      if (!lossless()) continue;
      const std::string what = "open " + Name(entry);
      Equal(what + " awaits ACK", found->awaits_ack ? "yes" : "no",
            entry.final >= 0 ? "yes" : "no");
      if (!call_.flooded)
        Equal(what + " rang", found->provisional_seen ? "yes" : "no", Rang(entry) ? "yes" : "no");
      Equal(what + " since", std::to_string(Us(found->request.time)),
            std::to_string(TimeOf(entry.request)));
      const std::optional<std::int64_t> expires = ExpiresAt(entry);
      Equal(what + " until", found->expires_at ? std::to_string(Us(*found->expires_at)) : "ever",
            expires ? std::to_string(*expires) : "ever");
    }
    known += OpenByForgery();
    if (known != state_.open_transactions.size()) {
      Fail("open", std::to_string(state_.open_transactions.size()) + " transactions",
           std::to_string(known) + " that ever were");
    }
  }

  // The clocks that run at the peer, each with the messages that show it.
  std::optional<std::int64_t> FirstClock(bool captured_only) const {
    std::optional<std::int64_t> first;
    const auto clock = [&](std::int64_t at) {
      if (!first || at < *first) first = at;
    };
    for (const LedgerEntry& entry : call_.ledger) {
      if (entry.leg != number_ || (captured_only && !Survives(entry.request))) continue;
      if (captured_only && MayBeOffPath(entry)) continue;
      if (IsOpen(entry) && !TimedOut(entry)) {
        const bool waits_for_ack = entry.final >= 0;
        if (captured_only && waits_for_ack && !Survives(entry.final)) continue;
        const std::optional<std::int64_t> expires = ExpiresAt(entry);
        if (entry.by_server == waits_for_ack && expires) clock(*expires);
      }
      if (!entry.by_server || entry.method != "INVITE" || entry.final >= 0) continue;
      for (const auto& [answer, prack] : entry.reliable) {
        if (prack < 0 && (!captured_only || Survives(answer))) clock(TimeOf(answer) + k64T1);
      }
    }
    return first;
  }
  std::optional<std::int64_t> TimerClock() const {
    if (leg_.timer_seconds == 0) return std::nullopt;
    const std::int64_t interval = leg_.timer_seconds * 1'000'000;
    return leg_.timer_since + (leg_.timer_by_server
                                   ? interval - std::min<std::int64_t>(k64T1, interval / 3)
                                   : interval / 2 + k64T1);
  }

  void Deadline() {
    const auto text = [](const std::optional<std::int64_t>& at) {
      return at ? std::to_string(*at) : "none";
    };
    std::optional<std::int64_t> found;
    if (state_.deadline) found = Us(*state_.deadline);
    if (!lossless()) {
      // The clock that was captured is not overlooked, though perhaps only from a copy that came
      // later.
      constexpr std::int64_t kCopy = 1'000'000;
      const std::optional<std::int64_t> shown = FirstClock(true);
      if (shown && (!found || *found > *shown + kCopy)) Fail("deadline", text(found), text(shown));
      return;
    }
    std::optional<std::int64_t> truth = FirstClock(false);
    const std::optional<std::int64_t> timer = TimerClock();
    if (timer && (!truth || *timer < *truth)) truth = timer;
    const bool untold =
        std::any_of(call_.ledger.begin(), call_.ledger.end(), [&](const LedgerEntry& entry) {
          return entry.leg == number_ && IsOpen(entry) &&
                 (TimedOut(entry) || (entry.from_new_host && !entry.by_server));
        });
    if (!untold) Equal("deadline", text(found), text(truth));
  }

  static std::set<std::string> Words(std::string_view list) {
    std::set<std::string> words;
    std::string word;
    for (const char c : list) {
      if (c != ',' && c != ' ') {
        word += c;
      } else if (!word.empty()) {
        words.insert(std::exchange(word, {}));
      }
    }
    if (!word.empty()) words.insert(word);
    return words;
  }

  // An attacker's address is never one of them.
  void SeenHosts() {
    const auto holds = [this](const sip::IpAddress& ip) {
      return std::find(state_.seen_hosts.begin(), state_.seen_hosts.end(), ip) !=
             state_.seen_hosts.end();
    };
    if (!leg_.heard_from.empty() && !holds(sip::Endpoint::Parse(leg_.heard_from)->ip)) {
      Fail("seen_hosts", "without " + leg_.heard_from, "with it");
    }
    if (holds(*sip::IpAddress::Parse("6.6.6.6"))) {
      Fail("seen_hosts", "with that of the attacker", "without it");
    }
  }

  // From the first message of the dialog to its last. CANCEL, 100 and the ACK of a failure are no
  // messages of the dialog, though of its call.
  void Times() {
    std::int64_t first = INT64_MAX;
    std::int64_t least = 0;
    for (const LedgerEntry& entry : call_.ledger) {
      if (entry.leg != number_) continue;
      first = std::min(first, TimeOf(entry.request));
      for (const int id : {entry.request, entry.final, entry.ack}) {
        if (id >= 0) least = std::max(least, TimeOf(id));
      }
    }
    if (first == INT64_MAX) return;
    Equal("created_at", std::to_string(Us(state_.created_at)), std::to_string(first));
    std::int64_t most = least;
    for (std::size_t i = 0; i < call_.notes.size(); ++i) {
      const int leg = call_.notes[i].leg;
      if (leg == number_ || leg == kAllLegs) most = std::max(most, call_.times[i]);
    }
    const std::int64_t found = Us(state_.last_seen);
    if (found < least || found > most) {
      Fail("last_seen", std::to_string(found),
           "from " + std::to_string(least) + " to " + std::to_string(most));
    }
  }

  void Rest() {
    Equal("transport", std::string(sip::ToString(state_.transport)),
          std::string(sip::ToString(call_.transport)));
    Equal("resync_needed", state_.resync_needed ? "yes" : "no", leg_.resync ? "yes" : "no");
    Equal("session_timer.min_interval", std::to_string(state_.session_timer.min_interval.count()),
          std::to_string(leg_.min_interval));
    Equal("remote_supported", state_.remote_supported, leg_.supported);
    if (Words(state_.remote_allow) != Words(leg_.allow)) {
      Fail("remote_allow", state_.remote_allow, leg_.allow);
    }
    Equal("local_target", state_.local_target, leg_.local_target);
    Equal("confirmed_at", std::to_string(Us(state_.confirmed_at)),
          std::to_string(leg_.confirmed_us));
    if (!leg_.last_hop.empty()) Equal("next_hop", state_.next_hop.ToString(), leg_.last_hop);
    // While it rings, answers of one status are one message, of which the first counts.
    if (!leg_.heard_from.empty() && leg_.was_confirmed) {
      Equal("observed_source", state_.observed_source.ToString(), leg_.heard_from);
    }
    SeenHosts();
    if (!call_.forged) Times();
    const bool stream = call_.transport != sip::Transport::kUdp;
    Equal("flow_held_by_server", state_.flow_held_by_server ? "yes" : "no",
          stream && leg_.server_side.route_set.empty() ? "yes" : "no");
  }

  const GeneratedCall& call_;
  const Leg& leg_;
  const int number_;
  const DialogState& state_;
  std::vector<std::string>* problems_;
};

}  // namespace

void CheckClocks(const GeneratedCall& call, const Leg& leg, int number, const DialogState& state,
                 std::vector<std::string>* problems) {
  ClockChecker(call, leg, number, state, problems).Run();
}

}  // namespace sipheal::testing::generator
