// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace sipheal::inline v0_1::internal::postgres {

// What an error that the server reported means for the caller, by its SQLSTATE (PostgreSQL
// documentation, appendix A), with what to do about it. `said` is the server's message.
absl::Status StatusOfSqlState(std::string_view state, std::string_view said);

// What a connection that could not be opened means, by what libpq said: it keeps no SQLSTATE of it.
absl::Status StatusOfConnect(std::string_view said);

// libpq ends its texts with a line feed, and may add hints.
std::string_view FirstLine(std::string_view said);

}  // namespace sipheal::inline v0_1::internal::postgres
