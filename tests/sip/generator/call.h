// SPDX-License-Identifier: Apache-2.0
// A random call between a server and its peers, as the server's interface saw it until the server
// died, and all that is true about its dialogs by then. A pure function of the seed.
//
// The truth is what the server's own user agent knows (user_agent.h), not what anybody concludes
// from the capture. For captures with holes, each message is noted with what it proves, so that it
// can be told what is still to be known without it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/dialog_state.h"
#include "sipheal/sip/server_identity.h"
#include "tests/sip/generator/dice.h"
#include "tests/sip/generator/proxy.h"
#include "tests/sip/generator/user_agent.h"

namespace sipheal::testing::generator {

// A transaction as it really was. Messages are numbered as in GeneratedCall::notes; -1: there was
// none.
struct LedgerEntry {
  int leg = 0;
  std::string method;
  std::uint32_t cseq = 0;
  bool by_server = false;
  int request = -1;
  std::vector<int> provisional;
  int final = -1;
  int status = 0;  // of the final answer
  int ack = -1;    // of a 2xx to an INVITE
  int refusal_ack = -1;
  std::string hop;      // next to the server
  std::string contact;  // of the request
  // The peer's reliable provisional answers, and the PRACK for each.
  std::vector<std::pair<int, int>> reliable;
};

enum class Stage { kNone, kEarly, kConfirmed, kOver };

inline constexpr int kAllLegs = -1;

// What one message proves about the dialog (leg) that it belongs to.
struct Note {
  int leg = kAllLegs;
  std::uint32_t local_seq = 0;    // the server used this number
  std::uint32_t remote_seq = 0;   // the server accepted this number
  std::uint64_t sdp_version = 0;  // the server wrote this version
  bool over = false;              // the dialog is over or ending
  bool sent = false;              // by the server
  bool first_invite = false;
  bool reliable = false;   // a provisional answer with a number of its own (RFC 3262)
  bool described = false;  // an answer with a session description
};

// Facts that replace each other in the course of the dialog.
enum class Fact { kRoute, kTarget, kLocalSdp, kRemoteSdp, kHeldByLocal, kHeldByRemote, kTimer };
inline constexpr std::size_t kFactCount = 7;

// One such replacement. Messages are numbered as in GeneratedCall::notes.
struct Change {
  std::string value;
  // Whoever sees one of these knows that there was a change.
  std::vector<int> traces;
  // Whoever sees all of one of these sets knows the value.
  std::vector<std::vector<int>> proofs;
  // Not a change, but a trace that may be taken for one, unless one of these is seen.
  std::vector<int> dispelled_by;
  // Whoever sees the 2xx of this number and a later request of this side knows that the ACK, the
  // last message of the change, was sent. Of kAnybody the later request alone is enough.
  enum class By { kNobody, kServer, kPeer, kAnybody } implied_by = By::kNobody;
  int success = -1;
  std::vector<int> later;
  // A failed re-INVITE: what holds is what held after so many changes; -1: none of that kind. Its
  // traces show that, its one proof that nothing is in doubt.
  int back_to = -1;
};

// A subscription within the dialog, as both sides know it.
struct Subscription {
  std::string event;
  std::string id;
  bool by_server = false;  // it subscribes
  bool active = false;
  bool over = false;
  std::int64_t expires_us = 0;  // 0: not said
};

// Who a party is since some time. Whoever sees all of one of these sets knows it.
struct Naming {
  Party party;
  std::vector<std::vector<int>> shown;
};

// One dialog of the call: the server's with one peer.
struct Leg {
  UserAgent server;
  UserAgent peer;
  ProxyChain chain;
  Dialog server_side;
  Dialog peer_side;
  Stage stage = Stage::kNone;
  sip::DialogEnd end = sip::DialogEnd::kNone;
  bool was_confirmed = false;
  bool peer_changed_host = false;  // what it says unanswered is not believed any more (rule 12.2)
  std::int64_t timer_since = 0;
  std::string pending_target;
  bool pair_is_open = false;  // an offer without its answer: the other side must not offer
  std::array<std::vector<Change>, kFactCount> history;
  struct StageProof {
    Stage stage;
    std::vector<int> messages;
    bool shows_dialog = true;
  };
  std::vector<StageProof> stages;
  int early_id = -1;  // the message that began it
  // What shows that the first INVITE was on its way: its answers, and the numbers above its own.
  std::vector<int> opening_shown;
  std::int64_t confirmed_us = 0;
  std::int64_t timer_seconds = 0;  // of the last 2xx to an INVITE or UPDATE; 0: no timer
  bool timer_by_server = false;
  std::uint32_t min_interval = 0;  // the highest Min-SE of what both sides took
  std::string supported;           // as the peer last said
  std::string allow;
  std::string local_target;               // the server's last Contact
  std::vector<std::string> record_route;  // of the message that made the dialog
  bool second_contact = false;            // an answer of the peer named another one, too
  std::vector<std::string> redirects;     // where a 3xx to the server's last re-INVITE pointed
  std::string first_ip;                   // of the peer
  std::string last_hop;                   // where the server last sent a request in the dialog to
  std::string heard_from;  // where the newest message of the peer that was accepted came from
  std::int64_t heard_us = 0;
  std::vector<Subscription> subscriptions;
  std::vector<Naming> local_names;  // the last one counts (RFC 4916)
  std::vector<Naming> remote_names;
  bool resync = false;  // a re-INVITE failed after a part of it was carried out

  std::vector<Change>& Of(Fact fact) { return history[static_cast<std::size_t>(fact)]; }
  const std::vector<Change>& Of(Fact fact) const { return history[static_cast<std::size_t>(fact)]; }
};

struct Copy {
  int note = -1;        // -1: no message of the call
  bool forged = false;  // somebody made it up
  sip::CapturedMessage message;
};

struct GeneratedCall {
  std::uint64_t seed = 0;
  bool server_called = false;  // it is the UAC
  std::uint32_t loss_percent = 0;
  bool forged = false;
  bool flooded = false;
  bool forged_2xx = false;  // to the first INVITE
  std::string call_id;
  std::vector<std::unique_ptr<Leg>> legs;
  std::vector<Note> notes;
  std::vector<std::int64_t> times;  // by note
  std::vector<std::string> hops;    // by note: where it came from or went to
  std::vector<int> statuses;        // by note; 0: a request
  // By note: the hosts that its Contact and Record-Route name by address.
  std::vector<std::vector<std::string>> named_hosts;
  std::vector<LedgerEntry> ledger;
  int opening_trying = -1;  // the 100 to the first INVITE
  sip::Transport transport = sip::Transport::kUdp;
  bool connects = false;       // whoever opens a connection has a port of its own for it
  bool secure = false;         // RFC 3261 12.1
  std::vector<Copy> copies;    // in the order of capture; what was lost is gone
  std::vector<bool> survives;  // by note
  std::int64_t first_2xx_us = 0;
  std::int64_t end_us = 0;
  sip::ServerIdentity server;
  // Attempts before the first INVITE: each INVITE or its 100, and what shows that it was refused.
  std::vector<std::pair<int, std::vector<int>>> attempts;
  // Tags of both sides of a subscription in a dialog of its own; empty: there is none.
  std::set<std::string> subscription_tags;
  sip::DialogReferences references;   // of the first INVITE
  sip::MediaSecurity media_security;  // of every session description
  std::vector<std::string> story;     // what happened, in words

  std::vector<sip::CapturedMessage> Messages() const;
};

GeneratedCall Generate(std::uint64_t seed);

}  // namespace sipheal::testing::generator
