// SPDX-License-Identifier: Apache-2.0
// The fields of a stored dialog: which they are, and how each is written and read.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "sip/codec_bytes.h"
#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip::codec {

// Tags are for ever: never reuse a number.
enum Tag : std::uint8_t {
  kCallId = 1,
  kLocal = 2,
  kRemote = 3,
  kKind = 4,
  kLocalSeq = 5,
  kRemoteSeq = 6,
  kRoutes = 7,
  kTargets = 8,
  kTransportTag = 9,
  kSeenHosts = 10,
  kLocalSdp = 11,
  kRemoteSdp = 12,
  kSession = 13,
  kTimer = 14,
  kOpen = 15,
  kAbilities = 16,
  kTimes = 17,
  kEvidence = 18,  // with sentences; since kProofs has the numbers of reasons it is only read
  kConflicts = 19,
  kNotes = 20,
  kUsages = 21,
  kLinks = 22,
  kPace = 23,
  kProofs = 24,
};

// Which releases write a field. A record that lacks what its release did not write is not damaged.
enum class Written : std::uint8_t { kByAll, kByLater, kByOlder };

struct FieldCodec {
  Tag tag;
  void (*put)(ByteWriter&, const DialogState&);
  // Takes the place of all that the field holds, and touches nothing else.
  void (*get)(ByteReader&, DialogState&);
  std::optional<Field> needed;  // what is missing when the field cannot be read
  Written written = Written::kByAll;
};

// In the order in which they are written.
std::span<const FieldCodec> Fields();
// How many of them this release writes.
std::size_t FieldsWritten();

}  // namespace sipheal::inline v0_1::sip::codec
