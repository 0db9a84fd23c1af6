// SPDX-License-Identifier: Apache-2.0
// One re-INVITE as text.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "sipheal/sip/reinvite.h"

namespace sipheal::testing {

inline absl::StatusOr<std::string> BuildReinvite(const sip::DialogState& dialog,
                                                 const sip::ReinviteOptions& options,
                                                 const sip::ReinviteParams& params = {
                                                     .branch = "z9hG4bKnew"}) {
  auto writer = sip::ReinviteWriter::Create(options);
  if (!writer.ok()) return writer.status();
  const auto text = writer->Write(dialog, params);
  if (!text.ok()) return text.status();
  return std::string(*text);
}

}  // namespace sipheal::testing
