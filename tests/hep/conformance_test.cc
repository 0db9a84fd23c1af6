// SPDX-License-Identifier: Apache-2.0
// The contract of sip_capture.h, on the HEP receiver, over UDP and over TCP.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/str_format.h"
#include "hep/udp_socket.h"
#include "sipheal/adapters/hep.h"
#include "sipheal/conformance/gtest.h"
#include "sipheal/conformance/sip_capture.h"
#include "tests/hep/hep_builder.h"

namespace sipheal {
namespace {

class HepHarness final : public conformance::SipCaptureHarness {
 public:
  explicit HepHarness(int socket_type) : socket_type_(socket_type) {}

  absl::StatusOr<std::shared_ptr<SipCapture>> Make() override {
    HepOptions options;
    options.udp = sip::Endpoint{*sip::IpAddress::Parse("127.0.0.1"), 0};
    options.tcp = options.udp;
    HepInstanceOptions entry;
    entry.instance = instance();
    entry.agents = {agent()};
    entry.server.addresses.push_back({server().ip, server().port, sip::Transport::kUnknown});
    options.instances.push_back(std::move(entry));
    absl::StatusOr<std::shared_ptr<HepReceiver>> receiver = MakeHepReceiver(std::move(options));
    if (!receiver.ok()) return receiver.status();
    if (const absl::Status started = (*receiver)->Start(); !started.ok()) return started;
    fd_.Reset(::socket(AF_INET, socket_type_ | SOCK_CLOEXEC, 0));
    sockaddr_storage address;
    const socklen_t size = hep::ToSockaddr(
        socket_type_ == SOCK_DGRAM ? (*receiver)->udp_address() : (*receiver)->tcp_address(),
        address);
    if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) {
      return absl::InternalError(absl::StrFormat("connect: %s", std::strerror(errno)));
    }
    if (socket_type_ == SOCK_STREAM) {
      // What the sender's kernel holds back cannot be in a fetch.
      const int on = 1;
      ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    return *std::move(receiver);
  }

  absl::Status Feed(const std::string&, const sip::CapturedMessage& message) override {
    const std::string packet = testing::HepPacketOf(message, {0, agent(), ""});
    if (::send(fd_.get(), packet.data(), packet.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(packet.size())) {
      return absl::InternalError(absl::StrFormat("send: %s", std::strerror(errno)));
    }
    return absl::OkStatus();
  }
  bool KeepsMessages() const override { return false; }

 private:
  const int socket_type_;
  hep::UniqueFd fd_;
};

const bool kRegistered = [] {
  conformance::RegisterSipCaptureConformance(
      "HepUdp", [] { return std::make_unique<HepHarness>(SOCK_DGRAM); });
  conformance::RegisterSipCaptureConformance(
      "HepTcp", [] { return std::make_unique<HepHarness>(SOCK_STREAM); });
  return true;
}();

}  // namespace
}  // namespace sipheal
