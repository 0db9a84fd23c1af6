// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "sipheal/adapters/homer.h"

namespace sipheal::inline v0_1::internal::homer {

// What HOMER is shown. Exactly one of token and user is set.
struct Secrets {
  std::string token;
  std::string user;
  std::string password;
};

// Reads the files and environment variables that the options name. InvalidArgument names the field.
absl::StatusOr<Secrets> ReadSecrets(const HomerOptions& options);

template <typename T>
absl::Status CheckRange(const char* field, T value, T least, T most, const char* unit) {
  if (value >= least && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("homer: %s is %d%s: use %d to %d", field, value, unit, least, most));
}

}  // namespace sipheal::inline v0_1::internal::homer
