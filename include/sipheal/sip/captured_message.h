// SPDX-License-Identifier: Apache-2.0
// A SIP message as somebody captured it: the bytes, between whom, when, and who saw it. HEP
// receivers, HOMER clients and pcap readers make these; the dialog rebuilder reads them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "sipheal/export.h"
#include "sipheal/sip/address.h"

namespace sipheal::inline v0_1::sip {

// Microseconds since 1970-01-01 UTC by the clock of the capture agent, not of the receiver. Two
// agents may disagree; within one agent's capture, order by this and then by `sequence`.
using CaptureTime = std::chrono::sys_time<std::chrono::microseconds>;

// One captured SIP message (or, where said, one captured buffer of a stream). Everything in it
// comes from the wire and is hostile until proved otherwise.
struct CapturedMessage {
  // The SIP message as captured: start line to end of body. The bytes that follow a complete
  // message (a datagram's trailer, the tail of a TCP buffer) are ignored; see SplitStreamBuffer()
  // in stream_framer.h for buffers that hold several messages.
  std::string bytes;
  Endpoint source;
  Endpoint destination;
  Transport transport = Transport::kUnknown;
  CaptureTime time{};
  // Who captured it: a HEP agent's name, or its numeric id as text. Empty when not known.
  std::string agent;
  // The order of arrival at the receiver, from 1; 0 when not known. For messages of one agent this
  // is the order in which they were seen even where their times are equal or cut to milliseconds.
  // It is also the number by which evidence refers to the message (a pcap reader puts the frame
  // number here).
  std::uint64_t sequence = 0;
};

// The same without owning the bytes, for the hot path: a receiver folds a packet without a copy.
// The views must stay valid for the call they are passed to, no longer.
struct CapturedMessageView {
  std::string_view bytes;
  Endpoint source;
  Endpoint destination;
  Transport transport = Transport::kUnknown;
  CaptureTime time{};
  std::string_view agent;
  std::uint64_t sequence = 0;

  CapturedMessageView() = default;
  CapturedMessageView(const CapturedMessage& message)  // NOLINT: a view of it, as string_view is
      : bytes(message.bytes),
        source(message.source),
        destination(message.destination),
        transport(message.transport),
        time(message.time),
        agent(message.agent),
        sequence(message.sequence) {}
  // A view into a temporary would dangle at the end of the statement.
  CapturedMessageView(CapturedMessage&&) = delete;
};

}  // namespace sipheal::inline v0_1::sip
