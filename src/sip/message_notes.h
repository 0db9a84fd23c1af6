// SPDX-License-Identifier: Apache-2.0
// What only few messages say, and what one pooled text therefore holds for each message that says
// any of it: entries of a key, the value and '\n'. A message without any costs nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sipheal/sip/message_view.h"

namespace sipheal::inline v0_1::sip {

enum class Note : char {
  kEvent = 'e',              // Event of SUBSCRIBE and NOTIFY: "refer;id=3"
  kSubscriptionState = 's',  // of NOTIFY: "active;expires=60"
  kExpires = 'x',            // of SUBSCRIBE and its answers
  kNoReferSub = 'r',         // Refer-Sub: false (RFC 4488)
  kFromChange = 'c',         // Supported: from-change (RFC 4916)
  kReplaces = 'R',           // of an INVITE that opens a call (RFC 3891)
  kSession = 'S',            // Session-ID of an opening INVITE: its sender's UUID (RFC 7989)
  kCharging = 'I',           // icid-value of its P-Charging-Vector
  kOtherLeg = 'X',           // the Call-ID that it names for its other leg
  kNonceIssued = 'n',        // of a challenge; a hash, since it is a secret of two others
  kNonceUsed = 'u',          // of credentials; the same hash
  kMinInterval = 'm',        // Min-SE (RFC 4028)
  kAlternative = 'A',        // a Contact of a 3xx
  kSeveralContacts = 'C',    // where one is to be (RFC 3261 12.1.1)
  kRack = 'P',               // RSeq that a PRACK acknowledges
  kDialogInfo = 'D',  // a dialog of a dialog-info body: call-id, local-tag, remote-tag, local and
                      // remote CSeq (0: not said), each followed by '\x01' but the last
};

// Appends the notes of a message. No more than some hundred bytes, whatever the message holds.
void ReadNotes(const MessageView& view, std::string* out);

// Takes the first entry off; false at the end.
bool NextNote(std::string_view* notes, Note* key, std::string_view* value);
// The first value under the key; empty when there is none, and for notes without a value.
std::string_view FindNote(std::string_view notes, Note key);
bool HasNote(std::string_view notes, Note key);

}  // namespace sipheal::inline v0_1::sip
