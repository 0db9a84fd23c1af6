// SPDX-License-Identifier: Apache-2.0
// What an attacker puts into a capture who has seen the tags: messages that the server never sent
// or got, or got and did not take (rules 12.1 to 12.6, 12.10).
#include <algorithm>

#include "tests/sip/generator/simulation.h"

namespace sipheal::testing::generator {
namespace {

constexpr const char* kAttacker = "6.6.6.6:5060";

}  // namespace

Copy& Simulation::AddCopy(const Message& message, bool sent, const std::string& hop,
                          std::int64_t time_us, const Style& style) {
  Copy& copy = call_.copies.emplace_back();
  copy.message.bytes = Render(message, style);
  copy.message.source = *sip::Endpoint::Parse(sent ? server_.address() : hop);
  copy.message.destination = *sip::Endpoint::Parse(sent ? hop : server_.address());
  copy.message.transport = transport_;
  copy.message.time = sip::CaptureTime(std::chrono::microseconds(time_us));
  return copy;
}

void Simulation::AddForged(const Message& message, bool sent, const std::string& hop,
                           std::int64_t time_us) {
  AddCopy(message, sent, hop, time_us, Style()).forged = true;
}

void Simulation::Forge() {
  if (call_.copies.empty() || call_.legs.empty()) return;
  const std::int64_t begin = call_.copies.front().message.time.time_since_epoch().count();
  for (std::uint32_t count = dice_.Range(1, 3); count > 0; --count) {
    Leg& leg = *call_.legs[dice_.Below(static_cast<std::uint32_t>(call_.legs.size()))];
    const std::int64_t when =
        begin + 1 +
        static_cast<std::int64_t>(
            dice_.Next() % static_cast<std::uint64_t>(std::max<std::int64_t>(now_us_ - begin, 1)));
    if (leg.stage == Stage::kNone) continue;
    Message request;
    request.cseq = dice_.Range(50'000, 2'000'000'000);
    request.call_id = call_.call_id;
    request.from = leg.server_side.remote;
    request.to = leg.server_side.local;
    request.uri = leg.server.contact;
    request.via = {std::string("SIP/2.0/UDP ") + kAttacker + ";branch=" + Branch()};
    switch (dice_.Below(6)) {
      case 0: {
        request.method = "BYE";
        // Whoever knows the peer's address, but not its keys (rule 12.2).
        const bool plain = sip::IsSecure(transport_) && wide_.Chance(70);
        Tell(plain ? "forged: BYE from the peer's address over UDP" : "forged: BYE from elsewhere");
        AddForged(request, false, plain ? leg.peer.address() : kAttacker, when);
        if (plain) call_.copies.back().message.transport = sip::Transport::kUdp;
        break;
      }
      case 1: {
        request.method = "INVITE";
        request.contact = "sip:evil@6.6.6.6";
        request.sdp = leg.peer.session.Text();
        Tell("forged: re-INVITE from elsewhere");
        AddForged(request, false, kAttacker, when);
        if (dice_.Chance(50)) AddForged(ResponseTo(request, 500, ""), true, kAttacker, when + 1000);
        break;
      }
      case 2:
        request.method = "INFO";
        request.cseq = 2'147'483'000;
        Tell("forged: INFO of the peer with a huge CSeq");
        AddForged(request, false, dice_.Chance(50) ? kAttacker : leg.peer.address(), when);
        break;
      case 3:
        std::swap(request.from, request.to);
        request.uri = leg.server_side.target;
        request.via = {ViaOf(leg.server, Branch())};
        request.method = "INFO";
        request.cseq = 2'147'483'646;
        if (dice_.Chance(50)) request.uri = "sip:evil@6.6.6.6";
        Tell("forged: INFO of the server with a huge CSeq");
        AddForged(request, true, dice_.Chance(50) ? kAttacker : leg.peer.address(), when);
        break;
      case 4: {
        if (!call_.server_called || leg.stage != Stage::kConfirmed) break;
        Message answer;
        answer.request = false;
        answer.status = 200;
        answer.method = "INVITE";
        answer.cseq = call_.notes.front().local_seq;
        for (const Note& note : call_.notes) {
          if (note.first_invite) answer.cseq = note.local_seq;
        }
        answer.via = {ViaOf(leg.server, Branch())};
        answer.from = leg.server_side.local;
        answer.to = leg.server_side.remote;
        answer.call_id = call_.call_id;
        answer.contact = "sip:evil@6.6.6.6";
        answer.record_route = {"sip:6.6.6.6;lr"};
        Tell("forged: a second 200 with another route");
        call_.forged_2xx = true;
        AddForged(answer, false, kAttacker, when);
        break;
      }
      default: {
        if (!call_.server_called || !dice_.Chance(20)) break;
        Message answer;
        answer.request = false;
        answer.method = "INVITE";
        for (const Note& note : call_.notes) {
          if (note.first_invite) answer.cseq = note.local_seq;
        }
        answer.via = {ViaOf(leg.server, first_branch_)};
        answer.from = leg.server_side.local;
        answer.to = leg.server_side.remote;
        answer.call_id = call_.call_id;
        answer.contact = "sip:evil@6.6.6.6";
        call_.flooded = true;
        Tell("forged: a flood of To tags");
        for (std::uint32_t i = dice_.Range(30, 400); i > 0; --i) {
          answer.status = dice_.Chance(50) ? 180 : 183;
          answer.to.tag = dice_.Hex(10);
          AddForged(answer, false, kAttacker, when + i);
        }
      }
    }
  }
}

}  // namespace sipheal::testing::generator
