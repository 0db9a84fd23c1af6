// SPDX-License-Identifier: Apache-2.0
// The two macros of Abseil's absl/status/status_macros.h, which Debian 12's Abseil does not have
// yet.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define SIPHEAL_CONCAT_INNER_(a, b) a##b
#define SIPHEAL_CONCAT_(a, b) SIPHEAL_CONCAT_INNER_(a, b)

#define ABSL_RETURN_IF_ERROR(expression)                                      \
  do {                                                                        \
    if (absl::Status sipheal_status_ = (expression); !sipheal_status_.ok()) { \
      return sipheal_status_;                                                 \
    }                                                                         \
  } while (false)

#define ABSL_ASSIGN_OR_RETURN(lhs, expression)                            \
  auto SIPHEAL_CONCAT_(sipheal_value_, __LINE__) = (expression);          \
  if (!SIPHEAL_CONCAT_(sipheal_value_, __LINE__).ok()) {                  \
    return std::move(SIPHEAL_CONCAT_(sipheal_value_, __LINE__)).status(); \
  }                                                                       \
  lhs = std::move(SIPHEAL_CONCAT_(sipheal_value_, __LINE__)).value()
