// SPDX-License-Identifier: Apache-2.0
// A call between two users through proxies, with every message captured at every hop: one and the
// same call as both of its ends see it.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/dialog_state.h"

namespace sipheal::testing {

enum class Side { kCaller, kCallee };

inline Side Other(Side side) { return side == Side::kCaller ? Side::kCallee : Side::kCaller; }

class CallFlow {
 public:
  struct User {
    std::string address;  // "192.0.2.101:5060"
    std::string display;  // "Alice"
    std::string uri;      // "sip:alice@atlanta.example.com"
    std::string contact;  // URI
    std::string tag;
    unsigned cseq = 1;  // of its first request
  };
  // From the caller's side to the callee's.
  struct Proxy {
    std::string address;
    // What it puts into Record-Route, in the order in which a request of the caller passes them;
    // empty: it leaves the call after the first INVITE.
    std::vector<std::string> record_route;
  };
  struct Body {
    std::string sdp;
    std::string extra;  // header lines
  };
  // A request on its way, to be answered or cancelled.
  struct Sent {
    Side from = Side::kCaller;
    std::string method;
    unsigned cseq = 0;
    std::string branch;
    std::string from_tag;
    std::string to_tag;                     // empty: it began outside of a dialog
    std::vector<std::string> path;          // addresses, sender first
    std::vector<std::string> record_route;  // as the receiver sees it, topmost first
  };

  CallFlow(User caller, User callee, std::vector<Proxy> proxies,
           sip::Transport transport = sip::Transport::kUdp);

  User& user(Side side) { return users_[static_cast<std::size_t>(side)]; }
  const User& user(Side side) const { return users_[static_cast<std::size_t>(side)]; }

  // A request with the sender's next CSeq: in the dialog when the other side has a tag.
  Sent Send(Side from, const std::string& method, const Body& body = {});
  // One that gets no further than to the proxy of this number, which refuses it; with its ACK.
  void RefusedByProxy(Side from, const std::string& method, std::size_t proxy, int status,
                      const Body& body = {});
  // Provisional answers above 100 and 2xx carry tag, Contact and Record-Route.
  void Answer(const Sent& request, int status, const Body& body = {});
  // For a 2xx: a request of its own through the dialog's route. Otherwise hop by hop.
  void Ack(const Sent& invite, int status = 200, const Body& body = {});
  Sent Cancel(const Sent& invite);
  // Request, 200 and, for an INVITE, ACK.
  void Exchange(Side from, const std::string& method, const Body& offer = {},
                const Body& answer = {});

  // Who has to be passed by a request of this side, as URIs: its route set by RFC 3261 12.1.
  std::vector<std::string> RouteSet(Side side) const;
  // The addresses that it passes, without the sender's.
  std::vector<std::string> Path(Side side) const;

  // What the capture says to a server that is this side. `also`: more addresses of it.
  std::vector<sip::DialogState> SeenBy(Side side, const std::vector<std::string>& also = {}) const;
  std::string Sdp(Side side, int version, const std::string& direction = "sendrecv") const;

  std::vector<sip::CapturedMessage> messages;

 private:
  std::string Via(const Sent& request, std::size_t hop) const;
  std::string Parties(const Sent& request, const std::string& to_tag) const;
  void Pass(const Sent& request, const std::vector<std::string>& routes, const Body& body,
            bool records);
  void Capture(std::string text, const Body& body, const std::string& from, const std::string& to);
  Sent HopByHop(const Sent& invite, const std::string& method) const;
  Sent Next(Side from, const std::string& method);
  // An answer that goes back from the end of the request's path.
  void Return(const Sent& request, int status, const std::string& to_tag, const Body& body);

  std::array<User, 2> users_;
  std::vector<Proxy> proxies_;
  sip::Transport transport_;
  bool callee_is_known_ = false;  // the caller has its tag
  int branches_ = 0;
  std::int64_t now_us_ = 1'700'000'000'000'000;
};

// Fails unless the two states are one dialog seen from both ends.
void ExpectMirrored(const sip::DialogState& one, const sip::DialogState& other);

}  // namespace sipheal::testing
