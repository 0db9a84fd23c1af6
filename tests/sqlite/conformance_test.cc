// SPDX-License-Identifier: Apache-2.0
// The store on SQLite against the store's contract.
#include "sipheal/conformance/gtest.h"

#include <optional>

#include "sipheal/adapters/sqlite.h"
#include "tests/sqlite/database_file.h"
#include "tests/support/shifted_clock.h"

namespace sipheal {
namespace {

class SqliteHarness final : public conformance::SessionStoreHarness {
 public:
  explicit SqliteHarness(std::chrono::milliseconds busy_timeout) : busy_timeout_(busy_timeout) {}

  absl::StatusOr<std::shared_ptr<SessionStore>> Make() override {
    return MakeSqliteSessionStore(
        {.path = file_.path(), .busy_timeout = busy_timeout_, .clock = &clock_});
  }
  absl::Status AdvanceClock(std::chrono::milliseconds by) override {
    clock_.Shift(by);
    return absl::OkStatus();
  }
  // Another process holds the file's write lock.
  absl::Status BlockStorage() override {
    holder_.emplace(file_.path());
    holder_->Run("BEGIN IMMEDIATE");
    return absl::OkStatus();
  }
  absl::Status UnblockStorage() override {
    holder_.reset();
    return absl::OkStatus();
  }

 private:
  const std::chrono::milliseconds busy_timeout_;
  tests::ShiftedClock clock_;
  tests::DatabaseFile file_;
  std::optional<tests::RawConnection> holder_;
};

const bool registered =
    (conformance::RegisterSessionStoreConformance(
         "Sqlite", [] { return std::make_unique<SqliteHarness>(std::chrono::milliseconds(5000)); }),
     true);

}  // namespace
}  // namespace sipheal
