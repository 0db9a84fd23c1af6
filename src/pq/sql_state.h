// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "sipheal/export.h"

namespace sipheal::inline v0_1::internal::pq {

// What an error that the server reported means for the caller, by its SQLSTATE (PostgreSQL
// documentation, appendix A), with what to do about it. `said` is the server's message.
SIPHEAL_EXPORT absl::Status StatusOfSqlState(std::string_view state, std::string_view said);

// What a connection that could not be opened means, by what libpq said: it keeps no SQLSTATE of it.
SIPHEAL_EXPORT absl::Status StatusOfConnect(std::string_view said);

// libpq ends its texts with a line feed, and may add hints.
SIPHEAL_EXPORT std::string_view FirstLine(std::string_view said);

}  // namespace sipheal::inline v0_1::internal::pq
