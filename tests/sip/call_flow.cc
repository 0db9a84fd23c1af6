// SPDX-License-Identifier: Apache-2.0
#include "tests/sip/call_flow.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>

#include "sipheal/sip/server_identity.h"

namespace sipheal::testing {
namespace {

const char* const kCallId = "3848276298220188511@atlanta.example.com";

std::string Upper(std::string_view text) {
  std::string upper(text);
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return upper;
}

bool Refreshes(const std::string& method) { return method == "INVITE" || method == "UPDATE"; }

}  // namespace

CallFlow::CallFlow(User caller, User callee, std::vector<Proxy> proxies, sip::Transport transport)
    : users_{std::move(caller), std::move(callee)},
      proxies_(std::move(proxies)),
      transport_(transport) {}

std::vector<std::string> CallFlow::RouteSet(Side side) const {
  std::vector<std::string> routes;
  for (const Proxy& proxy : proxies_) {
    routes.insert(routes.end(), proxy.record_route.begin(), proxy.record_route.end());
  }
  if (side == Side::kCallee) std::reverse(routes.begin(), routes.end());
  return routes;
}

std::vector<std::string> CallFlow::Path(Side side) const {
  std::vector<std::string> path;
  for (const Proxy& proxy : proxies_) {
    if (!proxy.record_route.empty()) path.push_back(proxy.address);
  }
  if (side == Side::kCallee) std::reverse(path.begin(), path.end());
  path.push_back(user(Other(side)).address);
  return path;
}

std::string CallFlow::Via(const Sent& request, std::size_t hop) const {
  std::string text;
  for (std::size_t i = hop + 1; i-- > 0;) {
    text += "Via: SIP/2.0/" + Upper(sip::ToString(transport_)) + " " + request.path[i] +
            ";branch=" + request.branch + "." + std::to_string(i) + "\r\n";
  }
  return text;
}

std::string CallFlow::Parties(const Sent& request, const std::string& to_tag) const {
  const auto party = [](const User& user, const std::string& tag) {
    return (user.display.empty() ? "" : user.display + " ") + "<" + user.uri + ">" +
           (tag.empty() ? "" : ";tag=" + tag) + "\r\n";
  };
  return "From: " + party(user(request.from), request.from_tag) +
         "To: " + party(user(Other(request.from)), to_tag) + "Call-ID: " + kCallId +
         "\r\nCSeq: " + std::to_string(request.cseq) + " " + request.method + "\r\n";
}

void CallFlow::Capture(std::string text, const Body& body, const std::string& from,
                       const std::string& to) {
  text += body.extra;
  if (!body.sdp.empty()) text += "Content-Type: application/sdp\r\n";
  text += "Content-Length: " + std::to_string(body.sdp.size()) + "\r\n\r\n" + body.sdp;
  sip::CapturedMessage message;
  message.bytes = std::move(text);
  message.source = *sip::Endpoint::Parse(from);
  message.destination = *sip::Endpoint::Parse(to);
  message.transport = transport_;
  message.time = sip::CaptureTime(std::chrono::microseconds(now_us_));
  message.sequence = messages.size() + 1;
  now_us_ += 5'000;
  messages.push_back(std::move(message));
}

// Hop by hop, as RFC 3261 16.6 does it: each proxy takes itself out of Route, and writes itself
// into Via and, when it stays, into Record-Route.
void CallFlow::Pass(const Sent& request, const std::vector<std::string>& routes, const Body& body,
                    bool records) {
  std::vector<std::string> recorded;
  std::vector<std::string> left = routes;
  const User& receiver = user(Other(request.from));
  const std::string uri = request.to_tag.empty() ? receiver.uri : receiver.contact;
  for (std::size_t hop = 0; hop + 1 < request.path.size(); ++hop) {
    for (const Proxy& proxy : proxies_) {
      if (hop == 0 || proxy.address != request.path[hop]) continue;
      std::vector<std::string> own = proxy.record_route;
      if (request.from == Side::kCallee) std::reverse(own.begin(), own.end());
      if (!routes.empty()) {
        left.erase(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(own.size()));
      }
      if (!records) continue;
      for (const std::string& one : own) recorded.insert(recorded.begin(), one);
    }
    // The last proxy of the first INVITE knows where the called user is (RFC 3261 16.5).
    const bool last = hop + 2 == request.path.size();
    std::string text =
        request.method + " " + (last ? receiver.contact : uri) + " SIP/2.0\r\n" + Via(request, hop);
    for (const std::string& route : left) text += "Route: <" + route + ">\r\n";
    for (const std::string& one : recorded) text += "Record-Route: <" + one + ">\r\n";
    text += "Max-Forwards: " + std::to_string(70 - hop) + "\r\n" + Parties(request, request.to_tag);
    if (Refreshes(request.method)) text += "Contact: <" + user(request.from).contact + ">\r\n";
    Capture(std::move(text), body, request.path[hop], request.path[hop + 1]);
  }
}

CallFlow::Sent CallFlow::Next(Side from, const std::string& method) {
  Sent request;
  request.from = from;
  request.method = method;
  request.cseq = user(from).cseq++;
  request.branch = "z9hG4bK" + std::to_string(++branches_);
  request.from_tag = user(from).tag;
  request.path = {user(from).address};
  return request;
}

CallFlow::Sent CallFlow::Send(Side from, const std::string& method, const Body& body) {
  Sent request = Next(from, method);
  std::vector<std::string> routes;
  if (from == Side::kCallee || callee_is_known_) {
    request.to_tag = user(Other(from)).tag;
    routes = RouteSet(from);
    const std::vector<std::string> path = Path(from);
    request.path.insert(request.path.end(), path.begin(), path.end());
  } else {
    for (const Proxy& proxy : proxies_) request.path.push_back(proxy.address);
    request.path.push_back(user(Other(from)).address);
  }
  if (Refreshes(method)) {
    request.record_route = RouteSet(from);
    std::reverse(request.record_route.begin(), request.record_route.end());
  }
  Pass(request, routes, body, Refreshes(method));
  return request;
}

void CallFlow::RefusedByProxy(Side from, const std::string& method, std::size_t proxy, int status,
                              const Body& body) {
  Sent request = Next(from, method);
  for (std::size_t i = 0; i <= proxy; ++i) request.path.push_back(proxies_[i].address);
  Pass(request, {}, body, true);
  const std::string tag = "of-proxy-" + std::to_string(proxy);
  Return(request, status, tag, {});
  Sent ack = HopByHop(request, "ACK");
  ack.to_tag = tag;
  Pass(ack, {}, {}, false);
}

void CallFlow::Answer(const Sent& request, int status, const Body& body) {
  if (status > 100 && status < 300 && Refreshes(request.method)) callee_is_known_ = true;
  Return(request, status, status > 100 ? user(Other(request.from)).tag : request.to_tag, body);
}

void CallFlow::Return(const Sent& request, int status, const std::string& to_tag,
                      const Body& body) {
  const bool of_dialog = status > 100 && status < 300 && Refreshes(request.method);
  for (std::size_t hop = request.path.size() - 1; hop-- > 0;) {
    std::string text = "SIP/2.0 " + std::to_string(status) + " Text\r\n" + Via(request, hop);
    if (of_dialog) {
      for (const std::string& one : request.record_route) {
        text += "Record-Route: <" + one + ">\r\n";
      }
      text += "Contact: <" + user(Other(request.from)).contact + ">\r\n";
    }
    text += Parties(request, to_tag);
    Capture(std::move(text), body, request.path[hop + 1], request.path[hop]);
    if (status == 100) break;  // stays between two neighbours
  }
}

CallFlow::Sent CallFlow::HopByHop(const Sent& invite, const std::string& method) const {
  Sent request = invite;
  request.method = method;
  request.record_route.clear();
  return request;
}

void CallFlow::Ack(const Sent& invite, int status, const Body& body) {
  Sent ack = HopByHop(invite, "ACK");
  ack.to_tag = user(Other(invite.from)).tag;
  if (status >= 300) {
    Pass(ack, {}, body, false);
    return;
  }
  ack.branch = "z9hG4bK" + std::to_string(++branches_);
  ack.path = {user(invite.from).address};
  const std::vector<std::string> path = Path(invite.from);
  ack.path.insert(ack.path.end(), path.begin(), path.end());
  Pass(ack, RouteSet(invite.from), body, false);
}

CallFlow::Sent CallFlow::Cancel(const Sent& invite) {
  const Sent cancel = HopByHop(invite, "CANCEL");
  Pass(cancel, {}, {}, false);
  return cancel;
}

void CallFlow::Exchange(Side from, const std::string& method, const Body& offer,
                        const Body& answer) {
  const Sent request = Send(from, method, offer);
  Answer(request, 200, answer);
  if (method == "INVITE") Ack(request);
}

std::vector<sip::DialogState> CallFlow::SeenBy(Side side,
                                               const std::vector<std::string>& also) const {
  sip::ServerIdentity server;
  std::vector<std::string> addresses = also;
  addresses.push_back(user(side).address);
  for (const std::string& address : addresses) {
    const sip::Endpoint endpoint = *sip::Endpoint::Parse(address);
    server.addresses.push_back({endpoint.ip, endpoint.port, sip::Transport::kUnknown});
  }
  return sip::Rebuild(messages, server);
}

std::string CallFlow::Sdp(Side side, int version, const std::string& direction) const {
  const std::string ip = sip::Endpoint::Parse(user(side).address)->ip.ToString();
  return "v=0\r\no=" + std::string(side == Side::kCaller ? "alice" : "bob") + " 2890844526 " +
         std::to_string(version) + " IN IP4 " + ip + "\r\ns=-\r\nc=IN IP4 " + ip +
         "\r\nt=0 0\r\nm=audio 49172 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=" + direction + "\r\n";
}

void ExpectMirrored(const sip::DialogState& one, const sip::DialogState& other) {
  using sip::DialogEnd;
  using sip::DialogRole;
  EXPECT_EQ(one.call_id, other.call_id);
  EXPECT_EQ(one.local, other.remote);
  EXPECT_EQ(one.remote, other.local);
  EXPECT_EQ(one.role == DialogRole::kUac, other.role == DialogRole::kUas);
  EXPECT_EQ(one.role == DialogRole::kUas, other.role == DialogRole::kUac);
  EXPECT_EQ(one.phase, other.phase);
  const auto mirrored = [](DialogEnd end) {
    if (end == DialogEnd::kByeSent) return DialogEnd::kByeAnswered;
    return end == DialogEnd::kByeAnswered ? DialogEnd::kByeSent : end;
  };
  EXPECT_EQ(one.end, mirrored(other.end)) << ToString(one.end) << " and " << ToString(other.end);
  EXPECT_EQ(one.local_seq, other.remote_seq);
  EXPECT_EQ(one.remote_seq, other.local_seq);
  std::vector<std::string> reversed(other.route_set.rbegin(), other.route_set.rend());
  EXPECT_EQ(one.route_set, reversed);
  EXPECT_EQ(one.local_sdp, other.remote_sdp);
  EXPECT_EQ(one.remote_sdp, other.local_sdp);
  EXPECT_EQ(one.held_by_local, other.held_by_remote);
  EXPECT_EQ(one.held_by_remote, other.held_by_local);
  EXPECT_EQ(one.session_timer.interval, other.session_timer.interval);
  if (one.session_timer.active()) {
    EXPECT_NE(one.session_timer.local_refreshes, other.session_timer.local_refreshes);
  }
}

}  // namespace sipheal::testing
