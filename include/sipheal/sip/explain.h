// SPDX-License-Identifier: Apache-2.0
// Dialogs for a person: why a verdict is what it is, and the ladder of messages.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sipheal/export.h"
#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/dialog_state.h"
#include "sipheal/sip/server_identity.h"
#include "sipheal/sip/verdict.h"

namespace sipheal::inline v0_1::sip {

// Verdict, then each field with its value and the message that proves it, conflicts, what is
// missing. What is no printable UTF-8 is escaped. Plain text, lines of any width, ends with a
// newline.
SIPHEAL_EXPORT std::string Explain(const DialogState& dialog, const Verdict& verdict);

// One message of a ladder.
struct LadderRung {
  CaptureTime time{};
  std::uint64_t sequence = 0;
  Endpoint source;
  Endpoint destination;
  // By the server; neither: it passed between others.
  bool sent = false;
  bool received = false;
  std::string label;  // "200 OK (1 INVITE) SDP"; UTF-8, without control characters
};

// The messages of one Call-ID (empty: all) in the order of their times.
SIPHEAL_EXPORT std::vector<LadderRung> LadderRungs(std::span<const CapturedMessage> messages,
                                                   const ServerIdentity& server,
                                                   std::string_view call_id = {});

struct LadderMark {
  CaptureTime time{};
  std::string text;  // "killed", "recovered on B"
};

struct LadderOptions {
  std::string server_name = "server";
  std::string peer_name = "peer";
  std::vector<LadderMark> marks;
  // Show only messages of this Call-ID; empty: all.
  std::string call_id;
};

// A text ladder, time downwards, the server at the right. Messages that do not touch the server are
// shown at the side, in brackets.
SIPHEAL_EXPORT std::string Ladder(std::span<const CapturedMessage> messages,
                                  const ServerIdentity& server, const LadderOptions& options = {});

}  // namespace sipheal::inline v0_1::sip
