// SPDX-License-Identifier: Apache-2.0
// What the server's own user agent concludes from each message, and which messages show it.
#include "tests/sip/generator/simulation.h"

namespace sipheal::testing::generator {

void Simulation::Record(Leg& leg, Fact fact, std::string value, std::vector<int> traces,
                        std::vector<std::vector<int>> proofs, Change::By implied_by) {
  leg.Of(fact).push_back(
      {std::move(value), std::move(traces), std::move(proofs), {}, implied_by, -1, {}});
}

void Simulation::Reached(Leg& leg, Stage stage, std::vector<int> proof) {
  if (stage > leg.stage) leg.stage = stage;
  if (leg.early_id < 0) leg.early_id = proof.front();
  if (stage == Stage::kConfirmed) leg.was_confirmed = true;
  if (leg.was_confirmed && leg.confirmed_us == 0) leg.confirmed_us = now_us_;
  leg.stages.push_back({stage, std::move(proof), true});
}

void Simulation::Agreed(Leg& leg, bool by_server, const Session& offer, int offer_id,
                        const Session& answer, int answer_id, const std::vector<int>& done,
                        Change::By implied_by) {
  const std::vector<int> both = {offer_id, answer_id};
  leg.resync = false;
  const auto agreed = [&](Fact fact, std::string value) {
    Record(leg, fact, std::move(value), done, {both}, implied_by);
    leg.Of(fact).back().success = offer_id;
  };
  const Fact offerer = by_server ? Fact::kLocalSdp : Fact::kRemoteSdp;
  const Fact answerer = by_server ? Fact::kRemoteSdp : Fact::kLocalSdp;
  agreed(offerer, offer.Key());
  agreed(answerer, answer.Key());
  agreed(by_server ? Fact::kHeldByLocal : Fact::kHeldByRemote,
         offer.AsksForHold() ? "held" : "not held");
  // An answer can only narrow the offer: it shows a wish where the offer leaves it one.
  const bool receives = offer.direction == Media::kSendOnly && answer.direction == Media::kRecvOnly;
  if ((offer.direction == Media::kSendRecv && !offer.zero_connection) || receives) {
    agreed(by_server ? Fact::kHeldByRemote : Fact::kHeldByLocal,
           answer.AsksForHold() ? "held" : "not held");
  }
}

void Simulation::TimerSet(Leg& leg, bool by_server, const std::string& extra, int id) {
  std::string value = "off";
  const std::size_t colon = extra.find(": ");
  if (colon != std::string::npos) {
    const std::size_t semicolon = extra.find(';');
    const bool uac = extra.find("refresher=uac") != std::string::npos;
    const bool said = semicolon != std::string::npos;
    // Nobody named: the server had better refresh.
    value = extra.substr(colon + 2, said ? semicolon - colon - 2 : std::string::npos) +
            (!said || uac == by_server ? " by the server" : " by the peer");
  }
  leg.timer_since = now_us_;
  leg.timer_seconds = value == "off" ? 0 : std::stol(value);
  leg.timer_by_server = value.ends_with("by the server");
  Record(leg, Fact::kTimer, value, {id}, {{id}});
}

void Simulation::AlsoShown(Leg& leg, const std::vector<Fact>& facts, int id, bool proves_target) {
  for (const Fact fact : facts) {
    if (leg.Of(fact).empty()) continue;
    Change& last = leg.Of(fact).back();
    last.traces.push_back(id);
    if (fact == Fact::kTarget && proves_target) last.proofs.push_back({id});
  }
}

// Of a refused INVITE only the ACK may be left, which may then as well have been that for a 2xx.
void Simulation::Doubt(Leg& leg, const std::vector<Fact>& facts, int trace,
                       const std::vector<int>& dispelled_by) {
  for (const Fact fact : facts) {
    std::vector<Change>& changes = leg.Of(fact);
    if (changes.empty()) continue;
    Change doubt;
    doubt.value = changes.back().value;
    doubt.traces = {trace};
    doubt.dispelled_by = dispelled_by;
    changes.push_back(std::move(doubt));
  }
}

// The server's own requests in the dialog show both.
void Simulation::ShowsRouteAndTarget(Leg& leg, const std::string& method, int id) {
  for (const Fact fact : {Fact::kRoute, Fact::kTarget}) {
    // An UPDATE may be one of the time when it rang, and the route another since.
    if (leg.Of(fact).empty() || (fact == Fact::kRoute && method == "UPDATE")) continue;
    leg.Of(fact).back().traces.push_back(id);
    leg.Of(fact).back().proofs.push_back({id});
  }
}

}  // namespace sipheal::testing::generator
