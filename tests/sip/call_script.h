// SPDX-License-Identifier: Apache-2.0
// Writes the messages of a call as a capture next to the server would hold them, for tests.
#pragma once

#include <string>
#include <vector>

#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/server_identity.h"
#include "sipheal/sip/verdict.h"

namespace sipheal::testing {

inline constexpr const char* kServer = "192.0.2.10:5060";
inline constexpr const char* kPeer = "198.51.100.7:5060";

struct Request {
  std::string method = "INVITE";
  unsigned cseq = 1;
  bool sent = false;  // by the server
  std::string from_tag = "a";
  std::string to_tag;  // empty: none
  std::string from = "<sip:alice@example.com>";
  std::string to = "<sip:bob@example.com>";
  std::string uri;      // empty: the other side's contact
  std::string contact;  // empty: the sender's; "-": none
  std::vector<std::string> record_route;
  std::vector<std::string> route;
  std::string sdp;
  std::string extra;         // header lines
  std::string branch;        // empty: made
  std::string peer = kPeer;  // the other end of the packet
  std::string via_host;      // empty: the sender
};

struct Answer {
  int status = 200;
  std::string to_tag;
  std::string contact;  // empty: the answering side's; "-": none
  std::vector<std::string> record_route;
  std::string sdp;
  std::string extra;
  std::string branch;  // empty: the request's
  std::string peer;    // empty: the request's
};

inline std::string Sdp(const std::string& ip, int port, const std::string& version,
                       const std::string& direction = "sendrecv") {
  return "v=0\r\no=- 1000 " + version + " IN IP4 " + ip + "\r\ns=-\r\nc=IN IP4 " + ip +
         "\r\nt=0 0\r\nm=audio " + std::to_string(port) +
         " RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=" +
         direction + "\r\n";
}

class CallScript {
 public:
  std::string call_id = "call-1@example.com";
  sip::Transport transport = sip::Transport::kUdp;
  std::string agent;
  std::vector<sip::CapturedMessage> messages;
  sip::ServerIdentity server;
  std::int64_t now_us = 1'700'000'000'000'000;
  std::int64_t step_us = 20'000;

  CallScript() {
    const sip::Endpoint endpoint = *sip::Endpoint::Parse(kServer);
    server.addresses.push_back({endpoint.ip, endpoint.port, sip::Transport::kUnknown});
  }

  Request Send(Request request) {
    request.sent = true;
    return Add(request);
  }
  Request Receive(Request request) {
    request.sent = false;
    return Add(request);
  }

  // The answer goes the other way.
  void Reply(const Request& request, Answer answer) {
    std::string text = "SIP/2.0 " + std::to_string(answer.status) + " Text\r\n";
    text += Via(request, answer.branch.empty() ? request.branch : answer.branch);
    for (const std::string& entry : answer.record_route) text += "Record-Route: " + entry + "\r\n";
    text += "From: " + request.from + Tag(request.from_tag) + "\r\n";
    const std::string tag = answer.to_tag.empty() ? request.to_tag : answer.to_tag;
    text += "To: " + request.to + Tag(tag) + "\r\n";
    text += Common(request);
    if (answer.contact != "-" && answer.status > 100 && answer.status < 300) {
      text +=
          "Contact: " + (answer.contact.empty() ? Contact(!request.sent, kPeer) : answer.contact) +
          "\r\n";
    }
    text += answer.extra;
    Finish(std::move(text), answer.sdp, !request.sent,
           answer.peer.empty() ? request.peer : answer.peer);
  }

  void Wait(std::int64_t seconds) { now_us += seconds * 1'000'000; }

  std::vector<sip::DialogState> Rebuild() const { return sip::Rebuild(messages, server); }
  // The only dialog; a default one with an impossible Call-ID when there is not exactly one.
  sip::DialogState Only() const {
    std::vector<sip::DialogState> dialogs = Rebuild();
    if (dialogs.size() == 1) return dialogs.front();
    sip::DialogState none;
    none.call_id = "there are " + std::to_string(dialogs.size()) + " dialogs";
    return none;
  }
  sip::Verdict Judge(sip::VerdictOptions options = {}) const { return sip::Judge(Only(), options); }

