// SPDX-License-Identifier: Apache-2.0
// How a call begins: attempts that are refused, forks, provisional answers, and the answer.
#include "tests/sip/generator/simulation.h"

namespace sipheal::testing::generator {
namespace {

std::string Joined(const std::vector<std::string>& uris) {
  std::string text;
  for (const std::string& uri : uris) text += '<' + uri + '>';
  return text;
}

constexpr const char* kAllowAtFirst = "INVITE, ACK, BYE, CANCEL, UPDATE, PRACK";
constexpr int kChallenges[] = {401, 407, 422, 420, 302, 415};
constexpr int kFailures[] = {486, 480, 404, 503, 603, 408, 488};

}  // namespace

Message Simulation::FirstInvite(std::uint32_t cseq, const std::string& branch,
                                const Session* offer) {
  const UserAgent& caller = call_.server_called ? server_ : peer_;
  const UserAgent& callee = call_.server_called ? peer_ : server_;
  Message invite;
  invite.method = "INVITE";
  invite.cseq = cseq;
  invite.uri = callee.identity.uri;
  invite.via = {ViaOf(caller, branch)};
  invite.from = caller.identity;
  invite.to = callee.identity;
  invite.to.tag.clear();
  invite.call_id = call_.call_id;
  invite.contact = caller.contact;
  invite.extra = {"Supported: " + SupportedAtFirst(), std::string("Allow: ") + kAllowAtFirst};
  invite.extra.insert(invite.extra.end(), references_.begin(), references_.end());
  if (offer != nullptr) invite.sdp = offer->Text();
  if (!chain_.proxies.empty() && chain_.proxies.front().loose && dice_.Chance(15)) {
    // An outbound proxy, which has no part in the route set (rule 2.1).
    invite.route = {chain_.proxies.front().toward_caller};
  }
  return invite;
}

// One that is refused on its way: the next one has the same From tag and a higher number.
void Simulation::RefusedAttempt(std::uint32_t cseq, const Session* offer) {
  const std::string branch = Branch();
  Message invite = FirstInvite(cseq, branch, offer);
  if (!call_.server_called) invite = chain_.Forward(invite, true, true, branch);
  const std::string hop =
      Hop(chain_.Neighbour(call_.server_called, true), peer_, call_.server_called);
  Note note;
  note.first_invite = true;
  if (call_.server_called) note.local_seq = cseq;
  const int id = Capture(invite, call_.server_called, hop, note);
  const int status = dice_.Pick(kChallenges);
  Message answer = ResponseTo(invite, dice_.Chance(30) ? 100 : status, "refused" + dice_.Hex(4));
  int refusal = Capture(answer, !call_.server_called, hop, {});
  const int trying = answer.status == 100 ? refusal : -1;
  if (trying >= 0) {
    answer = ResponseTo(invite, status, "refused" + dice_.Hex(4));
    refusal = Capture(answer, !call_.server_called, hop, {});
  }
  Message ack = invite;
  ack.method = "ACK";
  ack.to = answer.to;
  ack.contact.clear();
  ack.sdp.clear();
  ack.extra.clear();
  ack.record_route.clear();
  ack.via = {invite.via.front()};
  note.first_invite = false;
  const std::vector<int> refused = {refusal, Capture(ack, call_.server_called, hop, note)};
  call_.attempts.push_back({id, refused});
  if (trying >= 0) call_.attempts.push_back({trying, refused});
}

void Simulation::ServerCalls() {
  std::uint32_t cseq = dice_.Chance(50) ? dice_.Range(1, 102) : dice_.Range(1, 40'000);
  const bool offers = !dice_.Chance(15);
  const Session offer = server_.Offer();
  while (dice_.Chance(25)) RefusedAttempt(cseq++, offers ? &offer : nullptr);
  const std::string branch = Branch();
  first_branch_ = branch;
  Message invite = FirstInvite(cseq, branch, offers ? &offer : nullptr);
  const std::string timer = MaybeTimer(true);
  if (!timer.empty()) invite.extra.push_back(timer);
  Transaction first;
  first.by_server = true;
  first.at_server = invite;
  first.at_peer = chain_.Forward(invite, true, true, branch);
  first.hop = Hop(chain_.Neighbour(true, true), peer_, true);
  Note note;
  note.first_invite = true;
  note.local_seq = cseq;
  if (offers) note.sdp_version = offer.version;
  first.id = Capture(invite, true, first.hop, note);
  const std::uint32_t forks = chain_.proxies.empty() || !dice_.Chance(30) ? 1 : dice_.Range(2, 3);
  for (std::uint32_t i = 0; i < forks; ++i) {
    Leg& leg = AddLeg(static_cast<int>(i));
    leg.server_side.call_id = leg.peer_side.call_id = call_.call_id;
    leg.server_side.local = leg.peer_side.remote = invite.from;
    leg.server_side.remote = leg.peer_side.local = invite.to;
    leg.server_side.remote.tag = leg.peer_side.local.tag = leg.peer.identity.tag;
    leg.server_side.local_seq = cseq;
    leg.local_target = invite.contact;
    leg.peer_side.route_set = first.at_peer.record_route;
    leg.peer_side.target = invite.contact;
    leg.peer_side.local_seq = dice_.Range(0, 500);
  }
  if (dice_.Chance(70)) {
    // A 100 makes no dialog, even with a tag (rule 1.2).
    call_.opening_trying = Capture(
        ResponseTo(first.at_server, 100, dice_.Chance(10) ? "hundred" : ""), false, first.hop, {});
  }
  // Those that answered their forks early: an offer is answered once (RFC 3262 5).
  std::vector<bool> ready(forks, false);
  for (std::uint32_t rounds = dice_.Below(5) * forks; rounds > 0; --rounds) {
    const std::uint32_t which = dice_.Below(forks);
    Leg& leg = *call_.legs[which];
    if (leg.stage == Stage::kOver) continue;
    if (leg.stage == Stage::kEarly && ready[which] && dice_.Chance(50)) {
      Refresh(leg, dice_.Chance(50), true);
    } else if (leg.stage == Stage::kEarly && dice_.Chance(6)) {
      const int id = Answer(leg, first, 199, {.to_tag = leg.peer.identity.tag});
      Reached(leg, Stage::kOver, {id});
      leg.end = sip::DialogEnd::kEarlyTerminated;
    } else if (RingingToServer(leg, first, offers ? &offer : nullptr)) {
      ready[which] = true;
    }
  }
  const std::uint32_t outcome = dice_.Below(100);
  if (outcome < 80) {
    bool answered = false;
    for (const auto& leg : call_.legs) {
      if (leg->stage == Stage::kOver || (answered && !dice_.Chance(20))) continue;
      AnsweredToServer(*leg, first, offers ? &offer : nullptr);
      if (answered && dice_.Chance(70)) Hangup(*leg, true);
      answered = true;
    }
    if (answered) return;
  }
  finished_ = true;
  int status = dice_.Pick(kFailures);
  sip::DialogEnd end = sip::DialogEnd::kInviteFailed;
  if (outcome >= 90) {
    Cancelled(first, true);
    status = 487;
    end = sip::DialogEnd::kCancelled;
  }
  Message failure = ResponseTo(first.at_server, status, "failed" + dice_.Hex(4));
  Note over;
  over.over = true;
  const int id = Capture(failure, false, first.hop, over);
  for (const auto& leg : call_.legs) {
    if (leg->stage != Stage::kEarly) continue;
    Reached(*leg, Stage::kOver, {id, leg->early_id});
    leg->end = end;
  }
  AckOfFailure(*call_.legs.front(), first, failure.to.tag);
}

void Simulation::Cancelled(const Transaction& invite, bool by_server) {
  Message cancel = invite.at_server;
  cancel.method = "CANCEL";
  cancel.via = {invite.at_server.via.front()};
  cancel.contact.clear();
  cancel.sdp.clear();
  cancel.extra.clear();
  cancel.record_route.clear();
  Note note;
  note.over = true;
  if (by_server) note.local_seq = 0;
  Capture(cancel, by_server, invite.hop, note);
  for (const auto& leg : call_.legs) {
    if (leg->stage == Stage::kEarly) leg->end = sip::DialogEnd::kCancelled;
  }
  // Its To tag may be one that is never seen again (rule 1.11).
  const std::string tag = dice_.Chance(50) ? "cancel" + dice_.Hex(4) : peer_.identity.tag;
  Capture(ResponseTo(cancel, 200, by_server ? tag : server_.identity.tag), !by_server, invite.hop,
          {});
}

// A provisional answer of the peer. True when it, being reliable, answered the offer.
bool Simulation::RingingToServer(Leg& leg, const Transaction& invite, const Session* offer) {
  AnswerOptions options;
  options.to_tag = leg.peer.identity.tag;
  options.contact = true;
  const bool reliable = dice_.Chance(40);
  const bool first = leg.stage == Stage::kNone;
  if (!first && !reliable && dice_.Chance(30)) {
    // An unreliable one refreshes nothing (rule 2.7).
    options.other_contact = leg.peer.ContactUri("ringing@");
  }
  Session answer;
  const bool describes = offer != nullptr && leg.Of(Fact::kLocalSdp).empty() && dice_.Chance(60);
  if (describes) {
    answer = leg.peer.Answer(*offer);
    options.session = &answer;
  }
  if (reliable) options.rseq = ++rseq_;
  const std::string contact =
      options.other_contact.empty() ? leg.peer.contact : options.other_contact;
  const int id = Answer(leg, invite, dice_.Chance(50) ? 180 : 183, options);
  Reached(leg, Stage::kEarly, {id});
  if (first) {
    Message as_seen = ResponseTo(invite.at_peer, 180, "");
    leg.chain.Return(&as_seen);
    leg.server_side.route_set.assign(as_seen.record_route.rbegin(), as_seen.record_route.rend());
    leg.record_route = as_seen.record_route;
    Record(leg, Fact::kRoute, Joined(leg.server_side.route_set), {id}, {{id, invite.id}});
  }
  if (first || reliable) {
    leg.server_side.target = contact;
    Record(leg, Fact::kTarget, contact, {id}, {{id}});
  }
  if (!reliable) return false;
  if (describes) Agreed(leg, true, *offer, invite.id, answer, id, {id});
  Message prack = leg.server_side.Request("PRACK");
  prack.extra.push_back("RAck: " + std::to_string(rseq_) + ' ' +
                        std::to_string(invite.at_server.cseq) + " INVITE");
  const Transaction sent = Send(leg, true, std::move(prack));
  EntryOf(leg, invite).reliable.back().second = sent.id;
  leg.opening_shown.push_back(sent.id);
  leg.opening_shown.push_back(Answer(leg, sent, 200));
  return !leg.Of(Fact::kLocalSdp).empty();
}

void Simulation::AnsweredToServer(Leg& leg, const Transaction& invite, const Session* offer) {
  AnswerOptions options;
  options.to_tag = leg.peer.identity.tag;
  options.contact = true;
  Session session;
  const bool agreed_early = !leg.Of(Fact::kLocalSdp).empty();
  if (!agreed_early) {
    session = offer != nullptr ? leg.peer.Answer(*offer) : leg.peer.Offer();
    options.session = &session;
    if (leg.stage == Stage::kNone) MaybeMove(leg.peer, false);
  }
  const std::string timer = MaybeTimer(false);
  if (!timer.empty()) options.extra.push_back(timer);
  const int id = Answer(leg, invite, 200, options);
  if (call_.first_2xx_us == 0) call_.first_2xx_us = now_us_;
  Reached(leg, Stage::kConfirmed, {id});
  Message as_seen = ResponseTo(invite.at_peer, 200, "");
  leg.chain.Return(&as_seen);
  leg.server_side.route_set.assign(as_seen.record_route.rbegin(), as_seen.record_route.rend());
  leg.record_route = as_seen.record_route;
  leg.server_side.target = leg.peer.contact;
  std::vector<std::vector<int>> proofs = {{id, invite.id}};
  // That there are no routes is shown by a peer that answers itself (rule 2.12).
  const bool answers_itself = leg.chain.Neighbour(true, true).empty() && leg.peer.gives_address();
  if (!as_seen.record_route.empty() || answers_itself) proofs.push_back({id});
  Record(leg, Fact::kRoute, Joined(leg.server_side.route_set), {id}, proofs, Change::By::kAnybody);
  Record(leg, Fact::kTarget, leg.peer.contact, {id}, {{id}});
  DoubtOfAttempts(leg, invite.id);
  TimerSet(leg, true, timer, id);
  if (!agreed_early && offer != nullptr) Agreed(leg, true, *offer, invite.id, session, id, {id});
  Session answer;
  const bool answers_in_ack = !agreed_early && offer == nullptr;
  if (answers_in_ack) answer = leg.server.Answer(session);
  const int ack = AckOf2xx(leg, invite, answers_in_ack ? &answer : nullptr);
  Reached(leg, Stage::kConfirmed, {ack});
  AlsoShown(leg, {Fact::kTimer}, ack, false);
  DoubtOfOpening(leg, invite.id, id, ack);
  if (!agreed_early) AlsoShown(leg, {Fact::kLocalSdp, Fact::kRemoteSdp}, ack, false);
  if (answers_in_ack) Agreed(leg, false, session, id, answer, ack, {ack}, Change::By::kServer);
}

// What nobody can tell without the first INVITE: whether an attempt before it was the one that was
// answered, and its 2xx that to a re-INVITE.
void Simulation::DoubtOfAttempts(Leg& leg, int invite) {
  for (const auto& [attempt, refused] : call_.attempts) {
    std::vector<int> known = refused;
    known.push_back(invite);
    Doubt(leg, {Fact::kRoute}, attempt, known);
  }
}

// Where only the ACK is left of it: whether it came before what was agreed on while it rang.
void Simulation::DoubtOfOpening(Leg& leg, int invite, int success, int ack) {
  std::vector<int> known = {invite, success};
  const int agreed = leg.Of(Fact::kLocalSdp).empty() ? 0 : leg.Of(Fact::kLocalSdp).back().success;
  for (const int id : leg.opening_shown) {
    if (id < agreed) known.push_back(id);
  }
  if (agreed > 0 && agreed != invite) Doubt(leg, kSessionFacts, ack, known);
}

void Simulation::PeerCalls() {
  std::uint32_t cseq = dice_.Chance(50) ? dice_.Range(1, 102) : dice_.Range(1, 40'000);
  const bool offers = !dice_.Chance(15);
  const Session offer = peer_.Offer();
  while (dice_.Chance(25)) {
    RefusedAttempt(cseq, offers ? &offer : nullptr);
    cseq += dice_.Range(1, 2);  // one may have been refused before it came here
  }
  Leg& leg = AddLeg(0);
  const std::string branch = Branch();
  Message invite = FirstInvite(cseq, branch, offers ? &offer : nullptr);
  const std::string timer_wish = MaybeTimer(true);
  if (!timer_wish.empty()) invite.extra.push_back(timer_wish);
  Transaction first;
  first.at_peer = invite;
  first.at_server = chain_.Forward(invite, true, true, branch);
  first.hop = Hop(chain_.Neighbour(false, true), peer_, false);
  Note note;
  note.first_invite = true;
  first.id = Capture(first.at_server, false, first.hop, note);
  leg.server_side.call_id = leg.peer_side.call_id = call_.call_id;
  leg.server_side.remote = leg.peer_side.local = invite.from;
  leg.server_side.local = leg.peer_side.remote = invite.to;
  leg.server_side.local.tag = leg.peer_side.remote.tag = server_.identity.tag;
  leg.peer_side.local_seq = cseq;
  leg.supported = SupportedAtFirst();
  leg.allow = kAllowAtFirst;
  leg.peer_side.target = leg.server.contact;
  leg.server_side.target = invite.contact;
  leg.server_side.route_set = leg.record_route = first.at_server.record_route;
  Message as_seen = ResponseTo(first.at_server, 200, "");
  chain_.Return(&as_seen);
  leg.peer_side.route_set.assign(as_seen.record_route.rbegin(), as_seen.record_route.rend());
  // Most servers begin where they like when they have sent nothing yet.
  const std::uint32_t own_start = dice_.Range(0, 30'000);
  leg.server_side.local_seq = own_start;
  if (dice_.Chance(70)) {
    call_.opening_trying = Capture(ResponseTo(first.at_server, 100, ""), true, first.hop, {});
  }
  if (!chain_.proxies.empty() && dice_.Chance(5)) {
    // The same INVITE by another path (rule 1.9).
    Message merged = first.at_server;
    merged.via.front() += "m";
    Capture(merged, false, first.hop, note);
    Capture(ResponseTo(merged, 482, "merged"), true, first.hop, {});
  }
  const auto created = [&](int id) {
    if (!leg.Of(Fact::kRoute).empty()) return;
    std::vector<std::vector<int>> proofs = {{first.id, id}};
    if (!first.at_server.record_route.empty()) proofs.push_back({id});
    Record(leg, Fact::kRoute, Joined(leg.server_side.route_set), {id}, proofs);
    Record(leg, Fact::kTarget, invite.contact, {id}, {{first.id, id}});
  };
  bool agreed = false;
  for (std::uint32_t rounds = dice_.Below(4); rounds > 0; --rounds) {
    if (agreed && dice_.Chance(50)) {
      Refresh(leg, dice_.Chance(50), true);
      continue;
    }
    AnswerOptions options;
    options.to_tag = server_.identity.tag;
    options.contact = true;
    const bool reliable = dice_.Chance(40);
    if (reliable) options.rseq = ++rseq_;
    Session answer;
    const bool describes = offers && !agreed && dice_.Chance(60);
    if (describes) {
      answer = leg.server.Answer(offer);
      options.session = &answer;
    }
    const int id = Answer(leg, first, dice_.Chance(50) ? 180 : 183, options);
    Reached(leg, Stage::kEarly, {id});
    created(id);
    if (!reliable) continue;
    if (describes) {
      Agreed(leg, false, offer, first.id, answer, id, {id});
      agreed = true;
    }
    Message prack = leg.peer_side.Request("PRACK");
    prack.extra.push_back("RAck: " + std::to_string(rseq_) + ' ' + std::to_string(cseq) +
                          " INVITE");
    const Transaction received = Send(leg, false, std::move(prack));
    leg.opening_shown.push_back(received.id);
    leg.opening_shown.push_back(Answer(leg, received, 200));
  }
  const std::uint32_t outcome = dice_.Below(100);
  if (outcome >= 88) {
    finished_ = true;
    int status = dice_.Pick(kFailures);
    if (outcome >= 94) {
      Cancelled(first, false);
      status = 487;
    }
    AnswerOptions options;
    options.to_tag = server_.identity.tag;
    Note over;
    over.over = true;
    const int id = Answer(leg, first, status, options, over);
    if (leg.stage == Stage::kEarly) {
      // Without the INVITE, this may have been a re-INVITE, and the call goes on.
      Reached(leg, Stage::kOver, {id, leg.early_id, first.id});
      leg.end = outcome >= 94 ? sip::DialogEnd::kCancelled : sip::DialogEnd::kInviteFailed;
    }
    AckOfFailure(leg, first, server_.identity.tag);
    return;
  }
  AnswerOptions options;
  options.to_tag = server_.identity.tag;
  options.contact = true;
  Session session;
  if (!agreed) {
    session = offers ? leg.server.Answer(offer) : leg.server.Offer();
    options.session = &session;
  }
  const std::string timer = MaybeTimer(false);
  if (!timer.empty()) options.extra.push_back(timer);
  const int id = Answer(leg, first, 200, options);
  call_.first_2xx_us = now_us_;
  created(id);
  if (!first.at_server.record_route.empty()) leg.Of(Fact::kRoute).back().proofs.push_back({id});
  DoubtOfAttempts(leg, first.id);
  Reached(leg, Stage::kConfirmed, {id});
  TimerSet(leg, false, timer, id);
  if (!agreed && offers) Agreed(leg, false, offer, first.id, session, id, {id});
  Session answer;
  const bool answers_in_ack = !agreed && !offers;
  if (answers_in_ack) answer = leg.peer.Answer(session);
  const int ack = AckOf2xx(leg, first, answers_in_ack ? &answer : nullptr);
  Reached(leg, Stage::kConfirmed, {ack, first.id});
  if (answers_in_ack) Agreed(leg, true, session, id, answer, ack, {ack}, Change::By::kPeer);
  AlsoShown(leg, {Fact::kTimer}, ack, false);
  DoubtOfOpening(leg, first.id, id, ack);
  if (!agreed) AlsoShown(leg, {Fact::kLocalSdp, Fact::kRemoteSdp}, ack, false);
}

}  // namespace sipheal::testing::generator
