// SPDX-License-Identifier: Apache-2.0
#include "bench/gate/growth_cases.h"
#include "absl/strings/str_format.h"

#include "tests/sip/call_script.h"

namespace sipheal::bench {
namespace {

using testing::CallScript;
using testing::Request;
using testing::Sdp;
using Messages = std::vector<sip::CapturedMessage>;

std::string Repeat(std::size_t count, const std::string& text) {
  std::string out;
  out.reserve(count * text.size());
  for (std::size_t i = 0; i < count; ++i) out += text;
  return out;
}

// One INVITE.
Messages Invite(Request request) {
  CallScript call;
  if (request.sdp.empty()) request.sdp = Sdp("198.51.100.7", 30000, "1");
  call.Receive(std::move(request));
  return call.messages;
}

// An answered call, and what `more` adds to it.
Messages Call(const std::function<void(CallScript& call)>& more) {
  CallScript call;
  call.AnsweredByServer();
  more(call);
  return call.messages;
}

// INVITEs of which every text is another.
void Flood(CallScript& call, std::size_t size) {
  for (std::size_t i = 1000; i < 1000 + size; ++i) {
    const std::string n = std::to_string(i);
    call.Receive({.cseq = static_cast<unsigned>(i),
                  .from_tag = "a" + n,
                  .to_tag = "b" + n,
                  .from = "<sip:a" + n + "@example.com>",
                  .to = "<sip:b" + n + "@example.com>",
                  .contact = "<sip:c" + n + "@198.51.100.7>",
                  .sdp = Sdp("198.51.100.7", static_cast<int>(i), n),
                  .extra = "Supported: s" + n + "\r\n",
                  .branch = "z9hG4bKforged" + n});
  }
}

// Many calls; `write` has what the one with this number says.
template <typename Fn>
Messages Calls(std::size_t count, Fn write) {
  Messages all;
  for (std::size_t i = 0; i < count; ++i) {
    CallScript call;
    call.call_id = "call-" + std::to_string(i);
    write(call, i);
    for (sip::CapturedMessage& message : call.messages) all.push_back(std::move(message));
  }
  return all;
}

}  // namespace

const std::vector<GrowthCase>& GrowthCases() {
  static const std::vector<GrowthCase> kCases = {
      {"header_lines", 2500,
       [](std::size_t n) { return Invite({.extra = Repeat(n, "Z: 1\r\n")}); }},
      {"record_routes", 16,
       [](std::size_t n) {
         return Invite({.record_route = {n, "<sip:192.0.2.77;lr;ftag=a1>"}});
       }},
      {"record_routes_in_a_line", 16,
       [](std::size_t n) {
         return Invite(
             {.record_route = {"<sip:192.0.2.77;lr>" + Repeat(n, ",<sip:192.0.2.78;lr>")}});
       }},
      {"via_lines", 50,
       [](std::size_t n) {
         return Invite({.extra = Repeat(n, "Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKv\r\n")});
       }},
      {"vias_in_a_line", 300,
       [](std::size_t n) {
         return Invite({.via_host = "192.0.2.7;branch=z9hG4bKv" +
                                    Repeat(n, ",SIP/2.0/UDP 192.0.2.8;branch=z9hG4bKv") +
                                    ",SIP/2.0/UDP 192.0.2.9"});
       }},
      {"body", 12'000,
       [](std::size_t n) {
         return Invite(
             {.sdp = Sdp("198.51.100.7", 30000, "1") + Repeat(n / 16, "a=x-note:12345\r\n")});
       }},
      {"media_lines", 50,
       [](std::size_t n) {
         return Invite({.sdp = Sdp("198.51.100.7", 30000, "1") +
                               Repeat(n, "m=audio 4000 RTP/AVP 0\r\na=sendonly\r\n")});
       }},
      {"folded_from", 15'000,
       [](std::size_t n) {
         return Invite(
             {.from = '"' + Repeat(n / 16, "word word wor\r\n ") + "\" <sip:alice@example.com>"});
       }},
      {"folded_subject", 15'000,
       [](std::size_t n) {
         return Invite({.extra = "Subject: a" + Repeat(n / 16, "\r\n word word wor") + "\r\n"});
       }},
      {"from_parameters", 1000,
       [](std::size_t n) {
         return Invite({.from = "<sip:a@example.com>" + Repeat(n, ";p=value")});
       }},
      {"contact_parameters", 1000,
       [](std::size_t n) {
         return Invite({.contact = "<sip:a@198.51.100.7" + Repeat(n, ";p=value") + ">"});
       }},
      {"open_brackets", 12'000,
       [](std::size_t n) { return Invite({.from = Repeat(n, "<") + "sip:a@example.com>"}); },
       /*refused=*/true},
      {"quotes", 12'000,
       [](std::size_t n) {
         return Invite({.from = '"' + Repeat(n / 2, "\\\"") + "\" <sip:a@example.com>"});
       }},
      {"transactions", 150,
       [](std::size_t n) {
         return Call([n](CallScript& call) {
           for (std::size_t i = 0; i < n; ++i) {
             call.Reply(
                 call.Receive(
                     {.method = "INFO", .cseq = static_cast<unsigned>(2 + i), .to_tag = "b"}),
                 {});
           }
         });
       }},
      {"reinvites", 150,
       [](std::size_t n) {
         return Call([n](CallScript& call) {
           for (std::size_t i = 0; i < n; ++i) {
             const auto cseq = static_cast<unsigned>(2 + i);
             call.Reply(call.Receive({.cseq = cseq,
                                      .to_tag = "b",
                                      .sdp = Sdp("198.51.100.7", 30000, std::to_string(cseq))}),
                        {.sdp = Sdp("192.0.2.10", 20000, std::to_string(cseq))});
             call.Receive({.method = "ACK", .cseq = cseq, .to_tag = "b"});
           }
         });
       }},
      {"retransmissions", 300,
       [](std::size_t n) {
         return Call([n](CallScript& call) {
           const Messages once = call.messages;
           for (std::size_t i = 0; i < n; ++i) {
             call.messages.push_back(once[i % once.size()]);
             call.messages.back().sequence = call.messages.size();
           }
         });
       }},
      {"forged_tags", 300,
       [](std::size_t n) {
         CallScript call;
         const Request invite = call.Send({.sdp = Sdp("192.0.2.10", 20000, "1")});
         for (std::size_t i = 0; i < n; ++i) {
           call.Reply(invite, {.status = 180,
                               .to_tag = "forged" + std::to_string(i),
                               .contact = "<sip:evil@6.6.6.6>",
                               .peer = "6.6.6.6:5060"});
         }
         return call.messages;
       }},
      {"flood", 600, [](std::size_t n) { return Call([n](CallScript& call) { Flood(call, n); }); }},
      {"calls", 250,
       [](std::size_t n) {
         return Calls(n, [](CallScript& call, std::size_t) { call.AnsweredByServer(); });
       }},
      // Call-IDs that a hash of eight bytes at a time, multiplied by fixed keys, cannot tell apart.
      {"chosen_call_ids", 1000,
       [](std::size_t n) {
         return Calls(n, [](CallScript& call, std::size_t i) {
           call.Receive({.extra = "Replaces: \x4e\xeb\xd4\x27\x3d\xae\xb2\xc2" +
                                  absl::StrFormat("%08d", i) +
                                  "0123456789abcdef;to-tag=x;from-tag=y\r\n"});
         });
       }},
  };
  return kCases;
}

}  // namespace sipheal::bench
