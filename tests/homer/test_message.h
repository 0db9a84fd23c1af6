// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "sipheal/base/clock.h"
#include "sipheal/sip/captured_message.h"

namespace sipheal {

inline std::string Sip(const std::string& call_id, const std::string& cseq,
                       const std::string& body = "") {
  const std::string method = cseq.substr(cseq.find(' ') + 1);
  return method + " sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK" +
         cseq.substr(0, cseq.find(' ')) +
         "\r\nFrom: <sip:a@example.invalid>;tag=a\r\nTo: <sip:b@example.invalid>\r\nCall-ID: " +
         call_id + "\r\nCSeq: " + cseq +
         "\r\nMax-Forwards: 70\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         body;
}

inline sip::CapturedMessage Message(const std::string& call_id, const std::string& cseq,
                                    std::chrono::milliseconds ago = std::chrono::seconds(5)) {
  sip::CapturedMessage message;
  message.bytes = Sip(call_id, cseq);
  message.source = *sip::Endpoint::Parse("192.0.2.2:5060");
  message.destination = *sip::Endpoint::Parse("192.0.2.1:5060");
  message.transport = sip::Transport::kUdp;
  message.time = std::chrono::floor<std::chrono::seconds>(SystemClock().Now() - ago) +
                 std::chrono::microseconds(123457);
  message.agent = "ast-1";
  return message;
}

}  // namespace sipheal
