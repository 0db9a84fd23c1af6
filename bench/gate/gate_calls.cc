// SPDX-License-Identifier: Apache-2.0
#include "bench/gate/gate_calls.h"

#include <chrono>

#include "absl/strings/str_format.h"

namespace sipheal::bench {
namespace {

constexpr const char* kServer = "192.0.2.10:5060";
constexpr const char* kProxy = "198.51.100.20:5060";
constexpr const char* kInner = "<sip:198.51.100.20:5060;lr;did=3f2.9c1>";
constexpr const char* kOuter = "<sip:203.0.113.7;transport=tcp;r2=on;lr>";

// One call while it is written.
class Writer {
 public:
  explicit Writer(std::size_t number)
      : by_server_(number % 2 == 0),
        call_id_(absl::StrFormat("%08x-7c1d-4b52-9f0e-a6c85cf93d21", number)),
        server_tag_(absl::StrFormat("as%08x", number * 7919)),
        phone_tag_(absl::StrFormat("%d", 1928301774 + number)),
        phone_(absl::StrFormat("203.0.113.%d:5080", 60 + number % 60)),
        number_(number) {}

  GateCall Write() {
    Exchange("INVITE", 101, by_server_, false, true);
    Exchange("INVITE", by_server_ ? 102 : 20, true, true, true);
    Exchange("INFO", by_server_ ? 21 : 102, false, true, false);
    return std::move(call_);
  }

 private:
  // A request with its answers, and for an INVITE the ACK.
  void Exchange(const char* method, unsigned cseq, bool sent, bool in_dialog, bool invite) {
    const std::string branch = absl::StrFormat("z9hG4bKPj%08x%04x", number_, ++branches_);
    Add(sent, Request(method, cseq, sent, in_dialog, branch), invite ? Sdp(sent) : Digit());
    if (invite && !in_dialog) {
      Add(!sent, Answer("100 Trying", method, cseq, sent, branch, false), "");
      Add(!sent, Answer("180 Ringing", method, cseq, sent, branch, true), "");
    }
    Add(!sent, Answer("200 OK", method, cseq, sent, branch, true), invite ? Sdp(!sent) : "");
    if (invite) {
      Add(sent, Request("ACK", cseq, sent, true, absl::StrFormat("%sa", branch)), "");
    }
  }

  std::string Party(bool server, bool with_tag) const {
    std::string text = server ? "\"Reception\" <sip:1001@pbx.example.com>"
                              : "<sip:+14155550123@carrier.example.org;user=phone>";
    if (with_tag) text += ";tag=" + (server ? server_tag_ : phone_tag_);
    return text;
  }

  std::string Contact(bool server) const {
    return server ? absl::StrFormat("<sip:asterisk@%s>", kServer)
                  : absl::StrFormat("<sip:phone@%s;transport=udp>", phone_);
  }

  std::string Vias(bool sent, const std::string& branch) const {
    if (sent) return absl::StrFormat("Via: SIP/2.0/UDP %s;rport;branch=%s\r\n", kServer, branch);
    return absl::StrFormat(
        "Via: SIP/2.0/UDP %s;branch=z9hG4bK1a2b.%s.0\r\n"
        "Via: SIP/2.0/TCP 203.0.113.7;rport=5060;received=203.0.113.7;branch=z9hG4bK3c4d.%s.0\r\n"
        "Via: SIP/2.0/UDP %s;received=203.0.113.60;rport=5080;branch=%s\r\n",
        kProxy, branch, branch, phone_, branch);
  }

  std::string Common(unsigned cseq, const char* method) const {
    return absl::StrFormat("Call-ID: %s\r\nCSeq: %d %s\r\n", call_id_, cseq, method);
  }

  std::string RecordRoutes() const {
    const bool inner_first = !by_server_;
    return absl::StrFormat("Record-Route: %s\r\nRecord-Route: %s\r\n",
                           inner_first ? kInner : kOuter, inner_first ? kOuter : kInner);
  }

