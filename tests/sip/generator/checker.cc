// SPDX-License-Identifier: Apache-2.0
#include "tests/sip/generator/checker.h"

#include <algorithm>
#include <optional>
#include <set>

#include "sipheal/sip/explain.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/verdict.h"
#include "tests/sip/generator/check_clocks.h"

namespace sipheal::testing::generator {
namespace {

using sip::DialogPhase;
using sip::DialogRole;
using sip::DialogState;
using sip::Field;

sip::VerdictOptions Anywhere() {
  sip::VerdictOptions options;
  options.targets.allow_targets = {"0.0.0.0/0", "::/0"};
  options.targets.refuse_service_ports = false;
  return options;
}

Field FieldOf(Fact fact) {
  switch (fact) {
    case Fact::kRoute:
      return Field::kRouteSet;
    case Fact::kTarget:
      return Field::kRemoteTarget;
    case Fact::kLocalSdp:
      return Field::kLocalSdp;
    case Fact::kRemoteSdp:
      return Field::kRemoteSdp;
    case Fact::kTimer:
      return Field::kSessionTimer;
    default:
      return Field::kHold;
  }
}

const char* NameOf(Fact fact) {
  static constexpr const char* kNames[] = {"route_set",    "remote_target", "local_sdp",
                                           "remote_sdp",   "held_by_local", "held_by_remote",
                                           "session_timer"};
  return kNames[static_cast<std::size_t>(fact)];
}

std::string SdpKey(const sip::SdpSummary& sdp) {
  if (sdp.empty()) return "";
  return sdp.Origin() + " port " + (sdp.media.empty() ? "" : std::to_string(sdp.media[0].port)) +
         ' ' + std::string(sip::ToString(sdp.direction));
}

std::string Found(Fact fact, const DialogState& state) {
  switch (fact) {
    case Fact::kRoute: {
      std::string text;
      for (const std::string& uri : state.route_set) text += '<' + uri + '>';
      return text;
    }
    case Fact::kTarget:
      return RequestUriOf(state.remote_target);
    case Fact::kLocalSdp:
      return SdpKey(state.local_sdp);
    case Fact::kRemoteSdp:
      return SdpKey(state.remote_sdp);
    case Fact::kHeldByLocal:
      return state.held_by_local ? "held" : "not held";
    case Fact::kHeldByRemote:
      return state.held_by_remote ? "held" : "not held";
    case Fact::kTimer:
      if (!state.session_timer.active()) return "off";
      return std::to_string(state.session_timer.interval.count()) +
             (state.session_timer.local_refreshes ? " by the server" : " by the peer");
  }
  return "";
}

Stage StageOf(DialogPhase phase) {
  switch (phase) {
    case DialogPhase::kEarly:
      return Stage::kEarly;
    case DialogPhase::kConfirmed:
      return Stage::kConfirmed;
    case DialogPhase::kTerminated:
      return Stage::kOver;
    default:
      return Stage::kNone;
  }
}

class LegChecker {
 public:
  LegChecker(const GeneratedCall& call, const Leg& leg, int number, const DialogState& state,
             Tally* tally, std::vector<std::string>* problems)
      : call_(call),
        leg_(leg),
        number_(number),
        state_(state),
        tally_(tally),
        problems_(problems) {}

  void Run() {
    Identity();
    Sequence();
    Phase();
    for (std::size_t i = 0; i < kFactCount; ++i) Replaced(static_cast<Fact>(i));
    Whole();
    Secure();
    Subscriptions();
    Verdict();
  }

