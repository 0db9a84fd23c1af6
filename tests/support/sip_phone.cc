// SPDX-License-Identifier: Apache-2.0
#include "support/sip_phone.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

namespace sipheal::inline v0_1::testing {
namespace {

constexpr long kFirstCseq = 4711;

// The first header of that name, as Asterisk writes it (full names); empty when there is none.
std::string Header(const std::string& message, const std::string& name) {
  const std::size_t at = message.find("\r\n" + name + ": ");
  if (at == std::string::npos) return "";
  const std::size_t begin = at + name.size() + 4;
  return message.substr(begin, message.find("\r\n", begin) - begin);
}

std::string Parameter(const std::string& header, const std::string& name) {
  const std::size_t at = header.find(";" + name + "=");
  if (at == std::string::npos) return "";
  const std::size_t begin = at + name.size() + 2;
  return header.substr(begin, header.find_first_of(";, \r", begin) - begin);
}

}  // namespace

SipPhone::SipPhone(std::string user, Conduct conduct) : user_(std::move(user)), conduct_(conduct) {
  static std::atomic<int> count{0};
  const std::string number = std::to_string(getpid()) + "-" + std::to_string(++count);
  call_id_ = "dialog-" + number + "@phone.test";
  own_tag_ = "phone" + number;
  server_tag_ = "server" + number;
  socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address);
  socklen_t size = sizeof address;
  getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Run(); });
}

SipPhone::~SipPhone() {
  stopping_ = true;
  thread_.join();
  close(socket_);
}

std::vector<std::pair<std::string, std::string>> SipPhone::Variables() const {
  const std::string uri = "sip:" + user_ + "@127.0.0.1:" + std::to_string(port_);
  return {{"PJSIP_RECOVERY_FROM_URI", "sip:100@server.test"},
          {"PJSIP_RECOVERY_FROM_TAG", server_tag_},
          {"PJSIP_RECOVERY_TO_URI", uri},
          {"PJSIP_RECOVERY_TO_TAG", own_tag_},
          {"PJSIP_RECOVERY_CALL-ID", call_id_},
          {"PJSIP_RECOVERY_CSEQ", std::to_string(kFirstCseq)},
          {"PJSIP_RECOVERY_REQUEST_URI", uri},
          {"PJSIP_RECOVERY_ROUTES", ""}};
}

int SipPhone::Received(const std::string& method) const {
  const std::scoped_lock lock(mutex_);
  const auto found = received_.find(method);
  return found == received_.end() ? 0 : found->second;
}

std::vector<std::string> SipPhone::violations() const {
  const std::scoped_lock lock(mutex_);
  return violations_;
}

void SipPhone::Run() {
  while (!stopping_) {
    pollfd fd{socket_, POLLIN, 0};
    if (poll(&fd, 1, 20) != 1) continue;
    char buffer[65536];
    const ssize_t size = recv(socket_, buffer, sizeof buffer, 0);
    if (size <= 0) continue;
    const std::string message(buffer, static_cast<std::size_t>(size));
    const std::string method = message.substr(0, message.find(' '));
    if (method != "SIP/2.0") OnRequest(message, method);
  }
}

void SipPhone::OnRequest(const std::string& message, const std::string& method) {
  const std::scoped_lock lock(mutex_);
  const std::string branch = Parameter(Header(message, "Via"), "branch");
  const bool again = !seen_.insert(method + branch).second;
  if (!again) ++received_[method];
  const long cseq = std::atol(Header(message, "CSeq").c_str());
  if (Header(message, "Call-ID") != call_id_ ||
      Parameter(Header(message, "From"), "tag") != server_tag_ ||
      Parameter(Header(message, "To"), "tag") != own_tag_) {
    violations_.push_back("outside the dialog:\n" + message);
  }
  if (method == "ACK") return;
  if (!again && cseq <= last_cseq_) violations_.push_back("CSeq does not rise:\n" + message);
  last_cseq_ = std::max(last_cseq_, cseq);
  if (conduct_ == Conduct::kSilent) return;
  if (method == "INVITE") {
    const std::string contact = Header(message, "Contact");
    const std::size_t open = contact.find('<');
    contact_ = open == std::string::npos
                   ? contact
                   : contact.substr(open + 1, contact.find('>', open) - open - 1);
    if (conduct_ == Conduct::kRefuses) {
      return Send(Reply(message, "488 Not Acceptable Here", "Content-Length: 0\r\n\r\n"));
    }
    const std::string body =
        "v=0\r\no=phone 1 2 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        "m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n";
    return Send(Reply(message, "200 OK",
                      "Contact: <sip:" + user_ + "@127.0.0.1:" + std::to_string(port_) +
                          ">\r\nContent-Type: application/sdp\r\nContent-Length: " +
                          std::to_string(body.size()) + "\r\n\r\n" + body));
  }
  Send(Reply(message, "200 OK", "Content-Length: 0\r\n\r\n"));
}

std::string SipPhone::Reply(const std::string& request, const std::string& status,
                            const std::string& more) const {
  std::string reply = "SIP/2.0 " + status + "\r\n";
  for (const char* name : {"Via", "From", "To", "Call-ID", "CSeq"}) {
    reply += std::string(name) + ": " + Header(request, name) + "\r\n";
  }
  return reply + more;
}

void SipPhone::Send(const std::string& message) const {
  // All that this phone sends goes to the server that spoke last: its contact, once it is known.
  const std::size_t at =
      contact_.find('@') == std::string::npos ? contact_.find(':') : contact_.find('@');
  const std::size_t colon = contact_.find(':', at + 1);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  std::string via = Header(message, "Via");
  std::string host_port;
  if (message.compare(0, 7, "SIP/2.0") == 0) {
    const std::size_t space = via.find(' ');
    host_port = via.substr(space + 1, via.find(';') - space - 1);
  } else {
    host_port = contact_.substr(at + 1, contact_.find_first_of(";>", colon) - at - 1);
  }
  const std::size_t split = host_port.find(':');
  inet_pton(AF_INET, host_port.substr(0, split).c_str(), &address.sin_addr);
  address.sin_port = htons(static_cast<std::uint16_t>(
      split == std::string::npos ? 5060 : std::atoi(host_port.c_str() + split + 1)));
  sendto(socket_, message.data(), message.size(), 0, reinterpret_cast<sockaddr*>(&address),
         sizeof address);
}

bool SipPhone::HangUp() {
  const std::scoped_lock lock(mutex_);
  if (contact_.empty()) return false;
  const std::string own = "sip:" + user_ + "@127.0.0.1:" + std::to_string(port_);
  Send("BYE " + contact_ + " SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:" + std::to_string(port_) +
       ";branch=z9hG4bK" + own_tag_ + "bye\r\nMax-Forwards: 70\r\nFrom: <" + own +
       ">;tag=" + own_tag_ + "\r\nTo: <sip:100@server.test>;tag=" + server_tag_ +
       "\r\nCall-ID: " + call_id_ + "\r\nCSeq: 900 BYE\r\nContent-Length: 0\r\n\r\n");
  return true;
}

}  // namespace sipheal::inline v0_1::testing
