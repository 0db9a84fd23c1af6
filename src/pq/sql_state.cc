// SPDX-License-Identifier: Apache-2.0
#include "pq/sql_state.h"

#include "absl/strings/str_format.h"

namespace sipheal::inline v0_1::internal::pq {
namespace {

struct Meaning {
  std::string_view prefix;  // of the SQLSTATE
  absl::StatusCode code;
  const char* what_to_do;
};

// The first that fits counts.
constexpr Meaning kMeanings[] = {
    {"08", absl::StatusCode::kUnavailable, "the connection is lost; the call may be repeated"},
    {"25006", absl::StatusCode::kUnavailable,
     "this server is read-only (a standby?): name the primary, or target_session_attrs=read-write"},
    {"28", absl::StatusCode::kPermissionDenied, "check user and password of the DSN"},
    {"3D000", absl::StatusCode::kInvalidArgument, "make the database, or name another one"},
    {"3F000", absl::StatusCode::kFailedPrecondition, "its schema was removed: start anew"},
    {"40", absl::StatusCode::kUnavailable,
     "another transaction was in the way; the call may be repeated"},
    {"42501", absl::StatusCode::kPermissionDenied,
     "give this role the right to make and use the schema"},
    {"42P01", absl::StatusCode::kFailedPrecondition, "its tables were removed: start anew"},
    {"53100", absl::StatusCode::kResourceExhausted,
     "make room on the server's disk; nothing of this call was written, it may be repeated"},
    {"53300", absl::StatusCode::kUnavailable,
     "raise the server's max_connections, or allow fewer connections here"},
    {"53", absl::StatusCode::kResourceExhausted,
     "the server lacks a resource; nothing of this call was written, it may be repeated"},
    {"54", absl::StatusCode::kInvalidArgument, "a name in it is too long"},
    {"55P03", absl::StatusCode::kUnavailable, "somebody holds a lock; the call may be repeated"},
    {"57014", absl::StatusCode::kUnavailable, "the server cancelled it; the call may be repeated"},
    {"57", absl::StatusCode::kUnavailable,
     "the server is starting, stopping or ended the connection; the call may be repeated"},
    {"58", absl::StatusCode::kUnavailable, "look at the server's disk; the call may be repeated"},
    {"XX001", absl::StatusCode::kDataLoss, "the database is damaged: restore it"},
    {"XX002", absl::StatusCode::kDataLoss, "an index is damaged: REINDEX it"},
};

}  // namespace

absl::Status StatusOfSqlState(std::string_view state, std::string_view said) {
  for (const Meaning& meaning : kMeanings) {
    if (!state.starts_with(meaning.prefix)) continue;
    return absl::Status(meaning.code, absl::StrFormat("PostgreSQL: %s (SQLSTATE %s): %s", said,
                                                      state, meaning.what_to_do));
  }
  return absl::InternalError(
      absl::StrFormat("PostgreSQL: %s (SQLSTATE %s): please report it", said, state));
}

std::string_view FirstLine(std::string_view said) { return said.substr(0, said.find('\n')); }

absl::Status StatusOfConnect(std::string_view said) {
  said = FirstLine(said);
  const auto says = [&](std::string_view text) { return said.find(text) != said.npos; };
  const auto text = [&](const char* what_to_do) {
    return absl::StrFormat("PostgreSQL: cannot connect: %s: %s", said, what_to_do);
  };
  // The texts of the server come in its own language; these are the cases in which a caller must
  // not wait and try again, in English, the language of libpq's and the server's sources.
  if (says("authentication failed") || says("no pg_hba.conf entry") ||
      says("no password supplied") || (says("role \"") && says("does not exist"))) {
    return absl::PermissionDeniedError(text("check user, password and pg_hba.conf"));
  }
  if (says("database \"") && says("does not exist")) {
    return absl::InvalidArgumentError(text("make the database, or name another one"));
  }
  if (says("certificate") || says("does not support SSL")) {
    return absl::UnauthenticatedError(
        text("give sslrootcert=FILE in the DSN, or another sslmode if that is what you want"));
  }
  return absl::UnavailableError(text("is it running there? The call may be repeated"));
}

}  // namespace sipheal::inline v0_1::internal::pq