  std::string Request(const char* method, unsigned cseq, bool sent, bool in_dialog,
                      const std::string& branch) const {
    const std::string target = Contact(!sent);
    std::string text = absl::StrFormat(
        "%s %s SIP/2.0\r\n", method,
        in_dialog ? target.substr(1, target.find('>') - 1) : "sip:+14155550123@198.51.100.20:5060");
    text += Vias(sent, branch);
    if (sent && in_dialog) text += absl::StrFormat("Route: %s\r\nRoute: %s\r\n", kInner, kOuter);
    if (!sent && !in_dialog) text += RecordRoutes();
    text += "From: " + Party(sent, true) + "\r\nTo: " + Party(!sent, in_dialog) + "\r\n";
    text += "Contact: " + Contact(sent) + "\r\n" + Common(cseq, method);
    text += "Max-Forwards: 70\r\n";
    if (method == std::string_view("INVITE")) {
      text +=
          "Allow: OPTIONS, INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO, MESSAGE, REFER\r\n"
          "Supported: 100rel, timer, replaces, norefersub\r\nSession-Expires: 1800\r\n"
          "Min-SE: 90\r\n";
    }
    return text + "User-Agent: Example PBX 1.0\r\n";
  }

  std::string Answer(const char* status, const char* method, unsigned cseq, bool request_sent,
                     const std::string& branch, bool with_tag) const {
    std::string text = absl::StrFormat("SIP/2.0 %s\r\n", status) + Vias(request_sent, branch);
    if (with_tag && method == std::string_view("INVITE") && branches_ == 1) text += RecordRoutes();
    text += "From: " + Party(request_sent, true) + "\r\n";
    text += "To: " + Party(!request_sent, with_tag) + "\r\n" + Common(cseq, method);
    if (with_tag) text += "Contact: " + Contact(!request_sent) + "\r\n";
    if (status[0] == '2' && method == std::string_view("INVITE")) {
      text +=
          "Allow: OPTIONS, INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO, MESSAGE, REFER\r\n"
          "Supported: timer\r\nRequire: timer\r\nSession-Expires: 1800;refresher=uac\r\n";
    }
    return text + "Server: Example PBX 1.0\r\n";
  }

  std::string Sdp(bool server) const {
    const char* const host = server ? "192.0.2.10" : "203.0.113.60";
    return absl::StrFormat(
        "v=0\r\no=- %d %d IN IP4 %s\r\ns=call\r\nc=IN IP4 %s\r\nt=0 0\r\n"
        "m=audio %d RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
        "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n",
        900000000 + number_, 900000000 + number_ + branches_, host, host, 20000 + number_ % 1000);
  }

  static std::string Digit() { return "Signal=5\r\nDuration=160\r\n"; }

  void Add(bool sent, std::string head, const std::string& body) {
    if (!body.empty()) {
      head += body[0] == 'v' ? "Content-Type: application/sdp\r\n"
                             : "Content-Type: application/dtmf-relay\r\n";
    }
    sip::CapturedMessage message;
    message.bytes = head + absl::StrFormat("Content-Length: %d\r\n\r\n", body.size()) + body;
    message.source = *sip::Endpoint::Parse(sent ? kServer : kProxy);
    message.destination = *sip::Endpoint::Parse(sent ? kProxy : kServer);
    message.transport = sip::Transport::kUdp;
    message.sequence = call_.size() + 1;
    message.time = sip::CaptureTime(std::chrono::seconds(1'790'000'000) +
                                    std::chrono::milliseconds(20) * call_.size());
    call_.push_back(std::move(message));
  }

  const bool by_server_;
  const std::string call_id_;
  const std::string server_tag_;
  const std::string phone_tag_;
  const std::string phone_;
  const std::size_t number_;
  unsigned branches_ = 0;
  GateCall call_;
};

}  // namespace

std::vector<GateCall> MakeGateCalls(std::size_t count) {
  std::vector<GateCall> calls;
  for (std::size_t i = 0; i < count; ++i) calls.push_back(Writer(i).Write());
  return calls;
}

sip::ServerIdentity GateServer() {
  sip::ServerIdentity server;
  const sip::Endpoint own = *sip::Endpoint::Parse(kServer);
  server.addresses.push_back({own.ip, own.port, sip::Transport::kUnknown});
  return server;
}

}  // namespace sipheal::bench
