// SPDX-License-Identifier: Apache-2.0
// DialogState as bytes, for a store that survives the controller. Compact, versioned, and safe to
// read back from anywhere.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "sipheal/export.h"
#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip {

// Every field of the state; about as many bytes as the texts in it. Writes into `bytes` in place of
// what is there, without an allocation when it is large enough.
SIPHEAL_EXPORT void EncodeDialog(const DialogState& dialog, std::string* bytes);
SIPHEAL_EXPORT std::string EncodeDialog(const DialogState& dialog);

struct DecodedDialog {
  DialogState dialog;
  // Fields that could not be read and were left at their defaults; those without which nothing may
  // be sent are also in dialog.missing. 0: none.
  int damaged_fields = 0;
  // Fields of a newer sipheal that were skipped.
  int unknown_fields = 0;
};

// Reads what EncodeDialog wrote. Hostile or damaged bytes never crash it: InvalidArgument when the
// envelope is not ours, DataLoss when it is cut or altered so far that Call-ID and tags are gone. A
// field that is damaged by itself is left out and counted.
SIPHEAL_EXPORT absl::StatusOr<DecodedDialog> DecodeDialog(std::string_view bytes);

}  // namespace sipheal::inline v0_1::sip
