// SPDX-License-Identifier: Apache-2.0
// A re-INVITE that takes its time: its offer is answered in a reliable provisional answer, perhaps
// another is made within it, and then it succeeds or fails (RFC 6141 3, rules 4.3 and 6.6).
#include "tests/sip/generator/simulation.h"

namespace sipheal::testing::generator {

// The session is what it was before the re-INVITE.
void Simulation::RolledBack(Leg& leg, const Leg& before, const Transaction& failed, int failure,
                            int ack) {
  for (const Fact fact : kSessionFacts) {
    Change back;
    back.value = before.Of(fact).empty() ? "not held" : before.Of(fact).back().value;
    back.proofs = {{failed.id, failure}};
    back.traces = {failure};
    if (ack >= 0) back.traces.push_back(ack);
    back.back_to = static_cast<int>(before.Of(fact).size());
    leg.Of(fact).push_back(std::move(back));
  }
}

// A request that offers a new description, and its sender's Contact.
std::pair<Transaction, Session> Simulation::SendOffer(Leg& leg, bool by_server,
                                                      const char* method) {
  UserAgent& agent = Agent(leg, by_server);
  Message request = DialogOf(leg, by_server).Request(method);
  request.contact = agent.contact;
  ++agent.session.version;
  Session offer = agent.Offer();
  request.sdp = offer.Text();
  Note note;
  if (by_server) note.sdp_version = offer.version;
  const Transaction sent = Send(leg, by_server, request, note);
  if (!by_server) leg.pending_target = agent.contact;
  return {sent, std::move(offer)};
}

void Simulation::LongReinvite(Leg& leg, bool by_server) {
  UserAgent& agent = Agent(leg, by_server);
  UserAgent& other = Agent(leg, !by_server);
  Leg before;
  before.history = leg.history;
  const bool held = agent.holds;
  MaybeMove(agent, false);
  if (dice_.Chance(30)) agent.holds = !agent.holds;
  const auto [sent, offer] = SendOffer(leg, by_server, "INVITE");
  if (dice_.Chance(50)) Answer(leg, sent, 100);

  MaybeMove(other, false);
  AnswerOptions options;
  options.contact = true;
  options.rseq = ++rseq_;
  const Session answer = other.Answer(offer);
  options.session = &answer;
  const int progress = Answer(leg, sent, 183, options);
  leg.pending_target.clear();
  // A reliable provisional answer refreshes both targets, whatever comes of the rest.
  DialogOf(leg, by_server).target = other.contact;
  DialogOf(leg, !by_server).target = agent.contact;
  Record(leg, Fact::kTarget, by_server ? other.contact : agent.contact, {progress},
         {by_server ? std::vector<int>{progress} : std::vector<int>{sent.id, progress}});
  Agreed(leg, by_server, offer, sent.id, answer, progress, {progress});
  const std::size_t target = leg.Of(Fact::kTarget).size() - 1;
  const std::size_t own = leg.Of(Fact::kLocalSdp).size() - 1;
  const std::size_t theirs = leg.Of(Fact::kRemoteSdp).size() - 1;
  Message prack = DialogOf(leg, by_server).Request("PRACK");
  prack.extra.push_back("RAck: " + std::to_string(rseq_) + ' ' +
                        std::to_string(sent.at_server.cseq) + " INVITE");
  const Transaction acknowledged = Send(leg, by_server, std::move(prack));
  if (by_server) EntryOf(leg, sent).reliable.back().second = acknowledged.id;
  const int acknowledged_by = Answer(leg, acknowledged, 200);
  const bool again = dice_.Chance(40);
  if (again) UpdateWithin(leg, dice_.Chance(50));

  if (dice_.Chance(40)) {
    static constexpr int kRefusals[] = {488, 403, 500, 504};
    const int failure = Answer(leg, sent, dice_.Pick(kRefusals));
    agent.holds = held;
    leg.resync = true;
    int ack = -1;
    if (static_cast<int>(call_.notes.size()) < budget_) ack = AckOfFailure(leg, sent, "");
    RolledBack(leg, before, sent, failure, ack);
    if (ack >= 0) Doubt(leg, {Fact::kTimer, Fact::kTarget}, ack, {sent.id, failure});
    return;
  }
  AnswerOptions accepted;
  accepted.contact = true;
  const std::string timer = MaybeTimer(false);
  if (!timer.empty()) accepted.extra.push_back(timer);
  const int id = Answer(leg, sent, 200, accepted);
  Reached(leg, Stage::kConfirmed, {id});
  if (by_server) {
    Record(leg, Fact::kTarget, other.contact, {id}, {{id}});
  } else {
    // What the peer said in its INVITE is in force since the provisional answer, and not again.
    leg.Of(Fact::kTarget)[target].traces.push_back(id);
    leg.Of(Fact::kTarget)[target].proofs.push_back({sent.id, id});
    // But without it, that may be in force only since this one.
    if (again) Doubt(leg, {Fact::kTarget}, id, {sent.id, progress});
  }
  TimerSet(leg, by_server, timer, id);
  const auto shows = [&](int message) {
    leg.Of(Fact::kLocalSdp)[own].traces.push_back(message);
    leg.Of(Fact::kRemoteSdp)[theirs].traces.push_back(message);
  };
  shows(id);
  // Or, where nothing shows that it had begun, in force since this one.
  if (again) Doubt(leg, kSessionFacts, id, {sent.id, progress, acknowledged.id, acknowledged_by});
  const int ack = AckOf2xx(leg, sent, nullptr);
  shows(ack);
  // That there was a 2xx, shows by its ACK, too; unless that came from a host that is not known.
  if (!by_server && !leg.peer_changed_host) leg.Of(Fact::kTarget)[target].traces.push_back(ack);
  if (again && !by_server) Doubt(leg, {Fact::kTarget}, ack, {sent.id, progress, id});
  AlsoShown(leg, {Fact::kTimer, Fact::kTarget}, ack, false);
  Doubt(leg, kSessionFacts, ack, {sent.id, progress, id});
}

void Simulation::UpdateWithin(Leg& leg, bool by_server) {
  UserAgent& agent = Agent(leg, by_server);
  UserAgent& other = Agent(leg, !by_server);
  const auto [sent, offer] = SendOffer(leg, by_server, "UPDATE");
  AnswerOptions options;
  options.contact = true;
  const Session answer = other.Answer(offer);
  options.session = &answer;
  const std::string timer = MaybeTimer(false);
  if (!timer.empty()) options.extra.push_back(timer);
  const int id = Answer(leg, sent, 200, options);
  leg.pending_target.clear();
  Record(leg, Fact::kTarget, by_server ? other.contact : agent.contact, {id},
         {by_server ? std::vector<int>{id} : std::vector<int>{sent.id, id}});
  TimerSet(leg, by_server, timer, id);
  Agreed(leg, by_server, offer, sent.id, answer, id, {id});
}

}  // namespace sipheal::testing::generator