 private:
  bool lossless() const { return call_.loss_percent == 0; }
  bool Survives(int id) const { return call_.survives[static_cast<std::size_t>(id)]; }
  bool Any(const std::vector<int>& ids) const {
    return std::any_of(ids.begin(), ids.end(), [this](int id) { return Survives(id); });
  }
  bool All(const std::vector<int>& ids) const {
    return std::all_of(ids.begin(), ids.end(), [this](int id) { return Survives(id); });
  }
  void Fail(const std::string& field, const std::string& found, const std::string& truth) {
    problems_->push_back("dialog " + std::to_string(number_) + ": " + field + " is " + found +
                         ", not " + truth);
  }
  void Equal(const std::string& field, const std::string& found, const std::string& truth) {
    if (found != truth) Fail(field, '\'' + found + '\'', '\'' + truth + '\'');
  }
  // The highest of a number in the notes: of all, and of those that were captured.
  template <typename T>
  std::pair<T, T> Highest(T Note::*member) const {
    T all = 0;
    T seen = 0;
    for (std::size_t i = 0; i < call_.notes.size(); ++i) {
      const Note& note = call_.notes[i];
      if (note.leg != kAllLegs && note.leg != number_) continue;
      all = std::max(all, note.*member);
      if (call_.survives[i]) seen = std::max(seen, note.*member);
    }
    return {all, seen};
  }

  void Identity() {
    Equal("call_id", state_.call_id, call_.call_id);
    const auto party = [this](const char* name, const sip::DialogParty& found, const Party& truth) {
      Equal(std::string(name) + ".uri", found.uri, truth.uri);
      Equal(std::string(name) + ".display", found.display, truth.display);
      Equal(std::string(name) + ".params", found.params, truth.params);
      Equal(std::string(name) + ".tag", found.tag, truth.tag);
    };
    const auto named = [&](const char* name, const sip::DialogParty& found, const Party& truth,
                           const std::vector<Naming>& since, Field field) {
      // Through losses, one of those since the last that was shown.
      for (auto naming = since.rbegin(); !lossless() && naming != since.rend(); ++naming) {
        const bool shown = std::any_of(naming->shown.begin(), naming->shown.end(),
                                       [this](const auto& set) { return All(set); });
        if (naming->party.uri == found.uri || shown) {
          if (shown && state_.IsMissing(field)) return;
          return party(name, found, naming->party);
        }
      }
      party(name, found, truth);
    };
    named("local", state_.local, leg_.server_side.local, leg_.local_names, Field::kLocalUri);
    named("remote", state_.remote, leg_.server_side.remote, leg_.remote_names, Field::kRemoteUri);
    const bool opening_seen = OpeningSeen(true);
    const DialogRole role = call_.server_called ? DialogRole::kUac : DialogRole::kUas;
    // Without any first INVITE, rule 2.12 takes an answer for that to the first one.
    if (state_.role != role && opening_seen) {
      Fail("role", std::string(sip::ToString(state_.role)), std::string(sip::ToString(role)));
    }
    if (state_.role == DialogRole::kUnknown && !state_.IsMissing(Field::kRole)) {
      Fail("role", "unknown without being in missing", std::string(sip::ToString(role)));
    }
  }

  bool OpeningSeen(bool or_attempt) const {
    const auto is_attempt = [this](std::size_t id) {
      return std::any_of(call_.attempts.begin(), call_.attempts.end(), [id](const auto& attempt) {
        return static_cast<std::size_t>(attempt.first) == id;
      });
    };
    for (std::size_t i = 0; i < call_.notes.size(); ++i) {
      if (call_.notes[i].first_invite && call_.survives[i] && (or_attempt || !is_attempt(i))) {
        return true;
      }
    }
    return false;
  }

  void Number(const char* name, std::uint64_t found,
              std::pair<std::uint64_t, std::uint64_t> truth) {
    if (found > truth.first || found < truth.second) {
      Fail(
          name, std::to_string(found),
          std::to_string(truth.first) + ", of which " + std::to_string(truth.second) + " was seen");
    }
  }

