// SPDX-License-Identifier: Apache-2.0
// Which messages of a capture are the server's: rules 11.1 to 11.4.
#include "cli/dialogs_server.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sipheal/sip/dialog_folder.h"

namespace sipheal::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Hop {
  std::string from;
  std::string to;
  sip::Transport transport = sip::Transport::kUdp;
};

sip::CapturedMessage Captured(const Hop& hop, std::string text) {
  static std::uint64_t frame = 0;
  sip::CapturedMessage message;
  message.bytes = std::move(text);
  message.source = *sip::Endpoint::Parse(hop.from);
  message.destination = *sip::Endpoint::Parse(hop.to);
  message.transport = hop.transport;
  message.sequence = ++frame;
  message.time = sip::CaptureTime(std::chrono::seconds(1'700'000'000 + frame));
  return message;
}

// A call as one hop sees it: the caller's Via and Contact, the callee's Contact.
struct Call {
  std::string id = "call";
  std::string via = "192.0.2.1:5060";
  std::string contact = "sip:a@192.0.2.1:5060";
  std::string answer_contact = "sip:b@198.51.100.7:5060";
  std::string target = "sip:b@example.com";

  std::string Head(std::string_view first, std::string_view method, bool answered,
                   const std::string& contact_uri) const {
    return absl::StrFormat(
        "%s\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%s\r\nFrom: <sip:a@x>;tag=a\r\nTo: "
        "<sip:b@x>%s\r\nCall-ID: %s\r\nCSeq: 1 %s\r\nContact: <%s>\r\nContent-Length: 0\r\n\r\n",
        std::string(first), via, id, std::string(method), answered ? ";tag=b" : "", id,
        std::string(method), contact_uri);
  }
  std::vector<sip::CapturedMessage> Messages(const Hop& there) const {
    const Hop back{there.to, there.from, there.transport};
    return {Captured(there, Head("INVITE " + target + " SIP/2.0", "INVITE", false, contact)),
            Captured(back, Head("SIP/2.0 200 OK", "INVITE", true, answer_contact)),
            Captured(there, Head("ACK " + answer_contact + " SIP/2.0", "ACK", true, contact))};
  }
};

struct Found {
  std::vector<std::string> calls;  // "call uac"
  std::vector<std::string> notes;
};

Found Find(const std::string& server, std::vector<sip::CapturedMessage> messages,
           const std::vector<std::string>& names = {},
           const std::vector<PcapContents::Tunnelled>& tunnelled = {}) {
  sip::ServerIdentity identity;
  if (!server.empty()) {
    const absl::StatusOr<sip::ServerAddress> address = ParseServer(server);
    EXPECT_TRUE(address.ok()) << address.status();
    identity.addresses.push_back(*address);
  }
  identity.host_names = names;
  const ServerSearch search = FindServer(messages, tunnelled, identity);
  Found found;
  found.notes = search.notes;
  for (const sip::DialogState& dialog :
       sip::Rebuild(std::span(messages).first(search.own), identity)) {
    found.calls.push_back(dialog.call_id + " " + std::string(sip::ToString(dialog.role)));
  }
  return found;
}

std::vector<sip::CapturedMessage> operator+(std::vector<sip::CapturedMessage> a,
                                            const std::vector<sip::CapturedMessage>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

constexpr sip::Transport kTcp = sip::Transport::kTcp;

TEST(DialogsServer, EveryFormOfAnAddressIsRead) {
  struct Case {
    const char* text;
    const char* ip;
    int port;
    sip::Transport transport;
  };
  for (const Case& c : {Case{"192.0.2.10", "192.0.2.10", 0, sip::Transport::kUnknown},
                        Case{"192.0.2.10:5080", "192.0.2.10", 5080, sip::Transport::kUnknown},
                        Case{"192.0.2.10:5080/TCP", "192.0.2.10", 5080, kTcp},
                        Case{"192.0.2.10/udp", "192.0.2.10", 0, sip::Transport::kUdp},
                        Case{"2001:db8::1", "2001:db8::1", 0, sip::Transport::kUnknown},
                        Case{"[2001:db8::1]", "2001:db8::1", 0, sip::Transport::kUnknown},
                        Case{"[2001:db8::1]:5061/tls", "2001:db8::1", 5061, sip::Transport::kTls},
                        Case{"2001:db8::1/wss", "2001:db8::1", 0, sip::Transport::kWss},
                        Case{"::ffff:192.0.2.10", "192.0.2.10", 0, sip::Transport::kUnknown}}) {
    const absl::StatusOr<sip::ServerAddress> address = ParseServer(c.text);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(address->ip.ToString(), c.ip) << c.text;
    EXPECT_EQ(address->port, c.port) << c.text;
    EXPECT_EQ(address->transport, c.transport) << c.text;
  }
  for (const char* text : {"", "pbx.example.com", "192.0.2.10:", "192.0.2.10:0", "192.0.2.10:65536",
                           "192.0.2.10/", "192.0.2.10/sctp", "[2001:db8::1", "/udp"}) {
    EXPECT_FALSE(ParseServer(text).ok()) << text;
  }
  EXPECT_THAT(std::string(ParseServer("pbx.example.com").status().message()),
              HasSubstr("--server-name"));
}

TEST(DialogsServer, Rule11_3_AConnectionThatTheServerOpenedIsItsOwn) {
  Call outgoing;
  // From a port of the moment to a phone; its Via names the port that it listens on.
  const Found found =
      Find("192.0.2.1:5060", outgoing.Messages({"192.0.2.1:41234", "198.51.100.7:5060", kTcp}));
  EXPECT_THAT(found.calls, ElementsAre("call uac"));
  EXPECT_THAT(found.notes, IsEmpty());
  // The phone calls over the connection that the server opened before.
  Call incoming;
  incoming.id = "in";
  incoming.via = "198.51.100.7:5060";
  incoming.answer_contact = "sip:b@192.0.2.1:5060";
  EXPECT_THAT(
      Find("192.0.2.1:5060", incoming.Messages({"198.51.100.7:5060", "192.0.2.1:41234", kTcp}))
          .calls,
      ElementsAre("in uas"));
}

TEST(DialogsServer, Rule11_3_AnotherUserAgentOnTheAddressIsNotTheServer) {
  Call own;
  Call proxys;
  proxys.id = "proxys";
  proxys.via = "192.0.2.1:5080";
  proxys.contact = "sip:p@192.0.2.1:5080";
  Call to_proxy;  // nothing in this one names the proxy: its Request-URI is a domain
  to_proxy.id = "toproxy";
  to_proxy.via = "198.51.100.9:5060";
  to_proxy.answer_contact = "sip:b@example.com";
  const auto messages = own.Messages({"192.0.2.1:41234", "198.51.100.7:5060", kTcp}) +
                        proxys.Messages({"192.0.2.1:41235", "198.51.100.7:5060", kTcp}) +
                        to_proxy.Messages({"198.51.100.9:33333", "192.0.2.1:5080", kTcp});
  EXPECT_THAT(Find("192.0.2.1:5060", messages).calls, ElementsAre("call uac"));
  EXPECT_THAT(Find("192.0.2.1:5080", messages).calls, ElementsAre("proxys uac", "toproxy uas"));
  // Without a port the whole address is meant.
  EXPECT_THAT(Find("192.0.2.1", messages).calls,
              ElementsAre("call uac", "proxys uac", "toproxy uas"));
}

TEST(DialogsServer, WhatPassesBetweenTheServerAndItsNeighbourOnOneAddressIsTheServers) {
  Call call;
  call.via = "192.0.2.1:5080";
  call.contact = "sip:p@192.0.2.1:5080";
  EXPECT_THAT(
      Find("192.0.2.1:5060", call.Messages({"192.0.2.1:5080", "192.0.2.1:5060", kTcp})).calls,
      ElementsAre("call uas"));
}

TEST(DialogsServer, TheServersViaTellsThatItSendsFromAnotherSocketThanItListensOn) {
  Call call;
  const std::vector<sip::CapturedMessage> sent =
      call.Messages({"192.0.2.1:49731", "198.51.100.7:5060"});
  // Named by where it listens, and by where it sends from.
  EXPECT_THAT(Find("192.0.2.1:5060", sent).calls, ElementsAre("call uac"));
  Call incoming;
  incoming.id = "in";
  incoming.via = "198.51.100.7:5060";
  incoming.answer_contact = "sip:b@192.0.2.1:5060";
  EXPECT_THAT(
      Find("192.0.2.1:49731", sent + incoming.Messages({"198.51.100.7:5060", "192.0.2.1:5060"}))
          .calls,
      ElementsAre("call uac", "in uas"));
}

TEST(DialogsServer, AnOutermostAddressStandsForTheOnesInItsTunnel) {
  Call call;
  std::vector<sip::CapturedMessage> messages =
      call.Messages({"192.0.2.1:5060", "198.51.100.7:5060"});
  const sip::IpAddress left = *sip::IpAddress::Parse("127.0.1.1");
  const sip::IpAddress right = *sip::IpAddress::Parse("127.0.1.100");
  const std::vector<PcapContents::Tunnelled> tunnelled = {
      {0, left, right}, {1, right, left}, {2, left, right}};
  Found found = Find("127.0.1.1:5060", messages, {}, tunnelled);
  EXPECT_THAT(found.calls, ElementsAre("call uac"));
  ASSERT_THAT(found.notes, ElementsAre(HasSubstr("192.0.2.1")));
  EXPECT_THAT(Find("127.0.1.100", messages, {}, tunnelled).calls, ElementsAre("call uas"));
  // An address that messages have is never taken for the outside of a tunnel.
  EXPECT_THAT(
      Find("198.51.100.7", messages, {}, {{0, *sip::IpAddress::Parse("198.51.100.7"), right}})
          .calls,
      ElementsAre("call uas"));
}

TEST(DialogsServer, APortThatNobodyUsesIsSaidAndTheOnlyOtherIsTaken) {
  Call call;
  Found found = Find("192.0.2.1:5070", call.Messages({"192.0.2.1:5060", "198.51.100.7:5060"}));
  EXPECT_THAT(found.calls, ElementsAre("call uac"));
  EXPECT_THAT(found.notes, ElementsAre(HasSubstr("5060")));
  Call other;
  other.id = "other";
  other.via = "192.0.2.1:5080";
  found = Find("192.0.2.1:5070", call.Messages({"192.0.2.1:5060", "198.51.100.7:5060"}) +
                                     other.Messages({"192.0.2.1:5080", "198.51.100.7:5060"}));
  EXPECT_THAT(found.calls, IsEmpty());
  EXPECT_THAT(found.notes, ElementsAre(HasSubstr("5060, 5080")));
  // The transport that was given stays.
  for (const char* server : {"192.0.2.1:5060/tcp", "192.0.2.1/tcp"}) {
    found = Find(server, call.Messages({"192.0.2.1:5060", "198.51.100.7:5060"}));
    EXPECT_THAT(found.calls, IsEmpty());
    EXPECT_THAT(found.notes, ElementsAre(HasSubstr("over tcp")));
  }
  found = Find("203.0.113.9", call.Messages({"192.0.2.1:5060", "198.51.100.7:5060"}));
  EXPECT_THAT(found.calls, IsEmpty());
  EXPECT_THAT(found.notes, ElementsAre(HasSubstr("198.51.100.7, 192.0.2.1")));
}

TEST(DialogsServer, ANameAloneIsFoundByTheViaOfItsRequests) {
  Call call;
  call.via = "PBX.example.com";
  call.contact = "sip:a@pbx.example.com";
  const auto messages = call.Messages({"192.0.2.1:5060", "198.51.100.7:5060"});
  EXPECT_THAT(Find("", messages, {"pbx.example.com"}).calls, ElementsAre("call uac"));
  EXPECT_THAT(Find("", messages, {"other.example.com"}).calls, IsEmpty());
  EXPECT_THAT(Find("", messages, {"other.example.com"}).notes,
              ElementsAre(HasSubstr("--server ADDR")));
}

}  // namespace
}  // namespace sipheal::cli
