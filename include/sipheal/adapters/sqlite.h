// SPDX-License-Identifier: Apache-2.0
// A SessionStore in one SQLite file: the embedded default. Several processes of one host may use
// the same file; for several hosts take PostgreSQL (SQLite's locks do not work over NFS).
//
// What is safe against what: everything survives the death of the process. Claims and journal also
// survive the loss of power: each Claim and Advance waits for the disk once, whatever their number
// of entries, so give many at a time. Sessions and dialogs written in the last moments before a
// power loss may be missing; the tracker reads them anew.
//
// Threads: the store starts none. Calls on one store object: reads go on beside writes; of the
// writes, Claim and Advance go before waiting Puts and SaveDialogs.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/base/clock.h"
#include "sipheal/base/log_sink.h"
#include "sipheal/export.h"
#include "sipheal/session_store.h"

namespace sipheal::inline v0_1 {

struct SqliteOptions {
  // The database file; it is made, readable for its owner only, when it is not there. Its folder
  // must exist and be writable: SQLite keeps two more files beside it (-wal, -shm).
  std::string path;
  // How long a call waits for another process that holds the file, when its own deadline is not
  // earlier; then it is Unavailable. 0 to 60 s.
  std::chrono::milliseconds busy_timeout{5000};
  // How long the journal of a recovery that is over is kept. 1 h to 10 years.
  std::chrono::hours keep_journal{24 * 7};
  std::shared_ptr<LogSink> log;  // none: silent. Damaged records are told here
  const Clock* clock = nullptr;  // none: the system's; must outlive the store

  // InvalidArgument names the field, what it was and what it may be.
  SIPHEAL_EXPORT absl::Status Validate() const;
};

// Opens the file, and brings its schema up to date. FailedPrecondition when a newer sipheal wrote
// it or it belongs to another application, InvalidArgument when it is no database or its folder is
// not there, PermissionDenied when it cannot be written, DataLoss when it is damaged, Unavailable
// when another process holds it.
SIPHEAL_EXPORT absl::StatusOr<std::shared_ptr<SessionStore>> MakeSqliteSessionStore(
    SqliteOptions options);

}  // namespace sipheal::inline v0_1