  void Sequence() {
    const auto local = Highest(&Note::local_seq);
    // Without its request, an INVITE within one fork looks like another attempt, which is of all.
    const bool of_another_fork = call_.legs.size() > 1 && !lossless();
    if (!of_another_fork || state_.local_seq.value_or(0) < local.second) {
      Number("local_seq", state_.local_seq.value_or(0), local);
    }
    // A refused re-INVITE without its request looks like a refused first one.
    if (lossless() || state_.phase != DialogPhase::kEarly || !leg_.was_confirmed) {
      Number("remote_seq", state_.remote_seq.value_or(0), Highest(&Note::remote_seq));
    }
    Number("highest_local_sdp_version",
           state_.highest_local_sdp_version.empty() ? 0
                                                    : std::stoull(state_.highest_local_sdp_version),
           Highest(&Note::sdp_version));
    const auto next = sip::NextCseq(state_, {}, state_.last_seen);
    if (!next.ok() || *next <= local.first) {
      Fail("next CSeq", next.ok() ? std::to_string(*next) : std::string(next.status().message()),
           "above " + std::to_string(local.first));
    }
    if (lossless() && local.first > 0) {
      const auto exact = sip::NextCseq(state_, {.capture_is_complete = true}, state_.last_seen);
      Equal("next CSeq of a complete capture", exact.ok() ? std::to_string(*exact) : "none",
            std::to_string(local.first + 1));
    }
  }

  // Early dialogs that lost against another fork go 64*T1 after its 2xx.
  bool LostAgainstAFork() const {
    return leg_.stage == Stage::kEarly && call_.first_2xx_us != 0 &&
           call_.end_us >= call_.first_2xx_us + 32'000'000;
  }

  void Phase() {
    const Stage found = StageOf(state_.phase);
    Stage truth = leg_.stage;
    Stage shown = Stage::kNone;
    for (const Leg::StageProof& proof : leg_.stages) {
      if (All(proof.messages)) shown = std::max(shown, proof.stage);
    }
    if (LostAgainstAFork()) {
      if (!lossless() && found == Stage::kOver) return;
      truth = Stage::kOver;
      if (lossless()) shown = Stage::kOver;
    }
    // Of a flood, any may be kept of those that were never answered.
    const bool crowded_out = call_.flooded && !lossless() && !leg_.was_confirmed;
    // Which INVITE was refused, the first one or another, nobody can tell without its request.
    const bool never_up = shown == Stage::kEarly || (shown == Stage::kOver && !leg_.was_confirmed);
    if (found == Stage::kNone && never_up && state_.IsMissing(Field::kPhase) &&
        !OpeningSeen(false)) {
      return;
    }
    if (found > truth || (found < shown && !crowded_out)) {
      Fail("phase", std::string(sip::ToString(state_.phase)),
           "stage " + std::to_string(static_cast<int>(truth)) + ", of which " +
               std::to_string(static_cast<int>(shown)) + " was seen");
    }
    if (lossless() && !LostAgainstAFork()) {
      Equal("end", std::string(sip::ToString(state_.end)), std::string(sip::ToString(leg_.end)));
    }
  }

  std::string ValueOf(Fact fact, const Change& change) const {
    return fact == Fact::kTarget ? RequestUriOf(change.value) : change.value;
  }

