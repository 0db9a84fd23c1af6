// SPDX-License-Identifier: Apache-2.0
// The messages of a call between a phone and a media server, as the server's HEP agent sees them.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_format.h"
#include "sipheal/sip/address.h"
#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/server_identity.h"

namespace sipheal::testing {

struct TestCall {
  std::string call_id = "call-1@198.51.100.20";
  bool server_is_uac = false;
  std::string server = "192.0.2.10:5060";
  std::string peer = "198.51.100.20:5060";
  std::string server_tag = "as7f3c";
  std::string peer_tag = "ph91ab";
  // A record-routing proxy beside the server; empty: none. It is then the server's neighbour.
  std::string proxy;
  sip::Transport transport = sip::Transport::kUdp;
  sip::CaptureTime start{std::chrono::seconds(1'790'000'000)};
  std::chrono::microseconds step{20'000};

  std::string ServerUri() const { return "sip:" + server; }
  std::string PeerUri() const { return "sip:phone@" + peer; }
  std::string LocalUri() const { return "sip:1000@pbx.example.com"; }
  std::string RemoteUri() const { return "sip:2000@pbx.example.com"; }
  std::string Neighbour() const { return proxy.empty() ? peer : proxy; }
  std::string RouteUri() const { return "sip:" + proxy + ";lr"; }

  // A request; `to_tag` false: the first INVITE.
  sip::CapturedMessage Request(std::string_view method, int cseq, bool by_server, bool to_tag,
                               std::string_view branch, bool sdp = false) {
    const std::string target =
        to_tag || by_server ? (by_server ? PeerUri() : ServerUri()) : "sip:1000@pbx.example.com";
    std::string text = absl::StrFormat("%s %s SIP/2.0\r\n", method, target);
    text += Vias(by_server, branch);
    if (!proxy.empty() && by_server && to_tag) text += "Route: <" + RouteUri() + ">\r\n";
    if (!proxy.empty() && !by_server && !to_tag) text += "Record-Route: <" + RouteUri() + ">\r\n";
    text += Parties(by_server, to_tag);
    text += absl::StrFormat("CSeq: %d %s\r\n", cseq, method);
    text += "Contact: <" + (by_server ? ServerUri() : PeerUri()) + ">\r\n";
    return Finish(std::move(text), by_server, sdp, cseq);
  }

  // An answer to a request that `request_by_server` sent.
  sip::CapturedMessage Answer(int status, std::string_view reason, std::string_view method,
                              int cseq, bool request_by_server, std::string_view branch,
                              bool sdp = false) {
    std::string text = absl::StrFormat("SIP/2.0 %d %s\r\n", status, reason);
    text += Vias(request_by_server, branch);
    if (!proxy.empty() && method == "INVITE" && status > 100) {
      text += "Record-Route: <" + RouteUri() + ">\r\n";
    }
    text += Parties(request_by_server, status > 100);
    text += absl::StrFormat("CSeq: %d %s\r\n", cseq, method);
    if (status > 100) {
      text += "Contact: <" + (request_by_server ? PeerUri() : ServerUri()) + ">\r\n";
    }
    return Finish(std::move(text), !request_by_server, sdp, cseq);
  }

  // INVITE to ACK. The peer counts from 1, the server from 100.
  std::vector<sip::CapturedMessage> Setup() {
    const int cseq = server_is_uac ? 100 : 1;
    return {Request("INVITE", cseq, server_is_uac, false, "setup", true),
            Answer(100, "Trying", "INVITE", cseq, server_is_uac, "setup"),
            Answer(180, "Ringing", "INVITE", cseq, server_is_uac, "setup"),
            Answer(200, "OK", "INVITE", cseq, server_is_uac, "setup", true),
            Request("ACK", cseq, server_is_uac, true, "ack")};
  }
  std::vector<sip::CapturedMessage> Reinvite(int cseq, bool by_server) {
    const std::string branch = absl::StrFormat("re%d%d", cseq, by_server);
    return {Request("INVITE", cseq, by_server, true, branch, true),
            Answer(200, "OK", "INVITE", cseq, by_server, branch, true),
            Request("ACK", cseq, by_server, true, branch + "a")};
  }
  std::vector<sip::CapturedMessage> Bye(int cseq, bool by_server) {
    const std::string branch = absl::StrFormat("bye%d%d", cseq, by_server);
    return {Request("BYE", cseq, by_server, true, branch),
            Answer(200, "OK", "BYE", cseq, by_server, branch)};
  }

  sip::ServerIdentity Identity() const {
    sip::ServerIdentity identity;
    const sip::Endpoint endpoint = *sip::Endpoint::Parse(server);
    identity.addresses.push_back({endpoint.ip, endpoint.port, sip::Transport::kUnknown});
    return identity;
  }

 private:
  std::string Vias(bool by_server, std::string_view branch) const {
    const std::string_view name = transport == sip::Transport::kUdp ? "UDP" : "TCP";
    const auto via = [&](const std::string& sent_by, std::string_view suffix) {
      return absl::StrFormat("Via: SIP/2.0/%s %s;branch=z9hG4bK%s%s%d\r\n", name, sent_by, branch,
                             suffix, by_server);
    };
    if (by_server || proxy.empty()) return via(by_server ? server : peer, "");
    return via(proxy, "p") + via(peer, "");
  }

  std::string Parties(bool request_by_server, bool to_tag) const {
    const std::string local = "<" + LocalUri() + ">";
    const std::string remote = "\"Phone\" <" + RemoteUri() + ">";
    std::string text;
    if (request_by_server) {
      text = "From: " + local + ";tag=" + server_tag + "\r\nTo: " + remote +
             (to_tag ? ";tag=" + peer_tag : "");
    } else {
      text = "From: " + remote + ";tag=" + peer_tag + "\r\nTo: " + local +
             (to_tag ? ";tag=" + server_tag : "");
    }
    return text + "\r\nCall-ID: " + call_id + "\r\nMax-Forwards: 70\r\n";
  }

  sip::CapturedMessage Finish(std::string text, bool sent_by_server, bool sdp, int version) {
    std::string body;
    if (sdp) {
      const std::string host(sent_by_server ? server : peer);
      const std::string ip = host.substr(0, host.find(':'));
      body = absl::StrFormat(
          "v=0\r\no=- %d %d IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\n"
          "m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n",
          sent_by_server ? 77 : 88, version, ip, ip);
      text += "Content-Type: application/sdp\r\n";
    }
    text += absl::StrFormat("Content-Length: %d\r\n\r\n", body.size()) + body;
    sip::CapturedMessage message;
    message.bytes = std::move(text);
    message.source = *sip::Endpoint::Parse(sent_by_server ? server : Neighbour());
    message.destination = *sip::Endpoint::Parse(sent_by_server ? Neighbour() : server);
    message.transport = transport;
    message.time = start;
    start += step;
    return message;
  }
};

inline void Append(std::vector<sip::CapturedMessage>& to, std::vector<sip::CapturedMessage> more) {
  to.insert(to.end(), more.begin(), more.end());
}

}  // namespace sipheal::testing