  // INVITE, 200 and ACK with the server as caller (tags a at the server, b at the peer).
  void AnsweredByPeer(std::vector<std::string> record_route = {}) {
    Request invite = Send({.sdp = Sdp("192.0.2.10", 20000, "1")});
    Reply(invite, {.status = 100});
    Reply(invite, {.status = 180, .to_tag = "b", .record_route = record_route});
    Reply(invite,
          {.to_tag = "b", .record_route = record_route, .sdp = Sdp("198.51.100.7", 30000, "1")});
    std::vector<std::string> route(record_route.rbegin(), record_route.rend());
    Send({.method = "ACK", .to_tag = "b", .route = route});
  }
  // The same with the server as callee (tags b at the server, a at the peer).
  void AnsweredByServer(std::vector<std::string> record_route = {}) {
    Request invite =
        Receive({.record_route = record_route, .sdp = Sdp("198.51.100.7", 30000, "1")});
    Reply(invite, {.status = 100});
    Reply(invite, {.status = 180, .to_tag = "b", .record_route = record_route});
    Reply(invite,
          {.to_tag = "b", .record_route = record_route, .sdp = Sdp("192.0.2.10", 20000, "1")});
    Receive({.method = "ACK", .to_tag = "b"});
  }
  // A request of the server in the dialog that it answered: From is its own side.
  Request FromCallee(Request request) const {
    request.from_tag = "b";
    request.to_tag = "a";
    std::swap(request.from, request.to);
    return request;
  }

 private:
  static std::string Tag(const std::string& tag) { return tag.empty() ? "" : ";tag=" + tag; }
  static std::string Contact(bool of_server, const std::string& peer) {
    return std::string("<sip:") + (of_server ? "asterisk@" : "phone@") +
           (of_server ? kServer : peer) + ">";
  }
  std::string Via(const Request& request, const std::string& branch) const {
    std::string host = request.via_host;
    if (host.empty()) host = request.sent ? kServer : request.peer;
    std::string name(sip::ToString(transport));
    for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return "Via: SIP/2.0/" + name + " " + host + ";branch=" + branch + "\r\n";
  }
  std::string Common(const Request& request) const {
    return "Call-ID: " + call_id + "\r\nCSeq: " + std::to_string(request.cseq) + " " +
           request.method + "\r\n";
  }
  Request Add(Request request) {
    if (request.branch.empty()) request.branch = "z9hG4bK" + std::to_string(++branches_);
    std::string uri = request.uri;
    if (uri.empty()) {
      const std::string contact = Contact(!request.sent, kPeer);
      uri = contact.substr(1, contact.size() - 2);
    }
    std::string text = request.method + " " + uri + " SIP/2.0\r\n" + Via(request, request.branch);
    for (const std::string& entry : request.route) text += "Route: " + entry + "\r\n";
    for (const std::string& entry : request.record_route) text += "Record-Route: " + entry + "\r\n";
    text += "Max-Forwards: 70\r\nFrom: " + request.from + Tag(request.from_tag) + "\r\n";
    text += "To: " + request.to + Tag(request.to_tag) + "\r\n" + Common(request);
    const bool has_contact = request.method == "INVITE" || request.method == "UPDATE";
    if (request.contact != "-" && (has_contact || !request.contact.empty())) {
      text +=
          "Contact: " + (request.contact.empty() ? Contact(request.sent, kPeer) : request.contact) +
          "\r\n";
    }
    text += request.extra;
    Finish(std::move(text), request.sdp, request.sent, request.peer);
    return request;
  }
  void Finish(std::string text, const std::string& sdp, bool from_server, const std::string& peer) {
    if (!sdp.empty()) text += "Content-Type: application/sdp\r\n";
    text += "Content-Length: " + std::to_string(sdp.size()) + "\r\n\r\n" + sdp;
    sip::CapturedMessage message;
    message.bytes = std::move(text);
    message.source = *sip::Endpoint::Parse(from_server ? kServer : peer);
    message.destination = *sip::Endpoint::Parse(from_server ? peer : kServer);
    message.transport = transport;
    message.agent = agent;
    message.time = sip::CaptureTime(std::chrono::microseconds(now_us));
    message.sequence = messages.size() + 1;
    now_us += step_us;
    messages.push_back(std::move(message));
  }

  int branches_ = 0;
};

}  // namespace sipheal::testing