  // One of the facts that replace each other. The last one of which anything was captured has to be
  // there when what was captured proves it, else it has to be missing. One of which nothing at all
  // was captured cannot be known to anybody.
  void Replaced(Fact fact) {
    const std::vector<Change>& changes = leg_.Of(fact);
    if (changes.empty()) return;
    // It looks as if it were still ringing, with the route and target of that time.
    const bool looks_unanswered = state_.confirmed_at == sip::CaptureTime{};
    if (!lossless() && looks_unanswered && leg_.was_confirmed) return;
    // Of a call that was never answered, nothing is to be recovered.
    if (!lossless() && !leg_.was_confirmed) return;
    const bool missing = state_.IsMissing(FieldOf(fact));
    const std::string found = Found(fact, state_);
    const std::string truth = ValueOf(fact, changes.back());
    const auto proved = [this](const Change& change) {
      return std::any_of(change.proofs.begin(), change.proofs.end(),
                         [this](const std::vector<int>& proof) { return All(proof); });
    };
    const auto shown = [this](const Change& change) {
      return Any(change.traces) ||
             (Any(change.later) && (change.success < 0 || Survives(change.success)));
    };
    const Change* last = nullptr;  // the last of which anything was captured
    bool doubted = false;
    bool hidden = false;
    for (auto change = changes.rbegin(); change != changes.rend() && last == nullptr; ++change) {
      if (change->back_to >= 0) {
        if (!Any(change->traces)) {
          hidden = true;
          continue;
        }
        doubted |= !proved(*change);
        // The last one before that is the next to be looked at.
        change = changes.rend() - change->back_to - 1;
      } else if (proved(*change)) {
        last = &*change;
      } else if (!change->dispelled_by.empty()) {
        doubted |= Any(change->traces) && !Any(change->dispelled_by);
      } else if (shown(*change)) {
        last = &*change;
      } else {
        hidden = true;
        ++tally_->invisible_changes;
      }
    }
    if (missing) {
      ++tally_->unknown_fields;
      if (last == nullptr || doubted || !proved(*last)) return;
      // Which of two answers is that to the first INVITE, nobody can tell without a first INVITE.
      const bool of_opening = fact == Fact::kRoute || fact == Fact::kTarget;
      if (of_opening && !lossless() && state_.role == DialogRole::kUnknown) return;
      // Nor which of two branches was that of an INVITE that was lost.
      if (call_.forged_2xx && !OpeningSeen(false)) return;
      // An answer from another host than before may be anybody's while its request is lost.
      const bool of_answer = fact == Fact::kTarget || fact == Fact::kTimer;
      if (of_answer && !lossless() && leg_.peer_changed_host) return;
      // The two halves of hold are one field; it may be missing for the other's sake.
      if (FieldOf(fact) == Field::kHold && !lossless()) return;
      Fail(NameOf(fact), "missing", '\'' + ValueOf(fact, *last) + "', which is proved");
      return;
    }
    if (found == truth && (last != nullptr || !lossless())) return;
    if (last == nullptr && !lossless() && fact != Fact::kRoute) return;
    if (last != nullptr && found == ValueOf(fact, *last) && (hidden || proved(*last))) return;
    // Both candidates are reported.
    if (fact == Fact::kTarget && RequestUriOf(state_.pending_remote_target) == truth) return;
    Fail(NameOf(fact), '\'' + found + '\'', '\'' + truth + '\'');
  }

  // What is not followed through losses.
  void Whole() {
    if (!lossless()) return;
    if (leg_.stage == Stage::kConfirmed || leg_.stage == Stage::kEarly) {
      for (const Field field : state_.missing) {
        // Before the answer there need be no session.
        if (leg_.stage == Stage::kEarly &&
            (field == Field::kLocalSdp || field == Field::kRemoteSdp)) {
          continue;
        }
        if (field == Field::kLocalSdp && leg_.Of(Fact::kLocalSdp).empty()) continue;
        if (field == Field::kRemoteSdp && leg_.Of(Fact::kRemoteSdp).empty()) continue;
        Fail(std::string(sip::ToString(field)), "missing", "known: nothing was lost");
      }
    }
    if (!call_.forged && !leg_.pending_target.empty() && state_.pending_remote_target.empty() &&
        leg_.pending_target.find(leg_.server_side.target) == std::string::npos &&
        leg_.pending_target.find("198.51.100.1") == std::string::npos &&
        leg_.pending_target.find("198.51.100.2") == std::string::npos) {
      Fail("pending_remote_target", "empty", leg_.pending_target);
    }
    if (state_.session_timer.active() &&
        state_.session_timer.since.time_since_epoch().count() != leg_.timer_since) {
      Fail("session_timer.since", "another time", "that of the last 2xx");
    }
    const auto request = sip::NextRequest(state_);
    if (leg_.Of(Fact::kTarget).empty()) return;
    if (!request.ok()) {
      Fail("next request", std::string(request.status().message()), "one");
      return;
    }
    Message expected;
    leg_.server_side.Address(&expected);
    Equal("next Request-URI", request->request_uri, expected.uri);
    Equal("number of Route values", std::to_string(request->route.size()),
          std::to_string(expected.route.size()));
    for (std::size_t i = 0; i < std::min(request->route.size(), expected.route.size()); ++i) {
      Equal("Route value", request->route[i], expected.route[i]);
    }
  }

