// SPDX-License-Identifier: Apache-2.0
// The simulated call: what the parties do (call_setup.cc, call_actions.cc), and the interface of
// the server, at which it is captured (simulation.cc).
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/sip/generator/call.h"

namespace sipheal::testing::generator {

inline const std::vector<Fact> kSessionFacts = {Fact::kLocalSdp, Fact::kRemoteSdp,
                                                Fact::kHeldByLocal, Fact::kHeldByRemote};

bool IsRefresh(const std::string& method);

// The server died: nothing is captured any more. Ends the simulation.
struct ServerDied {};

// A request on its way, as both ends see it.
struct Transaction {
  bool by_server = false;
  Message at_server;
  Message at_peer;
  std::string hop;  // next to the server
  int id = 0;

  const Message& received() const { return by_server ? at_peer : at_server; }
};

struct AnswerOptions {
  bool contact = false;
  const Session* session = nullptr;
  std::string to_tag;
  std::vector<std::string> extra;
  std::string other_contact;
  std::uint32_t rseq = 0;
};

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed);
  GeneratedCall Run();

 private:
  // --- simulation.cc: the world, and the capture ---
  void MakeWorld();
  void MakeProxies();
  void MakeReferences();
  UserAgent MakeUserAgent(bool is_server);
  // As it stands in the capture who is next to the server: this proxy, or else the peer. Over a
  // connection, the port is that of whoever opened it, which is another each time.
  std::string Hop(const std::string& proxy, const UserAgent& peer, bool by_server);
  // The server's end of the connection to such a hop.
  std::string OwnEnd(const std::string& hop) const;
  std::string OddHost(const UserAgent& agent, bool is_server);
  std::string MakeUri(const std::string& user, const std::string& host);
  Leg& AddLeg(int like);
  int LegNumber(const Leg& leg) const;
  UserAgent& Agent(Leg& leg, bool server) { return server ? leg.server : leg.peer; }
  Dialog& DialogOf(Leg& leg, bool server) { return server ? leg.server_side : leg.peer_side; }
  // Writes one message into the capture, perhaps more than once. Throws ServerDied.
  int Capture(const Message& message, bool sent, const std::string& hop, Note note);
  std::string Branch() { return "z9hG4bK" + dice_.Hex(12); }
  std::string ViaOf(const UserAgent& agent, const std::string& branch) const;
  Transaction Send(Leg& leg, bool by_server, Message request, Note note = {});
  LedgerEntry& EntryOf(Leg& leg, const Transaction& transaction);
  void Heard(Leg& leg, const Transaction& transaction, int id);
  void Says(Leg& leg, Message* message);
  // In the dialog. The request has its Contact and session already.
  int Answer(Leg& leg, const Transaction& request, int status, const AnswerOptions& options = {},
             Note note = {});
  // Of a 2xx: a request of its own.
  int AckOf2xx(Leg& leg, const Transaction& invite, const Session* session);
  // Of a failure: the branch and route of the INVITE.
  int AckOfFailure(Leg& leg, const Transaction& invite, const std::string& to_tag);
  void Pause(std::uint32_t low_us, std::uint32_t high_us) {
    now_us_ += dice_.Range(low_us, high_us);
  }
  void Tell(std::string line) { call_.story.push_back(std::move(line)); }

  // --- changes.cc: what the server's user agent concludes ---
  void Record(Leg& leg, Fact fact, std::string value, std::vector<int> traces,
              std::vector<std::vector<int>> proofs, Change::By implied_by = {});
  void Reached(Leg& leg, Stage stage, std::vector<int> proof);
  // A completed offer and answer. `offer_id` may be that of a response; `done`: what shows that it
  // was completed.
  void Agreed(Leg& leg, bool by_server, const Session& offer, int offer_id, const Session& answer,
              int answer_id, const std::vector<int>& done, Change::By implied_by = {});
  void TimerSet(Leg& leg, bool by_server, const std::string& extra, int id);
  // More messages that show what changed last: an ACK.
  void AlsoShown(Leg& leg, const std::vector<Fact>& facts, int id, bool proves_target);
  void ShowsRouteAndTarget(Leg& leg, const std::string& method, int id);
  void GoesOn(Leg& leg, bool by_server, int id);
  void IsConfirmed(Leg& leg, int id);
  void Doubt(Leg& leg, const std::vector<Fact>& facts, int trace,
             const std::vector<int>& dispelled_by);

  // --- call_setup.cc ---
  void ServerCalls();
  void PeerCalls();
  bool RingingToServer(Leg& leg, const Transaction& invite, const Session* offer);
  void AnsweredToServer(Leg& leg, const Transaction& invite, const Session* offer);
  void RefusedAttempt(std::uint32_t cseq, const Session* offer);
  std::string SupportedAtFirst() const {
    return renames_ ? "timer, 100rel, from-change" : "timer, 100rel";
  }
  Message FirstInvite(std::uint32_t cseq, const std::string& branch, const Session* offer);
  void FirstInviteAt(Leg& leg, const Message& invite, Transaction* transaction);
  void DoubtOfAttempts(Leg& leg, int invite);
  void DoubtOfOpening(Leg& leg, int invite, int success, int ack);
  void Cancelled(const Transaction& invite, bool by_server);

  // --- call_actions.cc: within the dialog ---
  void Act(Leg& leg);
  void Refresh(Leg& leg, bool by_server, bool update);
  std::pair<Transaction, Session> SendOffer(Leg& leg, bool by_server, const char* method);
  void LongReinvite(Leg& leg, bool by_server);
  void UpdateWithin(Leg& leg, bool by_server);
  void RolledBack(Leg& leg, const Leg& before, const Transaction& failed, int failure, int ack);
  void Glare(Leg& leg);
  void Plain(Leg& leg, bool by_server);
  void OutOfOrder(Leg& leg);
  void Hangup(Leg& leg, bool by_server);
  void KilledBy481(Leg& leg);
  void MaybeMove(UserAgent& agent, bool may_change_host);
  std::string MaybeTimer(bool request);

  // --- subscriptions.cc: within the dialog, by REFER and SUBSCRIBE ---
  void Refer(Leg& leg, bool by_server);
  void Subscribe(Leg& leg, bool by_server);
  bool AskFor(Leg& leg, std::size_t which, const std::string& expires);
  void Notify(Leg& leg, std::size_t which, const std::string& event, const std::string& state,
              Note note);
  void SubscribeAlone();
  void TargetRefreshed(Leg& leg, const Transaction& request, int answer, bool has_contact);

  // --- forger.cc ---
  void Forge();
  void AddForged(const Message& message, bool sent, const std::string& hop, std::int64_t time_us);
  Copy& AddCopy(const Message& message, bool sent, const std::string& hop, std::int64_t time_us,
                const Style& style);
  void Lose();

  Dice dice_;
  Dice wide_;  // what came later draws from here: who replays a seed finds the call that it was
  Dice odd_;   // and what came later still
  GeneratedCall call_;
  std::int64_t now_us_;
  int budget_ = 0;
  bool ipv6_ = false;
  bool websocket_ = false;
  bool subscribes_ = false;  // there are subscriptions besides those of REFER
  bool renames_ = false;     // both sides know of changed identities (RFC 4916)
  bool secure_ = false;      // the parties name each other by sips: URIs
  bool finished_ = false;
  sip::Transport transport_ = sip::Transport::kUdp;
  UserAgent server_;
  UserAgent peer_;
  ProxyChain chain_;
  Style proxy_style_;
  std::string first_branch_;
  std::vector<std::string> references_;  // header lines of the first INVITE
  std::string media_security_;           // lines of every session description
  struct Connection {
    std::string hop;
    std::string own;
  };
  std::map<std::string, Connection> connections_;  // the last with whoever listens there
  std::uint32_t rseq_ = 0;
};

}  // namespace sipheal::testing::generator
