// SPDX-License-Identifier: Apache-2.0
// What the parties do within a dialog.
#include <algorithm>

#include "tests/sip/generator/simulation.h"

namespace sipheal::testing::generator {

namespace {

const std::vector<Fact> kRefreshedFacts = {Fact::kLocalSdp,    Fact::kRemoteSdp,
                                           Fact::kHeldByLocal, Fact::kHeldByRemote,
                                           Fact::kTarget,      Fact::kTimer};

}  // namespace

void Simulation::Act(Leg& leg) {
  if (dice_.Chance(30)) Pause(500'000, 3'000'000);
  const bool by_server = dice_.Chance(50);
  const std::uint32_t what = dice_.Below(100);
  if (subscribes_ && wide_.Chance(40)) {
    Subscribe(leg, by_server);
  } else if (what < 35) {
    Refresh(leg, by_server, false);
  } else if (what < 50) {
    Refresh(leg, by_server, true);
  } else if (what < 65) {
    Plain(leg, by_server);
  } else if (what < 72) {
    OutOfOrder(leg);
  } else if (what < 80) {
    Refer(leg, by_server);
  } else if (what < 86) {
    Glare(leg);
  } else if (what < 87) {
    KilledBy481(leg);
  } else if (what < 93) {
    Hangup(leg, by_server);
  } else if (what < 97) {
    LongReinvite(leg, by_server);
  }
}

std::string Simulation::MaybeTimer(bool request) {
  if (!dice_.Chance(40)) return "";
  static constexpr const char* kIntervals[] = {"1800", "3600", "600", "240"};
  std::string text = dice_.Chance(20) ? "x: " : "Session-Expires: ";
  text += dice_.Pick(kIntervals);
  if (!request && dice_.Chance(10)) return text;
  return text + (dice_.Chance(50) ? ";refresher=uac" : ";refresher=uas");
}

void Simulation::MaybeMove(UserAgent& agent, bool may_change_host) {
  if (!dice_.Chance(25)) return;
  if (may_change_host && !ipv6_ && agent.name.empty() && dice_.Chance(40)) {
    agent.ip = "198.51.100." + std::to_string(dice_.Range(100, 250));
    agent.host.clear();
  }
  agent.contact = agent.ContactUri("moved" + dice_.Hex(3) + '@');
}

// re-INVITE or UPDATE: hold, codec change, move, timer; accepted, refused, challenged, cancelled.
void Simulation::Refresh(Leg& leg, bool by_server, bool update) {
  UserAgent& agent = Agent(leg, by_server);
  UserAgent& other = Agent(leg, !by_server);
  const bool confirmed = leg.stage == Stage::kConfirmed;
  const std::string old_contact = agent.contact;
  const std::string old_ip = agent.ip;
  const std::string old_host = agent.host;
  const bool held = agent.holds;
  const std::string original_ip = leg.peer.ip;
  if (confirmed) MaybeMove(agent, !by_server);
  const bool has_session = !update || dice_.Chance(60);
  const bool offerless = !update && dice_.Chance(15);
  if (confirmed && has_session && !offerless && dice_.Chance(40)) agent.holds = !agent.holds;
  Message request = DialogOf(leg, by_server).Request(update ? "UPDATE" : "INVITE");
  request.contact = agent.contact;
  if (renames_ && confirmed && wide_.Chance(40)) {
    request.from.uri = MakeUri("other" + wide_.Hex(3), "example.com");
    request.from.display = wide_.Chance(50) ? "\"Other, One\"" : "";
  }
  Session offer;
  Note note;
  if (has_session && !offerless) {
    if (dice_.Chance(15)) ++agent.session.version;  // a change elsewhere in the description
    offer = agent.Offer();
    request.sdp = offer.Text();
    if (by_server) note.sdp_version = offer.version;
  }
  const std::string wish = MaybeTimer(true);
  if (!wish.empty()) request.extra.push_back(wish);
  const std::uint32_t least = dice_.Chance(15) ? dice_.Range(90, 240) : 0;
  if (least != 0) request.extra.push_back("Min-SE: " + std::to_string(least));
  const Transaction sent = Send(leg, by_server, request, note);
  if (!by_server) leg.pending_target = agent.contact;
  if (by_server) leg.min_interval = std::max(leg.min_interval, least);
  if (!update && dice_.Chance(40)) Answer(leg, sent, 100);
  if (!update && by_server && dice_.Chance(10)) {
    AnswerOptions ringing;
    ringing.other_contact = leg.peer.ContactUri("not-yet@");
    Answer(leg, sent, 180, ringing);
  }
  const std::uint32_t outcome = dice_.Below(100);
  if (outcome < 20) {
    static constexpr int kRefusals[] = {488, 491, 403, 401, 407, 422, 500, 504};
    int status = dice_.Pick(kRefusals);
    if (!update && outcome < 4) {
      Message cancel = sent.at_server;
      cancel.method = "CANCEL";
      cancel.via = {sent.at_server.via.front()};
      cancel.contact.clear();
      cancel.sdp.clear();
      Note cancelled;
      cancelled.leg = LegNumber(leg);
      Capture(cancel, by_server, sent.hop, cancelled);
      Capture(ResponseTo(cancel, 200, ""), !by_server, sent.hop, cancelled);
      status = 487;
    }
    AnswerOptions reason;
    const std::uint32_t asked = dice_.Range(300, 3600);
    if (!update && by_server && odd_.Chance(10)) {
      status = 302;
      reason.other_contact = "sip:elsewhere" + odd_.Hex(2) + "@203.0.113.77";
    }
    if (status == 422) reason.extra.push_back("Min-SE: " + std::to_string(asked) + " ;x");
    const int refusal = Answer(leg, sent, status, reason);
    if (status == 302) leg.redirects = {reason.other_contact};
    leg.min_interval = std::max({leg.min_interval, least, status == 422 ? asked : 0u});
    leg.pending_target.clear();
    agent.contact = old_contact;
    agent.ip = old_ip;
    agent.host = old_host;
    agent.holds = held;  // what was refused was never in force; its version stays used up
    if (update) return;
    // Without the request it may have been there before, and what was agreed on a part of it.
    Doubt(leg, kSessionFacts, refusal, {sent.id});
    Doubt(leg, kRefreshedFacts, AckOfFailure(leg, sent, ""), {sent.id, refusal});
    return;
  }
  AnswerOptions options;
  options.contact = true;
  Session answer;
  if (has_session) {
    if (confirmed) MaybeMove(other, by_server && dice_.Chance(30));
    answer = offerless ? other.Offer() : other.Answer(offer);
    options.session = &answer;
  } else if (confirmed) {
    MaybeMove(other, false);
  }
  const std::string timer = MaybeTimer(false);
  if (!timer.empty()) options.extra.push_back(timer);
  const int id = Answer(leg, sent, 200, options);
  leg.min_interval = std::max(leg.min_interval, least);
  leg.peer_changed_host |= leg.peer.ip != original_ip;
  leg.pending_target.clear();
  if (request.from.uri != DialogOf(leg, by_server).local.uri) {
    std::vector<Naming>& names = by_server ? leg.local_names : leg.remote_names;
    if (names.empty()) names.push_back({DialogOf(leg, by_server).local, {{}}});
    names.push_back({request.from, {{sent.id, id}}});
  }
  DialogOf(leg, by_server).local = DialogOf(leg, !by_server).remote = request.from;
  if (!update) Reached(leg, Stage::kConfirmed, {id});
  DialogOf(leg, by_server).target = other.contact;
  DialogOf(leg, !by_server).target = agent.contact;
  if (by_server) {
    Record(leg, Fact::kTarget, other.contact, {id}, {{id}});
  } else {
    Record(leg, Fact::kTarget, agent.contact, {id}, {{sent.id, id}});
  }
  TimerSet(leg, by_server, timer, id);
  if (has_session && !offerless) Agreed(leg, by_server, offer, sent.id, answer, id, {id});
  if (update) return;
  // Without the request, an offer in a 2xx looks like an answer.
  if (offerless) Doubt(leg, kSessionFacts, id, {sent.id});
  Session late_answer;
  if (offerless) late_answer = agent.Answer(answer);
  const int ack = AckOf2xx(leg, sent, offerless ? &late_answer : nullptr);
  if (offerless) {
    // From a host that the dialog never used, the ACK alone is not believed (rule 12.2).
    const bool believed = by_server || !leg.peer_changed_host;
    Agreed(leg, !by_server, answer, id, late_answer, ack,
           believed ? std::vector<int>{ack} : std::vector<int>{},
           by_server ? Change::By::kServer : Change::By::kPeer);
  }
  if (!by_server && leg.peer_changed_host) {
    Doubt(leg, kRefreshedFacts, ack, {id});
  } else {
    AlsoShown(leg, {Fact::kTimer, Fact::kTarget, Fact::kLocalSdp, Fact::kRemoteSdp}, ack, false);
  }
}

// Both at once (RFC 3261 14.1).
void Simulation::Glare(Leg& leg) {
  Message own = leg.server_side.Request("INVITE");
  own.contact = leg.server.contact;
  ++leg.server.session.version;
  own.sdp = leg.server.session.Text();
  Note note;
  note.sdp_version = leg.server.session.version;
  Message theirs = leg.peer_side.Request("INVITE");
  theirs.contact = leg.peer.contact;
  ++leg.peer.session.version;
  theirs.sdp = leg.peer.session.Text();
  const Transaction sent = Send(leg, true, own, note);
  const Transaction received = Send(leg, false, theirs);
  const int theirs_refused = Answer(leg, received, 491);
  const int own_refused = Answer(leg, sent, 491);
  Doubt(leg, kRefreshedFacts, AckOfFailure(leg, sent, ""), {sent.id, own_refused});
  Doubt(leg, kRefreshedFacts, AckOfFailure(leg, received, ""), {received.id, theirs_refused});
}

// A request that changes nothing but the numbers.
void Simulation::Plain(Leg& leg, bool by_server) {
  static constexpr const char* kMethods[] = {"INFO", "OPTIONS", "MESSAGE", "INFO"};
  const std::string method = dice_.Pick(kMethods);
  if (!by_server && dice_.Chance(10)) {
    leg.peer_side.local_seq = *leg.peer_side.local_seq + dice_.Range(1, 9);  // refused elsewhere
  }
  Message request = DialogOf(leg, by_server).Request(method);
  // Nobody refreshes with these (rule 4.1).
  if (dice_.Chance(20)) request.contact = "sip:evil@" + leg.peer.address();
  const Transaction sent = Send(leg, by_server, request);
  if (dice_.Chance(15)) {
    static constexpr int kHarmless[] = {401, 407, 415, 488, 500, 503, 403};
    Answer(leg, sent, dice_.Pick(kHarmless));
  } else if (!dice_.Chance(5)) {
    Answer(leg, sent, 200);
  }
}

// The later request of the peer arrives first.
void Simulation::OutOfOrder(Leg& leg) {
  const Message early = leg.peer_side.Request("INFO");
  const Message late = leg.peer_side.Request("INFO");
  Answer(leg, Send(leg, false, late), 200);
  Answer(leg, Send(leg, false, early), 500);
}

void Simulation::Hangup(Leg& leg, bool by_server) {
  Note over;
  over.over = true;
  const Transaction bye = Send(leg, by_server, DialogOf(leg, by_server).Request("BYE"), over);
  leg.end = by_server ? sip::DialogEnd::kByeSent : sip::DialogEnd::kByeUnanswered;
  if (by_server) Reached(leg, Stage::kOver, {bye.id});
  if (dice_.Chance(15)) return;
  const int status = dice_.Chance(90) ? 200 : 481;
  const int id = Answer(leg, bye, by_server ? status : 200, {}, over);
  if (by_server) return;
  leg.end = sip::DialogEnd::kByeAnswered;
  Reached(leg, Stage::kOver, {id});
}

// The peer does not know the dialog any more (RFC 5057).
void Simulation::KilledBy481(Leg& leg) {
  const Transaction sent = Send(leg, true, leg.server_side.Request("INFO"));
  Note over;
  over.over = true;
  const int id = Answer(leg, sent, 481, {}, over);
  Reached(leg, Stage::kOver, {sent.id, id});
  // Without its request it ends a dialog that is known, but shows none: an answer to a request
  // outside of dialogs has a To tag, too (RFC 3261 8.2.6.2).
  Reached(leg, Stage::kOver, {id});
  leg.stages.back().shows_dialog = false;
  leg.end = sip::DialogEnd::kRejectedInDialog;
}

}  // namespace sipheal::testing::generator