  // Known by the first INVITE alone; but what is not known to be secure must not be taken for
  // plain.
  void Secure() {
    // Nor is it known which INVITE that was, when no answer to it was captured.
    bool answered = leg_.early_id >= 0 && Survives(leg_.early_id);
    for (std::size_t i = 0; i < call_.times.size(); ++i) {
      answered |= call_.times[i] == leg_.confirmed_us && call_.survives[i];
    }
    const bool known = OpeningSeen(false) && answered && leg_.was_confirmed;
    if (state_.IsMissing(Field::kSecure) && !known) return;
    Equal("secure", state_.secure ? "yes" : "no", call_.secure ? "yes" : "no");
  }

  // Those that are open; through losses, none that never was.
  void Subscriptions() {
    const auto name = [](const std::string& event, const std::string& id, bool by_server) {
      return event + ";id=" + id + (by_server ? " by the server" : " by the peer");
    };
    std::set<std::string> found;
    for (const sip::DialogUsage& usage : state_.usages) {
      std::string text = name(usage.event, usage.id, usage.server_subscribes);
      if (lossless()) {
        text += usage.active ? " active" : " pending";
        if (usage.expires_at) {
          text += " until " + std::to_string(usage.expires_at->time_since_epoch().count());
        }
      }
      found.insert(text);
    }
    std::set<std::string> truth;
    for (const Subscription& one : leg_.subscriptions) {
      std::string text = name(one.event, one.id, one.by_server);
      if (lossless()) {
        if (one.over) continue;
        text += one.active ? " active" : " pending";
        if (one.expires_us != 0) text += " until " + std::to_string(one.expires_us);
      } else if (one.event == "refer") {
        truth.insert(name(one.event, "", one.by_server));
      }
      truth.insert(text);
    }
    for (const std::string& text : found) {
      if (!truth.contains(text)) Fail("usages", text, "one that there is");
    }
    for (const std::string& text : truth) {
      if (lossless() && !found.contains(text)) Fail("usages", "without " + text, "with it");
    }
  }

  void Verdict() {
    const sip::Verdict verdict = sip::Judge(state_, Anywhere());
    if (verdict.recoverable()) ++tally_->recoverable;
    bool over = leg_.stage == Stage::kNone;
    for (std::size_t i = 0; i < call_.notes.size(); ++i) {
      const Note& note = call_.notes[i];
      const bool of_leg =
          note.leg == number_ || (note.leg == kAllLegs && leg_.stage != Stage::kConfirmed);
      over |= note.over && call_.survives[i] && of_leg;
    }
    if (verdict.recoverable() && over)
      Fail("verdict", "recoverable", "that of a call that is over");
    if (verdict.recoverable() && leg_.stage == Stage::kEarly) {
      Fail("verdict", "recoverable", "early");
    }
    // The connection to a phone that no proxy stands before died with the server
    // (rules 3.12, 3.13).
    const bool flow_died = leg_.server_side.route_set.empty() &&
                           call_.transport != sip::Transport::kUdp &&
                           call_.transport != sip::Transport::kTcp;
    if (verdict.recoverable() && flow_died)
      Fail("verdict", "recoverable", "that of a flow that died");
    // Over TCP it depends on who connected.
    const bool reachable =
        call_.transport == sip::Transport::kUdp || !leg_.server_side.route_set.empty();
    if (lossless() && flow_died && leg_.stage == Stage::kConfirmed &&
        leg_.end == sip::DialogEnd::kNone) {
      Equal("verdict", std::string(sip::ToString(verdict.token)), "needs_new_flow");
    }
    if (lossless() && reachable && leg_.stage == Stage::kConfirmed &&
        leg_.end == sip::DialogEnd::kNone && !verdict.recoverable()) {
      Fail("verdict",
           std::string(sip::ToString(verdict.token)) + " (" + verdict.reasons.front() + ')',
           "recoverable");
    }
  }

  const GeneratedCall& call_;
  const Leg& leg_;
  const int number_;
  const DialogState& state_;
  Tally* tally_;
  std::vector<std::string>* problems_;
};

}  // namespace

std::vector<std::string> Check(const GeneratedCall& call, const std::vector<DialogState>& rebuilt,
                               Tally* tally) {
  std::vector<std::string> problems;
  std::vector<bool> used(rebuilt.size(), false);
  for (std::size_t i = 0; i < call.legs.size(); ++i) {
    const Leg& leg = *call.legs[i];
    const DialogState* found = nullptr;
    for (std::size_t j = 0; j < rebuilt.size(); ++j) {
      if (rebuilt[j].local.tag == leg.server_side.local.tag &&
          rebuilt[j].remote.tag == leg.server_side.remote.tag) {
        if (found != nullptr) problems.push_back("two dialogs with the same tags");
        found = &rebuilt[j];
        used[j] = true;
      }
    }
    if (found == nullptr) {
      const bool shown = std::any_of(leg.stages.begin(), leg.stages.end(), [&](const auto& proof) {
        return proof.shows_dialog &&
               std::all_of(proof.messages.begin(), proof.messages.end(),
                           [&](int id) { return call.survives[static_cast<std::size_t>(id)]; });
      });
      // Of a flood, any may be kept of those that were never answered.
      const bool crowded_out = call.flooded && call.loss_percent > 0 && !leg.was_confirmed;
      if (shown && !crowded_out)
        problems.push_back("dialog " + std::to_string(i) + " was not found");
      continue;
    }
    ++tally->dialogs;
    if (call.loss_percent == 0) ++tally->lossless;
    LegChecker(call, leg, static_cast<int>(i), *found, tally, &problems).Run();
    CheckClocks(call, leg, static_cast<int>(i), *found, &problems);
  }
  for (std::size_t j = 0; j < rebuilt.size(); ++j) {
    if (used[j]) continue;
    if (call.flooded && rebuilt[j].phase != DialogPhase::kConfirmed) continue;
    // An ACK alone may have been for a failure: what it names is said to be unproved.
    if (call.loss_percent > 0 && rebuilt[j].IsMissing(Field::kInviteUsage)) continue;
    problems.push_back("a dialog that never was: remote tag " + rebuilt[j].remote.tag);
  }
  return problems;
}

std::string Report(const GeneratedCall& call, const std::vector<DialogState>& rebuilt) {
  std::string text = "seed " + std::to_string(call.seed) + ", the server is the " +
                     (call.server_called ? "caller" : "called") + ", " +
                     std::to_string(call.loss_percent) + " % lost" +
                     (call.forged ? ", forged" : "") + "\n--- what happened\n";
  for (const std::string& line : call.story) {
    const std::size_t digits = line.find_first_not_of("0123456789");
    const bool message = digits != 0 && digits != std::string::npos;
    const bool lost = message && !call.survives[std::stoul(line)];
    text += line + (lost ? "   (lost)" : "") + '\n';
  }
  text += "--- what is true\n";
  for (const auto& leg : call.legs) {
    text += "remote tag " + leg->server_side.remote.tag + ", stage " +
            std::to_string(static_cast<int>(leg->stage)) + ", end " +
            std::string(sip::ToString(leg->end)) + '\n';
    for (std::size_t i = 0; i < kFactCount; ++i) {
      if (leg->history[i].empty()) continue;
      text += std::string("  ") + NameOf(static_cast<Fact>(i)) + ": " +
              leg->history[i].back().value + '\n';
    }
  }
  text += "--- what was found\n";
  for (const DialogState& state : rebuilt)
    text += sip::Explain(state, sip::Judge(state, Anywhere()));
  text += "--- the ladder\n" + sip::Ladder(call.Messages(), call.server, {});
  text += "--- the messages\n";
  for (const Copy& copy : call.copies) {
    text += "message " + std::to_string(copy.message.sequence) + " from " +
            copy.message.source.ToString() + '\n' + copy.message.bytes + '\n';
  }
  return text;
}

}  // namespace sipheal::testing::generator
